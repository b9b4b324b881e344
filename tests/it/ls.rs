//! `ssmx ls` by the real binary: tables, JSON, filters, pages, profiles and regions.

use std::fmt::Write as _;
use std::io::Read as _;
use std::process::{Command, Stdio};

use serde_json::Value;
use ssmx::aws::regions_beside;
use ssmx::loopback::{Loopback, Node, Options};

use crate::plugin::assert_short;
use crate::support::pty::Terminal;
use crate::support::{Finished, SSMX, command, run_without_input};

fn start(options: Options) -> Loopback {
    Loopback::start(options).expect("loopback starts")
}

fn ls(loopback: &Loopback, arguments: &[&str]) -> Command {
    let mut command = command(SSMX, loopback);
    command.arg("ls").args(arguments);
    command
}

#[track_caller]
fn list(loopback: &Loopback, arguments: &[&str]) -> Finished {
    let done = run_without_input(ls(loopback, arguments));
    assert_eq!(done.code(), Some(0), "{arguments:?}: {}", done.stderr);
    done
}

/// The ids that are listed.
#[track_caller]
fn ids(loopback: &Loopback, arguments: &[&str]) -> Vec<String> {
    let done = list(loopback, &[arguments, &["--output", "json"]].concat());
    let answer: Value = serde_json::from_slice(&done.stdout).unwrap();
    let nodes = answer["Nodes"].as_array().unwrap();
    let id = |node: &Value| node["InstanceId"].as_str().unwrap().to_owned();
    nodes.iter().map(id).collect()
}

#[test]
fn a_table_of_nodes() {
    let loopback = start(Options::default());
    let done = list(&loopback, &[]);
    let expected = "\
ID                    NAME   PING            PLATFORM           AGENT    ADDRESS
i-10000000000000001   web-1  Online          Amazon Linux 2023  3.3.0.0  203.0.113.11
i-10000000000000002   web-2  Online          Amazon Linux 2023  3.3.0.0  203.0.113.12
mi-10000000000000003  db     Online          Ubuntu 24.04       3.3.0.0  -
i-1000000000000000f   old    ConnectionLost  Amazon Linux 2023  3.3.0.0  10.0.0.99
";
    assert_eq!(done.text(), expected);
    assert_eq!(done.stderr, "");
    assert_eq!(list(&loopback, &["--output", "text"]).text(), expected);
    let none = list(&loopback, &["nothing-like-it"]).text();
    assert_eq!(none, "ID  NAME  PING  PLATFORM  AGENT  ADDRESS\n");
}

#[test]
fn json_has_the_keys_of_the_service() {
    let loopback = start(Options::default());
    let done = list(&loopback, &["web-1", "--output", "json"]);
    let expected = r#"{
    "Nodes": [
        {
            "InstanceId": "i-10000000000000001",
            "Name": "web-1",
            "PingStatus": "Online",
            "InstanceState": "running",
            "PlatformType": "Linux",
            "PlatformName": "Amazon Linux",
            "PlatformVersion": "2023",
            "AgentVersion": "3.3.0.0",
            "IPAddress": "203.0.113.11",
            "ComputerName": "ip-10-0-0-11.ec2.internal"
        }
    ]
}
"#;
    assert_eq!(done.text(), expected);
    let done = list(&loopback, &["nothing-like-it", "--output", "json"]);
    assert_eq!(done.text(), "{\n    \"Nodes\": []\n}\n");
}

#[test]
fn filters_of_all_kinds() {
    let loopback = start(Options::default());
    let [one, two, db, old] = [
        "i-10000000000000001",
        "i-10000000000000002",
        "mi-10000000000000003",
        "i-1000000000000000f",
    ];
    let cases: [(&[&str], &[&str]); 9] = [
        (&["web"], &[one, two]),
        (&["WEB", "eb-2"], &[two]),
        (&["10.0.0.99"], &[old]),
        (&["mi-"], &[db]),
        (&["ping=lost"], &[old]),
        (&["ping=online", "platform=ubuntu"], &[db]),
        (&["platform=windows"], &[]),
        (
            &["tag:Environment=production", "ping=online", "web-1"],
            &[one],
        ),
        (&["tag:Environment=nowhere"], &[]),
    ];
    for (filters, expected) in cases {
        assert_eq!(ids(&loopback, filters), expected, "{filters:?}");
    }
    loopback.deny("DescribeInstanceProperties", true);
    let filters = [
        "tag:Environment=production",
        "ping=online",
        "203.0.113",
        "x",
    ];
    assert!(ids(&loopback, &filters).is_empty());
    let filters = ["tag:Environment=production", "ping=online", "10.0.0.12"];
    assert_eq!(ids(&loopback, &filters), [two]);
    for bad in ["tag:x", "ping=up", "colour=red", ""] {
        let done = run_without_input(ls(&loopback, &[bad]));
        assert_eq!(done.code(), Some(252), "{bad}");
        assert!(done.stderr.contains("tag:KEY=VALUE"), "{}", done.stderr);
        assert_short(&done.stderr);
    }
}

#[test]
fn who_may_less_sees_less_and_is_told() {
    let loopback = start(Options::default());
    loopback.deny("DescribeInstanceProperties", true);
    let done = list(&loopback, &[]);
    let text = done.text();
    assert!(text.contains("ip-10-0-0-11.ec2.internal"), "{text}");
    assert!(text.contains("10.0.0.11\n"), "{text}");
    assert_eq!(done.stderr.lines().count(), 1, "{}", done.stderr);
    loopback.deny("DescribeInstanceInformation", true);
    let done = run_without_input(ls(&loopback, &[]));
    assert_eq!((done.text().as_str(), done.code()), ("", Some(254)));
    assert!(done.stderr.contains("ssm:DescribeInstanceInformation"));
}

#[test]
fn thousands_of_nodes_come_page_by_page() {
    let loopback = start(Options {
        nodes: Node::fleet(5000),
        ..Options::default()
    });
    assert_eq!(list(&loopback, &[]).text().lines().count(), 5001);
    assert_eq!(loopback.stats().api_calls, 5);
    assert_eq!(ids(&loopback, &["ping=online"]).len(), 4500);
    assert_eq!(ids(&loopback, &["node-4999"]), [format!("i-{:017x}", 4999)]);
    // Whoever reads only the beginning ends it.
    let mut child = ls(&loopback, &[])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 10]).unwrap();
    drop(stdout);
    let done = child.wait_with_output().unwrap();
    assert_eq!((done.status.code(), done.stderr.len()), (Some(0), 0));
}

#[test]
fn all_regions_but_those_that_are_closed() {
    let elsewhere = |region: &str, node: Node| Node {
        region: Some(region.to_owned()),
        ..node
    };
    let loopback = start(Options {
        nodes: vec![
            elsewhere("eu-west-1", Node::online("i-1").named("far")),
            Node::online("i-2").named("near"),
        ],
        other_regions: vec!["eu-west-1".to_owned()],
        ..Options::default()
    });
    assert_eq!(ids(&loopback, &[]), ["i-2"]);
    assert_eq!(ids(&loopback, &["--region", "eu-west-1"]), ["i-1"]);
    let done = run_without_input(ls(&loopback, &["--all-regions"]));
    let text = done.text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines,
        [
            "PROFILE  REGION     ID   NAME  PING    PLATFORM           AGENT    ADDRESS",
            "-        eu-west-1  i-1  far   Online  Amazon Linux 2023  3.3.0.0  -",
            "-        us-east-1  i-2  near  Online  Amazon Linux 2023  3.3.0.0  -",
        ]
    );
    // Here other regions do not take the signature, which is no matter of permission.
    assert_eq!(done.code(), Some(254));
    assert_eq!(done.stderr.lines().count(), 1, "{}", done.stderr);
    for word in ["af-south-1, ", "us-west-2: ", "InvalidSignatureException"] {
        assert!(done.stderr.contains(word), "{}", done.stderr);
    }
    for closed in ["AccessDeniedException", "UnrecognizedClientException"] {
        let body = format!(r#"{{"__type":"{closed}","message":"no"}}"#);
        let loopback = start(Options {
            other_regions: regions_beside("us-east-1")
                .into_iter()
                .map(str::to_owned)
                .collect(),
            ..Options::default()
        });
        for operation in ["DescribeInstanceProperties", "DescribeInstanceInformation"] {
            loopback.script(operation, 400, &body);
        }
        let done = list(&loopback, &["--all-regions"]);
        assert_eq!(done.text().lines().count(), 5, "{}", done.text());
        assert!(done.stderr.lines().count() <= 2, "{}", done.stderr);
    }
}

#[test]
fn several_profiles() {
    let loopback = start(Options::default());
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("credentials");
    let mut text = String::new();
    for profile in ["a", "b"] {
        writeln!(
            text,
            "[{profile}]\naws_access_key_id={}\naws_secret_access_key={}",
            loopback.access_key_id(),
            loopback.secret_access_key()
        )
        .unwrap();
    }
    writeln!(text, "[c]\naws_access_key_id=AKIA\naws_secret_access_key=x").unwrap();
    std::fs::write(&file, text).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = ls(&loopback, arguments);
        command.env("AWS_SHARED_CREDENTIALS_FILE", &file);
        run_without_input(command)
    };
    let done = run(&["--profile", "a", "web-1", "--profile", "b"]);
    assert_eq!(done.code(), Some(0), "{}", done.stderr);
    let text = done.text();
    assert!(
        text.contains("\na        us-east-1  i-10000000000000001  web-1"),
        "{text}"
    );
    assert!(
        text.contains("\nb        us-east-1  i-10000000000000001  web-1"),
        "{text}"
    );
    let done = run(&["--profile", "a", "--profile", "c", "--output", "json"]);
    assert_eq!(done.code(), Some(254), "{}", done.stderr);
    assert!(done.stderr.contains("profile c"), "{}", done.stderr);
    let answer: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(answer["Nodes"].as_array().unwrap().len(), 4);
    assert_eq!(answer["Nodes"][0]["Profile"], "a");
    let done = run(&["--profile", "nobody", "--profile", "a"]);
    assert_eq!(done.code(), Some(253));
}

#[test]
fn tables_fit_the_terminal() {
    let loopback = start(Options {
        nodes: vec![
            Node::online("i-10000000000000001").named("日本語の長い名前を持つサーバー"),
            Node::online("i-10000000000000002").named("evil\u{1b}[2Jname"),
        ],
        ..Options::default()
    });
    let terminal = Terminal::spawn(&ls(&loopback, &[]));
    terminal.wait_for("evil [2Jname");
    let screen = terminal.screen();
    let lines: Vec<&str> = screen.lines().collect();
    assert_eq!(lines.len(), 3, "{screen}");
    assert!(lines[1].contains("日本語の長い…"), "{screen}");
    assert_eq!(terminal.finish(), 0);
}
