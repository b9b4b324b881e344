//! AgentMessage: the one binary frame of a data channel.
//!
//! ```text
//! offset size field            (integers big-endian)
//!      0    4 HeaderLength     116: where PayloadLength stands, not the payload
//!      4   32 MessageType      UTF-8, padded with spaces
//!     36    4 SchemaVersion    1
//!     40    8 CreatedDate      milliseconds since 1970
//!     48    8 SequenceNumber   signed
//!     56    8 Flags            bit 0 SYN, bit 1 FIN; informative only
//!     64   16 MessageId        a UUID with its halves swapped
//!     80   32 PayloadDigest    SHA-256 of the payload as sent
//!    112    4 PayloadType
//!    116    4 PayloadLength
//!    120    n Payload
//! ```
//!
//! A receiver takes everything behind `HeaderLength + 4` as the payload and does not believe
//! `PayloadLength`; the digest decides.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::error::{DecodeError, EncodeError};

/// The value of HeaderLength that every peer writes, in bytes.
pub const HEADER_LENGTH: u32 = 116;
/// Where the payload of a message starts, in bytes.
pub const PAYLOAD_OFFSET: usize = 120;
/// The most bytes a message type may have.
const TYPE_LENGTH: usize = 32;
/// Where the fields that control messages need end: HeaderLength and MessageType.
const TYPE_END: usize = 4 + TYPE_LENGTH;

/// Flag of the agent's first stream message.
pub const FLAG_SYN: u64 = 1;
/// Flags of acknowledgements.
pub const FLAG_SYN_FIN: u64 = 3;

/// What a message is, by name; unknown names are kept as they came.
#[derive(Clone, PartialEq, Eq)]
pub struct MessageType(Cow<'static, str>);

impl MessageType {
    /// Stream data from client to agent.
    pub const INPUT_STREAM_DATA: Self = Self(Cow::Borrowed("input_stream_data"));
    /// Stream data from agent to client.
    pub const OUTPUT_STREAM_DATA: Self = Self(Cow::Borrowed("output_stream_data"));
    /// Acknowledgement of one stream message, both ways.
    pub const ACKNOWLEDGE: Self = Self(Cow::Borrowed("acknowledge"));
    /// The gateway's word that the session is over.
    pub const CHANNEL_CLOSED: Self = Self(Cow::Borrowed("channel_closed"));
    /// The other side's channel is active again.
    pub const START_PUBLICATION: Self = Self(Cow::Borrowed("start_publication"));
    /// The other side's channel is inactive.
    pub const PAUSE_PUBLICATION: Self = Self(Cow::Borrowed("pause_publication"));
    /// The agent's report of its state to the gateway.
    pub const AGENT_SESSION_STATE: Self = Self(Cow::Borrowed("agent_session_state"));

    const KNOWN: [Self; 7] = [
        Self::OUTPUT_STREAM_DATA,
        Self::ACKNOWLEDGE,
        Self::INPUT_STREAM_DATA,
        Self::CHANNEL_CLOSED,
        Self::START_PUBLICATION,
        Self::PAUSE_PUBLICATION,
        Self::AGENT_SESSION_STATE,
    ];

    /// A type of any name; encoding refuses one of more than 32 bytes.
    pub fn new(name: impl Into<String>) -> Self {
        Self(Cow::Owned(name.into()))
    }

    /// The name, without padding.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads the padded field: NULs and white space at both ends do not count.
    fn from_wire(field: &[u8]) -> Self {
        let text = String::from_utf8_lossy(field);
        let name = text.trim_matches(|c: char| c == '\0' || c.is_whitespace());
        Self::KNOWN
            .into_iter()
            .find(|known| known.0 == name)
            .unwrap_or_else(|| Self::new(name))
    }

    fn is_control(&self) -> bool {
        *self == Self::START_PUBLICATION || *self == Self::PAUSE_PUBLICATION
    }
}

impl fmt::Debug for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a stream message carries.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct PayloadType(pub u32);

impl PayloadType {
    /// Nothing: acknowledgements and control messages.
    pub const NONE: Self = Self(0);
    /// Bytes of the session, in either direction; encrypted when a data key is in force.
    pub const OUTPUT: Self = Self(1);
    /// An error; no known agent sends one.
    pub const ERROR: Self = Self(2);
    /// The terminal's size, `{"cols":80,"rows":24}`.
    pub const SIZE: Self = Self(3);
    /// The agent's requested actions.
    pub const HANDSHAKE_REQUEST: Self = Self(5);
    /// The client's answer to them.
    pub const HANDSHAKE_RESPONSE: Self = Self(6);
    /// The agent's word that session data may flow.
    pub const HANDSHAKE_COMPLETE: Self = Self(7);
    /// Proof wanted that the client holds the data key.
    pub const ENC_CHALLENGE_REQUEST: Self = Self(8);
    /// The client's proof.
    pub const ENC_CHALLENGE_RESPONSE: Self = Self(9);
    /// A [`Flag`](super::payload::Flag), four bytes big-endian.
    pub const FLAG: Self = Self(10);
    /// Standard error of a command; encrypted as output is.
    pub const STDERR: Self = Self(11);
    /// `EXIT_CODE: n`; encrypted as output is.
    pub const EXIT_CODE: Self = Self(12);
}

/// One message, decoded. Its payload is what was on the wire: still sealed, if it was sealed.
#[derive(Clone, PartialEq, Eq)]
pub struct AgentMessage {
    /// What the message is.
    pub message_type: MessageType,
    /// 1 from every known peer; not checked.
    pub schema_version: u32,
    /// Milliseconds since 1970.
    pub created_date: u64,
    /// Position in its direction's stream; 0 outside of it.
    pub sequence_number: i64,
    /// [`FLAG_SYN`] and FIN bits; informative.
    pub flags: u64,
    /// Unique per message; a resent message keeps it.
    pub message_id: Uuid,
    /// What the payload is.
    pub payload_type: PayloadType,
    /// The payload; empty only in messages that were received so.
    pub payload: Bytes,
}

/// Without the payload: it belongs to the user, not to a log.
impl fmt::Debug for AgentMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentMessage")
            .field("message_type", &self.message_type)
            .field("sequence_number", &self.sequence_number)
            .field("flags", &self.flags)
            .field("message_id", &self.message_id)
            .field("payload_type", &self.payload_type.0)
            .field("payload_bytes", &self.payload.len())
            .finish()
    }
}

impl AgentMessage {
    /// The message as bytes for one binary WebSocket frame.
    ///
    /// # Errors
    ///
    /// As both of AWS's serialisers: an empty payload, a type over 32 bytes.
    pub fn encode(&self) -> Result<Bytes, EncodeError> {
        let name = self.message_type.as_str().as_bytes();
        if self.payload.is_empty() {
            return Err(EncodeError::EmptyPayload);
        }
        let padding = TYPE_LENGTH
            .checked_sub(name.len())
            .ok_or(EncodeError::TypeTooLong)?;
        let length = u32::try_from(self.payload.len()).map_err(|_| EncodeError::PayloadTooLong)?;

        let mut out = Vec::with_capacity(PAYLOAD_OFFSET + self.payload.len());
        out.extend_from_slice(&HEADER_LENGTH.to_be_bytes());
        out.extend_from_slice(name);
        out.resize(out.len() + padding, b' ');
        out.extend_from_slice(&self.schema_version.to_be_bytes());
        out.extend_from_slice(&self.created_date.to_be_bytes());
        out.extend_from_slice(&self.sequence_number.to_be_bytes());
        out.extend_from_slice(&self.flags.to_be_bytes());
        let (most, least) = self.message_id.as_u64_pair();
        out.extend_from_slice(&least.to_be_bytes());
        out.extend_from_slice(&most.to_be_bytes());
        out.extend_from_slice(&Sha256::digest(&self.payload));
        out.extend_from_slice(&self.payload_type.0.to_be_bytes());
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&self.payload);
        Ok(out.into())
    }

    /// Reads and validates one frame. The payload shares `frame`'s memory.
    ///
    /// Control messages (start and pause_publication) count from their name on, whatever else is
    /// wrong with them.
    ///
    /// # Errors
    ///
    /// The reason for which the frame is to be dropped, unacknowledged.
    pub fn decode(frame: Bytes) -> Result<Self, DecodeError> {
        let header = frame.get(4..TYPE_END).ok_or(DecodeError::Truncated)?;
        let message_type = MessageType::from_wire(header);
        let (Some(header_length), Some(tail)) =
            (read_u32(&frame, 0), frame.get(TYPE_END..PAYLOAD_OFFSET))
        else {
            return if message_type.is_control() {
                Ok(Self::control(message_type))
            } else {
                Err(DecodeError::Truncated)
            };
        };
        let control = message_type.is_control();
        let message = Self {
            schema_version: read_u32(tail, 0).unwrap_or_default(),
            created_date: read_u64(tail, 4).unwrap_or_default(),
            sequence_number: read_u64(tail, 12).unwrap_or_default().cast_signed(),
            flags: read_u64(tail, 20).unwrap_or_default(),
            message_id: Uuid::from_u64_pair(
                read_u64(tail, 36).unwrap_or_default(),
                read_u64(tail, 28).unwrap_or_default(),
            ),
            payload_type: PayloadType(read_u32(tail, 76).unwrap_or_default()),
            message_type,
            payload: usize::try_from(header_length)
                .ok()
                .and_then(|length| length.checked_add(4))
                .filter(|start| *start <= frame.len())
                .map(|start| frame.slice(start..))
                .unwrap_or_default(),
        };
        if control {
            return Ok(message);
        }
        let payload_length = read_u32(tail, 80).unwrap_or_default();
        let digest = tail.get(44..76).unwrap_or_default();
        message.validate(header_length, frame.len(), payload_length, digest)?;
        Ok(message)
    }

    fn validate(
        &self,
        header_length: u32,
        frame_length: usize,
        payload_length: u32,
        digest: &[u8],
    ) -> Result<(), DecodeError> {
        let payload_start = u64::from(header_length) + 4;
        if header_length == 0 || payload_start > frame_length as u64 {
            return Err(DecodeError::HeaderLength(header_length));
        }
        if self.message_type.as_str().is_empty() {
            return Err(DecodeError::NoType);
        }
        if self.created_date == 0 {
            return Err(DecodeError::NoCreatedDate);
        }
        let nothing_to_check = self.payload.is_empty() && payload_length == 0;
        if !nothing_to_check && Sha256::digest(&self.payload).as_slice() != digest {
            return Err(DecodeError::Digest);
        }
        Ok(())
    }

    fn control(message_type: MessageType) -> Self {
        Self {
            message_type,
            schema_version: 0,
            created_date: 0,
            sequence_number: 0,
            flags: 0,
            message_id: Uuid::nil(),
            payload_type: PayloadType::NONE,
            payload: Bytes::new(),
        }
    }
}

fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .copied()
        .map(u32::from_be_bytes)
}

fn read_u64(bytes: &[u8], at: usize) -> Option<u64> {
    bytes
        .get(at..)?
        .first_chunk()
        .copied()
        .map(u64::from_be_bytes)
}
