//! Why a client of the proxy is not connected, as SOCKS and HTTP have words for it.

use fast_socks5::ReplyError;

use super::destination::BadDestination;
use crate::protocol::error::SessionError;
use crate::session::SessionFailure;

/// The kinds of refusal that clients can tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The request makes no sense.
    BadRequest,
    /// Policies here or at the node forbid it.
    NotAllowed,
    /// The node cannot be reached.
    HostUnreachable,
    /// The destination is not connected by the node.
    ConnectionRefused,
    /// Nobody answered in time.
    TimedOut,
    /// Too much is open already.
    Busy,
    /// Anything else.
    General,
}

/// A refusal: its kind, and one line for whoever reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The kind.
    pub why: Why,
    /// The line, without a line end.
    pub text: String,
}

impl Refusal {
    /// A refusal for this reason.
    pub fn new(why: Why, text: impl Into<String>) -> Self {
        Self {
            why,
            text: text.into(),
        }
    }

    /// SOCKS5's word for it.
    pub(super) fn socks(&self) -> ReplyError {
        match self.why {
            Why::NotAllowed => ReplyError::ConnectionNotAllowed,
            Why::HostUnreachable => ReplyError::HostUnreachable,
            Why::ConnectionRefused => ReplyError::ConnectionRefused,
            Why::TimedOut => ReplyError::TtlExpired,
            Why::BadRequest | Why::Busy | Why::General => ReplyError::GeneralFailure,
        }
    }

    /// HTTP's status code and reason for it.
    pub(super) fn http(&self) -> (u16, &'static str) {
        match self.why {
            Why::BadRequest => (400, "Bad Request"),
            Why::NotAllowed => (403, "Forbidden"),
            Why::TimedOut => (504, "Gateway Timeout"),
            Why::Busy => (503, "Service Unavailable"),
            Why::HostUnreachable | Why::ConnectionRefused | Why::General => (502, "Bad Gateway"),
        }
    }
}

impl From<BadDestination> for Refusal {
    fn from(error: BadDestination) -> Self {
        Self::new(Why::BadRequest, error.to_string())
    }
}

/// Why there is no session to the destination that was wanted.
impl From<&SessionFailure> for Refusal {
    fn from(failure: &SessionFailure) -> Self {
        let why = match (failure.aws(), failure) {
            (Some(error), _) if error.is_access_denied() => Why::NotAllowed,
            (Some(error), _) if error.code() == Some("TargetNotConnected") => Why::HostUnreachable,
            (Some(_), _) => Why::General,
            // In the words of the agents, which have no others.
            (None, SessionFailure::Closed(text)) if text.contains("is forbidden") => {
                Why::NotAllowed
            }
            (None, SessionFailure::Closed(text)) if text.contains("Unable to connect") => {
                Why::ConnectionRefused
            }
            (None, SessionFailure::Closed(text)) if text.starts_with("lookup ") => {
                Why::HostUnreachable
            }
            (
                None,
                SessionFailure::TimedOut | SessionFailure::Protocol(SessionError::NoAnswer(_)),
            ) => Why::TimedOut,
            (None, _) => Why::General,
        };
        Self::new(why, failure.to_string())
    }
}
