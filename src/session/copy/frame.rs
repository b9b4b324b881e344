//! What the node says: lines with the mark, and data between two of them.

use bytes::{Buf as _, Bytes, BytesMut};
use memchr::memchr;
use memchr::memmem::Finder;

/// How much is kept of what comes without the mark, in bytes.
const NOISE: usize = 200;

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply {
    /// Done, with what it says.
    Ok(String),
    /// Not done, with its reason.
    Err(String),
    /// What it is part of has failed before.
    Skip,
    /// The checksum is another.
    Sum,
    /// Bytes, as they came.
    Data(Bytes),
}

/// What is to be read.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    /// The terminal is raw.
    Ready,
    /// It cannot be made raw.
    NoStty,
    /// To the command with this number.
    Reply(u64, Reply),
}

/// The answers make no sense.
#[derive(Debug, PartialEq, Eq)]
pub struct Garbled(pub &'static str);

/// Takes what the node prints, gives frames.
#[derive(Debug)]
pub struct Frames {
    /// `@MARK `
    mark: Vec<u8>,
    buffer: BytesMut,
    /// How far there is no frame's end.
    searched: usize,
    /// The number of the command whose data comes, and what is behind them.
    data: Option<(u64, Finder<'static>)>,
    /// What came without the mark, for an explanation.
    noise: Vec<u8>,
}

impl Frames {
    /// For this mark.
    pub fn new(mark: &str) -> Self {
        Self {
            mark: format!("@{mark} ").into_bytes(),
            buffer: BytesMut::new(),
            searched: 0,
            data: None,
            noise: Vec::new(),
        }
    }

    /// Takes more.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// How much there is that is no whole frame yet, in bytes.
    pub fn unread(&self) -> usize {
        self.buffer.len()
    }

    /// What came without the mark, as text.
    pub fn noise(&self) -> String {
        let rest = self.buffer.get(..self.buffer.len().min(NOISE));
        let text = [self.noise.as_slice(), rest.unwrap_or_default()].concat();
        String::from_utf8_lossy(&text).trim().to_owned()
    }

    /// The next frame, if it is complete.
    ///
    /// # Errors
    ///
    /// The answers make no sense.
    pub fn next(&mut self) -> Result<Option<Frame>, Garbled> {
        loop {
            if let Some(frame) = self.whole_data() {
                return Ok(Some(frame));
            }
            let at = match self.data {
                Some(_) => None,
                None => self.line_feed(),
            };
            let Some(at) = at else {
                return Ok(None);
            };
            let line = self.buffer.split_to(at + 1);
            self.searched = 0;
            if let Some(line) = line.strip_prefix(self.mark.as_slice()) {
                let line = String::from_utf8_lossy(line);
                if let Some(frame) = self.read(line.trim_end())? {
                    return Ok(Some(frame));
                }
            } else {
                let room = NOISE.saturating_sub(self.noise.len()).min(line.len());
                self.noise
                    .extend_from_slice(line.get(..room).unwrap_or_default());
            }
        }
    }

    /// The data that come, if their end is there: a line of its own behind them.
    fn whole_data(&mut self) -> Option<Frame> {
        let (id, end) = self.data.as_ref()?;
        let (id, length) = (*id, end.needle().len());
        let rest = self.buffer.get(self.searched..).unwrap_or_default();
        let Some(at) = end.find(rest) else {
            // A part of the end may be there.
            self.searched = self
                .buffer
                .len()
                .saturating_sub(length - 1)
                .max(self.searched);
            return None;
        };
        let data = self.buffer.split_to(self.searched + at).freeze();
        self.buffer.advance(length);
        (self.data, self.searched) = (None, 0);
        Some(Frame::Reply(id, Reply::Data(data)))
    }

    fn line_feed(&mut self) -> Option<usize> {
        let rest = self.buffer.get(self.searched..)?;
        let at = memchr(b'\n', rest).map(|at| self.searched + at);
        self.searched = self.buffer.len();
        at
    }

    fn read(&mut self, line: &str) -> Result<Option<Frame>, Garbled> {
        let mut words = line.splitn(3, ' ');
        let number = words.next().unwrap_or_default();
        let kind = words.next().unwrap_or_default();
        let rest = words.next().unwrap_or_default().to_owned();
        match number {
            "ready" => return Ok(Some(Frame::Ready)),
            "nostty" => return Ok(Some(Frame::NoStty)),
            _ => {}
        }
        let id = number.parse().map_err(|_| Garbled("it has no number"))?;
        let reply = match kind {
            "ok" => Reply::Ok(rest),
            "err" => Reply::Err(rest),
            "skip" => Reply::Skip,
            "sum" => Reply::Sum,
            "data" => {
                let end = [
                    b"\n",
                    self.mark.as_slice(),
                    format!("{id} end\n").as_bytes(),
                ]
                .concat();
                self.data = Some((id, Finder::new(&end).into_owned()));
                return Ok(None);
            }
            _ => return Err(Garbled("it is of no known kind")),
        };
        Ok(Some(Frame::Reply(id, reply)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] =
        b"motd\n\n@m ready\n@m 1 ok 5 x\nnoise\n@m 2 data\nab\n@m 3 ok\n\n\n@m 2 end\n\
        @m 3 err No space left on device\n@m 4 data\n\n@m 4 end\n@m 5 skip\n@m 6 sum\n";

    fn frames(step: usize) -> Vec<Frame> {
        let mut frames = Frames::new("m");
        let mut all = Vec::new();
        for part in TEXT.chunks(step) {
            frames.push(part);
            while let Some(frame) = frames.next().expect("sense") {
                all.push(frame);
            }
        }
        assert_eq!(frames.noise(), "motd\n\nnoise");
        all
    }

    #[test]
    fn frames_are_the_same_however_they_come() {
        let expected = [
            Frame::Ready,
            Frame::Reply(1, Reply::Ok("5 x".to_owned())),
            Frame::Reply(2, Reply::Data(Bytes::from_static(b"ab\n@m 3 ok\n\n"))),
            Frame::Reply(3, Reply::Err("No space left on device".to_owned())),
            Frame::Reply(4, Reply::Data(Bytes::new())),
            Frame::Reply(5, Reply::Skip),
            Frame::Reply(6, Reply::Sum),
        ];
        for step in 1..TEXT.len() {
            assert_eq!(frames(step), expected, "{step}");
        }
    }

    #[test]
    fn what_has_no_end_is_looked_through_once() {
        let mut frames = Frames::new("m");
        for head in ["", "x\n@m 1 data\n"] {
            frames.push(head.as_bytes());
            for _ in 0..3 {
                frames.push(&[b'x'; 100]);
                assert_eq!(frames.next(), Ok(None));
                // But for what may be a part of the end.
                assert!(frames.searched + "\n@m 1 end\n".len() > frames.unread());
            }
        }
        assert_eq!(frames.unread(), 300);
        assert!(frames.noise.len() <= NOISE);
    }

    #[test]
    fn nonsense_is_told() {
        for text in ["@m x ok\n", "@m 1\n", "@m 1 what\n"] {
            let mut frames = Frames::new("m");
            frames.push(text.as_bytes());
            assert!(frames.next().is_err(), "{text}");
        }
    }
}
