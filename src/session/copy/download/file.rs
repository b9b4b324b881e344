//! One file from the node: what is here of it, and what to ask for.

use std::collections::VecDeque;
use std::io::{Seek as _, SeekFrom};

use tracing::debug;

use super::flow::{Flow, Pending, Sink, Slot, To, Want};
use super::{AHEAD, Download, PENDING, unfit};
use crate::session::copy::command::Command;
use crate::session::copy::frame::Reply;
use crate::session::copy::local::sum_of;
use crate::session::copy::part::Part;
use crate::session::copy::status::{Kind, Status};
use crate::session::copy::sum::Sum;
use crate::session::copy::{BLOCK, CopyFailure, RemotePath, UNIT, local};
use crate::terminal::Output;

impl Download<'_> {
    pub(super) async fn file(
        &mut self,
        remote: RemotePath,
        status: Status,
        to: To,
    ) -> Result<(), CopyFailure> {
        if status.kind != Kind::File {
            return Err(unfit(&remote, "is not a regular file"));
        }
        let Status { size, kept, .. } = status;
        let shown = String::from_utf8_lossy(remote.name().unwrap_or(remote.bytes())).into_owned();
        let (place, named) = match &to {
            To::Stdout => ("-".into(), true),
            To::Named(place) => (place.clone(), true),
            To::Found(place) => (place.clone(), false),
        };
        let mut flow = Flow {
            place: place.clone(),
            sink: Sink::Gone,
            kept,
            size,
            shown: None,
            sum: Sum::new(self.link.sums),
            slots: VecDeque::new(),
            asked: 0,
            remote_sum: None,
            remote,
        };
        flow.sink = match to {
            To::Stdout => Sink::Stdout(Output::stdout()),
            To::Named(_) | To::Found(_) => {
                if self.flows.iter().any(|flow| flow.touches(&place)) {
                    self.settle(0).await?;
                }
                let mode = if self.manner.preserve { 0 } else { kept.mode };
                let mut part = Part::open(&place, mode, named);
                if part.is_err() && !self.flows.is_empty() {
                    // There may be as many open files as there may be.
                    self.settle(0).await?;
                    part = Part::open(&place, mode, named);
                }
                let part = part.map_err(local(&place))?;
                let Some(part) = self.resume(part, &mut flow).await? else {
                    self.link.watch.begin(&shown, Some(size), size);
                    self.link.watch.done();
                    return Ok(());
                };
                Sink::Part(part)
            }
        };
        flow.shown = Some((shown, flow.asked));
        let number = self.first + self.flows.len() as u64;
        self.flows.push_back(flow);
        if self.flows.len() == 1 {
            self.show(number);
        }
        loop {
            self.settle(PENDING).await?;
            while self.ahead >= AHEAD {
                self.take_one().await?;
            }
            let stride = self.stride.bytes();
            let Some(flow) = self.flow(number) else {
                return Ok(());
            };
            if flow.asked >= size || matches!(flow.sink, Sink::Gone) {
                break;
            }
            let at = flow.asked;
            let length = usize::try_from(size - at).map_or(stride, |left| left.min(stride));
            flow.asked += length as u64;
            flow.slots.push_back(Slot {
                at,
                length,
                tries: 0,
                data: None,
            });
            self.ahead += length;
            self.ask_block(number, at, self.swap).await?;
        }
        let Some(flow) = self.flow(number) else {
            return Ok(());
        };
        let path = flow.remote.clone();
        // Files that seem empty may be such as those in /proc.
        let command = Command::Sum(&path, (size > 0).then_some(size));
        let id = self.link.ask(command, None).await?;
        self.pending.push_back(Pending {
            id,
            flow: number,
            want: Want::Sum,
        });
        Ok(())
    }

    /// Looks how much is here already; `None` if all is.
    async fn resume(&mut self, part: Part, flow: &mut Flow) -> Result<Option<Part>, CopyFailure> {
        let (size, sums) = (flow.size, self.link.sums);
        let here = local(&flow.place);
        if size > BLOCK as u64
            && let Some(mut file) = part.whole(size)
        {
            let (sum, length) = sum_of(&mut file, size, sums).await.map_err(here)?;
            let same = self.remote_sum(&flow.remote, size).await?;
            if length == size && same.is_some_and(|same| same == sum.text()) {
                let kept = part.keep_whole(flow.kept, self.manner.preserve);
                kept.map_err(local(&flow.place))?;
                return Ok(None);
            }
        }
        let unit = UNIT as u64;
        let there = part.there().min(size) / unit * unit;
        if there > 0 {
            let here = local(&flow.place);
            let (sum, _) = sum_of(&mut &part.file, there, sums).await.map_err(here)?;
            let same = self.remote_sum(&flow.remote, there).await?;
            if same.is_some_and(|same| same == sum.text()) {
                debug!(there, "goes on behind what is there");
                (flow.asked, flow.sum) = (there, sum);
            }
        }
        let placed = part
            .shorten(flow.asked)
            .and_then(|()| (&part.file).seek(SeekFrom::Start(flow.asked)));
        match placed {
            // A device may have no places.
            Err(error) if part.there() > 0 => Err(local(&flow.place)(error)),
            _ => Ok(Some(part)),
        }
    }

    async fn remote_sum(
        &mut self,
        path: &RemotePath,
        length: u64,
    ) -> Result<Option<String>, CopyFailure> {
        self.settle(0).await?;
        let command = Command::Sum(path, Some(length));
        match self.link.call(command, None).await? {
            Reply::Ok(sum) => Ok(Some(sum)),
            Reply::Err(_) => Ok(None),
            _ => Err(CopyFailure::Garbled("it is no checksum")),
        }
    }
}
