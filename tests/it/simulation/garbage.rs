//! Frames that a client has to live through: damaged, malformed, absurd.

use bytes::Bytes;
use fastrand::Rng;
use ssmx::protocol::message::{MessageType, PAYLOAD_OFFSET, PayloadType};

use crate::peer::{control, message, stream};

/// One such frame, some made from `frames` that were sent. None is one that a healthy client has
/// to believe: no digest covers the header, so only payloads are changed.
pub fn frame(rng: &mut Rng, frames: &[Bytes]) -> Bytes {
    let real = rng
        .choice(frames)
        .filter(|frame| frame.len() > PAYLOAD_OFFSET)
        .cloned()
        .unwrap_or_else(|| stream(0, PayloadType::OUTPUT, b"x"));
    match rng.u8(0..9) {
        0 => (0..rng.usize(0..300)).map(|_| rng.u8(..)).collect(),
        1 => real.slice(..rng.usize(0..real.len())),
        2 => {
            let mut changed = real.to_vec();
            let at = rng.usize(PAYLOAD_OFFSET..changed.len());
            changed[at] ^= 1 << rng.u8(0..8);
            changed.into()
        }
        3 => {
            let mut longer = real.to_vec();
            longer.push(rng.u8(..));
            longer.into()
        }
        4 => stream(
            *rng.choice(&[-1, i64::MIN, i64::MAX]).unwrap_or(&-1),
            PayloadType::OUTPUT,
            b"x",
        ),
        5 => control(MessageType::new("interactive_shell"), b"x"),
        6 => message(MessageType::INPUT_STREAM_DATA, 0, PayloadType::OUTPUT, b"x"),
        7 => {
            let number = rng.choice(["-1", "1.5", "9223372036854775807", "\"0\"", "null", "{}"]);
            let text = format!(
                r#"{{"AcknowledgedMessageSequenceNumber":{}}}"#,
                number.unwrap_or_default()
            );
            control(MessageType::ACKNOWLEDGE, text.as_bytes())
        }
        _ => control(MessageType::ACKNOWLEDGE, b"\xff[["),
    }
}
