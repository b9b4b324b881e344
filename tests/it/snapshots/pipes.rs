//! A reader of stdout that goes away is a quiet end, whatever is printed.

use std::io::pipe;
use std::process::{Command, Stdio};

use ssmx::loopback::{Loopback, Options};

use crate::config::Home;
use crate::support::{SSMX, clean, command};

/// Runs a command whose stdout nobody reads.
#[track_caller]
fn is_quiet(mut command: Command, words: &[&str]) {
    let (reader, writer) = pipe().expect("a pipe");
    drop(reader);
    command.args(words).stdin(Stdio::null());
    let (stderr, status) = run_into(command, writer);
    // The command on the node ends by the signal that it would have had here.
    let expected = if words.contains(&"echo") { 141 } else { 0 };
    assert_eq!((&*stderr, status), ("", Some(expected)), "{words:?}");
}

/// Runs a command with this stdout; its stderr and exit status.
fn run_into(mut command: Command, stdout: impl Into<Stdio>) -> (String, Option<i32>) {
    let child = command.stdout(stdout).stderr(Stdio::piped()).spawn();
    let done = child.expect("the program starts").wait_with_output();
    let done = done.expect("it can be waited for");
    let stderr = String::from_utf8_lossy(&done.stderr).into_owned();
    (stderr, done.status.code())
}

#[test]
fn whoever_prints_ends_quietly_when_nobody_reads() {
    let loopback = Loopback::start(Options {
        paced: false,
        ..Options::default()
    })
    .expect("loopback starts");
    loopback.add_history(3);
    let with_aws: [&[&str]; 12] = [
        &["ls"],
        &["ls", "--output", "json"],
        &["history"],
        &["history", "--output", "json"],
        &["history", "--output", "text"],
        &["describe-sessions", "--state", "History"],
        &[
            "describe-sessions",
            "--state",
            "History",
            "--output",
            "json",
        ],
        &["get-connection-status", "--target", "web-1"],
        &["doctor", "web-1"],
        &["doctor", "--output", "json"],
        &["exec", "-n", "web-1", "--", "echo", "here"],
        &[
            "exec",
            "--targets",
            "i-10000000000000001",
            "--output",
            "json",
            "--",
            "true",
        ],
    ];
    for words in with_aws {
        is_quiet(command(SSMX, &loopback), words);
    }
    let home = Home::new("region = \"eu-west-1\"\n[alias.db]\ntarget = \"i-1\"\n");
    let cast = home.write(
        "x.cast",
        "{\"version\": 2, \"width\": 80, \"height\": 24}\n[0.0, \"o\", \"hello\\r\\n\"]\n",
    );
    let cast = cast.to_string_lossy().into_owned();
    let alone: [&[&str]; 15] = [
        &["--help"],
        &["-h"],
        &["help"],
        &["--version"],
        &["exec", "--help"],
        &["help", "exec"],
        &["config", "show"],
        &["config", "show", "--output", "json"],
        &["config", "check"],
        &["config", "path"],
        &["completion", "bash"],
        &["man"],
        &["ssh-config"],
        &["__complete", "fish", "1", "ssmx", ""],
        &["play", &cast],
    ];
    for words in alone {
        is_quiet(home.command(&[]), words);
    }
}

/// What cannot be written for another reason is told, where there is such a device.
#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_is_full_is_told() {
    for words in [
        &["--help"][..],
        &["--version"],
        &["config", "show"],
        &["completion", "zsh"],
        &["man"],
    ] {
        let mut command = Command::new(SSMX);
        clean(&mut command);
        let full = std::fs::File::options().write(true).open("/dev/full");
        command.args(words).stdin(Stdio::null());
        let (stderr, status) = run_into(command, full.expect("there is one"));
        assert_eq!(status, Some(255), "{words:?}: {stderr}");
        let told = "ssmx: error: cannot write to stdout: No space left on device\n";
        assert_eq!(stderr, told, "{words:?}");
    }
}
