//! `ssmx exec -t`.

use super::{exec, loopback, shells, with_shell};
use crate::support::pty::Terminal;
use crate::support::run;

#[test]
fn a_command_on_a_terminal_has_its_size_and_keys_and_tells_its_status() {
    let scratch = tempfile::tempdir().unwrap();
    for shell in shells(&scratch) {
        let loopback = with_shell(&shell);
        let script =
            "tty >/dev/null && stty size; printf 'name? '; read name; echo \"hello $name\"; exit 6";
        let mut terminal = Terminal::spawn(&exec(&loopback, &["-t"], &["sh", "-c", script]));
        terminal.wait_for("name? ");
        terminal.type_in(b"you\r");
        terminal.wait_for("hello you");
        let screen = terminal.screen();
        assert!(screen.contains("24 80"), "{screen}");
        assert!(!screen.contains("ssmx"), "{screen}");
        assert_eq!(terminal.finish(), 6);
    }
}

#[test]
fn keys_are_signals_there() {
    let loopback = loopback();
    let mut terminal = Terminal::spawn(&exec(
        &loopback,
        &["-t"],
        &["sh", "-c", "echo ready; exec sleep 100"],
    ));
    terminal.wait_for("ready");
    terminal.type_in(b"\x03");
    assert_eq!(terminal.finish(), 130);
    assert_eq!(loopback.stats().terminated, 0);
}

#[test]
fn leaving_it_is_no_success() {
    let loopback = loopback();
    let mut terminal = Terminal::spawn(&exec(
        &loopback,
        &["-t"],
        &["sh", "-c", "echo ready; exec cat"],
    ));
    terminal.wait_for("ready");
    terminal.type_in(b"\r~.");
    assert_eq!(terminal.finish(), 255);
}

#[test]
fn without_a_terminal_here_its_output_is_that_of_one() {
    let loopback = loopback();
    let done = run(
        exec(
            &loopback,
            &["-t"],
            &["sh", "-c", "stty -onlcr; cat; exit 4"],
        ),
        b"",
    );
    assert_eq!(
        (done.code(), done.stderr.as_str()),
        (Some(4), ""),
        "{done:?}"
    );
}
