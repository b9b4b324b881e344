//! What messages of the agent and the gateway do.

use std::time::Instant;

use bytes::Bytes;
use tracing::debug;

use super::{CLOSING_GRACE, DataChannel, Event, PROBE_GRACE, Phase, Probe};
use crate::protocol::handshake::SessionType;
use crate::protocol::message::{AgentMessage, MessageType, PayloadType};
use crate::protocol::payload::{Acknowledge, ChannelClosed, Flag, exit_code_from_text};
use crate::protocol::receiver::{Receipt, Received};

impl DataChannel {
    pub(super) fn handle_message(&mut self, now: Instant, message: &AgentMessage) {
        match &message.message_type {
            kind if *kind == MessageType::OUTPUT_STREAM_DATA => self.handle_stream(now, message),
            kind if *kind == MessageType::ACKNOWLEDGE => self.handle_acknowledge(now, message),
            kind if *kind == MessageType::CHANNEL_CLOSED => {
                let output = ChannelClosed::from_json(&message.payload).output;
                self.handle_closed(now, output);
            }
            kind if *kind == MessageType::PAUSE_PUBLICATION => {
                self.paused = true;
                self.answer_deadline = None;
            }
            kind if *kind == MessageType::START_PUBLICATION => self.unpause(now),
            kind => {
                self.stats.ignored += 1;
                debug!(?kind, "ignored a message of another type");
            }
        }
    }

    pub(super) fn handle_stream(&mut self, now: Instant, message: &AgentMessage) {
        match self.receiver.receive(message, now) {
            Receipt::Accepted => {}
            Receipt::Duplicate => {
                self.stats.duplicates += 1;
                self.acknowledge(now, message.sequence_number, message.message_id);
                self.unpause(now);
                return;
            }
            Receipt::Refused => {
                self.stats.ignored += 1;
                debug!(
                    number = message.sequence_number,
                    expected = self.receiver.expected(),
                    "refused a stream message"
                );
                return;
            }
        }
        self.last_progress = now;
        self.stats.progress += 1;
        self.stats.received_messages += 1;
        self.stats.received_bytes += message.payload.len() as u64;
        self.acknowledge(now, message.sequence_number, message.message_id);
        self.unpause(now);
        self.deliver(now);
    }

    pub(super) fn deliver(&mut self, now: Instant) {
        while !self.has_ended()
            && let Some(received) = self.receiver.next()
        {
            self.dispatch(now, received);
        }
    }

    pub(super) fn handle_acknowledge(&mut self, now: Instant, message: &AgentMessage) {
        let number = match Acknowledge::from_json(&message.payload) {
            Ok(acknowledge) => acknowledge.acknowledged_message_sequence_number,
            Err(reason) => {
                self.stats.malformed += 1;
                debug!(%reason, "ignored an acknowledgement");
                return;
            }
        };
        let Some(number) = number else {
            self.stats.ignored += 1;
            return;
        };
        if self.sender.acknowledge(number, now) {
            self.last_progress = now;
            self.stats.progress += 1;
        }
        self.unpause(now);
        if let Phase::Opening { probe } = &mut self.phase
            && matches!(*probe, Probe::Sent(sent) if sent == number)
        {
            *probe = Probe::Acknowledged(now + PROBE_GRACE);
        }
    }

    pub(super) fn handle_closed(&mut self, now: Instant, output: String) {
        if matches!(self.phase, Phase::Closing { .. }) {
            return;
        }
        self.receiver.begin();
        self.deliver(now);
        if self.has_ended() {
            return;
        }
        // Behind a handshake that was never finished there is no data.
        if self.receiver.has_gap() && !matches!(self.phase, Phase::Handshaking { .. }) {
            self.phase = Phase::Closing {
                output,
                started: matches!(self.phase, Phase::Session),
                deadline: now + CLOSING_GRACE,
            };
            return;
        }
        self.close(output);
    }

    pub(super) fn dispatch(&mut self, now: Instant, received: Received) {
        let Received {
            payload_type,
            payload,
        } = received;
        match payload_type {
            PayloadType::HANDSHAKE_REQUEST => self.handle_handshake_request(now, &payload),
            PayloadType::HANDSHAKE_COMPLETE => self.handle_handshake_complete(now, &payload),
            PayloadType::ENC_CHALLENGE_REQUEST => self.handle_challenge(now, &payload),
            PayloadType::OUTPUT | PayloadType::STDERR | PayloadType::EXIT_CODE => {
                self.handle_data(now, payload_type, payload);
            }
            PayloadType::FLAG => match Flag::from_bytes(&payload) {
                Some(flag) => self.events.push_back(Event::Flag(flag)),
                None => self.stats.ignored += 1,
            },
            PayloadType(number) => {
                if let (Phase::Opening { .. }, PayloadType::ERROR) = (&self.phase, payload_type) {
                    self.start(now, SessionType::StandardStream);
                }
                self.stats.ignored += 1;
                debug!(number, "ignored a payload of another type");
            }
        }
    }

    pub(super) fn handle_data(&mut self, now: Instant, payload_type: PayloadType, payload: Bytes) {
        match &mut self.phase {
            // Agents shake hands only where they must; plain shells just begin to talk.
            Phase::Opening { .. } => self.start(now, SessionType::StandardStream),
            Phase::Handshaking {
                handshake,
                responded: true,
                ..
            } => match handshake.session_type().cloned() {
                Some(session_type) => self.start(now, session_type),
                None => return,
            },
            Phase::Handshaking { .. } => {
                self.stats.ignored += 1;
                return;
            }
            Phase::Closing {
                started: started @ false,
                ..
            } => {
                *started = true;
                let kind = SessionType::StandardStream;
                self.events.push_back(Event::Started(kind, self.agent));
            }
            Phase::Session | Phase::Closing { .. } | Phase::Ended => {}
        }
        let data = match &self.cipher {
            None => payload,
            Some(cipher) => match cipher.open(&payload) {
                Ok(data) => data.into(),
                Err(error) => {
                    // A resend would bring the same bytes.
                    self.fail(error.into());
                    return;
                }
            },
        };
        if data.is_empty() {
            return;
        }
        self.events.push_back(match payload_type {
            PayloadType::STDERR => Event::Stderr(data),
            PayloadType::EXIT_CODE => Event::ExitCode(exit_code_from_text(&data), data),
            _ => Event::Output(data),
        });
    }
}
