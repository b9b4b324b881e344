//! Anything that can happen to a client's core, in any order.
#![no_main]

use std::time::{Duration, Instant};

use arbitrary::Arbitrary;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use ssmx_fuzz::protocol::cipher::{Cipher, DataKey, Role};
use ssmx_fuzz::protocol::handshake::SealedDataKey;
use ssmx_fuzz::protocol::message::{AgentMessage, MessageType, PayloadType};
use ssmx_fuzz::protocol::payload::{Flag, Size};
use ssmx_fuzz::protocol::{Config, DataChannel, Event};
use uuid::Uuid;

#[derive(Arbitrary, Debug)]
enum Operation<'a> {
    /// A message that is whole.
    Message(Kind, Number, u8, Payload<'a>),
    /// One with a byte changed and cut off.
    Damaged(Kind, Number, u8, Payload<'a>, u8, u8, u16),
    Frame(&'a [u8]),
    Wait(u32),
    Connect,
    Disconnect,
    Write(u16),
    Size(u32, u32),
    Flag,
    DataKey(bool),
}

#[derive(Arbitrary, Debug)]
enum Kind {
    Output,
    Acknowledge,
    Input,
    Closed,
    Start,
    Pause,
    Other,
}

#[derive(Arbitrary, Debug)]
enum Number {
    /// Near the next one in order.
    Next(i8),
    Any(i64),
}

#[derive(Arbitrary, Debug)]
enum Payload<'a> {
    Bytes(&'a [u8]),
    /// Sealed as the agent does.
    Sealed(&'a [u8]),
    Acknowledge(Number),
    Request {
        kms: bool,
        port: bool,
    },
    Challenge(&'a [u8]),
}

fn acknowledgement(number: i64) -> Bytes {
    format!(r#"{{"AcknowledgedMessageSequenceNumber":{number}}}"#).into()
}

struct World {
    core: DataChannel,
    agent: Cipher,
    now: Instant,
    written: usize,
}

impl World {
    fn number(&self, number: &Number) -> i64 {
        match number {
            Number::Next(off) => self.core.expected_sequence_number() + i64::from(*off),
            Number::Any(number) => *number,
        }
    }

    fn payload(&mut self, payload: &Payload<'_>) -> Bytes {
        match payload {
            Payload::Bytes(bytes) => Bytes::copy_from_slice(bytes),
            Payload::Sealed(bytes) => self.agent.seal(bytes).into(),
            Payload::Acknowledge(Number::Next(number)) => acknowledgement(i64::from(*number)),
            Payload::Acknowledge(Number::Any(number)) => acknowledgement(*number),
            Payload::Request { kms, port } => {
                let kind = if *port { "Port" } else { "Standard_Stream" };
                let kms = if *kms {
                    r#",{"ActionType":"KMSEncryption"}"#
                } else {
                    ""
                };
                format!(
                    r#"{{"AgentVersion":"3.3.0.0","RequestedClientActions":[{{"ActionType":
                    "SessionType","ActionParameters":{{"SessionType":"{kind}"}}}}{kms}]}}"#
                )
                .into()
            }
            Payload::Challenge(bytes) => {
                use base64::Engine as _;
                let sealed = self.agent.seal(bytes);
                let text = base64::engine::general_purpose::STANDARD.encode(sealed);
                format!(r#"{{"Challenge":"{text}"}}"#).into()
            }
        }
    }

    fn frame(
        &mut self,
        kind: &Kind,
        number: &Number,
        payload_type: u8,
        payload: &Payload<'_>,
    ) -> Option<Bytes> {
        let message = AgentMessage {
            message_type: match kind {
                Kind::Output => MessageType::OUTPUT_STREAM_DATA,
                Kind::Acknowledge => MessageType::ACKNOWLEDGE,
                Kind::Input => MessageType::INPUT_STREAM_DATA,
                Kind::Closed => MessageType::CHANNEL_CLOSED,
                Kind::Start => MessageType::START_PUBLICATION,
                Kind::Pause => MessageType::PAUSE_PUBLICATION,
                Kind::Other => MessageType::new("other"),
            },
            schema_version: 1,
            created_date: 1,
            sequence_number: self.number(number),
            flags: 0,
            message_id: Uuid::from_u128(1),
            payload_type: PayloadType(u32::from(payload_type % 16)),
            payload: self.payload(payload),
        };
        message.encode().ok()
    }

    fn run(&mut self, operation: &Operation<'_>) {
        let now = self.now;
        match operation {
            Operation::Message(kind, number, payload_type, payload) => {
                if let Some(frame) = self.frame(kind, number, *payload_type, payload) {
                    self.core.handle_frame(now, frame);
                }
            }
            Operation::Damaged(kind, number, payload_type, payload, at, with, length) => {
                if let Some(frame) = self.frame(kind, number, *payload_type, payload) {
                    let mut frame = frame.to_vec();
                    if let Some(byte) = frame.get_mut(usize::from(*at)) {
                        *byte ^= with;
                    }
                    frame.truncate(usize::from(*length));
                    self.core.handle_frame(now, frame.into());
                }
            }
            Operation::Frame(frame) => {
                self.core.handle_frame(now, Bytes::copy_from_slice(frame));
            }
            Operation::Wait(millis) => {
                self.now += Duration::from_millis(u64::from(*millis % 400_000));
            }
            Operation::Connect => self.core.handle_connect(now, "token"),
            Operation::Disconnect => self.core.handle_disconnect(),
            Operation::Write(length) => {
                let length = usize::from(*length);
                if self.core.can_write() && self.core.write(now, &vec![7; length]) {
                    self.written += length;
                }
            }
            Operation::Size(cols, rows) => {
                let (cols, rows) = (*cols, *rows);
                self.core.set_size(now, Size { cols, rows });
            }
            Operation::Flag => self.core.send_flag(now, Flag::TerminateSession),
            Operation::DataKey(true) => {
                let sealed = SealedDataKey {
                    ciphertext: String::new(),
                    challenge_used: true,
                };
                let key = Ok((DataKey::new([1; 64]), sealed));
                self.core.handle_data_key(now, key, [0; 12]);
            }
            Operation::DataKey(false) => {
                self.core
                    .handle_data_key(now, Err("none".to_owned()), [0; 12]);
            }
        }
    }

    /// What holds once the core is drained.
    fn check(&mut self, was_over: bool, operations: usize) {
        let (now, core) = (self.now, &mut self.core);
        core.handle_timeout(now);
        let frames = std::iter::from_fn(|| core.poll_transmit(now)).count();
        assert!(
            frames <= 2 * operations + self.written / 1024 + 2100,
            "{frames} frames"
        );
        let events: Vec<Event> = std::iter::from_fn(|| core.poll_event()).collect();
        let last = events
            .iter()
            .position(|event| matches!(event, Event::Closed(_) | Event::Failed(_)));
        assert!(!was_over || events.is_empty(), "{events:?} after the end");
        assert_eq!(last.is_some(), core.has_ended() && !was_over);
        assert!(last.is_none_or(|at| at + 1 == events.len()), "{events:?}");
        let due = core.poll_timeout();
        assert!(due.is_none_or(|due| due > now), "a deadline stays due");
    }
}

fuzz_target!(|operations: Vec<Operation<'_>>| {
    let now = Instant::now();
    let config = Config {
        client_id: Uuid::from_u128(2),
        rng: fastrand::Rng::with_seed(3),
        unix_millis: 4,
        max_payload: 1024,
        answer_timeout: Duration::from_secs(60),
        no_data_keys: None,
    };
    let mut world = World {
        core: DataChannel::new(config, now),
        agent: Cipher::new(&DataKey::new([1; 64]), Role::Agent, [5; 12]),
        now,
        written: 0,
    };
    world.core.handle_connect(now, "token");
    for operation in &operations {
        let was_over = world.core.has_ended();
        world.run(operation);
        world.check(was_over, operations.len());
    }
});
