//! What forwards have from whoever starts them: limits of open files, and ignored signals.

use std::process::{Command, Stdio};

use super::program::{Program, connect, echo, forward, loopback, ping};
use crate::support::{Finished, run_without_input, start_session};

/// The command, with this said to the shell before.
fn after(limit: &str, command: &Command) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell
        .args(["-c", &format!("{limit}; exec \"$@\""), "sh"])
        .arg(command.get_program())
        .args(command.get_args())
        .stdin(Stdio::null());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
}

#[test]
fn a_lost_connection_is_replaced_though_clients_would_take_all_descriptors() {
    let loopback = loopback();
    let spec = format!("0:{}", echo());
    let command = forward(&loopback, &["-L", &spec, "--json"]);
    let mut program = Program::start(after("ulimit -n 100", &command));
    let [port] = program.ports();
    let mut clients: Vec<_> = (0..150).map(|_| connect(port)).collect();
    program.says("cannot accept a connection");
    ping(&mut clients[0], "before");
    // Whoever waits has more than one chance to take what the lost connection leaves.
    loopback.fail_resumes(5);
    loopback.cut();
    program.event("lost");
    program.event("reconnect");
    ping(&mut clients[0], "after");
    // Those who waited have their turn once others are gone.
    let mut last = clients.pop().unwrap();
    drop(clients);
    ping(&mut last, "last");
    let done = program.interrupt();
    let told = done.stderr.matches("cannot accept").count();
    assert!(told <= 2, "{done:?}");
}

/// The text of a command that runs with this limit.
fn output(limit: &str, command: &Command) -> String {
    let done: Finished = run_without_input(after(limit, command));
    assert_eq!(done.code(), Some(0), "{done:?}");
    done.text()
}

#[test]
fn the_limit_is_raised_and_commands_have_the_one_before() {
    let loopback = loopback();
    let spec = format!("0:{}", echo());
    let print = "ulimit -Sn; grep 'open files' /proc/$PPID/limits || :";
    let command = forward(&loopback, &["-L", &spec, "--", "sh", "-c", print]);
    let printed = output("ulimit -Sn 200; ulimit -Hn 300", &command);
    let mut words = printed.split_whitespace();
    assert_eq!(words.next(), Some("200"), "{printed}");
    if cfg!(target_os = "linux") {
        let limits: Vec<&str> = words.skip(3).take(2).collect();
        assert_eq!(limits, ["300", "300"], "{printed}");
    }
}

#[test]
fn ignored_keys_stay_ignored_as_for_jobs_in_the_background() {
    let loopback = loopback();
    let server = echo();
    let parameters = format!("portNumber={server},localPortNumber=0");
    let document = "AWS-StartPortForwardingSession";
    let arguments = ["--document-name", document, "--parameters", &parameters];
    for (command, before) in [
        (
            forward(&loopback, &["-L", &format!("0:{server}")]),
            "127.0.0.1:",
        ),
        (start_session(&loopback, &arguments), "Port "),
    ] {
        let mut program = Program::start(after("trap '' INT QUIT", &command));
        let line = program.says(before);
        let (_, port) = line.split_once(before).unwrap();
        let (port, _) = port.split_once(' ').unwrap();
        let mut stream = connect(port.parse().unwrap());
        for signal in ["-INT", "-QUIT", "-INT"] {
            ping(&mut stream, "before");
            program.signal(signal);
            ping(&mut stream, "after");
        }
        program.signal("-TERM");
        assert_eq!(program.finish().code(), Some(143));
    }
    // The command has them as they were.
    let print = "kill -INT $$; echo alive";
    let spec = format!("0:{server}");
    let command = forward(&loopback, &["-L", &spec, "--", "sh", "-c", print]);
    assert_eq!(output("trap '' INT", &command), "alive\n");
}
