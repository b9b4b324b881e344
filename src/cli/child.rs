//! Programs that are run to their end: what becomes of signals, and of the exit status.

use std::ffi::OsStr;
use std::io;
use std::process::ExitStatus;

use tokio::process::{Child, Command};

use super::report::{self, Failure};
use crate::session::forward::descriptors;
use crate::terminal::{self, Signal, Signals};

/// The exit status of shells for a command that is not there.
const NOT_FOUND: u8 = 127;
/// The exit status of shells for a command that is there and cannot be run.
const NOT_EXECUTABLE: u8 = 126;

/// Runs a command in the foreground to its end; the exit status, as shells have it. Keys that
/// interrupt it reach it by themselves, other signals are passed on.
pub async fn run(command: &mut Command, signals: &mut Signals) -> anyhow::Result<u8> {
    descriptors::restore_for(command.as_std_mut());
    let spawned = command.spawn();
    let mut child = spawned.map_err(|error| not_run(command.as_std().get_program(), &error))?;
    loop {
        tokio::select! {
            status = child.wait() => return Ok(status_of(status?)),
            number = ending_but_keys(signals) => pass_on(&mut child, number),
        }
    }
}

fn not_run(program: &OsStr, error: &io::Error) -> Failure {
    let program = program.to_string_lossy();
    Failure {
        status: match error.kind() {
            io::ErrorKind::NotFound => NOT_FOUND,
            _ => NOT_EXECUTABLE,
        },
        ..Failure::other(format!("cannot run {program}: {error}"))
            .hint("give a program of PATH, or sh -c '…' for a line of shell")
    }
}

/// As shells have it: the exit status, or 128 + n by signal n.
fn status_of(status: ExitStatus) -> u8 {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return u8::try_from(128 + signal).unwrap_or(u8::MAX);
    }
    status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .unwrap_or(report::FAILURE)
}

/// Passes on a signal that was meant for us: a hangup, or else a wish to end.
#[cfg(unix)]
fn pass_on(child: &mut Child, number: u8) {
    use rustix::process::{Pid, Signal, kill_process};
    let signal = match number {
        1 => Signal::HUP,
        _ => Signal::TERM,
    };
    let id = child.id().and_then(|id| i32::try_from(id).ok());
    if let Some(id) = id.and_then(Pid::from_raw) {
        // It may have ended already.
        let _ = kill_process(id, signal);
    }
}

/// Ends the command.
#[cfg(not(unix))]
fn pass_on(child: &mut Child, _number: u8) {
    // It may have ended already.
    let _ = child.start_kill();
}

/// The number of the next signal that wants us gone. Those that want us to pause are obeyed.
pub async fn ending(signals: &mut Signals) -> u8 {
    loop {
        match signals.next().await {
            Signal::Suspend => suspend(),
            signal => {
                if let Some(number) = signal.number() {
                    return number;
                }
            }
        }
    }
}

/// The same while a command runs in the foreground: what keys send, it has by itself.
async fn ending_but_keys(signals: &mut Signals) -> u8 {
    loop {
        match signals.next().await {
            Signal::Interrupt | Signal::Quit => {}
            Signal::Suspend => suspend(),
            signal => {
                if let Some(number) = signal.number() {
                    return number;
                }
            }
        }
    }
}

/// Stops this process and its group, if there is job control to continue them.
fn suspend() {
    if let Err(error) = terminal::suspend() {
        terminal::notice(&format!("cannot suspend: {error}"));
    }
}
