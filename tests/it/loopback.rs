//! The peer itself, by clients that know nothing of ssmx's: raw HTTP, and a bare WebSocket.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use serde_json::{Value, json};
use ssmx::loopback::{Injection, Loopback, Node, Options};
use ssmx::protocol::message::{AgentMessage, MessageType, PayloadType};
use ssmx::protocol::payload::{ChannelClosed, acknowledge_json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, HandshakeError, Message, WebSocket};

const SOON: Duration = Duration::from_secs(10);

fn start(options: Options) -> Loopback {
    Loopback::start(Options {
        paced: false,
        ..options
    })
    .unwrap()
}

/// What a request is signed with.
#[derive(Clone)]
struct Signer {
    key_id: String,
    secret: String,
    region: String,
    service: &'static str,
    time: SystemTime,
}

impl Signer {
    fn of(loopback: &Loopback, service: &'static str) -> Self {
        Self {
            key_id: loopback.access_key_id().to_owned(),
            secret: loopback.secret_access_key().to_owned(),
            region: loopback.region().to_owned(),
            service,
            time: SystemTime::now(),
        }
    }

    fn headers(&self, method: &str, uri: &str, body: &[u8]) -> Vec<(String, String)> {
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
fn request(
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

fn call(loopback: &Loopback, operation: &str, input: &Value) -> Value {
    let (status, body) = try_call(loopback, operation, input);
    assert_eq!(status, 200, "{operation}: {body}");
    body
}

fn try_call(loopback: &Loopback, operation: &str, input: &Value) -> (u16, Value) {
    let signer = Signer::of(loopback, "ssm");
    let operation = format!("AmazonSSM.{operation}");
    request(loopback, Some(&signer), &operation, input)
}

fn error(answer: (u16, Value)) -> String {
    let (status, body) = answer;
    assert_ne!(status, 200, "{body}");
    body["__type"].as_str().unwrap().to_owned()
}

fn start_command(loopback: &Loopback, document: &str, parameters: &Value) -> Value {
    let input = json!({
        "Target": loopback.target(),
        "DocumentName": document,
        "Parameters": parameters,
    });
    call(loopback, "StartSession", &input)
}

fn start_shell(loopback: &Loopback) -> Value {
    call(
        loopback,
        "StartSession",
        &json!({ "Target": loopback.target() }),
    )
}

/// A connection whose time limit counts although signals come: with such a limit they interrupt
/// reading, and every child of the peer, which is in this process, sends one at its end.
struct Patient(TcpStream);

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
struct Client {
    socket: WebSocket<Patient>,
    /// Payloads in order, by type.
    output: Vec<(PayloadType, Bytes)>,
    expected: i64,
    sequence: i64,
}

impl Client {
    fn upgrade(url: &str, headers: &[(String, String)]) -> Result<Self, u16> {
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
            }),
            Err(HandshakeError::Failure(Error::Http(response))) => Err(response.status().as_u16()),
            Err(_) => Err(0),
        }
    }

    fn open(grant: &Value) -> Self {
        let mut client = Self::upgrade(grant["StreamUrl"].as_str().unwrap(), &[]).unwrap();
        client.send_token(grant["TokenValue"].as_str().unwrap());
        client
    }

    fn send_token(&mut self, token: &str) {
        let text = json!({ "TokenValue": token, "ClientVersion": "1.2.896.0" });
        self.socket.send(Message::text(text.to_string())).unwrap();
    }

    fn send(&mut self, payload_type: PayloadType, payload: &str) {
        let message = AgentMessage {
            message_type: MessageType::INPUT_STREAM_DATA,
            schema_version: 1,
            created_date: 1,
            sequence_number: self.sequence,
            flags: 0,
            message_id: uuid::Uuid::new_v4(),
            payload_type,
            payload: Bytes::copy_from_slice(payload.as_bytes()),
        };
        self.sequence += 1;
        let frame = message.encode().unwrap();
        self.socket.send(Message::Binary(frame)).unwrap();
    }

    /// Takes one message; the session's end as an error, or the close code.
    fn receive(&mut self) -> Result<(), String> {
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
                let response = json!({
                    "ClientVersion": "1.2.896.0",
                    "ProcessedClientActions": [{ "ActionType": "SessionType", "ActionStatus": 1 }],
                });
                self.send(PayloadType::HANDSHAKE_RESPONSE, &response.to_string());
            } else if message.payload_type != PayloadType::HANDSHAKE_COMPLETE {
                self.output.push((message.payload_type, message.payload));
            }
        }
        Ok(())
    }

    /// Receives to the end; why it ended.
    fn run(&mut self) -> String {
        loop {
            if let Err(end) = self.receive() {
                return end;
            }
        }
    }

    fn wait_for(&mut self, text: &str) {
        while !self.text(PayloadType::OUTPUT).contains(text) {
            self.receive().unwrap();
        }
    }

    fn text(&self, wanted: PayloadType) -> String {
        let parts = self.output.iter().filter(|(kind, _)| *kind == wanted);
        parts
            .map(|(_, payload)| String::from_utf8_lossy(payload).into_owned())
            .collect()
    }
}

#[test]
fn only_requests_signed_with_this_key_are_answered() {
    let loopback = start(Options::default());
    let input = json!({ "Target": loopback.target() });
    let ask = |signer: Option<&Signer>| {
        request(&loopback, signer, "AmazonSSM.GetConnectionStatus", &input)
    };
    let right = Signer::of(&loopback, "ssm");
    assert_eq!(ask(Some(&right)).1["Status"], "connected");
    assert_eq!(error(ask(None)), "MissingAuthenticationTokenException");
    let wrong = |change: fn(&mut Signer)| {
        let mut signer = right.clone();
        change(&mut signer);
        error(ask(Some(&signer)))
    };
    let secret = wrong(|signer| signer.secret = "other".into());
    assert_eq!(secret, "InvalidSignatureException");
    let key = wrong(|signer| signer.key_id = "AKIAOTHER".into());
    assert_eq!(key, "UnrecognizedClientException");
    for other in [
        wrong(|signer| signer.region = "eu-west-1".into()),
        wrong(|signer| signer.service = "kms"),
        wrong(|signer| signer.time -= Duration::from_secs(3600)),
    ] {
        assert_eq!(other, "InvalidSignatureException");
    }
    assert_eq!(loopback.stats().api_errors, 6);
}

#[test]
fn bad_requests_are_refused_as_by_the_service() {
    let loopback = start(Options::default());
    let refused = |operation, input: Value| error(try_call(&loopback, operation, &input));
    let target = loopback.target();
    let offline = json!({ "Target": loopback.offline_target() });
    assert_eq!(refused("StartSession", offline), "TargetNotConnected");
    assert_eq!(refused("StartSession", json!({})), "ValidationException");
    let document = json!({ "Target": target, "DocumentName": "Nope" });
    assert_eq!(refused("StartSession", document), "InvalidDocument");
    let document = json!({ "Target": target, "DocumentName": "AWS-StartInteractiveCommand" });
    assert_eq!(refused("StartSession", document), "InvalidParameters");
    for operation in ["ResumeSession", "TerminateSession"] {
        let unknown = json!({ "SessionId": "loopback-0" });
        assert_eq!(refused(operation, unknown), "DoesNotExistException");
    }
    assert_eq!(refused("Other", json!({})), "UnknownOperationException");
    loopback.throttle(1);
    assert_eq!(refused("ResumeSession", json!({})), "ThrottlingException");
    loopback.expire_token(true);
    assert_eq!(refused("ResumeSession", json!({})), "ExpiredTokenException");
}

#[test]
fn a_token_opens_once_and_only_its_own_channel() {
    let loopback = start(Options::default());
    let (one, two) = (start_shell(&loopback), start_shell(&loopback));
    let url = one["StreamUrl"].as_str().unwrap();
    assert!(url.contains('+'), "as AWS's have it");
    let altered = url.replace('+', "%2B");
    assert_eq!(Client::upgrade(&altered, &[]).err(), Some(404));
    for wrong in [&two["TokenValue"], &json!("x")] {
        let mut client = Client::upgrade(url, &[]).unwrap();
        client.send_token(wrong.as_str().unwrap());
        assert_eq!(client.run(), "1008");
    }
    // Presented at the wrong door, the second token is spent.
    let mut client = Client::open(&two);
    assert_eq!(client.run(), "1008");
    let mut client = Client::open(&one);
    client.wait_for(" ");
    assert_eq!(loopback.stats().bad_tokens, 3);
}

#[test]
fn an_upgrade_is_verified_if_it_is_signed() {
    let loopback = start(Options::default());
    let grant = start_shell(&loopback);
    let url = grant["StreamUrl"].as_str().unwrap();
    // Where the signer takes a query as it is, a space stands for the plus.
    let signed_as = url.replacen("ws://", "http://", 1).replace('+', "%20");
    let upgrade = |signer: &Signer| {
        let headers = signer.headers("GET", &signed_as, b"");
        Client::upgrade(url, &headers).map(drop)
    };
    let right = Signer::of(&loopback, "ssmmessages");
    assert_eq!(upgrade(&right), Ok(()));
    assert_eq!(upgrade(&Signer::of(&loopback, "ssm")), Err(403));
    let stats = loopback.stats();
    assert_eq!((stats.upgrades_signed, stats.upgrades_refused), (1, 1));
    loopback.forbid_upgrades(true);
    assert_eq!(upgrade(&right), Err(403));
    loopback.forbid_upgrades(false);
    loopback.refuse_upgrades(1);
    assert_eq!(upgrade(&right), Err(0));

    let strict = start(Options {
        require_signature: true,
        ..Options::default()
    });
    let grant = start_shell(&strict);
    let url = grant["StreamUrl"].as_str().unwrap();
    assert_eq!(Client::upgrade(url, &[]).err(), Some(403));
}

#[test]
fn a_session_goes_on_after_cuts_and_ends_when_terminated() {
    let loopback = start(Options::default());
    let grant = start_shell(&loopback);
    let id = json!({ "SessionId": grant["SessionId"] });
    let mut client = Client::open(&grant);
    client.send(PayloadType::OUTPUT, "echo $((40 + 2))\n");
    client.wait_for("42");
    loopback.cut();
    client.run();
    assert!(loopback.wait_for(|stats| stats.lost == 1 && stats.attached == 0, SOON));
    loopback.fail_resumes(1);
    assert_eq!(
        error(try_call(&loopback, "ResumeSession", &id)),
        "InternalServerError"
    );
    let again = call(&loopback, "ResumeSession", &id);
    assert_ne!(again["StreamUrl"], grant["StreamUrl"]);
    let mut resumed = Client {
        expected: client.expected,
        sequence: client.sequence,
        ..Client::open(&again)
    };
    resumed.send(PayloadType::OUTPUT, "echo $((50 + 5))\n");
    resumed.wait_for("55");
    loopback.inject(&Injection::Text("noise".into()));
    while resumed.socket.read().unwrap() != Message::text("noise") {}
    let newest = call(&loopback, "ResumeSession", &id);
    let mut newest = Client {
        expected: resumed.expected,
        ..Client::open(&newest)
    };
    assert_eq!(resumed.run(), "1000", "replaced");
    call(&loopback, "TerminateSession", &id);
    assert_eq!(newest.run(), "");
    drop(newest);
    let over = call(&loopback, "ResumeSession", &id);
    assert_eq!(over.get("TokenValue"), None);
    assert!(loopback.wait_for(|stats| stats.ended == 1 && stats.attached == 0, SOON));
}

#[test]
fn commands_send_their_outputs_apart_or_together() {
    let loopback = start(Options::default());
    let command = "sh -c 'printf \"a\\n\"; printf \"b\\n\" >&2; exit 7'";
    let document = "AWS-StartNonInteractiveCommand";
    let parameters = json!({
        "command": [command],
        "separateOutputStream": ["true"],
        "stdOutSeparatorPrefix": ["out:"],
        "stdErrSeparatorPrefix": ["err:"],
    });
    let mut client = Client::open(&start_command(&loopback, document, &parameters));
    assert_eq!(client.run(), "");
    assert_eq!(client.text(PayloadType::OUTPUT), "out:a\n");
    assert_eq!(client.text(PayloadType::STDERR), "err:b\n");
    assert_eq!(client.text(PayloadType::EXIT_CODE), "EXIT_CODE: 7");

    let parameters = json!({ "command": [command] });
    let mut client = Client::open(&start_command(&loopback, document, &parameters));
    assert_eq!(client.run(), "");
    assert_eq!(client.text(PayloadType::OUTPUT), "a\nb\n");
    assert_eq!(client.output.len(), 1, "at once, and without exit code");

    let parameters = json!({ "command": ["/no/such/program"] });
    let mut client = Client::open(&start_command(&loopback, document, &parameters));
    assert_eq!(client.run(), "");
    assert!(client.text(PayloadType::STDERR).contains("No such file"));
}

#[test]
fn sessions_are_listed_page_by_page() {
    let loopback = start(Options {
        nodes: vec![Node::online("i-1"), Node::online("i-2")],
        ..Options::default()
    });
    for target in ["i-1", "i-2", "i-1"] {
        call(&loopback, "StartSession", &json!({ "Target": target }));
    }
    let mut input = json!({
        "State": "Active",
        "MaxResults": 1,
        "Filters": [{ "key": "Target", "value": "i-1" }],
    });
    let first = call(&loopback, "DescribeSessions", &input);
    assert_eq!(first["Sessions"].as_array().unwrap().len(), 1);
    assert_eq!(first["Sessions"][0]["Status"], "Connecting");
    input["NextToken"] = first["NextToken"].clone();
    let second = call(&loopback, "DescribeSessions", &input);
    assert_ne!(second["Sessions"], first["Sessions"]);
    assert_eq!(second.get("NextToken"), None);
    let history = call(
        &loopback,
        "DescribeSessions",
        &json!({ "State": "History" }),
    );
    assert_eq!(history["Sessions"], json!([]));
}

/// Even one that ignores the hang-up.
#[cfg(unix)]
#[test]
fn no_program_outlives_the_peer() {
    let loopback = start(Options::default());
    let script = "trap '' HUP TERM; echo [$$]; while :; do sleep 100; done";
    let parameters = json!({ "command": [script] });
    let grant = start_command(&loopback, "AWS-StartInteractiveCommand", &parameters);
    let mut client = Client::open(&grant);
    client.wait_for("]");
    let text = client.text(PayloadType::OUTPUT);
    let id = text.split(['[', ']']).nth(1).unwrap().to_owned();
    let lives = || {
        let status = std::process::Command::new("/bin/sh")
            .args(["-c", &format!("kill -0 {id}")])
            .stderr(std::process::Stdio::null())
            .status();
        status.unwrap().success()
    };
    assert!(lives());
    drop(loopback);
    assert!(!lives());
}
