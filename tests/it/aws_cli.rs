//! Under the real AWS CLI, where there is one.

#[cfg(target_os = "linux")]
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use ssmx::loopback::{Loopback, Options as Peer};

use crate::plugin::Plugin;
#[cfg(target_os = "linux")]
use crate::support::DEADLINE;
use crate::support::pty::Terminal;
use crate::support::{SSMX, command, run, run_without_input};

/// The AWS CLI, a plugin for it, and somebody to talk to.
struct Scene {
    loopback: Loopback,
    plugin: Plugin,
}

impl Scene {
    /// None, and a line about it, where there is no AWS CLI.
    fn set() -> Option<Self> {
        static WORKS: OnceLock<bool> = OnceLock::new();
        let works = WORKS.get_or_init(|| {
            let version = Command::new("aws")
                .arg("--version")
                .stdin(Stdio::null())
                .output();
            version.is_ok_and(|done| done.status.success())
        });
        if !works {
            println!("skipped: no aws on PATH");
            return None;
        }
        let loopback = Loopback::start(Peer {
            paced: false,
            require_signature: true,
            ..Peer::default()
        });
        Some(Self {
            loopback: loopback.expect("loopback starts"),
            plugin: Plugin::install(),
        })
    }

    fn aws(&self, arguments: &[&str]) -> Command {
        let mut aws = command("aws", &self.loopback);
        let before = std::env::var_os("PATH").unwrap_or_default();
        let parts = std::iter::once(self.plugin.directory().to_owned())
            .chain(std::env::split_paths(&before));
        aws.env("PATH", std::env::join_paths(parts).expect("a search path"));
        aws.env("AWS_PAGER", "").args(arguments);
        aws
    }

    fn start_session(&self, arguments: &[&str]) -> Command {
        let mut aws = self.aws(&["ssm", "start-session", "--target", self.loopback.target()]);
        aws.args(arguments);
        aws
    }

    /// What the plugin says before a session.
    fn starting(&self) -> String {
        let id = self.loopback.stats().session_id.expect("a session");
        format!("\nStarting session with SessionId: {id}\n")
    }

    /// What it says after it.
    fn exiting(&self) -> String {
        let id = self.loopback.stats().session_id.expect("a session");
        format!("\n\nExiting session with sessionId: {id}.\n\n")
    }
}

#[test]
fn a_session_in_pipes() {
    let Some(scene) = Scene::set() else { return };
    let done = run(scene.start_session(&[]), b"echo $((6*7))\nexit 5\n");
    let text = done.text();
    assert!(text.starts_with(&scene.starting()), "{done:?}");
    assert!(text.contains("42"), "{done:?}");
    assert!(text.ends_with(&scene.exiting()), "{done:?}");
    assert_eq!((done.stderr.as_str(), done.code()), ("", Some(0)));
    let stats = scene.loopback.stats();
    assert_eq!((stats.upgrades_signed, stats.terminated), (1, 0));
}

#[test]
fn a_session_on_a_terminal() {
    let Some(scene) = Scene::set() else { return };
    let mut terminal = Terminal::spawn(&scene.start_session(&[]));
    terminal.wait_for("Starting session with SessionId: ");
    terminal.type_in(b"PS1='re''mote> '\r");
    terminal.wait_for("remote> ");
    terminal.type_in(b"stty size\r");
    terminal.wait_for("24 80");
    terminal.type_in(
        b"sh -c 'trap \"stty size; exit\" WINCH; echo wai''ting; while :; do sleep 0.05; done'\r",
    );
    terminal.wait_for("waiting");
    terminal.resize(101, 33);
    terminal.wait_for("33 101");
    terminal.type_in(b"sh -c 'echo re''ady; exec sleep 1000'; echo sta''tus $?\r");
    terminal.wait_for("ready");
    // The key, not a signal: the terminal is raw.
    terminal.type_in(b"\x03");
    terminal.type_in(b"echo inter''rupted\r");
    terminal.wait_for("interrupted");
    terminal.type_in(b"exit\r");
    terminal.wait_for("Exiting session with sessionId: ");
    assert_eq!(terminal.finish(), 0);
}

#[test]
fn a_command_by_document_and_parameters() {
    let Some(scene) = Scene::set() else { return };
    let parameters = r#"{"command":["sh -c 'echo out; exit 3'"],"separateOutputStream":["true"]}"#;
    let arguments = [
        "--document-name",
        "AWS-StartNonInteractiveCommand",
        "--parameters",
        parameters,
        "--reason",
        "a test",
    ];
    let done = run_without_input(scene.start_session(&arguments));
    let expected = format!("{}out\nEXIT_CODE: 3{}", scene.starting(), scene.exiting());
    assert_eq!(
        (done.text(), done.code()),
        (expected, Some(0)),
        "{}",
        done.stderr
    );

    // Asked for, the status reaches the AWS CLI, which then fails; its text holds no token.
    let mut command = scene.start_session(&arguments);
    command.env("SSMX_EXIT_CODE", "remote");
    let done = run_without_input(command);
    assert!(!matches!(done.code(), Some(0) | None), "{done:?}");
    assert!(!done.stderr.contains("TokenValue"), "{done:?}");
}

/// The command that runs remotely looks at all processes, and sees those of the AWS CLI.
#[test]
fn the_token_is_in_no_command_line() {
    let Some(scene) = Scene::set() else { return };
    for more in [&[][..], &["--debug"]] {
        let mut command = scene.start_session(&[
            "--document-name",
            "AWS-StartInteractiveCommand",
            "--parameters",
            "command=ps -ww -eo args",
        ]);
        command.args(more);
        let done = run_without_input(command);
        assert_eq!(done.code(), Some(0), "{done:?}");
        let text = done.text();
        // Other tests run plugins, too; this one has this endpoint.
        let mut ours = text.lines().filter(|line| {
            line.contains("session-manager-plugin") && line.contains(scene.loopback.endpoint_url())
        });
        let line = ours.next().expect("the plugin runs");
        assert!(line.contains("AWS_SSM_START_SESSION_RESPONSE"), "{line}");
        assert!(!line.contains("TokenValue"), "{line}");
    }
}

#[test]
fn a_command_in_a_container() {
    let Some(scene) = Scene::set() else { return };
    let execute = |command: &str| {
        scene.aws(&[
            "ecs",
            "execute-command",
            "--cluster",
            "batch",
            "--task",
            "00000000000000000000000000000051",
            "--container",
            "main",
            "--interactive",
            "--command",
            command,
        ])
    };
    let done = run_without_input(execute("sh -c 'echo in-the-container; exit 4'"));
    let text = done.text();
    assert!(text.contains(&scene.starting()), "{done:?}");
    assert!(text.contains("in-the-container\r\n"), "{done:?}");
    assert!(text.ends_with(&scene.exiting()), "{done:?}");
    assert_eq!(done.code(), Some(0));

    let mut terminal = Terminal::spawn(&execute("/bin/sh"));
    terminal.type_in(b"PS1='con''tainer> '\r");
    terminal.wait_for("container> ");
    terminal.type_in(b"echo $((40+2))\r");
    terminal.wait_for("42");
    terminal.type_in(b"exit\r");
    terminal.wait_for("Exiting session with sessionId: ");
    assert_eq!(terminal.finish(), 0);
}

#[test]
fn loopback_runs_the_aws_cli_with_this_plugin() {
    let Some(scene) = Scene::set() else { return };
    let mut command = command(SSMX, &scene.loopback);
    let script = "aws ssm start-session --target \"$SSMX_LOOPBACK_TARGET\"; exit 6";
    command.args(["loopback", "--no-pacing", "--", "sh", "-c", script]);
    let done = run(command, b"echo $((6*7))\n");
    assert!(done.text().contains("42"), "{done:?}");
    assert!(
        done.text().contains("Exiting session with sessionId: "),
        "{done:?}"
    );
    assert_eq!(done.code(), Some(6));
    // It has a peer of its own.
    assert_eq!(scene.loopback.stats().started, 0);
}

#[cfg(target_os = "linux")]
#[test]
fn a_forwarded_port_ends_with_the_aws_cli_that_is_killed() {
    let Some(scene) = Scene::set() else { return };
    let mut aws = scene
        .start_session(&[
            "--document-name",
            "AWS-StartPortForwardingSession",
            "--parameters",
            "portNumber=1,localPortNumber=0",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let stdout = aws.stdout.take().expect("stdout is piped");
    let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("Waiting for connections...")));
    aws.kill().expect("it runs");
    aws.wait().expect("it ends");
    // In order, by the flag, and with the last words.
    assert!(lines.any(|line| line.contains("Exiting session with sessionId: ")));
    assert!(lines.next().is_some_and(|line| line.is_empty()));
    assert!(scene.loopback.wait_for(|stats| stats.ended == 1, DEADLINE));
    assert_eq!(scene.loopback.stats().terminated, 0);
}
