//! The programs at both ends: what they send, and what has to reach them.

use ssmx::loopback::agent::Event as AgentEvent;
use ssmx::protocol::handshake::SealedDataKey;
use ssmx::protocol::message::PayloadType;
use ssmx::protocol::{Event, SessionType};

use super::{Action, Kind, World};

impl World {
    pub(super) fn work(&mut self) {
        let left = self.plan.up - self.up.sent;
        if left > 0 && self.client.can_write() {
            let length = self.rng.usize(1..=left.min(5000));
            let bytes = self.up.take(length);
            assert!(self.client.write(self.now, &bytes));
        }
        let left = self.plan.down - self.down.sent;
        if left > 0 && self.may_send() {
            let length = self.rng.usize(1..=left.min(1024));
            let bytes = self.down.take(length);
            self.agent.send(self.now, PayloadType::OUTPUT, bytes.into());
        }
        if self.up.sent < self.plan.up || self.down.sent < self.plan.down {
            let pause = self.moment(20);
            self.at(pause, Action::Work);
        }
    }

    /// Programs start when the handshake is over.
    fn may_send(&self) -> bool {
        self.plan.kind == Kind::Shell || self.started
    }

    pub(super) fn take(&mut self, event: Event) {
        assert_eq!(self.closed, None, "the last event was not the last");
        assert!(!self.incomplete || matches!(event, Event::Closed(_)));
        match event {
            Event::Started(kind, _) => {
                assert!(!self.started, "it starts once");
                self.started = true;
                assert_eq!(
                    matches!(kind, SessionType::Port(_)),
                    self.plan.kind == Kind::Port
                );
            }
            Event::Output(bytes) => {
                assert!(self.started);
                self.down.give(&bytes);
            }
            Event::DataKeyNeeded(request) => {
                assert_eq!(request.key_id, "alias/x");
                let sealed = SealedDataKey {
                    ciphertext: "YmxvYg==".to_owned(),
                    challenge_used: true,
                };
                let key = Ok((self.key.clone(), sealed));
                let seed = std::array::from_fn(|_| self.rng.u8(..));
                self.client.handle_data_key(self.now, key, seed);
                self.drain();
            }
            Event::Incomplete => self.incomplete = true,
            Event::Closed(reason) => self.closed = Some(reason),
            Event::CustomerMessage(_) => {}
            other => panic!("{other:?}: {}", self.state()),
        }
    }

    pub(super) fn take_from_agent(&mut self, event: AgentEvent) {
        match event {
            AgentEvent::Input(bytes) | AgentEvent::Delivered(PayloadType::OUTPUT, bytes) => {
                self.up.give(&bytes);
            }
            AgentEvent::Decrypt { ciphertext, .. } => {
                assert_eq!(ciphertext, b"blob");
                let seed = std::array::from_fn(|_| self.rng.u8(..));
                self.agent
                    .handle_data_key(self.now, Ok(self.key.clone()), seed);
            }
            AgentEvent::Failed(reason) => {
                assert!(reason.starts_with("Handshake timed out"), "{reason}");
                self.given_up = true;
            }
            AgentEvent::Started
            | AgentEvent::Size(_)
            | AgentEvent::Delivered(PayloadType::SIZE, _) => {}
            _ => panic!("the agent got what was not sent: {}", self.state()),
        }
    }
}
