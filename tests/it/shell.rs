//! `ssmx start-session` as a user has it: on a real terminal, in pipes, without either.

use std::io::Read as _;
use std::process::Command;

use ssmx::loopback::{Loopback, Options as Peer};

use crate::support::pty::Terminal;
use crate::support::{DEADLINE, SSMX, command, kill, run, run_without_input, spawn, start_session};

fn loopback() -> Loopback {
    Loopback::start(Peer {
        paced: false,
        ..Peer::default()
    })
    .expect("loopback starts")
}

/// `ssmx` between two looks at the terminal's modes, all in one shell on one terminal.
fn between_modes(loopback: &Loopback, arguments: &str) -> Command {
    let mut shell = command("/bin/sh", loopback);
    let target = loopback.target();
    shell.args([
        "-c",
        &format!(
            "stty -g > \"$0.before\"; \
             sh -c 'echo $$ > \"$0.id\"; exec {SSMX} start-session --target {target} {arguments}' \"$0\"; \
             status=$?; stty -g > \"$0.after\"; cmp \"$0.before\" \"$0.after\" && echo modes same; \
             echo status $status"
        ),
    ]);
    shell
}

struct Scratch(tempfile::TempDir);

impl Scratch {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory"))
    }

    fn name(&self) -> String {
        self.0.path().join("modes").to_string_lossy().into_owned()
    }
}

fn on_terminal(loopback: &Loopback, arguments: &str, scratch: &Scratch) -> Terminal {
    let mut shell = between_modes(loopback, arguments);
    shell.arg(scratch.name());
    Terminal::spawn(&shell)
}

/// The process id of the ssmx that was started with this scratch.
fn ssmx_of(scratch: &Scratch) -> u32 {
    let id = std::fs::read_to_string(format!("{}.id", scratch.name())).expect("it was started");
    id.trim().parse().expect("a number")
}

#[test]
fn a_shell_works_on_a_terminal_and_leaves_it_as_it_was() {
    let (loopback, scratch) = (loopback(), Scratch::new());
    let mut terminal = on_terminal(&loopback, "", &scratch);
    terminal.type_in(b"PS1='re''mote> '\r");
    terminal.wait_for("remote> ");
    terminal.type_in(b"stty size; echo $((40+2))\r");
    terminal.wait_for("24 80");
    terminal.wait_for("42");
    // Typed text and a new size are two ways to the remote side: neither waits for the other.
    terminal.type_in(
        b"sh -c 'trap \"stty size; exit\" WINCH; echo list''ening; while :; do sleep 0.1; done'\r",
    );
    terminal.wait_for("listening");
    terminal.resize(101, 33);
    terminal.wait_for("33 101");
    terminal.type_in(b"exit\r");
    terminal.wait_for("modes same");
    terminal.wait_for("status 0");
    terminal.finish();
}

/// Waits until a prompt is the last thing on the screen.
fn at_prompt(terminal: &Terminal) {
    terminal.wait_until("a new prompt", |screen, _| {
        screen.trim_end().ends_with("remote>")
    });
}

#[test]
fn control_characters_reach_the_remote_side() {
    let (loopback, scratch) = (loopback(), Scratch::new());
    let mut terminal = on_terminal(&loopback, "", &scratch);
    terminal.type_in(b"PS1='re''mote> '\r");
    terminal.wait_for("remote> ");
    terminal.type_in(b"sh -c 'echo re''ady; exec sleep 1000'; echo sta''tus $?\r");
    terminal.wait_for("ready");
    terminal.type_in(b"\x03");
    at_prompt(&terminal);
    terminal.type_in(b"echo inter''rupted\r");
    terminal.wait_for("interrupted");
    terminal.type_in(b"stty raw -echo; printf 'g''o\\r\\n'; head -c 5 | od -An -tx1; stty sane\r");
    terminal.wait_for("go");
    terminal.type_in(b"\x1a\x1c\x03\x7f\x11");
    terminal.wait_for("1a 1c 03 7f 11");
    // Typed any sooner, the Enter would still be a raw one.
    at_prompt(&terminal);
    terminal.type_in(b"exit 3\r");
    terminal.wait_for("modes same");
    terminal.wait_for("status 0");
    terminal.finish();
}

#[test]
fn escape_keys_help_and_end_the_session() {
    let (loopback, scratch) = (loopback(), Scratch::new());
    let mut terminal = on_terminal(&loopback, "", &scratch);
    terminal.type_in(b"PS1='re''mote> '\r");
    terminal.wait_for("remote> ");
    terminal.type_in(b"~?");
    terminal.wait_for("ends the session");
    terminal.type_in(b"\recho a~~b\r");
    terminal.wait_for("a~~b");
    terminal.type_in(b"~~tilde\r");
    terminal.wait_for("~tilde");
    terminal.type_in(b"~.");
    terminal.wait_for("modes same");
    terminal.wait_for("status 0");
    terminal.finish();
    assert_eq!(loopback.stats().terminated, 1);
}

#[test]
fn escape_keys_can_be_switched_off() {
    let (loopback, scratch) = (loopback(), Scratch::new());
    let mut terminal = on_terminal(&loopback, "--escape-char none", &scratch);
    terminal.type_in(b"PS1='re''mote> '\r");
    terminal.wait_for("remote> ");
    terminal.type_in(b"~.\r");
    terminal.wait_for("not found");
    terminal.type_in(b"exit\r");
    terminal.wait_for("status 0");
    terminal.finish();
}

#[test]
fn the_escape_key_works_without_a_network() {
    let (loopback, scratch) = (loopback(), Scratch::new());
    let mut terminal = on_terminal(&loopback, "", &scratch);
    terminal.type_in(b"PS1='re''mote> '\r");
    terminal.wait_for("remote> ");
    loopback.stall();
    terminal.type_in(b"\r~.");
    terminal.wait_for("modes same");
    terminal.finish();
}

#[test]
fn a_lost_connection_shows_one_line_and_the_shell_goes_on() {
    let (loopback, scratch) = (loopback(), Scratch::new());
    let mut terminal = on_terminal(&loopback, "", &scratch);
    terminal.type_in(b"PS1='re''mote> '\r");
    terminal.wait_for("remote> ");
    loopback.close(1000, "Bye");
    terminal.wait_for("ssmx: connection lost");
    terminal.type_in(b"echo st''ill\r");
    terminal.wait_for("still");
    assert_eq!(
        terminal.screen().matches("ssmx:").count(),
        1,
        "{}",
        terminal.screen()
    );
    terminal.type_in(b"exit\r");
    terminal.wait_for("status 0");
    terminal.finish();
}

#[test]
fn signals_end_the_remote_session_and_restore_the_terminal() {
    for (signal, status) in [("-TERM", 143), ("-HUP", 129), ("-INT", 130)] {
        let (loopback, scratch) = (loopback(), Scratch::new());
        let mut terminal = on_terminal(&loopback, "", &scratch);
        terminal.type_in(b"PS1='re''mote> '\r");
        terminal.wait_for("remote> ");
        kill(ssmx_of(&scratch), signal);
        terminal.wait_for("modes same");
        terminal.wait_for(&format!("status {status}"));
        terminal.finish();
        assert_eq!(loopback.stats().terminated, 1, "{signal}");
    }
}

#[test]
fn piped_input_runs_to_its_end() {
    let loopback = loopback();
    let done = run(start_session(&loopback, &[]), b"echo $((6*7))\necho last");
    assert!(done.text().contains("42"), "{done:?}");
    assert!(done.text().contains("last"), "{done:?}");
    assert_eq!((done.stderr.as_str(), done.code()), ("", Some(0)));
}

#[test]
fn a_paste_of_a_megabyte_arrives_whole() {
    let loopback = loopback();
    let line = [b'x'; 99].into_iter().chain([b'\n']);
    let mut input = b"stty -echo; wc -c\n".to_vec();
    input.extend(line.cycle().take(1_000_000));
    let done = run(start_session(&loopback, &[]), &input);
    assert!(done.text().contains("1000000"), "{done:?}");
}

#[test]
fn a_command_without_input_keeps_its_streams_apart_and_its_status() {
    let loopback = loopback();
    let parameters =
        r#"{"command":["sh -c 'echo out; echo err >&2; exit 7'"],"separateOutputStream":["true"]}"#;
    let arguments = [
        "--document-name",
        "AWS-StartNonInteractiveCommand",
        "--parameters",
        parameters,
    ];
    for done in [
        run_without_input(start_session(&loopback, &arguments)),
        run(
            start_session(&loopback, &arguments),
            b"\x03\x03 is no interrupt when it is piped\n",
        ),
    ] {
        assert_eq!(done.text(), "out\n");
        assert_eq!(done.stderr, "err\n");
        assert_eq!(done.code(), Some(7));
    }
}

#[test]
fn an_interactive_command_gets_its_input() {
    let loopback = loopback();
    let arguments = [
        "--document-name",
        "AWS-StartInteractiveCommand",
        "--parameters",
        "command=cat",
    ];
    let done = run(start_session(&loopback, &arguments), b"to the cat\n");
    assert_eq!(done.text().matches("to the cat").count(), 2, "{done:?}");
    assert_eq!(done.code(), Some(0));
}

/// Its own status is lost: agents tell 1 of a command that they have passed a signal on to.
#[test]
fn an_interrupted_command_ends_as_it_likes() {
    let loopback = loopback();
    let command =
        "sh -c 'trap \"echo caught; exit 9\" INT; echo ready; while :; do sleep 0.05; done'";
    let parameters = format!(
        r#"{{"command":[{}],"separateOutputStream":["true"]}}"#,
        serde_json::json!(command)
    );
    let arguments = [
        "--document-name",
        "AWS-StartNonInteractiveCommand",
        "--parameters",
        &parameters,
    ];
    let mut session = start_session(&loopback, &arguments);
    let (mut reader, writer) = std::io::pipe().unwrap();
    session.stdin(std::process::Stdio::null()).stdout(writer);
    let mut child = session.spawn().unwrap();
    drop(session);
    let mut ready = [0; 6];
    reader.read_exact(&mut ready).unwrap();
    kill(child.id(), "-INT");
    let mut rest = String::new();
    reader.read_to_string(&mut rest).unwrap();
    assert_eq!((&ready, rest.as_str()), (b"ready\n", "caught\n"));
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

#[test]
fn a_reader_that_goes_away_is_a_quiet_end() {
    let loopback = loopback();
    let arguments = "--document-name AWS-StartInteractiveCommand --parameters command=yes";
    let mut shell = command("/bin/bash", &loopback);
    let target = loopback.target();
    shell.args(["-c", &format!(
        "{SSMX} start-session --target {target} {arguments} < /dev/null | head -n 1; echo ${{PIPESTATUS[0]}}"
    )]);
    let done = run_without_input(shell);
    assert_eq!(done.stderr, "");
    assert!(done.text().ends_with("141\n"), "{done:?}");
    assert!(loopback.wait_for(|stats| stats.ended == 1, DEADLINE));
}

/// A client that is gone without a word leaves its session behind; another one takes it over.
#[test]
fn an_orphaned_session_can_be_taken_over() {
    let (loopback, scratch) = (loopback(), Scratch::new());
    let mut terminal = on_terminal(&loopback, "", &scratch);
    terminal.type_in(b"PS1='re''mote> '\r");
    terminal.wait_for("remote> ");
    terminal.type_in(b"kept=42; sleep 0.3; echo un''seen\r");
    terminal.wait_for("kept=42");
    kill(ssmx_of(&scratch), "-KILL");
    terminal.wait_for("status 137");
    terminal.finish();
    let session = loopback.stats().session_id.expect("a session");
    let mut resume = command(SSMX, &loopback);
    resume.args(["resume-session", "--session-id", &session]);
    let mut terminal = Terminal::spawn(&resume);
    terminal.wait_for("unseen");
    terminal.type_in(b"echo $((kept+1))\r");
    terminal.wait_for("43");
    terminal.type_in(b"exit\r");
    assert_eq!(terminal.finish(), 0);
}

#[test]
fn a_session_can_be_suspended_and_brought_back() {
    if Command::new("bash").arg("--version").output().is_err() {
        println!("skipped: no bash on PATH");
        return;
    }
    let loopback = loopback();
    let mut bash = command("bash", &loopback);
    bash.args(["--norc", "--noprofile", "-i"]);
    let mut terminal = Terminal::spawn(&bash);
    terminal.type_in(b"PS1='lo''cal> '; stty -g > /dev/null\r");
    terminal.wait_for("local> ");
    let target = loopback.target();
    terminal.type_in(format!("{SSMX} start-session --target {target}\r").as_bytes());
    terminal.wait_until("a remote prompt", |screen, _| {
        screen.trim_end().ends_with(['#', '$'])
    });
    terminal.type_in(b"PS1='re''mote> '\r");
    at_prompt(&terminal);
    terminal.type_in(b"~\x1a");
    terminal.wait_for("Stopped");
    terminal.wait_until("the local prompt", |screen, _| {
        screen.trim_end().ends_with("local>")
    });
    terminal.type_in(b"stty -a | grep -o ' icanon'; fg\r");
    terminal.wait_for(" icanon");
    terminal.wait_until("ssmx in the foreground", |screen, _| {
        screen.trim_end().ends_with(target)
    });
    // The shell under it knows nothing of all this: it takes up where it was.
    terminal.type_in(b"echo ba''ck; exit\r");
    terminal.wait_for("back");
    terminal.wait_until("the local prompt", |screen, _| {
        screen.trim_end().ends_with("local>")
    });
    terminal.type_in(b"exit\r");
    terminal.finish();
    assert_eq!(loopback.stats().ended, 1);
}

/// What `nohup` does: the command goes on when the terminal's line is cut.
#[test]
fn a_hangup_that_was_ignored_at_the_start_stays_ignored() {
    let loopback = loopback();
    let scratch = Scratch::new();
    let go = scratch.0.path().join("go");
    let waiting = format!(
        "sh -c 'echo ready; while ! [ -e {} ]; do sleep 0.05; done; exit 4'",
        go.display()
    );
    let parameters = format!(
        r#"{{"command":[{}],"separateOutputStream":["true"]}}"#,
        serde_json::json!(waiting)
    );
    let mut shell = command("/bin/sh", &loopback);
    shell.args([
        "-c",
        "trap '' HUP; exec \"$@\"",
        "sh",
        SSMX,
        "start-session",
    ]);
    shell.args(["--target", loopback.target()]);
    shell.args(["--document-name", "AWS-StartNonInteractiveCommand"]);
    shell.args(["--parameters", &parameters]);
    shell.stdin(std::process::Stdio::null());
    let running = spawn(shell);
    assert!(loopback.wait_for(|stats| stats.messages_to_client >= 4, DEADLINE));
    kill(running.id(), "-HUP");
    std::fs::write(go, "").expect("a file in the scratch");
    let done = running.finish();
    assert_eq!(
        (done.text().as_str(), done.code()),
        ("ready\n", Some(4)),
        "{done:?}"
    );
}
