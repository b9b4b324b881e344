//! Client and agent in virtual time, with a network between them that does its worst, and
//! programs at both ends.

mod link;
mod pipes;

use std::fmt::Debug;
use std::time::{Duration, Instant};

use serde_json::Value;
use ssmx::loopback::agent::{self, Event as AgentEvent};
use ssmx::protocol::handshake::SealedDataKey;
use ssmx::protocol::message::{MessageType, PayloadType};
use ssmx::protocol::payload::ChannelClosed;
use ssmx::protocol::{Event, SessionType, Transmit};

use super::plan::{End, Kind, Plan};
use crate::peer::control;

pub use link::{Action, Link, Side};
pub use pipes::Pipes;

/// Longer than any schedule takes.
const PATIENCE: Duration = Duration::from_secs(4 * 3600);

/// What the session is used for: the programs at both ends.
pub trait Programs: Debug {
    /// `Properties` of the handshake.
    fn properties(&self) -> Value {
        Value::Null
    }

    /// The world begins: [`Action::Program`] is what they are woken by.
    fn begin(&mut self, link: &mut Link);

    /// One of them wanted to be woken now.
    fn work(&mut self, link: &mut Link, which: usize);

    /// The session is in force, for the client.
    fn started(&mut self) {}

    /// What came out at the client's end.
    fn take(&mut self, link: &mut Link, event: Event);

    /// What came out at the agent's end.
    fn take_from_agent(&mut self, link: &mut Link, event: AgentEvent);

    /// Goes on with what has changed, and says whether anything did.
    fn go_on(&mut self, _link: &mut Link) -> bool {
        false
    }

    /// Whether this end reads its connection at all.
    fn reads(&self, _side: Side) -> bool {
        true
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn handle_timeout(&mut self, _now: Instant) {}

    /// Whether all that they were to do is done.
    fn are_done(&self) -> bool;
}

pub struct World<P> {
    pub link: Link,
    pub programs: P,
    started: bool,
    pub closed: Option<String>,
    given_up: bool,
    /// Whether the client said that output is missing.
    pub incomplete: bool,
}

impl<P: Programs> World<P> {
    pub fn new(plan: Plan, programs: P) -> Self {
        let mut world = Self {
            link: Link::new(plan, programs.properties()),
            programs,
            started: false,
            closed: None,
            given_up: false,
            incomplete: false,
        };
        world.programs.begin(&mut world.link);
        world
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
        let client = &mut self.link.client;
        assert!(client.has_ended() && !self.incomplete);
        assert_eq!(client.poll_timeout(), None);
        assert_eq!(client.poll_transmit(self.link.now), None);
        if self.given_up {
            return End::HandshakeTimedOut;
        }
        End::Delivered
    }

    pub fn is_done(&self) -> bool {
        self.started
            && self.programs.are_done()
            && self.link.agent.unacknowledged() == 0
            && self.link.client.all_acknowledged()
    }

    /// The gateway's word that the session is over.
    pub fn farewell(&mut self, reason: &str) {
        let closed = ChannelClosed {
            output: reason.to_owned(),
            ..ChannelClosed::default()
        };
        let frame = control(MessageType::CHANNEL_CLOSED, closed.to_json().as_bytes());
        self.link.client.handle_frame(self.link.now, frame);
        self.drain();
    }

    /// How long it took so far.
    pub fn elapsed(&self) -> Duration {
        self.link.now - self.link.began
    }

    /// On to the next thing that happens.
    pub fn step(&mut self) {
        let link = &mut self.link;
        let next = link.next().into_iter().chain(self.programs.poll_timeout());
        let Some(next) = next.min() else {
            panic!("nothing will ever happen: {}", self.state());
        };
        let before = link.now;
        link.now = link.now.max(next);
        let due = link.due();
        assert!(
            due.is_some() || link.now > before,
            "a step without reason: {}",
            self.state()
        );
        assert!(self.elapsed() < PATIENCE, "endless: {}", self.state());
        if let Some((connection, action)) = due {
            self.act(connection, action);
        }
        let now = self.link.now;
        self.link.client.handle_timeout(now);
        self.link.agent.handle_timeout(now);
        self.programs.handle_timeout(now);
        self.drain();
        let due = self.link.client.poll_timeout();
        let due = due.into_iter().chain(self.programs.poll_timeout()).min();
        assert!(
            due.is_none_or(|due| due > now),
            "a deadline that stays due makes the driver spin: {}",
            self.state()
        );
    }

    fn state(&self) -> String {
        let link = &self.link;
        format!(
            "after {:?}: {:?}, agent holds {} and waits for {} acknowledgements, {:?}, {:?}",
            self.elapsed(),
            self.programs,
            link.agent.held(),
            link.agent.unacknowledged(),
            link.client.stats(),
            link.plan
        )
    }

    fn act(&mut self, connection: u64, action: Action) {
        let side = match action {
            Action::Program(which) => return self.programs.work(&mut self.link, which),
            Action::ToClient(_) => Side::Client,
            Action::ToAgent(_) => Side::Agent,
            _ => return self.link.act(connection, action),
        };
        if self.programs.reads(side) && !self.link.is_stalled(side) {
            self.link.act(connection, action);
        } else {
            self.link.stall(side, connection, action);
        }
    }

    fn drain(&mut self) {
        while self.drain_once() {}
        let client = &self.link.client;
        let queued = client.queued_acknowledgements();
        assert!(queued == 0 || client.has_ended(), "{queued} are kept");
    }

    /// Whether there was anything.
    fn drain_once(&mut self) -> bool {
        let mut changed = false;
        for side in [Side::Client, Side::Agent] {
            if self.programs.reads(side)
                && let Some((connection, action)) = self.link.resume(side)
            {
                self.link.act(connection, action);
                changed = true;
            }
        }
        while let Some(transmit) = self.link.client.poll_transmit(self.link.now) {
            if let Transmit::Binary(frame) = transmit {
                self.link.send_to_agent(frame);
            }
        }
        while let Some(event) = self.link.client.poll_event() {
            self.take(event);
            changed = true;
        }
        while let Some(event) = self.link.agent.poll_event() {
            self.take_from_agent(event);
            changed = true;
        }
        while let Some(transmit) = self.link.agent.poll_transmit() {
            if let agent::Transmit::Client(frame) = transmit {
                self.link.send_to_client(frame);
            }
        }
        self.programs.go_on(&mut self.link) || changed
    }

    fn take(&mut self, event: Event) {
        assert_eq!(self.closed, None, "the last event was not the last");
        assert!(!self.incomplete || matches!(event, Event::Closed(_)));
        let link = &mut self.link;
        match event {
            Event::Started(kind, _) => {
                assert!(!self.started, "it starts once");
                self.started = true;
                self.programs.started();
                assert_eq!(
                    matches!(kind, SessionType::Port(_)),
                    link.plan.kind == Kind::Port
                );
            }
            Event::DataKeyNeeded(request) => {
                assert_eq!(request.key_id, "alias/x");
                let sealed = SealedDataKey {
                    ciphertext: "YmxvYg==".to_owned(),
                    challenge_used: true,
                };
                let key = Ok((link.key.clone(), sealed));
                let seed = std::array::from_fn(|_| link.rng.u8(..));
                link.client.handle_data_key(link.now, key, seed);
            }
            Event::Incomplete => self.incomplete = true,
            Event::Closed(reason) => self.closed = Some(reason),
            Event::CustomerMessage(_) => {}
            event => {
                assert!(self.started);
                self.programs.take(link, event);
            }
        }
    }

    fn take_from_agent(&mut self, event: AgentEvent) {
        let link = &mut self.link;
        match event {
            AgentEvent::Decrypt { ciphertext, .. } => {
                assert_eq!(ciphertext, b"blob");
                let seed = std::array::from_fn(|_| link.rng.u8(..));
                link.agent
                    .handle_data_key(link.now, Ok(link.key.clone()), seed);
            }
            AgentEvent::Failed(reason) => {
                assert!(reason.starts_with("Handshake timed out"), "{reason}");
                self.given_up = true;
            }
            AgentEvent::Started
            | AgentEvent::Size(_)
            | AgentEvent::Delivered(PayloadType::SIZE, _) => {}
            event => self.programs.take_from_agent(link, event),
        }
    }
}
