//! The scripts of Run Command, on this machine.

use std::io::{self, Read};
use std::process::{Command, Stdio};
use std::sync::Weak;
use std::sync::mpsc as blocking;
use std::thread;
use std::time::Duration;

use super::Invocation;
use crate::loopback::host::Remains;
use crate::loopback::state::Shared;

/// Characters that the service keeps of standard output and of standard error.
const KEPT_OUTPUT: usize = 24_000;
const KEPT_ERRORS: usize = 8_000;

/// What a running script's keeper waits for.
pub(super) enum Happening {
    Exited(Option<i32>),
    Cancelled,
}

/// Runs a command's script on one node after the other.
pub(super) struct Worker {
    /// Gone with the peer.
    pub(super) shared: Weak<Shared>,
    pub(super) id: String,
    pub(super) program: [&'static str; 2],
    pub(super) script: String,
    pub(super) limit: Duration,
    pub(super) most_errors: usize,
    pub(super) _remains: Option<Remains>,
}

impl Worker {
    pub(super) fn run(&self) {
        while let Some((at, node, happenings, sender)) = self.next() {
            let result = self.run_on(&node, &happenings, sender);
            self.change(at, |invocation| {
                invocation.end = None;
                match result {
                    Ok((status, code, stdout, stderr)) => {
                        invocation.code = code;
                        (invocation.stdout, invocation.stderr) = (stdout, stderr);
                        invocation.settle(status, status);
                    }
                    Err(error) => {
                        invocation.stderr = format!("failed to run commands: {error}");
                        invocation.settle("Failed", "Failed");
                    }
                }
            });
        }
    }

    fn change<T>(&self, at: usize, change: impl FnOnce(&mut Invocation) -> T) -> Option<T> {
        let shared = self.shared.upgrade()?;
        shared.change(|state| {
            let sent = state.commands.iter_mut().find(|sent| sent.id == self.id)?;
            Some(change(sent.invocations.get_mut(at)?))
        })
    }

    /// The next node, unless too many have failed.
    fn next(
        &self,
    ) -> Option<(
        usize,
        String,
        blocking::Receiver<Happening>,
        blocking::Sender<Happening>,
    )> {
        let shared = self.shared.upgrade()?;
        shared.change(|state| {
            let sent = state.commands.iter_mut().find(|sent| sent.id == self.id)?;
            let failed = |one: &&Invocation| one.is_over() && one.status != "Success";
            let failures = sent.invocations.iter().filter(failed).count();
            if failures > self.most_errors {
                for invocation in sent
                    .invocations
                    .iter_mut()
                    .filter(|one| one.status == "Pending")
                {
                    invocation.settle("Cancelled", "Terminated");
                }
                return None;
            }
            let waits = |one: &Invocation| one.status == "Pending";
            let at = sent.invocations.iter().position(waits)?;
            let invocation = sent.invocations.get_mut(at)?;
            let (sender, receiver) = blocking::channel();
            invocation.settle("InProgress", "InProgress");
            invocation.end = Some(sender.clone());
            Some((at, invocation.node.clone(), receiver, sender))
        })
    }

    fn run_on(
        &self,
        node: &str,
        happenings: &blocking::Receiver<Happening>,
        exited: blocking::Sender<Happening>,
    ) -> io::Result<(&'static str, i32, String, String)> {
        let (stdout, write_stdout) = io::pipe()?;
        let (stderr, write_stderr) = io::pipe()?;
        let mut command = Command::new(self.program[0]);
        command
            .args([self.program[1], &self.script])
            .env("AWS_SSM_INSTANCE_ID", node)
            .stdin(Stdio::null())
            .stdout(write_stdout)
            .stderr(write_stderr);
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn()?;
        drop(command);
        let id = child.id();
        let stdout = keep(stdout, KEPT_OUTPUT)?;
        let stderr = keep(stderr, KEPT_ERRORS)?;
        thread::Builder::new()
            .name("loopback-wait".into())
            .spawn(move || {
                let code = child.wait().ok().and_then(|status| status.code());
                let _ = exited.send(Happening::Exited(code));
            })?;
        let (status, code) = match happenings.recv_timeout(self.limit) {
            Ok(Happening::Exited(Some(0))) => ("Success", 0),
            Ok(Happening::Exited(code)) => ("Failed", code.unwrap_or(-1)),
            Ok(Happening::Cancelled) | Err(blocking::RecvTimeoutError::Disconnected) => {
                kill(id);
                ("Cancelled", -1)
            }
            Err(blocking::RecvTimeoutError::Timeout) => {
                kill(id);
                ("TimedOut", -1)
            }
        };
        let text = |kept: blocking::Receiver<Vec<u8>>| {
            let bytes = kept.recv().unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        Ok((status, code, text(stdout), text(stderr)))
    }
}

/// Reads to the end, and keeps so much of it.
fn keep(mut pipe: io::PipeReader, most: usize) -> io::Result<blocking::Receiver<Vec<u8>>> {
    let (sender, receiver) = blocking::channel();
    thread::Builder::new()
        .name("loopback-read".into())
        .spawn(move || {
            let mut kept = Vec::new();
            let mut buffer = [0; 8192];
            while let Ok(length) = pipe.read(&mut buffer) {
                if length == 0 {
                    break;
                }
                let room = length.min(most - kept.len());
                kept.extend_from_slice(buffer.get(..room).unwrap_or_default());
            }
            let _ = sender.send(kept);
        })?;
    Ok(receiver)
}

#[cfg(unix)]
fn kill(id: u32) {
    use rustix::process::{Pid, Signal, kill_process_group};
    if let Some(leader) = i32::try_from(id).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(leader, Signal::KILL);
    }
}

#[cfg(not(unix))]
fn kill(id: u32) {
    let _ = Command::new("taskkill")
        .args(["/T", "/F", "/PID", &id.to_string()])
        .output();
}
