//! Signals and ends for programs.

use std::sync::mpsc as blocking;
#[cfg(unix)]
use std::thread;
#[cfg(unix)]
use std::time::Duration;

use super::super::agent;
use super::Remains;

/// How long a program has to hang up before it is killed.
#[cfg(unix)]
const GRACE: Duration = Duration::from_millis(200);

/// Ends a program and its process group.
#[cfg(unix)]
pub(super) struct Killer {
    leader: Option<rustix::process::Pid>,
}

#[cfg(unix)]
impl Killer {
    pub(super) fn of_terminal(child: &(dyn portable_pty::Child + Send + Sync)) -> Self {
        Self::of_id(child.process_id())
    }

    pub(super) fn of_command(id: u32) -> Self {
        Self::of_id(Some(id))
    }

    fn of_id(id: Option<u32>) -> Self {
        let leader = id.and_then(|id| i32::try_from(id).ok());
        Self {
            leader: leader.and_then(rustix::process::Pid::from_raw),
        }
    }

    pub(super) fn signal(&self, signal: agent::Signal) {
        let signal = match signal {
            agent::Signal::Interrupt => rustix::process::Signal::INT,
            agent::Signal::Quit => rustix::process::Signal::QUIT,
        };
        if let Some(leader) = self.leader {
            let _ = rustix::process::kill_process(leader, signal);
        }
    }

    /// Hangs up on the process group, and kills what is left of it after a moment: shells want
    /// one to hang up on their jobs.
    pub(super) fn kill(&self, ended: blocking::Receiver<()>, remains: Remains) {
        use rustix::process::{Signal, kill_process_group};
        let Some(leader) = self.leader else { return };
        let _ = kill_process_group(leader, Signal::HUP);
        let _ = kill_process_group(leader, Signal::CONT);
        // In a thread, since drops must not wait.
        let finish = move || {
            let _ = ended.recv_timeout(GRACE);
            let _ = kill_process_group(leader, Signal::KILL);
            // What was killed is gone only once it was waited for.
            let _ = ended.recv_timeout(GRACE);
            drop(remains);
        };
        let spawned = thread::Builder::new()
            .name("loopback-kill".into())
            .spawn(finish);
        if spawned.is_err() {
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

/// Ends a program.
#[cfg(not(unix))]
pub(super) struct Killer {
    terminal: Option<std::sync::Mutex<Box<dyn portable_pty::ChildKiller + Send + Sync>>>,
    id: Option<u32>,
}

#[cfg(not(unix))]
impl Killer {
    pub(super) fn of_terminal(child: &(dyn portable_pty::Child + Send + Sync)) -> Self {
        Self {
            terminal: Some(std::sync::Mutex::new(child.clone_killer())),
            id: None,
        }
    }

    pub(super) fn of_command(id: u32) -> Self {
        Self {
            terminal: None,
            id: Some(id),
        }
    }

    pub(super) fn signal(&self, _signal: agent::Signal) {
        self.end();
    }

    pub(super) fn kill(&self, _ended: blocking::Receiver<()>, _remains: Remains) {
        self.end();
    }

    fn end(&self) {
        if let Some(terminal) = &self.terminal {
            if let Ok(mut terminal) = terminal.lock() {
                let _ = terminal.kill();
            }
        } else if let Some(id) = self.id {
            let _ = std::process::Command::new("taskkill")
                .args(["/T", "/F", "/PID", &id.to_string()])
                .output();
        }
    }
}
