//! `ssmx forward` while its sessions last.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use ssmx::loopback::Options;
use ssmx::loopback::fault::{Cut, Faults};

use super::program::{
    Program, closed_port, connect, echo, exchange, forward, is_reset, loopback, loopback_with,
    noise, ping, serve,
};
use crate::support::{DEADLINE, kill, run_without_input};

#[test]
fn several_forwards_are_ready_in_one_process_and_end_together() {
    let loopback = loopback();
    let port = echo();
    let specs = [
        format!("0:{port}"),
        format!("0:db.internal:{port}"),
        format!("0:127.0.0.1:{port}"),
    ];
    let mut program = Program::forward(
        &loopback,
        &["-L", &specs[0], "-L", &specs[1], "-L", &specs[2]],
    );
    let ports: [u16; 3] = program.ports();
    for port in ports {
        ping(&mut connect(port), "hello");
    }
    let line = program.says("db.internal");
    let expected = format!(
        "ssmx: 127.0.0.1:{} -> db.internal:{port} ready (session ",
        ports[1]
    );
    assert!(line.starts_with(&expected), "{line}");
    assert_eq!(loopback.stats().started, 3);
    let done = program.interrupt();
    let last = done.text().lines().last().map(str::to_owned);
    assert_eq!(
        last.as_deref(),
        Some(r#"{"event":"exit","status":130,"reason":null}"#)
    );
    assert!(loopback.wait_for(|stats| stats.ended == 3, DEADLINE));
    // By the flag, not by a call each.
    assert_eq!(loopback.stats().terminated, 0);
}

#[test]
fn connections_are_told_to_programs() {
    let loopback = loopback();
    let (open, closed) = (echo(), closed_port());
    let mut program = Program::forward(
        &loopback,
        &["-L", &format!("0:{open}"), "-L", &format!("0:{closed}")],
    );
    let [good, bad] = program.ports();
    let mut stream = connect(good);
    ping(&mut stream, "hello");
    let connect_event = program.event("connect");
    assert_eq!(connect_event["forward"], 1);
    let peer = stream.local_addr().unwrap().to_string();
    assert_eq!(connect_event["peer"], peer.as_str());
    drop(stream);
    let gone = program.event("disconnect");
    assert_eq!(gone["connection"], connect_event["connection"]);
    assert_eq!(gone["how"], "finished");
    assert!(is_reset(&mut connect(bad)));
    assert_eq!(program.event("refused")["forward"], 2);
    assert_eq!(program.event("disconnect")["how"], "refused");
    program.says("the node cannot connect there");
    // The forward goes on.
    assert!(is_reset(&mut connect(bad)));
    program.event("refused");
    loopback.cut();
    assert!(program.event("lost")["reason"].is_string());
    program.event("reconnect");
    program.says("connection lost");
    program.interrupt();
}

#[test]
fn bytes_survive_cuts_closes_and_stalls() {
    let loopback = loopback_with(Options {
        faults: Faults {
            cuts: vec![Cut::AfterBytes(300_000), Cut::AfterMessages(500)],
            ..Faults::default()
        },
        // Real agents repeat one lost message every 100 ms, which takes its time.
        resend_tick: Duration::from_millis(2),
        ..Options::default()
    });
    let mut program = Program::forward(
        &loopback,
        &["-L", &format!("0:{}", echo()), "--keepalive", "1"],
    );
    let [port] = program.ports();
    let exchanges: Vec<_> = (0..6)
        .map(|seed| thread::spawn(move || exchange(connect(port), seed, 400_000)))
        .collect();
    // Two cuts by the amount of data, then whatever a network can do, one after the other.
    for fault in 0..3 {
        assert!(loopback.wait_for(
            |stats| stats.connections > 2 && stats.attached == 1,
            DEADLINE
        ));
        let before = loopback.stats().connections;
        match fault {
            0 => loopback.cut(),
            1 => loopback.close(1000, "Bye"),
            _ => loopback.stall(),
        }
        assert!(loopback.wait_for(|stats| stats.connections > before, DEADLINE));
    }
    for exchange in exchanges {
        assert!(exchange.join().unwrap());
    }
    assert_eq!(loopback.stats().started, 1);
    program.interrupt();
}

#[test]
fn half_closed_connections_get_their_answers() {
    let loopback = loopback();
    let server = serve(|mut stream| {
        let mut request = Vec::new();
        if stream.read_to_end(&mut request).is_ok() {
            let _ = stream.write_all(b"never heard: agents close both ways");
        }
    });
    let slow = serve(|mut stream| {
        let mut request = [0; 7];
        if stream.read_exact(&mut request).is_ok() {
            thread::sleep(Duration::from_millis(300));
            let _ = stream.write_all(&noise(1, 50_000));
        }
    });
    let mut program = Program::forward(
        &loopback,
        &["-L", &format!("0:{slow}"), "-L", &format!("0:{server}")],
    );
    let [slow, server] = program.ports();
    let mut stream = connect(slow);
    stream.write_all(b"request").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, noise(1, 50_000));
    // Who waits for the end of the request gets it in the end.
    let mut stream = connect(server);
    stream.write_all(b"request").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    program.interrupt();
}

#[test]
fn a_reader_that_does_not_read_is_its_own_problem() {
    let loopback = loopback();
    let flood = serve(|mut stream| {
        let piece = vec![b'x'; 64 * 1024];
        while stream.write_all(&piece).is_ok() {}
    });
    let spec = format!("0:{flood}");
    let other = format!("0:{}", echo());
    let mut program = Program::forward(
        &loopback,
        &["-L", &spec, "-L", &other, "--slow-reader-timeout", "1"],
    );
    let [flooded, free] = program.ports();
    let mut slow = connect(flooded);
    program.event("connect");
    // Other sessions are not concerned at all.
    ping(&mut connect(free), "hello");
    // Others of the session wait for a while, then it goes.
    let mut reading = connect(flooded);
    let mut piece = vec![0; 1024 * 1024];
    let mut sum = 0;
    while sum < 8 * 1024 * 1024 {
        sum += reading
            .read(&mut piece)
            .expect("it is not held up for long");
    }
    program.says("it read nothing while others waited");
    drop(reading);
    assert!(is_reset(&mut slow));
    program.interrupt();
}

#[test]
fn a_lazy_forward_has_no_session_before_somebody_connects() {
    let loopback = loopback();
    let mut program = Program::forward(&loopback, &["--lazy", "-L", &format!("0:{}", echo())]);
    let ready = program.event("ready");
    assert!(ready["session_id"].is_null());
    assert_eq!(loopback.stats().started, 0);
    let port = u16::try_from(ready["port"].as_u64().unwrap()).unwrap();
    ping(&mut connect(port), "hello");
    assert!(program.event("ready")["session_id"].is_string());
    assert_eq!(loopback.stats().started, 1);
    program.interrupt();
}

#[test]
fn a_start_that_fails_is_told_with_its_status() {
    let loopback = loopback();
    let spec = format!("0:{}", echo());
    let target = loopback.target().to_owned();
    loopback.set_online(&target, false);
    let done = run_without_input(forward(&loopback, &["-L", &spec, "--json"]));
    assert_eq!(done.code(), Some(254), "{done:?}");
    assert!(done.stderr.contains("(TargetNotConnected)"), "{done:?}");
    let exit: serde_json::Value = serde_json::from_str(&done.text()).unwrap();
    assert_eq!(exit["event"], "exit");
    assert_eq!(exit["status"], 254);
    loopback.set_online(&target, true);
    // One of two: the other is taken down again.
    let forbidden = "0:169.254.169.254:80";
    let done = run_without_input(forward(&loopback, &["-L", &spec, "-L", forbidden]));
    assert_eq!(done.code(), Some(255), "{done:?}");
    assert!(done.stderr.contains("169.254.169.254:80: "), "{done:?}");
    assert!(done.stderr.contains("is forbidden"), "{done:?}");
    let all_ended = |stats: &ssmx::loopback::Stats| stats.started == stats.ended;
    assert!(loopback.wait_for(all_ended, DEADLINE));
}

#[test]
fn an_interrupted_start_leaves_no_session_behind() {
    let loopback = loopback();
    loopback.hold(Some("StartSession"));
    let program = Program::forward(&loopback, &["-L", &format!("0:{}", echo())]);
    assert!(loopback.wait_for(|stats| stats.started == 1, DEADLINE));
    program.signal("-TERM");
    loopback.hold(None);
    let done = program.finish();
    assert_eq!(done.code(), Some(143), "{done:?}");
    assert_eq!(loopback.stats().ended, 1);
}

#[test]
fn a_command_runs_with_its_ports_and_its_end_is_the_end() {
    let loopback = loopback();
    let greeting = serve(|mut stream| {
        let _ = stream.write_all(b"welcome\n");
    });
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("s");
    let specs = [
        format!("0:{greeting}"),
        format!("{}:{greeting}", socket.display()),
        format!("0:db.internal:{greeting}"),
    ];
    let script = "test \"$SSMX_PORT\" = \"$SSMX_PORT_1\" && test -S \"$SSMX_SOCKET_2\" && \
        bash -c 'cat < /dev/tcp/127.0.0.1/$SSMX_PORT_3' && cat && exit 7";
    let mut command = forward(
        &loopback,
        &[
            "-L", &specs[0], "-L", &specs[1], "-L", &specs[2], "--", "sh", "-c", script,
        ],
    );
    command.stdin(std::fs::File::open("/dev/null").unwrap());
    let done = run_without_input(command);
    assert_eq!(done.code(), Some(7), "{done:?}");
    assert_eq!(done.text(), "welcome\n");
    assert!(loopback.wait_for(|stats| stats.ended == 3, DEADLINE));
    assert!(!socket.exists());
    for (command, status) in [
        (&["/nonexistent/command"][..], 127),
        (&["/dev/null"], 126),
        (&["sh", "-c", "kill -9 $$"], 137),
    ] {
        let mut arguments = vec!["-L", &specs[0], "--"];
        arguments.extend(command);
        let done = run_without_input(forward(&loopback, &arguments));
        assert_eq!(done.code(), Some(status), "{done:?}");
    }
}

#[test]
fn a_command_gets_the_signals_that_are_meant_for_the_whole() {
    let loopback = loopback();
    let script = "trap 'echo ended; exit 3' TERM; trap : INT; echo started; \
        while :; do sleep 0.1; done";
    let mut program = Program::start(forward(
        &loopback,
        &["-L", &format!("0:{}", echo()), "--", "sh", "-c", script],
    ));
    assert_eq!(program.line(), "started");
    // From the keyboard it would have this one by itself.
    program.signal("-INT");
    program.signal("-TERM");
    assert_eq!(program.line(), "ended");
    let done = program.finish();
    assert_eq!(done.code(), Some(3), "{done:?}");
    assert!(loopback.wait_for(|stats| stats.ended == 1, DEADLINE));
}

#[test]
fn what_a_command_sent_last_arrives() {
    let loopback = loopback();
    let (sender, received) = std::sync::mpsc::channel();
    let server = serve(move |mut stream| {
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all);
        let _ = sender.send(all.len());
    });
    let script = "head -c 1000000 /dev/zero > /dev/tcp/127.0.0.1/$SSMX_PORT";
    let done = run_without_input(forward(
        &loopback,
        &["-L", &format!("0:{server}"), "--", "bash", "-c", script],
    ));
    assert_eq!(done.code(), Some(0), "{done:?}");
    assert_eq!(received.recv_timeout(DEADLINE), Ok(1_000_000));
}

#[test]
fn events_that_nobody_reads_hold_nothing_up() {
    let loopback = loopback();
    let mut command = forward(&loopback, &["-L", &format!("0:{}", echo()), "--json"]);
    command.stdout(std::process::Stdio::piped());
    command.stderr(std::process::Stdio::null());
    let mut child = command.spawn().unwrap();
    let stdout = child.stdout.take().unwrap();
    let mut first = String::new();
    let mut reader = std::io::BufReader::new(stdout);
    std::io::BufRead::read_line(&mut reader, &mut first).unwrap();
    let ready: serde_json::Value = serde_json::from_str(&first).unwrap();
    let port = u16::try_from(ready["port"].as_u64().unwrap()).unwrap();
    for _ in 0..3000 {
        ping(&mut connect(port), "x");
    }
    kill(child.id(), "-INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
}
