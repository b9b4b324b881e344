//! The list of nodes on a terminal.

use ssmx::loopback::Node;

use super::{SSMX, WEB_2, command, echo, start};
use crate::support::kill;
use crate::support::pty::Terminal;

/// What the shell says of the terminal once `program` has ended.
fn with_modes(program: &std::process::Command) -> std::process::Command {
    let mut shell = std::process::Command::new("/bin/sh");
    shell.args([
        "-c",
        "\"$@\"; s=$?; stty -a | grep -o -w -e -echo -e echo; echo status=$s",
        "sh",
    ]);
    shell.arg(program.get_program()).args(program.get_args());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
}

fn is_restored(terminal: &Terminal, status: u8) {
    let end = format!("echo\nstatus={status}");
    terminal.wait_until(&end, |screen, _| screen.trim_end().ends_with(&end));
}

#[test]
fn a_node_is_picked_by_a_part_of_its_name() {
    let loopback = start(None);
    let mut terminal = Terminal::spawn(&with_modes(&echo(&loopback, &[])));
    terminal.wait_for("4/4");
    terminal.type_in(b"wb2");
    terminal.wait_for("> web-2");
    terminal.type_in(b"\r");
    terminal.wait_for("here");
    is_restored(&terminal, 0);
    let screen = terminal.screen();
    assert!(screen.contains(&format!("web-2: {WEB_2}")), "{screen}");
    assert!(!screen.contains("node>"), "{screen}");
    terminal.finish();
}

#[test]
fn arrows_move_and_those_that_are_offline_go_last() {
    let loopback = start(None);
    let mut terminal = Terminal::spawn(&with_modes(&echo(&loopback, &[])));
    terminal.wait_for("4/4");
    terminal.wait_for("> db");
    terminal.type_in(b"\x1b[B\x1b[B");
    terminal.wait_for("> web-2");
    terminal.type_in(b"\x1b[A");
    terminal.wait_for("> web-1");
    terminal.type_in(b"\x1b[F");
    terminal.wait_for("> old");
    terminal.resize(30, 10);
    terminal.wait_for("> old");
    terminal.type_in(b"\r");
    terminal.wait_for("TargetNotConnected");
    is_restored(&terminal, 254);
    terminal.finish();
}

#[test]
fn who_picks_nothing_gets_nothing() {
    let loopback = start(None);
    for key in [b"\x1b", b"\x03"] {
        let mut terminal = Terminal::spawn(&with_modes(&echo(&loopback, &[])));
        terminal.wait_for("4/4");
        terminal.type_in(key);
        is_restored(&terminal, 130);
        assert_eq!(terminal.screen().trim(), "echo\nstatus=130");
        terminal.finish();
    }
    assert_eq!(loopback.stats().started, 0);
}

#[test]
fn signals_and_failures_leave_the_terminal_as_it_was() {
    let loopback = start(None);
    loopback.hold(Some("DescribeInstanceProperties"));
    let mut program = echo(&loopback, &[]);
    program.env("SSMX_LOG", "off");
    // The shell's child is the only one that there is to find.
    let terminal = Terminal::spawn(&with_modes(&program));
    terminal.wait_for("node>");
    let pid = child_of(terminal.id());
    kill(pid, "-TERM");
    is_restored(&terminal, 143);
    terminal.finish();
    loopback.hold(None);

    for operation in ["DescribeInstanceProperties", "DescribeInstanceInformation"] {
        loopback.deny(operation, true);
    }
    let terminal = Terminal::spawn(&with_modes(&program));
    terminal.wait_for("AccessDenied");
    is_restored(&terminal, 254);
    terminal.finish();
}

/// The one process that this one waits for.
fn child_of(parent: u32) -> u32 {
    let list = std::process::Command::new("ps")
        .args(["-e", "-o", "pid=,ppid="])
        .output()
        .expect("ps runs");
    let list = String::from_utf8_lossy(&list.stdout).into_owned();
    let pairs = list.lines().filter_map(|line| {
        let mut numbers = line.split_whitespace().filter_map(|it| it.parse().ok());
        Some((numbers.next()?, numbers.next()?))
    });
    let mut children = pairs.filter(|(_, of): &(u32, u32)| *of == parent);
    children.next().expect("a child").0
}

#[test]
fn tunnels_and_ssh_let_pick_too() {
    let loopback = start(Some(vec![
        Node::online("i-1").named("one"),
        Node::online("i-2").named("two"),
    ]));
    let mut forward = command(SSMX, &loopback);
    forward.args(["forward", "-L", "0:80", "--", "echo", "done"]);
    let mut terminal = Terminal::spawn(&with_modes(&forward));
    terminal.wait_for("2/2");
    terminal.type_in(b"tw\r");
    terminal.wait_for("done");
    is_restored(&terminal, 0);
    assert!(terminal.screen().contains("two: i-2"));
    terminal.finish();

    // An ssh that says where it was sent.
    let directory = tempfile::tempdir().unwrap();
    let fake = directory.path().join("ssh");
    std::fs::write(&fake, "#!/bin/sh\nfor last; do :; done\necho to=$last\n").unwrap();
    std::fs::set_permissions(&fake, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut ssh = command(SSMX, &loopback);
    ssh.args(["ssh", "-v", "--ssh"]).arg(&fake);
    let mut terminal = Terminal::spawn(&with_modes(&ssh));
    terminal.wait_for("2/2");
    terminal.type_in(b"one\r");
    terminal.wait_for("to=i-1");
    is_restored(&terminal, 0);
    terminal.finish();
}

#[test]
fn where_there_are_no_nodes_there_is_no_list() {
    let loopback = start(Some(Vec::new()));
    let terminal = Terminal::spawn(&with_modes(&echo(&loopback, &[])));
    terminal.wait_for("no managed nodes");
    is_restored(&terminal, 255);
    terminal.finish();
}

#[test]
fn commands_without_a_target_and_names_of_several_nodes_let_pick() {
    let loopback = start(None);
    let mut lines: Vec<std::process::Command> = Vec::new();
    for words in [
        &["exec", "-n", "--", "echo", "he're"][..],
        &[
            "exec",
            "-n",
            "tag:Environment=production",
            "--",
            "echo",
            "he're",
        ],
    ] {
        let mut exec = command(SSMX, &loopback);
        exec.args(words);
        lines.push(exec);
    }
    for line in lines {
        let mut terminal = Terminal::spawn(&with_modes(&line));
        terminal.wait_for("> db");
        terminal.type_in(b"web-2");
        terminal.wait_for("> web-2");
        terminal.type_in(b"\r");
        terminal.wait_for("he're");
        is_restored(&terminal, 0);
        terminal.finish();
    }
    let mut status = command(SSMX, &loopback);
    status.arg("get-connection-status");
    let mut terminal = Terminal::spawn(&with_modes(&status));
    terminal.wait_for("4/4");
    terminal.type_in(b"old\r");
    terminal.wait_for("notconnected");
    is_restored(&terminal, 0);
    terminal.finish();
}

#[test]
fn a_path_of_no_node_lets_pick_one() {
    let loopback = start(None);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "what it says\n").unwrap();
    let mut copy = command(SSMX, &loopback);
    copy.args(["cp", "-q", &format!(":{}", file.display()), "-"]);
    let mut terminal = Terminal::spawn(&with_modes(&copy));
    terminal.wait_for("4/4");
    terminal.type_in(b"web-1\r");
    terminal.wait_for("what it says");
    is_restored(&terminal, 0);
    terminal.finish();
}
