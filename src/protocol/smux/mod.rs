//! smux version 1: many streams over one byte stream each way.
//!
//! Port sessions of today's agents carry it in the payloads of their Output messages; where a
//! message ends means nothing. A frame is a header of eight bytes, then its payload:
//!
//! | offset | size | field, little-endian |
//! |-------:|-----:|----------------------|
//! |      0 |    1 | version: 1 |
//! |      1 |    1 | command: 0 SYN, 1 FIN, 2 PSH, 3 NOP, 4 UPD (of version 2) |
//! |      2 |    2 | length of the payload |
//! |      4 |    4 | stream id |
//!
//! SYN opens a stream and is not answered, PSH carries data, FIN says that no more follows. AWS's
//! ends take a FIN for the end of both directions. Version 1 has no flow control per stream: who
//! does not read one stream stops all of them, sooner or later. See [`Streams`] for what is done
//! about that.

mod buffer;
mod frame;
mod incoming;
mod outgoing;
mod streams;

pub use frame::{Command, Decoder, Error, Frame, HEADER_LEN, Header};
pub use streams::{Config, Event, Role, Streams};
