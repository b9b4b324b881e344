//! A session that carries local connections one after another, as agents without multiplexing do
//! it.
//!
//! Such an agent connects to the destination when the session starts. A flag tells it that the
//! local connection is closed; then it closes its own, and connects again when the next bytes
//! come. It never tells that the destination has closed.

mod passage;

use std::time::Duration;

use bytes::BytesMut;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use super::listener::Accepted;
use super::report::{Gone, Losses, Notice, Reporter};
use super::{Over, Stop};
use crate::channel::{Channel, DataSender, Event};
use crate::mux::Socket as _;
use crate::protocol::payload::Flag;
use crate::session::SessionFailure;
use crate::session::ending::printable;
use crate::session::opening::Opened;

use self::passage::{End, Passage};

/// What a destination may say before anybody has connected, in bytes. More waits at the agent.
const GREETING: usize = 64 * 1024;
/// Silence by which output that was under way when the local connection closed has all come: agents
/// repeat what was lost every 100 ms or so.
const QUIET: Duration = Duration::from_millis(400);
/// How long that silence may be waited for.
const NEVER_QUIET: Duration = Duration::from_secs(5);

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
        let Accepted {
            socket,
            peer,
            claim,
            ..
        } = accepted;
        let connection = self.report.connected(peer);
        drop(claim);
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
    /// nothing comes any more, unless the old one was `at_end`. Should that not be within some
    /// seconds, the session is of no more use.
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
        let mut never = None;
        loop {
            let event = tokio::select! {
                () = stop.wanted() => return Err(Over::Stopped),
                told = &mut flag, if telling => {
                    telling = false;
                    match (told, flowing) {
                        (true, false) => return Ok(()),
                        (true, true) => {
                            quiet = Some(Instant::now() + QUIET);
                            never = Some(Instant::now() + NEVER_QUIET);
                        }
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
            let lost = self.lost;
            match self.handle(event)? {
                // What was lost meanwhile is sent again, which takes its time.
                _ if lost => {
                    never = never.map(|_| Instant::now() + NEVER_QUIET);
                    quiet = quiet.map(|_| Instant::now() + QUIET);
                }
                Some(Event::Output(_)) => {
                    if never.is_some_and(|at| at <= Instant::now()) {
                        return Err(Over::Failed(SessionFailure::NeverQuiet));
                    }
                    flowing = true;
                    quiet = quiet.map(|_| Instant::now() + QUIET);
                }
                _ => {}
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

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
