//! Handshakes as AWS's agent made them.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use ssmx::loopback::agent::{Agent, Challenge, Config, Encryption, Event, SessionType};
use ssmx::protocol::cipher::{Cipher, DataKey, Role};
use ssmx::protocol::message::{AgentMessage, PayloadType};

use super::{config, events, input, sent, vectors};

/// Runs a recorded handshake: what the client sent goes in, what comes out is compared.
#[test]
fn handshakes_go_as_with_the_real_agent() {
    let vectors = vectors(include_str!("../../vectors/handshake.json"));
    for case in vectors["agent_side"].as_array().unwrap() {
        Handshake::of(case).run();
    }
}

struct Handshake<'a> {
    case: &'a Value,
    name: &'a str,
    agent: Agent,
    now: Instant,
    key: DataKey,
    client: Cipher,
    /// Of the request, and of the encryption challenge.
    challenges: [String; 2],
    output: std::collections::VecDeque<AgentMessage>,
    events: Vec<Event>,
}

impl<'a> Handshake<'a> {
    fn of(case: &'a Value) -> Self {
        let session_type = match case["session_type"].as_str().unwrap() {
            "Port" => SessionType::Port,
            "Standard_Stream" => SessionType::StandardStream,
            "NonInteractiveCommands" => SessionType::NonInteractiveCommands,
            other => panic!("{other}"),
        };
        let name = case["name"].as_str().unwrap();
        let request = case["trace"][0]["agent_sends"]["Payload"].as_str().unwrap();
        let request: Value = serde_json::from_str(request).unwrap();
        let key_id = case["kms"].as_str().unwrap();
        let required = case["require_kms_challenge_response"] == true;
        let key = DataKey::new(std::array::from_fn(|n| n as u8));
        let now = Instant::now();
        let agent = Agent::new(
            Config {
                properties: request["RequestedClientActions"][0]["ActionParameters"]["Properties"]
                    .clone(),
                separate_output: name.contains("separate output"),
                encryption: (!key_id.is_empty()).then(|| Encryption {
                    key_id: key_id.to_owned(),
                    challenge: if required {
                        Challenge::Required
                    } else {
                        Challenge::Offered
                    },
                }),
                ..config(session_type)
            },
            now,
        );
        Self {
            client: Cipher::new(&key, Role::Client, [7; 12]),
            case,
            name,
            agent,
            now,
            key,
            challenges: Default::default(),
            output: Default::default(),
            events: Vec::new(),
        }
    }

    fn run(mut self) {
        self.settle();
        for step in self.case["trace"].as_array().unwrap() {
            if let Some(expected) = step.get("agent_sends") {
                self.expect(expected);
            } else if let Some(sent) = step.get("client_sends") {
                self.client_sends(sent);
            }
        }
        let name = self.name;
        assert!(self.output.is_empty(), "{name}: more is sent");
        let failed = self.events.iter().find_map(|event| match event {
            Event::Failed(reason) => Some(reason.as_str()),
            _ => None,
        });
        let error = &self.case["perform_handshake_error"];
        if error == "still waiting" {
            assert_eq!(failed, None, "{name}");
            self.now += Duration::from_secs(15);
            self.agent.handle_timeout(self.now);
            self.settle();
            assert!(matches!(self.events.last(), Some(Event::Failed(reason))
                if reason.starts_with("Handshake timed out")));
        } else {
            assert_eq!(json!(failed), *error, "{name}");
            assert_eq!(json!(failed.is_some()), self.case["cancelled"], "{name}");
            let started = self.events.contains(&Event::Started);
            assert_eq!(started, failed.is_none(), "{name}");
        }
        let version = json!(self.agent.client_version());
        assert_eq!(version, self.case["client_version_seen"], "{name}");
    }

    fn settle(&mut self) {
        for event in events(&mut self.agent) {
            if let Event::Decrypt {
                key_id, context, ..
            } = &event
            {
                assert_eq!(json!(key_id), self.case["kms_decrypt_key_id"]);
                let context: serde_json::Map<String, Value> = context
                    .iter()
                    .map(|(key, value)| (key.clone(), json!(value)))
                    .collect();
                let mut expected = self.case["kms_decrypt_context"].clone();
                if let Some(challenge) = expected.get_mut("aws:ssm:RandomChallenge") {
                    *challenge = json!(self.challenges[0]);
                }
                assert_eq!(Value::Object(context), expected, "{}", self.name);
                self.agent
                    .handle_data_key(self.now, Ok(self.key.clone()), [9; 12]);
            }
            self.events.push(event);
        }
        self.output.extend(sent(&mut self.agent));
    }

    fn expect(&mut self, expected: &Value) {
        let name = self.name;
        let message = self.output.pop_front().expect(name);
        assert_eq!(json!(message.flags), expected["Flags"], "{name}");
        assert_eq!(json!(message.payload_type.0), expected["PayloadType"]);
        assert_eq!(json!(message.sequence_number), expected["SequenceNumber"]);
        assert_eq!(
            json!(message.message_type.as_str()),
            expected["MessageType"]
        );
        let mut actual: Value = serde_json::from_slice(&message.payload).unwrap();
        let payload = expected["Payload"].as_str().unwrap();
        let mut payload: Value = serde_json::from_str(payload).unwrap();
        for pointer in [
            "/RequestedClientActions/1/ActionParameters/Challenge",
            "/Challenge",
            "/HandshakeTimeToComplete",
        ] {
            if let (Some(theirs), Some(ours)) =
                (payload.pointer_mut(pointer), actual.pointer_mut(pointer))
            {
                if let (Some(theirs), Some(ours)) = (theirs.as_str(), ours.as_str()) {
                    assert_eq!(theirs.len(), ours.len(), "{name}: {pointer}");
                    self.challenges[usize::from(pointer == "/Challenge")] = ours.to_owned();
                }
                *theirs = ours.clone();
            }
        }
        assert_eq!(actual, payload, "{name}");
    }

    fn client_sends(&mut self, step: &Value) {
        let sequence = step["SequenceNumber"].as_i64().unwrap();
        let payload_type = PayloadType(step["PayloadType"].as_u64().unwrap() as u32);
        let mut payload = step["Payload"].as_str().unwrap().to_owned();
        if payload_type == PayloadType::ENC_CHALLENGE_RESPONSE {
            let sealed = BASE64.decode(&self.challenges[1]).unwrap();
            let plain = self.client.open(&sealed).unwrap();
            assert_eq!(plain.len(), 64);
            let sealed = self.client.seal(&plain);
            payload = json!({ "Challenge": BASE64.encode(sealed) }).to_string();
        }
        let frame = input(sequence, payload_type, payload.as_bytes());
        // Refusals show in what is not sent.
        let _ = self.agent.handle_frame(self.now, frame);
        self.settle();
    }
}
