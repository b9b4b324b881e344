//! How sessions end, and what becomes of it.

use thiserror::Error;

use crate::aws;
use crate::channel::{ConnectError, End, ReconnectError};
use crate::protocol::error::SessionError;
use crate::protocol::smux;
use crate::session::forward::bind::BindError;
use crate::terminal::excerpt;
use crate::text::is_harmful;

/// How agents begin to say that they cannot connect to the destination of a port session.
const UNREACHABLE: &str = "Unable to connect to specified port";
/// How they begin to say that the name of a host stands for no address.
const LOOKUP: &str = "lookup ";

/// What agents put above the reason that a session failed for.
const HEADING: &str = "----------ERROR-------";

/// How a session ended that ended well enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// By itself, or at the user's wish; the remote exit status if there was one.
    Ended {
        /// As the agent told it.
        exit_code: Option<i32>,
    },
    /// By this signal to us.
    Signal(i32),
}

impl Outcome {
    /// The exit status of a process that had this outcome.
    pub fn status(self) -> u8 {
        match self {
            Self::Ended { exit_code: None } => 0,
            // Killed commands are told as −1; shells show such as 255. A failure stays one, even
            // if its number is a multiple of 256, as it may be on Windows.
            Self::Ended {
                exit_code: Some(code),
            } => match u8::try_from(code.rem_euclid(256)) {
                Ok(0) if code != 0 => u8::MAX,
                status => status.unwrap_or(u8::MAX),
            },
            Self::Signal(number) => u8::try_from(128 + number).unwrap_or(u8::MAX),
        }
    }
}

/// Why a session failed.
#[derive(Debug, Error)]
pub enum SessionFailure {
    /// The service or the agent ended it, for this reason; it may be empty.
    #[error("the session ended{}", because(.0))]
    Closed(String),
    /// The agent ended it without everything having come through.
    #[error("the end of the output is missing: the agent gave up before it had sent it again")]
    Incomplete,
    /// There are errors and nothing else, and no exit status, which agents tell of commands that
    /// have run.
    #[error("the command did not start, or was cancelled: the agent tells no exit status")]
    NotRun,
    /// The service says that it is over.
    #[error("the session is over: it timed out or was terminated while the connection was lost")]
    TimedOut,
    /// It cannot go on.
    #[error(transparent)]
    Protocol(#[from] SessionError),
    /// It never began.
    #[error(transparent)]
    NotConnected(#[from] ConnectError),
    /// It broke.
    #[error(transparent)]
    LostForGood(#[from] ReconnectError),
    /// No connection lasts.
    #[error("every connection is lost again before the agent answers: {0}")]
    Useless(String),
    /// The agent sends something else than multiplexed connections.
    #[error("the agent does not multiplex connections as it should: {0}")]
    NotSmux(#[from] smux::Error),
    /// The agent carries one connection at a time, and does not let go of one that is closed.
    #[error("the agent goes on sending the output of a connection that is closed")]
    NeverQuiet,
    /// Nobody knows the node that is meant.
    #[error("{what}")]
    Astray {
        /// What there is not.
        what: String,
        /// What to do.
        hint: Option<String>,
        /// Whether it may be there by and by.
        passes: bool,
    },
    /// There is nowhere to accept local connections.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A session that was to forward and does not.
    #[error("the document makes this a {0} session, which forwards no ports")]
    NotForwarding(&'static str),
    /// The terminal or the system.
    #[error("{what}: {error}")]
    Local {
        /// What was tried.
        what: &'static str,
        /// What the system says.
        error: std::io::Error,
    },
}

impl SessionFailure {
    /// The failure that the end of a channel is, if it is one.
    pub fn of(end: End) -> Self {
        match end {
            End::Closed(reason) => Self::Closed(sentence(&reason)),
            End::TimedOut => Self::TimedOut,
            End::Failed(error) => error.into(),
            End::NotConnected(error) => error.into(),
            End::LostForGood(error) => error.into(),
            End::Useless(reason) => Self::Useless(reason),
        }
    }

    /// A failure of the terminal or the system, in `what` was tried.
    pub fn local(what: &'static str) -> impl Fn(std::io::Error) -> Self {
        move |error| Self::Local { what, error }
    }

    /// The error of AWS behind it, if there is one.
    pub fn aws(&self) -> Option<&aws::Error> {
        match self {
            Self::NotConnected(ConnectError::Aws(error))
            | Self::LostForGood(ReconnectError::Resume(error)) => Some(error),
            _ => None,
        }
    }

    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotConnected(error) => return error.hint(),
            Self::LostForGood(error) => return error.hint(),
            Self::Closed(reason) if reason.starts_with(UNREACHABLE) => {
                "check that something listens on that port, as seen from the node".into()
            }
            Self::Closed(reason) if reason.starts_with(LOOKUP) => {
                "check the name; it is the node that looks it up".into()
            }
            Self::Closed(_) | Self::NotRun | Self::Local { .. } => return None,
            Self::TimedOut => "start a new session; the idle timeout and the maximum duration \
                 are in the Session Manager preferences of the account"
                .into(),
            Self::Protocol(SessionError::NoAnswer(_)) => {
                "check that the agent runs on the target (amazon-ssm-agent) and is not overloaded; \
                 --handshake-timeout waits longer"
                    .into()
            }
            Self::Protocol(SessionError::Refused(_)) => "check the session document".into(),
            Self::Protocol(_) | Self::NotSmux(_) => {
                "start a new session; --debug shows what the agent sent".into()
            }
            Self::NeverQuiet => {
                "update the agent: those after 3.0.196.0 carry many connections at \
                 once"
                    .into()
            }
            Self::Astray { hint, .. } => return hint.clone(),
            Self::Bind(error) => return error.hint(),
            Self::NotForwarding(_) => "use a document of the type Port with \
                 LocalPortForwarding, such as AWS-StartPortForwardingSession"
                .into(),
            Self::Incomplete => "run it again; agents wait two seconds at the end for what a \
                 broken connection has lost"
                .into(),
            Self::Useless(_) => {
                "check that no proxy or firewall cuts WebSockets, then start a new session".into()
            }
        })
    }
}

/// A text of the service on one line, without what could move the cursor; cut if it is long.
pub fn printable(text: &str) -> String {
    let line = text
        .split(is_harmful)
        .filter(|part| !part.trim().is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    excerpt(&line).into_owned()
}

/// A reason of the service or of an agent, to be part of a line: [`printable`], without a full
/// stop.
pub fn sentence(reason: &str) -> String {
    let reason = reason.trim_start();
    let mut text = printable(reason.strip_prefix(HEADING).unwrap_or(reason));
    if text.ends_with('.') && !text.ends_with("..") {
        text.pop();
    }
    text
}

fn because(reason: &str) -> String {
    match reason {
        "" => " without a reason".to_owned(),
        reason => format!(": {reason}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::payload::exit_code_from_text;

    #[test]
    fn a_failure_never_becomes_a_success() {
        let cases = [
            ("EXIT_CODE: 0", 0),
            ("EXIT_CODE: 3", 3),
            ("EXIT_CODE: -1", 255),
            ("EXIT_CODE: 256", 255),
            ("EXIT_CODE: 3221225477", 5),
            ("EXIT_CODE: 4294967295", 255),
            ("EXIT_CODE: -2147483648", 255),
        ];
        for (text, status) in cases {
            let exit_code = exit_code_from_text(text.as_bytes());
            assert!(exit_code.is_some(), "{text}");
            assert_eq!(Outcome::Ended { exit_code }.status(), status, "{text}");
        }
    }

    #[test]
    fn reasons_are_parts_of_lines() {
        let cases = [
            ("It is forbidden.", "It is forbidden"),
            ("a.\n", "a"),
            ("wait...", "wait..."),
            (
                "\n----------ERROR-------\nUnable to start command: Failed to start pty: x\n\n",
                "Unable to start command: Failed to start pty: x",
            ),
            ("", ""),
        ];
        for (reason, text) in cases {
            assert_eq!(sentence(reason), text);
        }
        let length = sentence(&"A".repeat(1_000_000)).len();
        assert!((1000..1010).contains(&length), "{length}");
        let ended = |reason: &str| SessionFailure::of(End::Closed(reason.into())).to_string();
        assert_eq!(ended("No."), "the session ended: No");
        assert_eq!(ended(""), "the session ended without a reason");
    }
}
