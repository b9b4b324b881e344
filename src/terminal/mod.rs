//! The terminal that ssmx runs in: raw mode, size, input, output and signals.
//!
//! Bytes pass untouched in both directions. Nothing here parses keys or escape
//! sequences, and nothing here knows what a session is.
//!
//! Rules kept throughout:
//!
//! - The modes found at the start are put back on every way out. [`RawMode`] does it
//!   when dropped; [`restore`] does it for whoever ends the process by another way,
//!   and [`install_panic_hook`] for panics (release builds abort, so no destructor
//!   runs). Restoring never discards what the user typed ahead, and never waits for
//!   a terminal that has stopped taking output.
//! - Standard input, output and error keep their file status flags: `O_NONBLOCK`
//!   belongs to the open file, which the shell that started us shares. Blocking reads
//!   and writes have threads of their own instead ([`Input`], [`Output`]).
//! - A terminal that belongs to another job is left alone.

mod input;
mod notice;
mod output;
mod parent;
mod partner;
#[cfg(all(test, unix))]
mod tests;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::io;
use std::io::IsTerminal as _;
use std::sync::Once;

#[cfg(unix)]
use unix as os;
#[cfg(windows)]
use windows as os;

pub use input::Input;
pub use notice::{ColorChoice, color_allowed, draw, excerpt, notice, notices, set_color};
pub use os::{RawMode, Signals};
pub use output::Output;
pub use parent::Parent;
pub use partner::Partner;

/// The size of a terminal in character cells. Neither number is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Characters in a line.
    pub cols: u16,
    /// Lines on the screen.
    pub rows: u16,
}

/// What the operating system told the process to do; see [`Signals`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    /// SIGINT; Ctrl-C on Windows.
    Interrupt,
    /// SIGQUIT; Ctrl-Break on Windows.
    Quit,
    /// SIGTSTP: somebody wants us stopped, see [`suspend`]. Never on Windows.
    Suspend,
    /// SIGTERM; the system shutting down or the user logging off on Windows.
    Terminate,
    /// SIGHUP: the terminal is gone; the console window closing on Windows.
    Hangup,
    /// The terminal may have another [`size`] now. Several changes may come as one.
    Resize,
    /// SIGCONT: we run again, see [`resume`]. Never on Windows.
    Continue,
}

/// What becomes of signals of the keyboard that the parent had ignored, as shells do for jobs in
/// the background.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ignored {
    /// They stay so, for children as well.
    LeftAlone,
    /// They count.
    Heeded,
}

impl Signal {
    /// The number that a shell adds to 128 for the exit status of a process ended by
    /// this signal; `None` for those that end nothing.
    pub fn number(self) -> Option<u8> {
        match self {
            Signal::Hangup => Some(1),
            Signal::Interrupt => Some(2),
            Signal::Quit => Some(3),
            Signal::Terminate => Some(15),
            Signal::Suspend | Signal::Resize | Signal::Continue => None,
        }
    }
}

/// The size of the terminal behind stdout, or else stdin, or else stderr. `None` if
/// none of them is a terminal, or if it does not know its size (it says 0).
pub fn size() -> Option<Size> {
    os::size()
}

/// Whether standard input is a terminal.
pub fn stdin_is_terminal() -> bool {
    io::stdin().is_terminal()
}

/// Puts back the modes of every terminal that is raw now. The guards stay, and
/// [`resume`] makes their terminals raw again. For whoever is about to end the process
/// without unwinding to the guard.
pub fn restore() {
    os::restore();
}

/// Restores the terminal and stops the process group, as the suspend key would.
///
/// True: the stop is on its way. The terminal stays restored until [`resume`], to be
/// called at [`Signal::Continue`]. False: there is no job control that could ever
/// continue us (always so on Windows), and nothing was changed.
///
/// The whole group is stopped, since a parent in it that waits for us (a script, or
/// another program that runs us as its plugin) would keep the shell waiting.
pub fn suspend() -> io::Result<bool> {
    os::suspend()
}

/// Makes the terminal raw again for every [`RawMode`] that is held, whether it was
/// restored by [`suspend`] or changed by the shell while we were stopped.
///
/// In the background this stops the process until it is brought to the foreground, as
/// it does with any program that needs the terminal.
pub fn resume() -> io::Result<()> {
    os::resume()
}

/// Makes panics restore the terminal before they are reported. Later calls do nothing.
pub fn install_panic_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            os::restore_if_unlocked();
            report(info);
        }));
    });
}
