//! Files to and from a node over one session, with what is on the node: a POSIX shell, `dd` or
//! `head`, and a program that makes checksums.
//!
//! # How
//!
//! The session is an interactive command: a program on a terminal, the only kind of session whose
//! program has an input. The command is short. It makes the terminal raw (`stty raw -echo`), says
//! so with a line that bears a random mark, and reads its real script from its input ([`script`]):
//! parameters of a document stand in the account's history, and may not be long.
//!
//! The script is a server of small commands, a line each ([`link`] sends them, [`frame`] reads the
//! answers): begin a file, append so many bytes, finish it; send so many blocks, the checksum. All
//! decisions are made at this end. Commands are sent without waiting for the answers of earlier
//! ones, so that round trips cost nothing while data flows. Answers come in the order of the
//! commands, on lines that begin with the mark, so that noise of the node does no harm.
//!
//! # Encoding
//!
//! A raw terminal passes all bytes. Agents pass them too, but for one thing: of a U+FFFD (EF BF
//! BD) in what a program prints they lose the last two bytes. So files go as they are, without any
//! encoding, and a block from the node that comes short is asked for again with the byte EF and
//! another one swapped (`tr`). Before all that, both ways are tried with all 256 bytes; if they do
//! not come through, base64 is used instead, at 74 % of the speed.
//!
//! Paced agents send at most 1024 bytes a millisecond, in practice about 0.9 MB/s, whatever the
//! bytes are: raw that is 0.9 MB/s of a file, in base64 0.66 MB/s. Encodings that only avoid what
//! terminals and UTF-8 forbid (base85, yEnc) would lie between and need an interpreter on the node
//! that is not there everywhere. Towards the node agents do not pause.
//!
//! # Resuming
//!
//! A file grows as `NAME.ssmx-part` beside its place and is renamed once its checksum is right. An
//! interrupted transfer leaves the part; the next one compares the checksum of what is there, and
//! goes on behind it. Whole large files that are there already are not sent again.

mod download;
mod frame;
mod link;
mod local;
mod remote_path;
mod script;
mod sum;
mod upload;

use std::path::PathBuf;

use thiserror::Error;

use super::ending::SessionFailure;

pub use download::{Destination, Download};
pub use link::{Asked, Link, Settings, ask};
pub use remote_path::RemotePath;
pub use upload::{Source, Upload};

/// What goes at a time, in bytes: a command's worth.
const BLOCK: usize = 256 * 1024;
/// What the node counts in, in bytes.
const UNIT: usize = 64 * 1024;

/// How bytes of files pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// As they are.
    Raw,
    /// In lines of base64.
    Base64,
}

/// What is to be kept, and how far to go.
#[derive(Debug, Clone, Copy, Default)]
pub struct Manner {
    /// Modes and times as well.
    pub preserve: bool,
    /// Directories with all that is in them.
    pub recursive: bool,
}

/// Hears how it goes.
pub trait Watch {
    /// A file begins, of so many bytes if that is known; so many are there already.
    fn begin(&mut self, name: &str, size: Option<u64>, there: u64);
    /// So many more bytes are through.
    fn advance(&mut self, bytes: u64);
    /// The file is whole.
    fn done(&mut self);
    /// Something failed; it goes on with the next.
    fn failed(&mut self, failure: &CopyFailure);
    /// Something is to be told.
    fn notice(&mut self, text: &str);
}

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
    fn is_of_one(&self) -> bool {
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
                "it takes a POSIX sh and stty; nodes with Windows are not supported yet".to_owned(),
            ),
            _ => None,
        }
    }
}

/// For a failure of this machine about `path`.
fn local(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> CopyFailure {
    let path = path.into();
    move |error| CopyFailure::Local { path, error }
}
