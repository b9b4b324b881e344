//! One local connection on its way through a session that carries one at a time.

use std::pin::Pin;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::debug;

use super::super::bind::plain;
use super::super::listener::{Accepted, LocalSocket};
use super::super::report::Gone;
use super::super::{Over, Stop};
use super::{Line, until};
use crate::channel::{DataSender, Ended, Event};
use crate::protocol::payload::Flag;

/// The most that is read at once, in bytes.
const READ: usize = 64 * 1024;
/// Room for fewer bytes than this is not worth a read.
const READ_AT_LEAST: usize = 4 * 1024;
/// Silence, after a local connection has sent its last and all of it has arrived, that is taken for
/// the end of the answer.
const SILENCE: Duration = Duration::from_secs(1);
/// How long a connection may take nothing while another waits for its turn.
const SLOW_READER: Duration = Duration::from_secs(30);

/// What a connection's end looks like from here.
pub enum End {
    /// The connection is over in this way, the session is not.
    Connection(Gone),
    /// The session is over.
    Session(Over),
}

/// One local connection on its way through the session.
pub struct Passage {
    reader: ReadHalf<LocalSocket>,
    writer: WriteHalf<LocalSocket>,
    /// To be read into.
    buffer: BytesMut,
    /// What was read and not handed over yet.
    input: Bytes,
    /// What is to be written.
    output: Bytes,
    /// Whether output is for this connection. After another one, that cannot be before it has sent
    /// something: the agent connects only then.
    expects_output: bool,
    /// The local side has sent its last.
    ended: bool,
    flush: Option<Pin<Box<dyn Future<Output = bool> + Send>>>,
    /// When the silence after that is long enough, once it has all arrived.
    pub silence: Option<Instant>,
    /// When a connection that takes nothing has had its time.
    slow: Option<Instant>,
}

impl Passage {
    /// On its way from here; what was said in advance goes to it first.
    pub fn new(socket: LocalSocket, greeting: Option<BytesMut>) -> Self {
        let (reader, writer) = tokio::io::split(socket);
        Self {
            reader,
            writer,
            buffer: BytesMut::new(),
            input: Bytes::new(),
            expects_output: greeting.is_some(),
            output: greeting.unwrap_or_default().freeze(),
            ended: false,
            flush: None,
            silence: None,
            slow: None,
        }
    }

    /// The connection, at its end.
    pub fn into_socket(self) -> LocalSocket {
        self.reader.unsplit(self.writer)
    }

    /// Carries it to its end, or that of the session.
    pub async fn run(
        &mut self,
        line: &mut Line<'_>,
        queue: &mut mpsc::Receiver<Accepted>,
        stop: &mut Stop,
    ) -> End {
        let sender = line.sender.clone();
        loop {
            self.watch_writing();
            let deadline = self.silence.into_iter().chain(self.slow).min();
            let reading = !self.ended && self.input.is_empty();
            if reading && self.buffer.capacity() < READ_AT_LEAST {
                self.buffer.reserve(READ);
            }
            let end = tokio::select! {
                () = stop.wanted() => Some(End::Session(Over::Stopped)),
                event = line.channel.next(), if self.output.is_empty() => {
                    match line.handle(event) {
                        Ok(event) => event.and_then(|event| self.handle(event)),
                        Err(over) => Some(End::Session(over)),
                    }
                }
                read = self.reader.read_buf(&mut self.buffer), if reading => match read {
                    Ok(0) => {
                        self.ended = true;
                        self.flush = Some(Box::pin(sender.flush()));
                        None
                    }
                    Ok(_) => {
                        self.input = self.buffer.split().freeze();
                        None
                    }
                    Err(error) => Some(failed(&error)),
                },
                handed = hand_over(&sender, &mut self.input), if !self.input.is_empty() => {
                    if handed == Err(Ended) {
                        // The channel's last event is on its way; nobody takes this any more.
                        self.input.clear();
                        self.ended = true;
                    }
                    self.expects_output = true;
                    None
                }
                wrote = self.writer.write(&self.output), if !self.output.is_empty() => match wrote {
                    Ok(0) => Some(failed(&std::io::ErrorKind::WriteZero.into())),
                    Ok(length) => {
                        self.output.advance(length);
                        self.slow = None;
                        self.hear();
                        None
                    }
                    // The other end is closed in both directions: that is how most say goodbye.
                    Err(_) if self.ended => Some(End::Connection(Gone::Finished)),
                    Err(error) => Some(failed(&error)),
                },
                () = flushed(&mut self.flush) => {
                    self.flush = None;
                    self.silence = Some(Instant::now() + SILENCE);
                    None
                }
                () = line.losses.tell(line.report) => None,
                () = until(deadline) => self.handle_deadline(line, queue),
            };
            if let Some(end) = end {
                return end;
            }
        }
    }

    fn handle(&mut self, event: Event) -> Option<End> {
        match event {
            Event::Output(data) if self.expects_output => self.output = data,
            Event::Output(data) => debug!(bytes = data.len(), "late output of another connection"),
            Event::Flag(Flag::ConnectToPortError) => return Some(End::Connection(Gone::Refused)),
            event => debug!(?event, "ignored"),
        }
        None
    }

    fn handle_deadline(
        &mut self,
        line: &Line<'_>,
        queue: &mpsc::Receiver<Accepted>,
    ) -> Option<End> {
        let now = Instant::now();
        if self.slow.is_some_and(|at| at <= now) {
            if !queue.is_empty() {
                return Some(End::Connection(Gone::TooSlow));
            }
            self.slow = None;
        }
        if self.silence.is_some_and(|at| at <= now) {
            // Nothing can be heard while the channel is lost, or not listened to.
            if self.output.is_empty() && !line.lost {
                return Some(End::Connection(Gone::Finished));
            }
            self.hear();
        }
        None
    }

    /// It was not silent just now, or could not be heard.
    fn hear(&mut self) {
        if let Some(silence) = &mut self.silence {
            *silence = Instant::now() + SILENCE;
        }
    }

    fn watch_writing(&mut self) {
        match self.output.is_empty() {
            true => self.slow = None,
            false => drop(
                self.slow
                    .get_or_insert_with(|| Instant::now() + SLOW_READER),
            ),
        }
    }
}

fn failed(error: &std::io::Error) -> End {
    End::Connection(Gone::Failed(plain(error)))
}

/// Safe to cancel.
async fn hand_over(sender: &DataSender, input: &mut Bytes) -> Result<(), Ended> {
    sender.reserve().await?.send(std::mem::take(input));
    Ok(())
}

async fn flushed(flush: &mut Option<Pin<Box<dyn Future<Output = bool> + Send>>>) {
    match flush {
        Some(flush) => drop(flush.await),
        None => std::future::pending().await,
    }
}
