//! A session that carries many local connections at once: smux over the data channel.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::bind::plain;
use super::listener::Accepted;
use super::report::{Connection, Gone, Losses, Notice, Reporter};
use super::{Over, Stop};
use crate::channel::{Channel, DataSender, Event, Permit};
use crate::mux::{Config, HalfClose, Mux, Question, Relayed, Role, Socket, relay};
use crate::protocol::payload::Flag;
use crate::session::SessionFailure;
use crate::session::opening::Opened;

/// Bytes that are handed to the channel at a time: streams take turns in what waits here, not in
/// what the channel has.
const PIECE: usize = 16 * 1024;
/// How long connections may take to end once their session has.
const SETTLE: Duration = Duration::from_secs(3);
/// The same if somebody wants to leave.
const SETTLE_IN_HASTE: Duration = Duration::from_millis(500);
/// How long those may take whose end is decided.
const LINGER: Duration = Duration::from_millis(100);
/// How long what was sent last may take to get away when the session is left.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A tunnel's session at work.
struct Tunnel<'a> {
    mux: Mux,
    report: &'a Reporter,
    relays: JoinSet<()>,
    losses: Losses,
    /// Asked by streams, and answered once the agent has all that went before.
    confirming: Option<(Question, Flushed)>,
    /// The channel has not ended.
    sending: bool,
}

type Flushed = Pin<Box<dyn Future<Output = bool> + Send + Sync>>;

/// What the loop was woken by.
enum Woken {
    Event(Option<Event>),
    Sent,
    Accepted(Option<Accepted>),
    Settled,
    Told,
    Stop,
}

/// Carries `first` and the connections of `queue` until the session is over; then they are at
/// their end, and what is left of the session is for the caller to end. Connections that were not
/// taken by then are left in the queue. One that takes nothing keeps the others waiting for
/// `slow_reader` at most.
pub async fn serve(
    opened: &mut Opened,
    first: Option<Accepted>,
    queue: &mut mpsc::Receiver<Accepted>,
    report: &Reporter,
    stop: &mut Stop,
    slow_reader: Option<Duration>,
) -> Over {
    let mut tunnel = Tunnel::new(opened, report, slow_reader);
    if let Some(first) = first {
        tunnel.carry(first);
    }
    let over = tunnel.run(opened, queue, stop).await;
    let mut patience = SETTLE;
    if matches!(over, Over::Stopped) {
        patience = SETTLE_IN_HASTE;
        // What programs sent before they ended is still worth sending.
        let _ = timeout(LAST_WORDS, tunnel.send_all(opened)).await;
    }
    tunnel.end(patience, stop).await;
    over
}

impl<'a> Tunnel<'a> {
    fn new(opened: &Opened, report: &'a Reporter, slow_reader: Option<Duration>) -> Self {
        let keepalive = !opened.features.smux_keepalive_disabled;
        Self {
            mux: Mux::new(Config {
                slow_reader,
                ..Config::new(Role::Client, keepalive)
            }),
            report,
            relays: JoinSet::new(),
            losses: Losses::default(),
            confirming: None,
            sending: true,
        }
    }

    async fn run(
        &mut self,
        opened: &mut Opened,
        queue: &mut mpsc::Receiver<Accepted>,
        stop: &mut Stop,
    ) -> Over {
        let sender = opened.channel.sender();
        loop {
            if self.sending
                && self.confirming.is_none()
                && let Some(question) = self.mux.question()
            {
                self.confirming = Some((question, Box::pin(sender.flush())));
            }
            let woken = tokio::select! {
                () = stop.wanted() => Woken::Stop,
                event = next(&self.mux, &sender, &mut opened.channel) => Woken::Event(event),
                room = has_output(&self.mux, &sender), if self.sending => {
                    match room {
                        Some(permit) => {
                            if let Some(data) = self.mux.take_output(PIECE) {
                                permit.send(data);
                            }
                        }
                        // The channel has ended. What it brought last is still to come.
                        None => self.sending = false,
                    }
                    Woken::Sent
                }
                confirmed = confirmed(&mut self.confirming) => {
                    self.confirming = None;
                    match confirmed {
                        Some(question) => self.mux.confirm(question),
                        None => self.sending = false,
                    }
                    Woken::Sent
                }
                // Whoever comes when the channel has ended is for the next session.
                accepted = queue.recv(), if !sender.has_ended() => Woken::Accepted(accepted),
                Some(_) = self.relays.join_next() => Woken::Settled,
                () = self.losses.tell(self.report) => Woken::Told,
            };
            match woken {
                Woken::Event(event) => {
                    if let Some(over) = self.handle(event) {
                        return over;
                    }
                }
                Woken::Accepted(Some(accepted)) => self.carry(accepted),
                // Nobody listens any more.
                Woken::Accepted(None) | Woken::Stop => return Over::Stopped,
                Woken::Sent | Woken::Settled | Woken::Told => {}
            }
        }
    }

    fn handle(&mut self, event: Option<Event>) -> Option<Over> {
        let Some(event) = event else {
            // The channel's task ends only after its last event.
            return Some(Over::Closed(String::new()));
        };
        match self.losses.handle(event, self.report)? {
            Event::Output(data) => return self.receive(data),
            Event::Flag(Flag::ConnectToPortError) => self.mux.refused(),
            Event::CustomerMessage(text) => self.report.report(Notice::Message(text)),
            Event::End(end) => return Some(Over::of(end)),
            event => debug!(?event, "ignored"),
        }
        None
    }

    fn receive(&self, data: Bytes) -> Option<Over> {
        let error = self.mux.receive(data).err()?;
        Some(Over::Failed(SessionFailure::NotSmux(error)))
    }

    /// Opens a stream for a connection.
    fn carry(&mut self, accepted: Accepted) {
        let Accepted { socket, peer, .. } = accepted;
        let connection = self.report.connected(peer);
        match self.mux.open() {
            Some(stream) => {
                self.relays.spawn(async move {
                    let relayed = relay(stream, socket, HalfClose::Hold).await;
                    told(connection, relayed);
                });
            }
            None => {
                socket.reset();
                connection.ended(Gone::Failed("there are too many connections".to_owned()));
            }
        }
    }

    /// Hands over what the streams have sent, and waits until the agent has it. What comes
    /// meanwhile is taken as ever.
    async fn send_all(&mut self, opened: &mut Opened) {
        let sender = opened.channel.sender();
        let mux = self.mux.clone();
        let sent = async {
            while let Some(data) = mux.take_output(PIECE) {
                match sender.reserve().await {
                    Ok(permit) => permit.send(data),
                    Err(_) => return,
                }
            }
            sender.flush().await;
        };
        tokio::pin!(sent);
        loop {
            tokio::select! {
                () = &mut sent => return,
                event = next(&self.mux, &sender, &mut opened.channel) => {
                    if self.handle(event).is_some() {
                        return;
                    }
                }
            }
        }
    }

    /// Ends all connections, once their readers have what has come, or have not taken it for
    /// `patience`.
    async fn end(mut self, patience: Duration, stop: &mut Stop) {
        self.mux.end();
        tokio::select! {
            () = settled(&mut self.relays) => return,
            () = sleep(patience) => {}
            () = stop.insisted() => {}
        }
        self.mux.abort();
        // What is left then has its end, and only lingers.
        let _ = timeout(LINGER, settled(&mut self.relays)).await;
    }
}

/// Waits until all connections have ended.
async fn settled(relays: &mut JoinSet<()>) {
    while relays.join_next().await.is_some() {}
}

/// The channel's next event, once there is room for what it may bring. What an ended one has left
/// is little, and its end is behind it.
async fn next(mux: &Mux, sender: &DataSender, channel: &mut Channel) -> Option<Event> {
    tokio::select! {
        () = mux.room() => {}
        () = sender.ended() => {}
    }
    channel.next().await
}

/// Waits until there is something to send and room for it; `None` if the channel has ended.
async fn has_output<'a>(mux: &Mux, sender: &'a DataSender) -> Option<Permit<'a>> {
    mux.output().await;
    sender.reserve().await.ok()
}

/// Waits for the answer to a question, for ever if there is none. `None` if the channel has ended;
/// not to be called with the same question again then.
async fn confirmed(confirming: &mut Option<(Question, Flushed)>) -> Option<Question> {
    match confirming {
        Some((question, flushed)) => flushed.await.then_some(*question),
        None => std::future::pending().await,
    }
}

fn told(connection: Connection, relayed: Relayed) {
    connection.ended(match relayed {
        Relayed::Finished => Gone::Finished,
        Relayed::Refused => Gone::Refused,
        Relayed::SocketFailed(error) => Gone::Failed(plain(&error)),
        Relayed::TooSlow => Gone::TooSlow,
        Relayed::Ended => Gone::Ended,
    });
}
