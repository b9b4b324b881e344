//! From the first message to the session in force: handshake, challenge, or neither.

use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use tracing::debug;

use super::{DataChannel, Event, Phase};
use crate::protocol::error::{PayloadError, SessionError};
use crate::protocol::handshake::{Handshake, SessionType, Step};
use crate::protocol::message::PayloadType;
use crate::protocol::payload::{
    HandshakeComplete, HandshakeRequest, challenge_from_json, challenge_to_json,
};
use crate::protocol::version::AgentFeatures;

/// The longest handshake request that is looked at, in bytes. Each action gets an answer, which
/// has to fit into a message.
const MAX_REQUEST: usize = 64 * 1024;

impl DataChannel {
    pub(super) fn handle_handshake_request(&mut self, now: Instant, payload: &[u8]) {
        if !matches!(self.phase, Phase::Opening { .. }) {
            // A second response would block the agent's reader for good.
            self.stats.ignored += 1;
            return;
        }
        let request = if payload.len() > MAX_REQUEST {
            Err(PayloadError::TooLong(payload.len()))
        } else {
            HandshakeRequest::from_json(payload)
        };
        match request {
            Ok(request) => {
                self.agent = AgentFeatures::of(&request.agent_version);
                debug!(version = request.agent_version, "handshake");
                self.phase = Phase::Handshaking {
                    handshake: Handshake::new(request),
                    responded: false,
                    challenged: false,
                };
                self.advance_handshake(now);
            }
            Err(reason) => self.fail(bad_handshake("handshake request", &reason)),
        }
    }

    pub(super) fn advance_handshake(&mut self, now: Instant) {
        let Phase::Handshaking {
            handshake,
            responded,
            ..
        } = &mut self.phase
        else {
            return;
        };
        loop {
            match (handshake.advance(), &self.config.no_data_keys) {
                (Step::DataKey(_), Some(reason)) => handshake.data_key(Err(reason.clone())),
                (Step::DataKey(request), None) => {
                    self.events.push_back(Event::DataKeyNeeded(request));
                    return;
                }
                (Step::Response(response), _) => {
                    *responded = true;
                    let payload = response.to_json().into();
                    self.send(now, PayloadType::HANDSHAKE_RESPONSE, payload);
                    return;
                }
            }
        }
    }

    pub(super) fn handle_challenge(&mut self, now: Instant, payload: &[u8]) {
        let (
            Phase::Handshaking {
                responded: true,
                challenged: challenged @ false,
                ..
            },
            Some(cipher),
        ) = (&mut self.phase, &mut self.cipher)
        else {
            self.stats.ignored += 1;
            return;
        };
        *challenged = true;
        let sealed = challenge_from_json(payload).and_then(|text| {
            BASE64
                .decode(text)
                .map_err(|_| PayloadError::WrongType("Challenge"))
        });
        match sealed.map(|sealed| cipher.open(&sealed)) {
            Ok(Ok(challenge)) => {
                let answer = challenge_to_json(&BASE64.encode(cipher.seal(&challenge)));
                self.send(now, PayloadType::ENC_CHALLENGE_RESPONSE, answer.into());
            }
            Ok(Err(error)) => self.fail(error.into()),
            Err(reason) => self.fail(bad_handshake("encryption challenge", &reason)),
        }
    }

    pub(super) fn handle_handshake_complete(&mut self, now: Instant, payload: &[u8]) {
        let Phase::Handshaking {
            handshake,
            responded: true,
            ..
        } = &self.phase
        else {
            self.stats.ignored += 1;
            return;
        };
        let session_type = handshake.session_type().cloned();
        let message = match HandshakeComplete::from_json(payload) {
            Ok(complete) => complete.customer_message,
            // Only its arrival matters; what else is in it may change.
            Err(PayloadError::WrongType(_)) => String::new(),
            Err(reason) => return self.fail(bad_handshake("handshake completion", &reason)),
        };
        let Some(session_type) = session_type else {
            let reason = "the agent did not say what kind of session this is";
            return self.fail(SessionError::Refused(reason.to_owned()));
        };
        if !message.is_empty() {
            self.events.push_back(Event::CustomerMessage(message));
        }
        self.start(now, session_type);
    }

    pub(super) fn start(&mut self, now: Instant, session_type: SessionType) {
        self.phase = Phase::Session;
        self.answer_deadline = None;
        if matches!(session_type, SessionType::Port(_)) {
            // There is no terminal to have it.
            self.size_changed = false;
        } else {
            self.send_size(now);
        }
        self.events
            .push_back(Event::Started(session_type, self.agent));
    }
}

fn bad_handshake(message: &'static str, reason: &PayloadError) -> SessionError {
    SessionError::BadHandshake {
        message,
        reason: reason.to_string(),
    }
}
