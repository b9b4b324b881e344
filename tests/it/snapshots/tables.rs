//! Tables, JSON and reports of the commands that print answers.

use std::collections::BTreeSet;
use std::process::Command;

use ssmx::loopback::{Loopback, Node, Options};

use super::transcript::{Snapshot, Transcript};
use crate::support::{SSMX, command, snapshot};

fn start(options: Options) -> Loopback {
    Loopback::start(Options {
        paced: false,
        ..options
    })
    .expect("loopback starts")
}

fn ssmx(loopback: &Loopback, words: &[&str]) -> Command {
    let mut command = command(SSMX, loopback);
    command.args(words).env("TZ", "UTC0").env("LC_ALL", "C");
    command
}

/// Runs each of these without a terminal.
fn run(transcript: &mut Transcript, loopback: &Loopback, lines: &[&[&str]]) {
    for words in lines {
        transcript.run(ssmx(loopback, words));
    }
}

fn ls() -> Transcript {
    let elsewhere = Node {
        region: Some("eu-west-1".to_owned()),
        ..Node::online("i-1000000000000000a").named("a server whose name is long")
    };
    let loopback = start(Options {
        nodes: [Options::default().nodes, vec![elsewhere]].concat(),
        other_regions: ssmx::aws::regions_beside("us-east-1")
            .into_iter()
            .map(str::to_owned)
            .collect(),
        ..Options::default()
    });
    let mut made = Transcript::new();
    run(
        &mut made,
        &loopback,
        &[
            &["ls"],
            &["ls", "web", "ping=online", "--output", "json"],
            &["ls", "--all-regions"],
            &["ls", "nothing-like-it"],
            &["ls", "nothing-like-it", "--output", "json"],
        ],
    );
    for cols in [120, 80, 60] {
        made.on_terminal(cols, &ssmx(&loopback, &["ls", "--all-regions"]));
    }
    loopback.deny("DescribeInstanceProperties", true);
    run(&mut made, &loopback, &[&["ls"]]);
    loopback.deny("DescribeInstanceInformation", true);
    run(&mut made, &loopback, &[&["ls"]]);
    made
}

fn history() -> Transcript {
    let loopback = start(Options::default());
    loopback.add_history(4);
    let mut made = Transcript::new();
    run(
        &mut made,
        &loopback,
        &[
            &["history"],
            &["history", "--limit", "2", "--output", "json"],
            &["history", "--owner", "me", "--output", "text"],
            &["history", "--target", "web-2"],
        ],
    );
    for cols in [120, 80, 60] {
        made.on_terminal(cols, &ssmx(&loopback, &["history"]));
    }
    made
}

fn describe_sessions() -> Transcript {
    let loopback = start(Options::default());
    loopback.add_history(2);
    let mut made = Transcript::new();
    run(
        &mut made,
        &loopback,
        &[
            &["describe-sessions"],
            &["describe-sessions", "--output", "json"],
            &["describe-sessions", "--state", "History"],
            &[
                "describe-sessions",
                "--state",
                "History",
                "--output",
                "json",
            ],
        ],
    );
    made.on_terminal(
        60,
        &ssmx(&loopback, &["describe-sessions", "--state", "History"]),
    );
    made
}

fn nodes() -> Transcript {
    let loopback = start(Options::default());
    let mut made = Transcript::new();
    run(
        &mut made,
        &loopback,
        &[
            &["get-connection-status", "--target", "web-1"],
            &["get-connection-status", "--target", "old"],
            &[
                "get-connection-status",
                "--target",
                "web-1",
                "--output",
                "json",
            ],
        ],
    );
    made
}

fn fleet() -> Transcript {
    let node = |number: u8| {
        Node::online(&format!("i-0000000000000000{number}"))
            .at([10, 0, 0, number])
            .tagged("Role", "web")
    };
    let loopback = start(Options {
        nodes: vec![
            node(1),
            node(2).named("web 2"),
            Node::offline("i-00000000000000005").tagged("Role", "away"),
        ],
        ..Options::default()
    });
    let mut made = Transcript::new();
    let script = "echo here; echo there >&2; \
        test \"$AWS_SSM_INSTANCE_ID\" = i-00000000000000001";
    // One after another, as they would otherwise end in any order.
    let tag = ["--targets", "tag:Role=web", "--max-concurrency", "1"];
    let all = [&["exec"], &tag[..], &["--max-errors", "9"]].concat();
    let words = [&all[..], &["--", "sh", "-c", script]].concat();
    run(&mut made, &loopback, &[&words]);
    let words = [&all[..], &["--output", "json", "--", "sh", "-c", script]].concat();
    run(&mut made, &loopback, &[&words]);
    let away = "i-00000000000000005";
    run(
        &mut made,
        &loopback,
        &[&["exec", "--targets", away, "--", "true"]],
    );
    made
}

fn doctor() -> Transcript {
    let loopback = start(Options::default());
    let mut made = Transcript::new();
    let url = loopback.endpoint_url().to_owned();
    made.replace(url, "http://127.0.0.1:PORT");
    made.replace(SSMX, "/usr/bin/ssmx");
    made.replace(env!("CARGO_PKG_VERSION"), "VERSION");
    let key = loopback.access_key_id();
    let (start, end) = (&key[..4], &key[key.len() - 4..]);
    made.replace(format!("{start}...{end}"), "AKIA...0000");
    // No other programs, whatever this machine has.
    let ssmx = |words: &[&str]| {
        let mut command = ssmx(&loopback, words);
        command.env("PATH", "/nonexistent");
        command
    };
    made.run(ssmx(&["doctor", "web-1"]));
    made.run(ssmx(&["doctor", "web-1", "--output", "json"]));
    made.run(ssmx(&["doctor", "old"]));
    made.run(ssmx(&["doctor", "nobody"]));
    for operation in ["StartSession", "ResumeSession"] {
        loopback.deny(operation, true);
    }
    made.run(ssmx(&["doctor", "web-1"]));
    made.on_terminal(60, &ssmx(&["doctor"]));
    made
}

#[test]
fn answers_look_as_they_are_kept() {
    let made: [Snapshot; 6] = [
        ("ls", ls),
        ("history", history),
        ("describe-sessions", describe_sessions),
        ("get-connection-status", nodes),
        ("exec-targets", fleet),
        ("doctor", doctor),
    ];
    let mut names = BTreeSet::new();
    for (name, make) in made {
        make().check(&format!("tables/{name}"));
        names.insert(name.to_owned());
    }
    snapshot::are_all("tables", &names);
}
