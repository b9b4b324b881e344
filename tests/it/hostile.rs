//! Gateways and agents that mean no good, or are badly broken.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use ssmx::aws::{Aws, Options as AwsOptions, StartSession};
use ssmx::channel::{Channel, End, Event, Options};
use ssmx::loopback::{Loopback, Options as Peer};
use ssmx::protocol::error::SessionError;
use ssmx::protocol::message::{AgentMessage, MessageType, PayloadType};
use ssmx::protocol::payload::{Acknowledge, Size};
use ssmx::protocol::{DataChannel, Event as CoreEvent};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::peer::{self, Client, acknowledge, control, output, stream};
use crate::support::DEADLINE;

/// A gateway that does what a test wants, behind the API of a loopback.
struct Gateway {
    listener: TcpListener,
    loopback: Loopback,
}

type Socket = WebSocketStream<TcpStream>;

impl Gateway {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::behind(listener)
    }

    fn behind(listener: TcpListener) -> Self {
        let address = listener.local_addr().unwrap();
        let loopback = Loopback::start(Peer {
            stream_host: Some(address.to_string()),
            ..Peer::default()
        });
        Self {
            listener,
            loopback: loopback.unwrap(),
        }
    }

    async fn open(&self, options: Options) -> Channel {
        let environment = self.loopback.environment().into_iter();
        let aws = Aws::load(AwsOptions {
            environment: Some(environment.map(|(k, v)| (k.to_owned(), v)).collect()),
            may_prompt: false,
            ..AwsOptions::default()
        });
        let aws = aws.await.expect("the settings of loopback");
        let target = self.loopback.target().to_owned();
        let request = StartSession {
            target: target.clone(),
            document_name: None,
            parameters: Vec::new(),
            reason: None,
        };
        let grant = aws.start_session(&request).await.expect("a session");
        let channel = Channel::open(aws, grant, target, options).expect("randomness");
        channel.set_size(Size { cols: 80, rows: 24 });
        channel
    }

    /// The next connection, opened by its token.
    async fn accept(&self) -> Socket {
        let (stream, _) = within(self.listener.accept()).await.unwrap();
        let mut socket = within(tokio_tungstenite::accept_async(stream))
            .await
            .unwrap();
        let open = within(socket.next()).await.unwrap().unwrap();
        assert!(open.is_text(), "{open:?}");
        socket
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.expect("in time")
}

async fn give(socket: &mut Socket, frame: Bytes) {
    within(socket.send(Message::Binary(frame))).await.unwrap();
}

/// The next message of the client.
async fn take(socket: &mut Socket) -> AgentMessage {
    loop {
        match within(socket.next()).await.unwrap().unwrap() {
            Message::Binary(frame) => return AgentMessage::decode(frame).unwrap(),
            Message::Ping(_) | Message::Pong(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// The client's next message of `payload_type`.
async fn take_input(socket: &mut Socket, payload_type: PayloadType) -> AgentMessage {
    loop {
        let message = take(socket).await;
        if message.message_type == MessageType::INPUT_STREAM_DATA
            && message.payload_type == payload_type
        {
            return message;
        }
    }
}

async fn next(channel: &mut Channel) -> Event {
    within(channel.next()).await.expect("not the end")
}

fn without_keepalive() -> Options {
    Options {
        keepalive: None,
        ..Options::default()
    }
}

fn closed(text: &str) -> Bytes {
    let json = format!(r#"{{"Output":"{text}"}}"#);
    control(MessageType::CHANNEL_CLOSED, json.as_bytes())
}

/// Nothing else happens, so nothing but the timer of that one message can be what sends it again.
#[tokio::test]
async fn a_keystroke_that_is_lost_in_silence_is_sent_again() {
    let gateway = Gateway::start().await;
    let mut channel = gateway.open(without_keepalive()).await;
    let mut socket = gateway.accept().await;
    give(&mut socket, output(0, b"$ ")).await;
    while !matches!(next(&mut channel).await, Event::Output(_)) {}
    let size = take_input(&mut socket, PayloadType::SIZE).await;
    give(&mut socket, acknowledge(size.sequence_number)).await;
    // The acknowledgement has arrived when what follows it has.
    give(&mut socket, output(1, b" ")).await;
    while !matches!(next(&mut channel).await, Event::Output(_)) {}
    within(channel.sender().reserve())
        .await
        .unwrap()
        .send(Bytes::from_static(b"x"));
    let first = take_input(&mut socket, PayloadType::OUTPUT).await;
    let again = timeout(
        Duration::from_secs(3),
        take_input(&mut socket, PayloadType::OUTPUT),
    );
    let again = again.await.expect("it is sent again soon");
    assert_eq!(again, first);
}

/// The gateway takes no acknowledgements until the client stops reading; then it takes them all.
#[tokio::test]
async fn reading_goes_on_once_the_acknowledgements_are_taken() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let gateway = Gateway::behind(socket.listen(8).unwrap());
    let mut channel = gateway.open(without_keepalive()).await;
    let (mut sink, mut stream) = gateway.accept().await.split();
    let reader = tokio::spawn(async move { while channel.next().await.is_some() {} });
    let message = |number| Message::Binary(output(number, &[b'x'; 1000]));
    let mut sent = 0;
    while timeout(Duration::from_millis(300), sink.send(message(sent)))
        .await
        .is_ok()
    {
        sent += 1;
        assert!(sent < 100_000, "acknowledgements wait without bound");
    }
    let rest = tokio::spawn(async move {
        // Whether the one that was cut short is on its way is not known: say it again.
        within(sink.send(message(sent))).await.unwrap();
        sink
    });
    let mut missing: BTreeSet<i64> = (0..=sent).collect();
    while !missing.is_empty() {
        let frame = timeout(Duration::from_secs(5), stream.next());
        let frame = frame.await.expect("the client goes on").unwrap().unwrap();
        let message = AgentMessage::decode(frame.into_data()).unwrap();
        if message.message_type == MessageType::ACKNOWLEDGE {
            let acknowledge = Acknowledge::from_json(&message.payload).unwrap();
            missing.remove(&acknowledge.acknowledged_message_sequence_number.unwrap());
        }
    }
    drop(rest.await.unwrap());
    reader.abort();
}

/// The connection breaks at once behind the last word, so acknowledgements cannot be sent any
/// more; what has arrived counts all the same.
#[tokio::test]
async fn a_farewell_is_heard_although_nothing_can_be_said_any_more() {
    let gateway = Gateway::start().await;
    let mut channel = gateway.open(without_keepalive()).await;
    let mut socket = gateway.accept().await;
    for number in 0..300 {
        let frame = Message::Binary(output(number, b"x"));
        within(socket.feed(frame)).await.unwrap();
    }
    give(&mut socket, closed("")).await;
    drop(socket);
    let mut received = 0;
    let end = loop {
        match timeout(Duration::from_secs(5), channel.next()).await {
            Ok(Some(Event::Output(data))) => received += data.len(),
            Ok(Some(Event::End(end))) => break end,
            Ok(Some(Event::Connected | Event::Started(..))) => {}
            other => panic!("{other:?}"),
        }
    };
    assert!(
        matches!(end, End::Closed(ref text) if text.is_empty()),
        "{end:?}"
    );
    assert_eq!(received, 300);
}

/// Each connection brings a message, but never one that leads anywhere.
#[tokio::test]
async fn connections_that_bring_nothing_new_are_not_replaced_in_a_hurry() {
    let gateway = Gateway::start().await;
    let mut channel = gateway.open(without_keepalive()).await;
    let reader = tokio::spawn(async move { while channel.next().await.is_some() {} });
    let began = Instant::now();
    let mut connections = 0;
    while began.elapsed() < Duration::from_millis(700) {
        let mut socket = gateway.accept().await;
        give(&mut socket, output(1_000_000, b"never wanted")).await;
        within(socket.close(None)).await.unwrap();
        connections += 1;
    }
    assert!(connections < 8, "{connections} connections");
    reader.abort();
}

/// Credentials may run out in a session, whose keys belong to its other side.
#[tokio::test]
async fn nobody_is_asked_for_a_code_within_a_session() {
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("config");
    let profile = "[default]\nregion = us-east-1\nrole_arn = arn:aws:iam::111122223333:role/r\n\
                   mfa_serial = arn:aws:iam::111122223333:mfa/m\nsource_profile = default\n\
                   aws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = secret\n";
    std::fs::write(&config, profile).unwrap();
    let set = |name: &str, value: &std::path::Path| (name.into(), value.display().to_string());
    let aws = Aws::load(AwsOptions {
        environment: Some(vec![
            set("HOME", home.path()),
            set("AWS_CONFIG_FILE", &config),
            set("AWS_SHARED_CREDENTIALS_FILE", &home.path().join("none")),
        ]),
        may_prompt: true,
        ..AwsOptions::default()
    });
    let aws = aws.await.expect("settings");
    aws.stop_prompting();
    let error = within(aws.resume_session("s")).await.unwrap_err();
    assert!(error.is_credentials(), "{error}");
    assert!(
        error.to_string().ends_with("it wants an MFA code"),
        "{error}"
    );
}

#[test]
fn the_last_number_of_all_does_not_overflow() {
    let now = Instant::now();
    let mut core = DataChannel::take_over(peer::config(), now);
    core.handle_connect(now, "token");
    for number in [i64::MAX, i64::MAX - 1, i64::MIN, -1] {
        core.handle_frame(now, output(number, b"x"));
    }
    let due = now + Duration::from_secs(10);
    core.handle_timeout(due);
    for number in [i64::MAX, i64::MAX - 1, i64::MIN, 0] {
        core.handle_frame(due, output(number, b"x"));
        core.handle_frame(due, acknowledge(number));
    }
    core.handle_frame(due, closed(""));
    core.handle_timeout(due + Duration::from_secs(10));
    assert!(core.has_ended());
}

#[test]
fn a_handshake_is_not_answered_at_any_length() {
    let mut client = Client::new(peer::config());
    let actions = r#"{"ActionType":"x"},"#.repeat(100_000);
    let request =
        format!(r#"{{"AgentVersion":"3.3.0.0","RequestedClientActions":[{actions}null]}}"#);
    client.give(stream(
        0,
        PayloadType::HANDSHAKE_REQUEST,
        request.as_bytes(),
    ));
    let events = client.events();
    assert!(
        matches!(
            events.as_slice(),
            [CoreEvent::Failed(SessionError::BadHandshake { .. })]
        ),
        "{} events",
        events.len()
    );
}
