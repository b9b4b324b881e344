//! One session: joins a client's connection, the agent's protocol and the program behind it.
//!
//! Everything happens in one task. Nothing is read from the program while messages wait to be
//! written to the client, and nothing from the client while input waits to be typed, so all
//! queues are bounded by what one read brings.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

use super::agent::{Agent, Config, Encryption, Event, SessionType, Transmit};
use super::client::{Client, Traffic, traffic};
use super::document::{Prefixes, Program};
use super::fault::{Cut, Fuse, Line, Tally};
use super::gateway;
use super::host::{Host, HostEvent};
use super::output::Cutter;
use super::state::{
    Control, Injection, Shared, Status, TOKEN_LIFE, random, wall_clock, wall_millis,
};
use crate::protocol::message::{AgentMessage, MessageType, PayloadType};
use crate::protocol::payload::ChannelClosed;

/// The KMS key of encrypted sessions.
const KEY: &str = "alias/loopback";
/// How long a client may take to leave once its session is over.
const FAREWELL: Duration = Duration::from_secs(5);
/// Frames that may wait for a client that does not read.
const BACKLOG: usize = 65_536;
/// Before a terminal's output is first read, when paced.
const START_DELAY: Duration = Duration::from_secs(1);
/// Before a program that does not start is reported, when paced.
const FAILURE_DELAY: Duration = Duration::from_secs(2);

/// Starts the session's task.
pub(super) fn spawn(
    shared: Arc<Shared>,
    id: String,
    target: String,
    program: Program,
    controls: mpsc::Receiver<Control>,
) {
    let faults = &shared.options.faults;
    let separate = matches!(
        &program,
        Program::NonInteractive {
            separate: Some(_),
            ..
        }
    );
    let session = Session {
        to_client: Line::new(&faults.to_client, faults.seed),
        to_agent: Line::new(&faults.to_agent, faults.seed.wrapping_add(1)),
        cuts: faults.cuts.iter().copied().collect(),
        idle: Some(now() + TOKEN_LIFE),
        separate,
        shared,
        id,
        target,
        program,
        agent: None,
        host: None,
        output: Stream::default(),
        errors: Stream::default(),
        client: None,
        inbox: VecDeque::new(),
        typed: VecDeque::new(),
        read_from: None,
        ending: None,
        counters: Counters::default(),
    };
    tokio::spawn(session.run(controls));
}

/// How a session ended.
struct Farewell {
    status: Status,
    output: String,
}

impl Farewell {
    fn normal() -> Self {
        Self {
            status: Status::Terminated,
            output: String::new(),
        }
    }

    fn failed(output: String) -> Self {
        Self {
            status: Status::Failed,
            output,
        }
    }
}

/// The program is over.
struct Ending {
    /// Wait no longer for acknowledgements than this; `at_once` does not wait at all.
    deadline: Instant,
    wait_for_acknowledgements: bool,
    output: String,
}

/// One stream of program output.
#[derive(Default)]
struct Stream {
    cutter: Cutter,
    abandoned: bool,
}

/// What has happened since the state was last told.
#[derive(Default)]
struct Counters {
    to_client: u64,
    to_agent: u64,
    refused: u64,
    pings: u64,
}

struct Session {
    shared: Arc<Shared>,
    id: String,
    target: String,
    program: Program,
    separate: bool,
    agent: Option<Agent>,
    host: Option<Host>,
    output: Stream,
    errors: Stream,
    client: Option<Client>,
    to_client: Line,
    to_agent: Line,
    cuts: VecDeque<Cut>,
    /// Frames from the client that the agent has not seen.
    inbox: VecDeque<Bytes>,
    /// Input that the terminal had no room for.
    typed: VecDeque<Bytes>,
    read_from: Option<Instant>,
    ending: Option<Ending>,
    /// When a session without client is given up.
    idle: Option<Instant>,
    counters: Counters,
}

/// The one clock of a session; tests may pause it.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

impl Session {
    async fn run(mut self, mut controls: mpsc::Receiver<Control>) {
        let farewell = self.live(&mut controls).await;
        self.finish(farewell, &mut controls).await;
    }

    async fn live(&mut self, controls: &mut mpsc::Receiver<Control>) -> Farewell {
        loop {
            let now = now();
            if let Some(farewell) = self.settle(now) {
                return farewell;
            }
            let deadline = self.deadline(now);
            let wanted = self.wants_output(now);
            let reads = self.reads_client();
            let room = match &self.host {
                Some(host) if !self.typed.is_empty() => host.input(),
                _ => None,
            };
            tokio::select! {
                control = controls.recv() => {
                    let Some(control) = control else { return Farewell::normal() };
                    if let Some(farewell) = self.control(control) {
                        return farewell;
                    }
                }
                traffic = traffic(&mut self.client, reads, &mut self.inbox) => {
                    self.handle_traffic(traffic);
                }
                event = next(&mut self.host, wanted) => self.handle_host(event),
                () = room_in(room) => {}
                () = until(deadline) => {}
            }
        }
    }

    /// Brings everything as far as it goes at `now`.
    fn settle(&mut self, now: Instant) -> Option<Farewell> {
        if self.idle.is_some_and(|idle| idle <= now) {
            return Some(Farewell::normal());
        }
        if self.agent.is_some() && !self.is_clogged() {
            self.agent.as_mut()?.handle_timeout(now);
        }
        loop {
            self.type_in();
            let fed = self.feed_agent(now);
            while let Some(event) = self.agent.as_mut().and_then(Agent::poll_event) {
                if let Some(farewell) = self.handle_agent(now, event) {
                    return Some(farewell);
                }
            }
            if !fed {
                break;
            }
        }
        self.type_in();
        self.transmit(now);
        self.tell();
        let ending = self.ending.take_if(|ending| {
            let acknowledged = self
                .agent
                .as_ref()
                .is_none_or(|agent| agent.unacknowledged() == 0);
            ending.deadline <= now || (ending.wait_for_acknowledgements && acknowledged)
        })?;
        Some(if ending.output.is_empty() {
            Farewell::normal()
        } else {
            Farewell::failed(ending.output)
        })
    }

    fn deadline(&mut self, now: Instant) -> Option<Instant> {
        let clogged = self.is_clogged();
        let takes = self.takes_input();
        [
            self.agent
                .as_mut()
                .filter(|_| !clogged)
                .and_then(|agent| agent.poll_timeout(now)),
            self.to_client.deadline(),
            self.to_agent.deadline().filter(|_| takes),
            self.read_from.filter(|from| *from > now),
            self.ending.as_ref().map(|ending| ending.deadline),
            self.idle,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Whether the client's socket takes nothing now.
    fn is_clogged(&self) -> bool {
        self.client.as_ref().is_some_and(Client::has_backlog)
    }

    fn is_paused(&self) -> bool {
        self.agent.as_ref().is_none_or(Agent::is_paused)
    }

    /// Whether the agent would send what the program prints.
    fn wants_output(&self, now: Instant) -> bool {
        let abandons = self.separate && self.shared.options.abandon_paused_output;
        self.ending.is_none()
            && !self.is_clogged()
            && self.read_from.is_none_or(|from| from <= now)
            && (!self.is_paused() || abandons)
    }

    fn takes_input(&self) -> bool {
        self.typed.is_empty() && self.agent.as_ref().is_some_and(|agent| !agent.is_waiting())
    }

    fn reads_client(&self) -> bool {
        self.inbox.is_empty()
            && (self.takes_input() || !self.to_agent.is_perfect())
            && self.client.as_ref().is_some_and(|c| c.out.len() < BACKLOG)
    }

    fn type_in(&mut self) {
        let Some(host) = &self.host else {
            // Nobody is there to read it.
            return self.typed.clear();
        };
        while let Some(input) = self.typed.pop_front() {
            if let Err(input) = host.type_in(input) {
                return self.typed.push_front(input);
            }
        }
    }

    /// Gives the agent one of the client's frames, if it takes one.
    fn feed_agent(&mut self, now: Instant) -> bool {
        let exited = self.host.as_ref().is_none_or(Host::has_exited);
        if let Some(agent) = &mut self.agent
            && agent.is_waiting()
            && exited
        {
            agent.command_ended(now);
        }
        if !self.takes_input() {
            return false;
        }
        let frame = if self.to_agent.is_perfect() {
            self.inbox.pop_front()
        } else {
            for frame in self.inbox.drain(..) {
                self.to_agent.push(now, frame);
            }
            self.to_agent.pop(now)
        };
        let (Some(frame), Some(agent)) = (frame, &mut self.agent) else {
            return false;
        };
        self.counters.to_agent += 1;
        if let Err(refusal) = agent.handle_frame(now, frame) {
            self.counters.refused += 1;
            tracing::debug!(session = self.id, %refusal, "the loopback agent ignores a message");
        }
        true
    }

    fn handle_agent(&mut self, now: Instant, event: Event) -> Option<Farewell> {
        match event {
            Event::Started => self.start_program(now),
            Event::Input(input) => self.typed.push_back(input),
            Event::Size(size) => {
                if let Some(host) = &self.host {
                    host.resize(size);
                }
            }
            Event::Signal(signal) => {
                if let Some(host) = &self.host {
                    host.signal(signal);
                }
            }
            Event::Delivered(..) => {}
            Event::Decrypt {
                key_id,
                ciphertext,
                context,
            } => {
                let key = self.shared.decrypt(&key_id, &ciphertext, context);
                if let Some(agent) = &mut self.agent {
                    agent.handle_data_key(now, key, random());
                }
            }
            Event::Failed(reason) => {
                return Some(Farewell::failed(format!(
                    "Encountered error while initiating handshake. {reason}"
                )));
            }
            Event::Cancelled => return Some(Farewell::normal()),
        }
        None
    }

    fn start_program(&mut self, now: Instant) {
        let options = &self.shared.options;
        let paced = options.paced;
        let Some(remains) = self.shared.state().remains.clone() else {
            return;
        };
        let shell = options.shell.as_ref().map_or_else(
            || if cfg!(windows) { "powershell" } else { "sh" }.to_owned(),
            |shell| shell.to_string_lossy().into_owned(),
        );
        let (outcome, terminal) = match &self.program {
            Program::Shell => (Host::terminal(&[shell], paced, remains), true),
            Program::Interactive(command) => {
                let flag = if cfg!(windows) { "-Command" } else { "-c" };
                let argv = [shell, flag.to_owned(), command.clone()];
                (Host::terminal(&argv, paced, remains), true)
            }
            Program::Container(argv) => (Host::terminal(argv, paced, remains), true),
            Program::NonInteractive { command, separate } => {
                if let Some(Prefixes { stdout, stderr }) = separate {
                    self.output.cutter = Cutter::new(stdout);
                    self.errors.cutter = Cutter::new(stderr);
                }
                let host = shell_words::split(command)
                    .map_err(std::io::Error::other)
                    .and_then(|argv| Host::command(&argv, separate.is_some(), paced, remains));
                (host, false)
            }
        };
        let delay = |delay| if paced { delay } else { Duration::ZERO };
        match outcome {
            Ok(host) => {
                self.host = Some(host);
                self.read_from = terminal.then(|| now + delay(START_DELAY));
                if let Some(agent) = &mut self.agent {
                    agent.set_ready(true);
                    let version = agent.client_version();
                    if !version.is_empty() {
                        let version = Some(version.to_owned());
                        self.shared
                            .change(|state| state.stats.handshake_version = version);
                    }
                }
            }
            Err(error) if terminal => {
                self.ending = Some(Ending {
                    deadline: now + delay(FAILURE_DELAY),
                    wait_for_acknowledgements: false,
                    output: format!("Failed to start pty: {error}"),
                });
            }
            Err(error) => {
                let text = format!("Encountered error while running the command: {error}\n");
                self.send(now, PayloadType::STDERR, text.into());
                self.end(now);
            }
        }
    }

    fn handle_host(&mut self, event: HostEvent) {
        let now = now();
        match event {
            HostEvent::Output(payload_type, output) => {
                let paused = self.is_paused();
                let stream = if payload_type == PayloadType::STDERR {
                    &mut self.errors
                } else {
                    &mut self.output
                };
                stream.abandoned |= paused;
                if let (false, Some(agent)) = (stream.abandoned, &mut self.agent) {
                    stream
                        .cutter
                        .cut(output, |payload| agent.send(now, payload_type, payload));
                }
            }
            HostEvent::Exited => {}
            HostEvent::Ended(code) => {
                if self.separate {
                    let text = format!("EXIT_CODE: {code}");
                    self.send(now, PayloadType::EXIT_CODE, text.into());
                }
                self.end(now);
            }
        }
    }

    /// The program is over: what it printed is still to be acknowledged.
    fn end(&mut self, now: Instant) {
        self.ending = Some(Ending {
            deadline: now + self.shared.options.drain,
            wait_for_acknowledgements: true,
            output: String::new(),
        });
    }

    fn send(&mut self, now: Instant, payload_type: PayloadType, payload: Bytes) {
        if let Some(agent) = &mut self.agent {
            agent.send(now, payload_type, payload);
        }
    }

    /// Forwards what the agent sends.
    fn transmit(&mut self, now: Instant) {
        let silent = self.shared.options.silent_agent;
        while let Some(transmit) = self.agent.as_mut().and_then(Agent::poll_transmit) {
            match transmit {
                Transmit::Client(frame) if !silent => {
                    if self.to_client.is_perfect() {
                        self.forward(frame);
                    } else {
                        self.to_client.push(now, frame);
                    }
                }
                // The state is known without its being said.
                Transmit::Client(_) | Transmit::Gateway(_) => {}
            }
        }
        while let Some(frame) = self.to_client.pop(now) {
            self.forward(frame);
        }
    }

    /// Queues a frame for the client; without one it is lost.
    fn forward(&mut self, frame: Bytes) {
        if let Some(client) = &mut self.client {
            client.forward(frame);
            self.counters.to_client += 1;
        }
    }

    fn handle_traffic(&mut self, traffic: Traffic) {
        match traffic {
            Traffic::Moved { pings } => self.counters.pings += pings,
            Traffic::Lost => {
                // What came before the loss has come.
                while self.feed_agent(now()) {}
                self.detach();
            }
            Traffic::Doomed => {
                if let Some(client) = &mut self.client {
                    client.write_torn();
                }
                self.detach();
            }
        }
    }

    fn control(&mut self, control: Control) -> Option<Farewell> {
        match control {
            Control::Attach(socket) => self.attach(*socket),
            Control::Terminate => match &mut self.agent {
                None => return Some(Farewell::normal()),
                Some(agent) => {
                    let text = ChannelClosed::default().to_json();
                    let frame = frame(MessageType::CHANNEL_CLOSED, text.into())?;
                    // A dead or waiting reader does not see it; the service ends it all the same.
                    let _ = agent.handle_frame(now(), frame);
                    return Some(Farewell::normal());
                }
            },
            Control::Cut => {
                if let Some(client) = &self.client {
                    client.reset_on_drop();
                }
                self.detach();
            }
            Control::Close(code, reason) => {
                if let Some(client) = self.client.take() {
                    tokio::spawn(async move { gateway::close(client.socket, code, &reason).await });
                    self.detached();
                }
            }
            Control::Stall(stalled) => {
                if let Some(client) = &mut self.client {
                    client.stalled = stalled;
                }
            }
            Control::Inject(frame) => {
                if let Some(client) = &mut self.client {
                    client.out.push_back(match frame {
                        Injection::Binary(bytes) => Message::Binary(bytes),
                        Injection::Text(text) => Message::Text(text.into()),
                    });
                }
            }
        }
        None
    }

    fn attach(&mut self, socket: gateway::Socket) {
        if let Some(old) = self.client.take() {
            tokio::spawn(async move { gateway::close(old.socket, 1000, "Replaced").await });
            self.detached();
        }
        let now = now();
        self.idle = None;
        self.client = Some(Client::new(socket, Fuse::new(self.cuts.pop_front())));
        self.shared.change(|state| {
            state.stats.attached += 1;
            if let Some(session) = state.sessions.iter_mut().find(|s| s.id == self.id) {
                session.status = Status::Connected;
            }
        });
        if self.agent.is_some() {
            self.publication(now, MessageType::START_PUBLICATION);
        } else {
            self.agent = Some(Agent::new(self.agent_config(), now));
        }
    }

    fn agent_config(&self) -> Config {
        let options = &self.shared.options;
        let session_type: SessionType = self.program.session_type();
        let mut config = Config::new(&self.id, &self.target, session_type);
        config.version.clone_from(&options.agent_version);
        config.separate_output = self.separate;
        config.encryption = options.kms.then(|| Encryption {
            key_id: KEY.to_owned(),
            challenge: options.challenge,
        });
        config.resend_tick = options.resend_tick;
        config.seed = u64::from_ne_bytes(random());
        config.started_at = wall_millis();
        config
    }

    fn detach(&mut self) {
        if self.client.take().is_some() {
            self.detached();
        }
    }

    /// The client is away: what is on its way is lost, and the agent is told.
    fn detached(&mut self) {
        let now = now();
        self.to_client.clear();
        self.to_agent.clear();
        self.inbox.clear();
        self.idle = Some(now + self.shared.options.idle_timeout);
        self.publication(now, MessageType::PAUSE_PUBLICATION);
        self.shared.change(|state| {
            state.stats.attached -= 1;
            state.stats.lost += 1;
            if let Some(session) = state.sessions.iter_mut().find(|s| s.id == self.id) {
                session.status = Status::Disconnected;
            }
        });
    }

    fn publication(&mut self, now: Instant, message_type: MessageType) {
        if let (Some(agent), Some(frame)) = (&mut self.agent, frame(message_type, "{}".into())) {
            // A dead reader does not see it.
            let _ = agent.handle_frame(now, frame);
        }
    }

    /// Adds what happened to the statistics.
    fn tell(&mut self) {
        let mut faults = self.to_client.take_tally();
        faults += self.to_agent.take_tally();
        let Counters {
            to_client,
            to_agent,
            refused,
            pings,
        } = std::mem::take(&mut self.counters);
        if to_client + to_agent + refused + pings == 0 && faults == Tally::default() {
            return;
        }
        self.shared.change(|state| {
            state.stats.messages_to_client += to_client;
            state.stats.messages_to_agent += to_agent;
            state.stats.refused_by_agent += refused;
            state.stats.pings += pings;
            state.stats.add_faults(faults);
        });
    }

    /// Ends the program, tells the client, and waits for it to leave.
    async fn finish(mut self, farewell: Farewell, controls: &mut mpsc::Receiver<Control>) {
        self.host = None;
        self.transmit(now());
        for frame in self.to_client.release() {
            self.forward(frame);
        }
        self.tell();
        self.shared.change(|state| {
            state.stats.ended += 1;
            if let Some(session) = state.sessions.iter_mut().find(|s| s.id == self.id) {
                session.status = farewell.status;
                session.details.clone_from(&farewell.output);
                session.ended = Some(wall_clock());
            }
        });
        let text = ChannelClosed {
            message_id: uuid::Uuid::new_v4().to_string(),
            created_date: wall_millis().to_string(),
            destination_id: self.target.clone(),
            session_id: self.id.clone(),
            message_type: MessageType::CHANNEL_CLOSED.as_str().to_owned(),
            schema_version: 1,
            output: farewell.output,
        };
        let closed = frame(MessageType::CHANNEL_CLOSED, text.to_json().into());
        let Some(client) = &mut self.client else {
            return;
        };
        client.out.extend(closed.map(Message::Binary));
        let deadline = now() + FAREWELL;
        loop {
            self.inbox.clear();
            tokio::select! {
                control = controls.recv() => match control {
                    Some(Control::Stall(stalled)) => {
                        if let Some(client) = &mut self.client {
                            client.stalled = stalled;
                        }
                    }
                    None | Some(Control::Cut | Control::Close(..)) => break,
                    Some(_) => {}
                },
                traffic = traffic(&mut self.client, true, &mut self.inbox) => match traffic {
                    Traffic::Moved { .. } => {}
                    Traffic::Lost | Traffic::Doomed => break,
                },
                () = until(Some(deadline)) => break,
            }
        }
        if let Some(client) = self.client.take() {
            gateway::close(client.socket, 1000, "Bye").await;
        }
        self.shared.change(|state| state.stats.attached -= 1);
    }
}

/// A message of the gateway's own.
fn frame(message_type: MessageType, payload: Bytes) -> Option<Bytes> {
    let message = AgentMessage {
        message_type,
        schema_version: 1,
        created_date: wall_millis(),
        sequence_number: 0,
        flags: 0,
        message_id: uuid::Uuid::new_v4(),
        payload_type: PayloadType::NONE,
        payload,
    };
    // It has an id and a payload, so it encodes.
    message.encode().ok()
}

async fn next(host: &mut Option<Host>, wanted: bool) -> HostEvent {
    match host {
        Some(host) => host.next(wanted).await,
        None => std::future::pending().await,
    }
}

async fn room_in(queue: Option<mpsc::Sender<Bytes>>) {
    match queue {
        // Closed is room too: input goes nowhere then.
        Some(queue) => drop(queue.reserve().await),
        None => std::future::pending().await,
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
