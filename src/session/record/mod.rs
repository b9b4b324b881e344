//! What a session shows, written to a file as it comes: asciicast version 2, one event a line.
//!
//! A thread of its own encodes and writes, so that no disk holds up the session. It keeps nothing
//! back: after each batch the file is what a player takes, whatever becomes of this process.

mod cast;

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use self::cast::{Encoder, Entry, Kind};
use crate::protocol::payload::Size;
use crate::terminal;

/// Bytes that may wait for the disk; what comes beyond them is left out of the recording.
const QUEUE_BYTES: usize = 16 * 1024 * 1024;
/// What an event costs beside its bytes.
const ENTRY_BYTES: usize = 64;
/// Encoded text after which it is written.
const WRITE_BYTES: usize = 64 * 1024;
/// How long the end of the session waits for the disk.
const FINISH: Duration = Duration::from_secs(5);

/// A recording: of nothing until [`start`](Self::start), then to its end. Cheap to clone.
#[derive(Clone)]
pub struct Recording(Arc<Handle>);

/// Whoever drops the last one ends the thread.
struct Handle {
    shared: Arc<Shared>,
    path: PathBuf,
    with_input: bool,
    /// The file was not there before.
    is_new: bool,
}

struct Shared {
    state: Mutex<State>,
    work: Condvar,
    written: Notify,
}

struct State {
    /// Until the thread has it.
    file: Option<File>,
    title: String,
    began: Option<Instant>,
    size: Option<Size>,
    queue: VecDeque<Entry>,
    bytes: usize,
    /// Bytes that found no room since the last event that did.
    left_out: u64,
    closed: bool,
    failed: bool,
    done: bool,
}

impl std::fmt::Debug for Recording {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Recording").field(&self.0.path).finish()
    }
}

impl Recording {
    /// Opens the file, for nobody else to read. Should no session ever start, a new file is taken
    /// away again, and one that was there is as it was.
    ///
    /// # Errors
    ///
    /// The file is there and not to be replaced, or cannot be opened.
    pub fn create(path: &Path, replace: bool, with_input: bool) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let (file, is_new) = match options.open(path) {
            Err(error) if replace && error.kind() == io::ErrorKind::AlreadyExists => {
                let file = OpenOptions::new().write(true).open(path)?;
                #[cfg(unix)]
                if file.metadata()?.is_file() {
                    use std::os::unix::fs::PermissionsExt as _;
                    file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
                }
                (file, false)
            }
            opened => (opened?, true),
        };
        let shared = Shared {
            state: Mutex::new(State {
                file: Some(file),
                title: String::new(),
                began: None,
                size: None,
                queue: VecDeque::new(),
                bytes: 0,
                left_out: 0,
                closed: false,
                failed: false,
                done: false,
            }),
            work: Condvar::new(),
            written: Notify::new(),
        };
        Ok(Self(Arc::new(Handle {
            shared: Arc::new(shared),
            path: path.to_owned(),
            with_input,
            is_new,
        })))
    }

    /// What the recording is of, for its header.
    pub fn set_title(&self, title: &str) {
        title.clone_into(&mut self.0.shared.lock().title);
    }

    /// Begins, on a terminal of this size; `bare` output has no carriage returns, and gets them.
    pub fn start(&self, session_id: &str, size: Size, bare: bool) {
        let mut state = self.0.shared.lock();
        let Some(file) = state.file.take() else {
            return;
        };
        state.began = Some(Instant::now());
        state.size = Some(size);
        let title = match state.title.as_str() {
            "" => session_id.to_owned(),
            title => format!("{title}, {session_id}"),
        };
        drop(state);
        let header = cast::header(&title, size, unix_seconds());
        let shared = Arc::clone(&self.0.shared);
        let started = thread::Builder::new()
            .name("recorder".into())
            .spawn(move || {
                let outcome = write_all(file, header, Encoder::new(bare), &shared);
                let failed = outcome.is_err();
                if let Err(error) = outcome {
                    tell(&error);
                }
                shared.end(failed);
            });
        if let Err(error) = started {
            tell(&error);
            self.0.shared.end(true);
        }
    }

    /// The session has shown this.
    pub fn output(&self, data: &Bytes) {
        self.push(Kind::Output, data.clone());
    }

    /// It has shown this as errors of a command.
    pub fn errors(&self, data: &Bytes) {
        self.push(Kind::Errors, data.clone());
    }

    /// The user has typed this; not kept unless it is to be.
    pub fn input(&self, data: &[u8]) {
        if self.0.with_input {
            self.push(Kind::Input, Bytes::copy_from_slice(data));
        }
    }

    /// The terminal has this size now.
    pub fn resize(&self, size: Size) {
        let changed = self.0.shared.lock().size.replace(size) != Some(size);
        if changed {
            self.push(Kind::Resize(size), Bytes::new());
        }
    }

    /// Waits until all of it is written, some seconds at the most.
    pub async fn finish(&self) {
        {
            let mut state = self.0.shared.lock();
            if state.began.is_none() {
                return;
            }
            state.close();
        }
        self.0.shared.work.notify_one();
        let written = async {
            loop {
                let written = self.0.shared.written.notified();
                tokio::pin!(written);
                // Before the look, so that no end in between is missed.
                written.as_mut().enable();
                if self.0.shared.lock().done {
                    return;
                }
                written.await;
            }
        };
        if timeout(FINISH, written).await.is_err() {
            terminal::notice("the end of the recording is not written: the disk is too slow");
        }
    }

    fn push(&self, kind: Kind, bytes: Bytes) {
        let mut state = self.0.shared.lock();
        let Some(began) = state.began else { return };
        if state.failed || state.closed {
            return;
        }
        let cost = bytes.len() + ENTRY_BYTES;
        if state.bytes + cost > QUEUE_BYTES {
            state.left_out += bytes.len() as u64;
            return;
        }
        state.mark_gap();
        state.bytes += cost;
        let at = began.elapsed();
        state.queue.push_back(Entry { at, kind, bytes });
        drop(state);
        self.0.shared.work.notify_one();
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        if state.file.take().is_some() && self.is_new {
            // Nothing was recorded. What cannot be removed is an empty file.
            let _ = std::fs::remove_file(&self.path);
        }
        state.close();
        drop(state);
        self.shared.work.notify_one();
    }
}

impl State {
    /// Notes what was left out before what comes next.
    fn mark_gap(&mut self) {
        if let Some(began) = self.began
            && self.left_out > 0
        {
            let kind = Kind::Gap(std::mem::take(&mut self.left_out));
            let at = began.elapsed();
            self.queue.push_back(Entry {
                at,
                kind,
                bytes: Bytes::new(),
            });
        }
    }

    fn close(&mut self) {
        if !std::mem::replace(&mut self.closed, true) {
            self.mark_gap();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Swaps all that waits into `batch`, which is empty. False when there will be nothing more.
    fn take(&self, batch: &mut VecDeque<Entry>) -> bool {
        let mut state = self.lock();
        while state.queue.is_empty() {
            if state.closed {
                return false;
            }
            state = self
                .work
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::swap(batch, &mut state.queue);
        true
    }

    fn end(&self, failed: bool) {
        let mut state = self.lock();
        state.failed |= failed;
        state.queue.clear();
        state.done = true;
        drop(state);
        self.written.notify_waiters();
    }
}

fn write_all(
    mut file: File,
    header: String,
    mut encoder: Encoder,
    shared: &Shared,
) -> io::Result<()> {
    if file.metadata()?.is_file() {
        file.set_len(0)?;
    }
    file.write_all(header.as_bytes())?;
    let mut text = String::new();
    let mut batch = VecDeque::new();
    while shared.take(&mut batch) {
        for entry in batch.drain(..) {
            let cost = entry.bytes.len() + ENTRY_BYTES;
            encoder.encode(&entry, &mut text);
            if text.len() >= WRITE_BYTES {
                file.write_all(text.as_bytes())?;
                text.clear();
            }
            let mut state = shared.lock();
            state.bytes = state.bytes.saturating_sub(cost);
        }
        file.write_all(text.as_bytes())?;
        text.clear();
    }
    encoder.finish(&mut text);
    file.write_all(text.as_bytes())
}

fn tell(error: &io::Error) {
    let text = error.to_string();
    let why = text.split(" (os error ").next().unwrap_or_default();
    terminal::notice(&format!(
        "the recording has stopped: {why}; the session goes on"
    ));
}

#[expect(
    clippy::disallowed_methods,
    reason = "a recording tells when it was made"
)]
fn unix_seconds() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size { cols: 80, rows: 24 };

    fn lines(path: &Path) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(path).unwrap();
        let lines = text.lines().map(serde_json::from_str);
        lines.collect::<Result<_, _>>().unwrap()
    }

    #[tokio::test]
    async fn all_is_written_by_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.cast");
        let recording = Recording::create(&path, false, false).unwrap();
        recording.set_title("i-1");
        recording.output(&Bytes::from_static(b"too early"));
        recording.start("me-1", SIZE, false);
        recording.input(b"secret");
        for n in 0..10_000 {
            recording.output(&Bytes::from(format!("{n}\r\n")));
        }
        recording.resize(SIZE);
        recording.resize(Size { cols: 90, rows: 30 });
        recording.finish().await;
        let lines = lines(&path);
        assert_eq!(lines[0]["title"], "i-1, me-1");
        assert_eq!(lines.len(), 10_002);
        assert_eq!(lines[1][2], "0\r\n");
        assert_eq!(
            (&lines[10_001][1], &lines[10_001][2]),
            (&"r".into(), &"90x30".into())
        );
        // Behind the end nothing counts.
        recording.output(&Bytes::from_static(b"late"));
        recording.finish().await;
    }

    #[tokio::test]
    async fn files_are_private_and_not_replaced_unasked() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.cast");
        let long = "x".repeat(10_000);
        std::fs::write(&path, &long).unwrap();
        let error = Recording::create(&path, false, false).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        // Until it starts, the old one stays.
        drop(Recording::create(&path, true, false).unwrap());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), long);
        let recording = Recording::create(&path, true, true).unwrap();
        recording.start("me-1", SIZE, false);
        recording.input(b"typed");
        recording.finish().await;
        let lines = lines(&path);
        assert_eq!(lines[0]["title"], "me-1");
        assert_eq!((&lines[1][1], &lines[1][2]), (&"i".into(), &"typed".into()));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn a_new_file_without_a_session_is_taken_away() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.cast");
        let recording = Recording::create(&path, false, false).unwrap();
        assert!(path.exists());
        drop(recording.clone());
        assert!(path.exists());
        drop(recording);
        assert!(!path.exists());
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_full_disk_stops_the_recording_and_nothing_else() {
        let recording = Recording::create(Path::new("/dev/full"), true, false).unwrap();
        recording.start("me-1", SIZE, false);
        for _ in 0..100 {
            recording.output(&Bytes::from_static(&[b'x'; 65536]));
        }
        recording.finish().await;
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_disk_that_lags_leaves_a_gap_that_is_told() {
        // A pipe that nobody reads at first is as slow as a disk can be.
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        let mut reader = {
            let other = path.clone();
            // Opening waits for the other end.
            let reader = thread::spawn(move || File::open(other).unwrap());
            let recording = Recording::create(&path, true, false).unwrap();
            recording.start("me-1", SIZE, false);
            let piece = Bytes::from(vec![b'x'; 1 << 20]);
            for _ in 0..40 {
                recording.output(&piece);
            }
            reader.join().unwrap()
        };
        let mut text = String::new();
        io::Read::read_to_string(&mut reader, &mut text).unwrap();
        let last = text.lines().next_back().unwrap();
        let last: serde_json::Value = serde_json::from_str(last).unwrap();
        assert_eq!(last[1], "m");
        assert!(
            last[2].as_str().unwrap().ends_with("bytes are missing"),
            "{last}"
        );
    }
}
