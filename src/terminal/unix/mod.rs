//! Terminals, descriptors and signals of Unix systems.

mod io;
mod modes;
mod signals;

use std::os::fd::BorrowedFd;

use rustix::termios;

use super::Size;

pub(super) use io::{Gone, Presence, Sink, Source, Waker};
pub use modes::RawMode;
pub(super) use modes::{is_raw, restore, restore_if_unlocked, resume, suspend};
pub use signals::Signals;

pub(super) fn size() -> Option<Size> {
    [
        rustix::stdio::stdout(),
        rustix::stdio::stdin(),
        rustix::stdio::stderr(),
    ]
    .into_iter()
    .find_map(size_of)
}

pub(super) fn size_of(fd: BorrowedFd<'_>) -> Option<Size> {
    let size = termios::tcgetwinsize(fd).ok()?;
    (size.ws_col != 0 && size.ws_row != 0).then_some(Size {
        cols: size.ws_col,
        rows: size.ws_row,
    })
}

pub(super) fn styles_work() -> bool {
    true
}

/// Whether standard error is the terminal of another job.
pub(super) fn stderr_is_others() -> bool {
    modes::in_background(rustix::stdio::stderr())
}

/// Whether standard error takes a line at once: nothing that we say is worth being held up for.
pub(super) fn stderr_takes_a_line() -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let stderr = rustix::stdio::stderr();
    let mut fds = [PollFd::new(&stderr, PollFlags::OUT)];
    let at_once = Timespec::default();
    !matches!(
        rustix::io::retry_on_intr(|| poll(&mut fds, Some(&at_once))),
        Ok(0)
    )
}
