//! Leaving when something is in the way: an answer that does not come, a terminal that takes no
//! output.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use portable_pty::{CommandBuilder, PtySize, native_pty_system};
use ssmx::loopback::{Loopback, Options as Peer};

use crate::support::{DEADLINE, kill, spawn, start_session};

/// What is told to leave at once must not wait for this long.
const AT_ONCE: Duration = Duration::from_secs(4);

fn loopback() -> Loopback {
    Loopback::start(Peer {
        paced: false,
        ..Peer::default()
    })
    .expect("loopback starts")
}

fn shell(loopback: &Loopback) -> Command {
    let mut session = start_session(loopback, &[]);
    session.stdin(Stdio::piped());
    session
}

#[test]
fn an_interrupted_start_leaves_no_session_behind() {
    for (signal, status) in [("-INT", 130), ("-TERM", 143), ("-HUP", 129)] {
        let loopback = loopback();
        loopback.hold(Some("StartSession"));
        let running = spawn(shell(&loopback));
        assert!(loopback.wait_for(|stats| stats.started == 1, DEADLINE));
        kill(running.id(), signal);
        loopback.hold(None);
        let done = running.finish();
        assert_eq!((done.code(), done.stderr.as_str()), (Some(status), ""));
        assert_eq!(loopback.stats().terminated, 1, "{signal}");
    }
}

#[test]
fn a_second_interrupt_does_not_wait_for_the_answer_to_the_first() {
    let loopback = loopback();
    loopback.hold(Some("StartSession"));
    let running = spawn(shell(&loopback));
    assert!(loopback.wait_for(|stats| stats.started == 1, DEADLINE));
    let began = Instant::now();
    // Of one kind, two may come as one.
    kill(running.id(), "-TERM");
    kill(running.id(), "-INT");
    let done = running.finish();
    assert!(matches!(done.code(), Some(130 | 143)), "{done:?}");
    assert!(began.elapsed() < AT_ONCE);
}

#[test]
fn a_second_signal_does_not_wait_for_the_service() {
    let loopback = loopback();
    loopback.hold(Some("TerminateSession"));
    let running = spawn(shell(&loopback));
    assert!(loopback.wait_for(|stats| stats.attached == 1, DEADLINE));
    kill(running.id(), "-TERM");
    assert!(loopback.wait_for(|stats| stats.terminated == 1, DEADLINE));
    let began = Instant::now();
    kill(running.id(), "-INT");
    let done = running.finish();
    assert_eq!(done.code(), Some(143), "{done:?}");
    assert!(began.elapsed() < AT_ONCE);
}

/// A terminal whose other end has stopped reading, as over a connection that hangs.
#[test]
fn escape_keys_work_while_the_terminal_takes_no_output() {
    let loopback = loopback();
    let command = start_session(&loopback, &[]);
    let pair = native_pty_system()
        .openpty(PtySize::default())
        .expect("a pseudo-terminal");
    let mut builder = CommandBuilder::new(command.get_program());
    builder.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => builder.env(name, value),
            None => builder.env_remove(name),
        }
    }
    let mut child = pair.slave.spawn_command(builder).expect("it starts");
    let mut killer = child.clone_killer();
    drop(pair.slave);
    let mut writer = pair.master.take_writer().expect("a writer");
    // Before raw mode the terminal would make a line feed of it and show it.
    assert!(loopback.wait_for(|stats| stats.messages_to_agent >= 2, DEADLINE));
    writer.write_all(b"yes\r").expect("it takes input");
    // More than the pseudo-terminal and the queues hold: stdout is stuck.
    let stuck = |stats: &ssmx::loopback::Stats| stats.messages_to_client > 2000;
    assert!(loopback.wait_for(stuck, DEADLINE));
    writer.write_all(b"\r~.").expect("it takes input");
    let (ended, wait) = mpsc::channel();
    thread::spawn(move || ended.send(child.wait()));
    let status = wait.recv_timeout(DEADLINE / 4);
    if status.is_err() {
        killer.kill().expect("it can be killed");
    }
    let status = status.expect("it leaves").expect("it can be waited for");
    assert_eq!(status.exit_code(), 0);
    assert_eq!(loopback.stats().terminated, 1);
}
