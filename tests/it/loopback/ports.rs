//! Sessions of type Port, as agents serve them.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use serde_json::{Map, Value, json};
use ssmx::loopback::{Loopback, Node, Options};
use ssmx::protocol::message::PayloadType;
use ssmx::protocol::payload::Flag;

use super::client::{Client, SOON, call, error, start, start_command, try_call};

const SSH: &str = "AWS-StartSSHSession";
const FORWARD: &str = "AWS-StartPortForwardingSession";
const REMOTE: &str = "AWS-StartPortForwardingSessionToRemoteHost";

/// An agent without multiplexing.
const OLD: &str = "3.0.196.0";

/// smux commands.
const SYN: u8 = 0;
const FIN: u8 = 1;
const PSH: u8 = 2;

/// A server whose connections the test holds.
struct Server(TcpListener);

impl Server {
    fn new() -> Self {
        Self(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap())
    }

    fn port(&self) -> String {
        self.0.local_addr().unwrap().port().to_string()
    }

    fn accept(&self) -> TcpStream {
        let (stream, _) = self.0.accept().unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream
    }
}

/// A port where nobody listens.
fn closed_port() -> String {
    Server::new().port()
}

fn read(stream: &mut TcpStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

fn old_agent() -> Loopback {
    start(Options {
        agent_version: OLD.to_owned(),
        ..Options::default()
    })
}

/// Opens a session and shakes hands.
fn open(loopback: &Loopback, document: &str, parameters: &Value) -> Client {
    open_as(loopback, document, parameters, "1.2.896.0")
}

fn open_as(
    loopback: &Loopback,
    document: &str,
    parameters: &Value,
    version: &'static str,
) -> Client {
    let mut client = Client::open(&start_command(loopback, document, parameters));
    client.version = version;
    while !client.complete {
        client.receive().unwrap();
    }
    client
}

/// The same, until input is taken. For the only session of a peer.
fn open_ready(loopback: &Loopback, document: &str, parameters: &Value) -> Client {
    let client = open(loopback, document, parameters);
    assert!(loopback.wait_for(|stats| stats.handshake_version.is_some(), SOON));
    client
}

fn frame(command: u8, stream: u32, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap();
    let mut frame = vec![1, command];
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(&stream.to_le_bytes());
    frame.extend_from_slice(data);
    frame
}

/// What came on a stream, and whether it is finished.
fn stream(client: &Client, wanted: u32) -> (Vec<u8>, bool) {
    let output = client.bytes(PayloadType::OUTPUT);
    let (mut rest, mut data, mut finished) = (output.as_slice(), Vec::new(), false);
    while let Some((header, after)) = rest.split_first_chunk::<8>() {
        assert_eq!(header[0], 1, "not a version");
        let length = usize::from(u16::from_le_bytes([header[2], header[3]]));
        let id = u32::from_le_bytes(header[4..].try_into().unwrap());
        if after.len() < length {
            break;
        }
        let (payload, after) = after.split_at(length);
        if id == wanted {
            data.extend_from_slice(payload);
            finished |= header[1] == FIN;
        }
        rest = after;
    }
    (data, finished)
}

fn receive_until(client: &mut Client, done: impl Fn(&Client) -> bool) {
    while !done(client) {
        client.receive().unwrap();
    }
}

#[test]
fn documents_make_the_properties_of_the_handshake() {
    let template = json!({
        "portNumber": "{{ port }}",
        "host": "{{name}}.internal",
        "type": "LocalPortForwarding",
        "localPortNumber": 9000,
    });
    let Value::Object(template) = template else {
        unreachable!()
    };
    let loopback = start(Options {
        documents: vec![("Ours".to_owned(), template)],
        ..Options::default()
    });
    let server = Server::new();
    let port = server.port();
    for (document, parameters, expected) in [
        (
            SSH,
            json!({ "portNumber": [port] }),
            json!({ "portNumber": port }),
        ),
        (
            FORWARD,
            json!({}),
            json!({ "portNumber": "80", "type": "LocalPortForwarding", "localPortNumber": "0" }),
        ),
        (
            FORWARD,
            json!({ "portNumber": ["5432"], "localPortNumber": ["9000"] }),
            json!({ "portNumber": "5432", "type": "LocalPortForwarding", "localPortNumber": "9000" }),
        ),
        (
            REMOTE,
            json!({ "host": ["db.internal"], "portNumber": ["5432"] }),
            json!({ "host": "db.internal", "portNumber": "5432", "type": "LocalPortForwarding", "localPortNumber": "0" }),
        ),
        (
            "AWS-StartPortForwardingSessionToSocket",
            json!({ "portNumber": ["2375"], "localUnixSocket": ["/tmp/docker.sock"] }),
            json!({ "portNumber": "2375", "type": "LocalPortForwarding", "localConnectionType": "unix", "localUnixSocket": "/tmp/docker.sock" }),
        ),
        (
            "Ours",
            json!({ "port": ["1"], "name": ["{{ port }}"] }),
            json!({ "portNumber": "1", "host": "{{ port }}.internal", "type": "LocalPortForwarding", "localPortNumber": 9000 }),
        ),
    ] {
        let client = open(&loopback, document, &parameters);
        let action = &client.request["RequestedClientActions"][0]["ActionParameters"];
        assert_eq!(action["SessionType"], "Port");
        assert_eq!(action["Properties"], expected, "{document}");
    }
}

#[test]
fn parameters_are_checked_as_by_the_service() {
    let loopback = start(Options::default());
    for (document, parameters) in [
        (SSH, json!({ "portNumber": ["0"] })),
        (SSH, json!({ "portNumber": ["65536"] })),
        (SSH, json!({ "portNumber": ["022"] })),
        (SSH, json!({ "portNumber": ["+22"] })),
        (SSH, json!({ "portNumber": ["ssh"] })),
        (SSH, json!({ "portNumber": ["22", "23"] })),
        (SSH, json!({ "localPortNumber": ["9000"] })),
        (FORWARD, json!({ "localPortNumber": ["70000"] })),
        (FORWARD, json!({ "host": ["db.internal"] })),
        (REMOTE, json!({ "portNumber": ["22"] })),
        (REMOTE, json!({ "host": ["a b"] })),
        (
            "AWS-StartPortForwardingSessionToSocket",
            json!({ "portNumber": ["1"] }),
        ),
    ] {
        let input = json!({
            "Target": loopback.target(),
            "DocumentName": document,
            "Parameters": parameters,
        });
        let refused = error(try_call(&loopback, "StartSession", &input));
        assert_eq!(refused, "InvalidParameters", "{document} {parameters}");
    }
}

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

#[test]
fn many_connections_are_streams() {
    let loopback = start(Options::default());
    let server = Server::new();
    let mut client = open_ready(
        &loopback,
        FORWARD,
        &json!({ "portNumber": [server.port()] }),
    );
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
fn remote_hosts_are_resolved_once_and_some_are_forbidden() {
    let loopback = start(Options {
        hosts: vec![
            ("db.internal".to_owned(), IpAddr::V4(Ipv4Addr::LOCALHOST)),
            ("metadata".to_owned(), IpAddr::V4(Ipv4Addr::LOCALHOST)),
        ],
        ..Options::default()
    });
    for host in [
        "169.254.169.254",
        "169.254.169.253",
        "fd00:ec2::254",
        "fd00:ec2::253",
        "::ffff:169.254.169.254",
    ] {
        let mut client = open(&loopback, REMOTE, &json!({ "host": [host] }));
        assert_eq!(
            client.run(),
            format!("Forwarding to IP address {host} is forbidden.")
        );
    }
    let server = Server::new();
    let connect = |host: &str| {
        let parameters = json!({ "host": [host], "portNumber": [server.port()] });
        let mut client = open(&loopback, REMOTE, &parameters);
        // Until it is ready the agent refuses input, and this client never repeats any.
        assert!(loopback.wait_for(|stats| stats.handshake_version.is_some(), SOON));
        std::thread::sleep(Duration::from_millis(100));
        client.send(PayloadType::OUTPUT, frame(SYN, 3, b""));
        client
    };
    for host in ["DB.internal", "metadata", "127.0.0.1"] {
        let mut client = connect(host);
        server.accept().write_all(b"hello").unwrap();
        receive_until(&mut client, |client| stream(client, 3).0 == b"hello");
    }
    let mut client = connect("no-such-host.invalid");
    receive_until(&mut client, |client| stream(client, 3).1);
    assert_eq!(client.output[0].0, PayloadType::FLAG);
}

#[test]
fn versions_decide_whether_connections_are_multiplexed() {
    let server = Server::new();
    let parameters = json!({ "portNumber": [server.port()] });
    for (agent, client, mux) in [
        ("3.0.196.0", "1.2.896.0", false),
        ("3.0.197.0", "1.2.896.0", true),
        ("3.3.0.0", "1.1.69.0", false),
        ("3.3.0.0", "1.1.70", true),
    ] {
        let loopback = start(Options {
            agent_version: agent.to_owned(),
            ..Options::default()
        });
        let mut client = open_as(&loopback, FORWARD, &parameters, client);
        assert!(loopback.wait_for(|stats| stats.handshake_version.is_some(), SOON));
        let syn = frame(SYN, 3, b"");
        client.send(PayloadType::OUTPUT, &syn);
        let mut there = server.accept();
        there.write_all(b"x").unwrap();
        if mux {
            receive_until(&mut client, |client| stream(client, 3).0 == b"x");
        } else {
            assert_eq!(read(&mut there, syn.len()), syn);
            receive_until(&mut client, |client| {
                client.bytes(PayloadType::OUTPUT) == b"x"
            });
        }
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
fn old_agents_do_not_know_the_flag_that_ends_a_session() {
    let server = Server::new();
    let loopback = start(Options {
        agent_version: "2.3.722.0".to_owned(),
        ..Options::default()
    });
    let mut client = open_ready(
        &loopback,
        FORWARD,
        &json!({ "portNumber": [server.port()] }),
    );
    client.send(PayloadType::FLAG, Flag::TerminateSession.to_bytes());
    client.send(PayloadType::OUTPUT, "still here");
    assert_eq!(read(&mut server.accept(), 10), b"still here");
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
    let mut client = open_ready(
        &loopback,
        FORWARD,
        &json!({ "portNumber": [server.port()] }),
    );
    client.send(PayloadType::OUTPUT, frame(SYN, 3, b""));
    let mut there = server.accept();
    let began = std::time::Instant::now();
    there.write_all(&[0; 200 << 10]).unwrap();
    receive_until(&mut client, |client| stream(client, 3).0.len() == 200 << 10);
    assert!(began.elapsed() >= Duration::from_millis(180));
}

#[test]
fn nodes_go_away_and_come_back() {
    let loopback = start(Options {
        nodes: vec![Node::online("i-1"), Node::online("i-2")],
        ..Options::default()
    });
    let server = Server::new();
    let parameters = json!({ "portNumber": [server.port()] });
    let mut client = open_ready(&loopback, SSH, &parameters);
    loopback.set_online("i-1", false);
    assert_eq!(client.run(), "");
    let input = json!({ "Target": "i-1" });
    let refused = try_call(&loopback, "StartSession", &input);
    assert_eq!(error(refused), "TargetNotConnected");
    let status = call(&loopback, "GetConnectionStatus", &input);
    assert_eq!(status["Status"], "notconnected");
    loopback.set_online("i-1", true);
    let mut client = open(&loopback, SSH, &parameters);
    loopback.end_sessions("Your session timed out due to inactivity.");
    assert_eq!(client.run(), "Your session timed out due to inactivity.");
    let mut resumed = Map::new();
    let id = loopback.stats().session_id;
    resumed.insert("SessionId".to_owned(), json!(id));
    let over = call(&loopback, "ResumeSession", &Value::Object(resumed));
    assert_eq!(over.get("TokenValue"), None);
}
