//! `ssmx up` and `ssmx run`.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Stdio;
use std::thread;

use serde_json::Value;
use ssmx::loopback::Loopback;

use super::Home;
use crate::support::{Finished, kill, run_without_input};

/// A port of this machine that says `word` to everybody; until the tests end.
fn says(word: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for connection in listener.incoming() {
            // Whoever has heard enough may be gone.
            let _ = connection.unwrap().write_all(word.as_bytes());
        }
    });
    port
}

struct Scene {
    loopback: Loopback,
    home: Home,
}

impl Scene {
    fn set() -> Self {
        let loopback = Loopback::start(Default::default()).unwrap();
        let target = loopback.target();
        let (one, two) = (says("one"), says("two"));
        let home = Home::new(&format!(
            "[alias.one]\ntarget = \"{target}\"\nforwards = [\"0:{one}\"]\n\
             command = [\"sh\", \"-c\", \"echo own $SSMX_PORT_1\"]\n\
             [alias.two]\ntarget = \"{target}\"\nprofile = \"two\"\nforwards = \"0:{two}\"\ndynamic = \"0\"\n\
             [alias.bare]\ntarget = \"{target}\"\n\
             [alias.wrong]\ntarget = \"{target}\"\nforwards = [\"0:x:y\"]\n\
             [alias.denied]\ntarget = \"{target}\"\nprofile = \"denied\"\nforwards = [\"0:{one}\"]\n"
        ));
        let environment = loopback.environment();
        let value = |name| {
            let found = environment.iter().find(|(known, _)| *known == name);
            found.unwrap().1.as_str()
        };
        let keys = format!(
            "[two]\naws_access_key_id = {}\naws_secret_access_key = {}\n\
             [denied]\naws_access_key_id = AKIDENIED\naws_secret_access_key = x\n",
            value("AWS_ACCESS_KEY_ID"),
            value("AWS_SECRET_ACCESS_KEY"),
        );
        home.write("credentials", &keys);
        Self { loopback, home }
    }

    fn run(&self, arguments: &[&str]) -> Finished {
        run_without_input(self.command(arguments))
    }

    fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = self.home.loopback(&self.loopback, arguments);
        command.env("AWS_SHARED_CREDENTIALS_FILE", self.home.path("credentials"));
        command
    }
}

#[test]
fn a_command_runs_with_the_tunnels_of_several_aliases() {
    let scene = Scene::set();
    // bash has connections of its own; sh need not.
    let script = "exec 3<>/dev/tcp/127.0.0.1/$SSMX_PORT_1; cat <&3; \
        exec 4<>/dev/tcp/127.0.0.1/$SSMX_PORT_2; cat <&4; test $SSMX_SOCKS_PORT -gt 0; exit 7";
    let done = scene.run(&["run", "one", "two", "--", "bash", "-c", script]);
    assert_eq!(
        (done.text().as_str(), done.code()),
        ("onetwo", Some(7)),
        "{done:?}"
    );
}

#[test]
fn without_a_command_the_aliass_own_runs() {
    let scene = Scene::set();
    let done = scene.run(&["run", "one"]);
    let text = done.text();
    let port = text
        .strip_prefix("own ")
        .and_then(|port| port.trim().parse::<u16>().ok());
    assert!(port.is_some(), "{done:?}");
    assert_eq!(done.code(), Some(0));
    let done = scene.run(&["run", "two"]);
    assert!(
        done.stderr
            .starts_with("ssmx: error: there is no command\n"),
        "{done:?}"
    );
    assert_eq!(done.code(), Some(252));
}

#[test]
fn tunnels_stay_until_a_signal() {
    let scene = Scene::set();
    let mut command = scene.command(&["up", "one", "two", "--json"]);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = std::io::BufReader::new(child.stdout.take().unwrap());
    let events = std::io::BufRead::lines(stdout)
        .map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let mut ready = 0;
    let mut last = Value::Null;
    for event in events {
        if event["event"] == "ready" {
            ready += 1;
            if ready == 3 {
                kill(child.id(), "-TERM");
            }
        }
        last = event;
    }
    assert_eq!(
        (&last["event"], &last["status"]),
        (&"exit".into(), &143.into())
    );
    assert_eq!(child.wait().unwrap().code(), Some(143));
    let mut told = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut told)
        .unwrap();
    assert!(!told.contains("error"), "{told}");
}

#[test]
fn forward_takes_the_forwards_of_an_alias_unless_it_is_told_others() {
    let scene = Scene::set();
    let script = "env | grep -c ^SSMX_PORT_; exit 0";
    let done = scene.run(&["forward", "one", "--", "sh", "-c", script]);
    assert_eq!(done.text(), "1\n", "{done:?}");
    let done = scene.run(&[
        "forward", "one", "-L", "0:1", "-L", "0:2", "-L", "0:3", "--lazy", "--", "sh", "-c", script,
    ]);
    assert_eq!(done.text(), "3\n", "{done:?}");
}

#[test]
fn aliases_that_cannot_be_brought_up_are_told() {
    let scene = Scene::set();
    let file = scene.home.path("config/ssmx/config.toml");
    let file = file.display();
    for (arguments, what, hint, status) in [
        (
            &["up", "tow"][..],
            "there is no alias \"tow\"".to_owned(),
            "did you mean two?".to_owned(),
            252,
        ),
        (
            &["up", "database"],
            "there is no alias \"database\"".to_owned(),
            "the aliases are: one, two, bare, wrong, denied".to_owned(),
            252,
        ),
        (
            &["up", "one", "bare"],
            "the alias bare has no forwards".to_owned(),
            format!("give it some at {file}:10, as in: "),
            253,
        ),
        (
            &["forward", "wrong"],
            format!("{file}:14:13: -L 0:x:y: \"y\" is no remote port (1 to 65535)"),
            "-L [BIND:]LPORT:".to_owned(),
            253,
        ),
    ] {
        let done = scene.run(arguments);
        let start = format!("ssmx: error: {what}\nssmx: hint: {hint}");
        assert!(done.stderr.starts_with(&start), "{arguments:?}: {done:?}");
        assert_eq!(done.code(), Some(status), "{arguments:?}");
    }
    // The alias's profile counts, and not the keys in the environment.
    let done = scene.run(&["run", "denied", "--", "true"]);
    assert!(matches!(done.code(), Some(253 | 254)), "{done:?}");
    let done = Home::new("").run(&["up", "x"]);
    assert!(
        done.stderr.contains("hint: there are no aliases yet"),
        "{done:?}"
    );
}

#[test]
fn without_a_name_there_is_a_list_of_aliases() {
    let scene = Scene::set();
    for words in [&["up"][..], &["run", "--", "true"]] {
        let done = scene.run(words);
        assert_eq!(done.code(), Some(252), "{done:?}");
        assert!(done.stderr.contains("no alias"), "{done:?}");
        assert!(
            done.stderr
                .contains("the aliases with forwards are: one, two, wrong"),
            "{done:?}"
        );
    }
    let run = scene.command(&["run", "--", "sh", "-c", "echo po''rt $SSMX_PORT_1"]);
    let mut terminal = crate::support::pty::Terminal::spawn(&run);
    terminal.wait_for("> ");
    terminal.type_in(b"one\r");
    terminal.wait_for("port ");
    assert_eq!(terminal.finish(), 0);
}
