//! Local ports and sockets of `ssmx forward` and `ssmx start-session`.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;

use super::program::{Program, connect, echo, forward, loopback, ping};
use crate::support::{SSMX, command, run_without_input, start_session};

#[test]
fn localhost_is_both_addresses_and_no_other() {
    let loopback = loopback();
    let mut program = Program::forward(&loopback, &["-L", &format!("0:{}", echo())]);
    let [port] = program.ports();
    ping(&mut connect(port), "v4");
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
        ping(
            &mut TcpStream::connect((Ipv6Addr::LOCALHOST, port)).unwrap(),
            "v6",
        );
    }
    assert!(TcpStream::connect((Ipv4Addr::new(127, 0, 0, 2), port)).is_err());
    program.interrupt();
}

#[test]
fn the_environment_says_where_to_listen_where_nothing_else_does() {
    let loopback = loopback();
    let port = echo();
    let mut command = forward(
        &loopback,
        &[
            "-L",
            &format!("0:{port}"),
            "-L",
            &format!("127.0.0.3:0:{port}"),
            "--json",
        ],
    );
    command.env("SSM_PLUGIN_LOCAL_HOST", "127.0.0.2");
    let mut program = Program::start(command);
    let mut addresses = [program.event("ready"), program.event("ready")]
        .map(|ready| ready["address"].as_str().unwrap().to_owned());
    addresses.sort();
    assert_eq!(addresses, ["127.0.0.2", "127.0.0.3"]);
    program.interrupt();
}

#[test]
fn who_opens_a_port_to_the_network_is_warned() {
    let loopback = loopback();
    let arguments = |bind: &str| {
        let specs = [format!("{bind}:0:80"), format!("{bind}:0")];
        forward(
            &loopback,
            &["--lazy", "-L", &specs[0], "-D", &specs[1], "--json"],
        )
    };
    let mut program = Program::start(arguments("0.0.0.0"));
    for _ in 0..2 {
        let warning = program.says("warning: 0.0.0.0:");
        assert!(warning.contains("without authentication"), "{warning}");
    }
    program.ports::<2>();
    program.interrupt();
    for bind in ["localhost", "127.0.0.2"] {
        let mut program = Program::start(arguments(bind));
        program.ports::<2>();
        let done = program.interrupt();
        assert!(!done.stderr.contains("warning"), "{done:?}");
    }
}

#[test]
fn a_busy_port_fails_before_any_session_and_names_its_owner() {
    let loopback = loopback();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let spec = format!("{port}:80");
    let parameters = format!("portNumber=80,localPortNumber={port}");
    let commands = [
        forward(&loopback, &["-L", "0:80", "-L", &spec]),
        start_session(
            &loopback,
            &[
                "--document-name",
                "AWS-StartPortForwardingSession",
                "--parameters",
                &parameters,
            ],
        ),
    ];
    for command in commands {
        let done = run_without_input(command);
        assert_eq!(done.code(), Some(255), "{done:?}");
        let what = format!("ssmx: error: cannot listen on 127.0.0.1:{port}: the port is in use");
        assert!(done.stderr.starts_with(&what), "{}", done.stderr);
        if cfg!(target_os = "linux") {
            let owner = format!("(process {})", std::process::id());
            assert!(done.stderr.contains(&owner), "{}", done.stderr);
        }
        assert!(done.stderr.contains("\nssmx: hint: "), "{}", done.stderr);
    }
    assert_eq!(loopback.stats().api_calls, 0);
}

#[test]
fn the_same_port_twice_is_told_as_such() {
    let loopback = loopback();
    let port = super::program::closed_port();
    let spec = format!("{port}:80");
    let done = run_without_input(forward(&loopback, &["-L", &spec, "-L", &spec]));
    assert_eq!(done.code(), Some(255), "{done:?}");
    if cfg!(target_os = "linux") {
        assert!(
            done.stderr.contains("in use by this command itself"),
            "{done:?}"
        );
    }
}

#[test]
fn what_makes_no_sense_is_a_usage_error() {
    let loopback = loopback();
    let cases: [(&[&str], &str); 9] = [
        (&["-L", "1:2:3:4:5"], "too many parts"),
        (&["-L", "x"], "\"x\" is no remote port"),
        (&["-L", "1:db:65536"], "\"65536\" is no remote port"),
        (&["-L", "1:db:0"], "\"0\" is no remote port"),
        (&["-D", "socks"], "is no local port"),
        (&[], "nothing to forward"),
        (&["-L", "80", "--json", "--", "ls"], "cannot be used with"),
        (&["-L"], "value is required"),
        (&["-L", "1:[::1:2"], "a [ is not closed"),
    ];
    for (arguments, why) in cases {
        let done = run_without_input(forward(&loopback, arguments));
        assert_eq!(done.code(), Some(252), "{arguments:?}: {done:?}");
        let lines: Vec<&str> = done.stderr.lines().collect();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].contains(why), "{arguments:?}: {}", lines[0]);
    }
    let mut none = command(SSMX, &loopback);
    none.args(["forward", "-L", "80"]);
    assert_eq!(run_without_input(none).code(), Some(252));
    assert_eq!(loopback.stats().api_calls, 0);
}

#[test]
fn a_unix_socket_is_private_and_gone_at_the_end() {
    let loopback = loopback();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    // Left by somebody who is gone.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let spec = format!("{}:{}", path.display(), echo());
    let mut program = Program::forward(&loopback, &["-L", &spec]);
    let ready = program.event("ready");
    assert_eq!(ready["socket"], path.to_str().unwrap());
    assert_eq!(ready["port"], serde_json::Value::Null);
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(b"ping").unwrap();
    let mut back = [0; 4];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"ping");
    let connect = program.event("connect");
    assert!(connect["peer"].as_str().unwrap().starts_with("process "));
    // A second one does not take it over.
    let done = run_without_input(forward(&loopback, &["-L", &spec]));
    assert_eq!(done.code(), Some(255));
    assert!(
        done.stderr.contains("the socket is in use by ssmx"),
        "{done:?}"
    );
    program.interrupt();
    assert!(!path.exists());
}
