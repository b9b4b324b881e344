//! Files to and from a node over one session, with what is on the node: a POSIX shell, `dd` or
//! `head`, and a program that makes checksums. Nodes with Windows are another matter: see
//! `windows`.
//!
//! # How
//!
//! The session is an interactive command: a program on a terminal, the only kind of session whose
//! program has an input. The command is short. It makes the terminal raw (`stty raw -echo`), says
//! so with a line that bears a random mark, and reads its real script from its input (`script`):
//! parameters of a document stand in the account's history, and may not be long.
//!
//! The script is a server of small commands, a line each (`command` writes them, `link` sends
//! them, `frame` reads the answers): begin a file, append so many bytes, finish it; send so many
//! blocks, the checksum. All decisions are made at this end. Commands are sent without waiting for
//! the answers of earlier ones, so that round trips cost nothing while data flows. Answers come in
//! the order of the commands, on lines that begin with the mark, so that noise of the node does no
//! harm.
//!
//! Each command costs the node some processes, a few milliseconds of them, so as much goes by one as
//! takes a moment (`stride`): 256 KiB on slow ways, up to 4 MiB towards the node and 512 KiB from it
//! on fast ones. Towards the node the bytes of one are fed as they are read, so that memory does not
//! depend on that.
//!
//! # Encoding
//!
//! A raw terminal passes all bytes. Agents pass them too, but for two things: of a U+FFFD (EF BF
//! BD) in what a program prints they lose the last two bytes, and what is no UTF-8 within the last
//! three bytes waits, with what is behind it, until more is printed: a line is, behind each block.
//! So files go as they are, without any encoding, and a block from the node that comes short is
//! asked for again with the byte EF and another one swapped (`tr`). Before all that, both ways are
//! tried with all 256 bytes; if they do not come through, base64 is used instead, at 74 % of the
//! speed.
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

mod command;
mod download;
mod encoding;
mod failure;
mod frame;
mod kept;
mod link;
mod local;
mod open;
mod part;
mod remote_path;
mod script;
mod status;
mod stride;
mod sum;
mod upload;
mod windows;

pub use download::{Destination, Download};
pub use encoding::Encoding;
pub use failure::CopyFailure;
pub use link::Link;
pub use open::{Asked, Settings, ask};
pub use remote_path::RemotePath;
pub use upload::{Source, Upload};
pub use windows::begins_with_drive;

use failure::{local, remote};

/// What is read and written at a time, in bytes, and the least that goes by one command.
const BLOCK: usize = 256 * 1024;
/// What the node counts in, in bytes.
const UNIT: usize = 64 * 1024;

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

/// What to tell when a directory was copied in part into one that was not there before: the same
/// command would copy it whole into that.
fn how_to_go_on(to: &str, source: &str) -> String {
    let source = source.trim_end_matches('/');
    format!("{to} is there now: copy {source}/. to it to go on")
}
