//! The two ends of a data channel, and the network that does its worst between them.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fastrand::Rng;
use serde_json::Value;
use ssmx::loopback::agent::{self, Agent, Challenge, Encryption, SessionType as AgentSession};
use ssmx::protocol::cipher::DataKey;
use ssmx::protocol::message::MessageType;
use ssmx::protocol::payload::Size;
use ssmx::protocol::{Config, DataChannel};

use super::PATIENCE;
use crate::peer::{config, control};
use crate::simulation::garbage;
use crate::simulation::plan::{Kind, Plan};

pub enum Action {
    ToClient(Bytes),
    ToAgent(Bytes),
    Cut,
    Connect,
    Pause(Side),
    Start(Side),
    Ready,
    /// A program has something to do; it knows what.
    Program(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Client,
    Agent,
}

/// The line, and the cores at its ends.
pub struct Link {
    pub plan: Plan,
    pub rng: Rng,
    pub now: Instant,
    pub began: Instant,
    pub client: DataChannel,
    pub agent: Agent,
    pub key: DataKey,
    queue: BTreeMap<(Instant, u64), (u64, Action)>,
    order: u64,
    /// Counts connections; what belongs to an older one is lost.
    connection: u64,
    connected: bool,
    /// What has come while its receiver took nothing.
    stalled: [VecDeque<(u64, Action)>; 2],
    frames: Vec<Bytes>,
}

impl Link {
    pub fn new(plan: Plan, properties: Value) -> Self {
        let now = Instant::now();
        let mut rng = Rng::with_seed(plan.seed);
        let session = match plan.kind {
            Kind::Shell | Kind::EncryptedShell => AgentSession::StandardStream,
            Kind::Port => AgentSession::Port,
        };
        let agent = agent::Config {
            encryption: (plan.kind == Kind::EncryptedShell).then(|| Encryption {
                key_id: "alias/x".to_owned(),
                challenge: Challenge::Required,
            }),
            seed: rng.u64(..),
            properties,
            ..agent::Config::new("session-id", "i-0123456789abcdef0", session)
        };
        let client = Config {
            rng: rng.fork(),
            max_payload: plan.max_payload,
            answer_timeout: PATIENCE,
            ..config()
        };
        let mut client = DataChannel::new(client, now);
        client.set_size(now, Size { cols: 80, rows: 24 });
        let mut link = Self {
            client,
            agent: Agent::new(agent, now),
            key: DataKey::new(std::array::from_fn(|_| rng.u8(..))),
            plan,
            rng,
            now,
            began: now,
            queue: BTreeMap::new(),
            order: 0,
            connection: 0,
            connected: false,
            stalled: Default::default(),
            frames: Vec::new(),
        };
        link.schedule();
        link
    }

    /// Puts everything that does not depend on the two ends into the queue.
    fn schedule(&mut self) {
        let plan = self.plan.clone();
        self.at(Duration::ZERO, Action::Connect);
        self.at(Duration::from_millis(plan.not_ready_ms), Action::Ready);
        for _ in 0..plan.cuts {
            let at = self.moment(6000);
            self.at(at, Action::Cut);
        }
        for (count, side) in [
            (plan.client_pauses, Side::Client),
            (plan.agent_pauses, Side::Agent),
        ] {
            for _ in 0..count {
                let (from, length) = (self.moment(6000), self.moment(2000));
                self.at(from, Action::Pause(side));
                self.at(from + length, Action::Start(side));
            }
        }
    }

    pub fn moment(&mut self, within_ms: u64) -> Duration {
        Duration::from_micros(self.rng.u64(0..=within_ms * 1000))
    }

    pub fn at(&mut self, after: Duration, action: Action) {
        self.order += 1;
        self.queue
            .insert((self.now + after, self.order), (self.connection, action));
    }

    /// When something happens next, at an end or on the way.
    pub fn next(&mut self) -> Option<Instant> {
        self.queue
            .first_key_value()
            .map(|((at, _), _)| *at)
            .into_iter()
            .chain(self.client.poll_timeout())
            .chain(self.agent.poll_timeout(self.now))
            .min()
    }

    /// What is due, one after the other.
    pub fn due(&mut self) -> Option<(u64, Action)> {
        let entry = self.queue.first_entry()?;
        (entry.key().0 <= self.now).then(|| entry.remove())
    }

    /// Keeps what its receiver cannot take, behind what came before.
    pub fn stall(&mut self, side: Side, connection: u64, action: Action) {
        self.stalled[side as usize].push_back((connection, action));
    }

    /// The first thing that was kept for a receiver that can take it now.
    pub fn resume(&mut self, side: Side) -> Option<(u64, Action)> {
        self.stalled[side as usize].pop_front()
    }

    pub fn is_stalled(&self, side: Side) -> bool {
        !self.stalled[side as usize].is_empty()
    }

    /// Does anything but what concerns the programs.
    pub fn act(&mut self, connection: u64, action: Action) {
        let current = connection == self.connection && self.connected;
        match action {
            Action::ToClient(frame) if current => self.client.handle_frame(self.now, frame),
            Action::ToAgent(frame) if current => {
                // Refusals show in what is not acknowledged; what the client sends never kills.
                let outcome = self.agent.handle_frame(self.now, frame);
                assert_ne!(outcome, Err(agent::Refusal::ReaderDead));
            }
            Action::ToClient(_) | Action::ToAgent(_) | Action::Program(_) => {}
            Action::Cut => self.cut(),
            Action::Connect => {
                self.connected = true;
                self.connection += 1;
                self.client.handle_connect(self.now, "token");
                self.tell(Side::Agent, MessageType::START_PUBLICATION);
            }
            Action::Pause(side) => self.tell(side, MessageType::PAUSE_PUBLICATION),
            Action::Start(side) => self.tell(side, MessageType::START_PUBLICATION),
            Action::Ready => self.agent.set_ready(true),
        }
    }

    pub fn cut(&mut self) {
        if std::mem::take(&mut self.connected) {
            self.client.handle_disconnect();
            self.tell(Side::Agent, MessageType::PAUSE_PUBLICATION);
            let away = self.moment(3000);
            self.at(away, Action::Connect);
        }
    }

    /// The gateway's own messages: as reliable as TCP.
    fn tell(&mut self, side: Side, kind: MessageType) {
        let frame = control(kind, b"{}");
        match side {
            Side::Client if self.connected => self.client.handle_frame(self.now, frame),
            Side::Client => {}
            Side::Agent => self.agent.handle_frame(self.now, frame).unwrap(),
        }
    }

    pub fn send_to_agent(&mut self, frame: Bytes) {
        self.carry(frame, Action::ToAgent);
    }

    pub fn send_to_client(&mut self, frame: Bytes) {
        self.carry(frame, Action::ToClient);
        if self.percent(self.plan.garbage) {
            let frame = garbage::frame(&mut self.rng, &self.frames);
            self.carry(frame, Action::ToClient);
        }
    }

    /// Loses a frame, or delivers it, once or more often, sooner or later.
    fn carry(&mut self, frame: Bytes, action: fn(Bytes) -> Action) {
        if self.frames.len() < 100 {
            self.frames.push(frame.clone());
        }
        let lost = !self.connected || self.percent(self.plan.loss);
        let copies = usize::from(!lost) + usize::from(self.percent(self.plan.duplicates));
        for copy in 0..copies {
            // A second copy may come very late.
            let jitter = self.plan.jitter_ms * (1 + 10 * copy as u64);
            let delay = Duration::from_millis(self.plan.delay_ms) + self.moment(jitter);
            self.at(delay, action(frame.clone()));
        }
    }

    fn percent(&mut self, percent: u8) -> bool {
        self.rng.u8(0..100) < percent
    }
}
