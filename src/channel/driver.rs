//! The task between a socket and the protocol core.
//!
//! One loop: what came in goes into the core, what the core has to say goes out, events wait for
//! the session without keeping acknowledgements or pings from going on.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt as _;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tracing::debug;
use uuid::Uuid;

use super::data_key::{self, KeyOutcome};
use super::figures::Meter;
use super::pending::Pending;
use super::reconnect::{self, Connection, ReconnectError};
use super::websocket::{self, ConnectError};
use super::wire::Wire;
use super::{End, Event, Options, Outgoing, Question};
use crate::aws::{Aws, SessionGrant};
use crate::protocol::data_channel;
use crate::protocol::payload::Size;
use crate::protocol::{Config, DataChannel};

/// Connections in a row that may be lost without having brought the session on, with pauses of up to
/// 5 s in between: some minutes, and some seconds for a session that has not begun.
const MAX_USELESS: u32 = 60;
const MAX_USELESS_STARTS: u32 = 6;
/// How much longer the wall clock may have run than ours before we must have been asleep.
const ASLEEP: Duration = Duration::from_secs(5);

/// The driver's ends of the channel's queues.
pub struct Ports {
    pub outgoing: mpsc::Receiver<Outgoing>,
    pub size: watch::Receiver<Option<Size>>,
    pub questions: mpsc::Receiver<Question>,
    pub events: mpsc::Sender<Event>,
}

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Where the connection is.
enum Link {
    Connecting(BoxFuture<Result<Connection, ConnectError>>),
    Up(Box<Wire>),
    Reconnecting {
        attempt: BoxFuture<Result<Option<Connection>, ReconnectError>>,
        hindered: mpsc::Receiver<String>,
    },
}

/// Drives one data channel until it ends.
pub struct Driver {
    aws: Aws,
    grant: SessionGrant,
    target: String,
    keepalive: Option<Duration>,
    core: DataChannel,
    link: Link,
    ports: Ports,
    pending: Pending,
    /// Who waits for acknowledgements, and of all messages below which number.
    flushes: VecDeque<(i64, oneshot::Sender<()>)>,
    data_key: Option<BoxFuture<KeyOutcome>>,
    clocks: (Instant, SystemTime),
    meter: Meter,
    /// Connections in a row that were lost without having brought the session on.
    useless: u32,
    started: bool,
    ended: bool,
}

/// What a turn of the loop was woken by.
enum Woken {
    Io(Result<(), String>),
    Connected(Result<Connection, ConnectError>),
    Reconnected(Result<Option<Connection>, ReconnectError>),
    Hindered(String),
    Outgoing(Outgoing),
    Asked(Question),
    Size,
    Delivered,
    DataKey(KeyOutcome),
    Deadline,
    Abandoned,
}

impl Driver {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where a channel learns the time of day"
    )]
    pub fn new(
        aws: Aws,
        grant: SessionGrant,
        target: String,
        options: Options,
        ports: Ports,
    ) -> std::io::Result<Self> {
        let now = Instant::now();
        let wall = SystemTime::now();
        let unix = wall
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let config = Config {
            client_id: Uuid::new_v4(),
            rng: fastrand::Rng::with_seed(u64::from_ne_bytes(websocket::random()?)),
            unix_millis: u64::try_from(unix.as_millis()).unwrap_or(u64::MAX),
            max_payload: options.max_payload,
            answer_timeout: options.answer_timeout,
            no_data_keys: options.no_data_keys,
        };
        let core = match options.take_over {
            true => DataChannel::take_over(config, now.into_std()),
            false => DataChannel::new(config, now.into_std()),
        };
        let connecting = reconnect::connect_first(aws.clone(), grant.clone());
        Ok(Self {
            core,
            link: Link::Connecting(Box::pin(connecting)),
            keepalive: options.keepalive,
            aws,
            grant,
            target,
            ports,
            pending: Pending::default(),
            flushes: VecDeque::new(),
            data_key: None,
            clocks: (now, wall),
            meter: Meter::new(now),
            useless: 0,
            started: false,
            ended: false,
        })
    }

    /// Runs until the last event is delivered, or nobody wants it.
    pub async fn run(mut self) {
        while !(self.ended && self.pending.is_empty()) {
            let woken = self.turn().await;
            let now = Instant::now();
            if matches!(woken, Woken::Abandoned) {
                break;
            }
            self.handle(now, woken);
            self.take_events();
            self.end_flushes();
            self.meter.note(now, self.core.stats());
        }
        debug!(stats = ?self.core.stats(), "channel ended");
        if let Link::Up(wire) = &mut self.link {
            wire.close().await;
        }
    }

    async fn turn(&mut self) -> Woken {
        let deadline = self.deadline();
        let may_write = !self.ended && self.core.can_write();
        let may_read = !self.pending.is_full();
        let Self {
            core,
            link,
            ports,
            data_key,
            pending,
            ended,
            ..
        } = self;
        // Not biased: neither may a flood of output keep a Ctrl-C waiting, nor the other way round.
        tokio::select! {
            permit = ports.events.reserve(), if !pending.is_empty() || ports.events.is_closed() => {
                match permit {
                    Ok(permit) => {
                        if let Some(event) = pending.pop() {
                            permit.send(event);
                        }
                        Woken::Delivered
                    }
                    Err(_) => Woken::Abandoned,
                }
            }
            () = ports.events.closed() => Woken::Abandoned,
            changed = ports.size.changed(), if !*ended => match changed {
                Ok(()) => Woken::Size,
                Err(_) => Woken::Abandoned,
            },
            Some(outgoing) = ports.outgoing.recv(), if may_write => Woken::Outgoing(outgoing),
            Some(question) = ports.questions.recv() => Woken::Asked(question),
            woken = poll_link(link, core, may_read, deadline), if !*ended => woken,
            key = async { match data_key { Some(key) => key.await, None => std::future::pending().await } },
                if data_key.is_some() => Woken::DataKey(key),
            () = sleep_until(deadline), if !*ended => Woken::Deadline,
        }
    }

    fn handle(&mut self, now: Instant, woken: Woken) {
        self.notice_sleep(now);
        let at = now.into_std();
        if self.pending.is_full() {
            self.core.handle_deafness(at);
        }
        match woken {
            Woken::Io(Ok(())) | Woken::Delivered | Woken::Abandoned => {}
            Woken::Io(Err(reason)) => self.lose(now, reason),
            Woken::Connected(Ok(connection)) => {
                self.push(Event::Connected);
                self.connect(now, connection);
            }
            Woken::Connected(Err(error)) => self.end(End::NotConnected(error)),
            Woken::Reconnected(Ok(Some(connection))) => {
                self.meter.reconnected(now);
                self.push(Event::Resumed);
                self.connect(now, connection);
            }
            Woken::Reconnected(Ok(None)) => self.end(End::TimedOut),
            Woken::Reconnected(Err(error)) => self.end(End::LostForGood(error)),
            Woken::Hindered(reason) => self.push(Event::Hindered(reason)),
            Woken::Outgoing(Outgoing::Data(data)) => {
                self.core.write(at, &data);
            }
            Woken::Outgoing(Outgoing::Flag(flag)) => self.core.send_flag(at, flag),
            Woken::Outgoing(Outgoing::Flush(flush)) => {
                self.flushes.retain(|(_, flush)| !flush.is_closed());
                let below = self.core.next_sequence_number();
                self.flushes.push_back((below, flush));
            }
            Woken::Asked(question) => {
                let connected = matches!(self.link, Link::Up(_));
                let figures = self.meter.figures(now, &self.core, connected);
                // Whoever no longer waits need not know.
                let _ = question.send(figures);
            }
            Woken::Size => {
                let size = *self.ports.size.borrow_and_update();
                if let Some(size) = size {
                    self.core.set_size(at, size);
                }
            }
            Woken::DataKey(outcome) => {
                self.data_key = None;
                let (outcome, seed) = match websocket::random() {
                    Ok(seed) => (outcome, seed),
                    Err(error) => (Err(error.to_string()), [0; 12]),
                };
                self.core.handle_data_key(at, outcome, seed);
            }
            Woken::Deadline => self.handle_deadline(now),
        }
    }

    fn take_events(&mut self) {
        while let Some(event) = self.core.poll_event() {
            match event {
                data_channel::Event::Output(data) => self.push(Event::Output(data)),
                data_channel::Event::Started(kind, agent) => {
                    self.started = true;
                    self.push(Event::Started(kind, agent));
                }
                data_channel::Event::CustomerMessage(text) => {
                    self.push(Event::CustomerMessage(text));
                }
                data_channel::Event::Stderr(data) => self.push(Event::Stderr(data)),
                data_channel::Event::ExitCode(code, text) => {
                    self.push(Event::ExitCode(code, text));
                }
                data_channel::Event::Flag(flag) => self.push(Event::Flag(flag)),
                data_channel::Event::DataKeyNeeded(request) => {
                    self.data_key = Some(Box::pin(data_key::get(
                        self.aws.clone(),
                        self.grant.session_id.clone(),
                        self.target.clone(),
                        request,
                    )));
                }
                data_channel::Event::Incomplete => self.push(Event::Incomplete),
                data_channel::Event::Closed(output) => self.end(End::Closed(output)),
                data_channel::Event::Failed(error) => self.end(End::Failed(error)),
            }
        }
    }

    /// Tells those who wait for acknowledgements that have come.
    fn end_flushes(&mut self) {
        let below = self.core.all_acknowledged_below();
        while let Some((_, flush)) = self.flushes.pop_front_if(|(number, _)| *number <= below) {
            // Whoever no longer waits need not know.
            let _ = flush.send(());
        }
    }

    fn connect(&mut self, now: Instant, connection: Connection) {
        self.grant = connection.grant;
        self.core
            .handle_connect(now.into_std(), self.grant.token.reveal());
        self.link = Link::Up(Box::new(Wire::new(connection.socket, now, &self.core)));
    }

    fn lose(&mut self, now: Instant, reason: String) {
        debug!(reason, "connection lost");
        self.core.handle_disconnect();
        // What came before the loss counts, a farewell above all.
        self.take_events();
        if self.ended {
            return;
        }
        if let Link::Up(wire) = &self.link {
            self.useless = match wire.was_useful(&self.core, now) {
                true => 0,
                false => self.useless + 1,
            };
        }
        let patience = if self.started {
            MAX_USELESS
        } else {
            MAX_USELESS_STARTS
        };
        if self.useless > patience {
            return self.end(End::Useless(reason));
        }
        let (hindered_tx, hindered) = mpsc::channel(1);
        let attempt = reconnect::reconnect(
            self.aws.clone(),
            self.grant.clone(),
            self.useless,
            hindered_tx,
        );
        self.link = Link::Reconnecting {
            attempt: Box::pin(attempt),
            hindered,
        };
        self.push(Event::Lost(reason));
    }

    fn end(&mut self, end: End) {
        if !std::mem::replace(&mut self.ended, true) {
            self.push(Event::End(end));
            // Nothing will be acknowledged any more, nor sent.
            self.flushes.clear();
            self.ports.outgoing.close();
            while self.ports.outgoing.try_recv().is_ok() {}
        }
    }

    fn push(&mut self, event: Event) {
        self.pending.push(event);
    }
}

/// Deadlines.
impl Driver {
    fn deadline(&self) -> Option<Instant> {
        let core = self.core.poll_timeout().map(Instant::from_std);
        core.into_iter().chain(self.health_deadline()).min()
    }

    /// When the gateway's silence calls for a ping, or is taken for a loss.
    fn health_deadline(&self) -> Option<Instant> {
        match (&self.link, self.keepalive) {
            // While the session lags and nothing is read, silence proves nothing.
            (Link::Up(wire), Some(keepalive)) if !self.pending.is_full() => {
                Some(wire.deadline(keepalive, &self.core))
            }
            _ => None,
        }
    }

    fn handle_deadline(&mut self, now: Instant) {
        self.core.handle_timeout(now.into_std());
        if self
            .health_deadline()
            .is_some_and(|deadline| deadline <= now)
            && let Link::Up(wire) = &mut self.link
            && let Some(reason) = wire.check(now)
        {
            self.lose(now, reason);
        }
    }

    /// After a sleep of the machine the connection is probably dead, and our clock does not know
    /// how long it was away: ask now.
    #[expect(
        clippy::disallowed_methods,
        reason = "only the wall clock runs on while the machine sleeps"
    )]
    fn notice_sleep(&mut self, now: Instant) {
        let wall = SystemTime::now();
        let (before, wall_before) = self.clocks;
        self.clocks = (now, wall);
        let ran = wall.duration_since(wall_before).unwrap_or_default();
        if ran > now.duration_since(before) + ASLEEP
            && let Link::Up(wire) = &mut self.link
        {
            debug!("the machine was asleep");
            wire.ask(now);
        }
    }
}

/// Waits for something to happen on the link; `deadline` is what else is waited for.
async fn poll_link(
    link: &mut Link,
    core: &mut DataChannel,
    may_read: bool,
    deadline: Option<Instant>,
) -> Woken {
    poll_fn(|cx| match link {
        Link::Connecting(attempt) => attempt.poll_unpin(cx).map(Woken::Connected),
        Link::Up(wire) => match wire.poll(cx, core, may_read) {
            Poll::Ready(outcome) => Poll::Ready(Woken::Io(outcome)),
            // What was just sent may have to be sent again before anything else happens.
            Poll::Pending if is_sooner(core.poll_timeout(), deadline) => {
                Poll::Ready(Woken::Io(Ok(())))
            }
            Poll::Pending => Poll::Pending,
        },
        Link::Reconnecting { attempt, hindered } => {
            if let Poll::Ready(outcome) = attempt.poll_unpin(cx) {
                return Poll::Ready(Woken::Reconnected(outcome));
            }
            match hindered.poll_recv(cx) {
                Poll::Ready(Some(reason)) => Poll::Ready(Woken::Hindered(reason)),
                _ => Poll::Pending,
            }
        }
    })
    .await
}

fn is_sooner(due: Option<std::time::Instant>, deadline: Option<Instant>) -> bool {
    due.is_some_and(|due| deadline.is_none_or(|deadline| due < deadline.into_std()))
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
