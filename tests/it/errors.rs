//! Bad input of every kind: a line or two on stderr, nothing on stdout, the right exit status.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;

use serde_json::json;
use ssmx::loopback::{Injection, Loopback, Options as Peer};

use crate::network::{Manner, Proxy};
use crate::plugin::{Plugin, VARIABLE, assert_short};
use crate::support::pty::Terminal;
use crate::support::{DEADLINE, Finished, SSMX, clean, command, run_without_input, start_session};

fn loopback() -> Loopback {
    Loopback::start(Peer {
        paced: false,
        ..Peer::default()
    })
    .expect("loopback starts")
}

/// `ssmx start-session` without any settings.
fn bare(arguments: &[&str]) -> Command {
    let mut command = Command::new(SSMX);
    clean(&mut command);
    command
        .args(["start-session", "--target", "i-1"])
        .args(arguments);
    command
}

/// Runs `command`, which has to fail with `status` and say all of `words`.
#[track_caller]
fn fails(command: Command, status: i32, words: &[&str]) -> Finished {
    let done = run_without_input(command);
    assert_eq!(
        (done.text().as_str(), done.code()),
        ("", Some(status)),
        "{}",
        done.stderr
    );
    assert_short(&done.stderr);
    for word in words {
        assert!(
            done.stderr.contains(word),
            "{word:?} is missing: {}",
            done.stderr
        );
    }
    for word in ["panicked", "backtrace", "os error", "Some(", "Error {"] {
        assert!(!done.stderr.contains(word), "{}", done.stderr);
    }
    done
}

#[test]
fn arguments_that_make_no_sense() {
    let cases: [(&[&str], &[&str]); 11] = [
        (&["--tarket", "i-2"], &["--tarket", "--target", "--help"]),
        (&["extra"], &["extra", "start-session --help"]),
        (&["--escape-char", "ab"], &["--escape-char", "ab", "none"]),
        (&["--handshake-timeout", "0"], &["--handshake-timeout"]),
        (&["--keepalive", "soon"], &["--keepalive", "soon"]),
        (&["--cli-input-json", "{"], &["--cli-input-json", "JSON"]),
        (&["--cli-input-json", "[]"], &["--cli-input-json", "object"]),
        (
            &["--cli-input-json", "{\"Tarket\":\"i\"}"],
            &["Tarket", "Target, DocumentName"],
        ),
        (
            &["--cli-input-json", "file:///no/such/file"],
            &["file:///no/such/file"],
        ),
        (&["--parameters", "{\"command\":"], &["--parameters"]),
        (&["--parameters", "command"], &["--parameters", "command"]),
    ];
    for (arguments, words) in cases {
        fails(bare(arguments), 252, words);
    }
    let mut command = Command::new(SSMX);
    command.arg("start-sesion");
    fails(command, 252, &["start-sesion", "start-session"]);
    let mut command = Command::new(SSMX);
    command.arg("start-session");
    fails(command, 252, &["--target"]);
}

#[test]
fn settings_that_are_missing_or_cannot_be_used() {
    fails(bare(&[]), 253, &["no region", "--region", "AWS_REGION"]);
    fails(bare(&["--region", "Mars/1"]), 253, &["Mars/1", "us-east-1"]);
    fails(
        bare(&["--region", "us-east-1"]),
        253,
        &["no AWS credentials", "aws configure"],
    );
    fails(
        bare(&["--region", "us-east-1", "--profile", "nobody"]),
        253,
        &["nobody"],
    );
    fails(
        bare(&["--region", "us-east-1", "--endpoint-url", "ssm.local"]),
        253,
        &["ssm.local", "https://"],
    );

    let directory = tempfile::tempdir().unwrap();
    let broken = directory.path().join("config");
    std::fs::write(&broken, "[default\nregion = us-east-1\n").unwrap();
    let mut command = bare(&[]);
    command.env("AWS_CONFIG_FILE", &broken);
    fails(
        command,
        253,
        &["cannot read the AWS profiles", "AWS_CONFIG_FILE"],
    );
}

#[test]
fn a_ca_bundle_that_cannot_be_used() {
    let directory = tempfile::tempdir().unwrap();
    let empty = directory.path().join("empty.pem");
    std::fs::write(&empty, "nothing\n").unwrap();
    for path in [empty.to_str().unwrap(), "/no/such/bundle.pem"] {
        let mut command = bare(&[
            "--region",
            "us-east-1",
            "--endpoint-url",
            "https://127.0.0.1:1",
        ]);
        command.env("AWS_CA_BUNDLE", path);
        command
            .env("AWS_ACCESS_KEY_ID", "AKIA")
            .env("AWS_SECRET_ACCESS_KEY", "secret");
        fails(command, 253, &[path, "AWS_CA_BUNDLE"]);
    }
}

#[test]
fn the_service_says_no() {
    let loopback = loopback();
    let start = |arguments: &[&str]| start_session(&loopback, arguments);
    fails(
        start(&["--document-name", "Nope"]),
        254,
        &["Nope", "InvalidDocument", "--document-name"],
    );
    fails(
        start(&["--document-name", "AWS-StartInteractiveCommand"]),
        254,
        &["InvalidParameters", "--parameters"],
    );
    let offline = loopback.offline_target();
    fails(
        start(&["--target", offline]),
        254,
        &[offline, "TargetNotConnected", "SSM Agent"],
    );
    loopback.script(
        "StartSession",
        400,
        r#"{"__type":"AccessDeniedException","message":"User: x is not authorized to perform: ssm:StartSession"}"#,
    );
    fails(
        start(&[]),
        254,
        &["AccessDeniedException", "ssm:StartSession"],
    );
    loopback.expire_token(true);
    fails(
        start(&[]),
        254,
        &["ExpiredToken", "renew AWS_ACCESS_KEY_ID"],
    );
    assert_eq!(loopback.stats().started, 0);
}

#[test]
fn wrong_keys_are_named() {
    let loopback = loopback();
    let mut command = start_session(&loopback, &[]);
    command.env("AWS_ACCESS_KEY_ID", "AKIAWRONG");
    fails(
        command,
        254,
        &[
            "UnrecognizedClientException",
            "does not know these credentials",
        ],
    );
    let mut command = start_session(&loopback, &[]);
    command.env("AWS_SECRET_ACCESS_KEY", "verysecret");
    let done = fails(command, 254, &["InvalidSignatureException", "secret key"]);
    assert!(!done.stderr.contains("verysecret"));
}

#[test]
fn throttling_is_retried_and_then_told() {
    let loopback = loopback();
    loopback.throttle(3);
    fails(
        start_session(&loopback, &[]),
        254,
        &["ThrottlingException", "retried"],
    );
    assert_eq!(loopback.stats().api_calls, 3);
    loopback.throttle(1);
    let command = [
        "--document-name",
        "AWS-StartNonInteractiveCommand",
        "--parameters",
        "command=echo",
    ];
    let done = run_without_input(start_session(&loopback, &command));
    assert_eq!((done.stderr.as_str(), done.code()), ("", Some(0)));
}

#[test]
fn an_endpoint_out_of_reach_or_of_another_kind() {
    let loopback = loopback();
    let at = |url: &str| {
        let mut command = start_session(&loopback, &["--endpoint-url", url]);
        command.env("AWS_MAX_ATTEMPTS", "1");
        command
    };
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let words = [&*closed.to_string(), "refused", "endpoint"];
    fails(at(&format!("http://{closed}")), 255, &words);
    fails(
        at("http://no-such-host.invalid"),
        255,
        &["no-such-host.invalid", "resolve"],
    );
    // TLS where there is none.
    let url = loopback.endpoint_url().replace("http:", "https:");
    fails(at(&url), 255, &["TLS", "http://"]);

    let plain = || at(loopback.endpoint_url());
    for status in [500, 503, 403, 404] {
        loopback.script("StartSession", status, "<html><h1>No</h1></html>");
        fails(plain(), 255, &[&status.to_string(), "--endpoint-url"]);
    }
    loopback.script("StartSession", 200, "<html><h1>Welcome</h1></html>");
    fails(plain(), 255, &["answer", "AWS_ENDPOINT_URL_SSM"]);

    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    thread::spawn(move || silent.incoming().for_each(drop));
    fails(
        at(&format!("http://{address}")),
        255,
        &["broke", "endpoint"],
    );
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = at(&format!("http://{}", mute.local_addr().unwrap()));
    command.args(["--cli-read-timeout", "1", "--cli-connect-timeout", "1"]);
    fails(command, 255, &["answer", "1 s"]);
}

#[test]
fn answers_to_start_session_that_lack_something() {
    let loopback = loopback();
    let good =
        json!({ "SessionId": "s-1", "TokenValue": "t0ken", "StreamUrl": "ws://127.0.0.1:1/" });
    for missing in ["SessionId", "TokenValue", "StreamUrl"] {
        let mut answer = good.clone();
        answer.as_object_mut().unwrap().remove(missing);
        loopback.script("StartSession", 200, &answer.to_string());
        let done = fails(
            start_session(&loopback, &[]),
            255,
            &[missing, "AWS_ENDPOINT_URL_SSM"],
        );
        assert!(!done.stderr.contains("t0ken"), "{done:?}");
    }
    for answer in [
        "{}",
        "",
        "[]",
        "null",
        "t0ken",
        "{\"SessionId\":1}",
        "{\"TokenValue\":\"t0ken\"",
    ] {
        loopback.script("StartSession", 200, answer);
        let done = fails(start_session(&loopback, &[]), 255, &["answer"]);
        assert!(!done.stderr.contains("t0ken"), "{answer}: {done:?}");
    }
}

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
