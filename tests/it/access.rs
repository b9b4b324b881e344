//! Just-in-time access: asked for, waited for, used for the session and nothing else.

use std::process::Command;
use std::time::{Duration, Instant};

use ssmx::loopback::{Loopback, Node, Options};

use crate::support::{DEADLINE, SSMX, command, kill, run_without_input, spawn};

/// Takes access that was approved.
const GUARDED: &str = "i-1000000000000000a";

fn loopback() -> Loopback {
    let mut options = Options {
        paced: false,
        require_signature: true,
        ..Options::default()
    };
    options.nodes.push(Node::online(GUARDED).guarded());
    options
        .nodes
        .push(Node::online("i-1000000000000000b").guarded());
    Loopback::start(options).expect("loopback starts")
}

fn ssmx(loopback: &Loopback, words: &[&str]) -> Command {
    let mut command = command(SSMX, loopback);
    command.args(words).stdin(std::process::Stdio::null());
    command
}

fn asked(loopback: &Loopback, count: u64) {
    assert!(loopback.wait_for(|stats| stats.access_requests >= count, DEADLINE));
}

#[test]
fn without_the_wish_the_denial_says_what_to_do() {
    let loopback = loopback();
    let done = run_without_input(ssmx(&loopback, &["start-session", "--target", GUARDED]));
    assert_eq!(done.code(), Some(254), "{done:?}");
    assert!(done.stderr.contains("AccessDenied"), "{done:?}");
    assert!(done.stderr.contains("--request-access REASON"), "{done:?}");
    assert_eq!(loopback.stats().access_requests, 0);
}

#[test]
fn access_is_asked_for_and_its_credentials_run_the_session() {
    let loopback = loopback();
    let exec = ["exec", GUARDED, "--request-access", "TICKET-1", "--"];
    let mut words = exec.to_vec();
    words.extend(["sh", "-c", "echo in; exit 3"]);
    let running = spawn(ssmx(&loopback, &words));
    asked(&loopback, 1);
    // Denied, asked for, looked at twice.
    assert!(loopback.wait_for(|stats| stats.api_calls >= 4, DEADLINE));
    loopback.decide_access("Approved");
    let done = running.finish();
    assert_eq!(
        (done.text().as_str(), done.code()),
        ("in\n", Some(3)),
        "{done:?}"
    );
    let lines: Vec<&str> = done.stderr.lines().collect();
    assert!(
        lines[0].starts_with("ssmx: waiting for approval of access to i-1000000000000000a (oi-")
    );
    assert!(lines[1].contains("is granted"), "{done:?}");
    assert_eq!(lines.len(), 2, "{done:?}");
    // StartSession and the upgrade.
    let stats = loopback.stats();
    assert!(stats.with_access >= 2, "{stats:?}");
    assert_eq!((stats.access_requests, stats.started), (1, 1));
    // Nothing of it is left for others.
    let again = run_without_input(ssmx(&loopback, &["exec", GUARDED, "--", "true"]));
    assert_eq!(again.code(), Some(254), "{again:?}");
}

#[test]
fn nobody_is_asked_where_access_is_there_already() {
    let loopback = loopback();
    let words = [
        "exec",
        loopback.target(),
        "--request-access",
        "x",
        "--",
        "echo",
        "in",
    ];
    let done = run_without_input(ssmx(&loopback, &words));
    assert_eq!(
        (done.text().as_str(), done.code()),
        ("in\n", Some(0)),
        "{done:?}"
    );
    assert_eq!(loopback.stats().access_requests, 0);
}

#[test]
fn a_refusal_is_told_and_a_request_made_before_can_be_gone_on_with() {
    let loopback = loopback();
    let start = ["start-session", "--target", GUARDED, "--request-access"];
    let with = |wish: &str| {
        let mut command = ssmx(&loopback, &start);
        command.arg(wish);
        command
    };
    let running = spawn(with("TICKET-2"));
    asked(&loopback, 1);
    loopback.decide_access("Rejected");
    let done = running.finish();
    assert_eq!(done.code(), Some(254), "{done:?}");
    assert!(done.stderr.contains("it was rejected"), "{done:?}");

    // Ctrl-C leaves, and the request waits.
    let calls = loopback.stats().api_calls;
    let running = spawn(with("TICKET-3"));
    assert!(loopback.wait_for(|stats| stats.api_calls >= calls + 4, DEADLINE));
    kill(running.id(), "-INT");
    let done = running.finish();
    assert_eq!(done.code(), Some(130), "{done:?}");
    loopback.decide_access("Approved");
    let told = done.stderr.split("--request-access ").nth(1).expect("told");
    let request = told.split(' ').next().expect("an id");
    let mut later = ssmx(
        &loopback,
        &["exec", GUARDED, "--request-access", request, "--"],
    );
    later.args(["echo", "later"]);
    let done = run_without_input(later);
    assert_eq!(
        (done.text().as_str(), done.code()),
        ("later\n", Some(0)),
        "{done:?}"
    );
    assert_eq!(loopback.stats().access_requests, 2);
}

#[test]
fn requests_that_come_to_nothing_are_told_with_the_way_on() {
    let loopback = loopback();
    let words = [
        "start-session",
        "--target",
        GUARDED,
        "--request-access",
        "x",
    ];
    for (count, (status, why, hint)) in [
        ("Revoked", "it was revoked", "ask those who approve"),
        ("Expired", "it has expired", "--request-access REASON"),
    ]
    .into_iter()
    .enumerate()
    {
        let running = spawn(ssmx(&loopback, &words));
        asked(&loopback, count as u64 + 1);
        loopback.decide_access(status);
        let done = running.finish();
        assert_eq!(done.code(), Some(254), "{done:?}");
        assert!(done.stderr.contains(why), "{done:?}");
        assert!(done.stderr.contains(hint), "{done:?}");
    }
    for operation in ["StartAccessRequest", "GetAccessToken"] {
        loopback.deny(operation, true);
        let done = run_without_input(ssmx(&loopback, &words));
        loopback.deny(operation, false);
        assert_eq!(done.code(), Some(254), "{done:?}");
        let action = format!("must allow ssm:{operation}");
        assert!(done.stderr.contains(&action), "{done:?}");
    }
    assert_eq!(loopback.stats().started, 0);
}

#[test]
fn trouble_on_the_way_does_not_end_the_wait() {
    let loopback = loopback();
    let exec = ["exec", GUARDED, "--request-access", "x", "--", "echo", "in"];
    for _ in 0..4 {
        let body = r#"{"__type":"InternalServerError","message":"a moment"}"#;
        loopback.script("GetAccessToken", 500, body);
    }
    let running = spawn(ssmx(&loopback, &exec));
    asked(&loopback, 1);
    loopback.decide_access("Approved");
    let done = running.finish();
    assert_eq!(
        (done.text().as_str(), done.code()),
        ("in\n", Some(0)),
        "{done:?}"
    );
}

#[test]
fn tunnels_to_one_node_ask_once_and_resume_and_end_by_the_same_credentials() {
    let loopback = loopback();
    let mut forward = ssmx(&loopback, &["forward", GUARDED, "--request-access", "x"]);
    let directory = tempfile::tempdir().expect("a directory for this test");
    let ready = directory.path().join("ready");
    let words = ["-L", "0:1", "-L", "0:2", "--", "sh", "-c"];
    forward
        .args(words)
        .arg("touch \"$0\"; exec sleep 1000")
        .arg(&ready);
    let running = spawn(forward);
    asked(&loopback, 1);
    loopback.decide_access("Approved");
    let began = Instant::now();
    while !ready.exists() {
        assert!(began.elapsed() < DEADLINE, "not ready");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(loopback.stats().access_requests, 1);
    let before = loopback.stats().with_access;
    loopback.cut();
    assert!(loopback.wait_for(|stats| stats.resumes >= 2, DEADLINE));
    assert!(loopback.wait_for(|stats| stats.connections >= 4, DEADLINE));
    assert!(
        loopback.stats().with_access >= before + 4,
        "{:?}",
        loopback.stats()
    );
    kill(running.id(), "-TERM");
    running.finish();
    assert!(loopback.wait_for(|stats| stats.ended == 2, DEADLINE));
}

#[test]
fn a_tunnel_that_waits_for_approval_can_be_left() {
    let loopback = loopback();
    let mut forward = ssmx(&loopback, &["forward", GUARDED, "--request-access", "x"]);
    forward.args(["-L", "0:1"]);
    let running = spawn(forward);
    asked(&loopback, 1);
    kill(running.id(), "-INT");
    assert_eq!(running.finish().code(), Some(130));
    assert_eq!(loopback.stats().started, 0);
}
