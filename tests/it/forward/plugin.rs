//! Forwards of the plugin: its contract on stdout, byte for byte.

use std::io::Read as _;
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Stdio};

use serde_json::json;
use ssmx::aws::SessionGrant;
use ssmx::loopback::Loopback;

use super::program::{closed_port, connect, echo, is_reset, loopback, ping};
use crate::plugin::{grant_with, response};
use crate::support::{DEADLINE, SSMX, command, kill, run_without_input};

const DOCUMENT: &str = "AWS-StartPortForwardingSession";
const VARIABLE: &str = "AWS_SSM_START_SESSION_RESPONSE";

fn granted(loopback: &Loopback, port: u16, local: u16) -> SessionGrant {
    let (port, local) = (port.to_string(), local.to_string());
    let parameters = [("portNumber", port.as_str()), ("localPortNumber", &local)];
    grant_with(loopback, Some(DOCUMENT), &parameters)
}

fn plugin(loopback: &Loopback, grant: &SessionGrant) -> Command {
    let mut command = command(SSMX, loopback);
    command.args([VARIABLE, loopback.region(), "StartSession", ""]);
    command.arg(json!({ "Target": loopback.target() }).to_string());
    command.arg(loopback.endpoint_url());
    command.env(VARIABLE, response(grant).to_string());
    command.stdin(Stdio::null());
    command
}

/// Runs the plugin until `text` has been on stdout, has `act` done then, and gives all of stdout
/// and the exit status.
fn run(mut command: Command, text: &str, act: impl FnOnce(u32)) -> (String, Option<i32>) {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut said = Vec::new();
    let mut byte = [0];
    while !String::from_utf8_lossy(&said).contains(text) {
        assert_eq!(stdout.read(&mut byte).unwrap(), 1, "{said:?}");
        said.push(byte[0]);
    }
    act(child.id());
    stdout.read_to_end(&mut said).unwrap();
    (
        String::from_utf8(said).unwrap(),
        child.wait().unwrap().code(),
    )
}

#[test]
fn an_interrupt_is_told_as_the_official_plugin_tells_it() {
    let loopback = loopback();
    for local in [0, closed_port()] {
        let grant = granted(&loopback, echo(), local);
        let mut port = local;
        let (text, status) = run(
            plugin(&loopback, &grant),
            "Waiting for connections...\n",
            |id| kill(id, "-INT"),
        );
        if port == 0 {
            let said = text
                .split("Port ")
                .nth(1)
                .and_then(|rest| rest.split(' ').next());
            port = said.unwrap().parse().unwrap();
        }
        let id = &grant.session_id;
        let expected = format!(
            "\nStarting session with SessionId: {id}\n\
            Port {port} opened for sessionId {id}.\nWaiting for connections...\n\
            Terminate signal received, exiting.\n\n\nExiting session with sessionId: {id}.\n\n"
        );
        assert_eq!(text, expected);
        assert_eq!(status, Some(0));
    }
    assert!(loopback.wait_for(|stats| stats.ended == 2, DEADLINE));
}

#[test]
fn connections_and_the_end_of_the_session_are_told() {
    let loopback = loopback();
    for (output, last) in [
        ("", "\n\nExiting session with sessionId: ID.\n\n"),
        ("over", "\n\nSessionId: ID : over\n\n"),
    ] {
        let port = closed_port();
        let grant = granted(&loopback, echo(), port);
        let (text, status) = run(
            plugin(&loopback, &grant),
            "Waiting for connections...\n",
            |_| {
                ping(&mut connect(port), "one");
                let mut two = connect(port);
                ping(&mut two, "two");
                loopback.end_sessions(output);
                assert!(is_reset(&mut two));
            },
        );
        let id = &grant.session_id;
        let expected = format!(
            "\nStarting session with SessionId: {id}\n\
            Port {port} opened for sessionId {id}.\nWaiting for connections...\n\
            \nConnection accepted for session [{id}]\n{}",
            last.replace("ID", id)
        );
        assert_eq!(text, expected);
        assert_eq!(status, Some(0));
    }
}

#[test]
fn a_refused_connection_is_told() {
    let loopback = loopback();
    let port = closed_port();
    let grant = granted(&loopback, closed_port(), port);
    let (text, _) = run(
        plugin(&loopback, &grant),
        "Waiting for connections...\n",
        |id| {
            assert!(is_reset(&mut connect(port)));
            kill(id, "-INT");
        },
    );
    let refused = "\nConnection to destination port failed, check SSM Agent logs.\n";
    assert_eq!(text.matches(refused).count(), 1, "{text:?}");
}

#[test]
fn a_busy_port_ends_the_session() {
    let loopback = loopback();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let grant = granted(&loopback, echo(), port);
    let done = run_without_input(plugin(&loopback, &grant));
    let id = &grant.session_id;
    let expected = format!(
        "\nStarting session with SessionId: {id}\nCannot perform start session: \
        listen tcp 127.0.0.1:{port}: bind: address already in use\n"
    );
    assert_eq!(done.text(), expected);
    assert!(done.stderr.contains("the port is in use by"), "{done:?}");
    assert!(loopback.wait_for(|stats| stats.ended == 1, DEADLINE));
}

#[test]
fn a_busy_unix_socket_ends_the_session_in_the_same_words() {
    let loopback = loopback();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let path = path.to_str().unwrap();
    let file = dir.path().join("file");
    let file = file.to_str().unwrap();
    let _taken = std::os::unix::net::UnixListener::bind(path).unwrap();
    std::fs::write(file, "").unwrap();
    for path in [path, file] {
        let port = echo().to_string();
        let parameters = [("portNumber", port.as_str()), ("localUnixSocket", path)];
        let document = Some("AWS-StartPortForwardingSessionToSocket");
        let grant = grant_with(&loopback, document, &parameters);
        let done = run_without_input(plugin(&loopback, &grant));
        let id = &grant.session_id;
        let expected = format!(
            "\nStarting session with SessionId: {id}\nCannot perform start session: \
            listen unix {path}: bind: address already in use\n"
        );
        assert_eq!(done.text(), expected);
    }
    assert!(loopback.wait_for(|stats| stats.ended == 2, DEADLINE));
}
