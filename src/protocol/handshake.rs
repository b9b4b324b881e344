//! The client's side of the handshake: requested actions to one response.

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::payload::{HandshakeRequest, HandshakeResponse, ProcessedAction, RequestedAction};
use super::version::CLIENT_VERSION;

const SUCCESS: u8 = 1;
const FAILED: u8 = 2;
const UNSUPPORTED: u8 = 3;

/// What a session is for, as its agent announces it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionType {
    /// A shell on a pseudo-terminal.
    StandardStream,
    /// One command on a pseudo-terminal.
    InteractiveCommands,
    /// One command without terminal and standard input.
    NonInteractiveCommands,
    /// TCP connections, with the properties that the agent named.
    Port(Value),
}

impl SessionType {
    fn new(name: &str, properties: Value) -> Option<Self> {
        Some(match name {
            "Standard_Stream" => Self::StandardStream,
            "InteractiveCommands" => Self::InteractiveCommands,
            "NonInteractiveCommands" => Self::NonInteractiveCommands,
            "Port" => Self::Port(properties),
            _ => return None,
        })
    }
}

/// A data key that the agent wants; the caller gets it from KMS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataKeyRequest {
    /// Key id, ARN or alias.
    pub key_id: String,
    /// For the encryption context, as the agent wrote it.
    pub challenge: Option<String>,
}

/// A data key, sealed, as it goes to the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedDataKey {
    /// The CiphertextBlob of GenerateDataKey, in base64.
    pub ciphertext: String,
    /// Whether the agent's challenge is in the encryption context.
    pub challenge_used: bool,
}

/// A handshake under way.
#[derive(Debug)]
pub struct Handshake {
    todo: VecDeque<RequestedAction>,
    done: Vec<ProcessedAction>,
    errors: Vec<String>,
    session_type: Option<SessionType>,
}

/// What a handshake waits for.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// [`Handshake::data_key`].
    DataKey(DataKeyRequest),
    /// Nothing: this is to be sent.
    Response(HandshakeResponse),
}

impl Handshake {
    /// Begins to answer `request`.
    pub fn new(request: HandshakeRequest) -> Self {
        Self {
            todo: request.actions.into(),
            done: Vec::new(),
            errors: Vec::new(),
            session_type: None,
        }
    }

    /// The type that the last successful SessionType action named.
    pub fn session_type(&self) -> Option<&SessionType> {
        self.session_type.as_ref()
    }

    /// Works on the actions until one needs a data key or none is left.
    pub fn advance(&mut self) -> Step {
        while let Some(action) = self.todo.pop_front() {
            match action {
                RequestedAction::SessionType {
                    session_type,
                    properties,
                } => match SessionType::new(&session_type, properties) {
                    Some(known) => {
                        self.session_type = Some(known);
                        self.succeed("SessionType", Value::Null);
                    }
                    None => {
                        self.fail(
                            "SessionType",
                            format!("Unknown session type {session_type}"),
                        );
                    }
                },
                RequestedAction::KmsEncryption { key_id, challenge } => {
                    return Step::DataKey(DataKeyRequest { key_id, challenge });
                }
                RequestedAction::Unknown(name) => {
                    let error = format!("Unsupported action {name}");
                    self.push(&name, UNSUPPORTED, Value::Null, error.clone());
                    self.errors.push(error);
                }
            }
        }
        Step::Response(HandshakeResponse {
            client_version: CLIENT_VERSION,
            processed_client_actions: std::mem::take(&mut self.done),
            errors: Some(std::mem::take(&mut self.errors)).filter(|errors| !errors.is_empty()),
        })
    }

    /// Takes the outcome of the [`Step::DataKey`] that [`advance`](Self::advance) returned.
    pub fn data_key(&mut self, outcome: Result<SealedDataKey, String>) {
        match outcome {
            Ok(key) => {
                let mut result = json!({
                    "KMSCipherTextKey": key.ciphertext,
                    "KMSCipherTextHash": null,
                });
                if let (true, Value::Object(map)) = (key.challenge_used, &mut result) {
                    map.insert("ChallengeAcknowledgement".into(), Value::Bool(true));
                }
                self.succeed("KMSEncryption", result);
            }
            Err(error) => self.fail("KMSEncryption", error),
        }
    }

    fn succeed(&mut self, action: &str, result: Value) {
        self.push(action, SUCCESS, result, String::new());
    }

    fn fail(&mut self, action: &str, error: String) {
        let text = format!("Failed to process action {action}: {error}");
        self.push(action, FAILED, Value::Null, text);
        self.errors.push(error);
    }

    fn push(&mut self, action: &str, status: u8, result: Value, error: String) {
        self.done.push(ProcessedAction {
            action_type: action.to_owned(),
            action_status: status,
            action_result: result,
            error,
        });
    }
}
