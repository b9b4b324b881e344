//! Completion scripts and what they ask for, and manual pages.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::Command;

use ssmx::loopback::Loopback;

use crate::config::Home;
use crate::support::{Finished, SSMX, run_without_input};

const CONFIG: &str = "[alias.web]\ntarget = \"i-1\"\ndescription = \"the web: it serves\"\n\
    [alias.web-2]\ntarget = \"i-1\"\n[alias.db]\ntarget = \"i-1\"\n";

/// A home with nothing to ask, and the program on its path.
fn home() -> Home {
    let home = Home::new(CONFIG);
    home.write("bin/x", "");
    symlink(SSMX, home.path("bin/ssmx")).unwrap();
    home
}

fn command(home: &Home, program: &str) -> Command {
    let mut command = Command::new(program);
    crate::support::clean(&mut command);
    home.settle(&mut command);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", home.path("bin").display()));
    command
}

/// What a shell is told at the end of these words.
fn fish(home: &Home, words: &[&str]) -> Finished {
    let mut command = command(home, SSMX);
    let index = (words.len() - 1).to_string();
    command.args(["__complete", "fish", &index]).args(words);
    run_without_input(command)
}

fn values(done: &Finished) -> Vec<String> {
    let text = done.text();
    let values = text.lines().filter_map(|line| line.split('\t').next());
    values.map(str::to_owned).collect()
}

#[test]
fn words_are_completed_with_what_may_stand_there() {
    let home = home();
    home.write(
        "aws",
        "[default]\n[profile dev-1]\n[profile dev-2]\n[sso-session dev-x]\n",
    );
    let cases: [(&[&str], &[&str]); 15] = [
        (&["ssmx", "start"], &["start-session"]),
        (
            &["ssmx", "start-session", "--target", "w"],
            &["web", "web-2"],
        ),
        (&["ssmx", "start-session", "--target=d"], &["--target=db"]),
        (&["ssmx", "start-session", "--targ"], &["--target"]),
        (&["ssmx", "up", "web", "d"], &["db"]),
        (&["ssmx", "forward", ""], &["web", "web-2", "db"]),
        (&["ssmx", "ssh", "-v", "ubuntu@d"], &["ubuntu@db"]),
        // As it stands there, with fish's backslashes and quotes.
        (&["ssmx", "forward", "w\\eb-"], &["web-2"]),
        (&["ssmx", "forward", "'web-"], &["web-2"]),
        (&["ssmx", "--region", "eu-n"], &["eu-north-1"]),
        (&["ssmx", "--color", "o"], &["on", "off"]),
        (
            &["ssmx", "start-session", "--document-name", "AWS-StartSSH"],
            &["AWS-StartSSHSession"],
        ),
        (&["ssmx", "config", "ch"], &["check"]),
        (&["ssmx", "config", "check", "bin/s"], &["bin/ssmx"]),
        (&["ssmx", "nonsense", "--zzz"], &[]),
    ];
    for (words, expected) in cases {
        let done = fish(&home, words);
        assert_eq!(values(&done), expected, "{words:?}");
        assert_eq!((done.stderr.as_str(), done.code()), ("", Some(0)));
    }
    let done = fish(&home, &["ssmx", "up", "web"]);
    let first = done.text();
    assert!(first.starts_with("web\tthe web: it serves\n"), "{done:?}");

    let mut command = command(&home, SSMX);
    command
        .args(["__complete", "fish", "2", "ssmx", "--profile", "dev"])
        .env("AWS_CONFIG_FILE", home.path("aws"));
    assert_eq!(values(&run_without_input(command)), ["dev-1", "dev-2"]);
}

#[test]
fn questions_that_make_no_sense_are_answered_with_nothing() {
    let home = home();
    for words in [
        &["__complete"][..],
        &["__complete", "tcsh", "1", "ssmx"],
        &["__complete", "fish", "x"],
        &["__complete", "fish", "9", "ssmx"],
        &["__complete", "fish", "0", "ssmx"],
        &["__complete", "fish", "18446744073709551615", "ssmx"],
        &["__complete", "bash"],
    ] {
        let mut command = command(&home, SSMX);
        command.args(words);
        let done = run_without_input(command);
        assert_eq!(
            (done.text().as_str(), done.stderr.as_str(), done.code()),
            ("", "", Some(0)),
            "{words:?}"
        );
    }
}

#[test]
fn a_broken_configuration_keeps_nobody_from_completing() {
    let home = Home::new("nonsense = 1\n");
    let done = fish(&home, &["ssmx", "start"]);
    assert_eq!(values(&done), ["start-session"]);
    let done = fish(&home, &["ssmx", "forward", ""]);
    assert_eq!(
        (done.stderr.as_str(), done.code()),
        ("", Some(0)),
        "{done:?}"
    );
}

/// What bash is told at the end of a line, of which it replaces `part`.
fn bash(command: &mut Command, line: &str, part: &str) -> String {
    command.args(["__complete", "bash", line, part]);
    let mut asked = Command::new(command.get_program());
    asked.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => asked.env(name, value),
            None => asked.env_remove(name),
        };
    }
    run_without_input(asked).text()
}

#[test]
fn odd_names_are_quoted_as_the_line_is() {
    let nodes = [
        ("i-1", "web 2: the \"big\" one"),
        ("i-2", "it's"),
        ("i-3", "$HOME;`x`"),
    ];
    let loopback = Loopback::start(ssmx::loopback::Options {
        nodes: nodes
            .map(|(id, name)| ssmx::loopback::Node::online(id).named(name))
            .into(),
        ..Default::default()
    })
    .unwrap();
    let home = Home::new("");
    for (line, part, expected) in [
        (
            "ssmx forward web\\ 2",
            "web\\ 2",
            "web\\ 2:\\ the\\ \\\"big\\\"\\ one\n",
        ),
        ("ssmx forward 'web 2", "web 2", "web 2: the \"big\" one\n"),
        (
            "ssmx forward \"web 2",
            "web 2",
            "web 2: the \\\"big\\\" one\n",
        ),
        ("ssmx forward it", "it", "it\\'s\n"),
        ("ssmx forward 'it", "it", "it'\\''s\n"),
        ("ssmx forward \"\\$H", "\\$H", "\\$HOME;\\`x\\`\n"),
        ("ssmx ssh ubuntu@it", "it", "it\\'s\n"),
    ] {
        let mut command = home.loopback(&loopback, &[]);
        assert_eq!(bash(&mut command, line, part), expected, "{line}");
    }
}

#[test]
fn living_sessions_are_completed() {
    let loopback = Loopback::start(ssmx::loopback::Options {
        paced: false,
        ..Default::default()
    })
    .unwrap();
    let home = Home::new("");
    let mut terminal =
        crate::support::pty::Terminal::spawn(&crate::support::start_session(&loopback, &[]));
    terminal.type_in(b"PS1='re''mote> '\r");
    terminal.wait_for("remote> ");
    let id = loopback.stats().session_id.unwrap();
    for words in [
        &["terminate-session", "--session-id", ""][..],
        &["terminate", ""],
        &["resume-session", "--session-id", "loop"],
    ] {
        let index = words.len().to_string();
        let mut command = home.loopback(&loopback, &["__complete", "fish", &index, "ssmx"]);
        command.args(words);
        let expected = format!("{id}\t{} by loopback\n", loopback.target());
        assert_eq!(run_without_input(command).text(), expected, "{words:?}");
    }
    terminal.type_in(b"exit\r");
    terminal.finish();
}

/// Whether there is such a shell; those that are missing are skipped.
fn is_there(shell: &str) -> bool {
    let found = Command::new(shell).arg("--version").output().is_ok();
    if !found {
        eprintln!("skipped: there is no {shell}");
    }
    found
}

#[test]
fn bash_completes() {
    if !is_there("bash") {
        return;
    }
    let home = home();
    // The words as bash would part them: the part to complete is behind the last : or =.
    for (line, part, expected) in [
        ("ssmx st", "st", "start-session\n"),
        ("ssmx --region=eu-n", "eu-n", "eu-north-1\n"),
        ("ssmx up web 'd", "d", "db\n"),
        ("ssmx forward w", "w", "web\nweb-2\n"),
    ] {
        let script = "source <(ssmx completion bash); COMP_LINE=$1 COMP_POINT=${#1}; \
            _ssmx ssmx \"$2\" x; printf '%s\\n' \"${COMPREPLY[@]}\"; complete -p ssmx >/dev/null";
        let mut command = command(&home, "bash");
        command.args(["--norc", "-c", script, "bash", line, part]);
        let done = run_without_input(command);
        assert_eq!(
            (done.text().as_str(), done.code()),
            (expected, Some(0)),
            "{done:?}"
        );
    }
}

#[test]
fn fish_completes() {
    if !is_there("fish") {
        return;
    }
    let home = home();
    for (line, expected) in [
        ("ssmx st", "start-session\t"),
        ("ssmx forward d", "db\t"),
        ("ssmx --region=eu-n", "--region=eu-north-1"),
    ] {
        let script = format!("ssmx completion fish | source; complete -C '{line}'");
        let mut command = command(&home, "fish");
        command.args(["--no-config", "-c", &script]);
        let done = run_without_input(command);
        assert!(done.text().starts_with(expected), "{line}: {done:?}");
    }
}

#[test]
fn zsh_takes_the_script() {
    if !is_there("zsh") {
        return;
    }
    let home = home();
    let script = "autoload -U compinit; compinit -D; source <(ssmx completion zsh); \
        print ${_comps[ssmx]}";
    let mut command = command(&home, "zsh");
    command.args(["-f", "-c", script]);
    let done = run_without_input(command);
    assert_eq!(
        (done.text().as_str(), done.stderr.as_str()),
        ("_ssmx\n", "")
    );
}

#[test]
fn zsh_is_given_names_as_they_are() {
    if !is_there("zsh") {
        return;
    }
    let home = home();
    home.write("x\\y:z$(a)", "");
    let script = "compdef() { }; source <(ssmx completion zsh); \
        _describe() { print -rl -- \"${(@P)3}\" }; \
        words=(ssmx config check x); CURRENT=4; _ssmx";
    let mut command = command(&home, "zsh");
    command.args(["-f", "-c", script]);
    let done = run_without_input(command);
    // As _describe reads them: a backslash before each one, and before colons.
    assert_eq!(done.text(), "x\\\\y\\:z$(a)\n", "{done:?}");
}

#[test]
fn without_an_answer_nobody_waits_and_nobody_asks_again_at_once() {
    let loopback = Loopback::start(Default::default()).unwrap();
    let home = home();
    let mut command = home.loopback(
        &loopback,
        &["__complete", "fish", "2", "ssmx", "forward", ""],
    );
    // A port that nobody answers at.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    command
        .env("AWS_ENDPOINT_URL_SSM", url)
        .env("XDG_CACHE_HOME", home.path("cache"));
    let done = run_without_input(command);
    assert_eq!(values(&done), ["web", "web-2", "db"], "{done:?}");
    let directory = home.path("cache/ssmx");
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    let files: Vec<_> = std::fs::read_dir(&directory).unwrap().collect();
    let [file] = files.as_slice() else {
        panic!("{files:?}");
    };
    let file = file.as_ref().unwrap().path();
    assert_eq!(mode(&file), 0o600);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "-");
}

#[test]
fn manual_pages_are_written_for_every_subcommand() {
    let home = home();
    let done = home.run(&["man"]);
    assert!(done.text().contains(".TH ssmx 1"), "{done:?}");
    assert_eq!(home.run(&["man", "pages/man1"]).code(), Some(0));
    for page in ["ssmx", "ssmx-forward", "ssmx-config", "ssmx-config-check"] {
        let text = std::fs::read_to_string(home.path(&format!("pages/man1/{page}.1"))).unwrap();
        assert!(text.contains("\n.SH SYNOPSIS\n"), "{page}: {text}");
        assert!(text.contains("\n.SH EXAMPLES\n"), "{page}: {text}");
    }
    // Where there is a man, it has nothing to say about them.
    for page in std::fs::read_dir(home.path("pages/man1")).unwrap() {
        let mut man = Command::new("man");
        man.args(["--warnings", "-l"]).arg(page.unwrap().path());
        man.env("LC_ALL", "C.UTF-8").env("MANPAGER", "cat");
        man.stdin(std::process::Stdio::null());
        if let Ok(done) = man.output() {
            assert_eq!(String::from_utf8_lossy(&done.stderr), "");
        }
    }
    home.write("file", "");
    let done = home.run(&["man", "file"]);
    assert!(
        done.stderr
            .starts_with("ssmx: error: cannot write the pages to file: "),
        "{done:?}"
    );
    assert_eq!(done.code(), Some(255));
}
