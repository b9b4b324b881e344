//! A queue of bytes that takes about as much memory as there are bytes in it.

use std::collections::VecDeque;

use bytes::{Buf as _, Bytes, BytesMut};

/// Bytes are kept in pieces of up to this size.
const CHUNK: usize = 64 * 1024;
/// The least piece that is allocated.
const MIN_CHUNK: usize = 1024;

/// Bytes on their way. What is put in is copied: a slice of something larger would keep all of
/// that alive.
#[derive(Debug, Default)]
pub struct Buffer {
    chunks: VecDeque<BytesMut>,
    len: usize,
}

impl Buffer {
    /// Bytes in here.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends a copy of `data`.
    pub fn push(&mut self, mut data: &[u8]) {
        self.len += data.len();
        if let Some(last) = self.chunks.back_mut() {
            let room = (last.capacity() - last.len()).min(data.len());
            let (now, later) = data.split_at(room);
            last.extend_from_slice(now);
            data = later;
        }
        while !data.is_empty() {
            let (now, later) = data.split_at(data.len().min(CHUNK));
            // What comes in small pieces goes on to do so: room for some more of them.
            let mut chunk = BytesMut::with_capacity(match self.chunks.is_empty() {
                true => now.len().max(MIN_CHUNK),
                false => CHUNK,
            });
            chunk.extend_from_slice(now);
            self.chunks.push_back(chunk);
            data = later;
        }
    }

    /// Takes the first piece, as it is.
    pub fn pop(&mut self) -> Option<Bytes> {
        let chunk = self.chunks.pop_front()?;
        self.len -= chunk.len();
        Some(chunk.freeze())
    }

    /// Moves the first `limit` bytes, or what there is of them, to the end of `out`.
    pub fn move_to(&mut self, out: &mut BytesMut, limit: usize) {
        let mut left = limit.min(self.len);
        self.len -= left;
        while left > 0 {
            let Some(chunk) = self.chunks.front_mut() else {
                break;
            };
            let part = left.min(chunk.len());
            out.extend_from_slice(chunk.get(..part).unwrap_or_default());
            chunk.advance(part);
            left -= part;
            if chunk.is_empty() {
                self.chunks.pop_front();
            }
        }
    }

    /// Throws everything away; how much it was.
    pub fn clear(&mut self) -> usize {
        self.chunks.clear();
        std::mem::take(&mut self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_as_they_went_in() {
        let mut buffer = Buffer::default();
        let (mut put, mut got) = (Vec::new(), BytesMut::new());
        let mut rng = fastrand::Rng::with_seed(4);
        for _ in 0..2000 {
            let data: Vec<u8> = (0..rng.usize(..3000)).map(|_| rng.u8(..)).collect();
            buffer.push(&data);
            put.extend_from_slice(&data);
            match rng.u8(..3) {
                0 => buffer.move_to(&mut got, rng.usize(..5000)),
                1 => got.extend_from_slice(&buffer.pop().unwrap_or_default()),
                _ => {}
            }
            assert_eq!(put.len(), got.len() + buffer.len());
        }
        buffer.move_to(&mut got, usize::MAX);
        assert!(buffer.is_empty());
        assert!(got == put);
    }

    #[test]
    fn small_pieces_are_joined() {
        let mut buffer = Buffer::default();
        for _ in 0..100_000 {
            buffer.push(b"x");
        }
        assert!(buffer.chunks.len() < 5, "{} chunks", buffer.chunks.len());
        assert_eq!(buffer.clear(), 100_000);
        assert!(buffer.is_empty());
    }
}
