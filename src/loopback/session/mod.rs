//! One session: joins a client's connection, the agent's protocol and the host behind it.
//!
//! Everything happens in one task. Nothing is read from the host while messages wait to be
//! written to the client, and nothing from the client while the host takes no input, so all
//! queues are bounded by what one read brings.

mod connection;
mod counters;
mod program;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::mpsc;

use self::counters::Counters;
use super::agent::{Agent, Event, Transmit};
use super::client::{Client, traffic};
use super::document::Program;
use super::fault::{Cut, Line};
use super::host::{Host, HostEvent};
use super::output::Cutter;
use super::record::{Control, Status};
use super::state::{Shared, TOKEN_LIFE, random, wall_millis};
use crate::protocol::message::{AgentMessage, MessageType, PayloadType};
use crate::protocol::payload::Flag;

/// Frames that may wait for a client that does not read.
const BACKLOG: usize = 65_536;

/// Messages of connections that may wait for acknowledgements. The agent keeps more, but no more
/// than that: a message which it does not keep is lost with the connection.
const WINDOW: usize = 16_384;

/// Starts the session's task.
pub(super) fn spawn(
    shared: Arc<Shared>,
    id: String,
    target: String,
    program: Program,
    controls: mpsc::Receiver<Control>,
) {
    let faults = &shared.options.faults;
    let separate = program.separates();
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
        Self::of_service(String::new())
    }

    fn of_service(output: String) -> Self {
        Self {
            status: Status::Terminated,
            output,
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
            && self.has_window()
    }

    /// Whether what a connection sends would be kept until it is acknowledged.
    fn has_window(&self) -> bool {
        let unacknowledged = self.agent.as_ref().map_or(0, Agent::unacknowledged);
        !matches!(self.program, Program::Ports(_)) || unacknowledged < WINDOW
    }

    fn takes_input(&mut self) -> bool {
        self.agent.as_ref().is_some_and(|agent| !agent.is_waiting())
            // Where nobody is there to read it, input goes nowhere.
            && self.host.as_mut().is_none_or(Host::takes_input)
    }

    fn reads_client(&mut self) -> bool {
        self.inbox.is_empty()
            && (self.takes_input() || !self.to_agent.is_perfect())
            && self.client.as_ref().is_some_and(|c| c.out.len() < BACKLOG)
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
            Event::Input(input) | Event::Delivered(PayloadType::OUTPUT, input) => {
                if let Some(host) = &mut self.host {
                    host.input(input);
                }
            }
            Event::Delivered(PayloadType::FLAG, payload) => {
                if let (Some(host), Some(flag)) = (&mut self.host, Flag::from_bytes(&payload)) {
                    host.flag(flag);
                }
            }
            Event::Size(size) => {
                if let Some(host) = &self.host {
                    host.resize(size);
                }
            }
            Event::Signal(signal) => {
                if let Some(host) = &mut self.host {
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

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
