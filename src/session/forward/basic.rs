//! A session that carries local connections one after another, as agents without multiplexing do
//! it.
//!
//! Such an agent connects to the destination when the session starts. A flag tells it that the
//! local connection is closed; then it closes its own, and connects again when the next bytes
//! come. It never tells that the destination has closed.

use std::pin::Pin;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use super::bind::plain;
use super::listener::{Accepted, LocalSocket};
use super::report::{Gone, Losses, Notice, Reporter};
use super::{Over, Stop};
use crate::channel::{Channel, DataSender, Ended, Event};
use crate::mux::Socket as _;
use crate::protocol::payload::Flag;
use crate::session::ending::printable;
use crate::session::opening::Opened;

/// The most that is read at once, in bytes.
const READ: usize = 64 * 1024;
/// Room for fewer bytes than this is not worth a read.
const READ_AT_LEAST: usize = 4 * 1024;
/// What a destination may say before anybody has connected, in bytes. More waits at the agent.
const GREETING: usize = 64 * 1024;
/// Silence, after a local connection has sent its last and all of it has arrived, that is taken for
/// the end of the answer.
const SILENCE: Duration = Duration::from_secs(1);
/// Silence by which output that was under way when the local connection closed has all come: agents
/// repeat what was lost every 100 ms or so.
const QUIET: Duration = Duration::from_millis(400);
/// How long a connection may take nothing while another waits for its turn.
const SLOW_READER: Duration = Duration::from_secs(30);

/// Carries `first` and the connections of `queue`, one after another, until the session is over;
/// what is left of it then is for the caller to end. Connections that were not taken by then are
/// left in the queue.
pub async fn serve(
    opened: &mut Opened,
    first: Option<Accepted>,
    queue: &mut mpsc::Receiver<Accepted>,
    report: &Reporter,
    stop: &mut Stop,
) -> Over {
    let mut line = Line {
        sender: opened.channel.sender(),
        channel: &mut opened.channel,
        report,
        losses: Losses::default(),
        lost: false,
        greeting: Some(BytesMut::new()),
    };
    let mut next = first;
    loop {
        let over = match next.take() {
            Some(accepted) => line.carry(accepted, queue, stop).await,
            None => match line.wait(queue, stop).await {
                Ok(accepted) => {
                    next = Some(accepted);
                    continue;
                }
                Err(over) => Err(over),
            },
        };
        if let Err(over) = over {
            return over;
        }
    }
}

/// The session, between and during connections.
struct Line<'a> {
    channel: &'a mut Channel,
    sender: DataSender,
    report: &'a Reporter,
    losses: Losses,
    /// The connection to the gateway is being replaced.
    lost: bool,
    /// What the destination has said to nobody yet; `None` once it has had a connection.
    greeting: Option<BytesMut>,
}

/// What a connection's end looks like from here.
enum End {
    /// The connection is over in this way, the session is not.
    Connection(Gone),
    /// The session is over.
    Session(Over),
}

impl Line<'_> {
    /// Waits for a connection.
    async fn wait(
        &mut self,
        queue: &mut mpsc::Receiver<Accepted>,
        stop: &mut Stop,
    ) -> Result<Accepted, Over> {
        loop {
            let room = self
                .greeting
                .as_ref()
                .is_none_or(|greeting| greeting.len() < GREETING);
            let event = tokio::select! {
                () = stop.wanted() => return Err(Over::Stopped),
                accepted = queue.recv() => {
                    // Without a queue nobody listens any more.
                    return accepted.ok_or(Over::Stopped);
                }
                event = self.channel.next(), if room => event,
                () = self.losses.tell(self.report) => continue,
            };
            match self.handle(event)? {
                Some(Event::Output(data)) => {
                    if let Some(greeting) = &mut self.greeting {
                        greeting.extend_from_slice(&data);
                    }
                }
                Some(Event::Flag(Flag::ConnectToPortError)) => {
                    debug!("the destination cannot be reached");
                }
                _ => {}
            }
        }
    }

    /// Carries one connection to its end, and makes the agent ready for the next.
    async fn carry(
        &mut self,
        accepted: Accepted,
        queue: &mut mpsc::Receiver<Accepted>,
        stop: &mut Stop,
    ) -> Result<(), Over> {
        let Accepted { socket, peer, .. } = accepted;
        let connection = self.report.connected(peer);
        let mut passage = Passage::new(socket, self.greeting.take());
        let end = passage.run(self, queue, stop).await;
        // What was silent long enough to be taken for at its end is that.
        let at_end = passage.silence.is_some_and(|at| at <= Instant::now());
        let socket = passage.into_socket();
        match end {
            End::Session(over) => {
                socket.reset();
                connection.ended(Gone::Ended);
                return Err(over);
            }
            End::Connection(how) => {
                if how != Gone::Finished {
                    socket.reset();
                }
                connection.ended(how);
            }
        }
        drop(socket);
        self.disconnect(at_end, stop).await
    }

    /// Has the agent close its connection. Nothing in it tells the output of the old one from that of
    /// the next: it is thrown away until the agent has acknowledged the flag, and then until
    /// nothing comes any more, unless the old one was `at_end`.
    async fn disconnect(&mut self, at_end: bool, stop: &mut Stop) -> Result<(), Over> {
        let sender = self.sender.clone();
        let flag = async {
            // The end of the channel is told by its last event.
            sender.send_flag(Flag::DisconnectToPort).await.is_ok() && sender.flush().await
        };
        tokio::pin!(flag);
        let mut telling = true;
        let mut flowing = !at_end;
        let mut quiet = None;
        loop {
            let event = tokio::select! {
                () = stop.wanted() => return Err(Over::Stopped),
                told = &mut flag, if telling => {
                    telling = false;
                    match (told, flowing) {
                        (true, false) => return Ok(()),
                        (true, true) => quiet = Some(Instant::now() + QUIET),
                        (false, _) => {}
                    }
                    continue;
                }
                event = self.channel.next() => event,
                () = self.losses.tell(self.report) => continue,
                () = until(quiet) => {
                    if !self.lost {
                        return Ok(());
                    }
                    quiet = Some(Instant::now() + QUIET);
                    continue;
                }
            };
            if let Some(Event::Output(_)) = self.handle(event)? {
                flowing = true;
                quiet = quiet.map(|_| Instant::now() + QUIET);
            }
        }
    }

    /// Sees to what is the same at any time; gives back data and flags.
    fn handle(&mut self, event: Option<Event>) -> Result<Option<Event>, Over> {
        // The channel's task ends only after its last event.
        let event = event.ok_or_else(|| Over::Closed(String::new()))?;
        match event {
            Event::Lost(_) => self.lost = true,
            Event::Resumed => self.lost = false,
            _ => {}
        }
        Ok(match self.losses.handle(event, self.report) {
            Some(Event::End(end)) => return Err(Over::of(end)),
            Some(Event::CustomerMessage(text)) => {
                self.report.report(Notice::Message(printable(&text)));
                None
            }
            event => event,
        })
    }
}

/// One local connection on its way through the session.
struct Passage {
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
    silence: Option<Instant>,
    /// When a connection that takes nothing has had its time.
    slow: Option<Instant>,
}

impl Passage {
    fn new(socket: LocalSocket, greeting: Option<BytesMut>) -> Self {
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

    fn into_socket(self) -> LocalSocket {
        self.reader.unsplit(self.writer)
    }

    async fn run(
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

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
