//! Raw mode of the console.
#![allow(
    unsafe_code,
    reason = "the console has no safe interface; every call here passes a handle that it \
              borrows or owns, and buffers with their true lengths"
)]

use std::io;
use std::os::windows::io::{AsHandle as _, AsRawHandle as _, OwnedHandle};
use std::sync::{Mutex, MutexGuard, PoisonError};

use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::System::Console::{
    CONSOLE_MODE, DISABLE_NEWLINE_AUTO_RETURN, ENABLE_ECHO_INPUT, ENABLE_LINE_INPUT,
    ENABLE_PROCESSED_INPUT, ENABLE_PROCESSED_OUTPUT, ENABLE_VIRTUAL_TERMINAL_INPUT,
    ENABLE_VIRTUAL_TERMINAL_PROCESSING, GetConsoleCP, GetConsoleOutputCP, SetConsoleCP,
    SetConsoleMode, SetConsoleOutputCP,
};

use super::{check, mode_of};

/// UTF-8.
const CODE_PAGE: u32 = 65001;

/// What the console had before it was made raw. There is one console to a process.
static SAVED: Mutex<Option<Saved>> = Mutex::new(None);

struct Saved {
    input: (OwnedHandle, CONSOLE_MODE),
    /// `None` when standard output is no console.
    output: Option<(OwnedHandle, CONSOLE_MODE)>,
    input_code_page: u32,
    output_code_page: u32,
    raw: bool,
}

fn lock() -> MutexGuard<'static, Option<Saved>> {
    SAVED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn set_mode(handle: &OwnedHandle, mode: CONSOLE_MODE) -> io::Result<()> {
    // SAFETY: the handle is open.
    check(unsafe { SetConsoleMode(handle.as_raw_handle() as HANDLE, mode) })
}

fn set_code_pages(input: u32, output: u32) -> io::Result<()> {
    // SAFETY: both calls take plain numbers.
    check(unsafe { SetConsoleCP(input) })?;
    check(unsafe { SetConsoleOutputCP(output) })
}

/// Holds the console in raw mode; puts its modes and code pages back when dropped.
///
/// In raw mode keys arrive at once as the bytes a Unix terminal would send, without echo
/// and without Ctrl-C being an event, and output may hold any escape sequence.
#[must_use = "the console is restored when this is dropped"]
pub struct RawMode {
    _private: (),
}

impl RawMode {
    /// Makes the console raw; `None` if standard input is no console.
    pub fn enter() -> io::Result<Option<RawMode>> {
        let input = io::stdin().as_handle().try_clone_to_owned()?;
        let Some(input_mode) = mode_of(&input) else {
            return Ok(None);
        };
        let output = io::stdout().as_handle().try_clone_to_owned()?;
        let output = mode_of(&output).map(|mode| (output, mode));
        // SAFETY: these calls take nothing and return numbers.
        let (input_code_page, output_code_page) = unsafe { (GetConsoleCP(), GetConsoleOutputCP()) };
        *lock() = Some(Saved {
            input: (input, input_mode),
            output,
            input_code_page,
            output_code_page,
            raw: false,
        });
        // From here on a drop restores, should the next step fail.
        let guard = RawMode { _private: () };
        resume()?;
        Ok(Some(guard))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        if let Some(mut saved) = lock().take() {
            saved.restore();
        }
    }
}

impl Saved {
    fn make_raw(&mut self) -> io::Result<()> {
        self.raw = true;
        let cooked = ENABLE_LINE_INPUT | ENABLE_ECHO_INPUT | ENABLE_PROCESSED_INPUT;
        set_mode(
            &self.input.0,
            self.input.1 & !cooked | ENABLE_VIRTUAL_TERMINAL_INPUT,
        )?;
        if let Some((output, mode)) = &self.output {
            let vt = ENABLE_PROCESSED_OUTPUT | ENABLE_VIRTUAL_TERMINAL_PROCESSING;
            // Consoles that know the one flag but not the other exist.
            set_mode(output, mode | vt | DISABLE_NEWLINE_AUTO_RETURN)
                .or_else(|_| set_mode(output, mode | vt))?;
        }
        set_code_pages(CODE_PAGE, CODE_PAGE)
    }

    fn restore(&mut self) {
        if !std::mem::take(&mut self.raw) {
            return;
        }
        // Each is tried whatever became of the others; there is nobody to tell.
        drop(set_mode(&self.input.0, self.input.1));
        if let Some((output, mode)) = &self.output {
            drop(set_mode(output, *mode));
        }
        drop(set_code_pages(self.input_code_page, self.output_code_page));
    }
}

pub fn restore() {
    if let Some(saved) = lock().as_mut() {
        saved.restore();
    }
}

/// For the panic hook, which must not wait for a lock that its own thread may hold.
pub fn restore_if_unlocked() {
    if let Ok(mut saved) = SAVED.try_lock()
        && let Some(saved) = saved.as_mut()
    {
        saved.restore();
    }
}

pub fn is_raw() -> bool {
    lock().as_ref().is_some_and(|saved| saved.raw)
}

pub fn suspend() -> io::Result<bool> {
    Ok(false)
}

pub fn resume() -> io::Result<()> {
    lock().as_mut().map_or(Ok(()), Saved::make_raw)
}
