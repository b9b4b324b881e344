//! Commands in containers and tunnels to them, with tasks found by what people know of them.

use std::process::Command;

use ssmx::loopback::task::{Container, Task};
use ssmx::loopback::{Loopback, Options};

use crate::support::pty::Terminal;
use crate::support::{Finished, SSMX, command, run, run_without_input};

/// The newest task of the service web that runs.
const WEB: &str = "00000000000000000000000000000012";

fn loopback() -> Loopback {
    Loopback::start(Options {
        paced: false,
        ..Options::default()
    })
    .expect("loopback starts")
}

fn ssmx(loopback: &Loopback, words: &[&str]) -> Command {
    let mut command = command(SSMX, loopback);
    command.args(words);
    command
}

fn exec(loopback: &Loopback, words: &[&str]) -> Finished {
    let mut command = ssmx(loopback, &["ecs", "exec"]);
    command.args(words);
    run_without_input(command)
}

/// The target of the newest session.
fn target(loopback: &Loopback) -> String {
    let mut list = ssmx(
        loopback,
        &["describe-sessions", "--output", "json", "--state"],
    );
    list.arg("History");
    let listed = run_without_input(list).text();
    let listed: serde_json::Value = serde_json::from_str(&listed).expect("JSON");
    listed["Sessions"][0]["Target"]
        .as_str()
        .unwrap_or("")
        .to_owned()
}

#[test]
fn the_newest_running_task_of_a_service_runs_the_command() {
    let loopback = loopback();
    let words = ["--cluster", "shop", "--service", "web", "--", "sh", "-c"];
    let script = "printf 'out\\377'; echo err >&2; exit 7";
    let done = exec(&loopback, &[&words[..], &[script]].concat());
    assert_eq!(done.stdout, b"out\xff", "{done:?}");
    assert_eq!(done.stderr, "err\n");
    assert_eq!(done.code(), Some(7));
    let target = target(&loopback);
    assert!(
        target.starts_with(&format!("ecs:shop_{WEB}_{WEB}-")),
        "{target}"
    );
}

#[test]
fn input_goes_in_and_words_stay_as_they_are() {
    let loopback = loopback();
    let mut bytes = ssmx(
        &loopback,
        &["ecs", "exec", "--cluster", "batch", "--", "cat"],
    );
    let done = run(bytes, &[0, 1, 2, 255, 10, 4, 3]);
    assert_eq!(done.stdout, [0, 1, 2, 255, 10, 4, 3], "{done:?}");
    bytes = ssmx(
        &loopback,
        &["ecs", "exec", "--cluster", "batch", "-n", "--"],
    );
    bytes.args(["printf", "[%s]", "a  b", "it's", "$HOME", "", "{{x}}"]);
    let done = run(bytes, b"not for it");
    assert_eq!(done.text(), "[a  b][it's][$HOME][][{{x}}]", "{done:?}");
    assert_eq!(done.code(), Some(0));
}

#[test]
fn a_shell_is_what_runs_without_a_command() {
    let loopback = loopback();
    let words = ["ecs", "exec", "--cluster", "shop", "--task", WEB];
    let mut terminal = Terminal::spawn(&ssmx(&loopback, &words));
    terminal.type_in(b"PS1='con''tainer> '\r");
    terminal.wait_for("container> ");
    terminal.type_in(b"tty >/dev/null && echo $((40+2)); exit 3\r");
    terminal.wait_for("42");
    assert_eq!(terminal.finish(), 3);
    assert_eq!(loopback.stats().terminated, 0);
}

#[test]
fn commands_run_in_the_working_directory_of_the_container() {
    let loopback = loopback();
    let here = std::env::current_dir().expect("there is one");
    for tty in [&["-t"][..], &[]] {
        let words = [&["--cluster", "batch"], tty, &["--", "pwd"]].concat();
        let done = exec(&loopback, &words);
        assert_eq!(done.text().trim_end(), here.to_string_lossy(), "{done:?}");
        assert_eq!(done.code(), Some(0));
    }
}

#[test]
fn execute_command_takes_what_the_aws_cli_takes() {
    let loopback = loopback();
    let task = "arn:aws:ecs:us-east-1:000000000000:task/batch/00000000000000000000000000000051";
    for words in [
        &[
            "--cluster",
            "batch",
            "--task",
            &task[task.len() - 32..],
            "--interactive",
        ][..],
        &["--task", task, "--container", "main"],
    ] {
        let mut command = ssmx(
            &loopback,
            &["execute-command", "--command", "sh -c 'echo $((6*7))'"],
        );
        command.args(words);
        let done = run_without_input(command);
        assert_eq!(
            (done.text().as_str(), done.code()),
            ("42\r\n", Some(0)),
            "{done:?}"
        );
    }
    let mut command = ssmx(
        &loopback,
        &["execute-command", "--command", "ls", "--task", task],
    );
    command.arg("--non-interactive");
    let done = run_without_input(command);
    assert_eq!(done.code(), Some(254));
    assert!(done.stderr.contains("only mode supported"), "{done:?}");
    assert!(
        done.stderr.contains("hint: leave out --non-interactive"),
        "{done:?}"
    );
}

#[test]
fn what_is_missing_or_wrong_is_said_with_the_choices() {
    let loopback = loopback();
    let cases: [(&[&str], i32, &str, &str); 9] = [
        (&[], 252, "several ECS clusters", "--cluster: shop, batch"),
        (
            &["--cluster", "shop"],
            252,
            "5 tasks are running",
            "--service web, --service worker, --service legacy, --service broken",
        ),
        (
            &["--cluster", "shop", "--service", "worker"],
            252,
            "has several containers",
            "--container: worker, logs",
        ),
        (
            &[
                "--cluster",
                "shop",
                "--service",
                "worker",
                "--container",
                "x",
            ],
            254,
            "no container x",
            "worker, logs",
        ),
        (
            &["--cluster", "shop", "--service", "wbe"],
            254,
            "no service wbe",
            "did you mean web?",
        ),
        (
            &["--cluster", "nope"],
            254,
            "ClusterNotFoundException",
            "--region",
        ),
        (
            &["--cluster", "shop", "--task", "12"],
            254,
            "there is none such",
            "another cluster",
        ),
        (
            &["--cluster", "shop", "--service", "legacy"],
            254,
            "ECS Exec was not enabled",
            "--enable-execute-command",
        ),
        (
            &["--cluster", "shop", "--service", "broken"],
            254,
            "its agent is STOPPED",
            "ssmmessages:CreateControlChannel",
        ),
    ];
    for (words, status, what, hint) in cases {
        let done = exec(&loopback, &[words, &["--", "true"]].concat());
        assert_eq!(done.code(), Some(status), "{words:?} {done:?}");
        let mut lines = done.stderr.lines();
        let (error, advice) = (lines.next().unwrap_or(""), lines.next().unwrap_or(""));
        assert!(
            error.starts_with("ssmx: error: ") && error.contains(what),
            "{done:?}"
        );
        assert!(
            advice.starts_with("ssmx: hint: ") && advice.contains(hint),
            "{done:?}"
        );
        assert_eq!(lines.next(), None, "{done:?}");
    }
    assert_eq!(loopback.stats().started, 0);
}

#[test]
fn what_is_missing_is_picked_where_there_is_a_terminal() {
    let loopback = loopback();
    let words = ["ecs", "exec", "--", "echo", "he''re"];
    let mut terminal = Terminal::spawn(&ssmx(&loopback, &words));
    terminal.wait_for("cluster> ");
    terminal.wait_for("2/2");
    terminal.type_in(b"sho\r");
    terminal.wait_for("task> ");
    terminal.type_in(b"worker\r");
    terminal.wait_for("container> ");
    terminal.type_in(b"log\r");
    terminal.wait_for("he''re");
    assert_eq!(terminal.finish(), 0);
    let target = target(&loopback);
    let worker = "00000000000000000000000000000021";
    assert!(
        target.starts_with(&format!("ecs:shop_{worker}_")),
        "{target}"
    );

    let mut terminal = Terminal::spawn(&ssmx(&loopback, &words));
    terminal.wait_for("cluster> ");
    terminal.type_in(b"\x03");
    assert_eq!(terminal.finish(), 130);
}

#[test]
fn permissions_that_are_missing_are_done_without_where_that_is_possible() {
    let loopback = loopback();
    loopback.deny("DescribeTasks", true);
    let task = [
        "--cluster",
        "batch",
        "--task",
        "00000000000000000000000000000051",
    ];
    let done = exec(
        &loopback,
        &[&task[..], &["--container", "main", "--", "echo", "x"]].concat(),
    );
    assert_eq!(
        (done.text().as_str(), done.code()),
        ("x\n", Some(0)),
        "{done:?}"
    );
    assert!(done.stderr.contains("ecs:DescribeTasks") || done.stderr.contains("DescribeTasks"));
    let done = exec(&loopback, &[&task[..], &["--", "echo", "x"]].concat());
    assert_eq!(done.code(), Some(254), "{done:?}");
    assert!(
        done.stderr.contains("must allow ecs:DescribeTasks"),
        "{done:?}"
    );
    loopback.deny("DescribeTasks", false);
    loopback.deny("ListClusters", true);
    let done = exec(&loopback, &["--", "true"]);
    assert!(
        done.stderr.contains("taking the cluster default"),
        "{done:?}"
    );
}

#[test]
fn throttled_calls_are_repeated_and_pages_are_turned() {
    let service = |number| Task::running("c", &format!("{number:032x}")).of("many");
    let mut tasks: Vec<Task> = (0..230).map(service).collect();
    tasks.push(
        service(1000)
            .hours_later(1)
            .with(vec![Container::with_agent("new", "RUNNING")]),
    );
    let loopback = Loopback::start(Options {
        paced: false,
        tasks,
        ..Options::default()
    })
    .expect("loopback starts");
    loopback.throttle(2);
    let done = exec(&loopback, &["--service", "many", "--", "echo", "found"]);
    assert_eq!(
        (done.text().as_str(), done.code()),
        ("found\n", Some(0)),
        "{done:?}"
    );
    // Two for nothing, the cluster, three pages of names, three of tasks, the command.
    assert_eq!(loopback.stats().api_calls, 10);
    loopback.throttle(5);
    let done = exec(&loopback, &["--service", "many", "--", "true"]);
    assert_eq!(done.code(), Some(254), "{done:?}");
    assert!(done.stderr.contains("still throttled"), "{done:?}");
}

#[test]
fn tunnels_lead_to_containers() {
    let loopback = loopback();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let answers = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().expect("a connection");
        std::io::Write::write_all(&mut socket, b"from the container\n").expect("sent");
    });
    let spec = format!("0:{port}");
    let mut forward = ssmx(
        &loopback,
        &["forward", "--cluster", "shop", "--service", "web", "-L"],
    );
    forward.args([
        &spec,
        "--",
        "sh",
        "-c",
        "curl -s --http0.9 telnet://127.0.0.1:$SSMX_PORT </dev/null",
    ]);
    let done = run_without_input(forward);
    assert_eq!(done.text(), "from the container\n", "{done:?}");
    answers.join().expect("answered");
    let target = target(&loopback);
    assert!(target.starts_with(&format!("ecs:shop_{WEB}_")), "{target}");
    let both = ["forward", "i-1", "--cluster", "shop", "-L", "0:80"];
    assert_eq!(run_without_input(ssmx(&loopback, &both)).code(), Some(252));
}

#[test]
fn start_session_takes_containers_too() {
    let loopback = loopback();
    let words = [
        "start-session",
        "--cluster",
        "shop",
        "--service",
        "web",
        "--document-name",
    ];
    let mut command = ssmx(&loopback, &words);
    command.args([
        "AWS-StartInteractiveCommand",
        "--parameters",
        "command=echo in",
    ]);
    let done = run_without_input(command);
    assert_eq!(
        (done.text().as_str(), done.code()),
        ("in\r\n", Some(0)),
        "{done:?}"
    );
    assert!(target(&loopback).starts_with(&format!("ecs:shop_{WEB}_")));
}

#[test]
fn commands_run_by_the_target_of_a_container_too() {
    let loopback = loopback();
    let listed = exec(
        &loopback,
        &["--cluster", "shop", "--service", "web", "--", "true"],
    );
    assert_eq!(listed.code(), Some(0), "{listed:?}");
    let target = target(&loopback);
    let words = ["exec", &target, "--", "sh", "-c", "echo out; exit 7"];
    let done = run_without_input(ssmx(&loopback, &words));
    let seen = (done.text(), done.stderr.clone(), done.code());
    assert_eq!(seen, ("out\n".to_owned(), String::new(), Some(7)));
}
