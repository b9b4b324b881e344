//! What must stay secret stays so, however much is told on stderr.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::json;
use ssmx::aws::SessionGrant;
use ssmx::loopback::{Loopback, Options as Peer};

use crate::plugin::{Plugin, VARIABLE, grant, response};
use crate::support::{DEADLINE, Finished, command, run, run_without_input, spawn, start_session};

/// Typed as the first, shown as the second; neither is on the command line.
const TYPED: &str = "echo sh''own-$((40+2))-marker";
const SHOWN: &str = "shown-42-marker";

/// All the ways to be talkative.
const LOUD: [(&str, &[&str]); 3] = [("", &["--debug"]), ("trace", &[]), ("trace", &["--debug"])];

fn loopback(kms: bool) -> Loopback {
    Loopback::start(Peer {
        paced: false,
        kms,
        ..Peer::default()
    })
    .expect("loopback starts")
}

/// Makes the loopback's next answer to StartSession one whose token is known here.
fn known(loopback: &Loopback, document: Option<&str>, command: Option<&str>) -> SessionGrant {
    let grant = grant(loopback, document, command);
    loopback.script("StartSession", 200, &response(&grant).to_string());
    grant
}

fn loud(mut command: Command, (log, arguments): (&str, &[&str])) -> Command {
    command.env("SSMX_LOG", log).args(arguments);
    command
}

/// The shape in which `secret` is in `text`, of those that a log might give it.
fn found(text: &str, secret: &[u8]) -> Option<String> {
    // The first bytes do: whoever has half a secret has too much.
    let part = &secret[..secret.len().min(15)];
    let list: Vec<String> = part.iter().map(u8::to_string).collect();
    let shapes = [
        String::from_utf8_lossy(part).into_owned(),
        BASE64.encode(&part[..part.len() / 3 * 3]),
        part.iter().map(|byte| format!("{byte:02x}")).collect(),
        part.iter().map(|byte| format!("{byte:02X}")).collect(),
        list.join(", "),
        part.escape_ascii().to_string(),
    ];
    shapes
        .into_iter()
        .find(|shape| text.contains(shape.as_str()))
}

#[track_caller]
fn assert_hidden(text: &str, what: &str, secret: &[u8]) {
    if let Some(shape) = found(text, secret) {
        panic!("{what} as {shape:?} in:\n{text}");
    }
}

#[test]
fn secrets_would_be_found() {
    let secret = b"a secret\x01 of some 'length'";
    let bytes = bytes::Bytes::from_static(secret);
    let text = String::from_utf8_lossy(secret).into_owned();
    for shown in [
        text.clone(),
        format!("{bytes:?}"),
        format!("{:?}", &bytes[..]),
        format!("{bytes:x}"),
        format!("{bytes:X}"),
        BASE64.encode(secret),
    ] {
        assert!(
            found(&format!("before {shown} after"), secret).is_some(),
            "{shown}"
        );
    }
    assert_eq!(found("a secre t", secret), None);
}

/// Much was told, but no secret.
#[track_caller]
fn assert_discreet(done: &Finished, loopback: &Loopback, grant: &SessionGrant) {
    assert!(
        done.stderr.contains("ssmx::"),
        "this is not loud: {}",
        done.stderr
    );
    assert_hidden(&done.stderr, "the token", grant.token.reveal().as_bytes());
    assert_hidden(
        &done.stderr,
        "the secret key",
        loopback.secret_access_key().as_bytes(),
    );
    assert_hidden(&done.stderr, "the input", TYPED.as_bytes());
    assert_hidden(&done.stderr, "the output", SHOWN.as_bytes());
}

#[test]
fn a_session_tells_no_secret() {
    for kms in [false, true] {
        let loopback = loopback(kms);
        for how in LOUD {
            let grant = known(&loopback, None, None);
            let command = loud(start_session(&loopback, &[]), how);
            let done = run(command, format!("{TYPED}\n").as_bytes());
            assert!(done.text().contains(SHOWN), "{done:?}");
            assert_eq!(done.code(), Some(0), "{done:?}");
            assert_discreet(&done, &loopback, &grant);
        }
    }
}

#[test]
fn streams_and_status_of_a_command_are_no_news_either() {
    let loopback = loopback(true);
    let script = format!(
        "sh -c '{}; {} >&2'",
        TYPED.replace("''", ""),
        TYPED.replace("''", "")
    );
    for how in LOUD {
        let grant = known(
            &loopback,
            Some("AWS-StartInteractiveCommand"),
            Some(&script),
        );
        let done = run_without_input(loud(start_session(&loopback, &[]), how));
        assert_eq!(done.text().matches(SHOWN).count(), 2, "{done:?}");
        assert_discreet(&done, &loopback, &grant);
    }
}

/// The plugin tells nothing unless `SSMX_LOG` is set.
#[test]
fn the_plugin_tells_no_secret() {
    let (plugin, loopback) = (Plugin::install(), loopback(true));
    for in_variable in [true, false] {
        let grant = grant(&loopback, None, None);
        let text = response(&grant).to_string();
        let mut command = command(plugin.path(), &loopback);
        command.env("SSMX_LOG", "trace").env(VARIABLE, &text);
        let first = if in_variable { VARIABLE } else { &text };
        command.args([first, loopback.region(), "StartSession", ""]);
        command.arg(json!({ "Target": loopback.target() }).to_string());
        command.arg(loopback.endpoint_url());
        let done = run(command, format!("{TYPED}\n").as_bytes());
        assert!(done.text().contains(SHOWN), "{done:?}");
        assert_discreet(&done, &loopback, &grant);
    }
}

#[test]
fn a_lost_connection_tells_neither_token() {
    let loopback = loopback(false);
    let grant = known(&loopback, None, None);
    let mut command = loud(start_session(&loopback, &[]), LOUD[2]);
    command.stdin(Stdio::piped());
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    assert!(loopback.wait_for(|stats| stats.messages_to_client > 0, DEADLINE));
    // The next token is a wrong one, and known here; the one after it is right again.
    let wrong = "wr0ng-t0ken-0123456789abcdef";
    let answer = json!({
        "SessionId": grant.session_id,
        "TokenValue": wrong,
        "StreamUrl": grant.stream_url,
    });
    loopback.script("ResumeSession", 200, &answer.to_string());
    loopback.cut();
    assert!(loopback.wait_for(
        |stats| stats.bad_tokens == 1 && stats.resumes == 1,
        DEADLINE
    ));
    stdin
        .write_all(format!("{TYPED}; exit\n").as_bytes())
        .unwrap();
    let mut stderr = String::new();
    let errors = child.stderr.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut errors = errors;
        errors.read_to_string(&mut stderr).map(|_| stderr)
    });
    let mut stdout = Vec::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_end(&mut stdout)
        .unwrap();
    let done = Finished {
        stdout,
        stderr: reader.join().unwrap().unwrap(),
        status: child.wait().unwrap(),
    };
    assert!(done.text().contains(SHOWN), "{done:?}");
    assert_discreet(&done, &loopback, &grant);
    assert_hidden(&done.stderr, "the new token", wrong.as_bytes());
}

/// Failures quote what they were given only as far as it is no secret.
#[test]
fn failures_tell_no_secret() {
    let loopback = loopback(false);
    let fail = |prepare: &dyn Fn(&SessionGrant)| {
        let grant = grant(&loopback, None, None);
        prepare(&grant);
        let mut command = loud(start_session(&loopback, &[]), LOUD[2]);
        command.env("AWS_MAX_ATTEMPTS", "1");
        let done = run_without_input(command);
        assert_ne!(done.code(), Some(0), "{done:?}");
        assert_discreet(&done, &loopback, &grant);
    };
    let answer = |text: String| loopback.script("StartSession", 200, &text);
    // Half an answer, an answer without its URL, one with a token of another type.
    fail(&|grant| {
        let text = response(grant).to_string();
        answer(text[..text.len() - 4].to_owned());
    });
    fail(&|grant| {
        answer(json!({ "SessionId": "s", "TokenValue": grant.token.reveal() }).to_string())
    });
    fail(&|grant| {
        let token = [grant.token.reveal()];
        answer(
            json!({ "SessionId": "s", "TokenValue": token, "StreamUrl": "ws://h/" }).to_string(),
        );
    });
    // A gateway that is not there, nor a gateway, nor willing.
    let closed = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .unwrap();
    fail(&|grant| {
        let mut response = response(grant);
        response["StreamUrl"] = format!("ws://{closed}/v1?token={}", grant.token.reveal()).into();
        answer(response.to_string());
    });
    fail(&|grant| {
        let mut response = response(grant);
        response["StreamUrl"] = format!("http://{}/{}", closed, grant.token.reveal()).into();
        answer(response.to_string());
    });
    loopback.forbid_upgrades(true);
    fail(&|grant| answer(response(grant).to_string()));
}

#[test]
fn a_data_key_is_told_to_nobody() {
    let loopback = loopback(true);
    let key: Vec<u8> = (0..64).map(|n| b'A' + n % 23).collect();
    for how in LOUD {
        let grant = known(&loopback, None, None);
        // The agent cannot decrypt this one, and says so.
        let answer = json!({
            "CiphertextBlob": BASE64.encode([7; 100]),
            "Plaintext": BASE64.encode(&key),
            "KeyId": "k",
        });
        loopback.script("GenerateDataKey", 200, &answer.to_string());
        let done = run_without_input(loud(start_session(&loopback, &[]), how));
        assert_ne!(done.code(), Some(0), "{done:?}");
        assert!(done.stderr.contains("ssmx: error: "), "{done:?}");
        assert_discreet(&done, &loopback, &grant);
        assert_hidden(&done.stderr, "the data key", &key);
        assert_hidden(&done.stderr, "the other half of it", &key[32..]);
    }
}

/// With temporary credentials there is one secret more, and a program that makes them.
#[test]
fn credentials_of_a_process_stay_with_it() {
    let loopback = loopback(false);
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let temporary = "temp0rary-session-t0ken-0123456789";
    let credentials = json!({
        "Version": 1,
        "AccessKeyId": loopback.access_key_id(),
        "SecretAccessKey": loopback.secret_access_key(),
        "SessionToken": temporary,
    });
    let seen = path("seen");
    let script = format!(
        "{{ env; echo \"$0 $*\"; }} >> {}\ncat {}\n",
        seen.display(),
        path("keys").display()
    );
    fs::write(path("script"), script).unwrap();
    fs::write(path("keys"), credentials.to_string()).unwrap();
    let process = format!("/bin/sh {} argument", path("script").display());
    fs::write(
        path("config"),
        format!("[profile p]\ncredential_process = {process}\n"),
    )
    .unwrap();
    for how in LOUD {
        let grant = known(&loopback, None, None);
        let mut command = loud(start_session(&loopback, &["--profile", "p"]), how);
        command.env("AWS_CONFIG_FILE", path("config"));
        let done = run(command, format!("{TYPED}\n").as_bytes());
        assert!(done.text().contains(SHOWN), "{done:?}");
        assert_discreet(&done, &loopback, &grant);
        assert_hidden(&done.stderr, "the session token", temporary.as_bytes());
        let seen = fs::read_to_string(&seen).unwrap();
        assert!(seen.contains("argument"), "{seen}");
        assert_hidden(&seen, "the token", grant.token.reveal().as_bytes());
    }
    // One that fails may have said anything.
    fs::write(
        path("script"),
        format!("echo {temporary} >&2; echo {temporary}; exit 1\n"),
    )
    .unwrap();
    for how in LOUD {
        let mut command = loud(start_session(&loopback, &["--profile", "p"]), how);
        command.env("AWS_CONFIG_FILE", path("config"));
        let done = run_without_input(command);
        assert_eq!(done.code(), Some(253), "{done:?}");
        assert!(!done.text().contains(temporary));
    }
}

/// Nothing is told unless it is asked for.
#[test]
fn quiet_is_quiet() {
    let loopback = loopback(true);
    let grant = known(
        &loopback,
        Some("AWS-StartInteractiveCommand"),
        Some("echo out"),
    );
    let mut command = start_session(&loopback, &[]);
    command.stdin(Stdio::null());
    let done = spawn(command).finish();
    assert_eq!(done.text(), "out\r\n");
    // What the service has to say to its customer is no secret.
    assert_eq!(
        done.stderr,
        "ssmx: This session is encrypted using AWS KMS.\n"
    );
    assert_hidden(&done.stderr, "the token", grant.token.reveal().as_bytes());
}
