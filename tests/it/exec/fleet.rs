//! `ssmx exec --targets`: many nodes, through Run Command.

use std::process::Command;

use serde_json::Value;
use ssmx::loopback::{Loopback, Node, Options as Peer};

use crate::support::{SSMX, command, kill, run, run_without_input, spawn};

/// Three web servers, a database, and a node that is away.
fn loopback() -> Loopback {
    let web = |number: u32| {
        Node::online(&format!("i-0000000000000000{number}"))
            .at([10, 0, 0, u8::try_from(number).unwrap()])
            .tagged("Role", "web")
            .tagged("Env", if number < 3 { "prod" } else { "test" })
    };
    Loopback::start(Peer {
        nodes: vec![
            web(1).named("front"),
            web(2).in_group("fleet", 1),
            web(3).in_group("fleet", 2),
            Node::online("mi-00000000000000004").tagged("Role", "db"),
            Node::offline("i-00000000000000005").tagged("Role", "away"),
        ],
        ..Peer::default()
    })
    .expect("loopback starts")
}

fn fleet(loopback: &Loopback, options: &[&str], words: &[&str]) -> Command {
    let mut command = command(SSMX, loopback);
    command.arg("exec").args(options).arg("--").args(words);
    command
}

/// The lines in order, since nodes are over in any.
fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn output_stands_behind_its_node_and_a_summary_on_stderr() {
    let loopback = loopback();
    let script = "echo \"$AWS_SSM_INSTANCE_ID $1\"; echo warn >&2";
    let words = ["sh", "-c", script, "sh", "it's {{a}} \n ä"];
    let options = ["--targets", "tag:Role=web", "--targets", "tag:Env=prod"];
    let done = run_without_input(fleet(&loopback, &options, &words));
    assert_eq!(done.code(), Some(0), "{done:?}");
    let expected = [
        "i-00000000000000001 |  ä",
        "i-00000000000000001 | i-00000000000000001 it's {{a}} ",
        "i-00000000000000002 |  ä",
        "i-00000000000000002 | i-00000000000000002 it's {{a}} ",
    ];
    assert_eq!(sorted(&done.text()), expected);
    assert!(
        done.stderr.contains("i-00000000000000001 | warn\n"),
        "{done:?}"
    );
    let table = "TARGET               NAME                      STATUS   EXIT\n";
    assert!(done.stderr.contains(table), "{}", done.stderr);
    let row = "i-00000000000000002  ip-10-0-0-2.ec2.internal  Success  0\n";
    assert!(done.stderr.contains(row), "{}", done.stderr);
}

#[test]
fn names_addresses_groups_and_an_alias_are_targets_too() {
    let loopback = loopback();
    let scratch = tempfile::tempdir().unwrap();
    let config = scratch.path().join("config.toml");
    std::fs::write(&config, "[alias.all]\ntarget = \"tag:Role=web\"\n").unwrap();
    for (targets, expected) in [
        (&["front,10.0.0.3", "i-00000000000000001"][..], &[1, 3][..]),
        (&["asg:fleet"], &[2, 3]),
        (&["all"], &[1, 2, 3]),
    ] {
        let options: Vec<&str> = targets
            .iter()
            .flat_map(|text| ["--targets", text])
            .collect();
        let mut command = fleet(&loopback, &options, &["echo", "here"]);
        let done = run_without_input({
            command.env("SSMX_CONFIG", &config);
            command
        });
        assert_eq!(done.code(), Some(0), "{done:?}");
        let lines = expected
            .iter()
            .map(|number| format!("i-0000000000000000{number} | here"));
        assert_eq!(sorted(&done.text()), lines.collect::<Vec<_>>());
    }
}

#[test]
fn a_failure_anywhere_is_a_failure() {
    let loopback = loopback();
    let script =
        "test \"$AWS_SSM_INSTANCE_ID\" != mi-00000000000000004 || { echo no >&2; exit 3; }";
    let ids = "i-00000000000000001,mi-00000000000000004,i-00000000000000005";
    let options = ["--targets", ids, "--max-errors", "10"];
    let done = run_without_input(fleet(&loopback, &options, &["sh", "-c", script]));
    assert_eq!(
        (done.code(), done.text().as_str()),
        (Some(1), ""),
        "{done:?}"
    );
    for part in [
        "mi-00000000000000004 | no\n",
        "mi-00000000000000004  -                         Failed            3",
        "i-00000000000000005   -                         DeliveryTimedOut  -",
    ] {
        assert!(done.stderr.contains(part), "{}", done.stderr);
    }
}

#[test]
fn errors_stop_what_has_not_begun() {
    let loopback = loopback();
    let options = [
        "--targets",
        "tag:Role=web",
        "--max-concurrency",
        "1",
        "--output",
        "json",
    ];
    let done = run_without_input(fleet(&loopback, &options, &["false"]));
    assert_eq!(done.code(), Some(1), "{done:?}");
    let json: Value = serde_json::from_slice(&done.stdout).unwrap();
    let details: Vec<_> = json["Invocations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["StatusDetails"].as_str().unwrap())
        .collect();
    assert_eq!(details, ["Failed", "Terminated", "Terminated"]);
    assert_eq!(json["Status"], "Failed");
}

#[test]
fn json_has_all_of_it_and_says_what_the_service_cut() {
    let loopback = loopback();
    let options = ["--targets", "tag:Role=db", "--output", "json"];
    let words = ["sh", "-c", "yes | head -c 100000; echo e >&2"];
    let done = run_without_input(fleet(&loopback, &options, &words));
    assert_eq!((done.code(), done.stderr.as_str()), (Some(0), ""));
    let json: Value = serde_json::from_slice(&done.stdout).unwrap();
    let one = &json["Invocations"][0];
    assert_eq!(one["StandardOutputContent"].as_str().unwrap().len(), 24_000);
    assert_eq!(one["StandardErrorContent"], "e\n");
    assert_eq!(one["OutputTruncated"], true);
    assert_eq!(one["ResponseCode"], 0);
    let words = ["sh", "-c", "yes | head -c 100000"];
    let done = run_without_input(fleet(&loopback, &["--targets", "tag:Role=db"], &words));
    assert!(
        done.stderr.contains("the service keeps 24000 characters"),
        "{}",
        done.stderr
    );
}

#[test]
fn it_takes_no_longer_than_was_said() {
    let loopback = loopback();
    let options = ["--targets", "tag:Role=web", "--timeout", "1"];
    let done = run_without_input(fleet(&loopback, &options, &["sleep", "100"]));
    assert_eq!(done.code(), Some(1));
    assert_eq!(done.stderr.matches("TimedOut").count(), 3, "{done:?}");
}

#[test]
fn an_interrupt_cancels_it_everywhere() {
    let loopback = loopback();
    let scratch = tempfile::tempdir().unwrap();
    let fifo = scratch.path().join("alive");
    let made = Command::new("mkfifo").arg(&fifo).status().unwrap();
    assert!(made.success());
    let script = format!("exec > {}; echo $$; exec sleep 100", fifo.display());
    let mut ssmx = fleet(
        &loopback,
        &["--targets", "tag:Role=web"],
        &["sh", "-c", &script],
    );
    ssmx.stdin(std::process::Stdio::null());
    let running = spawn(ssmx);
    let mut alive = std::io::BufReader::new(std::fs::File::open(&fifo).unwrap());
    for _ in 0..3 {
        use std::io::BufRead as _;
        let mut line = String::new();
        alive.read_line(&mut line).unwrap();
        assert!(line.trim().parse::<u32>().is_ok(), "{line:?}");
    }
    kill(running.id(), "-INT");
    // At its end once nobody has it open any more.
    std::io::Read::read_to_end(&mut alive, &mut Vec::new()).unwrap();
    let done = running.finish();
    assert_eq!(done.code(), Some(130), "{done:?}");
    assert_eq!(done.stderr.matches("Cancelled").count(), 3, "{done:?}");
}

#[test]
fn trouble_that_passes_is_borne_and_other_trouble_told() {
    let loopback = loopback();
    let refused = r#"{"__type":"InternalServerError","message":"Sorry"}"#;
    for _ in 0..4 {
        loopback.script("ListCommandInvocations", 500, refused);
    }
    let done = run_without_input(fleet(&loopback, &["--targets", "tag:Role=db"], &["true"]));
    assert_eq!(done.code(), Some(0), "{done:?}");
    let cases: [(&[&str], &str, i32); 5] = [
        (
            &["--targets", "tag:Role=none"],
            "no managed node has these tags",
            255,
        ),
        (
            &["--targets", "i-0000000000000000f"],
            "not in a valid state",
            254,
        ),
        (&["--targets", "web"], "is called web", 252),
        (
            &["-t", "--targets", "tag:Role=db"],
            "cannot be used with",
            252,
        ),
        (
            &["--targets", "tag:Role=db", "i-1"],
            "cannot be used with",
            252,
        ),
    ];
    for (options, what, status) in cases {
        let done = run_without_input(fleet(&loopback, options, &["true"]));
        assert_eq!(done.code(), Some(status), "{done:?}");
        assert!(done.stderr.contains(what), "{done:?}");
    }
    let done = run(
        fleet(&loopback, &["--targets", "tag:Role=db"], &["cat"]),
        b"in",
    );
    assert_eq!(done.code(), Some(252));
    assert!(done.stderr.contains("has no standard input"), "{done:?}");
}

#[test]
fn scripts_end_with_the_peer() {
    let loopback = loopback();
    let scratch = tempfile::tempdir().unwrap();
    let fifo = scratch.path().join("alive");
    assert!(
        Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .unwrap()
            .success()
    );
    let script = format!("exec > {}; exec sleep 100", fifo.display());
    let mut ssmx = fleet(
        &loopback,
        &["--targets", "tag:Role=db"],
        &["sh", "-c", &script],
    );
    ssmx.stdin(std::process::Stdio::null());
    let running = spawn(ssmx);
    let mut alive = std::fs::File::open(&fifo).unwrap();
    drop(loopback);
    // At its end once nobody has it open any more.
    std::io::Read::read_to_end(&mut alive, &mut Vec::new()).unwrap();
    kill(running.id(), "-KILL");
    running.finish();
}
