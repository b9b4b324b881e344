//! What the service and the agent make of documents, hosts, versions and nodes.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use serde_json::{Map, Value, json};
use ssmx::loopback::{Node, Options};
use ssmx::protocol::message::PayloadType;
use ssmx::protocol::payload::Flag;

use super::super::client::{SOON, call, error, start, try_call};
use super::{
    FORWARD, REMOTE, SSH, SYN, Server, frame, open, open_as, open_ready, read, receive_until,
    stream,
};

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
}

#[test]
fn a_name_without_an_address_fails_the_session_or_with_some_agents_each_connection() {
    let host = "no-such-host.invalid";
    let parameters = json!({ "host": [host] });
    for agent_version in ["3.3.0.0", super::OLD] {
        let loopback = start(Options {
            agent_version: agent_version.to_owned(),
            ..Options::default()
        });
        let mut client = open(&loopback, REMOTE, &parameters);
        assert_eq!(client.run(), format!("lookup {host}: no such host"));
    }
    let loopback = start(Options {
        late_lookup: true,
        ..Options::default()
    });
    let mut client = open_ready(&loopback, REMOTE, &parameters);
    client.send(PayloadType::OUTPUT, frame(SYN, 3, b""));
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
