//! The loopback agent against what AWS's agent did: it must be a faithful peer.

mod handshake;
mod reader;

use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Value, json};
use ssmx::loopback::agent::{Agent, ClientFeatures, Config, Event, Refusal, SessionType, Transmit};
use ssmx::protocol::message::{AgentMessage, MessageType, PayloadType};
use ssmx::protocol::payload::ChannelClosed;
use uuid::Uuid;

const ID: Uuid = uuid::uuid!("dd01e56b-ff48-483e-a508-b5f073f31b16");

fn vectors(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn config(session_type: SessionType) -> Config {
    Config::new("session-id", "i-0123456789abcdef0", session_type)
}

fn message(message_type: MessageType, sequence: i64, payload_type: u32, payload: &[u8]) -> Bytes {
    AgentMessage {
        message_type,
        schema_version: 1,
        created_date: 1_503_434_274_948,
        sequence_number: sequence,
        flags: 0,
        message_id: ID,
        payload_type: PayloadType(payload_type),
        payload: Bytes::copy_from_slice(payload),
    }
    .encode()
    .unwrap()
}

fn input(sequence: i64, payload_type: PayloadType, payload: &[u8]) -> Bytes {
    message(
        MessageType::INPUT_STREAM_DATA,
        sequence,
        payload_type.0,
        payload,
    )
}

fn acknowledge(sequence: i64) -> Bytes {
    let text =
        ssmx::protocol::payload::acknowledge_json("output_stream_data", ID, sequence).into_bytes();
    message(MessageType::ACKNOWLEDGE, 0, 0, &text)
}

/// Frames for the client, decoded.
fn sent(agent: &mut Agent) -> Vec<AgentMessage> {
    std::iter::from_fn(|| agent.poll_transmit())
        .filter_map(|transmit| match transmit {
            Transmit::Client(frame) => Some(AgentMessage::decode(frame).unwrap()),
            Transmit::Gateway(_) => None,
        })
        .collect()
}

fn events(agent: &mut Agent) -> Vec<Event> {
    std::iter::from_fn(|| agent.poll_event()).collect()
}

fn text(message: &AgentMessage) -> String {
    String::from_utf8(message.payload.to_vec()).unwrap()
}

/// A ready port agent that has no handshake to do, so that everything is delivered as it is.
fn port_agent(capacity: usize, now: Instant) -> Agent {
    let mut agent = Agent::new(
        Config {
            skip_handshake: true,
            held_capacity: capacity,
            ..config(SessionType::Port)
        },
        now,
    );
    agent.set_ready(true);
    sent(&mut agent);
    events(&mut agent);
    agent
}

/// Acknowledgement texts as a vector lists them.
fn expected_texts(sent: &Value) -> Vec<String> {
    let sent = sent.as_array().cloned().unwrap_or_default();
    sent.iter()
        .map(|message| {
            assert_eq!(message["MessageType"], "acknowledge");
            message["Payload"].as_str().unwrap().to_owned()
        })
        .collect()
}

#[test]
fn malformed_input_is_taken_as_by_the_real_agent() {
    let vectors = vectors(include_str!("../vectors/agent_message_negatives.json"));
    for case in vectors["cases"].as_array().unwrap() {
        let name = &case["name"];
        let expected = &case["to_agent"]["dispatch"];
        let frame = hex(case["to_agent"]["input_hex"].as_str().unwrap());
        let now = Instant::now();
        let mut agent = port_agent(100_000, now);
        let outcome = agent.handle_frame(now, frame);
        assert_eq!(outcome.is_ok(), expected["outcome"] == "ok", "{name}");
        assert_eq!(
            outcome == Err(Refusal::ReaderDead),
            expected["outcome"] == "panic",
            "{name}"
        );
        let texts: Vec<String> = sent(&mut agent).iter().map(text).collect();
        assert_eq!(texts, expected_texts(&expected["sent"]), "{name}");
        let events = events(&mut agent);
        let delivered: Vec<Value> = events
            .iter()
            .filter_map(|event| match event {
                Event::Delivered(kind, payload) => {
                    Some(json!({ "PayloadBytes": payload.len(), "PayloadType": kind.0, "SequenceNumber": 0 }))
                }
                _ => None,
            })
            .collect();
        assert_eq!(json!(delivered), expected["delivered"], "{name}");
        let cancelled = events.contains(&Event::Cancelled);
        assert_eq!(json!(cancelled), expected["cancelled"], "{name}");
        assert_eq!(
            json!(agent.expected()),
            expected["expected_after"],
            "{name}"
        );
        assert_eq!(json!(agent.held()), expected["buffered"], "{name}");
        assert_eq!(json!(agent.is_paused()), expected["paused"], "{name}");
    }
}

#[test]
fn sequences_are_taken_as_by_the_real_agent() {
    let vectors = vectors(include_str!("../vectors/sequencing.json"));
    for case in vectors["agent"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let now = Instant::now();
        let capacity = case["held_capacity"].as_u64().unwrap() as usize;
        let mut agent = if name.starts_with("handshake neither") {
            let mut agent = Agent::new(config(SessionType::Port), now);
            agent.set_ready(true);
            sent(&mut agent);
            agent
        } else {
            port_agent(capacity, now)
        };
        let inputs = case["input"].as_array().unwrap();
        for (step, given) in case["steps"].as_array().unwrap().iter().zip(inputs) {
            let sequence: i64 = given["sequence"].as_str().unwrap().parse().unwrap();
            let kind = MessageType::new(given["type"].as_str().unwrap());
            let payload = if kind == MessageType::CHANNEL_CLOSED {
                ChannelClosed::default().to_json()
            } else {
                sequence.to_string()
            };
            agent.set_ready(given["handler_ready"] == true);
            // Refusals show in what is sent and expected.
            let _ = agent.handle_frame(now, message(kind, sequence, 1, payload.as_bytes()));
            let texts: Vec<String> = sent(&mut agent).iter().map(text).collect();
            assert_eq!(texts, expected_texts(&step["sent"]), "{name}");
            let events = events(&mut agent);
            let delivered: Vec<String> = events
                .iter()
                .filter_map(|event| match event {
                    Event::Delivered(_, payload) => Some(String::from_utf8_lossy(payload).into()),
                    _ => None,
                })
                .collect();
            let numbers = step["delivered"].as_array().cloned().unwrap_or_default();
            let numbers: Vec<String> = numbers
                .iter()
                .map(|message| message["SequenceNumber"].to_string())
                .collect();
            assert_eq!(delivered, numbers, "{name}");
            let cancelled = events.contains(&Event::Cancelled);
            assert_eq!(json!(cancelled), step["cancelled"], "{name}");
            assert_eq!(json!(agent.expected()), step["expected_after"], "{name}");
            assert_eq!(json!(agent.held()), step["buffered"], "{name}");
            assert_eq!(json!(agent.is_paused()), step["paused"], "{name}");
        }
    }
}

#[test]
fn a_full_buffer_sends_without_keeping() {
    let vector = &vectors(include_str!("../vectors/sequencing.json"))["agent_outgoing_full"];
    let now = Instant::now();
    let mut agent = Agent::new(
        Config {
            outgoing_capacity: vector["capacity"].as_u64().unwrap() as usize,
            ..config(SessionType::StandardStream)
        },
        now,
    );
    for _ in 0..vector["sent"].as_u64().unwrap() {
        agent.send(now, PayloadType::OUTPUT, "x".into());
    }
    assert_eq!(json!(sent(&mut agent).len()), vector["frames_sent"]);
    for sequence in vector["kept_sequences"].as_array().unwrap() {
        let before = agent.unacknowledged();
        let sequence = sequence.as_i64().unwrap();
        agent.handle_frame(now, acknowledge(sequence)).unwrap();
        assert_eq!(agent.unacknowledged(), before - 1);
    }
    assert_eq!(agent.unacknowledged(), 0);
}

#[test]
fn frames_are_built_as_by_the_real_agent() {
    let vectors = vectors(include_str!("../vectors/frames.json"));
    let now = Instant::now();
    let mut agent = Agent::new(config(SessionType::StandardStream), now);
    for case in vectors["agent"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        match name {
            "session state Connected" => {}
            "first stream message has SYN" => agent.send(now, PayloadType::OUTPUT, "a".into()),
            "second stream message has no flag" => {
                agent.send(now, PayloadType::OUTPUT, "b".into());
            }
            "empty payload is skipped" => agent.send(now, PayloadType::OUTPUT, Bytes::new()),
            "ConnectToPortError flag" => {
                agent.send(now, PayloadType::FLAG, Bytes::from_static(&[0, 0, 0, 3]));
            }
            "exit code" => agent.send(now, PayloadType::EXIT_CODE, "EXIT_CODE: 3".into()),
            "stderr" => agent.send(now, PayloadType::STDERR, "oops\n".into()),
            "session state Terminating" => agent.announce(now, "Terminating"),
            "acknowledge" => agent
                .handle_frame(now, input(42, PayloadType::OUTPUT, b"x"))
                .unwrap(),
            "paused: buffered, not sent" => {
                let pause = message(MessageType::PAUSE_PUBLICATION, 0, 0, b"{}");
                agent.handle_frame(now, pause).unwrap();
                agent.send(now, PayloadType::OUTPUT, "c".into());
            }
            other => panic!("an unknown case: {other}"),
        }
        let frames: Vec<String> = std::iter::from_fn(|| agent.poll_transmit())
            .map(|transmit| match transmit {
                Transmit::Client(frame) | Transmit::Gateway(frame) => stable(&frame),
            })
            .collect();
        let expected = case["frames"].as_array().cloned().unwrap_or_default();
        let expected: Vec<String> = expected
            .iter()
            .map(|frame| stable(&hex(frame["hex"].as_str().unwrap())))
            .collect();
        assert_eq!(frames, expected, "{name}");
        assert_eq!(
            json!(agent.unacknowledged()),
            case["outgoing_buffer_len"],
            "{name}"
        );
    }
}

#[test]
fn features_follow_the_client_version() {
    let vectors = vectors(include_str!("../vectors/version_gates.json"));
    for case in vectors["client_versions"].as_array().unwrap() {
        let features = ClientFeatures::of(case["client_version"].as_str().unwrap());
        let features = json!({
            "client_version": case["client_version"],
            "mux": features.mux,
            "separate_output_upgrade_message": features.separate_output_upgrade_message,
            "smux_keepalive_disabled": features.smux_keepalive_disabled,
        });
        assert_eq!(features, *case);
    }
}

#[test]
fn only_the_oldest_message_is_sent_again() {
    let start = Instant::now();
    let mut agent = Agent::new(config(SessionType::StandardStream), start);
    sent(&mut agent);
    for _ in 0..3 {
        agent.send(start, PayloadType::OUTPUT, "x".into());
    }
    let first: Vec<AgentMessage> = sent(&mut agent);
    let mut again = Vec::new();
    let mut now = start;
    while now < start + Duration::from_millis(1000) {
        now = agent.poll_timeout(now).unwrap();
        agent.handle_timeout(now);
        again.extend(sent(&mut agent).into_iter().map(|m| (now - start, m)));
    }
    // Looked at every 100 ms, against a timeout of 200 ms since it was last sent.
    let times: Vec<u128> = again.iter().map(|(at, _)| at.as_millis()).collect();
    assert_eq!(times, [300, 600, 900]);
    assert!(again.iter().all(|(_, m)| *m == first[0]), "byte for byte");
    agent.handle_frame(now, acknowledge(0)).unwrap();
    let now = agent.poll_timeout(now).unwrap();
    agent.handle_timeout(now);
    assert_eq!(sent(&mut agent), [first[1].clone()]);
    for sequence in [2, 1] {
        agent.handle_frame(now, acknowledge(sequence)).unwrap();
    }
    assert_eq!(agent.poll_timeout(now), None, "nothing to wait for");
}

#[test]
fn a_paused_agent_sends_nothing_until_it_hears_something() {
    let start = Instant::now();
    let later = start + Duration::from_secs(5);
    for wake in [
        message(MessageType::START_PUBLICATION, 0, 0, b"{}"),
        input(0, PayloadType::OUTPUT, b"x"),
        acknowledge(77),
    ] {
        let mut agent = port_agent(10, start);
        let pause = message(MessageType::PAUSE_PUBLICATION, 0, 0, b"{}");
        agent.handle_frame(start, pause).unwrap();
        agent.send(start, PayloadType::OUTPUT, "x".into());
        agent.handle_timeout(later);
        assert_eq!(agent.poll_timeout(later), None);
        assert_eq!(sent(&mut agent), []);
        agent.handle_frame(later, wake).unwrap();
        sent(&mut agent);
        let tick = agent.poll_timeout(later).unwrap();
        agent.handle_timeout(tick);
        assert_eq!(sent(&mut agent).len(), 1);
    }
}

/// Without the message's id and date.
fn stable(frame: &[u8]) -> String {
    let kept = [&frame[..40], &frame[48..64], &frame[80..]].concat();
    kept.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hex(text: &str) -> Bytes {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}
