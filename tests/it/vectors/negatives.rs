//! Malformed and unusual input: what is delivered, acknowledged and expected after it.

use serde_json::Value;
use ssmx::protocol::error::SessionError;
use ssmx::protocol::message::AgentMessage;
use ssmx::protocol::payload::Flag;
use ssmx::protocol::{Event, Transmit};

use super::{cases, hex, json_of_ours, list, load, text, to_hex};
use crate::peer::{Client, config, output};

const COUNT: usize = 140;

/// What one input leads to.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    /// Output, in hex.
    delivered: Vec<String>,
    /// Payloads of what is sent.
    sent: Vec<String>,
    expected_after: i64,
}

impl Outcome {
    fn nothing() -> Self {
        Self {
            delivered: Vec::new(),
            sent: Vec::new(),
            expected_after: 0,
        }
    }

    /// What AWS's client did, without what it should not have done.
    fn of_real_client(dispatch: &Value) -> Self {
        Self {
            // Payloads of other types went to the session too, which printed them.
            delivered: list(&dispatch["delivered"])
                .iter()
                .filter(|message| message["PayloadType"] == 1 && message["PayloadBytes"] != 0)
                .map(|message| text(message, "PayloadHead").to_owned())
                .collect(),
            sent: list(&dispatch["sent"])
                .iter()
                .map(|message| text(message, "Payload").to_owned())
                .collect(),
            expected_after: dispatch["expected_after"].as_i64().unwrap(),
        }
    }

    /// Where ours differs beyond that.
    fn differs(mut self, name: &str) -> Self {
        match name {
            // Its digest does not fit what is there, so somebody changed it.
            "digest all zero and payload length field 0" => Self::nothing(),
            // More than can ever be in flight, so it would be held for ever.
            "sequence highest" => Self::nothing(),
            // Any mix of NULs and white space is padding.
            "message type padded with NULs then spaces" => Self {
                delivered: vec!["68656c6c6f".to_owned()],
                sent: vec![ssmx::protocol::payload::acknowledge_json(
                    "output_stream_data",
                    crate::peer::ID,
                    0,
                )],
                expected_after: 1,
            },
            // Acknowledged and counted: the stream must not stop at what cannot be used.
            "handshake complete not JSON"
            | "encryption challenge without encryption"
            | "encryption challenge not JSON" => {
                self.expected_after = 1;
                self
            }
            _ => self,
        }
    }
}

#[test]
fn malformed_input_is_dropped_and_the_channel_goes_on() {
    let (mut run, mut panicked) = (0, 0);
    for case in cases(&load("agent_message_negatives"), "cases", COUNT) {
        let name = text(&case, "name");
        if name.starts_with("handshake request") {
            continue;
        }
        run += 1;
        let given = &case["to_client"];
        let dispatch = &given["dispatch"];
        panicked += usize::from(dispatch["outcome"] == "panic");
        let mut client = Client::in_silent_shell();
        client.give(hex(text(given, "input_hex")));
        let events = client.events();
        let sent = client.sent();
        let outcome = Outcome {
            delivered: events
                .iter()
                .filter_map(|event| match event {
                    Event::Output(bytes) => Some(to_hex(bytes)),
                    _ => None,
                })
                .collect(),
            sent: sent
                .iter()
                .map(|message| String::from_utf8(message.payload.to_vec()).unwrap())
                .collect(),
            expected_after: client.core.expected_sequence_number(),
        };
        let expected = Outcome::of_real_client(dispatch).differs(name);
        assert_eq!(outcome, expected, "{name}");
        assert!(sent.iter().all(|message| message.flags == 3), "{name}");

        let rest: Vec<&Event> = events
            .iter()
            .filter(|event| !matches!(event, Event::Output(_)))
            .collect();
        if dispatch["stop_called"] == true {
            assert_eq!(rest, [&Event::Closed(farewell(name).to_owned())], "{name}");
            assert!(client.core.has_ended(), "{name}");
            continue;
        }
        if name == "payload type 10 (flag) with 4 bytes" {
            assert_eq!(rest, [&Event::Flag(Flag::ConnectToPortError)]);
        } else {
            assert!(rest.is_empty(), "{name}: {rest:?}");
        }
        // Whatever it was, it stops nothing.
        let next = outcome.expected_after;
        client.give(output(next, b"still here"));
        if next == 0 && name == "sequence 1 when 0 is expected" {
            assert_eq!(client.events().len(), 2, "and what was held");
        } else {
            assert_eq!(client.events(), [Event::Output("still here".into())]);
        }
    }
    assert_eq!((run, panicked), (COUNT - 9, 12));
}

/// The text of each `channel_closed`, whatever else is in it.
fn farewell(name: &str) -> &'static str {
    match name {
        "channel_closed with output" => "Bye",
        "channel_closed without output" | "channel_closed not JSON" => "",
        // AWS's client shows nothing here; a number reads well enough.
        "channel_closed number where a string belongs" => "5",
        "channel_closed SchemaVersion as a string" => "text",
        // As it came: who shows it has to make it harmless.
        "channel_closed output with control characters" => "a\u{1b}[31mred\n",
        other => panic!("an unknown case: {other}"),
    }
}

/// A handshake request only counts as the first message.
#[test]
fn unusual_handshake_requests_are_answered_or_end_the_session() {
    let mut run = 0;
    for case in cases(&load("agent_message_negatives"), "cases", COUNT) {
        let name = text(&case, "name");
        if !name.starts_with("handshake request") {
            continue;
        }
        run += 1;
        let given = &case["to_client"];
        let mut client = Client::new(config());
        client.give(hex(text(given, "input_hex")));
        let (events, sent) = (client.events(), client.sent());
        // It was read, and a resend would bring the same bytes.
        assert_eq!(client.core.expected_sequence_number(), 1, "{name}");
        if given["dispatch"]["outcome"] == "error" {
            // AWS's client would wait for ever for a request that it can read.
            let is_failure = matches!(
                events.as_slice(),
                [Event::Failed(SessionError::BadHandshake { .. })]
            );
            assert!(is_failure, "{name}: {events:?}");
            assert_eq!(sent, [], "{name}: the session is over");
            continue;
        }
        assert_eq!(events, [], "{name}");
        let expected = list(&given["dispatch"]["sent"]);
        let [acknowledge, response] = sent.as_slice() else {
            panic!("{name}: {sent:?}");
        };
        let payload = |message: &AgentMessage| String::from_utf8(message.payload.to_vec()).unwrap();
        assert_eq!(
            payload(acknowledge),
            text(&expected[0], "Payload"),
            "{name}"
        );
        assert_eq!(response.payload_type.0, 6, "{name}");
        let response: Value = serde_json::from_str(&payload(response)).unwrap();
        assert_eq!(
            response,
            json_of_ours(text(&expected[1], "Payload")),
            "{name}"
        );
    }
    assert_eq!(run, 9);
}

/// Control messages count from their name on: these are 116 bytes, where AWS's client panics.
#[test]
fn cut_control_messages_still_pause_and_start() {
    let vectors = cases(&load("agent_message_negatives"), "cases", COUNT);
    let find = |name: &str| {
        let case = vectors.iter().find(|case| case["name"] == name).unwrap();
        hex(text(&case["to_client"], "input_hex"))
    };
    for (pause, start) in [
        (
            "pause_publication cut to 116 bytes",
            "start_publication cut to 116 bytes",
        ),
        (
            "pause_publication with header length 0",
            "start_publication with header length 0",
        ),
        (
            "pause_publication with an empty payload",
            "start_publication with an empty payload",
        ),
        (
            "pause_publication with created date 0, zero digest, payload",
            "start_publication with created date 0, zero digest, payload",
        ),
    ] {
        let mut client = Client::in_silent_shell();
        client.give(find(pause));
        client.core.write(client.now, b"x");
        assert_eq!(client.sent(), [], "{pause}");
        assert_eq!(client.core.poll_timeout(), None, "{pause}");
        client.give(find(start));
        assert_eq!(client.sent().len(), 1, "{start}");
    }
}

/// Nobody knows in which state such input arrives.
#[test]
fn no_input_panics_in_any_state() {
    for case in cases(&load("agent_message_negatives"), "cases", COUNT) {
        let frame = hex(text(&case["to_client"], "input_hex"));
        let mut opening = Client::new(config());
        let mut handshaking = Client::new(config());
        handshaking.give(crate::peer::stream(
            0,
            ssmx::protocol::message::PayloadType::HANDSHAKE_REQUEST,
            br#"{"RequestedClientActions":[{"ActionType":"KMSEncryption"}]}"#,
        ));
        for client in [&mut opening, &mut handshaking] {
            client.give(frame.clone());
            while let Some(Transmit::Binary(_)) = client.core.poll_transmit(client.now) {}
            client.events();
        }
    }
}

#[test]
fn what_is_read_is_what_the_real_client_read() {
    let (mut read, mut dropped) = (0, 0);
    for case in cases(&load("agent_message_negatives"), "cases", COUNT) {
        let name = text(&case, "name");
        let given = &case["to_client"];
        let message = AgentMessage::decode(hex(text(given, "input_hex")));
        let valid = given["deserialize"]["outcome"] == "ok" && given["validate_error"].is_null();
        let differs = [
            "digest all zero and payload length field 0",
            "start_publication cut to 116 bytes",
            "pause_publication cut to 116 bytes",
        ]
        .contains(&name);
        assert_eq!(message.is_ok(), valid != differs, "{name}: {message:?}");
        let Some(message) = message.ok().filter(|_| valid) else {
            dropped += 1;
            continue;
        };
        read += 1;
        let fields = &given["deserialize"]["fields"];
        let number = |key| text(fields, key).parse::<i128>().unwrap();
        assert_eq!(fields["SchemaVersion"], message.schema_version, "{name}");
        assert_eq!(number("CreatedDate"), message.created_date.into(), "{name}");
        assert_eq!(
            number("SequenceNumber"),
            message.sequence_number.into(),
            "{name}"
        );
        assert_eq!(number("Flags"), message.flags.into(), "{name}");
        assert_eq!(
            text(fields, "MessageId"),
            message.message_id.to_string(),
            "{name}"
        );
        assert_eq!(fields["PayloadType"], message.payload_type.0, "{name}");
        assert_eq!(
            fields["ActualPayloadBytes"],
            message.payload.len(),
            "{name}"
        );
        // Types that are not UTF-8 or not trimmed by AWS's client are unknown to both.
        let kind = hex(text(fields, "MessageTypeHex"));
        if let Ok(kind) = std::str::from_utf8(&kind)
            && !kind.contains('\0')
        {
            assert_eq!(kind, message.message_type.as_str(), "{name}");
        }
    }
    assert_eq!((read, dropped), (85, 55));
}
