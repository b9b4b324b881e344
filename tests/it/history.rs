//! `ssmx history` and `ssmx terminate`: who was where, and the end of it.

use std::process::Command;

use serde_json::Value;
use ssmx::loopback::{Loopback, Options as Peer};

use crate::support::pty::Terminal;
use crate::support::{DEADLINE, Finished, SSMX, command, run_without_input, start_session};

fn loopback() -> Loopback {
    Loopback::start(Peer {
        paced: false,
        ..Peer::default()
    })
    .unwrap()
}

fn ssmx(loopback: &Loopback, words: &[&str]) -> Command {
    let mut command = command(SSMX, loopback);
    command.args(words).env("TZ", "UTC0");
    command
}

fn done(loopback: &Loopback, words: &[&str]) -> Finished {
    run_without_input(ssmx(loopback, words))
}

fn sessions(loopback: &Loopback, words: &[&str]) -> Vec<Value> {
    let done = done(loopback, &[words, &["--output", "json"]].concat());
    assert_eq!(
        (done.stderr.as_str(), done.code()),
        ("", Some(0)),
        "{done:?}"
    );
    let value: Value = serde_json::from_slice(&done.stdout).unwrap();
    value["Sessions"].as_array().unwrap().clone()
}

/// A shell that somebody has open.
fn shell(loopback: &Loopback) -> Terminal {
    let started = loopback.stats().started;
    let mut terminal = Terminal::spawn(&start_session(loopback, &[]));
    terminal.type_in(b"PS1='re''mote> '\r");
    terminal.wait_for("remote> ");
    assert_eq!(loopback.stats().started, started + 1);
    terminal
}

#[test]
fn ended_sessions_are_listed_the_newest_first() {
    let loopback = loopback();
    loopback.add_history(4);
    let listed = sessions(&loopback, &["history"]);
    assert_eq!(listed.len(), 4);
    assert_eq!(listed[0]["SessionId"], "loopback-00000000000000003");
    assert_eq!(listed[0]["DurationSeconds"], 60);
    assert_eq!(listed[3]["Reason"], "TICKET-0");
    let log = listed[3]["Logs"][0].as_str().unwrap();
    assert!(
        log.starts_with("https://us-east-1.console.aws.amazon.com/s3/object/"),
        "{log}"
    );
    assert_eq!(
        listed[3]["OutputUrl"]["S3OutputUrl"]
            .as_str()
            .unwrap()
            .split_at(5)
            .0,
        "s3://"
    );

    let table = done(&loopback, &["history"]).text();
    let lines: Vec<&str> = table.lines().collect();
    assert!(
        lines[0].starts_with("STARTED           LASTED  STATUS"),
        "{table}"
    );
    let began = listed[0]["StartDate"].as_str().unwrap();
    let began = began.get(..16).unwrap().replace('T', " ");
    assert!(
        lines[1].starts_with(&format!("{began}  1m00s   Terminated  loopback  ")),
        "{table}"
    );
    // Sessions 3 and 0 were logged in S3, 1 in CloudWatch, 0 has a reason.
    assert_eq!(
        lines
            .iter()
            .filter(|line| line.starts_with("    log: https://"))
            .count(),
        3
    );
    assert!(table.contains("    reason: TICKET-0\n"), "{table}");

    let fields = done(&loopback, &["history", "--output", "text", "--limit", "1"]);
    let fields: Vec<String> = fields
        .text()
        .trim_end()
        .split('\t')
        .map(str::to_owned)
        .collect();
    assert_eq!(fields.len(), 11);
    assert_eq!(
        (fields[2].as_str(), fields[4].as_str()),
        ("60", "arn:aws:iam::000000000000:user/loopback")
    );
}

#[test]
fn times_are_local() {
    let loopback = loopback();
    loopback.add_history(1);
    let zone = |zone: &str| {
        let mut command = ssmx(&loopback, &["history"]);
        command.env("TZ", zone);
        let table = run_without_input(command).text();
        table.lines().nth(1).unwrap().get(..16).unwrap().to_owned()
    };
    // A day and more lies between these.
    assert!(zone("AAA-14") > zone("UTC0"));
    assert!(zone("BBB12") < zone("UTC0"));
}

#[test]
fn conditions_are_the_services() {
    let loopback = loopback();
    loopback.add_history(10);
    let count = |words: &[&str]| sessions(&loopback, &[&["history"], words].concat()).len();
    assert_eq!(count(&["--since", "150m"]), 2);
    assert_eq!(count(&["--since", "1w"]), 10);
    assert_eq!(count(&["--owner", "me"]), 5);
    assert_eq!(
        count(&[
            "--owner",
            "arn:aws:sts::000000000000:assumed-role/Operations/alice"
        ]),
        5
    );
    assert_eq!(count(&["--owner", "me", "--limit", "3"]), 3);
    assert_eq!(count(&["--target", loopback.target()]), 10);
    assert_eq!(count(&["--target", "i-00000000000000000"]), 0);
    let none = done(&loopback, &["history", "--target", "i-00000000000000000"]);
    assert_eq!(
        (none.text().as_str(), none.stderr.as_str(), none.code()),
        ("", "ssmx: no such session\n", Some(0))
    );
    for bad in [
        ["--since", "yesterday"],
        ["--owner", "alice"],
        ["--limit", "0"],
    ] {
        let bad = done(&loopback, &[&["history"], bad.as_slice()].concat());
        assert_eq!(bad.code(), Some(252), "{bad:?}");
    }
}

#[test]
fn pages_are_asked_for_as_they_are_needed() {
    let loopback = loopback();
    loopback.add_history(450);
    assert_eq!(sessions(&loopback, &["history"]).len(), 450);
    assert_eq!(loopback.stats().api_calls, 3);
    let limited = done(&loopback, &["history", "--limit", "60"]);
    assert_eq!(
        limited.stderr,
        "ssmx: there may be more sessions: this is the --limit\n"
    );
    let rows = limited
        .text()
        .lines()
        .filter(|line| line.contains("  Terminated  "))
        .count();
    assert_eq!((rows, loopback.stats().api_calls), (60, 5));

    // A reader that has enough is a quiet end, and nothing more is asked for.
    let mut shell = command("/bin/sh", &loopback);
    shell.args(["-c", &format!("{SSMX} history | head -n 2")]);
    let quiet = run_without_input(shell);
    assert_eq!(quiet.stderr, "");
    assert!(quiet.text().starts_with("STARTED"), "{quiet:?}");
    assert!(
        loopback.stats().api_calls < 5 + 9,
        "{}",
        loopback.stats().api_calls
    );
}

#[test]
fn living_sessions_come_first() {
    let loopback = loopback();
    loopback.add_history(2);
    let mut terminal = shell(&loopback);
    let listed = sessions(&loopback, &["history", "--active"]);
    assert_eq!(listed.len(), 3);
    assert_eq!(listed[0]["Status"], "Connected");
    assert!(listed[0]["DurationSeconds"].is_number());
    assert_eq!(sessions(&loopback, &["history"]).len(), 2);
    terminal.type_in(b"exit\r");
    terminal.finish();
    assert_eq!(sessions(&loopback, &["history"]).len(), 3);
}

#[test]
fn tables_fit_the_terminal() {
    let loopback = loopback();
    loopback.add_history(2);
    let terminal = Terminal::spawn(&ssmx(&loopback, &["history"]));
    terminal.wait_for("    session: loopback-00000000000000001");
    terminal.finish();
}

#[test]
fn ones_own_sessions_are_ended() {
    let loopback = loopback();
    let others = shell(&loopback);
    let others_id = loopback.stats().session_id.unwrap();
    loopback.set_caller("arn:aws:sts::000000000000:assumed-role/Operations/bob");
    let own = [shell(&loopback), shell(&loopback)];
    let ended = done(&loopback, &["terminate", "--mine", "--yes"]);
    assert_eq!((ended.stderr.as_str(), ended.code()), ("", Some(0)));
    assert_eq!(
        ended
            .text()
            .lines()
            .filter(|line| line.ends_with(" terminated"))
            .count(),
        2
    );
    assert!(!ended.text().contains(&others_id));
    for terminal in own {
        terminal.finish();
    }
    assert_eq!(loopback.stats().terminated, 2);
    let none = done(&loopback, &["terminate", "--mine", "--yes"]);
    assert_eq!(
        (none.stderr.as_str(), none.code()),
        ("ssmx: there are no such sessions\n", Some(0))
    );
    // The other one lives, until all are ended.
    let all = done(
        &loopback,
        &["terminate", "--all", "--yes", "--output", "json"],
    );
    let value: Value = serde_json::from_slice(&all.stdout).unwrap();
    assert_eq!(value["Sessions"][0]["SessionId"], others_id);
    assert_eq!(value["Sessions"][0]["Terminated"], true);
    others.finish();
}

#[test]
fn it_asks_on_a_terminal_and_nowhere_else() {
    let loopback = loopback();
    let session = shell(&loopback);
    let id = loopback.stats().session_id.unwrap();
    let calls = loopback.stats().api_calls;
    for which in ["--mine", "--all", id.as_str()] {
        let refused = done(&loopback, &["terminate", which]);
        assert_eq!(refused.code(), Some(252), "{refused:?}");
        assert!(refused.stderr.contains("--yes"), "{refused:?}");
    }
    for bad in [
        &["terminate"][..],
        &["terminate", "--mine", "--all"],
        &["terminate", "--all", "x"],
    ] {
        assert_eq!(done(&loopback, bad).code(), Some(252));
    }
    assert_eq!(loopback.stats().api_calls, calls);
    for (answer, status) in [("\r", 255), ("n\r", 255), ("y\r", 0)] {
        let mut terminal = Terminal::spawn(&ssmx(&loopback, &["terminate", "--all"]));
        terminal.wait_for("End this session for good? [y/N]");
        terminal.wait_for(&id);
        assert_eq!(loopback.stats().terminated, 0);
        terminal.type_in(answer.as_bytes());
        assert_eq!(terminal.finish(), status, "{answer:?}");
    }
    assert!(loopback.wait_for(|stats| stats.terminated == 1, DEADLINE));
    session.finish();
}

#[test]
fn each_failure_is_told_and_the_rest_is_ended() {
    let loopback = loopback();
    let session = shell(&loopback);
    let id = loopback.stats().session_id.unwrap();
    let ended = done(&loopback, &["terminate", "--yes", "me-0", &id, "me-0"]);
    assert_eq!(ended.text(), format!("{id} terminated\n"));
    assert_eq!(ended.code(), Some(254));
    let told = "ssmx: error: cannot terminate the session me-0: ";
    assert_eq!(ended.stderr.matches(told).count(), 1, "{ended:?}");
    session.finish();
}
