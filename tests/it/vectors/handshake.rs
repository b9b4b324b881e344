//! Handshakes: requests to responses, and whole exchanges with the real agent.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde_json::{Value, json};
use ssmx::protocol::cipher::{Cipher, DataKey, Role};
use ssmx::protocol::error::SessionError;
use ssmx::protocol::handshake::{DataKeyRequest, SealedDataKey};
use ssmx::protocol::message::{AgentMessage, MessageType, PayloadType};
use ssmx::protocol::payload::{Acknowledge, ChannelClosed};
use ssmx::protocol::version::AgentFeatures;
use ssmx::protocol::{Config, Event, SessionType};

use super::{cases, hex, json_of_ours, list, load, text};
use crate::peer::{Client, acknowledge, config, control, output, stream};

fn json(message: &AgentMessage) -> Value {
    serde_json::from_slice(&message.payload).unwrap()
}

/// The one data key that is wanted.
fn wanted_key(client: &mut Client) -> Option<DataKeyRequest> {
    let mut events = client.events();
    match events.pop() {
        Some(Event::DataKeyNeeded(request)) if events.is_empty() => Some(request),
        None => None,
        other => panic!("{other:?} after {events:?}"),
    }
}

#[test]
fn requests_are_answered_as_by_the_real_client() {
    for case in cases(&load("handshake"), "client_side", 12) {
        let name = text(&case, "name");
        let expected = json_of_ours(text(&case, "response"));
        // Without credentials: once as the caller finds out, once as it knows before.
        let error = expected["Errors"][0].as_str().unwrap_or("none");
        let up_front = Config {
            no_data_keys: Some(error.to_owned()),
            ..config()
        };
        for config in [config(), up_front] {
            let known = config.no_data_keys.is_some();
            let mut client = Client::new(config);
            client.give(hex(text(&case, "request_message_hex")));
            if let Some(request) = wanted_key(&mut client) {
                assert!(!known, "{name}");
                assert_eq!(request.key_id, "alias/x", "{name}");
                assert_eq!(
                    request.challenge.as_deref(),
                    Some("AAECAwQFBgcICQoLDA0ODw==")
                );
                let error = Err(error.to_owned());
                client.core.handle_data_key(client.now, error, [0; 12]);
            }
            let sent = client.sent();
            let order: Vec<String> = sent
                .iter()
                .map(|message| {
                    format!(
                        "{:?}/payload_type {}/seq {}",
                        message.message_type, message.payload_type.0, message.sequence_number
                    )
                    .replace('"', "")
                })
                .collect();
            assert_eq!(json!(order), case["sent_order"], "{name}");
            assert_eq!(json(&sent[1]), expected, "{name}");

            let complete = br#"{"HandshakeTimeToComplete":1,"CustomerMessage":""}"#;
            client.give(stream(1, PayloadType::HANDSHAKE_COMPLETE, complete));
            check_start(&case, &client.events());
        }
    }
}

/// What is in force once the agent says that the handshake is complete.
fn check_start(case: &Value, events: &[Event]) {
    let name = text(case, "name");
    let features = AgentFeatures::of(text(case, "client_agent_version"));
    match events {
        [Event::Started(session_type, agent)] => {
            assert_eq!(*agent, features, "{name}");
            // AWS's client knows one kind of shell.
            let (kind, properties) = match session_type {
                SessionType::Port(properties) => ("Port", properties),
                _ => ("Standard_Stream", &Value::Null),
            };
            assert_eq!(kind, case["client_session_type"], "{name}");
            assert_eq!(*properties, case["client_session_properties"], "{name}");
            if name.contains("InteractiveCommands") {
                let expected = match name {
                    "InteractiveCommands" => SessionType::InteractiveCommands,
                    _ => SessionType::NonInteractiveCommands,
                };
                assert_eq!(*session_type, expected);
            }
        }
        // AWS's client waits for ever for a session whose type it does not know.
        [Event::Failed(SessionError::Refused(_))] => {
            assert_eq!(case["client_session_type"], "", "{name}");
        }
        other => panic!("{name}: {other:?}"),
    }
}

/// The real agent's frames come in; what ours answers is held against a client that the agent
/// accepted, or refused.
#[test]
fn exchanges_go_as_with_the_real_agent() {
    let mut compared = 0;
    for case in cases(&load("handshake"), "agent_side", 12) {
        compared += usize::from(Exchange::new(&case).run());
    }
    assert_eq!(compared, 8);
}

struct Exchange<'a> {
    case: &'a Value,
    name: &'a str,
    client: Client,
    key: DataKey,
    sent: std::collections::VecDeque<AgentMessage>,
    events: Vec<Event>,
}

impl<'a> Exchange<'a> {
    fn new(case: &'a Value) -> Self {
        Self {
            case,
            name: text(case, "name"),
            client: Client::new(config()),
            key: DataKey::new(std::array::from_fn(|n| n as u8)),
            sent: Default::default(),
            events: Vec::new(),
        }
    }

    /// Whether the scripted client was one that behaves like ours.
    fn behaves(&self) -> bool {
        ![
            "client says SessionType failed",
            "client reports an unsupported action",
            "client does not answer",
            "response is not JSON",
        ]
        .contains(&self.name)
    }

    fn run(mut self) -> bool {
        for step in list(&self.case["trace"]) {
            if let Some(sent) = step.get("agent_sends") {
                self.agent_sends(sent);
            } else if let Some(sent) = step.get("client_sends")
                && self.behaves()
            {
                self.client_sends(sent);
            }
        }
        let reason = &self.case["perform_handshake_error"];
        let name = self.name;
        if reason.is_null() {
            let started = |event: &&Event| matches!(event, Event::Started(..));
            assert_eq!(self.events.iter().filter(started).count(), 1, "{name}");
            assert!(self.client.core.all_acknowledged(), "{name}");
        } else {
            // The agent's reason comes with the gateway's farewell.
            let farewell = ChannelClosed {
                output: reason.to_string(),
                ..ChannelClosed::default()
            };
            let farewell = control(MessageType::CHANNEL_CLOSED, farewell.to_json().as_bytes());
            self.client.give(farewell);
            assert_eq!(self.client.events(), [Event::Closed(reason.to_string())]);
        }
        self.behaves()
    }

    fn agent_sends(&mut self, sent: &Value) {
        let mut frame = hex(text(sent, "hex"));
        let message = AgentMessage::decode(frame.clone()).unwrap();
        if message.message_type == MessageType::ACKNOWLEDGE && self.name.starts_with("input sent") {
            // Ours did not send the input, so its numbers are one lower.
            let read = Acknowledge::from_json(&message.payload).unwrap();
            let number = read.acknowledged_message_sequence_number.unwrap();
            frame = acknowledge(number - 1);
        }
        if message.payload_type == PayloadType::ENC_CHALLENGE_REQUEST {
            // The key of the recording was not kept: the same under one of ours.
            let agent = Cipher::new(&self.key, Role::Agent, [3; 12]);
            let plain = self.challenge();
            let sealed = agent.seal_with([1; 12], &plain);
            let text = json!({ "Challenge": BASE64.encode(sealed) }).to_string();
            frame = stream(
                message.sequence_number,
                message.payload_type,
                text.as_bytes(),
            );
        }
        self.client.give(frame);
        if let Some(request) = self.events_so_far() {
            self.give_key(request);
        }
        let sent = self.client.sent();
        let numbered = |message: &AgentMessage| message.flags == 0;
        self.sent.extend(sent.into_iter().filter(numbered));
        if message.payload_type == PayloadType::HANDSHAKE_REQUEST {
            // Agents throw away what comes before the handshake is complete.
            assert!(!self.client.core.can_write());
            assert!(!self.client.core.write(self.client.now, b"x"));
        }
        if message.payload_type == PayloadType::HANDSHAKE_COMPLETE {
            let text = json(&message)["CustomerMessage"]
                .as_str()
                .unwrap()
                .to_owned();
            let told = self.events.contains(&Event::CustomerMessage(text.clone()));
            assert_eq!(told, !text.is_empty(), "{}", self.name);
        }
    }

    fn events_so_far(&mut self) -> Option<DataKeyRequest> {
        let mut wanted = None;
        for event in self.client.events() {
            match event {
                Event::DataKeyNeeded(request) => wanted = Some(request),
                other => self.events.push(other),
            }
        }
        wanted
    }

    fn give_key(&mut self, request: DataKeyRequest) {
        assert_eq!(json!(request.key_id), self.case["kms"], "{}", self.name);
        assert!(request.challenge.is_some(), "{}", self.name);
        let context = &self.case["kms_decrypt_context"]["aws:ssm:RandomChallenge"];
        let sealed = SealedDataKey {
            ciphertext: "Y2lwaGVydGV4dC1ibG9i".to_owned(),
            challenge_used: !context.is_null(),
        };
        if !context.is_null() {
            assert_eq!(json!(request.challenge), *context, "{}", self.name);
        }
        let key = Ok((self.key.clone(), sealed));
        self.client
            .core
            .handle_data_key(self.client.now, key, [9; 12]);
    }

    /// The challenge's plaintext, as noted in the recording.
    fn challenge(&self) -> Bytes {
        let trace = list(&self.case["trace"]);
        let note = trace.iter().find_map(|step| step["note"].as_str()).unwrap();
        hex(note.rsplit(' ').next().unwrap())
    }

    fn client_sends(&mut self, recorded: &Value) {
        let name = self.name;
        if recorded["PayloadType"] == 1 {
            return; // ours refused to write it
        }
        let ours = self
            .sent
            .pop_front()
            .unwrap_or_else(|| panic!("{name}: nothing is sent"));
        assert_eq!(
            json!(ours.payload_type.0),
            recorded["PayloadType"],
            "{name}"
        );
        if !name.starts_with("input sent") {
            assert_eq!(
                json!(ours.sequence_number),
                recorded["SequenceNumber"],
                "{name}"
            );
        }
        if ours.payload_type == PayloadType::ENC_CHALLENGE_RESPONSE {
            let proof = json(&ours)["Challenge"].as_str().unwrap().to_owned();
            let agent = Cipher::new(&self.key, Role::Agent, [3; 12]);
            let opened = agent.open(&BASE64.decode(proof).unwrap()).unwrap();
            assert_eq!(opened, self.challenge(), "{name}");
        } else {
            let text =
                text(recorded, "Payload").replace("1.2.279.0", super::VECTORS_CLIENT_VERSION);
            assert_eq!(json(&ours), json_of_ours(&text), "{name}");
        }
    }
}

#[test]
fn an_encrypted_session_seals_output_and_nothing_else() {
    let mut client = Client::new(config());
    let request = br#"{"AgentVersion":"3.3.0.0","RequestedClientActions":[
        {"ActionType":"SessionType","ActionParameters":{"SessionType":"Standard_Stream"}},
        {"ActionType":"KMSEncryption","ActionParameters":{"KMSKeyId":"k"}}]}"#;
    client.give(stream(0, PayloadType::HANDSHAKE_REQUEST, request));
    let wanted = wanted_key(&mut client).unwrap();
    assert_eq!((wanted.key_id.as_str(), wanted.challenge), ("k", None));
    let key = DataKey::new([5; 64]);
    let sealed = SealedDataKey {
        ciphertext: String::new(),
        challenge_used: false,
    };
    let mut agent = Cipher::new(&key, Role::Agent, [1; 12]);
    client
        .core
        .handle_data_key(client.now, Ok((key, sealed)), [2; 12]);
    client.give(stream(1, PayloadType::HANDSHAKE_COMPLETE, b"{}"));
    client.events();
    client.sent();

    let size = ssmx::protocol::payload::Size { cols: 1, rows: 2 };
    client.core.set_size(client.now, size);
    client.core.write(client.now, b"secret");
    let [size, secret] = client.sent().try_into().unwrap();
    assert_eq!(size.payload, r#"{"cols":1,"rows":2}"#);
    assert_eq!(agent.open(&secret.payload).unwrap(), b"secret");

    for (number, kind) in [
        (2, PayloadType::OUTPUT),
        (3, PayloadType::STDERR),
        (4, PayloadType::EXIT_CODE),
    ] {
        client.give(stream(number, kind, &agent.seal(b"EXIT_CODE: 3")));
    }
    let text = Bytes::from_static(b"EXIT_CODE: 3");
    assert_eq!(
        client.events(),
        [
            Event::Output(text.clone()),
            Event::Stderr(text.clone()),
            Event::ExitCode(Some(3), text),
        ]
    );
    // AWS's client asks for the same bytes again, for ever.
    client.give(output(5, b"too short"));
    let events = client.events();
    assert!(matches!(
        events.as_slice(),
        [Event::Failed(SessionError::Decrypt(_))]
    ));
}
