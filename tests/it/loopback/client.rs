//! A client without any mind of its own.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use serde_json::{Value, json};
use ssmx::loopback::{Loopback, Options};
use ssmx::protocol::message::{AgentMessage, MessageType, PayloadType};
use ssmx::protocol::payload::{Acknowledge, ChannelClosed, acknowledge_json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, HandshakeError, Message, WebSocket};

pub(super) const SOON: Duration = Duration::from_secs(10);

pub(super) fn start(options: Options) -> Loopback {
    Loopback::start(Options {
        paced: false,
        ..options
    })
    .unwrap()
}

/// What a request is signed with.
#[derive(Clone)]
pub(super) struct Signer {
    pub(super) key_id: String,
    pub(super) secret: String,
    pub(super) region: String,
    pub(super) service: &'static str,
    pub(super) time: SystemTime,
}

impl Signer {
    pub(super) fn of(loopback: &Loopback, service: &'static str) -> Self {
        Self {
            key_id: loopback.access_key_id().to_owned(),
            secret: loopback.secret_access_key().to_owned(),
            region: loopback.region().to_owned(),
            service,
            time: SystemTime::now(),
        }
    }

    pub(super) fn headers(&self, method: &str, uri: &str, body: &[u8]) -> Vec<(String, String)> {
        let identity = Credentials::new(&self.key_id, &self.secret, None, None, "test").into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(self.service)
            .time(self.time)
            .settings(SigningSettings::default())
            .build()
            .unwrap()
            .into();
        let body = SignableBody::Bytes(body);
        let request = SignableRequest::new(method, uri, std::iter::empty(), body).unwrap();
        let (instructions, _) = sign(request, &params).unwrap().into_parts();
        let (headers, _) = instructions.into_parts();
        headers
            .into_iter()
            .map(|header| (header.name().to_owned(), header.value().to_owned()))
            .collect()
    }
}

/// One API call; HTTP status and body.
pub(super) fn request(
    loopback: &Loopback,
    signer: Option<&Signer>,
    operation: &str,
    input: &Value,
) -> (u16, Value) {
    let address = loopback.endpoint_url().strip_prefix("http://").unwrap();
    let body = input.to_string();
    let mut head = format!(
        "POST / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n\
         Content-Type: application/x-amz-json-1.1\r\nX-Amz-Target: {operation}\r\n",
        body.len()
    );
    if let Some(signer) = signer {
        let uri = format!("{}/", loopback.endpoint_url());
        for (name, value) in signer.headers("POST", &uri, body.as_bytes()) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "{head}\r\n{body}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap())
}

pub(super) fn call(loopback: &Loopback, operation: &str, input: &Value) -> Value {
    let (status, body) = try_call(loopback, operation, input);
    assert_eq!(status, 200, "{operation}: {body}");
    body
}

pub(super) fn try_call(loopback: &Loopback, operation: &str, input: &Value) -> (u16, Value) {
    let signer = Signer::of(loopback, "ssm");
    let operation = format!("AmazonSSM.{operation}");
    request(loopback, Some(&signer), &operation, input)
}

pub(super) fn error(answer: (u16, Value)) -> String {
    let (status, body) = answer;
    assert_ne!(status, 200, "{body}");
    body["__type"].as_str().unwrap().to_owned()
}

pub(super) fn start_command(loopback: &Loopback, document: &str, parameters: &Value) -> Value {
    let input = json!({
        "Target": loopback.target(),
        "DocumentName": document,
        "Parameters": parameters,
    });
    call(loopback, "StartSession", &input)
}

pub(super) fn start_shell(loopback: &Loopback) -> Value {
    call(
        loopback,
        "StartSession",
        &json!({ "Target": loopback.target() }),
    )
}

/// A connection whose time limit counts although signals come: with such a limit they interrupt
/// reading, and every child of the peer, which is in this process, sends one at its end.
pub(super) struct Patient(TcpStream);

impl Read for Patient {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        loop {
            match self.0.read(buffer) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }
}

impl Write for Patient {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

/// A client without any mind of its own.
pub(super) struct Client {
    pub(super) socket: WebSocket<Patient>,
    /// Payloads in order, by type.
    pub(super) output: Vec<(PayloadType, Bytes)>,
    pub(super) expected: i64,
    pub(super) sequence: i64,
    /// ClientVersion of the handshake.
    pub(super) version: &'static str,
    /// What the handshake asks of the client.
    pub(super) request: Value,
    /// Whether the handshake is over.
    pub(super) complete: bool,
    /// Numbers of own messages that were acknowledged.
    pub(super) acknowledged: Vec<i64>,
}

impl Client {
    pub(super) fn upgrade(url: &str, headers: &[(String, String)]) -> Result<Self, u16> {
        let mut request = url.into_client_request().unwrap();
        for (name, value) in headers {
            let name: http::HeaderName = name.parse().unwrap();
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        let address = request.uri().authority().unwrap().as_str();
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        match tokio_tungstenite::tungstenite::client(request, Patient(stream)) {
            Ok((socket, _)) => Ok(Self {
                socket,
                output: Vec::new(),
                expected: 0,
                sequence: 0,
                version: "1.2.896.0",
                request: Value::Null,
                complete: false,
                acknowledged: Vec::new(),
            }),
            Err(HandshakeError::Failure(Error::Http(response))) => Err(response.status().as_u16()),
            Err(_) => Err(0),
        }
    }

    pub(super) fn open(grant: &Value) -> Self {
        let mut client = Self::upgrade(grant["StreamUrl"].as_str().unwrap(), &[]).unwrap();
        client.send_token(grant["TokenValue"].as_str().unwrap());
        client
    }

    pub(super) fn send_token(&mut self, token: &str) {
        let text = json!({ "TokenValue": token, "ClientVersion": "1.2.896.0" });
        self.socket.send(Message::text(text.to_string())).unwrap();
    }

    pub(super) fn send(&mut self, payload_type: PayloadType, payload: impl AsRef<[u8]>) {
        let message = AgentMessage {
            message_type: MessageType::INPUT_STREAM_DATA,
            schema_version: 1,
            created_date: 1,
            sequence_number: self.sequence,
            flags: 0,
            message_id: uuid::Uuid::new_v4(),
            payload_type,
            payload: Bytes::copy_from_slice(payload.as_ref()),
        };
        self.sequence += 1;
        let frame = message.encode().unwrap();
        self.socket.send(Message::Binary(frame)).unwrap();
    }

    /// Takes one message; the session's end as an error, or the close code.
    pub(super) fn receive(&mut self) -> Result<(), String> {
        let frame = match self.socket.read() {
            Ok(Message::Binary(frame)) => frame,
            Ok(Message::Close(Some(close))) => return Err(format!("{}", u16::from(close.code))),
            Ok(_) => return Ok(()),
            Err(error) => return Err(error.to_string()),
        };
        let message = AgentMessage::decode(frame).unwrap();
        if message.message_type == MessageType::CHANNEL_CLOSED {
            return Err(ChannelClosed::from_json(&message.payload).output);
        }
        if message.message_type == MessageType::ACKNOWLEDGE {
            let acknowledge = Acknowledge::from_json(&message.payload).unwrap();
            self.acknowledged
                .extend(acknowledge.acknowledged_message_sequence_number);
        }
        // What comes too early is not held, so it is not acknowledged: it comes again.
        if message.message_type != MessageType::OUTPUT_STREAM_DATA
            || message.sequence_number > self.expected
        {
            return Ok(());
        }
        let text = acknowledge_json(
            "output_stream_data",
            message.message_id,
            message.sequence_number,
        );
        let acknowledge = AgentMessage {
            message_type: MessageType::ACKNOWLEDGE,
            sequence_number: 0,
            payload_type: PayloadType::NONE,
            payload: text.into(),
            ..message.clone()
        };
        let frame = acknowledge.encode().unwrap();
        // A cut or a close may come between a message and this; reading will tell which.
        let _ = self.socket.send(Message::Binary(frame));
        if message.sequence_number == self.expected {
            self.expected += 1;
            if message.payload_type == PayloadType::HANDSHAKE_REQUEST {
                self.request = serde_json::from_slice(&message.payload).unwrap();
                let response = json!({
                    "ClientVersion": self.version,
                    "ProcessedClientActions": [{ "ActionType": "SessionType", "ActionStatus": 1 }],
                });
                self.send(PayloadType::HANDSHAKE_RESPONSE, response.to_string());
            } else if message.payload_type == PayloadType::HANDSHAKE_COMPLETE {
                self.complete = true;
            } else {
                self.output.push((message.payload_type, message.payload));
            }
        }
        Ok(())
    }

    /// Receives to the end; why it ended.
    pub(super) fn run(&mut self) -> String {
        loop {
            if let Err(end) = self.receive() {
                return end;
            }
        }
    }

    pub(super) fn wait_for(&mut self, text: &str) {
        while !self.text(PayloadType::OUTPUT).contains(text) {
            self.receive().unwrap();
        }
    }

    pub(super) fn text(&self, wanted: PayloadType) -> String {
        let parts = self.output.iter().filter(|(kind, _)| *kind == wanted);
        parts
            .map(|(_, payload)| String::from_utf8_lossy(payload).into_owned())
            .collect()
    }

    /// The bytes of all messages of a type.
    pub(super) fn bytes(&self, wanted: PayloadType) -> Vec<u8> {
        let parts = self.output.iter().filter(|(kind, _)| *kind == wanted);
        parts.flat_map(|(_, payload)| payload.to_vec()).collect()
    }

    /// Receives until the last message sent is acknowledged.
    pub(super) fn flush(&mut self) {
        while !self.acknowledged.contains(&(self.sequence - 1)) {
            self.receive().unwrap();
        }
    }

    /// Goes on after the loss of its connection.
    pub(super) fn resume(&mut self, loopback: &Loopback, session_id: &Value) {
        let again = call(
            loopback,
            "ResumeSession",
            &json!({ "SessionId": session_id }),
        );
        self.socket = Self::open(&again).socket;
    }
}
