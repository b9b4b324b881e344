//! `--record` of commands: on nodes and in containers, in pipes and on terminals.

use std::os::unix::fs::PermissionsExt as _;

use super::{exec, loopback};
use crate::record::{Scratch, all_of, read};
use crate::support::pty::Terminal;
use crate::support::{SSMX, command, run, run_without_input};

const SCRIPT: &str = "echo out; echo err >&2; cat; exit 3";

#[test]
fn a_command_in_pipes_is_recorded_at_no_further_call() {
    let (loopback, scratch) = (loopback(), Scratch::new());
    let words = ["sh", "-c", SCRIPT];
    let done = run(
        exec(&loopback, &["--record", &scratch.name()], &words),
        b"typed\n",
    );
    assert_eq!(
        (done.code(), done.text().as_str(), done.stderr.as_str()),
        (Some(3), "out\ntyped\n", "err\n")
    );
    assert_eq!(loopback.stats().api_calls, 1);
    let mode = std::fs::metadata(scratch.file()).unwrap().permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    let (header, events) = read(&scratch.file());
    let id = loopback.stats().session_id.unwrap();
    assert_eq!(header["title"], format!("{}, {id}", loopback.target()));
    let shown = all_of(&events, "o");
    for part in ["out\r\n", "err\r\n", "typed\r\n"] {
        assert!(shown.contains(part), "{shown:?}");
    }
    assert_eq!(all_of(&events, "i"), "");

    // What is there stays there, and nothing is asked of anyone.
    let again = exec(&loopback, &["--record", &scratch.name()], &words);
    let refused = run_without_input(again);
    assert_eq!(refused.code(), Some(255), "{refused:?}");
    assert!(refused.stderr.ends_with("--force replaces it\n"));
    assert_eq!(loopback.stats().api_calls, 1);
    let forced = ["--record", &scratch.name(), "--record-input", "--force"];
    assert_eq!(
        run(exec(&loopback, &forced, &words), b"typed").code(),
        Some(3)
    );
    assert_eq!(all_of(&read(&scratch.file()).1, "i"), "typed");
}

#[test]
fn a_command_on_a_terminal_is_recorded_without_the_mark_of_its_end() {
    let (loopback, scratch) = (loopback(), Scratch::new());
    let options = ["-t", "--record", &scratch.name()];
    let script = "printf 'name? '; read name; echo \"hello $name\"; exit 6";
    let mut terminal = Terminal::spawn(&exec(&loopback, &options, &["sh", "-c", script]));
    terminal.wait_for("name? ");
    terminal.type_in(b"you\r");
    terminal.wait_for("hello you");
    assert_eq!(terminal.finish(), 6);
    let (header, events) = read(&scratch.file());
    assert_eq!(
        (&header["width"], &header["height"]),
        (&80.into(), &24.into())
    );
    assert_eq!(all_of(&events, "o"), "name? you\r\nhello you\r\n");
}

#[test]
fn commands_in_containers_are_recorded() {
    let loopback = loopback();
    let exec = ["ecs", "exec", "--cluster", "batch", "--record"];
    let line = format!("sh -c '{SCRIPT}'");
    let execute = [
        "execute-command",
        "--cluster",
        "batch",
        "--task",
        "00000000000000000000000000000051",
        "--command",
        &line,
        "--record",
    ];
    let on_terminal = ["ecs", "exec", "--cluster", "batch", "-t", "--record"];
    let own = ["--", "sh", "-c", SCRIPT];
    for (words, command_line, status) in [
        (&exec[..], &own[..], 3),
        (&on_terminal, &own, 3),
        (&execute, &[], 0),
    ] {
        let scratch = Scratch::new();
        let mut ssmx = command(SSMX, &loopback);
        ssmx.args(words).arg(scratch.name()).args(command_line);
        let done = run_without_input(ssmx);
        assert_eq!(done.code(), Some(status), "{done:?}");
        let (header, events) = read(&scratch.file());
        let title = header["title"].as_str().unwrap();
        assert!(title.starts_with("ecs:batch_"), "{title}");
        let shown = all_of(&events, "o");
        assert!(
            shown.contains("out\r\n") && shown.contains("err\r\n") && !shown.contains("ssmx"),
            "{words:?} {shown:?}"
        );
    }
}

#[test]
fn where_no_session_starts_there_is_no_file() {
    let (loopback, scratch) = (loopback(), Scratch::new());
    let mut ssmx = command(SSMX, &loopback);
    ssmx.args(["exec", loopback.offline_target(), "--record"]);
    ssmx.args([&scratch.name(), "--", "true"]);
    assert_eq!(run_without_input(ssmx).code(), Some(254));
    assert!(!scratch.file().exists());
    let mut many = command(SSMX, &loopback);
    many.args(["exec", "--targets", "tag:a=b", "--record"]);
    many.args([&scratch.name(), "--", "true"]);
    assert_eq!(run_without_input(many).code(), Some(252));
}
