//! Every setting by option, environment and file, in that order, and where it came from.

use std::process::Command;

use ssmx::config::{Kind, SETTINGS};

use super::Home;
use crate::support::run_without_input;

/// A setting by each way, and a command that has its option.
struct Row {
    key: &'static str,
    /// Four values, as options have them.
    values: [&'static str; 4],
    command: &'static [&'static str],
}

const LS: &[&str] = &["ls", "colour=red"];
const START: &[&str] = &["start-session", "--target", ""];
const FORWARD: &[&str] = &["forward", "i-1"];
const FLEET: &[&str] = &["exec", "--targets", "i-1", "--", ""];
const SSH: &[&str] = &["ssh", "-J", "x", "i-1"];

const fn row(
    key: &'static str,
    values: [&'static str; 4],
    command: &'static [&'static str],
) -> Row {
    Row {
        key,
        values,
        command,
    }
}

const SECONDS: [&str; 4] = ["1", "2", "3", "4"];
const YES: [&str; 4] = ["true", "false", "true", "false"];

/// Each command ends by a usage that makes no sense, after it has told of its settings.
const ROWS: &[Row] = &[
    row("profile", ["a", "b", "c", "d"], LS),
    row("region", ["a-1", "b-1", "c-1", "d-1"], LS),
    row(
        "endpoint_url",
        ["http://a", "http://b", "http://c", "http://d"],
        LS,
    ),
    row("ca_bundle", ["/a", "/b", "/c", "/d"], LS),
    row("cli_connect_timeout", SECONDS, LS),
    row("cli_read_timeout", SECONDS, LS),
    row("color", ["off", "auto", "on", "off"], LS),
    row("output", ["json", "table", "text", "json"], LS),
    row("debug", YES, LS),
    row("no_verify_ssl", YES, LS),
    row("request_access", ["a", "b", "c", "d"], LS),
    row("reason", ["a", "b", "c", "d"], START),
    row("escape_char", ["%", "!", "none", "^a"], START),
    row("keepalive", SECONDS, START),
    row("handshake_timeout", SECONDS, START),
    row("payload_size", SECONDS, START),
    row("no_eof", YES, START),
    row("no_restart", YES, FORWARD),
    row("lazy", YES, FORWARD),
    row("slow_reader_timeout", SECONDS, FORWARD),
    row("idle_timeout", SECONDS, FORWARD),
    row("max_concurrency", ["1", "10%", "3", "4"], FLEET),
    row("max_errors", ["1", "10%", "3", "4"], FLEET),
    row("ssh", ["/a", "/b", "/c", "/d"], SSH),
];

/// What is told of a setting: the value and where it came from. `words` are options.
#[track_caller]
fn told(mut command: Command, row: &Row, words: &[String]) -> (String, String) {
    let (name, rest) = row.command.split_first().unwrap();
    command.arg(name).args(words).args(rest);
    // As --debug tells it, which is a setting itself.
    command.env("SSMX_LOG", "debug");
    let done = run_without_input(command);
    assert_eq!(done.code(), Some(252), "{}: {done:?}", row.key);
    let start = format!(" {} = ", row.key);
    let mut tellings = done
        .stderr
        .lines()
        .filter_map(|line| line.split_once(&start));
    let telling = tellings
        .next()
        .unwrap_or_else(|| panic!("{}: {done:?}", row.key));
    let (value, source) = telling.1.split_once(" (").expect("a source");
    (value.to_owned(), source.trim_end_matches(')').to_owned())
}

/// A line of a file.
fn line(row: &Row, value: &str) -> String {
    let key = SETTINGS.iter().find(|key| key.name == row.key).unwrap();
    let is_number = value.bytes().all(|byte| byte.is_ascii_digit());
    match key.kind {
        Kind::Number | Kind::Flag => format!("{} = {value}\n", row.key),
        Kind::Amount if is_number => format!("{} = {value}\n", row.key),
        _ => format!("{} = {value:?}\n", row.key),
    }
}

/// The option that says so; `--no-lazy` and the like say no.
fn option(row: &Row, value: &str) -> Vec<String> {
    let key = SETTINGS.iter().find(|key| key.name == row.key).unwrap();
    let long = |name: &str| format!("--{}", name.replace('_', "-"));
    match (key.kind, value) {
        (Kind::Flag, "true") => vec![long(row.key)],
        (Kind::Flag, _) => vec![long(key.opposite)],
        _ => vec![long(row.key), value.to_owned()],
    }
}

#[test]
fn each_is_given_by_option_environment_project_and_user_in_that_order() {
    let rows: Vec<&str> = ROWS.iter().map(|row| row.key).collect();
    let keys: Vec<&str> = SETTINGS.iter().map(|key| key.name).collect();
    assert_eq!(rows, keys, "a row for each setting");
    for (row, key) in ROWS.iter().zip(SETTINGS) {
        let [user, project, environment, option] = row.values;
        let home = Home::new(&line(row, user));
        let file = home.path("config/ssmx/config.toml");
        let command = || home.command(&[]);
        let none: [String; 0] = [];
        let expected = (user.to_owned(), format!("{}:1", file.display()));
        assert_eq!(told(command(), row, &none), expected, "the user's file");

        let path = home.write(".ssmx.toml", &line(row, project));
        if key.guarded.is_none() {
            let expected = (project.to_owned(), format!("{}:1", path.display()));
            assert_eq!(told(command(), row, &none), expected, "a project's file");
        } else {
            let done = home.run(&["config", "check"]);
            assert_eq!(done.code(), Some(253), "{}: {done:?}", row.key);
            std::fs::remove_file(&path).unwrap();
        }
        for name in key.aws {
            let mut command = command();
            command.env(name, "http://aws");
            let (_, source) = told(command, row, &none);
            assert_eq!(source, *name, "{}", row.key);
        }
        let with_variable = || {
            let mut command = command();
            command.env(key.variable, environment);
            for name in key.aws {
                command.env(name, "http://aws");
            }
            command
        };
        let expected = (environment.to_owned(), key.variable.to_owned());
        assert_eq!(
            told(with_variable(), row, &none),
            expected,
            "the environment"
        );

        let words = self::option(row, option);
        let expected = (option.to_owned(), "the command line".to_owned());
        assert_eq!(told(with_variable(), row, &words), expected, "the option");
    }
}
