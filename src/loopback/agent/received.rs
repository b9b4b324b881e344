//! Reading a frame as the agent does: no digest is checked, HeaderLength is believed.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::protocol::message::{MessageType, PayloadType};
use crate::protocol::payload::{Acknowledge, Size, find};

/// What a message is, for an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Input,
    Acknowledge,
    ChannelClosed,
    StartPublication,
    PausePublication,
    Other,
}

/// A message as far as the agent looks at it.
#[derive(Clone)]
pub(super) struct Received {
    pub(super) kind: Kind,
    pub(super) sequence: i64,
    pub(super) id: Uuid,
    pub(super) payload_type: PayloadType,
    pub(super) payload: Bytes,
}

/// Why a frame is no message.
pub(super) enum Malformed {
    /// It is dropped.
    Dropped,
    /// It takes the agent's reader down.
    Crashes,
}

impl Received {
    pub(super) fn parse(frame: &Bytes) -> Result<Self, Malformed> {
        let header_length = read_u32(frame, 0).ok_or(Malformed::Dropped)?;
        let name = frame.get(4..36).ok_or(Malformed::Dropped)?;
        let created_date = read_u64(frame, 40).ok_or(Malformed::Dropped)?;
        let sequence = read_u64(frame, 48).ok_or(Malformed::Dropped)?;
        let least = read_u64(frame, 64).ok_or(Malformed::Dropped)?;
        let most = read_u64(frame, 72).ok_or(Malformed::Dropped)?;
        let payload_type = read_u32(frame, 112).ok_or(Malformed::Dropped)?;
        if frame.len() == 116 {
            return Err(Malformed::Dropped);
        }
        let start = header_length.wrapping_add(4) as usize;
        if start > frame.len() {
            return Err(Malformed::Crashes);
        }
        let name = String::from_utf8_lossy(name);
        let name = name.trim_matches('\0').trim();
        if header_length == 0 || created_date == 0 || name.is_empty() {
            return Err(Malformed::Dropped);
        }
        Ok(Self {
            kind: Kind::of(name),
            sequence: sequence.cast_signed(),
            id: Uuid::from_u64_pair(most, least),
            payload_type: PayloadType(payload_type),
            payload: frame.slice(start..),
        })
    }

    /// The number that an acknowledgement names, 0 if none; `None` if it cannot be read.
    pub(super) fn acknowledged(&self) -> Option<i64> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase", deny_unknown_fields)]
        #[expect(dead_code, reason = "they have to be there, no more")]
        struct AsClientsWriteIt<'a> {
            acknowledged_message_type: &'a str,
            acknowledged_message_id: &'a str,
            acknowledged_message_sequence_number: i64,
            is_sequential_message: bool,
        }
        if let Ok(text) = serde_json::from_slice::<AsClientsWriteIt<'_>>(&self.payload) {
            return Some(text.acknowledged_message_sequence_number);
        }
        let text = String::from_utf8_lossy(&self.payload);
        let acknowledge = Acknowledge::from_json(text.as_bytes()).ok()?;
        Some(
            acknowledge
                .acknowledged_message_sequence_number
                .unwrap_or_default(),
        )
    }

    /// Whether a `channel_closed` counts.
    pub(super) fn is_readable_farewell(&self) -> bool {
        object(&self.payload).is_some_and(|map| {
            find(&map, "SchemaVersion").is_none_or(|version| version.is_null() || version.is_i64())
        })
    }
}

impl Kind {
    fn of(name: &str) -> Self {
        [
            (MessageType::INPUT_STREAM_DATA, Self::Input),
            (MessageType::ACKNOWLEDGE, Self::Acknowledge),
            (MessageType::CHANNEL_CLOSED, Self::ChannelClosed),
            (MessageType::START_PUBLICATION, Self::StartPublication),
            (MessageType::PAUSE_PUBLICATION, Self::PausePublication),
        ]
        .into_iter()
        .find(|(known, _)| known.as_str() == name)
        .map_or(Self::Other, |(_, kind)| kind)
    }
}

/// Reads a Size payload; what is missing counts as 0.
pub(super) fn size(payload: &[u8]) -> Option<Size> {
    let map = object(payload)?;
    let number = |key| match find(&map, key) {
        None | Some(Value::Null) => Some(0),
        Some(value) => value.as_u64().and_then(|number| u32::try_from(number).ok()),
    };
    Some(Size {
        cols: number("cols")?,
        rows: number("rows")?,
    })
}

/// Reads a JSON object; null counts as an empty one.
pub(super) fn object(payload: &[u8]) -> Option<Map<String, Value>> {
    match serde_json::from_str(&String::from_utf8_lossy(payload)).ok()? {
        Value::Object(map) => Some(map),
        Value::Null => Some(Map::new()),
        _ => None,
    }
}

fn read_u32(frame: &[u8], at: usize) -> Option<u32> {
    let bytes = frame.get(at..)?.first_chunk()?;
    Some(u32::from_be_bytes(*bytes))
}

fn read_u64(frame: &[u8], at: usize) -> Option<u64> {
    let bytes = frame.get(at..)?.first_chunk()?;
    Some(u64::from_be_bytes(*bytes))
}
