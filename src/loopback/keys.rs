//! Pushed keys in a file that an sshd reads, each for a minute.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a key may log in.
const LIFE: Duration = Duration::from_secs(60);

/// Appends a key, and takes it out again after a minute, or when this peer ends.
///
/// # Errors
///
/// The file cannot be written.
pub(super) fn authorize(file: &Path, key: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let line = format!("{key} pushed:{}", uuid::Uuid::new_v4());
    // In one piece, as others may append too. An empty line in between does no harm.
    options
        .open(file)?
        .write_all(format!("\n{line}\n").as_bytes())?;
    let authorized = Authorized {
        file: file.to_owned(),
        line,
    };
    tokio::spawn(async move {
        tokio::time::sleep(LIFE).await;
        drop(authorized);
    });
    Ok(())
}

/// A line of the file, which goes when this does.
struct Authorized {
    file: PathBuf,
    line: String,
}

impl Authorized {
    fn remove(&self) -> io::Result<()> {
        let text = fs::read_to_string(&self.file)?;
        let added = format!("\n{}\n", self.line);
        fs::write(&self.file, text.replacen(&added, "", 1))
    }
}

impl Drop for Authorized {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            tracing::debug!(%error, "a pushed key stays where it is");
        }
    }
}
