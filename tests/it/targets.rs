//! Nodes by what people call them, wherever a command takes a target; and the list to pick one from.

mod picker;

use std::process::Command;

use serde_json::Value;
use ssmx::loopback::{Loopback, Node, Options};

use crate::plugin::assert_short;
use crate::support::{Finished, SSMX, command, run_without_input};

const WEB_1: &str = "i-10000000000000001";
const WEB_2: &str = "i-10000000000000002";
const DB: &str = "mi-10000000000000003";
const OLD: &str = "i-1000000000000000f";

fn start(nodes: Option<Vec<Node>>) -> Loopback {
    let usual = Options::default();
    Loopback::start(Options {
        paced: false,
        nodes: nodes.unwrap_or(usual.nodes.clone()),
        ..usual
    })
    .expect("loopback starts")
}

fn ask(loopback: &Loopback, target: &str) -> Finished {
    let mut command = command(SSMX, loopback);
    command.args([
        "get-connection-status",
        "--output",
        "json",
        "--target",
        target,
    ]);
    run_without_input(command)
}

/// The id that a target turns out to have.
#[track_caller]
fn id(loopback: &Loopback, target: &str) -> String {
    let done = ask(loopback, target);
    assert_eq!(done.code(), Some(0), "{target}: {}", done.stderr);
    let answer: Value = serde_json::from_slice(&done.stdout).unwrap();
    answer["Target"].as_str().unwrap().to_owned()
}

/// Looks for a target, which has to fail with `status` and say all of `words`.
#[track_caller]
fn fails(loopback: &Loopback, target: &str, status: i32, words: &[&str]) -> Finished {
    let done = ask(loopback, target);
    assert_eq!(done.text(), "", "{target}");
    assert_eq!(done.code(), Some(status), "{target}: {}", done.stderr);
    for word in words {
        assert!(done.stderr.contains(word), "{word:?}: {}", done.stderr);
    }
    done
}

/// `ssmx start-session` of a command that prints a word.
fn echo(loopback: &Loopback, target: &[&str]) -> Command {
    let mut command = command(SSMX, loopback);
    command.arg("start-session").args(target).args([
        "--document-name",
        "AWS-StartNonInteractiveCommand",
        "--parameters",
        "command=echo here",
    ]);
    command
}

#[test]
fn nodes_are_known_by_many_names() {
    let loopback = start(None);
    for (target, expected) in [
        (WEB_1, WEB_1),
        ("i-0", "i-0"),
        ("web-1", WEB_1),
        ("tag:Name=web-2", WEB_2),
        ("WEB-2", WEB_2),
        ("tag:Environment=test", OLD),
        ("db", DB),
        ("db.corp.example", DB),
        ("192.168.7.20", DB),
        ("10.0.0.12", WEB_2),
        ("203.0.113.11", WEB_1),
        ("ip-10-0-0-11.ec2.internal", WEB_1),
        ("ip-10-0-0-12", WEB_2),
        ("i-10000000000000001.ec2.internal", WEB_1),
        // The newest.
        ("asg:web", WEB_2),
        ("tag:aws:autoscaling:groupName=web", WEB_2),
        // There is no other.
        ("old", OLD),
    ] {
        assert_eq!(id(&loopback, target), expected, "{target}");
    }
    // The newest of those that are there.
    loopback.set_online(WEB_2, false);
    assert_eq!(id(&loopback, "asg:web"), WEB_1);
}

#[test]
fn ids_take_no_call_and_names_one() {
    let loopback = start(None);
    let calls = |target: &str| {
        let before = loopback.stats().api_calls;
        id(&loopback, target);
        loopback.stats().api_calls - before
    };
    assert_eq!(calls(WEB_1), 1);
    assert_eq!(calls("web-1"), 2);
    assert_eq!(calls("asg:web"), 2);
    assert_eq!(calls("tag:Environment=test"), 2);
}

#[test]
fn several_and_none_are_told() {
    let loopback = start(None);
    let done = fails(
        &loopback,
        "tag:Environment=production",
        252,
        &[
            "ambiguous",
            "i-10000000000000001 (web-1, Online)",
            "i-10000000000000002 (web-2, Online)",
            "mi-10000000000000003 (db, Online)",
        ],
    );
    assert!(!done.stderr.contains(OLD), "{}", done.stderr);
    let unknown: [(&str, &[&str]); 6] = [
        (
            "wbe-1",
            &[
                "us-east-1",
                "is called wbe-1",
                "did you mean web-1?",
                "ssmx ls",
            ],
        ),
        ("web", &["did you mean web-1 or web-2?"]),
        ("10.9.9.9", &["has the address 10.9.9.9", "--all-regions"]),
        ("tag:Role=x", &["has the tag Role=x"]),
        ("asg:nope", &["the Auto Scaling group nope"]),
        ("i-am-not-there", &["is called i-am-not-there"]),
    ];
    for (target, words) in unknown {
        assert_short(&fails(&loopback, target, 252, words).stderr);
    }
    for target in ["", "tag:Role", "asg:"] {
        assert_short(&fails(&loopback, target, 252, &["error"]).stderr);
    }
    assert_eq!(loopback.stats().started, 0);
}

#[test]
fn only_nodes_that_are_online_count_if_there_are_any() {
    let loopback = start(Some(vec![
        Node::offline("i-1").named("app"),
        Node::online("i-2").named("app"),
        Node::offline("i-3").named("gone"),
        Node::offline("i-4").named("gone"),
    ]));
    assert_eq!(id(&loopback, "app"), "i-2");
    let words = ["i-3 (gone, ConnectionLost)", "i-4"];
    fails(&loopback, "gone", 252, &words);
}

#[test]
fn callers_who_may_less_find_less_and_are_told() {
    let loopback = start(None);
    loopback.deny("DescribeInstanceProperties", true);
    let found = |target: &str, expected: &str| {
        let done = ask(&loopback, target);
        assert!(done.text().contains(expected), "{target}: {done:?}");
        assert_eq!(done.stderr.lines().count(), 1, "{}", done.stderr);
        assert!(done.stderr.contains("ssm:DescribeInstanceProperties"));
    };
    found("web-1", WEB_1);
    found("tag:Environment=test", OLD);
    found("db.corp.example", DB);
    found("ip-10-0-0-12.ec2.internal", WEB_2);
    // A private address takes the other call anyhow.
    assert_eq!(id(&loopback, "10.0.0.12"), WEB_2);
    loopback.deny("DescribeInstanceInformation", true);
    let words = [
        "cannot look up web-1",
        "AccessDenied",
        "ssm:DescribeInstanceInformation",
    ];
    assert_short(&fails(&loopback, "web-1", 254, &words).stderr);
    assert_eq!(id(&loopback, WEB_1), WEB_1);
}

#[test]
fn a_service_that_does_not_filter_so_is_asked_otherwise() {
    let loopback = start(None);
    for code in ["InvalidFilterKey", "InvalidInstancePropertyFilterValue"] {
        let body = format!(r#"{{"__type":"{code}","message":"no"}}"#);
        loopback.script("DescribeInstanceProperties", 400, &body);
        assert_eq!(id(&loopback, "web-1"), WEB_1);
    }
    let body = r#"{"__type":"ExpiredTokenException","message":"no"}"#;
    loopback.script("DescribeInstanceProperties", 400, body);
    fails(&loopback, "web-1", 254, &["ExpiredToken"]);
}

#[test]
fn names_are_found_on_later_pages() {
    let mut nodes = Node::fleet(2500);
    nodes[2400].dns_name = Some("far.corp.example".to_owned());
    let loopback = start(Some(nodes));
    assert_eq!(id(&loopback, "far"), format!("i-{:017x}", 2400));
    let before = loopback.stats().api_calls;
    fails(&loopback, "nowhere", 252, &["is called nowhere"]);
    assert_eq!(loopback.stats().api_calls - before, 4);
}

#[test]
fn sessions_and_tunnels_are_started_by_name() {
    let loopback = start(None);
    for target in ["web-1", "asg:web", "10.0.0.11"] {
        let done = run_without_input(echo(&loopback, &["--target", target]));
        assert_eq!(
            (done.text().trim(), done.code()),
            ("here", Some(0)),
            "{done:?}"
        );
    }
    let json = r#"{"Target":"tag:Name=web-2"}"#;
    let done = run_without_input(echo(&loopback, &["--cli-input-json", json]));
    assert_eq!(done.code(), Some(0), "{done:?}");
    let mut forward = command(SSMX, &loopback);
    forward.args(["forward", "web-2", "-L", "0:80", "--", "true"]);
    let done = run_without_input(forward);
    assert_eq!(done.code(), Some(0), "{done:?}");
    assert!(done.stderr.contains(WEB_2), "{}", done.stderr);
    let mut exec = command(SSMX, &loopback);
    exec.args(["exec", "-n", "web-2", "--", "echo", "there"]);
    let done = run_without_input(exec);
    assert_eq!(
        (done.text().trim(), done.code()),
        ("there", Some(0)),
        "{done:?}"
    );
    assert_eq!(loopback.stats().started, 6);
}

#[test]
fn ssh_is_led_to_the_node_that_is_meant() {
    let loopback = start(None);
    let directory = tempfile::tempdir().unwrap();
    let fake = directory.path().join("ssh");
    std::fs::write(&fake, "#!/bin/sh\necho \"$@\"\n").unwrap();
    std::fs::set_permissions(&fake, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let words = |target: &str| {
        let mut ssh = command(SSMX, &loopback);
        ssh.args(["ssh", "--ssh"]).arg(&fake).arg(target);
        run_without_input(ssh).text()
    };
    // Its keys are known by the id, as the next one has others.
    let said = words("ubuntu@asg:web");
    for word in [
        &format!("start-session --target {WEB_2} "),
        &format!("-o HostKeyAlias={WEB_2} "),
        " ubuntu@asg:web",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert_eq!(loopback.stats().api_calls, 1);
    // Names are names of hosts, too.
    let said = words("web-1");
    assert!(said.contains(" --target %h "), "{said}");
    assert_eq!(loopback.stats().api_calls, 1);
}

#[test]
fn names_are_completed() {
    let loopback = start(None);
    let home = tempfile::tempdir().unwrap();
    let complete = |typed: &str| {
        let mut command = command(SSMX, &loopback);
        command
            .env("HOME", home.path())
            .env_remove("XDG_CACHE_HOME");
        command.args(["__complete", "fish", "3"]);
        command.args(["ssmx", "start-session", "--target", typed]);
        run_without_input(command).text()
    };
    let expected = format!("web-1\t{WEB_1}\nweb-2\t{WEB_2}\n");
    assert_eq!(complete("we"), expected);
    assert_eq!(complete("i-"), format!("{WEB_1}\tweb-1\n{WEB_2}\tweb-2\n"));
    // The answer is kept, and one that is offline is no use.
    assert_eq!(complete("ol"), "");
    assert_eq!(loopback.stats().api_calls, 1);
}

#[test]
fn without_a_terminal_nobody_can_pick() {
    let loopback = start(None);
    for (words, hint) in [
        (&["start-session"][..], "--target"),
        (&["forward", "-L", "80"], "name"),
        (&["ssh"], "name"),
        (&["exec", "--", "true"], "ssmx exec TARGET -- CMD"),
        (&["get-connection-status"], "--target"),
        (&["cp", ":/etc/hosts", "-"], "before the colon"),
    ] {
        let mut command = command(SSMX, &loopback);
        command.args(words);
        let done = run_without_input(command);
        assert_eq!(done.code(), Some(252), "{words:?}");
        assert!(done.stderr.contains("no target"), "{}", done.stderr);
        assert!(done.stderr.contains(hint), "{}", done.stderr);
        assert_short(&done.stderr);
    }
    assert_eq!(loopback.stats().api_calls, 0);
}
