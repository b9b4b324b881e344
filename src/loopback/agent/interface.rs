//! What an agent is made from, and what it says to its host.

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use thiserror::Error;

use super::{BUFFER_CAPACITY, Encryption, RESEND_TICK};
use crate::protocol::message::PayloadType;
use crate::protocol::payload::Size;

/// What a session is used for; decides the handshake and what input means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionType {
    /// A shell on a terminal.
    StandardStream,
    /// A command on a terminal.
    InteractiveCommands,
    /// A command without terminal and input.
    NonInteractiveCommands,
    /// Forwarded connections.
    Port,
}

impl SessionType {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::StandardStream => "Standard_Stream",
            Self::InteractiveCommands => "InteractiveCommands",
            Self::NonInteractiveCommands => "NonInteractiveCommands",
            Self::Port => "Port",
        }
    }
}

/// What an [`Agent`](super::Agent) is made from.
#[derive(Debug, Clone)]
pub struct Config {
    /// AgentVersion of the handshake.
    pub version: String,
    /// The session's id; part of the encryption context.
    pub session_id: String,
    /// The agent's own node id; part of the encryption context.
    pub target: String,
    /// What the session is for.
    pub session_type: SessionType,
    /// `Properties` of the handshake; null for all but ports.
    pub properties: Value,
    /// Whether a command's outputs go apart (old clients are then asked to update).
    pub separate_output: bool,
    /// No handshake even where today's agents want one, as those of old.
    pub skip_handshake: bool,
    /// Encrypt with this KMS key; not applied to ports.
    pub encryption: Option<Encryption>,
    /// Messages held out of order.
    pub held_capacity: usize,
    /// Messages kept until they are acknowledged.
    pub outgoing_capacity: usize,
    /// [`RESEND_TICK`], or less where a test cannot wait.
    pub resend_tick: Duration,
    /// Seeds message ids and challenges.
    pub seed: u64,
    /// Wall time at the start, in milliseconds since 1970.
    pub started_at: u64,
}

impl Config {
    /// A session as today's agents run it.
    pub fn new(session_id: &str, target: &str, session_type: SessionType) -> Self {
        Self {
            version: "3.3.0.0".to_owned(),
            session_id: session_id.to_owned(),
            target: target.to_owned(),
            session_type,
            properties: Value::Null,
            separate_output: false,
            skip_handshake: false,
            encryption: None,
            held_capacity: BUFFER_CAPACITY,
            outgoing_capacity: BUFFER_CAPACITY,
            resend_tick: RESEND_TICK,
            seed: 0,
            started_at: 1,
        }
    }
}

/// A frame to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transmit {
    /// For the client.
    Client(Bytes),
    /// For the gateway itself: the session's state.
    Gateway(Bytes),
}

/// A signal for the command of a session without terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT.
    Interrupt,
    /// SIGQUIT.
    Quit,
}

/// What the host is to do.
#[derive(Clone, PartialEq)]
pub enum Event {
    /// Type this into the terminal.
    Input(Bytes),
    /// Resize the terminal.
    Size(Size),
    /// Signal the command, and call [`Agent::command_ended`](super::Agent::command_ended) once it is over: the reader waits.
    Signal(Signal),
    /// Input of a port session, of any payload type.
    Delivered(PayloadType, Bytes),
    /// Ask KMS, then call [`Agent::handle_data_key`](super::Agent::handle_data_key).
    Decrypt {
        /// The key named in the handshake.
        key_id: String,
        /// What the client got from KMS.
        ciphertext: Vec<u8>,
        /// Encryption context as the agent knows it.
        context: Vec<(String, String)>,
    },
    /// The handshake is over, or there is none: start the program.
    Started,
    /// The session failed, for this reason.
    Failed(String),
    /// The gateway ended the session.
    Cancelled,
}

/// Why a frame was not processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Refusal {
    /// Not a message.
    #[error("malformed")]
    Malformed,
    /// There is no program yet to take it; resending helps.
    #[error("not ready")]
    NotReady,
    /// The payload cannot be used; resending does not help, and the sender is stuck.
    #[error("the payload cannot be used")]
    Unusable,
    /// The agent's reader has crashed or waits for ever.
    #[error("the reader is dead")]
    ReaderDead,
}
