//! The plugin's sessions, through loopback.

use std::net::TcpListener;
use std::process::{Command, Stdio};

use serde_json::json;
use ssmx::aws::SessionGrant;
use ssmx::loopback::{Loopback, Options as Peer};

use super::{Plugin, VARIABLE, assert_short, grant, response};
use crate::support::pty::Terminal;
use crate::support::{DEADLINE, SSMX, command, kill, run, run_without_input, spawn};

const COMMAND: &str = "AWS-StartNonInteractiveCommand";
const INTERACTIVE: &str = "AWS-StartInteractiveCommand";

fn loopback() -> Loopback {
    Loopback::start(Peer {
        paced: false,
        ..Peer::default()
    })
    .expect("loopback starts")
}

fn starting(grant: &SessionGrant) -> String {
    format!("\nStarting session with SessionId: {}\n", grant.session_id)
}

fn exiting(grant: &SessionGrant) -> String {
    format!(
        "\n\nExiting session with sessionId: {}.\n\n",
        grant.session_id
    )
}

/// The six arguments of today's AWS CLI, beginning with `first`.
fn arguments(plugin: &Plugin, loopback: &Loopback, first: &str, profile: &str) -> Command {
    let mut command = command(plugin.path(), loopback);
    command.args([first, loopback.region(), "StartSession", profile]);
    command.arg(json!({ "Target": loopback.target() }).to_string());
    command.arg(loopback.endpoint_url());
    command
}

/// The response in the variable.
fn by_variable(plugin: &Plugin, loopback: &Loopback, grant: &SessionGrant) -> Command {
    let mut command = arguments(plugin, loopback, VARIABLE, "");
    command.env(VARIABLE, response(grant).to_string());
    command
}

/// The response among the arguments.
fn by_argument(plugin: &Plugin, loopback: &Loopback, grant: &SessionGrant) -> Command {
    arguments(plugin, loopback, &response(grant).to_string(), "")
}

#[test]
fn all_numbers_of_arguments_run_a_session() {
    let (plugin, loopback) = (Plugin::install(), loopback());
    for program in [plugin.path(), SSMX.into()] {
        for count in 3..=8 {
            let grant = grant(
                &loopback,
                Some(COMMAND),
                Some("sh -c 'echo out; echo err >&2; exit 3'"),
            );
            let all = [
                response(&grant).to_string(),
                loopback.region().to_owned(),
                "StartSession".to_owned(),
                String::new(),
                json!({ "Target": loopback.target() }).to_string(),
                loopback.endpoint_url().to_owned(),
                "extra".to_owned(),
                "--version".to_owned(),
            ];
            let mut command = command(&program, &loopback);
            command.args(&all[..count]);
            let done = run_without_input(command);
            let text = done.text();
            let output = text.strip_prefix(&starting(&grant));
            let output = output.and_then(|text| text.strip_suffix(&exiting(&grant)));
            let output = output.unwrap_or_else(|| panic!("{count}: {done:?}"));
            // All streams on stdout, in no order between the two of the command.
            assert!(
                ["out\nerr\nEXIT_CODE: 3", "err\nout\nEXIT_CODE: 3"].contains(&output),
                "{done:?}"
            );
            assert_eq!(
                (done.stderr.as_str(), done.code()),
                ("", Some(0)),
                "{count}"
            );
        }
    }
    assert_eq!(loopback.stats().terminated, 0);
}

#[test]
fn the_response_comes_in_a_variable_or_with_keys_in_any_case() {
    let (plugin, loopback) = (Plugin::install(), loopback());
    let start = || grant(&loopback, Some(COMMAND), Some("echo out"));
    let expect =
        |grant: &SessionGrant| format!("{}out\nEXIT_CODE: 0{}", starting(grant), exiting(grant));
    let one = start();
    let done = run_without_input(by_variable(&plugin, &loopback, &one));
    assert_eq!((done.text(), done.code()), (expect(&one), Some(0)));

    let two = start();
    let mut command = by_variable(&plugin, &loopback, &two);
    let lower = json!({
        "sessionId": two.session_id,
        "STREAMURL": two.stream_url,
        "tokenValue": two.token.reveal(),
        "ResponseMetadata": { "RetryAttempts": 0 },
    });
    command.env(VARIABLE, lower.to_string());
    let done = run_without_input(command);
    assert_eq!((done.text(), done.code()), (expect(&two), Some(0)));

    let three = start();
    // The name may go on, as long as it begins so.
    let name = format!("{VARIABLE}_7");
    let mut command = arguments(&plugin, &loopback, &name, "");
    command.env(&name, response(&three).to_string());
    let done = run_without_input(command);
    assert_eq!((done.text(), done.code()), (expect(&three), Some(0)));
}

/// The one program that the plugin starts is the profile's credential process.
#[test]
fn no_child_gets_the_token() {
    let (plugin, loopback) = (Plugin::install(), loopback());
    let seen = plugin.directory().join("seen");
    let script = plugin.directory().join("credentials.sh");
    let credentials = json!({
        "Version": 1,
        "AccessKeyId": loopback.access_key_id(),
        "SecretAccessKey": loopback.secret_access_key(),
    });
    let text = format!(
        "#!/bin/sh\n{{ env; echo \"$0 $*\"; }} >> {}\necho '{credentials}'\n",
        seen.display()
    );
    std::fs::write(&script, text).unwrap();
    let config = plugin.directory().join("config");
    let process = format!("/bin/sh {}", script.display());
    std::fs::write(
        &config,
        format!("[profile p]\ncredential_process = {process}\n"),
    )
    .unwrap();
    let grant = grant(&loopback, Some(COMMAND), Some("echo out"));
    let mut command = arguments(&plugin, &loopback, VARIABLE, "p");
    command.env(VARIABLE, response(&grant).to_string());
    command.env("AWS_CONFIG_FILE", config);
    let done = run_without_input(command);
    assert!(done.text().contains("out\n"), "{done:?}");
    assert_eq!(loopback.stats().upgrades_signed, 1);
    let seen = std::fs::read_to_string(seen).unwrap();
    assert!(seen.contains("AWS_CONFIG_FILE"), "the environment: {seen}");
    assert!(
        !seen.contains(grant.token.reveal()) && !seen.contains(VARIABLE),
        "{seen}"
    );
}

#[test]
fn the_remote_status_is_passed_on_only_if_it_is_asked_for() {
    let (plugin, loopback) = (Plugin::install(), loopback());
    for build in [by_variable, by_argument] {
        for (value, status) in [(None, 0), (Some("remote"), 3), (Some("other"), 0)] {
            let grant = grant(&loopback, Some(COMMAND), Some("sh -c 'exit 3'"));
            let mut command = build(&plugin, &loopback, &grant);
            command.envs(value.map(|value| ("SSMX_EXIT_CODE", value)));
            assert_eq!(run_without_input(command).code(), Some(status), "{value:?}");
        }
    }
}

#[test]
fn an_unreachable_gateway_is_one_line() {
    let (plugin, loopback) = (Plugin::install(), loopback());
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let commands = [by_variable, by_argument].map(|build| {
        let mut grant = grant(&loopback, None, None);
        grant.stream_url = format!("ws://{closed}/v1/data-channel/{}", grant.session_id);
        let mut command = build(&plugin, &loopback, &grant);
        command.stdin(Stdio::null());
        (spawn(command), grant)
    });
    for ((running, grant), status) in commands.into_iter().zip([255, 0]) {
        let done = running.finish();
        assert_eq!(
            (done.text(), done.code()),
            (starting(&grant), Some(status)),
            "{done:?}"
        );
        assert_short(&done.stderr);
        assert!(done.stderr.contains(&closed.to_string()), "{done:?}");
        assert!(!done.stderr.contains(grant.token.reveal()), "{done:?}");
    }
    assert_eq!(loopback.stats().terminated, 2, "no session is left behind");
}

/// Old AWS CLIs do not say what the target is, without which there is no data key.
#[test]
fn the_reason_for_an_end_is_printed() {
    let loopback = Loopback::start(Peer {
        paced: false,
        kms: true,
        ..Peer::default()
    })
    .unwrap();
    let plugin = Plugin::install();
    let ended = grant(&loopback, None, None);
    let mut command = command(plugin.path(), &loopback);
    command.arg(response(&ended).to_string());
    command.args([loopback.region(), "StartSession"]);
    let done = run_without_input(command);
    let text = done.text();
    let output = text.strip_prefix(&format!(
        "{}\n\nSessionId: {} : ",
        starting(&ended),
        ended.session_id
    ));
    let output = output.and_then(|text| text.strip_suffix("\n\n"));
    let expected = "Installed version of CLI does not support Session Manager encryption feature.";
    assert!(
        output.is_some_and(|output| output.contains(expected)),
        "{done:?}"
    );
    assert_eq!((done.stderr.as_str(), done.code()), ("", Some(0)));

    let encrypted = grant(&loopback, Some(INTERACTIVE), Some("echo out"));
    let done = run_without_input(by_variable(&plugin, &loopback, &encrypted));
    let message = "This session is encrypted using AWS KMS.\n";
    assert_eq!(
        done.text(),
        format!(
            "{}{message}out\r\n{}",
            starting(&encrypted),
            exiting(&encrypted)
        )
    );
}

#[test]
fn a_session_that_timed_out_is_told() {
    let (plugin, loopback) = (Plugin::install(), loopback());
    let grant = grant(&loopback, None, None);
    let mut command = by_variable(&plugin, &loopback, &grant);
    command.stdin(Stdio::piped());
    let running = spawn(command);
    assert!(loopback.wait_for(|stats| stats.messages_to_client > 0, DEADLINE));
    loopback.script("ResumeSession", 200, "{}");
    loopback.cut();
    let done = running.finish();
    let expected = format!("Session: {} timed out.\n", grant.session_id);
    assert!(done.text().ends_with(&expected), "{done:?}");
    assert_eq!(done.code(), Some(0));
}

#[test]
fn signals_end_the_remote_session() {
    let plugin = Plugin::install();
    for (signal, status) in [("-TERM", 143), ("-HUP", 129)] {
        let loopback = loopback();
        let grant = grant(&loopback, None, None);
        let mut command = by_variable(&plugin, &loopback, &grant);
        command.stdin(Stdio::piped());
        let running = spawn(command);
        assert!(loopback.wait_for(|stats| stats.messages_to_client > 0, DEADLINE));
        kill(running.id(), signal);
        let done = running.finish();
        assert!(done.text().starts_with(&starting(&grant)), "{done:?}");
        assert!(done.text().ends_with(&exiting(&grant)), "{done:?}");
        assert_eq!((done.stderr.as_str(), done.code()), ("", Some(status)));
        assert_eq!(loopback.stats().terminated, 1, "{signal}");
        assert!(loopback.wait_for(|stats| stats.ended == 1, DEADLINE));
    }
}

/// The AWS CLI ignores these signals around its plugin, and children inherit that.
#[test]
fn ignored_signals_reach_the_remote_command() {
    let (plugin, loopback) = (Plugin::install(), loopback());
    let script = "trap 'echo caught' INT; trap 'echo bye; exit' QUIT; echo ready; \
        while :; do sleep 0.05; done";
    let grant = grant(&loopback, Some(INTERACTIVE), Some(script));
    let started = by_variable(&plugin, &loopback, &grant);
    let mut shell = command("/bin/sh", &loopback);
    shell.env(VARIABLE, response(&grant).to_string());
    shell.args(["-c", "trap '' INT QUIT TSTP; exec \"$0\" \"$@\""]);
    shell.arg(started.get_program()).args(started.get_args());
    let mut terminal = Terminal::spawn(&shell);
    terminal.wait_for("ready");
    kill(terminal.id(), "-INT");
    terminal.wait_for("caught");
    terminal.type_in(b"\x03");
    terminal.wait_until("caught twice", |screen, _| {
        screen.matches("caught").count() == 2
    });
    kill(terminal.id(), "-QUIT");
    terminal.wait_for("bye");
    terminal.wait_for("Exiting session with sessionId: ");
    assert_eq!(terminal.finish(), 0);
}

#[test]
fn a_piped_shell_runs_to_the_end_of_its_input() {
    let (plugin, loopback) = (Plugin::install(), loopback());
    let grant = grant(&loopback, None, None);
    let command = by_argument(&plugin, &loopback, &grant);
    let done = run(command, b"echo $((6*7))\n");
    assert!(done.text().starts_with(&starting(&grant)), "{done:?}");
    assert!(done.text().contains("42"), "{done:?}");
    assert!(done.text().ends_with(&exiting(&grant)), "{done:?}");
    assert_eq!((done.stderr.as_str(), done.code()), ("", Some(0)));
}

/// Whatever reads stdout must see the first line while the session is still being opened.
#[test]
fn texts_are_flushed_at_once() {
    let loopback = Loopback::start(Peer {
        silent_agent: true,
        ..Peer::default()
    })
    .unwrap();
    let plugin = Plugin::install();
    let grant = grant(&loopback, None, None);
    let mut command = by_variable(&plugin, &loopback, &grant);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut line = [0; 3];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
    assert_eq!(&line, b"\nSt");
    kill(child.id(), "-TERM");
    assert_eq!(child.wait().unwrap().code(), Some(143));
}
