//! What goes into a data channel at its making, and what comes out of it.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use crate::protocol::error::SessionError;
use crate::protocol::handshake::{DataKeyRequest, SessionType};
use crate::protocol::payload::Flag;
use crate::protocol::version::AgentFeatures;

/// What a [`DataChannel`](super::DataChannel) cannot make up itself.
#[derive(Debug, Clone)]
pub struct Config {
    /// Made once per process.
    pub client_id: Uuid,
    /// Source of message ids; seed it randomly.
    pub rng: fastrand::Rng,
    /// The wall clock at the `now` of [`DataChannel::new`](super::DataChannel::new), in milliseconds since 1970.
    pub unix_millis: u64,
    /// The most payload bytes a data message carries; official clients send 1024.
    pub max_payload: usize,
    /// How long the agent may take until the session is in force; not counted while paused.
    pub answer_timeout: Duration,
    /// Why data keys cannot be had, if so: the text that the agent gets.
    pub no_data_keys: Option<String>,
}

/// What happened, for the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The session is in force; data may flow. Comes once, before any data.
    Started(SessionType, AgentFeatures),
    /// A text of the service for the user.
    CustomerMessage(String),
    /// Bytes of the session.
    Output(Bytes),
    /// Bytes of a command's standard error.
    Stderr(Bytes),
    /// A command's exit status: the number if it was readable, and the text as it came.
    ExitCode(Option<i32>, Bytes),
    /// A flag of the agent.
    Flag(Flag),
    /// Answer with [`DataChannel::handle_data_key`](super::DataChannel::handle_data_key), soon: agents wait 15 s.
    DataKeyNeeded(DataKeyRequest),
    /// Data is lost: the session is over, and what the agent had yet to send again was not. The
    /// last event but one.
    Incomplete,
    /// The session is over; the reason is empty after a normal end. The last event.
    Closed(String),
    /// The session cannot go on. The last event; the remote end still has to be terminated.
    Failed(SessionError),
}

/// One frame to be sent.
#[derive(Clone, PartialEq, Eq)]
pub enum Transmit {
    /// A text frame; it holds the token.
    Text(String),
    /// A binary frame.
    Binary(Bytes),
}

/// Without the contents: the token is a secret.
impl fmt::Debug for Transmit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::Binary(frame) => write!(f, "Binary({} bytes)", frame.len()),
        }
    }
}

/// Counts, for the curious.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Stream messages of the agent that were new, and its acknowledgements of what waited for
    /// one.
    pub progress: u64,
    /// Frames dropped because they were malformed.
    pub malformed: u64,
    /// Frames and payloads ignored because nothing is known to be done with them.
    pub ignored: u64,
    /// Stream messages received again.
    pub duplicates: u64,
    /// Stream messages sent again.
    pub resent: u64,
    /// Stream messages to the agent, each counted once.
    pub sent_messages: u64,
    /// Bytes of their payloads.
    pub sent_bytes: u64,
    /// Stream messages of the agent, each counted once.
    pub received_messages: u64,
    /// Bytes of their payloads.
    pub received_bytes: u64,
}
