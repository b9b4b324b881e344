//! The Session Manager data channel, without any input or output of its own.
//!
//! Nothing in here opens a socket, reads a clock or the environment, or draws random numbers:
//! bytes and time go in, bytes, events and deadlines come out. See [`message`] for the wire
//! format.
//!
//! No input from the network may panic, so the ways to do so are denied below.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable
)]

pub mod cipher;
pub mod data_channel;
pub mod error;
pub mod escape;
pub mod handshake;
pub mod message;
pub mod payload;
mod receiver;
pub mod rtt;
mod sender;
pub mod smux;
pub mod version;

pub use data_channel::{Config, DataChannel, Event, Stats, Transmit};
pub use handshake::SessionType;
