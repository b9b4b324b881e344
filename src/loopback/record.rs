//! A session as the service knows it, and what it is told.

use std::time::SystemTime;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::gateway::Socket;

/// Where a session is, as DescribeSessions tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Connecting,
    Connected,
    Disconnected,
    Terminated,
    Failed,
}

impl Status {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "Connecting",
            Self::Connected => "Connected",
            Self::Disconnected => "Disconnected",
            Self::Terminated => "Terminated",
            Self::Failed => "Failed",
        }
    }

    pub(super) fn is_over(self) -> bool {
        matches!(self, Self::Terminated | Self::Failed)
    }
}

/// A session as the service knows it.
pub(super) struct Record {
    pub(super) id: String,
    pub(super) target: String,
    /// ARN of who started it.
    pub(super) owner: String,
    /// Where the output was logged: in S3, in CloudWatch.
    pub(super) logs: (Option<String>, Option<String>),
    pub(super) document: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) started: SystemTime,
    pub(super) ended: Option<SystemTime>,
    pub(super) status: Status,
    pub(super) details: String,
    pub(super) control: mpsc::Sender<Control>,
    /// Path and query of every StreamUrl, the newest last.
    pub(super) streams: Vec<String>,
}

/// What a session is told from outside.
pub(super) enum Control {
    /// A client with a valid token is there.
    Attach(Box<Socket>),
    /// The service ends the session.
    Terminate,
    /// It does so of itself, and says why.
    End(String),
    /// Cut the connection.
    Cut,
    /// Close it with a close frame.
    Close(u16, String),
    /// Forward nothing, or go on.
    Stall(bool),
    /// Send this to the client as it is.
    Inject(Injection),
    /// Send this as output of connections.
    InjectOutput(Bytes),
}

/// A frame that no agent sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Injection {
    /// As a binary frame.
    Binary(Bytes),
    /// As a text frame.
    Text(String),
}
