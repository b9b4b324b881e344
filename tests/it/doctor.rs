//! `ssmx doctor`: each finding, by a service, a node or a network that is as it should not be.

mod network;
mod permissions;
mod target;

use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use ssmx::loopback::{Loopback, Options as Peer};

use crate::support::{Finished, SSMX, clean, command, run_without_input};

/// What one run found.
struct Found {
    done: Finished,
    answer: Value,
}

impl Found {
    fn check(&self, id: &str) -> &Value {
        let checks = self.answer["Checks"].as_array().expect("a list");
        let check = checks.iter().find(|check| check["Id"] == id);
        check.unwrap_or_else(|| panic!("no {id} in {}", self.answer))
    }

    /// The check has this status, and says all of these words.
    #[track_caller]
    fn has(&self, id: &str, status: &str, words: &[&str]) {
        let check = self.check(id);
        assert_eq!(check["Status"], status, "{check}");
        let text = check.to_string().replace("\\\"", "\"");
        for word in words {
            assert!(text.contains(word), "{word:?} is missing: {text}");
        }
        if status == "failed" {
            assert!(check["Fix"].is_string(), "{check}");
        }
    }

    #[track_caller]
    fn ends(&self, status: i32) {
        assert_eq!(self.done.code(), Some(status), "{}", self.answer);
        assert_eq!(self.answer["Ok"], Value::Bool(status == 0));
    }
}

/// Runs `ssmx doctor --output json` with these options.
fn examine(mut command: Command, arguments: &[&str]) -> Found {
    command.args(["doctor", "--output", "json"]).args(arguments);
    let done = run_without_input(command);
    assert_eq!(done.stderr, "");
    let answer = serde_json::from_slice(&done.stdout).expect("JSON");
    Found { done, answer }
}

fn peer(options: Peer) -> Loopback {
    Loopback::start(Peer {
        paced: false,
        ..options
    })
    .expect("loopback starts")
}

fn usual() -> Loopback {
    peer(Peer::default())
}

fn doctor(loopback: &Loopback, arguments: &[&str]) -> Found {
    examine(command(SSMX, loopback), arguments)
}

#[test]
fn all_is_well() {
    let loopback = usual();
    let found = doctor(&loopback, &[loopback.target(), "--deep"]);
    found.ends(0);
    let ids: Vec<&str> = found.answer["Checks"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|check| check["Id"].as_str().expect("a text"))
        .collect();
    // Programs go by them.
    assert_eq!(
        ids,
        [
            "settings.profile",
            "settings.region",
            "credentials.keys",
            "credentials.identity",
            "credentials.clock",
            "network.ssm",
            "network.ssmmessages",
            "network.kms",
            "network.sts",
            "network.tls",
            "network.ipv6",
            "iam.start-session",
            "iam.open-data-channel",
            "iam.resume-session",
            "iam.terminate-session",
            "iam.get-connection-status",
            "iam.describe-instance-information",
            "iam.describe-instance-properties",
            "iam.preferences",
            "iam.kms",
            "target.state",
            "target.managed",
            "target.connection",
            "target.agent",
            "deep.session",
            "local.version",
            "local.plugin",
            "local.ssh",
        ]
    );
    found.has("settings.region", "ok", &["us-east-1", "AWS_REGION"]);
    found.has("credentials.keys", "ok", &["the environment"]);
    found.has(
        "credentials.identity",
        "ok",
        &["arn:aws:iam::000000000000:user/loopback"],
    );
    found.has("iam.start-session", "ok", &["ssm:StartSession is allowed"]);
    found.has("iam.preferences", "ok", &["idle sessions end after 20 min"]);
    found.has("target.managed", "ok", &["web-1"]);
    found.has("deep.session", "ok", &["RoundTripMilliseconds"]);
    // The one session that there was is over.
    let ended = loopback.wait_for(|stats| stats.terminated == 1, Duration::from_secs(10));
    assert!(ended || loopback.stats().terminated == 0);
}

#[test]
fn nothing_is_changed_and_no_secret_is_told() {
    let loopback = usual();
    let mut debug = command(SSMX, &loopback);
    debug.args(["doctor", loopback.target(), "--debug"]);
    let done = run_without_input(debug);
    assert_eq!(done.code(), Some(0), "{}", done.text());
    let all = format!("{}{}", done.text(), done.stderr);
    assert!(!all.contains(loopback.secret_access_key()));
    assert!(!all.contains(loopback.access_key_id()), "{all}");
    for state in ["Active", "History"] {
        let mut list = command(SSMX, &loopback);
        list.args(["describe-sessions", "--state", state]);
        let done = run_without_input(list);
        assert!(!done.text().contains("i-"), "{}", done.text());
    }
}

#[test]
fn people_get_lines() {
    let loopback = usual();
    let mut well = command(SSMX, &loopback);
    well.arg("doctor");
    let done = run_without_input(well);
    assert_eq!((done.stderr.as_str(), done.code()), ("", Some(0)));
    let text = done.text();
    assert!(text.is_ascii() && !text.contains('\u{1b}'), "{text}");
    for line in [
        "Settings\n",
        "\n  ok   region us-east-1 (AWS_REGION)\n",
        "\nThis machine\n",
        " 0 failures\n",
    ] {
        assert!(text.contains(line), "{line:?} is missing: {text}");
    }
    loopback.deny("ResumeSession", true);
    let mut worse = command(SSMX, &loopback);
    worse.args(["doctor", "--color", "on"]);
    let text = run_without_input(worse).text();
    assert!(
        text.contains("\u{1b}[33mwarn\u{1b}[0m ssm:ResumeSession is denied"),
        "{text}"
    );
    assert!(
        text.contains("\n      fix: add to the caller's policy: {"),
        "{text}"
    );
}

#[test]
fn help_has_examples() {
    let mut help = Command::new(SSMX);
    help.args(["doctor", "--help"]);
    let text = run_without_input(help).text();
    for word in ["Examples:", "--deep", "--all-regions", "Exit status:"] {
        assert!(text.contains(word), "{word:?} is missing: {text}");
    }
}

#[test]
fn clocks_that_are_off() {
    for (ahead, status, exit, word) in [
        (90, "warning", 0, "behind"),
        (-100, "warning", 0, "ahead of"),
        (2000, "failed", 253, "timedatectl"),
    ] {
        let loopback = peer(Peer {
            clock_ahead: ahead,
            ..Peer::default()
        });
        let found = doctor(&loopback, &[]);
        found.has("credentials.clock", status, &[word]);
        found.ends(exit);
    }
}

#[test]
fn credentials_that_are_missing_or_old() {
    let mut none = Command::new(SSMX);
    clean(&mut none);
    none.env("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        .env("AWS_REGION", "us-east-1");
    let found = examine(none, &[]);
    found.has(
        "credentials.keys",
        "failed",
        &["no AWS credentials", "aws configure"],
    );
    found.ends(253);

    let mut none = Command::new(SSMX);
    clean(&mut none);
    let found = examine(none, &[]);
    found.has("settings.aws", "failed", &["no region", "AWS_REGION"]);
    found.has("local.version", "ok", &["ssmx"]);
    found.ends(253);

    let loopback = usual();
    loopback.expire_token(true);
    let found = doctor(&loopback, &[]);
    found.has(
        "credentials.identity",
        "failed",
        &["expired", "AWS_SESSION_TOKEN"],
    );
    found.ends(253);

    let mut wrong = command(SSMX, &loopback);
    wrong.env("AWS_SECRET_ACCESS_KEY", "wrong");
    let found = examine(wrong, &[]);
    found.has("credentials.identity", "failed", &["clock", "secret key"]);
    found.ends(253);
}

#[test]
fn gateways_that_refuse() {
    let loopback = usual();
    loopback.forbid_upgrades(true);
    let found = doctor(&loopback, &[loopback.target(), "--deep"]);
    found.has(
        "deep.session",
        "failed",
        &["403", "ssmmessages:OpenDataChannel"],
    );
    found.ends(254);
}

#[test]
fn failures_of_others_lead_here() {
    let loopback = usual();
    let start = |target: &str| {
        let mut command = command(SSMX, &loopback);
        command.args(["start-session", "--target", target]);
        command
    };
    let says = |command: Command, word: &str| {
        let done = run_without_input(command);
        let hint = done.stderr.lines().find(|line| line.contains(" hint: "));
        assert!(
            hint.is_some_and(|hint| hint.contains(word)),
            "{}",
            done.stderr
        );
    };
    says(start(loopback.offline_target()), "`ssmx doctor TARGET`");
    loopback.deny("StartSession", true);
    says(start(loopback.target()), "`ssmx doctor`");
    let mut lost = start(loopback.target());
    lost.env("AWS_ENDPOINT_URL_SSM", "http://nowhere.invalid")
        .env("AWS_MAX_ATTEMPTS", "1");
    says(lost, "`ssmx doctor`");
}

#[test]
fn arguments_that_make_no_sense() {
    for option in ["--deep", "--all-regions"] {
        let mut command = Command::new(SSMX);
        clean(&mut command);
        command.args(["doctor", option]);
        let done = run_without_input(command);
        assert_eq!((done.code(), done.text().as_str()), (Some(252), ""));
        assert!(done.stderr.contains("TARGET"), "{}", done.stderr);
    }
}
