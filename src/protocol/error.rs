//! What a peer did wrong, what a caller did wrong, and how a session can fail.

use thiserror::Error;

/// Why a message cannot be encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum EncodeError {
    /// Agents skip such a message, so it must never be sent.
    #[error("a message needs a payload")]
    EmptyPayload,
    /// The field holds 32 bytes.
    #[error("a message type has at most 32 bytes")]
    TypeTooLong,
    /// The length does not fit its 32-bit field.
    #[error("a payload has at most 4 GiB")]
    PayloadTooLong,
}

/// Why a received frame is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// Shorter than the fixed part.
    #[error("the frame is shorter than a message header")]
    Truncated,
    /// HeaderLength is zero or points behind the frame.
    #[error("HeaderLength {0} is impossible")]
    HeaderLength(u32),
    /// MessageType is blank.
    #[error("the message has no type")]
    NoType,
    /// CreatedDate is zero.
    #[error("the message has no date")]
    NoCreatedDate,
    /// The payload is not what its sender hashed.
    #[error("the digest does not match the payload")]
    Digest,
}

/// Why a JSON payload cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PayloadError {
    /// No JSON, or not the kind of value that is wanted.
    #[error("it is not a JSON object")]
    NotAnObject,
    /// Longer than any that makes sense.
    #[error("it has {0} bytes")]
    TooLong(usize),
    /// A key holds a value of another type.
    #[error("{0} has a value of the wrong type")]
    WrongType(&'static str),
}

/// Why a sealed payload cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CipherError {
    /// Shorter than nonce and tag together.
    #[error("the encrypted payload is too short")]
    TooShort,
    /// Another key, or changed on the way.
    #[error("the encrypted payload does not open with this session's key")]
    Authentication,
}

/// Why a session ended that did not end by itself. Nothing in here is secret.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SessionError {
    /// The agent's first message makes no sense.
    #[error("the agent's {message} cannot be read: {reason}")]
    BadHandshake {
        /// Which message.
        message: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The handshake asked for something that cannot be given.
    #[error("{0}")]
    Refused(String),
    /// A payload did not open.
    #[error("the agent's data cannot be decrypted: {0}")]
    Decrypt(#[from] CipherError),
    /// No message at all came in time.
    #[error("the agent did not answer within {0} s")]
    NoAnswer(u64),
    /// Connected, unpaused, and yet nothing was acknowledged for too long.
    #[error("the agent has acknowledged nothing for {0} s")]
    NoProgress(u64),
}
