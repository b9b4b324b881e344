//! The least that a session is used for: bytes each way.

use std::time::Duration;

use ssmx::loopback::agent::Event as AgentEvent;
use ssmx::protocol::message::PayloadType;
use ssmx::protocol::{Config, DataChannel, Event};

use super::{Action, Link, Programs, World};
use crate::peer::config;
use crate::simulation::plan::{Kind, Stream};

/// A program at each end, and what they have to say.
#[derive(Debug)]
pub struct Pipes {
    up: Stream,
    down: Stream,
    /// Bytes from the client, and from the agent, in all.
    goal_up: usize,
    goal_down: usize,
    started: bool,
}

impl Pipes {
    pub fn new(up: usize, down: usize) -> Self {
        Self {
            up: Stream::default(),
            down: Stream::default(),
            goal_up: up,
            goal_down: down,
            started: false,
        }
    }

    /// Bytes from the agent that the client's user got, and those that the agent sent.
    pub fn received(&self) -> (usize, usize) {
        (self.down.got, self.down.sent)
    }
}

impl Programs for Pipes {
    fn begin(&mut self, link: &mut Link) {
        link.at(Duration::ZERO, Action::Program(0));
    }

    fn work(&mut self, link: &mut Link, _: usize) {
        let left = self.goal_up - self.up.sent;
        if left > 0 && link.client.can_write() {
            let length = link.rng.usize(1..=left.min(5000));
            let bytes = self.up.take(length);
            assert!(link.client.write(link.now, &bytes));
        }
        let left = self.goal_down - self.down.sent;
        // Programs start when the handshake is over.
        if left > 0 && (link.plan.kind == Kind::Shell || self.started) {
            let length = link.rng.usize(1..=left.min(1024));
            let bytes = self.down.take(length);
            link.agent.send(link.now, PayloadType::OUTPUT, bytes.into());
        }
        if self.up.sent < self.goal_up || self.down.sent < self.goal_down {
            let pause = link.moment(20);
            link.at(pause, Action::Program(0));
        }
    }

    fn started(&mut self) {
        self.started = true;
    }

    fn take(&mut self, _: &mut Link, event: Event) {
        match event {
            Event::Output(bytes) => self.down.give(&bytes),
            other => panic!("{other:?}: {self:?}"),
        }
    }

    fn take_from_agent(&mut self, _: &mut Link, event: AgentEvent) {
        match event {
            AgentEvent::Input(bytes) | AgentEvent::Delivered(PayloadType::OUTPUT, bytes) => {
                self.up.give(&bytes);
            }
            _ => panic!("the agent got what was not sent: {self:?}"),
        }
    }

    fn are_done(&self) -> bool {
        self.up.got == self.goal_up && self.down.got == self.goal_down
    }
}

impl World<Pipes> {
    /// Another client goes on with the session, once nothing is unacknowledged; meanwhile the
    /// agent's program talks on. `up` and `down` more bytes are to be delivered then.
    pub fn take_over(&mut self, up: usize, down: usize) {
        assert!(self.is_done());
        let (link, pipes) = (&mut self.link, &mut self.programs);
        link.cut();
        let config = Config {
            rng: link.rng.fork(),
            ..config()
        };
        link.client = DataChannel::take_over(config, link.now);
        self.started = false;
        pipes.started = false;
        pipes.goal_up += up;
        pipes.goal_down += down;
        for _ in 0..5 {
            let bytes = pipes.down.take(100);
            link.agent.send(link.now, PayloadType::OUTPUT, bytes.into());
        }
        pipes.begin(link);
    }
}
