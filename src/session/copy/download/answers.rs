//! What the node answers: blocks are written in their order, and files that are whole get their
//! places.

use std::io::Write as _;

use tokio::time::Instant;

use super::Download;
use super::flow::{Flow, Pending, Sink, Want};
use crate::session::copy::command::Command;
use crate::session::copy::frame::Reply;
use crate::session::copy::link::Link;
use crate::session::copy::{CopyFailure, Encoding, UNIT, encoding, local, remote};
use crate::terminal::Output;

/// How often a block is asked for: a file may become shorter meanwhile.
const TRIES: u8 = 6;
/// What a block may come short by and be an exception, in bytes: what comes after it is asked for
/// as before.
const FEW: usize = 4;

impl Download<'_> {
    pub(super) fn flow(&mut self, number: u64) -> Option<&mut Flow> {
        let at = number.checked_sub(self.first)?;
        self.flows.get_mut(usize::try_from(at).ok()?)
    }

    /// Tells that a file begins to come, if that was not told.
    pub(super) fn show(&mut self, number: u64) {
        let Some(flow) = self.flow(number) else {
            return;
        };
        let size = flow.size;
        if let Some((name, there)) = flow.shown.take() {
            self.link.watch.begin(&name, Some(size), there);
        }
    }

    pub(super) async fn ask_block(
        &mut self,
        number: u64,
        at: u64,
        swap: Option<u8>,
    ) -> Result<(), CopyFailure> {
        // Where nothing is lost, nothing is swapped.
        let swaps = self.link.down == Encoding::Raw && !self.link.is_windows();
        let swap = swap.filter(|_| swaps);
        let Some(flow) = self.flow(number) else {
            return Ok(());
        };
        let Some(slot) = flow.slots.iter().rfind(|slot| slot.at == at) else {
            return Ok(());
        };
        let (path, length) = (flow.remote.clone(), slot.length);
        let command = Command::Read {
            path: &path,
            skip: at / UNIT as u64,
            count: length.div_ceil(UNIT),
            length: (length % UNIT > 0).then_some(length),
            encoding: self.link.down,
            swap,
        };
        let id = self.link.ask(command, None).await?;
        self.pending.push_back(Pending {
            id,
            flow: number,
            want: Want::Block { at, swap },
        });
        Ok(())
    }

    /// Waits until at most `left` commands have no answer, and takes the answers that are there.
    pub(super) async fn settle(&mut self, left: usize) -> Result<(), CopyFailure> {
        while self.pending.len() > left || (self.link.has_answer() && !self.pending.is_empty()) {
            self.take_one().await?;
        }
        Ok(())
    }

    pub(super) async fn take_one(&mut self) -> Result<(), CopyFailure> {
        let (id, reply) = self.link.answer().await?;
        let Some(pending) = self.pending.pop_front().filter(|pending| pending.id == id) else {
            return Err(CopyFailure::Garbled("it belongs to another command"));
        };
        let (number, down) = (pending.flow, self.link.down);
        self.show(number);
        let Some(flow) = self
            .flow(number)
            .filter(|flow| !matches!(flow.sink, Sink::Gone))
        else {
            return Ok(());
        };
        match (reply, pending.want) {
            (Reply::Ok(sum), Want::Sum) => flow.remote_sum = Some(sum),
            (Reply::Data(data), Want::Block { at, swap }) => {
                let Some(slot) = flow.slots.iter_mut().find(|slot| slot.at == at) else {
                    return Err(CopyFailure::Garbled("it is data that nobody asked for"));
                };
                let length = slot.length;
                let short = length.saturating_sub(data.len());
                let data = match down {
                    Encoding::Raw => Some(encoding::swapped(data, swap)),
                    Encoding::Base64 => encoding::decoded(&data),
                };
                match data.filter(|data| data.len() == slot.length) {
                    Some(data) => {
                        slot.data = Some(data);
                        self.stride.took(length, Instant::now());
                    }
                    None if slot.tries < TRIES => {
                        slot.tries += 1;
                        // Bytes that are rare beside BF BD.
                        let swap = Some(swap.map_or(1, |byte| byte % 0x1f + 1));
                        if short > FEW {
                            self.swap = swap;
                        }
                        return self.ask_block(number, at, swap).await;
                    }
                    None => {
                        let path = flow.remote.to_string();
                        return self.fail(number, CopyFailure::Differs(path));
                    }
                }
            }
            (Reply::Err(why), _) => {
                let failure = remote(&flow.remote, why);
                return self.fail(number, failure);
            }
            _ => return Err(CopyFailure::Garbled("it answers something else")),
        }
        self.write(number).await
    }

    /// Writes what has come in order, and ends what is whole.
    async fn write(&mut self, number: u64) -> Result<(), CopyFailure> {
        let mut written = Ok(());
        loop {
            let at = usize::try_from(number.saturating_sub(self.first)).unwrap_or(usize::MAX);
            let Some(flow) = self.flows.get_mut(at) else {
                break;
            };
            let Some(data) = flow.slots.front_mut().and_then(|slot| slot.data.take()) else {
                break;
            };
            flow.slots.pop_front();
            self.ahead = self.ahead.saturating_sub(data.len());
            flow.sum.update(&data);
            let length = data.len() as u64;
            match &mut flow.sink {
                Sink::Part(part) => {
                    written = part.file.write_all(&data).map_err(local(&flow.place));
                }
                Sink::Stdout(output) => {
                    output.push(data);
                    written = wait(output, self.link, false).await;
                }
                Sink::Gone => {}
            }
            if written.is_err() {
                break;
            }
            self.link.watch.advance(length);
        }
        if let Err(failure) = written {
            return self.fail(number, failure);
        }
        self.end(number).await
    }

    async fn end(&mut self, number: u64) -> Result<(), CopyFailure> {
        let preserve = self.manner.preserve;
        let Some(flow) = self.flow(number) else {
            return Ok(());
        };
        if flow.asked < flow.size || !flow.slots.is_empty() {
            return Ok(());
        }
        let Some(sum) = flow.remote_sum.take() else {
            return Ok(());
        };
        if sum != flow.sum.text() {
            let failure = CopyFailure::Differs(flow.remote.to_string());
            return self.fail(number, failure);
        }
        let (kept, place) = (flow.kept, flow.place.clone());
        match std::mem::replace(&mut flow.sink, Sink::Gone) {
            Sink::Part(part) => {
                let finished = part.finish(kept, preserve).map_err(local(place));
                self.note(finished)?;
            }
            Sink::Stdout(mut output) => wait(&mut output, self.link, true).await?,
            Sink::Gone => {}
        }
        self.link.watch.done();
        self.forget();
        Ok(())
    }

    fn fail(&mut self, number: u64, failure: CopyFailure) -> Result<(), CopyFailure> {
        if let Some(flow) = self.flow(number) {
            let sink = std::mem::replace(&mut flow.sink, Sink::Gone);
            let length: usize = flow.slots.drain(..).map(|slot| slot.length).sum();
            self.ahead = self.ahead.saturating_sub(length);
            if let Sink::Part(part) = sink {
                part.remove();
            }
        }
        self.forget();
        self.note(Err(failure))
    }

    /// Lets go of the first ones that are over.
    fn forget(&mut self) {
        while self
            .flows
            .front()
            .is_some_and(|flow| matches!(flow.sink, Sink::Gone))
        {
            self.flows.pop_front();
            self.first += 1;
        }
    }
}

/// Waits for room in the output, or until all is written, while the session goes on.
async fn wait(output: &mut Output, link: &mut Link, all: bool) -> Result<(), CopyFailure> {
    loop {
        let ready = async {
            match all {
                true => output.flush().await,
                false => output.ready().await,
            }
        };
        tokio::select! {
            ready = ready => return ready.map_err(CopyFailure::OutputGone),
            stepped = link.step() => stepped?,
        }
    }
}
