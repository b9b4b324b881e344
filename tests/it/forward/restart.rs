//! What becomes of forwards whose sessions end.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ssmx::loopback::Options;

use super::program::{
    Program, connect, echo, forward, is_reset, loopback, loopback_with, ping, serve,
};
use crate::support::{DEADLINE, run_without_input, start_session};

#[test]
fn the_next_connection_starts_another_session() {
    let loopback = loopback();
    let mut program = Program::forward(&loopback, &["-L", &format!("0:{}", echo())]);
    let [port] = program.ports();
    let mut before = connect(port);
    ping(&mut before, "before");
    loopback.end_sessions("");
    let over = program.event("over");
    assert!(over["reason"].as_str().unwrap().contains("idle timeout"));
    program.says("the session is over: ");
    assert!(is_reset(&mut before));
    assert_eq!(loopback.stats().started, 1, "nobody needs another yet");
    // The sessions were short, which costs a pause.
    for count in 2..4 {
        let mut after = connect(port);
        ping(&mut after, "after");
        assert_eq!(loopback.stats().started, count);
        program.says("ready again (session ");
        loopback.end_sessions("reason of the service");
        program.says("reason of the service");
        assert!(is_reset(&mut after));
    }
    program.interrupt();
}

#[test]
fn a_target_that_goes_away_and_returns_is_waited_for() {
    let loopback = loopback();
    let target = loopback.target().to_owned();
    let mut program = Program::forward(&loopback, &["-L", &format!("0:{}", echo())]);
    let [port] = program.ports();
    ping(&mut connect(port), "before");
    loopback.set_online(&target, false);
    program.event("over");
    let mut waiting = connect(port);
    let restart = program.event("restart");
    assert!(
        restart["reason"]
            .as_str()
            .unwrap()
            .contains("TargetNotConnected")
    );
    program.says("trying again in");
    loopback.set_online(&target, true);
    ping(&mut waiting, "after");
    ping(&mut connect(port), "another");
    program.interrupt();
}

#[test]
fn nobody_is_waited_for_who_is_gone() {
    let loopback = loopback();
    let target = loopback.target().to_owned();
    let mut program = Program::forward(&loopback, &["--lazy", "-L", &format!("0:{}", echo())]);
    let [port] = program.ports();
    loopback.set_online(&target, false);
    drop(connect(port));
    program.event("restart");
    loopback.set_online(&target, true);
    let mut alive = connect(port);
    ping(&mut alive, "alive");
    // One connection was carried, in one session.
    assert_eq!(program.event("connect")["connection"], 1);
    assert_eq!(loopback.stats().dialled, 1);
    program.interrupt();
}

#[test]
fn what_will_not_pass_is_not_waited_for() {
    let loopback = loopback();
    let mut program = Program::forward(&loopback, &["--lazy", "-L", &format!("0:{}", echo())]);
    let [port] = program.ports();
    let denied = r#"{"__type":"AccessDeniedException","message":"no"}"#;
    loopback.script("StartSession", 400, denied);
    let began = Instant::now();
    assert!(is_reset(&mut connect(port)));
    assert!(began.elapsed() < Duration::from_secs(10));
    let gave_up = program.event("give-up");
    assert_eq!(gave_up["connections"], 1);
    assert!(gave_up["reason"].as_str().unwrap().contains("AccessDenied"));
    program.says("hint: the caller's IAM policies must allow ssm:StartSession");
    // Somebody has set it right.
    ping(&mut connect(port), "after");
    program.interrupt();
}

#[test]
fn a_session_that_the_agent_ends_before_it_carries_anything_is_not_tried_again_by_itself() {
    let loopback = loopback();
    let spec = "0:no-such-host.invalid:80";
    let text = "lookup no-such-host.invalid: no such host";
    let mut program = Program::forward(&loopback, &["--lazy", "-L", spec]);
    let [port] = program.ports();
    let began = Instant::now();
    for count in 1..4 {
        assert!(is_reset(&mut connect(port)));
        let gave_up = program.event("give-up");
        assert!(gave_up["reason"].as_str().unwrap().ends_with(text));
        assert_eq!(loopback.stats().started, count);
    }
    assert!(began.elapsed() < Duration::from_secs(10));
    let done = program.interrupt();
    let told = done.stderr.matches(text).count();
    assert_eq!(told, 1, "it is told once in a while: {done:?}");
    assert!(
        done.stderr
            .contains("; the connection that waited is closed")
    );
    assert!(!done.stderr.contains("the next connection"), "{done:?}");
}

#[test]
fn a_session_that_the_agent_ends_at_once_is_a_failure_to_start() {
    let loopback = loopback();
    let parameters = "host=no-such-host.invalid,portNumber=80,localPortNumber=0";
    let remote = "AWS-StartPortForwardingSessionToRemoteHost";
    let arguments = ["--document-name", remote, "--parameters", parameters];
    let commands = [
        forward(&loopback, &["-L", "0:no-such-host.invalid:80"]),
        start_session(&loopback, &arguments),
    ];
    for command in commands {
        let done = run_without_input(command);
        assert_eq!(done.code(), Some(255), "{done:?}");
        let lines: Vec<&str> = done.stderr.lines().collect();
        assert_eq!(
            lines,
            [
                "ssmx: error: the session ended: lookup no-such-host.invalid: no such host",
                "ssmx: hint: check the name; it is the node that looks it up"
            ]
        );
    }
    assert_eq!(loopback.stats().started, 2);
}

#[test]
fn what_agents_forbid_is_told_without_a_promise() {
    // One without multiplexing, which cannot be asked whether it carries connections.
    let loopback = loopback_with(Options {
        agent_version: "3.0.196.0".to_owned(),
        ..Options::default()
    });
    let done = run_without_input(forward(&loopback, &["-L", "0:169.254.169.254:80"]));
    assert_eq!(done.code(), Some(255), "{done:?}");
    assert!(done.stderr.contains("is forbidden"), "{done:?}");
    assert!(!done.stderr.contains("is forbidden."), "{done:?}");
    assert!(!done.stderr.contains("the next connection"), "{done:?}");
}

#[test]
fn a_connection_that_has_to_wait_is_told_of() {
    let loopback = loopback();
    let mut program = Program::forward(&loopback, &["-L", &format!("0:{}", echo())]);
    let [port] = program.ports();
    ping(&mut connect(port), "first");
    // Sessions that are short cost pauses of one second, and of two.
    for word in ["second", "third"] {
        loopback.end_sessions("");
        program.event("over");
        ping(&mut connect(port), word);
    }
    let restart = program.event("restart");
    assert_eq!(restart["seconds"], 2);
    let reason = restart["reason"].as_str().unwrap();
    assert!(reason.starts_with("the session is over: "), "{reason}");
    assert!(program.says("trying again").contains("again in 2 s"));
    program.interrupt();
}

#[test]
fn without_restart_the_end_of_a_session_is_the_end() {
    let loopback = loopback();
    for (output, why) in [("", "idle timeout"), ("reason", "reason")] {
        let mut program =
            Program::forward(&loopback, &["--no-restart", "-L", &format!("0:{}", echo())]);
        let [port] = program.ports();
        let mut stream = connect(port);
        ping(&mut stream, "before");
        loopback.end_sessions(output);
        let exit = program.event("exit");
        assert_eq!(exit["status"], 255);
        assert!(exit["reason"].as_str().unwrap().contains(why), "{exit}");
        let done = program.finish();
        assert_eq!(done.code(), Some(255));
        assert!(done.stderr.contains("ssmx: error: "), "{done:?}");
        assert!(done.stderr.contains(why), "{done:?}");
        assert!(is_reset(&mut stream));
    }
}

#[test]
fn one_session_that_ends_is_none_of_the_others_business() {
    let loopback = loopback();
    let port = echo();
    let mut program = Program::forward(
        &loopback,
        &[
            "-L",
            &format!("0:{port}"),
            "-L",
            &format!("0:db.internal:{port}"),
        ],
    );
    let [one, two] = program.ports();
    let mut first = connect(one);
    ping(&mut first, "before");
    // Not smux, for whoever is listening: each session ends by itself, and its remote side with it.
    loopback.inject_output(b"\x02garbage");
    program.says("does not multiplex connections as it should");
    assert!(is_reset(&mut first));
    assert!(loopback.wait_for(|stats| stats.ended == 2, DEADLINE));
    ping(&mut connect(one), "after");
    ping(&mut connect(two), "after");
    assert_eq!(loopback.stats().started, 4);
    program.interrupt();
}

#[test]
fn connections_during_a_long_loss_are_carried_when_it_is_over() {
    let loopback = loopback();
    let mut program = Program::forward(&loopback, &["-L", &format!("0:{}", echo())]);
    let [port] = program.ports();
    let mut old = connect(port);
    ping(&mut old, "before");
    loopback.fail_resumes(2);
    loopback.cut();
    program.event("lost");
    let mut new = connect(port);
    ping(&mut new, "new");
    ping(&mut old, "old");
    program.event("reconnect");
    assert_eq!(loopback.stats().started, 1);
    program.interrupt();
}

#[test]
fn a_session_that_timed_out_while_the_connection_was_lost_is_followed_by_another() {
    let loopback = loopback_with(Options {
        idle_timeout: Duration::ZERO,
        ..Options::default()
    });
    let mut program = Program::forward(&loopback, &["-L", &format!("0:{}", echo())]);
    let [port] = program.ports();
    let mut before = connect(port);
    ping(&mut before, "before");
    loopback.cut();
    program.event("over");
    assert!(is_reset(&mut before));
    ping(&mut connect(port), "after");
    program.interrupt();
}

#[test]
fn start_session_starts_another_too_and_says_so() {
    let loopback = loopback();
    let parameters = format!("portNumber={},localPortNumber=0", echo());
    let arguments = [
        "--document-name",
        "AWS-StartPortForwardingSession",
        "--parameters",
        &parameters,
    ];
    let mut command = start_session(&loopback, &arguments);
    command.stdin(Stdio::null());
    let mut program = Program::start(command);
    let line = program.says("Waiting for connections...");
    let port = line
        .strip_prefix("ssmx: Port ")
        .and_then(|rest| rest.split(' ').next());
    let port: u16 = port.and_then(|port| port.parse().ok()).expect(&line);
    let mut before = connect(port);
    ping(&mut before, "before");
    program.says("Connection accepted for session ");
    loopback.end_sessions("");
    program.says("the session is over: ");
    assert!(is_reset(&mut before));
    ping(&mut connect(port), "after");
    program.says("opened again for sessionId ");
    let done = program.interrupt();
    assert_eq!(done.text(), "");
    let mut command = start_session(&loopback, &arguments);
    command.arg("--no-restart").stdin(Stdio::null());
    let mut program = Program::start(command);
    program.says("Waiting for connections...");
    loopback.end_sessions("");
    assert_eq!(program.finish().code(), Some(0));
}

#[test]
fn a_command_outlives_a_session() {
    let loopback = loopback();
    let greeting = serve(|mut stream| {
        let mut word = [0; 1];
        while stream.read_exact(&mut word).is_ok() {}
    });
    let mut program = Program::start(forward(
        &loopback,
        &[
            "--no-restart",
            "-L",
            &format!("0:{greeting}"),
            "--",
            "sh",
            "-c",
            "trap 'exit 5' TERM; echo $SSMX_PORT; while :; do sleep 0.1; done",
        ],
    ));
    let port: u16 = program.line().parse().unwrap();
    loopback.end_sessions("");
    program.says("the session is over: ");
    let closed = || std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err();
    let began = Instant::now();
    while !closed() {
        assert!(began.elapsed() < DEADLINE, "the port stays open");
        std::thread::yield_now();
    }
    program.signal("-TERM");
    assert_eq!(program.finish().code(), Some(5));
}

#[test]
fn a_session_that_ends_while_an_end_is_to_be_confirmed_is_followed_by_another() {
    let loopback = loopback();
    // Nobody reads, so the agent waits and acknowledges nothing more. The first connection is sent
    // something all the time, the second is left alone if the agent ever connects it.
    let phase = Arc::new(AtomicUsize::new(0));
    let at_server = Arc::clone(&phase);
    let server = serve(move |mut stream| match at_server.load(Ordering::SeqCst) {
        0 => while stream.write_all(&[7; 1024]).is_ok() {},
        1 => std::mem::forget(stream),
        _ => stream.write_all(b"after").unwrap(),
    });
    let mut program = Program::forward(&loopback, &["-L", &format!("0:{server}")]);
    let [port] = program.ports();
    let full = connect(port);
    let mut reader = full.try_clone().unwrap();
    std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
    full.set_write_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    while (&full).write(&[0; 64 * 1024]).is_ok() {}
    // One that has sent all, and would have its end confirmed after some silence.
    phase.store(1, Ordering::SeqCst);
    let half = connect(port);
    half.shutdown(Shutdown::Write).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    loopback.end_sessions("");
    program.event("over");
    phase.store(2, Ordering::SeqCst);
    let mut after = String::new();
    connect(port).read_to_string(&mut after).unwrap();
    assert_eq!(after, "after");
    program.interrupt();
}
