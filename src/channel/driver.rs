//! The task between a socket and the protocol core.
//!
//! One loop: what came in goes into the core, what the core has to say goes out, events wait for
//! the session without keeping acknowledgements or pings from going on.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt as _, Sink as _, Stream as _};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::{self, Message};
use tracing::debug;
use uuid::Uuid;

use super::reconnect::{self, Connection, ReconnectError};
use super::websocket::{self, ConnectError, Socket};
use super::{End, Event, Options};
use crate::aws::{Aws, SessionGrant};
use crate::protocol::cipher::DataKey;
use crate::protocol::data_channel;
use crate::protocol::handshake::{DataKeyRequest, SealedDataKey};
use crate::protocol::payload::{Flag, Size};
use crate::protocol::{Config, DataChannel, Transmit};

/// Output that may wait for the session before the socket is no longer read, in bytes.
const MAX_PENDING: usize = 2 * 1024 * 1024;
/// Output events are joined up to this size, in bytes.
const JOINED_OUTPUT: usize = 64 * 1024;
/// Acknowledgements that may wait for the socket before it is no longer read.
const MAX_ACKNOWLEDGEMENTS: usize = 8192;
/// Frames read before other work has its turn.
const FRAMES_A_TURN: usize = 256;
/// Bytes read before other work has its turn.
const BYTES_A_TURN: usize = 512 * 1024;
/// Frames after which acknowledgements are sent, while more can be read.
const FRAMES_A_FLUSH: usize = 64;
/// Silence, with something unacknowledged, after which a ping tells whether anybody is there.
const UNACKNOWLEDGED_SILENCE: Duration = Duration::from_secs(5);
/// The most that the gateway has to answer a ping.
const MAX_PONG_WAIT: Duration = Duration::from_secs(15);
/// Connections in a row that may be lost before the agent is heard on them, with pauses of up to
/// 5 s in between: some minutes, and some seconds for a session that has not begun.
const MAX_USELESS: u32 = 60;
const MAX_USELESS_STARTS: u32 = 6;
/// How much longer the wall clock may have run than ours before we must have been asleep.
const ASLEEP: Duration = Duration::from_secs(5);

/// The driver's ends of the channel's queues.
pub struct Ports {
    pub data: mpsc::Receiver<Bytes>,
    pub flags: mpsc::Receiver<Flag>,
    pub size: watch::Receiver<Option<Size>>,
    pub events: mpsc::Sender<Event>,
}

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type KeyOutcome = Result<(DataKey, SealedDataKey), String>;

/// Where the connection is.
enum Link {
    Connecting(BoxFuture<Result<Connection, ConnectError>>),
    Up(Box<Wire>),
    Reconnecting {
        attempt: BoxFuture<Result<Option<Connection>, ReconnectError>>,
        hindered: mpsc::Receiver<String>,
    },
}

/// The socket, and what is known of its health.
struct Wire {
    socket: Socket,
    unflushed: bool,
    last_received: Instant,
    ping_sent: Option<Instant>,
    /// What the core had understood when the connection came up.
    understood: u64,
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
    pending: VecDeque<Event>,
    joined: BytesMut,
    pending_bytes: usize,
    data_key: Option<BoxFuture<KeyOutcome>>,
    clocks: (Instant, SystemTime),
    /// Connections in a row that were lost before the agent was heard on them.
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
    Data(Option<Bytes>),
    Flag(Option<Flag>),
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
            pending: VecDeque::new(),
            joined: BytesMut::new(),
            pending_bytes: 0,
            data_key: None,
            clocks: (now, wall),
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
        }
        debug!(stats = ?self.core.stats(), "channel ended");
        if let Link::Up(wire) = &mut self.link {
            // The gateway may be gone already; that is no concern any more.
            let _ = wire.socket.close(None).await;
        }
    }

    async fn turn(&mut self) -> Woken {
        let deadline = self.deadline();
        let may_write = !self.ended && self.core.can_write();
        let may_read = self.pending_bytes < MAX_PENDING
            && self.core.queued_acknowledgements() < MAX_ACKNOWLEDGEMENTS;
        let Self {
            core,
            link,
            ports,
            data_key,
            pending,
            ended,
            pending_bytes,
            joined,
            ..
        } = self;
        // Not biased: neither may a flood of output keep a Ctrl-C waiting, nor the other way round.
        tokio::select! {
            permit = ports.events.reserve(), if !pending.is_empty() || ports.events.is_closed() => {
                match permit {
                    Ok(permit) => {
                        if let Some(event) = pop_pending(pending, joined, pending_bytes) {
                            permit.send(event);
                        }
                        Woken::Delivered
                    }
                    Err(_) => Woken::Abandoned,
                }
            }
            () = ports.events.closed() => Woken::Abandoned,
            Some(flag) = ports.flags.recv(), if may_write => Woken::Flag(Some(flag)),
            changed = ports.size.changed(), if !*ended => match changed {
                Ok(()) => Woken::Size,
                Err(_) => Woken::Abandoned,
            },
            data = ports.data.recv(), if may_write => Woken::Data(data),
            woken = poll_link(link, core, may_read), if !*ended => woken,
            key = async { match data_key { Some(key) => key.await, None => std::future::pending().await } },
                if data_key.is_some() => Woken::DataKey(key),
            () = sleep_until(deadline), if !*ended => Woken::Deadline,
        }
    }

    fn handle(&mut self, now: Instant, woken: Woken) {
        self.notice_sleep(now);
        let at = now.into_std();
        match woken {
            Woken::Io(Ok(())) | Woken::Delivered | Woken::Abandoned => {}
            Woken::Io(Err(reason)) => self.lose(reason),
            Woken::Connected(Ok(connection)) => {
                self.push(Event::Connected);
                self.connect(now, connection);
            }
            Woken::Connected(Err(error)) => self.end(End::NotConnected(error)),
            Woken::Reconnected(Ok(Some(connection))) => {
                self.push(Event::Resumed);
                self.connect(now, connection);
            }
            Woken::Reconnected(Ok(None)) => self.end(End::TimedOut),
            Woken::Reconnected(Err(error)) => self.end(End::LostForGood(error)),
            Woken::Hindered(reason) => self.push(Event::Hindered(reason)),
            Woken::Data(data) => {
                if let Some(data) = data {
                    self.core.write(at, &data);
                }
            }
            Woken::Flag(flag) => {
                if let Some(flag) = flag {
                    self.core.send_flag(at, flag);
                }
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
                data_channel::Event::Output(data) => self.push_output(data),
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
                    self.data_key = Some(Box::pin(get_data_key(
                        self.aws.clone(),
                        self.grant.session_id.clone(),
                        self.target.clone(),
                        request,
                    )));
                }
                data_channel::Event::Closed(output) => self.end(End::Closed(output)),
                data_channel::Event::Failed(error) => self.end(End::Failed(error)),
            }
        }
    }

    fn connect(&mut self, now: Instant, connection: Connection) {
        self.grant = connection.grant;
        self.core
            .handle_connect(now.into_std(), self.grant.token.reveal());
        self.link = Link::Up(Box::new(Wire {
            socket: connection.socket,
            unflushed: false,
            last_received: now,
            ping_sent: None,
            understood: self.core.stats().understood,
        }));
    }

    fn lose(&mut self, reason: String) {
        if self.ended {
            return;
        }
        debug!(reason, "connection lost");
        self.core.handle_disconnect();
        if let Link::Up(wire) = &self.link {
            let useful = self.core.stats().understood > wire.understood;
            self.useless = if useful { 0 } else { self.useless + 1 };
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
        }
    }

    fn push(&mut self, event: Event) {
        self.pending_bytes += event_bytes(&event);
        if !self.joined.is_empty() {
            let joined = self.joined.split().freeze();
            self.pending.push_back(Event::Output(joined));
        }
        self.pending.push_back(event);
    }

    /// Small outputs are joined, so that the session is woken and writes less often.
    fn push_output(&mut self, data: Bytes) {
        self.pending_bytes += data.len();
        if self.joined.is_empty() && self.pending.is_empty() {
            // Nothing waits: this one goes out as it is.
            self.pending.push_back(Event::Output(data));
            return;
        }
        if self.joined.len() + data.len() > JOINED_OUTPUT && !self.joined.is_empty() {
            let joined = self.joined.split().freeze();
            self.pending.push_back(Event::Output(joined));
        }
        self.joined.extend_from_slice(&data);
    }
}

/// Deadlines.
impl Driver {
    fn deadline(&self) -> Option<Instant> {
        let core = self.core.poll_timeout().map(Instant::from_std);
        core.into_iter().chain(self.health_deadline()).min()
    }

    fn pong_wait(&self) -> Option<Duration> {
        self.keepalive
            .map(|keepalive| (keepalive / 2).min(MAX_PONG_WAIT))
    }

    /// When the gateway's silence calls for a ping, or is taken for a loss.
    fn health_deadline(&self) -> Option<Instant> {
        let (Link::Up(wire), Some(keepalive), Some(pong)) =
            (&self.link, self.keepalive, self.pong_wait())
        else {
            return None;
        };
        // While the session lags and nothing is read, silence proves nothing.
        if self.pending_bytes >= MAX_PENDING {
            return None;
        }
        Some(match wire.ping_sent {
            Some(sent) => sent + pong,
            None if self.core.all_acknowledged() => wire.last_received + keepalive,
            None => wire.last_received + keepalive.min(UNACKNOWLEDGED_SILENCE),
        })
    }

    fn handle_deadline(&mut self, now: Instant) {
        self.core.handle_timeout(now.into_std());
        if self.health_deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        if let Link::Up(wire) = &mut self.link {
            if wire.ping_sent.is_some() {
                let silent = now.duration_since(wire.last_received).as_secs();
                return self.lose(format!("no answer for {silent} s"));
            }
            wire.ping(now);
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
            && wire.ping_sent.is_none()
        {
            debug!("the machine was asleep");
            wire.ping(now);
        }
    }
}

impl Wire {
    fn ping(&mut self, now: Instant) {
        self.ping_sent = Some(now);
        // Pings are queued even where the socket cannot take more; a dead one shows later.
        let ping = Message::Ping(Bytes::from_static(b"keepalive"));
        let _ = Pin::new(&mut self.socket).start_send(ping);
        self.unflushed = true;
    }

    /// Moves frames both ways as far as it goes. Ready when something was received, or the
    /// connection is lost.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        core: &mut DataChannel,
        may_read: bool,
    ) -> Poll<Result<(), String>> {
        let now = Instant::now();
        let mut received = 0;
        let mut bytes = 0;
        loop {
            if let Poll::Ready(Err(error)) = self.poll_write(cx, core, now) {
                return Poll::Ready(Err(describe(&error)));
            }
            let until = received + FRAMES_A_FLUSH;
            while may_read && received < until && bytes < BYTES_A_TURN {
                match Pin::new(&mut self.socket).poll_next(cx) {
                    Poll::Ready(Some(Ok(message))) => {
                        received += 1;
                        bytes += message.len();
                        self.last_received = now;
                        self.ping_sent = None;
                        if let Some(reason) = take(message, core, now) {
                            return Poll::Ready(Err(reason));
                        }
                    }
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(describe(&error))),
                    Poll::Ready(None) => return Poll::Ready(Err("closed by the gateway".into())),
                    Poll::Pending => break,
                }
            }
            if received < until || received >= FRAMES_A_TURN {
                break;
            }
        }
        if let Poll::Ready(Err(error)) = self.poll_write(cx, core, now) {
            return Poll::Ready(Err(describe(&error)));
        }
        if received > 0 {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    }

    /// Gives the socket all that the core has to send, and flushes once behind it.
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        core: &mut DataChannel,
        now: Instant,
    ) -> Poll<Result<(), tungstenite::Error>> {
        let mut socket = Pin::new(&mut self.socket);
        loop {
            ready!(socket.as_mut().poll_ready(cx))?;
            let Some(transmit) = core.poll_transmit(now.into_std()) else {
                break;
            };
            let message = match transmit {
                Transmit::Text(text) => Message::text(text),
                Transmit::Binary(frame) => Message::Binary(frame),
            };
            socket.as_mut().start_send(message)?;
            self.unflushed = true;
        }
        if self.unflushed {
            ready!(socket.poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }
}

/// Gives a message to the core; the reason if it is the connection's last.
fn take(message: Message, core: &mut DataChannel, now: Instant) -> Option<String> {
    match message {
        Message::Binary(frame) => core.handle_frame(now.into_std(), frame),
        Message::Text(text) => core.handle_frame(now.into_std(), text.into()),
        Message::Close(Some(frame)) => {
            let code = u16::from(frame.code);
            // Printable words only: this is shown to the user.
            let words: String = frame
                .reason
                .chars()
                .filter(|c| !c.is_control())
                .take(80)
                .collect();
            return Some(match words.is_empty() {
                true => format!("closed by the gateway with code {code}"),
                false => format!("closed by the gateway with code {code}: {words}"),
            });
        }
        Message::Close(None) => return Some("closed by the gateway".into()),
        Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
    }
    None
}

fn describe(error: &tungstenite::Error) -> String {
    match error {
        tungstenite::Error::Io(error) => error.to_string(),
        tungstenite::Error::Protocol(
            tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
        ) => "connection reset".into(),
        error => error.to_string(),
    }
}

async fn poll_link(link: &mut Link, core: &mut DataChannel, may_read: bool) -> Woken {
    poll_fn(|cx| match link {
        Link::Connecting(attempt) => attempt.poll_unpin(cx).map(Woken::Connected),
        Link::Up(wire) => wire.poll(cx, core, may_read).map(Woken::Io),
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

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn pop_pending(
    pending: &mut VecDeque<Event>,
    joined: &mut BytesMut,
    bytes: &mut usize,
) -> Option<Event> {
    let event = pending.pop_front()?;
    *bytes -= event_bytes(&event);
    if pending.is_empty() && !joined.is_empty() {
        pending.push_back(Event::Output(joined.split().freeze()));
    }
    Some(event)
}

fn event_bytes(event: &Event) -> usize {
    match event {
        Event::Output(data) | Event::Stderr(data) => data.len(),
        _ => 0,
    }
}

/// Asks KMS for a data key, bound to this session and target.
async fn get_data_key(
    aws: Aws,
    session_id: String,
    target: String,
    request: DataKeyRequest,
) -> KeyOutcome {
    let context = |challenge: Option<&str>| {
        let mut context = vec![
            ("aws:ssm:SessionId".to_owned(), session_id.clone()),
            ("aws:ssm:TargetId".to_owned(), target.clone()),
        ];
        if let Some(challenge) = challenge {
            context.push(("aws:ssm:RandomChallenge".to_owned(), challenge.to_owned()));
        }
        context
    };
    let challenge = request.challenge.as_deref();
    let mut outcome = aws
        .generate_data_key(&request.key_id, context(challenge))
        .await;
    let mut challenge_used = challenge.is_some();
    if challenge_used
        && outcome
            .as_ref()
            .is_err_and(|error| error.is_access_denied())
    {
        // Key policies written before the challenge existed may allow only the other two.
        outcome = aws.generate_data_key(&request.key_id, context(None)).await;
        challenge_used = false;
    }
    match outcome {
        Ok(key) => Ok((
            key.plaintext,
            SealedDataKey {
                ciphertext: key.ciphertext,
                challenge_used,
            },
        )),
        Err(error) => Err(format!("Error calling KMS GenerateDataKey API: {error}")),
    }
}
