//! Bad input of every kind: a line or two on stderr, nothing on stdout, the right exit status.

mod sessions;

use std::net::TcpListener;
use std::process::Command;
use std::thread;

use serde_json::json;
use ssmx::loopback::{Loopback, Options as Peer};

use crate::plugin::assert_short;
use crate::support::{Finished, SSMX, clean, run_without_input, start_session};

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
fn ports_that_make_no_sense() {
    let forward = "AWS-StartPortForwardingSession";
    let cases: [(&str, &[&str], &[&str]); 7] = [
        (forward, &[], &["portNumber", "portNumber=80"]),
        (forward, &["portNumber="], &["portNumber"]),
        (forward, &["portNumber=99999"], &["99999", "65535"]),
        (
            forward,
            &["portNumber=80,localPortNumber=http"],
            &["localPortNumber", "http", "65535"],
        ),
        (
            "AWS-StartPortForwardingSessionToRemoteHost",
            &["portNumber=80"],
            &["needs the parameter host", "host="],
        ),
        ("AWS-StartSSHSession", &["portNumber=0"], &["portNumber"]),
        ("Mine", &["localPortNumber=70000"], &["70000"]),
    ];
    for (document, parameters, words) in cases {
        let mut command = bare(&["--document-name", document]);
        if !parameters.is_empty() {
            command.arg("--parameters").args(parameters);
        }
        fails(command, 252, words);
    }
    for size in ["0", "32769", "many"] {
        fails(bare(&["--payload-size", size]), 252, &["--payload-size"]);
    }
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
