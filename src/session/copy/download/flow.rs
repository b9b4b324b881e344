//! What is known of a file that comes.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::session::copy::RemotePath;
use crate::session::copy::kept::Kept;
use crate::session::copy::part::Part;
use crate::session::copy::sum::Sum;
use crate::terminal::Output;

/// Where a file goes.
pub(super) enum To {
    /// Standard output.
    Stdout,
    /// Here, as the user says.
    Named(PathBuf),
    /// Here, as the node calls it.
    Found(PathBuf),
}

pub(super) enum Sink {
    Part(Part),
    Stdout(Output),
    /// It failed, and was told.
    Gone,
}

/// A file that comes.
pub(super) struct Flow {
    pub(super) remote: RemotePath,
    pub(super) place: PathBuf,
    pub(super) sink: Sink,
    pub(super) kept: Kept,
    pub(super) size: u64,
    /// What to tell when it begins to come: its name, and how much of it is here.
    pub(super) shown: Option<(String, u64)>,
    pub(super) sum: Sum,
    /// Asked for and not written, in their order.
    pub(super) slots: VecDeque<Slot>,
    /// How much is asked for.
    pub(super) asked: u64,
    /// What the node says that the checksum is.
    pub(super) remote_sum: Option<String>,
}

impl Flow {
    /// Whether it has anything to do with what would be written to `place`.
    pub(super) fn touches(&self, place: &Path) -> bool {
        matches!(&self.sink, Sink::Part(part) if part.touches(place))
    }
}

pub(super) struct Slot {
    /// Where it is in the file.
    pub(super) at: u64,
    pub(super) length: usize,
    pub(super) tries: u8,
    pub(super) data: Option<Bytes>,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Want {
    /// The block there. The byte is swapped with EF.
    Block {
        at: u64,
        swap: Option<u8>,
    },
    Sum,
}

pub(super) struct Pending {
    pub(super) id: u64,
    /// Counts files.
    pub(super) flow: u64,
    pub(super) want: Want,
}
