//! Anything at all into the decoder and the core.

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use ssmx::protocol::cipher::DataKey;
use ssmx::protocol::handshake::SealedDataKey;
use ssmx::protocol::message::{AgentMessage, MessageType, PayloadType};
use ssmx::protocol::payload::{Flag, Size};
use ssmx::protocol::{DataChannel, Event};
use uuid::Uuid;

use super::cases;
use crate::peer::{Client, config};

fn kinds() -> impl Strategy<Value = MessageType> {
    prop_oneof![
        4 => Just(MessageType::OUTPUT_STREAM_DATA),
        3 => Just(MessageType::ACKNOWLEDGE),
        1 => Just(MessageType::INPUT_STREAM_DATA),
        1 => Just(MessageType::CHANNEL_CLOSED),
        1 => Just(MessageType::START_PUBLICATION),
        1 => Just(MessageType::PAUSE_PUBLICATION),
        1 => "[a-z_]{1,32}".prop_map(MessageType::new),
    ]
}

fn numbers() -> impl Strategy<Value = i64> {
    prop_oneof![4 => -1i64..6, 1 => any::<i64>()]
}

fn payloads() -> impl Strategy<Value = Bytes> {
    let texts = [
        "EXIT_CODE: 3",
        "{}",
        "null",
        r#"{"Challenge":"AAAA"}"#,
        r#"{"Output":"bye"}"#,
        r#"{"HandshakeTimeToComplete":1,"CustomerMessage":"hello"}"#,
        r#"{"AgentVersion":"3.3.0.0","RequestedClientActions":[{"ActionType":"SessionType",
           "ActionParameters":{"SessionType":"Standard_Stream"}},{"ActionType":"KMSEncryption"}]}"#,
        r#"{"RequestedClientActions":[{"ActionType":"SessionType",
           "ActionParameters":{"SessionType":"Port","Properties":{}}},{"ActionType":"?"}]}"#,
    ];
    prop_oneof![
        2 => proptest::sample::select(texts.to_vec()).prop_map(Bytes::from),
        2 => numbers().prop_map(|number| {
            format!(r#"{{"AcknowledgedMessageSequenceNumber":{number}}}"#).into()
        }),
        1 => proptest::collection::vec(any::<u8>(), 1..60).prop_map(Bytes::from),
        1 => Just(Bytes::from_static(&[0, 0, 0, 3])),
    ]
}

prop_compose! {
    fn messages()(
        message_type in kinds(),
        (schema_version, created_date, flags) in (any::<u32>(), 1u64.., any::<u64>()),
        sequence_number in numbers(),
        id in 1u128..,
        payload_type in prop_oneof![8 => 0u32..14, 1 => any::<u32>()],
        payload in payloads(),
    ) -> AgentMessage {
        AgentMessage {
            message_type,
            schema_version,
            created_date,
            sequence_number,
            flags,
            message_id: Uuid::from_u128(id),
            payload_type: PayloadType(payload_type),
            payload,
        }
    }
}

/// What can happen to a core.
#[derive(Debug, Clone)]
enum Operation {
    Message(AgentMessage),
    /// A message with some of its bytes changed, cut off at the length.
    Damaged(AgentMessage, Vec<(usize, u8)>, usize),
    Frame(Vec<u8>),
    Wait(u64),
    Connect,
    Disconnect,
    Write(usize),
    Size(u32),
    Flag,
    DataKey(bool),
}

fn operations() -> impl Strategy<Value = Operation> {
    prop_oneof![
        10 => messages().prop_map(Operation::Message),
        3 => (
            messages(),
            proptest::collection::vec((0usize..200, any::<u8>()), 0..3),
            0usize..300,
        ).prop_map(|(message, changes, length)| Operation::Damaged(message, changes, length)),
        1 => proptest::collection::vec(any::<u8>(), 0..200).prop_map(Operation::Frame),
        4 => prop_oneof![0u64..10, 0u64..400_000].prop_map(Operation::Wait),
        1 => Just(Operation::Connect),
        1 => Just(Operation::Disconnect),
        2 => (0usize..5000).prop_map(Operation::Write),
        1 => any::<u32>().prop_map(Operation::Size),
        1 => Just(Operation::Flag),
        2 => any::<bool>().prop_map(Operation::DataKey),
    ]
}

proptest! {
    #![proptest_config(cases(1000))]

    #[test]
    fn what_is_encoded_is_decoded(message in messages()) {
        let frame = message.encode().unwrap();
        prop_assert_eq!(AgentMessage::decode(frame), Ok(message));
    }

    #[test]
    fn whatever_is_decoded_is_encoded_alike(frame: Vec<u8>, header in messages()) {
        // Random bytes alone rarely pass for a header.
        for frame in [frame.clone(), [&header.encode().unwrap()[..120], &frame].concat()] {
            if let Ok(message) = AgentMessage::decode(frame.into())
                && let Ok(again) = message.encode()
            {
                prop_assert_eq!(AgentMessage::decode(again), Ok(message));
            }
        }
    }

    #[test]
    fn nothing_breaks_the_core(
        take_over in proptest::bool::weighted(0.1),
        operations in proptest::collection::vec(operations(), 1..60),
    ) {
        let mut client = Client::new(config());
        if take_over {
            client.core = DataChannel::take_over(config(), client.now);
            client.core.handle_connect(client.now, "token");
        }
        let mut written = 0;
        for operation in operations {
            let (now, core) = (client.now, &mut client.core);
            let was_over = core.has_ended();
            match operation {
                Operation::Message(message) => {
                    core.handle_frame(now, message.encode().unwrap());
                }
                Operation::Damaged(message, changes, length) => {
                    let mut frame = message.encode().unwrap().to_vec();
                    for (at, with) in changes {
                        if let Some(byte) = frame.get_mut(at) {
                            *byte ^= with;
                        }
                    }
                    frame.truncate(length);
                    core.handle_frame(now, frame.into());
                }
                Operation::Frame(frame) => core.handle_frame(now, frame.into()),
                Operation::Wait(millis) => client.now += Duration::from_millis(millis),
                Operation::Connect => core.handle_connect(now, "token"),
                Operation::Disconnect => core.handle_disconnect(),
                Operation::Write(length) => {
                    if core.can_write() && core.write(now, &vec![7; length]) {
                        written += length;
                    }
                }
                Operation::Size(cols) => core.set_size(now, Size { cols, rows: 1 }),
                Operation::Flag => core.send_flag(now, Flag::TerminateSession),
                Operation::DataKey(true) => {
                    let sealed = SealedDataKey { ciphertext: String::new(), challenge_used: true };
                    core.handle_data_key(now, Ok((DataKey::new([1; 64]), sealed)), [0; 12]);
                }
                Operation::DataKey(false) => core.handle_data_key(now, Err("no".into()), [0; 12]),
            }
            check(&mut client, was_over, written)?;
        }
    }
}

/// What holds after every call once the core is drained.
fn check(client: &mut Client, was_over: bool, written: usize) -> Result<(), TestCaseError> {
    let (now, core) = (client.now, &mut client.core);
    core.handle_timeout(now);
    let frames = std::iter::from_fn(|| core.poll_transmit(now)).count();
    // Remembered acknowledgements, and what is unacknowledged.
    prop_assert!(
        frames <= 2100 + written.div_ceil(1024) + 100,
        "{} frames",
        frames
    );
    let events = drained(core);
    prop_assert!(!was_over || events.is_empty(), "{:?} after the end", events);
    let last = events
        .iter()
        .position(|event| matches!(event, Event::Closed(_) | Event::Failed(_)));
    prop_assert_eq!(last.is_some(), core.has_ended() && !was_over);
    prop_assert!(last.is_none_or(|at| at + 1 == events.len()), "{:?}", events);
    let due = core.poll_timeout();
    prop_assert!(due.is_none_or(|due| due > now), "it would spin");
    Ok(())
}

fn drained(core: &mut DataChannel) -> Vec<Event> {
    std::iter::from_fn(|| core.poll_event()).collect()
}
