//! What is sent, and how it ends.

use std::time::Instant;

use bytes::Bytes;
use tracing::debug;
use uuid::Uuid;

use super::{DataChannel, Event, PROGRESS_TIMEOUT, Phase, Probe, Transmit};
use crate::protocol::error::SessionError;
use crate::protocol::message::{AgentMessage, FLAG_SYN_FIN, MessageType, PayloadType};
use crate::protocol::payload::acknowledge_json;

impl DataChannel {
    pub(super) fn send_probe(&mut self, now: Instant) {
        let number = self.sender.next_sequence_number();
        if self.size.is_some() {
            self.send_size(now);
            self.phase = Phase::Opening {
                probe: Probe::Sent(number),
            };
        } else {
            self.phase = Phase::Opening {
                probe: Probe::At(None),
            };
        }
    }

    /// While nothing can be sent only the latest size counts, so that they do not pile up.
    pub(super) fn send_changed_size(&mut self, now: Instant) {
        let may_send = self.connected && !self.paused && self.sender.has_room();
        if self.size_changed && may_send && matches!(self.phase, Phase::Session) {
            self.send_size(now);
        }
    }

    pub(super) fn send_size(&mut self, now: Instant) {
        self.size_changed = false;
        if let Some(size) = self.size
            && let Ok(json) = serde_json::to_vec(&size)
        {
            self.send(now, PayloadType::SIZE, json.into());
        }
    }

    pub(super) fn send(&mut self, now: Instant, payload_type: PayloadType, payload: Bytes) {
        if self.sender.is_empty() {
            self.last_progress = now;
        }
        let message = AgentMessage {
            message_type: MessageType::INPUT_STREAM_DATA,
            schema_version: 1,
            created_date: self.date(now),
            sequence_number: self.sender.next_sequence_number(),
            flags: 0,
            message_id: self.new_id(),
            payload_type,
            payload,
        };
        match message.encode() {
            Ok(frame) => {
                self.stats.sent_messages += 1;
                self.stats.sent_bytes += message.payload.len() as u64;
                self.sender.push(frame);
            }
            Err(reason) => debug!(%reason, "not sent"),
        }
    }

    pub(super) fn acknowledge(&mut self, now: Instant, number: i64, id: Uuid) {
        let kind = MessageType::OUTPUT_STREAM_DATA;
        let message = AgentMessage {
            message_type: MessageType::ACKNOWLEDGE,
            schema_version: 1,
            created_date: self.date(now),
            sequence_number: 0,
            flags: FLAG_SYN_FIN,
            message_id: self.new_id(),
            payload_type: PayloadType::NONE,
            payload: acknowledge_json(kind.as_str(), id, number).into(),
        };
        if let Ok(frame) = message.encode() {
            self.control.push_back(Transmit::Binary(frame));
        }
    }

    pub(super) fn unpause(&mut self, now: Instant) {
        if std::mem::take(&mut self.paused) {
            self.last_progress = now;
            self.sender.resend_all();
            self.start_answer_clock(now);
        }
    }

    pub(super) fn start_answer_clock(&mut self, now: Instant) {
        if matches!(
            self.phase,
            Phase::Opening { .. } | Phase::Handshaking { .. }
        ) {
            self.answer_deadline = Some(now + self.config.answer_timeout);
        }
    }

    pub(super) fn progress_deadline(&self) -> Option<Instant> {
        (!self.sender.is_empty()).then(|| self.last_progress + PROGRESS_TIMEOUT)
    }

    pub(super) fn close(&mut self, output: String) {
        self.phase = Phase::Ended;
        if self.receiver.has_gap() {
            self.events.push_back(Event::Incomplete);
        }
        self.events.push_back(Event::Closed(output));
    }

    pub(super) fn fail(&mut self, error: SessionError) {
        self.phase = Phase::Ended;
        self.events.push_back(Event::Failed(error));
    }

    pub(super) fn date(&self, now: Instant) -> u64 {
        let elapsed = now.saturating_duration_since(self.started).as_millis();
        let elapsed = u64::try_from(elapsed).unwrap_or(u64::MAX);
        self.config.unix_millis.saturating_add(elapsed).max(1)
    }

    pub(super) fn new_id(&mut self) -> Uuid {
        uuid::Builder::from_random_bytes(self.config.rng.u128(..).to_be_bytes()).into_uuid()
    }
}
