//! Statuses, arguments, signals, and what goes wrong.

use std::io::Read as _;
use std::process::Stdio;

use ssmx::loopback::{Loopback, Options as Peer};

use super::{exec, loopback, shells, with_shell};
use crate::support::{DEADLINE, SSMX, command, kill, run, run_without_input, spawn};

#[test]
fn a_command_costs_one_start_session_and_says_nothing_of_itself() {
    let loopback = loopback();
    let done = run_without_input(exec(&loopback, &[], &["true"]));
    assert_eq!(
        (done.code(), done.text().as_str(), done.stderr.as_str()),
        (Some(0), "", "")
    );
    assert!(loopback.wait_for(|stats| stats.ended == 1, DEADLINE));
    assert_eq!(loopback.stats().api_calls, 1);
}

#[test]
fn statuses_streams_and_arguments_come_through_in_every_shell() {
    let scratch = tempfile::tempdir().unwrap();
    for shell in shells(&scratch) {
        let loopback = with_shell(&shell);
        let script = "cat; echo out; echo err >&2; exit 7";
        let done = run(exec(&loopback, &[], &["sh", "-c", script]), b"in\0\xff");
        assert_eq!(done.stdout, b"in\0\xffout\n", "{shell:?}");
        assert_eq!(
            (done.code(), done.stderr.as_str()),
            (Some(7), "err\n"),
            "{shell:?}"
        );
        let words = [
            "a b",
            "",
            "it's",
            "\"",
            "$HOME",
            "`id`",
            "\\n",
            "*",
            "ä€\u{1f600}",
            "\n\n",
            "{{ssm:x}}",
            "-n",
            "%s",
            "!",
            "#",
            "~",
            "a\tb ",
        ];
        let all: Vec<&str> = ["printf", "<%s>"].into_iter().chain(words).collect();
        let done = run_without_input(exec(&loopback, &["-n"], &all));
        let expected: String = words.iter().map(|word| format!("<{word}>")).collect();
        assert_eq!((done.text(), done.code()), (expected, Some(0)), "{shell:?}");
        let done = run_without_input(exec(&loopback, &[], &["no-such-program"]));
        assert_eq!(done.code(), Some(127), "{shell:?}");
        assert!(done.stderr.contains("no-such-program"), "{done:?}");
        let done = run_without_input(exec(&loopback, &[], &["sh", "-c", "kill -9 $$"]));
        assert_eq!(done.code(), Some(137), "{shell:?}");
    }
}

#[test]
fn arguments_are_bytes() {
    use std::os::unix::ffi::OsStringExt as _;
    let loopback = loopback();
    let all: Vec<u8> = (1..=255).collect();
    let mut command = exec(&loopback, &[], &["printf", "%s"]);
    command.arg(std::ffi::OsString::from_vec(all.clone()));
    let done = run_without_input(command);
    assert_eq!(done.stdout, all);
}

#[test]
fn commands_start_at_home_without_a_terminal_among_their_streams() {
    let loopback = loopback();
    let script =
        "pwd; for fd in 0 1 2; do test -t $fd && echo terminal; done; ls /proc/self/fd | wc -l";
    let done = run_without_input(exec(&loopback, &[], &["sh", "-c", script]));
    let home = std::env::var("HOME").unwrap();
    // Three streams, and the directory that ls reads.
    assert_eq!(done.text(), format!("{home}\n4\n"), "{done:?}");
}

/// Starts what prints `ready` first, and waits for that.
fn ready(
    loopback: &Loopback,
    options: &[&str],
    script: &str,
) -> (std::process::Child, std::io::PipeReader) {
    let mut command = exec(loopback, options, &["sh", "-c", script]);
    let (mut reader, writer) = std::io::pipe().unwrap();
    command
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(Stdio::null());
    let child = command.spawn().unwrap();
    drop(command);
    let mut ready = [0; 6];
    reader.read_exact(&mut ready).unwrap();
    assert_eq!(&ready, b"ready\n");
    (child, reader)
}

#[test]
fn signals_reach_the_command_and_its_status_comes_back() {
    let scratch = tempfile::tempdir().unwrap();
    for shell in shells(&scratch) {
        let loopback = with_shell(&shell);
        for (signal, status) in [("INT", 130), ("QUIT", 131), ("TERM", 143)] {
            let (mut child, _reader) = ready(&loopback, &[], "echo ready; exec sleep 100");
            kill(child.id(), &format!("-{signal}"));
            assert_eq!(
                child.wait().unwrap().code(),
                Some(status),
                "{signal} {shell:?}"
            );
            let script = format!(
                "trap 'echo caught; exit 9' {signal}; echo ready; while :; do sleep 0.05; done"
            );
            let (mut child, mut reader) = ready(&loopback, &[], &script);
            kill(child.id(), &format!("-{signal}"));
            let mut rest = String::new();
            reader.read_to_string(&mut rest).unwrap();
            assert_eq!(rest, "caught\n", "{signal} {shell:?}");
            assert_eq!(child.wait().unwrap().code(), Some(9), "{signal} {shell:?}");
        }
        assert_eq!(loopback.stats().terminated, 0, "{shell:?}");
    }
}

#[test]
fn a_second_interrupt_ends_the_session_over_a_command_that_hears_none() {
    let loopback = loopback();
    let script = "trap 'echo heard' INT; echo ready; while :; do sleep 0.05; done";
    let (mut child, mut reader) = ready(&loopback, &[], script);
    kill(child.id(), "-INT");
    let mut heard = [0; 6];
    reader.read_exact(&mut heard).unwrap();
    kill(child.id(), "-INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(loopback.wait_for(|stats| stats.ended == 1, DEADLINE));
    assert_eq!(loopback.stats().terminated, 1);
}

#[test]
fn a_hangup_ends_both_sides() {
    let loopback = loopback();
    let (mut child, _reader) = ready(&loopback, &[], "echo ready; exec sleep 100");
    kill(child.id(), "-HUP");
    assert_eq!(child.wait().unwrap().code(), Some(129));
    assert_eq!(loopback.stats().terminated, 1);
}

#[test]
fn a_command_that_takes_too_long_is_ended() {
    let loopback = loopback();
    let done = run_without_input(exec(&loopback, &["--timeout", "1"], &["sleep", "100"]));
    assert_eq!(done.code(), Some(124));
    assert_eq!(done.stderr, "ssmx: the command did not end within 1 s\n");
    assert_eq!(loopback.stats().terminated, 0, "it heard SIGTERM");
    let done = run_without_input(exec(&loopback, &["--timeout", "40"], &["false"]));
    assert_eq!((done.code(), done.stderr.as_str()), (Some(1), ""));
}

#[test]
fn what_the_node_says_instead_of_running_it_is_told() {
    let scratch = tempfile::tempdir().unwrap();
    let shell = scratch.path().join("sh");
    std::fs::write(&shell, "#!/bin/sh\necho this account is disabled\n").unwrap();
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(&shell, std::fs::Permissions::from_mode(0o755)).unwrap();
    let loopback = Loopback::start(Peer {
        paced: false,
        shell: Some(shell),
        ..Peer::default()
    })
    .unwrap();
    let done = run_without_input(exec(&loopback, &[], &["true"]));
    assert_eq!(done.code(), Some(255));
    let first = "ssmx: error: the node did not run the command: this account is disabled\n";
    assert!(done.stderr.starts_with(first), "{done:?}");
    assert!(done.stderr.contains("--powershell"), "{done:?}");
}

#[test]
fn a_session_that_the_service_ends_is_no_success() {
    let loopback = loopback();
    let running = spawn({
        let mut command = exec(&loopback, &[], &["sleep", "100"]);
        command.stdin(Stdio::null());
        command
    });
    assert!(loopback.wait_for(|stats| stats.messages_to_client >= 2, DEADLINE));
    loopback.end_sessions("Your session timed out due to inactivity.");
    let done = running.finish();
    assert_eq!(done.code(), Some(255));
    assert!(done.stderr.contains("due to inactivity"), "{done:?}");
}

#[test]
fn usage_is_checked_before_anything_is_asked() {
    let loopback = loopback();
    let long = "ä".repeat(20_000);
    let cases: [(&[&str], &str); 5] = [
        (&["exec", "i-1"], "CMD"),
        (&["exec", "--", "true"], "TARGET"),
        (&["exec", "i-1", "--", ""], "there is no command"),
        (&["exec", "i-1", "--", "-x"], "no name of a program"),
        (&["exec", "i-1", "--", "echo", &long], "too long"),
    ];
    for (words, what) in cases {
        let mut ssmx = command(SSMX, &loopback);
        ssmx.args(words);
        let done = run_without_input(ssmx);
        assert_eq!(done.code(), Some(252), "{words:?}");
        assert!(done.stderr.contains(what), "{done:?}");
    }
    assert_eq!(loopback.stats().api_calls, 0);
    let mut offline = command(SSMX, &loopback);
    offline.args(["exec", loopback.offline_target(), "--", "true"]);
    let done = run_without_input(offline);
    assert_eq!(done.code(), Some(254), "{done:?}");
}

#[test]
fn documents_of_ones_own_have_no_input_and_may_tell_the_status() {
    let loopback = loopback();
    let document = ["--document", "AWS-StartNonInteractiveCommand"];
    let words = ["sh", "-c", "echo 'a  b'; echo err >&2; exit 5"];
    let done = run(exec(&loopback, &document, &words), b"input");
    assert_eq!(done.code(), Some(252));
    assert!(done.stderr.contains("have no standard input"), "{done:?}");
    assert_eq!(loopback.stats().api_calls, 0);
    let separate = [
        &document[..],
        &["--parameters", "separateOutputStream=true"],
    ]
    .concat();
    // The option takes all words up to the next one.
    let separate = [&separate[..], &["-n"]].concat();
    let done = run(exec(&loopback, &separate, &words), b"input");
    assert_eq!(
        (done.code(), done.text().as_str(), done.stderr.as_str()),
        (Some(5), "a  b\n", "err\n")
    );
    let done = run_without_input(exec(&loopback, &document, &words));
    assert_eq!(done.code(), Some(255));
    assert!(done.text().contains("a  b\n"), "{done:?}");
    assert!(
        done.stderr
            .contains("does not tell the command's exit status"),
        "{done:?}"
    );
}
