//! Encoding and decoding of whole messages.

use bytes::Bytes;
use serde_json::Value;
use sha2::{Digest, Sha256};
use ssmx::protocol::error::{DecodeError, EncodeError};
use ssmx::protocol::message::{AgentMessage, MessageType, PAYLOAD_OFFSET, PayloadType};
use uuid::Uuid;

use super::{cases, hex, load, text, to_hex};

#[test]
fn messages_are_encoded_and_decoded_as_by_the_real_ones() {
    let (mut encoded, mut refused) = (0, 0);
    for case in cases(&load("agent_messages"), "cases", 111) {
        let name = text(&case, "name");
        if case["fields"]["MessageId"] == "nil" {
            // A missing id: there is no such message in Rust.
            assert_eq!(case["plugin"]["outcome"], "error");
            refused += 1;
            continue;
        }
        let message = message(&case);
        let frame = message.encode();
        if case["plugin"]["outcome"] == "error" {
            let error = match name {
                "payload empty" => EncodeError::EmptyPayload,
                "message type field: 33 bytes" => EncodeError::TypeTooLong,
                other => panic!("an unknown error case: {other}"),
            };
            assert_eq!(frame, Err(error), "{name}");
            refused += 1;
            continue;
        }
        let frame = frame.unwrap_or_else(|error| panic!("{name}: {error}"));
        if let Some(expected) = case["message_hex"].as_str() {
            assert_eq!(to_hex(&frame), expected, "{name}");
        } else {
            let header = to_hex(&frame[..PAYLOAD_OFFSET]);
            assert_eq!(header, text(&case, "header_hex"), "{name}");
            let digest = to_hex(&Sha256::digest(&frame));
            assert_eq!(digest, text(&case, "message_sha256"), "{name}");
        }
        assert_eq!(
            AgentMessage::decode(frame),
            round_trip(&case, message),
            "{name}"
        );
        encoded += 1;
    }
    assert_eq!((encoded, refused), (108, 3));
}

/// What decoding gives back, where it is not the message itself.
fn round_trip(case: &Value, mut message: AgentMessage) -> Result<AgentMessage, DecodeError> {
    match case["plugin"]["validate_error_after_round_trip"].as_str() {
        None => {
            if message.message_type.as_str().starts_with(' ') {
                message.message_type = MessageType::OUTPUT_STREAM_DATA;
            }
            Ok(message)
        }
        // Control messages count whatever is wrong with them; none of these is one.
        Some("CreatedDate is missing") => Err(DecodeError::NoCreatedDate),
        Some("MessageType is missing") => Err(DecodeError::NoType),
        Some(other) => panic!("an unknown error: {other}"),
    }
}

fn message(case: &Value) -> AgentMessage {
    let fields = &case["fields"];
    let number = |key| text(fields, key).parse().unwrap();
    AgentMessage {
        message_type: MessageType::new(text(fields, "MessageType")),
        schema_version: text(fields, "SchemaVersion").parse().unwrap(),
        created_date: number("CreatedDate"),
        sequence_number: text(fields, "SequenceNumber").parse().unwrap(),
        flags: number("Flags"),
        message_id: Uuid::parse_str(text(fields, "MessageId")).unwrap(),
        payload_type: PayloadType(text(fields, "PayloadType").parse().unwrap()),
        payload: match case["payload_pattern_bytes"].as_u64() {
            Some(length) => pattern(length),
            None => hex(text(case, "payload_hex")),
        },
    }
}

fn pattern(length: u64) -> Bytes {
    (0..length).map(|at| ((7 * at + 3) % 256) as u8).collect()
}
