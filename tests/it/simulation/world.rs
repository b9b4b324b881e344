//! Client and agent in virtual time, with a network between them that does its worst.

mod applications;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fastrand::Rng;
use ssmx::loopback::agent::{self, Agent, Challenge, Encryption, SessionType as AgentSession};
use ssmx::protocol::cipher::DataKey;
use ssmx::protocol::message::{MessageType, PayloadType};
use ssmx::protocol::payload::{ChannelClosed, Size};
use ssmx::protocol::{Config, DataChannel, Transmit};

use super::garbage;
use super::plan::{End, Kind, Plan, Stream};
use crate::peer::{config, control};

/// Longer than any schedule takes.
const PATIENCE: Duration = Duration::from_secs(4 * 3600);

enum Action {
    ToClient(Bytes),
    ToAgent(Bytes),
    Cut,
    Connect,
    Pause(Side),
    Start(Side),
    Ready,
    /// Both applications send something.
    Work,
}

#[derive(Clone, Copy)]
enum Side {
    Client,
    Agent,
}

pub struct World {
    plan: Plan,
    rng: Rng,
    now: Instant,
    began: Instant,
    pub client: DataChannel,
    pub agent: Agent,
    key: DataKey,
    queue: BTreeMap<(Instant, u64), (u64, Action)>,
    order: u64,
    /// Counts connections; what belongs to an older one is lost.
    connection: u64,
    connected: bool,
    up: Stream,
    down: Stream,
    started: bool,
    pub closed: Option<String>,
    given_up: bool,
    /// Whether the client said that output is missing.
    pub incomplete: bool,
    frames: Vec<Bytes>,
}

impl World {
    pub fn new(plan: Plan) -> Self {
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
        let mut world = Self {
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
            up: Stream::default(),
            down: Stream::default(),
            started: false,
            closed: None,
            given_up: false,
            incomplete: false,
            frames: Vec::new(),
        };
        world.schedule();
        world
    }

    /// Puts everything that does not depend on the two ends into the queue.
    fn schedule(&mut self) {
        let plan = self.plan.clone();
        self.at(Duration::ZERO, Action::Connect);
        self.at(Duration::ZERO, Action::Work);
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

    fn moment(&mut self, within_ms: u64) -> Duration {
        Duration::from_micros(self.rng.u64(0..=within_ms * 1000))
    }

    fn at(&mut self, after: Duration, action: Action) {
        self.order += 1;
        self.queue
            .insert((self.now + after, self.order), (self.connection, action));
    }

    /// Runs until all is delivered, says farewell, and looks that the client ends.
    pub fn run(&mut self) -> End {
        while !self.is_done() && !self.given_up {
            self.step();
        }
        let reason = if self.given_up { "too late" } else { "" };
        self.farewell(reason);
        while self.closed.is_none() {
            self.step();
        }
        assert_eq!(self.closed.as_deref(), Some(reason));
        assert!(self.client.has_ended() && !self.incomplete);
        assert_eq!(self.client.poll_timeout(), None);
        assert_eq!(self.client.poll_transmit(self.now), None);
        if self.given_up {
            return End::HandshakeTimedOut;
        }
        End::Delivered
    }

    pub fn is_done(&self) -> bool {
        self.up.got == self.plan.up
            && self.down.got == self.plan.down
            && self.agent.unacknowledged() == 0
            && self.client.all_acknowledged()
            && self.started
    }

    /// Another client goes on with the session, once nothing is unacknowledged; meanwhile the
    /// agent's program talks on. `up` and `down` more bytes are to be delivered then.
    pub fn take_over(&mut self, up: usize, down: usize) {
        assert!(self.is_done());
        self.act(self.connection, Action::Cut);
        let config = Config {
            rng: self.rng.fork(),
            ..config()
        };
        self.client = DataChannel::take_over(config, self.now);
        self.started = false;
        self.plan.up += up;
        self.plan.down += down;
        for _ in 0..5 {
            let bytes = self.down.take(100);
            self.agent.send(self.now, PayloadType::OUTPUT, bytes.into());
        }
        self.at(Duration::ZERO, Action::Work);
    }

    /// The gateway's word that the session is over.
    pub fn farewell(&mut self, reason: &str) {
        let closed = ChannelClosed {
            output: reason.to_owned(),
            ..ChannelClosed::default()
        };
        let frame = control(MessageType::CHANNEL_CLOSED, closed.to_json().as_bytes());
        self.client.handle_frame(self.now, frame);
        self.drain();
    }

    /// How long it took so far.
    pub fn elapsed(&self) -> Duration {
        self.now - self.began
    }

    /// Bytes from the agent that the client's user got, and those that the agent sent.
    pub fn received(&self) -> (usize, usize) {
        (self.down.got, self.down.sent)
    }

    /// On to the next thing that happens.
    pub fn step(&mut self) {
        let next = self
            .queue
            .first_key_value()
            .map(|((at, _), _)| *at)
            .into_iter()
            .chain(self.client.poll_timeout())
            .chain(self.agent.poll_timeout(self.now))
            .min();
        let Some(next) = next else {
            panic!("nothing will ever happen: {}", self.state());
        };
        self.now = self.now.max(next);
        assert!(self.elapsed() < PATIENCE, "endless: {}", self.state());
        if let Some(entry) = self.queue.first_entry()
            && entry.key().0 <= self.now
        {
            let (connection, action) = entry.remove();
            self.act(connection, action);
        }
        self.client.handle_timeout(self.now);
        self.agent.handle_timeout(self.now);
        self.drain();
        let due = self.client.poll_timeout();
        assert!(
            due.is_none_or(|due| due > self.now),
            "a deadline that stays due makes the driver spin: {}",
            self.state()
        );
    }

    fn state(&self) -> String {
        format!(
            "after {:?}: up {:?}, down {:?}, agent holds {} and waits for {} acknowledgements, \
             {:?}, {:?}",
            self.elapsed(),
            self.up,
            self.down,
            self.agent.held(),
            self.agent.unacknowledged(),
            self.client.stats(),
            self.plan
        )
    }

    fn act(&mut self, connection: u64, action: Action) {
        let current = connection == self.connection && self.connected;
        match action {
            Action::ToClient(frame) if current => self.client.handle_frame(self.now, frame),
            Action::ToAgent(frame) if current => {
                // Refusals show in what is not acknowledged; what the client sends never kills.
                let outcome = self.agent.handle_frame(self.now, frame);
                assert_ne!(outcome, Err(agent::Refusal::ReaderDead));
            }
            Action::ToClient(_) | Action::ToAgent(_) => {}
            Action::Cut if self.connected => {
                self.connected = false;
                self.client.handle_disconnect();
                self.tell(Side::Agent, MessageType::PAUSE_PUBLICATION);
                let away = self.moment(3000);
                self.at(away, Action::Connect);
            }
            Action::Cut => {}
            Action::Connect => {
                self.connected = true;
                self.connection += 1;
                self.client.handle_connect(self.now, "token");
                self.tell(Side::Agent, MessageType::START_PUBLICATION);
            }
            Action::Pause(side) => self.tell(side, MessageType::PAUSE_PUBLICATION),
            Action::Start(side) => self.tell(side, MessageType::START_PUBLICATION),
            Action::Ready => self.agent.set_ready(true),
            Action::Work => self.work(),
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

    fn drain(&mut self) {
        while let Some(transmit) = self.client.poll_transmit(self.now) {
            if let Transmit::Binary(frame) = transmit {
                self.carry(frame, Action::ToAgent);
            }
        }
        let queued = self.client.queued_acknowledgements();
        assert!(queued == 0 || self.client.has_ended(), "{queued} are kept");
        while let Some(event) = self.client.poll_event() {
            self.take(event);
        }
        while let Some(event) = self.agent.poll_event() {
            self.take_from_agent(event);
        }
        while let Some(transmit) = self.agent.poll_transmit() {
            if let agent::Transmit::Client(frame) = transmit {
                self.carry(frame, Action::ToClient);
                if self.percent(self.plan.garbage) {
                    let frame = garbage::frame(&mut self.rng, &self.frames);
                    self.carry(frame, Action::ToClient);
                }
            }
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
