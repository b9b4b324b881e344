//! Sessions of type Port, as agents serve them.

mod direct;
mod service;
mod streams;

use std::io::Read as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use serde_json::Value;
use ssmx::loopback::{Loopback, Options};
use ssmx::protocol::message::PayloadType;

use super::client::{Client, SOON, start, start_command};

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
