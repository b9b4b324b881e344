//! What goes to the wrapper: input in pieces, as far as the window goes, and what is not input.

use std::collections::VecDeque;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;

use super::WINDOW;
use super::frames::Encoding;
use crate::channel::{DataSender, Ended};

/// The longest piece of input, in characters as it is sent.
const PIECE: usize = 16_000;
/// What the node's kernel makes signals of, wherever it stands.
pub const INTERRUPT: &[u8] = &[0x03];
pub const QUIT: &[u8] = &[0x1c];
/// Asks the wrapper for SIGTERM.
pub const TERMINATE: &[u8] = b"T.";
/// The end of the input.
pub const END: &[u8] = b"E.";

/// What is to be sent.
#[derive(Debug, Default)]
pub struct Outgoing {
    /// Read, not written as the wrapper reads it yet.
    chunk: Bytes,
    queue: VecDeque<Bytes>,
    /// Characters of input that the wrapper has not passed on.
    on_the_way: usize,
}

impl Outgoing {
    /// Whether more input may be read.
    pub fn wants_input(&self) -> bool {
        self.chunk.is_empty()
    }

    /// Takes what was read.
    pub fn input(&mut self, chunk: Bytes) {
        self.chunk = chunk;
    }

    /// Forgets input that is not on its way.
    pub fn stop_input(&mut self) {
        self.chunk.clear();
    }

    /// So many characters of input were passed on.
    pub fn taken(&mut self, length: usize) {
        self.on_the_way = self.on_the_way.saturating_sub(length);
    }

    /// Sends this behind the input.
    pub fn push(&mut self, text: &'static [u8]) {
        self.queue.push_back(Bytes::from_static(text));
    }

    /// Sends this before all else.
    pub fn push_first(&mut self, text: &'static [u8]) {
        self.queue.push_front(Bytes::from_static(text));
    }

    /// Writes input as the wrapper reads it, as far as the window goes.
    pub fn fill(&mut self, encoding: Encoding) {
        while !self.chunk.is_empty() && self.on_the_way + PIECE <= WINDOW {
            let most = match encoding {
                Encoding::Base64 => PIECE / 4 * 3,
                Encoding::Numbers => PIECE / 4,
            };
            let piece = self.chunk.split_to(most.min(self.chunk.len()));
            let mut text = match encoding {
                Encoding::Base64 => BASE64.encode(&piece),
                Encoding::Numbers => piece.iter().map(|byte| format!("\\{byte:03o}")).collect(),
            };
            self.on_the_way += text.len();
            text.push('.');
            self.queue.push_back(text.into());
        }
    }

    /// Whether there is nothing to send now.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Hands over one of those that wait. Safe to cancel.
    pub async fn send(&mut self, sender: &DataSender) -> Result<(), Ended> {
        let permit = sender.reserve().await?;
        if let Some(data) = self.queue.pop_front() {
            permit.send(data);
        }
        Ok(())
    }

    /// Nobody takes anything any more.
    pub fn clear(&mut self) {
        self.chunk.clear();
        self.queue.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_is_cut_into_pieces_and_stops_at_the_window() {
        for encoding in [Encoding::Base64, Encoding::Numbers] {
            let mut outgoing = Outgoing::default();
            outgoing.input(vec![0xff; 100_000].into());
            outgoing.fill(encoding);
            assert!(outgoing.on_the_way <= WINDOW);
            assert!(!outgoing.wants_input());
            let first = outgoing.queue.front().expect("some").clone();
            assert!(first.len() <= PIECE + 1 && first.ends_with(b"."));
            let sent = outgoing.queue.len();
            outgoing.fill(encoding);
            assert_eq!(outgoing.queue.len(), sent);
            outgoing.taken(first.len() - 1);
            outgoing.fill(encoding);
            assert_eq!(outgoing.queue.len(), sent + 1);
        }
    }
}
