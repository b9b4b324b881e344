//! What was asked for a moment ago, in files that only the user can read: ids and names of nodes,
//! and nothing else.

use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

/// How long an answer is good.
const FRESH: Duration = Duration::from_secs(60);
/// How long nobody is asked again after a failure.
const PATIENCE: Duration = Duration::from_secs(10);
/// What stands for a failure.
const FAILED: &str = "-";

/// The answer to one question.
pub(super) struct Cache(PathBuf);

impl Cache {
    /// Where the answer to a question of these parts is kept; nowhere without a home directory.
    pub fn of<'a>(parts: impl IntoIterator<Item = &'a OsString>) -> Option<Self> {
        let mut digest = Sha256::new();
        for part in parts {
            digest.update(part.as_encoded_bytes());
            digest.update([0]);
        }
        let name: String = digest
            .finalize()
            .iter()
            .take(12)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Some(Self(directory()?.join(format!("nodes-{name}"))))
    }

    /// The lines of the answer, if it is fresh.
    pub fn read(&self) -> Option<Vec<String>> {
        // A clock that was put back makes it old.
        let age = fs::metadata(&self.0)
            .ok()?
            .modified()
            .ok()?
            .elapsed()
            .ok()?;
        let text = fs::read_to_string(&self.0).ok()?;
        let (is_fresh, lines) = match text.as_str() {
            FAILED => (age < PATIENCE, Vec::new()),
            text => (age < FRESH, text.lines().map(str::to_owned).collect()),
        };
        is_fresh.then_some(lines)
    }

    /// Keeps an answer, or that there was none. What cannot be kept is asked for again.
    pub fn write(&self, lines: Option<&[String]>) {
        let text = match lines {
            Some(lines) => lines.iter().map(|line| format!("{line}\n")).collect(),
            None => FAILED.to_owned(),
        };
        // A name that others cannot guess, mode 0600, and whole or not at all.
        let written = self.0.parent().and_then(|directory| {
            create(directory).ok()?;
            let mut file = tempfile::NamedTempFile::new_in(directory).ok()?;
            file.write_all(text.as_bytes()).ok()?;
            file.persist(&self.0).ok()
        });
        drop(written);
    }
}

fn directory() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let base = variable("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    #[cfg(windows)]
    let base = base.or_else(|| variable("LOCALAPPDATA").map(PathBuf::from));
    let base = base.or_else(|| Some(std::env::home_dir()?.join(".cache")))?;
    Some(base.join("ssmx"))
}

#[cfg(unix)]
fn create(directory: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
}

#[cfg(not(unix))]
fn create(directory: &Path) -> std::io::Result<()> {
    fs::create_dir_all(directory)
}
