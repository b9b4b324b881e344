//! Sessions that cannot be opened, or fail in the middle.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;

use serde_json::json;
use ssmx::loopback::{Injection, Loopback, Options as Peer};

use super::{fails, loopback};
use crate::network::{Manner, Proxy};
use crate::plugin::{Plugin, VARIABLE, assert_short};
use crate::support::pty::Terminal;
use crate::support::{DEADLINE, SSMX, clean, command, run_without_input, start_session};

#[test]
fn a_refused_upgrade_names_the_missing_permission() {
    let loopback = loopback();
    loopback.forbid_upgrades(true);
    fails(
        start_session(&loopback, &[]),
        255,
        &["403", "ssmmessages:OpenDataChannel"],
    );
    assert_eq!(loopback.stats().terminated, 1);
}

#[test]
fn an_agent_that_never_answers_is_given_up() {
    let loopback = Loopback::start(Peer {
        silent_agent: true,
        ..Peer::default()
    })
    .unwrap();
    let command = start_session(&loopback, &["--handshake-timeout", "1"]);
    fails(command, 255, &["agent", "1 s", "--handshake-timeout"]);
    assert_eq!(loopback.stats().terminated, 1);
}

#[test]
fn a_gateway_that_closes_at_once_is_given_up() {
    let loopback = loopback();
    loopback.close_on_open(Some((1008, "Go away")));
    fails(
        start_session(&loopback, &[]),
        255,
        &["1008: Go away", "proxy"],
    );
    assert_eq!(loopback.stats().terminated, 1);
}

#[test]
fn a_gateway_that_drops_everybody_is_given_up() {
    let loopback = loopback();
    loopback.refuse_upgrades(100);
    fails(start_session(&loopback, &[]), 255, &["127.0.0.1", "proxy"]);
    assert_eq!(loopback.stats().terminated, 1);
}

/// The token stays here: the proxy sees a call to AWS at most, for the end of the session.
#[test]
fn a_foreign_stream_url_is_refused_before_the_token_is_sent() {
    let proxy = Proxy::start(Manner::Unreachable);
    let plugin = Plugin::install();
    let response =
        |url: &str| json!({ "SessionId": "s-1", "TokenValue": "t0ken", "StreamUrl": url });
    for url in [
        "wss://gateway.example.com/v1/data-channel/s-1",
        "wss://ssmmessages.us-east-1.amazonaws.com.example.com/v1/data-channel/s-1",
        "ws://ssmmessages.us-east-1.amazonaws.com/v1/data-channel/s-1",
        "https://ssmmessages.us-east-1.amazonaws.com/v1/data-channel/s-1",
        "wss://user@ssmmessages.us-east-1.amazonaws.com/v1/data-channel/s-1",
        "/v1/data-channel/s-1",
    ] {
        for endpoint in ["https://ssm.us-east-1.amazonaws.com", ""] {
            let mut command = Command::new(plugin.path());
            clean(&mut command);
            command.envs([("HTTPS_PROXY", proxy.url()), ("HTTP_PROXY", proxy.url())]);
            command
                .env("AWS_ACCESS_KEY_ID", "AKIA")
                .env("AWS_SECRET_ACCESS_KEY", "secret");
            command.env(VARIABLE, response(url).to_string());
            command.args([
                VARIABLE,
                "us-east-1",
                "StartSession",
                "",
                "{\"Target\":\"i-1\"}",
                endpoint,
            ]);
            let done = run_without_input(command);
            assert_eq!(done.code(), Some(255), "{url}: {done:?}");
            assert_eq!(done.text(), "\nStarting session with SessionId: s-1\n");
            assert_short(&done.stderr);
            assert!(
                done.stderr.contains("refused the StreamUrl"),
                "{url}: {done:?}"
            );
            assert!(!done.stderr.contains("t0ken"), "{url}: {done:?}");
        }
    }
    for seen in proxy.seen() {
        assert_eq!(seen.target, "ssm.us-east-1.amazonaws.com:443");
    }
}

/// A terminal is as it was, also after a failure in the middle.
#[test]
fn a_failure_restores_the_terminal() {
    let loopback = loopback();
    let directory = tempfile::tempdir().unwrap();
    let target = loopback.target();
    let mut shell = command("/bin/sh", &loopback);
    shell.arg("-c").arg(format!(
        "cd {}; stty -g > before; {SSMX} start-session --target {target}; echo status $?; \
         stty -g > after; cmp before after && echo modes same",
        directory.path().display()
    ));
    let mut terminal = Terminal::spawn(&shell);
    terminal.type_in(b"PS1='re''mote> '\r");
    terminal.wait_for("remote> ");
    loopback.deny_resume(true);
    loopback.cut();
    terminal.wait_for("modes same");
    let screen = terminal.screen();
    assert!(screen.contains("status 254"), "{screen}");
    assert!(
        screen.contains("ssmx: error: ") && screen.contains("ssm:ResumeSession"),
        "{screen}"
    );
    terminal.finish();
}

#[test]
fn malformed_messages_are_dropped_and_shown_under_debug() {
    let loopback = loopback();
    let mut command = start_session(&loopback, &["--debug"]);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let (sender, lines) = mpsc::channel();
    let stderr = BufReader::new(child.stderr.take().unwrap());
    thread::spawn(move || {
        stderr
            .lines()
            .map_while(Result::ok)
            .try_for_each(|line| sender.send(line))
    });
    assert!(loopback.wait_for(|stats| stats.messages_to_client > 0, DEADLINE));
    loopback.inject(&Injection::Binary(bytes::Bytes::from_static(&[7; 50])));
    loopback.inject(&Injection::Text("noise".into()));
    let mut dropped = 0;
    while dropped < 2 {
        let line = lines.recv_timeout(DEADLINE).expect("a line");
        dropped += usize::from(line.contains("dropped a malformed message"));
    }
    stdin.write_all(b"echo $((40+2)); exit\n").unwrap();
    let mut stdout = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut stdout)
        .unwrap();
    assert!(stdout.contains("42"), "{stdout}");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(
        lines.iter().any(|line| line.contains("malformed: 2")),
        "counted"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn output_that_cannot_be_written_is_one_line() {
    let loopback = loopback();
    let parameters = r#"{"command":["echo out"],"separateOutputStream":["true"]}"#;
    for document in [
        "AWS-StartNonInteractiveCommand",
        "AWS-StartInteractiveCommand",
    ] {
        let mut shell = command("/bin/sh", &loopback);
        shell.args([
            "-c",
            "exec \"$0\" \"$@\" > /dev/full",
            SSMX,
            "start-session",
        ]);
        shell.args(["--target", loopback.target(), "--document-name", document]);
        shell.args(["--parameters", parameters]);
        let done = run_without_input(shell);
        assert_short(&done.stderr);
        assert!(done.stderr.contains("No space left on device"), "{done:?}");
        assert_eq!(done.code(), Some(255), "{done:?}");
    }
}

#[test]
fn a_command_that_does_not_start_fails() {
    let loopback = loopback();
    let missing = r#"{"command":["/nonexistent x"]}"#;
    let apart = r#"{"command":["/nonexistent x"],"separateOutputStream":["true"]}"#;
    let unclosed = r#"{"command":["'x"]}"#;
    let agent = "fork/exec /nonexistent: no such file or directory";
    let did_not_start = "ssmx: error: the command did not start, or was cancelled";
    let cases = [
        (missing, 255, format!("{agent}\n{did_not_start}")),
        (apart, 1, agent.to_owned()),
        (
            unclosed,
            255,
            "\nssmx: error: the session ended: Unable to start command: Failed to parse".to_owned(),
        ),
    ];
    for (parameters, status, text) in cases {
        let mut ssmx = command(SSMX, &loopback);
        ssmx.args(["start-session", "--target", loopback.target()]);
        ssmx.args(["--document-name", "AWS-StartNonInteractiveCommand"]);
        ssmx.args(["--parameters", parameters]);
        let done = run_without_input(ssmx);
        assert_eq!(done.code(), Some(status), "{done:?}");
        assert!(done.stderr.contains(&text), "{done:?}");
        assert_eq!(done.text(), "");
    }
}
