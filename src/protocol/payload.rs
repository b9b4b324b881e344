//! The JSON texts inside messages, and the few that are not JSON.
//!
//! Peers match keys without regard to case and ignore unknown ones; of two equal keys the last
//! counts. Reading here does the same.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::error::PayloadError;
use super::version::CLIENT_VERSION;

/// What a Flag message says, as four bytes big-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flag {
    /// Client: the local connection of a port session is closed.
    DisconnectToPort = 1,
    /// Client: end the session.
    TerminateSession = 2,
    /// Agent: the destination cannot be reached.
    ConnectToPortError = 3,
}

impl Flag {
    /// The payload.
    pub fn to_bytes(self) -> [u8; 4] {
        (self as u32).to_be_bytes()
    }

    /// Reads a payload; `None` for other lengths and numbers.
    pub fn from_bytes(payload: &[u8]) -> Option<Self> {
        match u32::from_be_bytes(payload.try_into().ok()?) {
            1 => Some(Self::DisconnectToPort),
            2 => Some(Self::TerminateSession),
            3 => Some(Self::ConnectToPortError),
            _ => None,
        }
    }
}

/// The terminal's size, in character cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Columns.
    pub cols: u32,
    /// Rows.
    pub rows: u32,
}

/// The first frame of every connection, sent as text. It holds the token: no `Debug`.
#[derive(Serialize, Zeroize, ZeroizeOnDrop)]
#[serde(rename_all = "PascalCase")]
pub struct OpenDataChannelInput {
    #[zeroize(skip)]
    message_schema_version: &'static str,
    #[zeroize(skip)]
    request_id: Uuid,
    token_value: String,
    #[zeroize(skip)]
    client_id: Uuid,
    #[zeroize(skip)]
    client_version: &'static str,
}

impl OpenDataChannelInput {
    /// `request_id` is new for every connection, `client_id` for every process.
    pub fn new(request_id: Uuid, client_id: Uuid, token: &str) -> Self {
        Self {
            message_schema_version: "1.0",
            request_id,
            token_value: token.to_owned(),
            client_id,
            client_version: CLIENT_VERSION,
        }
    }

    /// The text of the frame.
    pub fn to_json(&self) -> String {
        to_json(self)
    }
}

/// The text that acknowledges a stream message.
pub fn acknowledge_json(message_type: &str, message_id: Uuid, sequence_number: i64) -> String {
    let mut text = String::with_capacity(192);
    // Writing to a String cannot fail; types are plain names that JSON need not escape.
    let _ = write!(
        text,
        r#"{{"AcknowledgedMessageType":"{message_type}","AcknowledgedMessageId":"{message_id}","AcknowledgedMessageSequenceNumber":{sequence_number},"IsSequentialMessage":true}}"#
    );
    text
}

/// An acknowledgement, read. Peers match it by sequence number alone.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Acknowledge {
    /// The type of the acknowledged message.
    pub acknowledged_message_type: String,
    /// Its id, as text.
    pub acknowledged_message_id: String,
    /// Its number; `None` if the peer named none.
    pub acknowledged_message_sequence_number: Option<i64>,
    /// Always true.
    pub is_sequential_message: bool,
}

impl Acknowledge {
    /// Reads the payload.
    ///
    /// # Errors
    ///
    /// Not JSON, or a value of the wrong type: the acknowledgement counts for nothing.
    pub fn from_json(payload: &[u8]) -> Result<Self, PayloadError> {
        // As peers write it: no map is built.
        if let Ok(acknowledge) = serde_json::from_slice(payload) {
            return Ok(acknowledge);
        }
        let map = object(payload)?;
        Ok(Self {
            acknowledged_message_type: string(&map, "AcknowledgedMessageType")?,
            acknowledged_message_id: string(&map, "AcknowledgedMessageId")?,
            acknowledged_message_sequence_number: integer(
                &map,
                "AcknowledgedMessageSequenceNumber",
            )?,
            is_sequential_message: boolean(&map, "IsSequentialMessage")?,
        })
    }
}

/// The gateway's farewell. Whatever is wrong with the text, the session is over.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ChannelClosed {
    /// The message's id.
    pub message_id: String,
    /// Milliseconds since 1970, as text.
    pub created_date: String,
    /// Who it is for.
    pub destination_id: String,
    /// The session that ended.
    pub session_id: String,
    /// `channel_closed`.
    pub message_type: String,
    /// 1.
    pub schema_version: i64,
    /// Why the session failed; empty after a normal end.
    pub output: String,
}

impl ChannelClosed {
    /// Reads what can be read.
    pub fn from_json(payload: &[u8]) -> Self {
        let map = object(payload).unwrap_or_default();
        let text = |key| match find(&map, key) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => String::new(),
        };
        Self {
            message_id: text("MessageId"),
            created_date: text("CreatedDate"),
            destination_id: text("DestinationId"),
            session_id: text("SessionId"),
            message_type: text("MessageType"),
            schema_version: find(&map, "SchemaVersion")
                .and_then(Value::as_i64)
                .unwrap_or_default(),
            output: text("Output"),
        }
    }

    /// The text of the message, for a gateway.
    pub fn to_json(&self) -> String {
        to_json(self)
    }
}

/// What the agent asks of the client before session data flows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HandshakeRequest {
    /// The agent's version; decides [`AgentFeatures`](super::version::AgentFeatures).
    pub agent_version: String,
    /// The actions, to be answered one by one in order.
    pub actions: Vec<RequestedAction>,
}

/// One requested action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestedAction {
    /// The session's type and its properties (`null` for shells).
    SessionType {
        /// `Standard_Stream`, `InteractiveCommands`, `NonInteractiveCommands` or `Port`.
        session_type: String,
        /// As the agent wrote them.
        properties: Value,
    },
    /// Encrypt with a data key of this KMS key.
    KmsEncryption {
        /// Key id, ARN or alias.
        key_id: String,
        /// Base64 to be put into the encryption context; older agents send none.
        challenge: Option<String>,
    },
    /// Anything else, by its name.
    Unknown(String),
}

impl HandshakeRequest {
    /// Reads the payload.
    ///
    /// # Errors
    ///
    /// Not JSON, or a version, list or action of the wrong type. Wrong or missing parameters of
    /// an action count as empty.
    pub fn from_json(payload: &[u8]) -> Result<Self, PayloadError> {
        let map = object(payload)?;
        let actions = match find(&map, "RequestedClientActions") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(actions)) => actions
                .iter()
                .map(RequestedAction::from_value)
                .collect::<Result<_, _>>()?,
            Some(_) => return Err(PayloadError::WrongType("RequestedClientActions")),
        };
        Ok(Self {
            agent_version: string(&map, "AgentVersion")?,
            actions,
        })
    }
}

impl RequestedAction {
    fn from_value(value: &Value) -> Result<Self, PayloadError> {
        let empty = Map::new();
        let map = match value {
            Value::Object(map) => map,
            Value::Null => &empty,
            _ => return Err(PayloadError::WrongType("RequestedClientActions")),
        };
        let parameters = match find(map, "ActionParameters") {
            Some(Value::Object(parameters)) => parameters,
            _ => &empty,
        };
        let parameter = |key| string(parameters, key).unwrap_or_default();
        Ok(match string(map, "ActionType")?.as_str() {
            "SessionType" => Self::SessionType {
                session_type: parameter("SessionType"),
                properties: find(parameters, "Properties").cloned().unwrap_or_default(),
            },
            "KMSEncryption" => Self::KmsEncryption {
                key_id: parameter("KMSKeyId"),
                challenge: Some(parameter("Challenge")).filter(|text| !text.is_empty()),
            },
            other => Self::Unknown(other.to_owned()),
        })
    }
}

/// The client's answer to a [`HandshakeRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct HandshakeResponse {
    /// [`CLIENT_VERSION`].
    pub client_version: &'static str,
    /// One entry per requested action, in order.
    pub processed_client_actions: Vec<ProcessedAction>,
    /// The error texts, or none.
    pub errors: Option<Vec<String>>,
}

impl HandshakeResponse {
    /// The payload.
    pub fn to_json(&self) -> String {
        to_json(self)
    }
}

/// The outcome of one action; the agent ends the session unless its status is 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ProcessedAction {
    /// As requested.
    pub action_type: String,
    /// 1 success, 2 failed, 3 unsupported.
    pub action_status: u8,
    /// Depends on the action; null for most.
    pub action_result: Value,
    /// What went wrong, or empty.
    pub error: String,
}

/// The agent's word that the session is in force.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HandshakeComplete {
    /// Nanoseconds that the handshake took, as the agent tells.
    pub time_to_complete: i64,
    /// To be shown to the user if not empty.
    pub customer_message: String,
}

impl HandshakeComplete {
    /// Reads the payload.
    ///
    /// # Errors
    ///
    /// Not JSON, or a value of the wrong type.
    pub fn from_json(payload: &[u8]) -> Result<Self, PayloadError> {
        let map = object(payload)?;
        Ok(Self {
            time_to_complete: integer(&map, "HandshakeTimeToComplete")?.unwrap_or_default(),
            customer_message: string(&map, "CustomerMessage")?,
        })
    }
}

/// Reads `{"Challenge":"…"}`: the base64 text.
///
/// # Errors
///
/// Not JSON, or not a string.
pub fn challenge_from_json(payload: &[u8]) -> Result<String, PayloadError> {
    string(&object(payload)?, "Challenge")
}

/// Writes `{"Challenge":"…"}`.
pub fn challenge_to_json(challenge: &str) -> String {
    serde_json::json!({ "Challenge": challenge }).to_string()
}

/// Reads the exit status out of `EXIT_CODE: n`. Windows has statuses of 32 bits without sign, such
/// as 3221225477 for an access violation; they come out negative, as Windows shows them too.
pub fn exit_code_from_text(payload: &[u8]) -> Option<i32> {
    let text = std::str::from_utf8(payload).ok()?.trim();
    let code: i64 = text.strip_prefix("EXIT_CODE:")?.trim().parse().ok()?;
    i32::try_from(code)
        .or_else(|_| u32::try_from(code).map(u32::cast_signed))
        .ok()
}

/// The value of `key` in `map`, whatever the case of its letters; the last of several.
pub fn find<'a>(map: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    map.iter()
        .rev()
        .find(|(name, _)| name.eq_ignore_ascii_case(key))
        .map(|(_, value)| value)
}

fn object(payload: &[u8]) -> Result<Map<String, Value>, PayloadError> {
    // Peers written in Go take invalid UTF-8 in strings.
    match serde_json::from_str(&String::from_utf8_lossy(payload)) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(Value::Null) => Ok(Map::new()),
        _ => Err(PayloadError::NotAnObject),
    }
}

fn string(map: &Map<String, Value>, key: &'static str) -> Result<String, PayloadError> {
    match find(map, key) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(PayloadError::WrongType(key)),
    }
}

fn integer(map: &Map<String, Value>, key: &'static str) -> Result<Option<i64>, PayloadError> {
    match find(map, key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_i64().map(Some).ok_or(PayloadError::WrongType(key)),
    }
}

fn boolean(map: &Map<String, Value>, key: &'static str) -> Result<bool, PayloadError> {
    match find(map, key) {
        None | Some(Value::Null) => Ok(false),
        Some(value) => value.as_bool().ok_or(PayloadError::WrongType(key)),
    }
}

#[expect(
    clippy::expect_used,
    reason = "string keys and plain values always serialize"
)]
fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("plain values serialize")
}
