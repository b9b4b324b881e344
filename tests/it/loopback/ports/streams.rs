//! Many connections at once.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use serde_json::json;
use ssmx::loopback::{Loopback, Options};
use ssmx::protocol::message::PayloadType;
use ssmx::protocol::payload::Flag;

use super::super::client::{Client, SOON, start, start_command};
use super::{
    FIN, FORWARD, PSH, SYN, Server, closed_port, frame, open_ready, read, receive_until, stream,
};

/// A client whose streams lead to the server.
fn tunnel(loopback: &Loopback, server: &Server) -> Client {
    let ports = json!({ "portNumber": [server.port()] });
    open_ready(loopback, FORWARD, &ports)
}

#[test]
fn many_connections_are_streams() {
    let loopback = start(Options::default());
    let server = Server::new();
    let mut client = tunnel(&loopback, &server);
    client.send(
        PayloadType::OUTPUT,
        [frame(SYN, 3, b""), frame(PSH, 3, b"th"), frame(SYN, 5, b"")].concat(),
    );
    let (mut three, mut five) = (server.accept(), server.accept());
    // Where a message ends means nothing.
    let halves = frame(PSH, 3, b"ree");
    client.send(PayloadType::OUTPUT, &halves[..5]);
    client.send(PayloadType::OUTPUT, &halves[5..]);
    client.send(PayloadType::OUTPUT, frame(PSH, 5, b"five"));
    assert_eq!(read(&mut three, 5), b"three");
    assert_eq!(read(&mut five, 4), b"five");
    assert!(loopback.wait_for(|stats| stats.streams == 2 && stats.dialled == 2, SOON));
    let long = vec![b'x'; 100_000];
    five.write_all(&long).unwrap();
    three.write_all(b"short").unwrap();
    receive_until(&mut client, |client| {
        stream(client, 5).0.len() == long.len() && stream(client, 3).0 == b"short"
    });
    assert!(
        client
            .output
            .iter()
            .all(|(_, payload)| payload.len() <= 1024)
    );
    // The end of one direction is the end of both.
    client.send(
        PayloadType::OUTPUT,
        [frame(PSH, 3, b"last"), frame(FIN, 3, b"")].concat(),
    );
    let mut text = String::new();
    three.read_to_string(&mut text).unwrap();
    assert_eq!(text, "last");
    receive_until(&mut client, |client| stream(client, 3).1);
    drop(five);
    receive_until(&mut client, |client| stream(client, 5).1);
    assert!(loopback.wait_for(|stats| stats.streams == 0, SOON));
    client.send(PayloadType::FLAG, Flag::TerminateSession.to_bytes());
    assert_eq!(client.run(), "");
}

#[test]
fn a_stream_that_cannot_be_connected_is_flagged_and_finished() {
    let loopback = start(Options::default());
    let port = closed_port();
    let mut client = open_ready(&loopback, FORWARD, &json!({ "portNumber": [port] }));
    for id in [3, 5] {
        client.send(PayloadType::OUTPUT, frame(SYN, id, b""));
        receive_until(&mut client, |client| stream(client, id).1);
    }
    let kinds: Vec<PayloadType> = client.output.iter().map(|(kind, _)| *kind).collect();
    let once = [PayloadType::FLAG, PayloadType::OUTPUT];
    assert_eq!(kinds, [once, once].concat());
    assert_eq!(client.output[0].1, Flag::ConnectToPortError.to_bytes()[..]);
    assert_eq!(loopback.stats().dial_failures, 2);
}

#[test]
fn a_connect_that_hangs_delays_the_later_ones() {
    let loopback = start(Options::default());
    let server = Server::new();
    let mut client = tunnel(&loopback, &server);
    loopback.hang_dials(true);
    for id in [3, 5] {
        let text = id.to_string();
        let opening = [frame(SYN, id, b""), frame(PSH, id, text.as_bytes())];
        client.send(PayloadType::OUTPUT, opening.concat());
    }
    client.flush();
    assert_eq!(loopback.stats().dialled, 0);
    loopback.hang_dials(false);
    for text in [b"3", b"5"] {
        assert_eq!(read(&mut server.accept(), 1), text);
    }
}

#[test]
fn nothing_is_read_from_a_destination_while_the_client_does_not_read() {
    let loopback = start(Options::default());
    let server = Server::new();
    let mut client = tunnel(&loopback, &server);
    client.send(PayloadType::OUTPUT, frame(SYN, 3, b""));
    let mut there = server.accept();
    there
        .set_write_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    let mut written = 0;
    while let Ok(length) = there.write(&[0; 64 << 10]) {
        written += length;
        assert!(written < 64 << 20, "the peer takes without end");
    }
    let mut received = 0;
    while received < written {
        client.receive().unwrap();
        received += client
            .output
            .drain(..)
            .map(|(_, payload)| payload.len())
            .sum::<usize>();
    }
}

#[test]
fn what_is_not_smux_ends_the_session() {
    let loopback = start(Options::default());
    let mut client = open_ready(&loopback, FORWARD, &json!({}));
    client.send(PayloadType::OUTPUT, "GET / HTTP/1.1\r\n\r\n");
    assert_eq!(client.run(), "");
}

#[test]
fn streams_go_on_after_cuts() {
    let loopback = start(Options::default());
    let server = Server::new();
    let parameters = json!({ "portNumber": [server.port()] });
    let grant = start_command(&loopback, FORWARD, &parameters);
    let mut client = Client::open(&grant);
    receive_until(&mut client, |client| client.complete);
    assert!(loopback.wait_for(|stats| stats.handshake_version.is_some(), SOON));
    client.send(PayloadType::OUTPUT, frame(SYN, 3, b""));
    let mut there = server.accept();
    let mut expected = Vec::new();
    for round in 0..5_u8 {
        there.write_all(&[round; 50_000]).unwrap();
        expected.extend_from_slice(&[round; 50_000]);
        let enough = expected.len() - 20_000;
        receive_until(&mut client, |client| stream(client, 3).0.len() >= enough);
        loopback.cut();
        client.run();
        client.resume(&loopback, &grant["SessionId"]);
    }
    receive_until(&mut client, |client| {
        stream(client, 3).0.len() == expected.len()
    });
    assert!(stream(&client, 3).0 == expected);
}

#[test]
fn tests_can_let_agents_send_anything() {
    let loopback = start(Options::default());
    let mut client = open_ready(&loopback, FORWARD, &json!({}));
    let junk: Vec<u8> = (0..3000_u32).map(|n| (n % 251) as u8).collect();
    loopback.inject_output(&junk);
    receive_until(&mut client, |client| {
        client.bytes(PayloadType::OUTPUT) == junk
    });
}

#[test]
fn agents_pause_behind_each_read() {
    let loopback = Loopback::start(Options::default()).unwrap();
    let server = Server::new();
    let mut client = tunnel(&loopback, &server);
    client.send(PayloadType::OUTPUT, frame(SYN, 3, b""));
    let mut there = server.accept();
    let began = std::time::Instant::now();
    there.write_all(&[0; 200 << 10]).unwrap();
    receive_until(&mut client, |client| stream(client, 3).0.len() == 200 << 10);
    assert!(began.elapsed() >= Duration::from_millis(180));
}
