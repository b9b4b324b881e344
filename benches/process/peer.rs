//! The peer, and what /proc tells of processes.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The binary that Cargo built for benchmarks, or the one that SSMX_BIN names: a release.
pub fn ssmx() -> String {
    std::env::var("SSMX_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_ssmx").to_owned())
}

/// `ssmx loopback --serve`, and the environment that leads to it.
pub struct Peer {
    child: Child,
    pub environment: Vec<(String, String)>,
    pub target: String,
}

impl Peer {
    /// Without the pauses of real agents, unless it is `paced`.
    pub fn start(paced: bool) -> Self {
        let mut child = Command::new(ssmx())
            .args(["loopback", "--serve"])
            .args((!paced).then_some("--no-pacing"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut environment = Vec::new();
        for line in lines {
            let line = line.unwrap();
            let Some(export) = line.strip_prefix("export ") else {
                continue;
            };
            let (name, value) = export.split_once('=').unwrap();
            environment.push((name.to_owned(), value.trim_matches('\'').to_owned()));
            if name == "no_proxy" {
                break;
            }
        }
        let target = environment
            .iter()
            .find(|(name, _)| name == "SSMX_LOOPBACK_TARGET");
        let target = target.unwrap().1.clone();
        Self {
            child,
            environment,
            target,
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// What /proc tells of a process.
pub struct State {
    pub cpu: Duration,
    pub switches: u64,
    pub threads: usize,
    /// KiB, now and at most
    pub memory: u64,
    pub peak_memory: u64,
}

impl State {
    pub fn of(id: u32) -> Self {
        let field = |text: &str, name: &str| -> u64 {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        let mut state = Self {
            cpu: Duration::ZERO,
            switches: 0,
            threads: 0,
            memory: 0,
            peak_memory: 0,
        };
        for task in std::fs::read_dir(format!("/proc/{id}/task")).unwrap() {
            let task = task.unwrap().path();
            let status = std::fs::read_to_string(task.join("status")).unwrap();
            state.switches += field(&status, "voluntary_ctxt_switches:");
            state.memory = field(&status, "VmRSS:");
            state.peak_memory = field(&status, "VmHWM:");
            state.threads += 1;
            // Nanoseconds on the processor come first.
            let times = std::fs::read_to_string(task.join("schedstat")).unwrap();
            let nanos = times.split_whitespace().next().unwrap().parse().unwrap();
            state.cpu += Duration::from_nanos(nanos);
        }
        state
    }
}
