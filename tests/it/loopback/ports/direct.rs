//! One connection at a time.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use serde_json::json;
use ssmx::loopback::Options;
use ssmx::protocol::message::PayloadType;
use ssmx::protocol::payload::Flag;

use super::super::client::start;
use super::{FORWARD, SSH, Server, closed_port, old_agent, open, open_ready, read};

#[test]
fn stdio_is_one_connection_and_ends_with_it() {
    let loopback = start(Options::default());
    let server = Server::new();
    let mut client = open_ready(&loopback, SSH, &json!({ "portNumber": [server.port()] }));
    let mut there = server.accept();
    // As smux is not spoken here, nor any byte changed.
    let bytes: Vec<u8> = (0..=255).collect();
    client.send(PayloadType::OUTPUT, &bytes);
    client.send(PayloadType::STDERR, "not data");
    client.send(PayloadType::OUTPUT, "\n");
    assert_eq!(read(&mut there, 257), [&bytes[..], b"\n"].concat());
    there.write_all(&bytes).unwrap();
    there.write_all(b"\xe2").unwrap();
    drop(there);
    assert_eq!(client.run(), "");
    assert_eq!(
        client.bytes(PayloadType::OUTPUT),
        [&bytes[..], b"\xe2"].concat()
    );
    assert_eq!(loopback.stats().dialled, 1);
}

#[test]
fn a_port_where_nobody_listens_fails_the_session() {
    let loopback = old_agent();
    let port = closed_port();
    for document in [SSH, FORWARD] {
        let mut client = open(&loopback, document, &json!({ "portNumber": [port] }));
        assert_eq!(
            client.run(),
            format!(
                "Unable to connect to specified port: dial tcp 127.0.0.1:{port}: connect: connection refused"
            )
        );
    }
    assert_eq!(loopback.stats().dial_failures, 2);
}

#[test]
fn basic_serves_one_connection_behind_the_other() {
    let loopback = old_agent();
    let server = Server::new();
    let mut client = open_ready(
        &loopback,
        FORWARD,
        &json!({ "portNumber": [server.port()] }),
    );
    let mut first = server.accept();
    client.send(PayloadType::OUTPUT, "one");
    client.send(PayloadType::FLAG, Flag::DisconnectToPort.to_bytes());
    let mut text = String::new();
    first.read_to_string(&mut text).unwrap();
    assert_eq!(text, "one");
    // Only data connects again.
    client.flush();
    assert_eq!(loopback.stats().dialled, 1);
    client.send(PayloadType::OUTPUT, "two");
    let mut second = server.accept();
    assert_eq!(read(&mut second, 3), b"two");
    second.write_all(b"bye").unwrap();
    client.wait_for("bye");
    // Of the destination's end nothing is said.
    drop(second);
    client.send(PayloadType::OUTPUT, "three");
    client.flush();
    let mut third = server.accept();
    assert_eq!(read(&mut third, 5), b"three");
    drop((third, server));
    std::thread::sleep(Duration::from_millis(100));
    client.send(PayloadType::OUTPUT, "four");
    assert_eq!(client.run(), "");
    assert_eq!(loopback.stats().dial_failures, 1);
}
