//! Programs under test: in pipes or on a pseudo-terminal, waited for by event, never by sleeping.

// Each test file uses its own part of this.
#![allow(dead_code, reason = "not every platform runs every test")]

#[cfg(unix)]
pub mod pty;
pub mod snapshot;

use std::ffi::OsStr;
use std::io::Write as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use ssmx::loopback::Loopback;

/// How long anything may take before a test fails instead of hanging.
pub const DEADLINE: Duration = Duration::from_secs(40);

/// The binary under test.
pub const SSMX: &str = env!("CARGO_BIN_EXE_ssmx");

/// A command with the environment of `loopback`, and none of the caller's AWS settings.
pub fn command(program: impl AsRef<OsStr>, loopback: &Loopback) -> Command {
    let mut command = Command::new(program);
    clean(&mut command);
    command.envs(loopback.environment());
    command
}

/// Signals count for the programs under test, even where the tests run under `nohup` or in the
/// background, with some of them ignored.
#[cfg(unix)]
pub fn heed_signals() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    #[expect(unsafe_code, reason = "no safe way to a disposition is at hand")]
    // SAFETY: a default disposition runs no code of ours.
    ONCE.call_once(|| unsafe {
        for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT] {
            libc::signal(signal, libc::SIG_DFL);
        }
    });
}

/// Takes AWS's and our own settings out of the environment, so that nobody's home decides.
pub fn clean(command: &mut Command) {
    #[cfg(unix)]
    heed_signals();
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("AWS_")
            || text.starts_with("SSMX_")
            || text.ends_with("_PROXY")
            || text.ends_with("_proxy")
        {
            command.env_remove(&name);
        }
    }
    command
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_CONFIG_FILE", "/nonexistent/config")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent/credentials")
        .env(
            "SSMX_CONFIG",
            if cfg!(windows) { "NUL" } else { "/dev/null" },
        );
}

/// `ssmx start-session` on the loopback's node.
pub fn start_session(loopback: &Loopback, arguments: &[&str]) -> Command {
    let mut command = command(SSMX, loopback);
    command
        .args(["start-session", "--target", loopback.target()])
        .args(arguments);
    command
}

/// Sends a signal (`-TERM`) by the shell, which every Unix has.
pub fn kill(id: u32, signal: &str) {
    let status = Command::new("/bin/sh")
        .args(["-c", &format!("kill {signal} {id}")])
        .status();
    assert!(status.expect("a shell runs").success());
}

/// What a finished program left.
#[derive(Debug)]
pub struct Finished {
    /// Everything on stdout.
    pub stdout: Vec<u8>,
    /// Everything on stderr.
    pub stderr: String,
    /// How it ended.
    pub status: ExitStatus,
}

impl Finished {
    /// stdout as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// The exit status, if it was no signal.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }
}

/// A program in pipes.
pub struct Running {
    child: Child,
    stdout: mpsc::Receiver<Vec<u8>>,
    stderr: mpsc::Receiver<Vec<u8>>,
}

/// Starts `command` with stdout and stderr read to their ends, and `stdin` as it stands there.
pub fn spawn(mut command: Command) -> Running {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let stdout = read_all(child.stdout.take().expect("stdout is piped"));
    let stderr = read_all(child.stderr.take().expect("stderr is piped"));
    Running {
        child,
        stdout,
        stderr,
    }
}

/// Runs `command` with `input` as all of its standard input.
pub fn run(mut command: Command, input: &[u8]) -> Finished {
    command.stdin(Stdio::piped());
    let mut running = spawn(command);
    let mut stdin = running.child.stdin.take().expect("stdin is piped");
    let input = input.to_vec();
    // A program that does not read its input to the end is no failure of the test's.
    thread::spawn(move || drop(stdin.write_all(&input)));
    running.finish()
}

/// Runs `command` without any standard input.
pub fn run_without_input(mut command: Command) -> Finished {
    command.stdin(Stdio::null());
    spawn(command).finish()
}

impl Running {
    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the end; kills the program and fails when it takes too long.
    pub fn finish(self) -> Finished {
        self.finish_within(DEADLINE)
    }

    /// The same with a limit of its own for how long it may take.
    pub fn finish_within(mut self, limit: Duration) -> Finished {
        let stdout = self.stdout.recv_timeout(limit);
        let stderr = self.stderr.recv_timeout(limit);
        if stdout.is_err() || stderr.is_err() {
            self.child.kill().expect("the program can be killed");
            let read = |pipe: mpsc::Receiver<Vec<u8>>| {
                let bytes = pipe
                    .recv_timeout(Duration::from_secs(5))
                    .unwrap_or_default();
                String::from_utf8_lossy(&bytes).into_owned()
            };
            panic!(
                "the program does not end; stdout: {:?} stderr: {:?}",
                stdout.map_or_else(
                    |_| read(self.stdout),
                    |b| String::from_utf8_lossy(&b).into_owned()
                ),
                stderr.map_or_else(
                    |_| read(self.stderr),
                    |b| String::from_utf8_lossy(&b).into_owned()
                ),
            );
        }
        Finished {
            stdout: stdout.unwrap_or_default(),
            stderr: String::from_utf8_lossy(&stderr.unwrap_or_default()).into_owned(),
            status: self.child.wait().expect("the program can be waited for"),
        }
    }
}

fn read_all(mut pipe: impl std::io::Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is all there is.
        let _ = pipe.read_to_end(&mut bytes);
        let _ = sender.send(bytes);
    });
    receiver
}
