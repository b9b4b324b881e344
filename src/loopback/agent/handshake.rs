//! The agent's side of the handshake: requested actions, the data key and its proof.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value, json};

use super::received::object;
use super::{Agent, ClientFeatures, Event, Refusal, SessionType};
use crate::protocol::cipher::{Cipher, DataKey, Role};
use crate::protocol::message::PayloadType;
use crate::protocol::payload::{challenge_from_json, challenge_to_json, find};

/// How long the agent waits for the response, and again for the proof.
const TIMEOUT: Duration = Duration::from_secs(15);
const TIMED_OUT: &str = "Handshake timed out. Please ensure that you have the latest version of the session manager plugin.";

/// Whether the encryption context is to hold a random value of the agent's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Challenge {
    /// As agents of old: nothing is said of it.
    Absent,
    /// Offered; clients that ignore it are served.
    #[default]
    Offered,
    /// Clients that ignore it are refused.
    Required,
}

/// Encryption with a data key of a KMS key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encryption {
    /// Id, ARN or alias.
    pub key_id: String,
    /// The random challenge.
    pub challenge: Challenge,
}

/// How far the handshake is.
pub(super) enum Handshake {
    Skipped,
    AwaitingResponse {
        began: Instant,
        deadline: Instant,
        challenge: String,
        response: Option<Response>,
    },
    AwaitingKey {
        began: Instant,
    },
    AwaitingProof {
        began: Instant,
        deadline: Instant,
        plaintext: [u8; 64],
        proof: Option<Vec<u8>>,
    },
    Complete,
    Failed,
}

/// A client's answer, as far as it is looked at.
pub(super) struct Response {
    client_version: String,
    actions: Vec<Map<String, Value>>,
}

impl Handshake {
    /// Whether input goes to the program.
    pub(super) fn is_over(&self) -> bool {
        matches!(self, Self::Skipped | Self::Complete)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::AwaitingResponse { deadline, .. } | Self::AwaitingProof { deadline, .. } => {
                Some(*deadline)
            }
            _ => None,
        }
    }
}

impl Agent {
    pub(super) fn start_handshake(&mut self, now: Instant) {
        let session_type = self.config.session_type;
        if session_type == SessionType::Port {
            self.config.encryption = None;
        }
        let needed = matches!(
            session_type,
            SessionType::Port | SessionType::NonInteractiveCommands
        );
        if self.config.skip_handshake || (!needed && self.config.encryption.is_none()) {
            self.events.push_back(Event::Started);
            return;
        }
        let mut actions = vec![json!({
            "ActionType": "SessionType",
            "ActionParameters": {
                "SessionType": session_type.as_str(),
                "Properties": self.config.properties,
            },
        })];
        let mut challenge = String::new();
        if let Some(encryption) = &self.config.encryption {
            let mut parameters = json!({ "KMSKeyId": encryption.key_id });
            if encryption.challenge != Challenge::Absent {
                challenge = BASE64.encode(self.rng.u128(..).to_ne_bytes());
                if let Value::Object(map) = &mut parameters {
                    map.insert("Challenge".to_owned(), json!(challenge));
                }
            }
            actions.push(json!({
                "ActionType": "KMSEncryption",
                "ActionParameters": parameters,
            }));
        }
        let request = json!({
            "AgentVersion": self.config.version,
            "RequestedClientActions": actions,
        });
        self.handshake = Handshake::AwaitingResponse {
            began: now,
            deadline: now + TIMEOUT,
            challenge,
            response: None,
        };
        let request = request.to_string();
        self.send(now, PayloadType::HANDSHAKE_REQUEST, request.into());
    }

    /// Reads a HandshakeResponse. One that nobody waits for blocks the reader for good.
    pub(super) fn take_response(&mut self, payload: &[u8]) -> Result<(), Refusal> {
        let read = Response::read(payload).ok_or(Refusal::Unusable)?;
        match &mut self.handshake {
            Handshake::AwaitingResponse { response, .. } if response.is_none() => {
                self.client_version.clone_from(&read.client_version);
                *response = Some(read);
                Ok(())
            }
            _ => Err(self.kill_reader()),
        }
    }

    /// Reads an EncChallengeResponse. One that nobody waits for takes the reader down.
    pub(super) fn take_challenge(&mut self, payload: &[u8]) -> Result<(), Refusal> {
        let text = challenge_from_json(payload).map_err(|_| Refusal::Unusable)?;
        let opened = BASE64.decode(text).ok().and_then(|sealed| {
            let cipher = self.cipher.as_ref()?;
            cipher.open(&sealed).ok()
        });
        match &mut self.handshake {
            Handshake::AwaitingProof { proof, .. } if proof.is_none() => {
                *proof = Some(opened.ok_or(Refusal::Unusable)?);
                Ok(())
            }
            _ => Err(self.kill_reader()),
        }
    }

    /// Goes on with what the last message brought, now that it is acknowledged.
    pub(super) fn advance_handshake(&mut self, now: Instant) {
        match &mut self.handshake {
            Handshake::AwaitingResponse {
                began,
                challenge,
                response,
                ..
            } => {
                if let Some(response) = response.take() {
                    let (began, challenge) = (*began, std::mem::take(challenge));
                    self.judge(now, began, &challenge, &response);
                }
            }
            Handshake::AwaitingProof {
                began,
                plaintext,
                proof: Some(proof),
                ..
            } => {
                let began = *began;
                if proof.as_slice() == plaintext {
                    self.complete(now, began);
                } else {
                    self.fail("Encryption challenge does not match.");
                }
            }
            _ => {}
        }
    }

    fn judge(&mut self, now: Instant, began: Instant, challenge: &str, response: &Response) {
        let mut decrypt = None;
        for action in &response.actions {
            let text = |key| find(action, key).and_then(Value::as_str).unwrap_or("");
            let name = text("ActionType");
            let status = find(action, "ActionStatus").and_then(Value::as_i64);
            let status = status.unwrap_or_default();
            if status != 1 {
                let error = text("Error");
                return self.fail(&format!(
                    "{name} failed on client with status {status} error: {error}"
                ));
            }
            if name == "KMSEncryption" {
                decrypt = find(action, "ActionResult").and_then(Value::as_object);
            }
        }
        let Some(encryption) = self.config.encryption.clone() else {
            return self.complete(now, began);
        };
        let Some(result) = decrypt else {
            return self.fail("KMSEncryption was not processed by the client");
        };
        let mut context = vec![
            (
                "aws:ssm:SessionId".to_owned(),
                self.config.session_id.clone(),
            ),
            ("aws:ssm:TargetId".to_owned(), self.config.target.clone()),
        ];
        let acknowledged = find(result, "ChallengeAcknowledgement").and_then(Value::as_bool);
        if acknowledged == Some(true) && !challenge.is_empty() {
            context.push(("aws:ssm:RandomChallenge".to_owned(), challenge.to_owned()));
        } else if encryption.challenge == Challenge::Required {
            return self
                .fail("client does not support required encryption context random challenge");
        }
        let ciphertext = find(result, "KMSCipherTextKey").and_then(Value::as_str);
        let Some(ciphertext) = ciphertext.and_then(|text| BASE64.decode(text).ok()) else {
            return self.fail("the client's encrypted data key cannot be read");
        };
        self.handshake = Handshake::AwaitingKey { began };
        self.events.push_back(Event::Decrypt {
            key_id: encryption.key_id,
            ciphertext,
            context,
        });
    }

    /// Takes KMS's answer to [`Event::Decrypt`]; `nonce_seed` must be random.
    pub fn handle_data_key(
        &mut self,
        now: Instant,
        key: Result<DataKey, String>,
        nonce_seed: [u8; 12],
    ) {
        let Handshake::AwaitingKey { began } = self.handshake else {
            return;
        };
        let key = match key {
            Ok(key) => key,
            Err(reason) => return self.fail(&reason),
        };
        let mut cipher = Cipher::new(&key, Role::Agent, nonce_seed);
        let mut plaintext = [0; 64];
        self.rng.fill(&mut plaintext);
        let sealed = BASE64.encode(cipher.seal(&plaintext));
        self.cipher = Some(cipher);
        self.handshake = Handshake::AwaitingProof {
            began,
            deadline: now + TIMEOUT,
            plaintext,
            proof: None,
        };
        let text = challenge_to_json(&sealed);
        self.send(now, PayloadType::ENC_CHALLENGE_REQUEST, text.into());
    }

    pub(super) fn handshake_timeout(&mut self, now: Instant) {
        if self.handshake.deadline().is_some_and(|at| at <= now) {
            self.fail(TIMED_OUT);
        }
    }

    fn complete(&mut self, now: Instant, began: Instant) {
        let mut message = String::new();
        if self.config.encryption.is_some() {
            message.push_str("This session is encrypted using AWS KMS.");
        }
        let features = ClientFeatures::of(&self.client_version);
        if self.config.separate_output && features.separate_output_upgrade_message {
            message.push_str("Please update session manager plugin version (minimum required version 1.2.312.0) for fully support of separate StdOut/StdErr output.\r\n");
        }
        let took = now.saturating_duration_since(began).as_nanos();
        let text = json!({
            "HandshakeTimeToComplete": u64::try_from(took).unwrap_or(u64::MAX),
            "CustomerMessage": message,
        });
        self.handshake = Handshake::Complete;
        self.send(
            now,
            PayloadType::HANDSHAKE_COMPLETE,
            text.to_string().into(),
        );
        self.events.push_back(Event::Started);
    }

    fn fail(&mut self, reason: &str) {
        self.handshake = Handshake::Failed;
        self.events.push_back(Event::Failed(reason.to_owned()));
    }
}

impl Response {
    fn read(payload: &[u8]) -> Option<Self> {
        let map = object(payload)?;
        let client_version = match find(&map, "ClientVersion") {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(_) => return None,
        };
        let actions = match find(&map, "ProcessedClientActions") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(actions)) => actions
                .iter()
                .map(|action| action.as_object().cloned())
                .collect::<Option<_>>()?,
            Some(_) => return None,
        };
        Some(Self {
            client_version,
            actions,
        })
    }
}
