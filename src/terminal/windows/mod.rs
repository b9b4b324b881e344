//! The console, handles and events of Windows.
#![allow(
    unsafe_code,
    reason = "the console has no safe interface; every call here passes a handle that it \
              borrows or owns, and buffers with their true lengths"
)]

mod io;
mod modes;
mod signals;

use std::io::IsTerminal as _;
use std::os::windows::io::{AsRawHandle as _, OwnedHandle};

use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::System::Console::{CONSOLE_MODE, GetConsoleMode};

use super::Size;

pub(super) use io::{Sink, Source, Waker};
pub use modes::RawMode;
pub(super) use modes::{is_raw, restore, restore_if_unlocked, resume, suspend};
pub use signals::Signals;

pub(super) fn size() -> Option<Size> {
    let console = std::io::stdout().is_terminal()
        || std::io::stdin().is_terminal()
        || std::io::stderr().is_terminal();
    let (cols, rows) = console.then(crossterm::terminal::size)?.ok()?;
    (cols != 0 && rows != 0).then_some(Size { cols, rows })
}

pub(super) fn stderr_is_others() -> bool {
    false
}

/// Consoles and files always do; of pipes nobody can tell.
pub(super) fn stderr_takes_a_line() -> bool {
    true
}

pub(super) fn styles_work() -> bool {
    crossterm::ansi_support::supports_ansi()
}

fn check(result: i32) -> std::io::Result<()> {
    match result {
        0 => Err(std::io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// The mode of a console, or `None` for a handle that is none.
fn mode_of(handle: &OwnedHandle) -> Option<CONSOLE_MODE> {
    let mut mode = 0;
    // SAFETY: the handle is open; `mode` outlives the call.
    check(unsafe { GetConsoleMode(handle.as_raw_handle() as HANDLE, &mut mode) })
        .ok()
        .map(|()| mode)
}
