//! Frames on their way in: order, acknowledgements, and what the payloads mean.

use std::time::Instant;

use bytes::Bytes;

use super::received::{self, Kind, Malformed, Received};
use super::{Agent, Event, HELD_BYTES, Reader, Refusal, SessionType, Signal};
use crate::protocol::message::PayloadType;
use crate::protocol::payload::Flag;
use crate::protocol::version::AgentFeatures;

impl Agent {
    pub(super) fn process(&mut self, now: Instant, frame: Bytes) -> Result<(), Refusal> {
        let received = match Received::parse(&frame) {
            Ok(received) => received,
            Err(Malformed::Dropped) => return Err(Refusal::Malformed),
            Err(Malformed::Crashes) => {
                self.reader = Reader::Dead;
                return Err(Refusal::ReaderDead);
            }
        };
        match received.kind {
            Kind::Input => {
                self.paused = false;
                self.handle_stream(now, received)
            }
            Kind::Acknowledge => {
                let sequence = received.acknowledged().ok_or(Refusal::Malformed)?;
                self.paused = false;
                self.outgoing.acknowledge(sequence, now);
                Ok(())
            }
            Kind::StartPublication => {
                self.paused = false;
                Ok(())
            }
            Kind::PausePublication => {
                self.paused = true;
                Ok(())
            }
            Kind::ChannelClosed => {
                if !received.is_readable_farewell() {
                    return Err(Refusal::Malformed);
                }
                self.events.push_back(Event::Cancelled);
                Ok(())
            }
            Kind::Other => Ok(()),
        }
    }

    fn handle_stream(&mut self, now: Instant, received: Received) -> Result<(), Refusal> {
        let (id, sequence) = (received.id, received.sequence);
        if sequence < self.expected {
            self.acknowledge(now, id, sequence);
        } else if sequence > self.expected {
            let bytes = self.held_bytes + received.payload.len();
            if self.held.len() < self.config.held_capacity && bytes <= HELD_BYTES {
                self.acknowledge(now, id, sequence);
                let bytes = received.payload.len();
                let replaced = self.held.insert(sequence, received);
                self.held_bytes += bytes;
                self.held_bytes -= replaced.map_or(0, |old| old.payload.len());
            }
        } else {
            self.deliver(received)?;
            if !self.is_waiting() {
                self.acknowledge(now, id, sequence);
                self.expected += 1;
                self.advance_handshake(now);
                self.drain(now);
            }
        }
        Ok(())
    }

    /// Delivers held messages that are now due; they were acknowledged when they came.
    pub(super) fn drain(&mut self, now: Instant) {
        while let Some(received) = self.held.get(&self.expected).cloned() {
            if self.deliver(received).is_err() || self.is_waiting() {
                break;
            }
            if let Some(done) = self.held.remove(&self.expected) {
                self.held_bytes -= done.payload.len();
            }
            self.expected += 1;
            self.advance_handshake(now);
        }
    }

    fn deliver(&mut self, received: Received) -> Result<(), Refusal> {
        let Received {
            payload_type,
            payload,
            ..
        } = received;
        match payload_type {
            PayloadType::HANDSHAKE_RESPONSE => return self.take_response(&payload),
            PayloadType::ENC_CHALLENGE_RESPONSE => return self.take_challenge(&payload),
            _ if !self.handshake.is_over() => return Ok(()),
            _ if !self.ready => return Err(Refusal::NotReady),
            _ => {}
        }
        let payload = match &self.cipher {
            Some(cipher) if payload_type == PayloadType::OUTPUT => {
                cipher.open(&payload).map_err(|_| Refusal::Unusable)?.into()
            }
            _ => payload,
        };
        match (self.config.session_type, payload_type) {
            (SessionType::Port, _) => {
                if payload_type == PayloadType::FLAG
                    && Flag::from_bytes(&payload) == Some(Flag::TerminateSession)
                    && AgentFeatures::of(&self.config.version).terminate_session_flag
                    && std::mem::replace(&mut self.terminated, true)
                {
                    // The first one is taken by the program; nobody takes the second.
                    return Err(self.kill_reader());
                }
                self.events
                    .push_back(Event::Delivered(payload_type, payload));
            }
            (SessionType::NonInteractiveCommands, PayloadType::OUTPUT) => {
                let signal = payload.iter().find_map(|byte| match byte {
                    0x03 => Some(Signal::Interrupt),
                    0x1c => Some(Signal::Quit),
                    _ => None,
                });
                if let Some(signal) = signal {
                    let (id, sequence) = (received.id, received.sequence);
                    self.reader = Reader::Waiting { id, sequence };
                    self.events.push_back(Event::Signal(signal));
                }
            }
            (SessionType::NonInteractiveCommands, _) => {}
            (_, PayloadType::OUTPUT) => self.events.push_back(Event::Input(payload)),
            (_, PayloadType::SIZE) => {
                let size = received::size(&payload).ok_or(Refusal::Unusable)?;
                self.events.push_back(Event::Size(size));
            }
            _ => {}
        }
        Ok(())
    }
}
