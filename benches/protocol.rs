//! What one message of 1 KiB costs, without network: codec, core, digest, cipher.
//!
//! `cargo bench --bench protocol`. Either way a message costs two digests: of its own payload,
//! and of the acknowledgement's.

#![expect(
    clippy::disallowed_methods,
    reason = "the core wants some time, and never looks whether it passes"
)]

use std::time::{Duration, Instant};

use bytes::Bytes;
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use sha2::{Digest, Sha256};
use ssmx::protocol::cipher::{Cipher, DataKey, Role};
use ssmx::protocol::message::{AgentMessage, MessageType, PayloadType};
use ssmx::protocol::payload::acknowledge_json;
use ssmx::protocol::{Config, DataChannel, Event, Transmit};
use uuid::Uuid;

const KIB: usize = 1024;
/// Messages per run of the core: fewer than its window has room for.
const MESSAGES: i64 = 800;

fn main() {
    divan::main();
}

fn message(kind: MessageType, sequence_number: i64, payload: Bytes) -> AgentMessage {
    let payload_type = match kind == MessageType::ACKNOWLEDGE {
        true => PayloadType::NONE,
        false => PayloadType::OUTPUT,
    };
    AgentMessage {
        message_type: kind,
        schema_version: 1,
        created_date: 1_700_000_000_000,
        sequence_number,
        flags: 0,
        message_id: Uuid::from_u128(1),
        payload_type,
        payload,
    }
}

fn output(number: i64) -> Bytes {
    let message = message(MessageType::OUTPUT_STREAM_DATA, number, vec![7; KIB].into());
    message.encode().expect("it has a payload")
}

fn acknowledge_text(number: i64) -> String {
    acknowledge_json("input_stream_data", Uuid::from_u128(1), number)
}

fn acknowledgement(number: i64) -> Bytes {
    let text = acknowledge_text(number).into();
    let message = message(MessageType::ACKNOWLEDGE, 0, text);
    message.encode().expect("it has a payload")
}

/// A core in a shell that has said message 0.
fn shell(now: Instant) -> DataChannel {
    let config = Config {
        client_id: Uuid::from_u128(2),
        rng: fastrand::Rng::with_seed(3),
        unix_millis: 1_700_000_000_000,
        max_payload: KIB,
        answer_timeout: Duration::from_secs(60),
        no_data_keys: None,
    };
    let mut core = DataChannel::new(config, now);
    core.handle_connect(now, "token");
    core.handle_frame(now, output(0));
    drain(&mut core, now);
    core
}

fn drain(core: &mut DataChannel, now: Instant) -> usize {
    let mut bytes = 0;
    while let Some(transmit) = core.poll_transmit(now) {
        bytes += match transmit {
            Transmit::Binary(frame) => frame.len(),
            Transmit::Text(text) => text.len(),
        };
    }
    while let Some(event) = core.poll_event() {
        if let Event::Output(data) = event {
            bytes += data.len();
        }
    }
    bytes
}

#[divan::bench]
fn encode_1_kib(bencher: Bencher<'_, '_>) {
    let message = message(MessageType::OUTPUT_STREAM_DATA, 1, vec![7; KIB].into());
    bencher
        .counter(BytesCount::new(KIB))
        .bench(|| black_box(&message).encode());
}

#[divan::bench]
fn decode_1_kib(bencher: Bencher<'_, '_>) {
    let frame = output(1);
    bencher
        .counter(BytesCount::new(KIB))
        .bench(|| AgentMessage::decode(black_box(&frame).clone()));
}

/// 800 messages from the agent: delivered, and their acknowledgements taken to be sent.
#[divan::bench]
fn core_in_800_kib(bencher: Bencher<'_, '_>) {
    let now = Instant::now();
    let frames: Vec<Bytes> = (1..=MESSAGES).map(output).collect();
    bencher
        .counter(BytesCount::new(MESSAGES as usize * KIB))
        .with_inputs(|| shell(now))
        .bench_local_refs(|core| {
            frames
                .iter()
                .map(|frame| {
                    core.handle_frame(now, frame.clone());
                    drain(core, now)
                })
                .sum::<usize>()
        });
}

/// 800 messages to the agent: written, taken to be sent, and acknowledged.
#[divan::bench]
fn core_out_800_kib(bencher: Bencher<'_, '_>) {
    let now = Instant::now();
    let data = [7; KIB];
    let acknowledgements: Vec<Bytes> = (0..MESSAGES).map(acknowledgement).collect();
    bencher
        .counter(BytesCount::new(MESSAGES as usize * KIB))
        .with_inputs(|| shell(now))
        .bench_local_refs(|core| {
            let mut sent = 0;
            for _ in 0..MESSAGES {
                core.write(now, &data);
                sent += drain(core, now);
            }
            for frame in &acknowledgements {
                core.handle_frame(now, frame.clone());
            }
            assert!(core.all_acknowledged());
            sent
        });
}

#[divan::bench]
fn sha256_1_kib(bencher: Bencher<'_, '_>) {
    let data = [7; KIB];
    bencher
        .counter(BytesCount::new(KIB))
        .bench(|| Sha256::digest(black_box(&data)));
}

#[divan::bench]
fn sha256_of_an_acknowledgement(bencher: Bencher<'_, '_>) {
    let text = acknowledge_text(100_000);
    bencher.bench(|| Sha256::digest(black_box(text.as_bytes())));
}

#[divan::bench]
fn seal_1_kib(bencher: Bencher<'_, '_>) {
    let mut cipher = Cipher::new(&DataKey::new([1; 64]), Role::Client, [2; 12]);
    let data = [7; KIB];
    bencher
        .counter(BytesCount::new(KIB))
        .bench_local(|| cipher.seal(black_box(&data)));
}

#[divan::bench]
fn open_1_kib(bencher: Bencher<'_, '_>) {
    let key = DataKey::new([1; 64]);
    let sealed = Cipher::new(&key, Role::Agent, [2; 12]).seal(&[7; KIB]);
    let cipher = Cipher::new(&key, Role::Client, [3; 12]);
    bencher
        .counter(BytesCount::new(KIB))
        .bench(|| cipher.open(black_box(&sealed)));
}
