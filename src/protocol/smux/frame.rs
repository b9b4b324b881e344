//! Frames, and how they are cut out of a stream of bytes.

use bytes::{Buf as _, Bytes};
use thiserror::Error;

/// Size of a header, in bytes.
pub const HEADER_LEN: usize = 8;
/// The one version that AWS's ends speak.
const VERSION: u8 = 1;
/// What follows the header of an UPD, whatever its length field says, in bytes.
const UPDATE_LEN: usize = 8;

/// What a frame is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Opens a stream.
    Syn,
    /// Ends one.
    Fin,
    /// Carries data.
    Psh,
    /// Keeps the session alive.
    Nop,
    /// Belongs to version 2, yet is read and ignored.
    Upd,
}

/// Bytes that are not smux, or not of version 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Error {
    /// Another version.
    #[error("version {0} instead of 1")]
    Version(u8),
    /// No such command.
    #[error("unknown command {0}")]
    Command(u8),
}

/// The first eight bytes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What it is for.
    pub command: Command,
    /// Bytes of payload behind a PSH; without meaning elsewhere.
    pub length: u16,
    /// Which stream; 0 for NOP.
    pub stream: u32,
}

impl Header {
    /// A header of a frame without payload.
    pub fn bare(command: Command, stream: u32) -> Self {
        Self {
            command,
            length: 0,
            stream,
        }
    }

    /// The bytes on the wire.
    pub fn encode(self) -> [u8; HEADER_LEN] {
        let command = match self.command {
            Command::Syn => 0,
            Command::Fin => 1,
            Command::Psh => 2,
            Command::Nop => 3,
            Command::Upd => 4,
        };
        let [l0, l1] = self.length.to_le_bytes();
        let [s0, s1, s2, s3] = self.stream.to_le_bytes();
        [VERSION, command, l0, l1, s0, s1, s2, s3]
    }

    /// Reads a header.
    ///
    /// # Errors
    ///
    /// It is none.
    pub fn decode(bytes: [u8; HEADER_LEN]) -> Result<Self, Error> {
        let [version, command, l0, l1, s0, s1, s2, s3] = bytes;
        if version != VERSION {
            return Err(Error::Version(version));
        }
        let command = match command {
            0 => Command::Syn,
            1 => Command::Fin,
            2 => Command::Psh,
            3 => Command::Nop,
            4 => Command::Upd,
            other => return Err(Error::Command(other)),
        };
        Ok(Self {
            command,
            length: u16::from_le_bytes([l0, l1]),
            stream: u32::from_le_bytes([s0, s1, s2, s3]),
        })
    }
}

/// What a peer's bytes say. Frames that say nothing (NOP, UPD, an empty PSH) do not appear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A stream is opened.
    Syn(u32),
    /// A stream ends.
    Fin(u32),
    /// Data of a stream: a PSH, or the part of it that has arrived.
    Data(u32, Bytes),
}

/// Cuts frames out of a stream of bytes, however that is split. Holds no payload.
#[derive(Debug, Default)]
pub struct Decoder {
    header: [u8; HEADER_LEN],
    filled: usize,
    /// Payload bytes still to come, and the stream that gets them, if one does.
    payload: usize,
    stream: Option<u32>,
}

impl Decoder {
    /// Takes the next frame out of `input`; `None` once more input is needed. After an error
    /// nothing that follows makes sense.
    ///
    /// # Errors
    ///
    /// It is not smux.
    pub fn next(&mut self, input: &mut Bytes) -> Result<Option<Frame>, Error> {
        while !input.is_empty() {
            if self.payload > 0 {
                let piece = input.split_to(self.payload.min(input.len()));
                self.payload -= piece.len();
                match self.stream {
                    Some(stream) => return Ok(Some(Frame::Data(stream, piece))),
                    None => continue,
                }
            }
            let missing = HEADER_LEN - self.filled;
            let part = missing.min(input.len());
            if let Some(space) = self.header.get_mut(self.filled..self.filled + part) {
                input.copy_to_slice(space);
            }
            self.filled += part;
            if self.filled < HEADER_LEN {
                continue;
            }
            self.filled = 0;
            let header = Header::decode(self.header)?;
            match header.command {
                Command::Syn => return Ok(Some(Frame::Syn(header.stream))),
                Command::Fin => return Ok(Some(Frame::Fin(header.stream))),
                Command::Psh => {
                    self.payload = header.length.into();
                    self.stream = Some(header.stream);
                }
                Command::Upd => {
                    self.payload = UPDATE_LEN;
                    self.stream = None;
                }
                Command::Nop => {}
            }
        }
        Ok(None)
    }
}
