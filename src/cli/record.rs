//! `--record`: a recording of what a session shows.

use std::io;
use std::path::PathBuf;

use super::report::Failure;
use crate::session::record::Recording;

/// Options of everything that may be recorded.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Recorder {
    /// Record what is shown as an asciicast, which `ssmx play` and asciinema play
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Record what is typed as well, with all passwords that are asked for
    #[arg(long, requires = "record", hide_short_help = true)]
    record_input: bool,
    /// Replace the FILE of --record, if there is one
    #[arg(long, requires = "record", hide_short_help = true)]
    force: bool,
}

impl Recorder {
    /// Opens the file; nothing if none is wanted.
    pub fn open(&self) -> Result<Option<Recording>, Failure> {
        let Some(path) = &self.record else {
            return Ok(None);
        };
        let recording = Recording::create(path, self.force, self.record_input);
        recording.map(Some).map_err(|error| {
            let what = format!("cannot record to {}", path.display());
            match error.kind() {
                io::ErrorKind::AlreadyExists => {
                    Failure::other(format!("{what}: it exists")).hint("--force replaces it")
                }
                _ => Failure::other(format!("{what}: {error}")),
            }
        })
    }
}
