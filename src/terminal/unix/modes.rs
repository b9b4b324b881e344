//! Raw mode, and being stopped and continued with it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{self, Signal as Number};
use rustix::termios::{self, OptionalActions, Termios};

/// How often [`RawMode::enter`] stops the process until the terminal is its own. There
/// is no need for a limit when stopping works; it keeps us from spinning when not.
const STOPS: usize = 8;

/// Terminals that ought to be raw. There is one in ssmx; tests have more.
static MODES: Mutex<Vec<Mode>> = Mutex::new(Vec::new());

struct Mode {
    id: u64,
    fd: OwnedFd,
    /// As they were found. Never read again: what the terminal has while we are in the
    /// background, or just back from it, may be what the shell edits its lines with.
    original: Termios,
    raw: bool,
}

fn lock() -> MutexGuard<'static, Vec<Mode>> {
    MODES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Holds the terminal in raw mode; puts its modes back when dropped.
///
/// In raw mode keys arrive at once, unchanged and without echo, those that would be
/// signals included, and output is not changed either: a line ends with `\r\n`.
#[must_use = "the terminal is restored when this is dropped"]
pub struct RawMode {
    id: u64,
}

impl RawMode {
    /// Makes the terminal behind standard input raw; `None` if there is none.
    ///
    /// In the background this stops the process until it is in the foreground.
    pub fn enter() -> io::Result<Option<RawMode>> {
        RawMode::enter_on(rustix::stdio::stdin())
    }

    pub(in crate::terminal) fn enter_on(fd: BorrowedFd<'_>) -> io::Result<Option<RawMode>> {
        if !termios::isatty(fd) {
            return Ok(None);
        }
        let fd = fd.try_clone_to_owned()?;
        wait_for_foreground(fd.as_fd())?;
        let original = termios::tcgetattr(&fd)?;
        let mut modes = lock();
        let id = modes.last().map_or(0, |mode| mode.id + 1);
        modes.push(Mode {
            id,
            fd,
            original,
            raw: false,
        });
        drop(modes);
        // From here on a drop takes the entry away again, should the next step fail.
        let guard = RawMode { id };
        match lock().iter_mut().find(|mode| mode.id == id) {
            Some(mode) => mode.make_raw()?,
            None => return Err(io::ErrorKind::NotFound.into()),
        }
        Ok(Some(guard))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        let mut modes = lock();
        if let Some(index) = modes.iter().position(|mode| mode.id == self.id) {
            modes.remove(index).restore();
        }
    }
}

impl Mode {
    fn make_raw(&mut self) -> io::Result<()> {
        let mut raw = self.original.clone();
        raw.make_raw();
        // Set first, so that a panic or signal in between restores once too often
        // rather than not at all.
        self.raw = true;
        set(self.fd.as_fd(), &raw)
    }

    fn restore(&mut self) {
        // In the background the terminal has another job's modes, and touching them
        // would stop us, at the very end and for ever.
        if self.raw && !in_background(self.fd.as_fd()) {
            // There is nothing left to try if it fails: most likely the terminal is gone.
            drop(set(self.fd.as_fd(), &self.original));
        }
        self.raw = false;
    }
}

/// Sets modes at once: draining could wait for ever on a terminal that takes no output,
/// and flushing would throw away what was typed ahead.
fn set(fd: BorrowedFd<'_>, modes: &Termios) -> io::Result<()> {
    Ok(rustix::io::retry_on_intr(|| {
        termios::tcsetattr(fd, OptionalActions::Now, modes)
    })?)
}

/// Whether this is the terminal that controls us, and belongs to another job.
pub(super) fn in_background(fd: BorrowedFd<'_>) -> bool {
    termios::tcgetpgrp(fd).is_ok_and(|foreground| foreground != process::getpgrp())
}

fn wait_for_foreground(fd: BorrowedFd<'_>) -> io::Result<()> {
    for _ in 0..STOPS {
        if !in_background(fd) {
            return Ok(());
        }
        // What the terminal would do to us at the first change of its modes. By then we
        // would have read the modes of the shell.
        process::kill_current_process_group(Number::TTOU)?;
    }
    Err(io::Error::other("the terminal belongs to another job"))
}

pub fn restore() {
    lock().iter_mut().for_each(Mode::restore);
}

/// For the panic hook, which must not wait for a lock that its own thread may hold.
pub fn restore_if_unlocked() {
    if let Ok(mut modes) = MODES.try_lock() {
        modes.iter_mut().for_each(Mode::restore);
    }
}

pub fn is_raw() -> bool {
    lock().iter().any(|mode| mode.raw)
}

pub fn suspend() -> io::Result<bool> {
    // In the group of the session's leader there is no shell outside that looks after
    // us, so nobody would notice that we stopped.
    if process::getsid(None).is_ok_and(|session| session == process::getpgrp()) {
        return Ok(false);
    }
    restore();
    // Not SIGTSTP: we handle that one ourselves, and a parent may ignore it while it
    // waits for us, as the AWS CLI does. Shells treat both alike.
    process::kill_current_process_group(Number::STOP)?;
    Ok(true)
}

pub fn resume() -> io::Result<()> {
    lock().iter_mut().try_for_each(Mode::make_raw)
}
