//! The peer itself, by clients that know nothing of ssmx's: raw HTTP, and a bare WebSocket.

mod client;
mod nodes;
mod ports;
mod push_key;

use std::time::Duration;

use serde_json::{Value, json};
use ssmx::loopback::{Injection, Node, Options};
use ssmx::protocol::message::PayloadType;
use tokio_tungstenite::tungstenite::Message;

use client::{
    Client, SOON, Signer, call, error, request, start, start_command, start_shell, try_call,
};

#[test]
fn only_requests_signed_with_this_key_are_answered() {
    let loopback = start(Options::default());
    let input = json!({ "Target": loopback.target() });
    let ask = |signer: Option<&Signer>| {
        request(&loopback, signer, "AmazonSSM.GetConnectionStatus", &input)
    };
    let right = Signer::of(&loopback, "ssm");
    assert_eq!(ask(Some(&right)).1["Status"], "connected");
    assert_eq!(error(ask(None)), "MissingAuthenticationTokenException");
    let wrong = |change: fn(&mut Signer)| {
        let mut signer = right.clone();
        change(&mut signer);
        error(ask(Some(&signer)))
    };
    let secret = wrong(|signer| signer.secret = "other".into());
    assert_eq!(secret, "InvalidSignatureException");
    let key = wrong(|signer| signer.key_id = "AKIAOTHER".into());
    assert_eq!(key, "UnrecognizedClientException");
    for other in [
        wrong(|signer| signer.region = "eu-west-1".into()),
        wrong(|signer| signer.service = "kms"),
        wrong(|signer| signer.time -= Duration::from_secs(3600)),
    ] {
        assert_eq!(other, "InvalidSignatureException");
    }
    assert_eq!(loopback.stats().api_errors, 6);
}

#[test]
fn bad_requests_are_refused_as_by_the_service() {
    let loopback = start(Options::default());
    let refused = |operation, input: Value| error(try_call(&loopback, operation, &input));
    let target = loopback.target();
    let offline = json!({ "Target": loopback.offline_target() });
    assert_eq!(refused("StartSession", offline), "TargetNotConnected");
    assert_eq!(refused("StartSession", json!({})), "ValidationException");
    let document = json!({ "Target": target, "DocumentName": "Nope" });
    assert_eq!(refused("StartSession", document), "InvalidDocument");
    let document = json!({ "Target": target, "DocumentName": "AWS-StartInteractiveCommand" });
    assert_eq!(refused("StartSession", document), "InvalidParameters");
    for operation in ["ResumeSession", "TerminateSession"] {
        let unknown = json!({ "SessionId": "loopback-0" });
        assert_eq!(refused(operation, unknown), "DoesNotExistException");
    }
    assert_eq!(refused("Other", json!({})), "UnknownOperationException");
    loopback.throttle(1);
    assert_eq!(refused("ResumeSession", json!({})), "ThrottlingException");
    loopback.expire_token(true);
    assert_eq!(refused("ResumeSession", json!({})), "ExpiredTokenException");
}

#[test]
fn a_token_opens_once_and_only_its_own_channel() {
    let loopback = start(Options::default());
    let (one, two) = (start_shell(&loopback), start_shell(&loopback));
    let url = one["StreamUrl"].as_str().unwrap();
    assert!(url.contains('+'), "as AWS's have it");
    let altered = url.replace('+', "%2B");
    assert_eq!(Client::upgrade(&altered, &[]).err(), Some(404));
    for wrong in [&two["TokenValue"], &json!("x")] {
        let mut client = Client::upgrade(url, &[]).unwrap();
        client.send_token(wrong.as_str().unwrap());
        assert_eq!(client.run(), "1008");
    }
    // Presented at the wrong door, the second token is spent.
    let mut client = Client::open(&two);
    assert_eq!(client.run(), "1008");
    let mut client = Client::open(&one);
    client.wait_for(" ");
    assert_eq!(loopback.stats().bad_tokens, 3);
}

#[test]
fn an_upgrade_is_verified_if_it_is_signed() {
    let loopback = start(Options::default());
    let grant = start_shell(&loopback);
    let url = grant["StreamUrl"].as_str().unwrap();
    // Where the signer takes a query as it is, a space stands for the plus.
    let signed_as = url.replacen("ws://", "http://", 1).replace('+', "%20");
    let upgrade = |signer: &Signer| {
        let headers = signer.headers("GET", &signed_as, b"");
        Client::upgrade(url, &headers).map(drop)
    };
    let right = Signer::of(&loopback, "ssmmessages");
    assert_eq!(upgrade(&right), Ok(()));
    assert_eq!(upgrade(&Signer::of(&loopback, "ssm")), Err(403));
    let stats = loopback.stats();
    assert_eq!((stats.upgrades_signed, stats.upgrades_refused), (1, 1));
    loopback.forbid_upgrades(true);
    assert_eq!(upgrade(&right), Err(403));
    loopback.forbid_upgrades(false);
    loopback.refuse_upgrades(1);
    assert_eq!(upgrade(&right), Err(0));

    let strict = start(Options {
        require_signature: true,
        ..Options::default()
    });
    let grant = start_shell(&strict);
    let url = grant["StreamUrl"].as_str().unwrap();
    assert_eq!(Client::upgrade(url, &[]).err(), Some(403));
}

#[test]
fn a_session_goes_on_after_cuts_and_ends_when_terminated() {
    let loopback = start(Options::default());
    let grant = start_shell(&loopback);
    let id = json!({ "SessionId": grant["SessionId"] });
    let mut client = Client::open(&grant);
    client.send(PayloadType::OUTPUT, "echo $((40 + 2))\n");
    client.wait_for("42");
    loopback.cut();
    client.run();
    assert!(loopback.wait_for(|stats| stats.lost == 1 && stats.attached == 0, SOON));
    loopback.fail_resumes(1);
    assert_eq!(
        error(try_call(&loopback, "ResumeSession", &id)),
        "InternalServerError"
    );
    let again = call(&loopback, "ResumeSession", &id);
    assert_ne!(again["StreamUrl"], grant["StreamUrl"]);
    let mut resumed = Client {
        expected: client.expected,
        sequence: client.sequence,
        ..Client::open(&again)
    };
    resumed.send(PayloadType::OUTPUT, "echo $((50 + 5))\n");
    resumed.wait_for("55");
    loopback.inject(&Injection::Text("noise".into()));
    while resumed.socket.read().unwrap() != Message::text("noise") {}
    let newest = call(&loopback, "ResumeSession", &id);
    let mut newest = Client {
        expected: resumed.expected,
        ..Client::open(&newest)
    };
    assert_eq!(resumed.run(), "1000", "replaced");
    call(&loopback, "TerminateSession", &id);
    assert_eq!(newest.run(), "");
    drop(newest);
    let over = call(&loopback, "ResumeSession", &id);
    assert_eq!(over.get("TokenValue"), None);
    assert!(loopback.wait_for(|stats| stats.ended == 1 && stats.attached == 0, SOON));
}

#[test]
fn commands_send_their_outputs_apart_or_together() {
    let loopback = start(Options::default());
    let command = "sh -c 'printf \"a\\n\"; printf \"b\\n\" >&2; exit 7'";
    let document = "AWS-StartNonInteractiveCommand";
    let parameters = json!({
        "command": [command],
        "separateOutputStream": ["true"],
        "stdOutSeparatorPrefix": ["out:"],
        "stdErrSeparatorPrefix": ["err:"],
    });
    let mut client = Client::open(&start_command(&loopback, document, &parameters));
    assert_eq!(client.run(), "");
    assert_eq!(client.text(PayloadType::OUTPUT), "out:a\n");
    assert_eq!(client.text(PayloadType::STDERR), "err:b\n");
    assert_eq!(client.text(PayloadType::EXIT_CODE), "EXIT_CODE: 7");

    let parameters = json!({ "command": [command] });
    let mut client = Client::open(&start_command(&loopback, document, &parameters));
    assert_eq!(client.run(), "");
    assert_eq!(client.text(PayloadType::OUTPUT), "a\nb\n");
    assert_eq!(client.output.len(), 1, "at once, and without exit code");

    let missing = "fork/exec /no/such/program: no such file or directory";
    for (apart, status) in [("false", ""), ("true", "EXIT_CODE: 1")] {
        let parameters =
            json!({ "command": ["/no/such/program"], "separateOutputStream": [apart] });
        let mut client = Client::open(&start_command(&loopback, document, &parameters));
        assert_eq!(client.run(), "");
        assert_eq!(client.text(PayloadType::STDERR), missing);
        assert_eq!(client.text(PayloadType::EXIT_CODE), status);
    }
}

#[test]
fn sessions_are_listed_page_by_page() {
    let loopback = start(Options {
        nodes: vec![Node::online("i-1"), Node::online("i-2")],
        ..Options::default()
    });
    for target in ["i-1", "i-2", "i-1"] {
        call(&loopback, "StartSession", &json!({ "Target": target }));
    }
    let mut input = json!({
        "State": "Active",
        "MaxResults": 1,
        "Filters": [{ "key": "Target", "value": "i-1" }],
    });
    let first = call(&loopback, "DescribeSessions", &input);
    assert_eq!(first["Sessions"].as_array().unwrap().len(), 1);
    assert_eq!(first["Sessions"][0]["Status"], "Connecting");
    input["NextToken"] = first["NextToken"].clone();
    let second = call(&loopback, "DescribeSessions", &input);
    assert_ne!(second["Sessions"], first["Sessions"]);
    assert_eq!(second.get("NextToken"), None);
    let history = call(
        &loopback,
        "DescribeSessions",
        &json!({ "State": "History" }),
    );
    assert_eq!(history["Sessions"], json!([]));
}

/// Even one that ignores the hang-up.
#[cfg(unix)]
#[test]
fn no_program_outlives_the_peer() {
    let loopback = start(Options::default());
    let script = "trap '' HUP TERM; echo [$$]; while :; do sleep 100; done";
    let parameters = json!({ "command": [script] });
    let grant = start_command(&loopback, "AWS-StartInteractiveCommand", &parameters);
    let mut client = Client::open(&grant);
    client.wait_for("]");
    let text = client.text(PayloadType::OUTPUT);
    let id = text.split(['[', ']']).nth(1).unwrap().to_owned();
    let lives = || {
        let status = std::process::Command::new("/bin/sh")
            .args(["-c", &format!("kill -0 {id}")])
            .stderr(std::process::Stdio::null())
            .status();
        status.unwrap().success()
    };
    assert!(lives());
    drop(loopback);
    assert!(!lives());
}
