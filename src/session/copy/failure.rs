//! Why something was not copied.

use std::path::PathBuf;

use thiserror::Error;

use super::RemotePath;
use crate::session::ending::{SessionFailure, printable};

/// Why something was not copied.
#[derive(Debug, Error)]
pub enum CopyFailure {
    /// The session failed.
    #[error(transparent)]
    Session(#[from] SessionFailure),
    /// This signal came.
    #[error("interrupted")]
    Signal(u8),
    /// The node has no shell that does as it is told.
    #[error("the node cannot run the commands that copy files{0}")]
    NoShell(String),
    /// It has Windows, and was not taken for such a node.
    #[error("the node runs Windows")]
    Windows,
    /// Its PowerShell may not do what is needed.
    #[error("the node's PowerShell runs in a limited language mode, which opens no connections")]
    Limited,
    /// The session that leads to the program on a node with Windows is not to be had.
    #[error("no session carries the bytes of the copy: {0}")]
    NoPort(SessionFailure),
    /// It lacks a program.
    #[error("the node has no {0}")]
    Lacks(&'static str),
    /// What the node answers makes no sense.
    #[error("the node's answer makes no sense: {0}")]
    Garbled(&'static str),
    /// The node says no.
    #[error("{path} on the node: {why}")]
    Remote {
        /// What it is about.
        path: String,
        /// The node's reason.
        why: String,
    },
    /// This machine says no.
    #[error("{}: {error}", path.display())]
    Local {
        /// What it is about.
        path: PathBuf,
        /// The system's reason.
        error: std::io::Error,
    },
    /// Something here or there is not what is needed.
    #[error("{path}: {why}")]
    Unfit {
        /// What it is about.
        path: String,
        /// Why not.
        why: &'static str,
    },
    /// The copy differs from the original.
    #[error("{0}: the checksums differ: it changed while it was read, or was damaged on the way")]
    Differs(String),
    /// Nobody reads the output any more.
    #[error("nobody reads the output")]
    OutputGone(std::io::Error),
}

impl CopyFailure {
    /// Whether it is about one file only.
    pub(super) fn is_of_one(&self) -> bool {
        matches!(
            self,
            Self::Remote { .. } | Self::Local { .. } | Self::Unfit { .. } | Self::Differs(_)
        )
    }

    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Session(failure) => failure.hint(),
            Self::NoShell(_) => Some(
                "it takes a POSIX sh and stty; on Windows, PowerShell (say --windows); a path \
                 like C:/… that is none of Windows is written ./C:/…"
                    .to_owned(),
            ),
            Self::Windows => Some("--windows says so".to_owned()),
            Self::Limited => {
                Some("a policy of the node says so; ssmx ssh and scp do without".to_owned())
            }
            Self::NoPort(failure) => failure.hint().or(Some(
                "on Windows nodes it takes a session of AWS-StartPortForwardingSession as well"
                    .to_owned(),
            )),
            _ => None,
        }
    }
}

/// For a failure of this machine about `path`.
pub(super) fn local(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> CopyFailure {
    let path = path.into();
    move |error| CopyFailure::Local { path, error }
}

/// For a reason of the node about `path`.
pub(super) fn remote(path: &RemotePath, why: String) -> CopyFailure {
    CopyFailure::Remote {
        path: path.to_string(),
        why: printable(&why),
    }
}
