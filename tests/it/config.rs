//! Configuration files, as the program takes them.

mod alias;
mod odd;
mod project;
mod settings;
mod tunnels;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use ssmx::loopback::Loopback;

use crate::support::{self, Finished, SSMX, run_without_input};

/// A home of its own, with a file of the user's in it.
pub struct Home {
    directory: tempfile::TempDir,
}

impl Home {
    pub fn new(config: &str) -> Self {
        let home = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        home.write("config/ssmx/config.toml", config);
        home
    }

    /// Writes a file; its path.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The program at home, without AWS.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(SSMX);
        support::clean(&mut command);
        self.settle(&mut command);
        command.args(arguments);
        command
    }

    /// The program at home, with AWS in miniature.
    pub fn loopback(&self, loopback: &Loopback, arguments: &[&str]) -> Command {
        let mut command = support::command(SSMX, loopback);
        self.settle(&mut command);
        command.args(arguments);
        command
    }

    pub fn settle(&self, command: &mut Command) {
        command
            .env_remove("SSMX_CONFIG")
            .env("HOME", self.directory.path())
            .env("XDG_CONFIG_HOME", self.path("config"))
            .current_dir(self.directory.path());
    }

    pub fn run(&self, arguments: &[&str]) -> Finished {
        run_without_input(self.command(arguments))
    }
}

/// The value and the source of a setting in `config show --output json`.
fn setting(done: &Finished, key: &str) -> (Value, String) {
    let answer: Value = serde_json::from_slice(&done.stdout).unwrap();
    let setting = &answer["Settings"][key];
    let source = setting["Source"].as_str().unwrap_or_default();
    (setting["Value"].clone(), source.to_owned())
}

#[test]
fn flags_go_before_the_environment_and_that_before_files() {
    let home = Home::new("region = \"eu-west-1\"\nkeepalive = 7\n");
    let show = ["config", "show", "--output", "json"];
    let file = home.path("config/ssmx/config.toml");

    let done = home.run(&show);
    let place = format!("{}:1", file.display());
    assert_eq!(setting(&done, "region"), ("eu-west-1".into(), place));
    let place = format!("{}:2", file.display());
    assert_eq!(setting(&done, "keepalive"), (7.into(), place));
    assert_eq!(
        setting(&done, "idle_timeout"),
        (60.into(), "default".into())
    );

    let mut command = home.command(&show);
    command
        .env("AWS_REGION", "us-west-2")
        .env("SSMX_KEEPALIVE", "9");
    let done = run_without_input(command);
    let expected = ("us-west-2".into(), "AWS_REGION".into());
    assert_eq!(setting(&done, "region"), expected);
    let expected = (9.into(), "SSMX_KEEPALIVE".into());
    assert_eq!(setting(&done, "keepalive"), expected);

    let mut command = home.command(&["config", "show", "--output", "json", "--region", "x-1"]);
    command.env("SSMX_REGION", "us-west-2");
    let done = run_without_input(command);
    let expected = ("x-1".into(), "the command line".into());
    assert_eq!(setting(&done, "region"), expected);
}

#[test]
fn what_is_shown_is_a_file_again() {
    let text = "region = \"eu-west-1\"\n\n[alias.\"a.b\"]\ntarget = \"tag:Name=\\\"x\\\"\"\n\
        forwards = [\"1:2\"]\nparameters = { command = [\"echo 'hi'\"] }\n";
    let home = Home::new(text);
    let shown = home.run(&["config", "show"]);
    let again = Home::new(&shown.text());
    assert_eq!(again.run(&["config", "check"]).code(), Some(0), "{shown:?}");
    let aliases = |home: &Home| {
        let done = home.run(&["config", "show", "--output", "json"]);
        let mut answer: Value = serde_json::from_slice(&done.stdout).unwrap();
        answer["Aliases"]["a.b"]["source"] = Value::Null;
        answer["Aliases"].clone()
    };
    assert_eq!(aliases(&again), aliases(&home));
}

#[test]
fn debug_tells_where_each_setting_came_from() {
    let loopback = Loopback::start(Default::default()).unwrap();
    let home = Home::new("keepalive = 7\nregion = \"eu-west-1\"\n");
    let arguments = [
        "start-session",
        "--target",
        loopback.target(),
        "--debug",
        "--document-name",
        "AWS-StartNonInteractiveCommand",
        "--parameters",
        "command=true",
    ];
    let mut command = home.loopback(&loopback, &arguments);
    command.env("SSMX_HANDSHAKE_TIMEOUT", "33");
    let done = run_without_input(command);
    let place = home.path("config/ssmx/config.toml");
    for expected in [
        format!("keepalive = 7 ({}:1)", place.display()),
        // The embedded service has to be reached whatever the file says.
        "region = us-east-1 (AWS_REGION)".to_owned(),
        "handshake_timeout = 33 (SSMX_HANDSHAKE_TIMEOUT)".to_owned(),
        "escape_char = ~ (default)".to_owned(),
    ] {
        assert!(done.stderr.contains(&expected), "{expected}: {done:?}");
    }
    assert_eq!(done.code(), Some(0), "{done:?}");
}

#[test]
fn what_is_wrong_has_line_and_column_and_ends_everything_but_the_cure() {
    let home = Home::new("\nkeep_alive = 5\ncolor = 1\n");
    let file = home.path("config/ssmx/config.toml");
    let file = file.display();
    let done = home.run(&["get-connection-status", "--target", "i-1"]);
    assert_eq!(
        done.stderr,
        format!(
            "ssmx: error: {file}:2:1: there is no setting \"keep_alive\" (and 1 more)\n\
             ssmx: hint: `ssmx config check` tells all\n"
        )
    );
    assert_eq!((done.text().as_str(), done.code()), ("", Some(253)));

    let done = home.run(&["config", "check"]);
    assert_eq!(
        done.stderr,
        format!(
            "ssmx: error: {file}:2:1: there is no setting \"keep_alive\"\n\
             ssmx: hint: did you mean keepalive?\n\
             ssmx: error: {file}:3:9: color must be one of \"on\", \"off\", \"auto\", not the number 1\n"
        )
    );
    assert_eq!((done.text().as_str(), done.code()), ("", Some(253)));

    let done = home.run(&["config", "check", "--output", "json"]);
    let answer: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(answer["Problems"][0]["Line"], 2);
    assert_eq!(answer["Problems"][0]["Column"], 1);
    assert_eq!(answer["Problems"][0]["Hint"], "did you mean keepalive?");
    assert_eq!((done.stderr.as_str(), done.code()), ("", Some(253)));

    for arguments in [
        &["--help"][..],
        &["start-session", "--help"],
        &["config", "path"],
        &["loopback", "--", "true"],
    ] {
        let done = home.run(arguments);
        assert_eq!(done.code(), Some(0), "{arguments:?}: {done:?}");
    }
    // Usage goes before configuration.
    assert_eq!(home.run(&["start-session", "--zz"]).code(), Some(252));
    assert_eq!(home.run(&["config", "show"]).code(), Some(253));
}

#[test]
fn values_that_only_the_option_can_judge_are_checked_too() {
    let home = Home::new("handshake_timeout = 0\nescape_char = \"ab\"\n");
    let file = home.path("config/ssmx/config.toml");
    let done = home.run(&["config", "check"]);
    let lines: Vec<_> = done.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{done:?}");
    let start = format!("ssmx: error: {}:1:21: handshake_timeout: ", file.display());
    assert!(lines[0].starts_with(&start), "{done:?}");
    let end = "2:15: escape_char: \"ab\" cannot be used: it must be one ASCII character, \
        ^ and a letter, or none";
    assert!(lines[1].ends_with(end), "{done:?}");
    assert_eq!(done.code(), Some(253));
    let home = Home::new("");
    let mut command = home.command(&["describe-sessions"]);
    command.env("SSMX_COLOR", "blue");
    let done = run_without_input(command);
    assert!(
        done.stderr.starts_with("ssmx: error: SSMX_COLOR: "),
        "{done:?}"
    );
    assert_eq!(done.code(), Some(253));
}

#[test]
fn files_are_where_the_environment_says() {
    let home = Home::new("");
    let path = |command: Command| {
        let done = run_without_input(command);
        assert_eq!(done.code(), Some(0), "{done:?}");
        done.text().trim_end().to_owned()
    };
    let expected = home.path("config/ssmx/config.toml");
    let found = path(home.command(&["config", "path"]));
    assert_eq!(found, expected.to_string_lossy());
    let mut command = home.command(&["config", "path"]);
    command.env_remove("XDG_CONFIG_HOME");
    let expected = home.path(".config/ssmx/config.toml");
    assert_eq!(path(command), expected.to_string_lossy());
    let mut command = home.command(&["config", "path"]);
    command.env("SSMX_CONFIG", "/x/y.toml");
    assert_eq!(path(command), "/x/y.toml");

    // A file that is named has to be there.
    for name in ["/nonexistent/c.toml", "/"] {
        let mut command = home.command(&["config", "check"]);
        command.env("SSMX_CONFIG", name);
        let done = run_without_input(command);
        assert!(done.stderr.contains("SSMX_CONFIG names it"), "{done:?}");
        assert_eq!(done.code(), Some(253), "{done:?}");
    }
    let done = home.run(&["config", "check", "nowhere.toml"]);
    assert!(
        done.stderr
            .starts_with("ssmx: error: nowhere.toml: cannot read it"),
        "{done:?}"
    );
    assert_eq!(done.code(), Some(253));
}

#[test]
fn a_default_for_answers_does_not_make_sessions_print_tokens() {
    let loopback = Loopback::start(Default::default()).unwrap();
    let home = Home::new("output = \"json\"\n");
    let done = run_without_input(home.loopback(&loopback, &["describe-sessions"]));
    assert!(done.text().starts_with('{'), "{done:?}");
    let resume = ["resume-session", "--session-id", "gone"];
    let done = run_without_input(home.loopback(&loopback, &resume));
    assert!(done.stdout.is_empty(), "{done:?}");
}
