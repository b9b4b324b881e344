//! The end of a command on a terminal: a mark in its output that tells its exit status.

use bytes::Bytes;

/// Digits that a status may have, with its sign.
const DIGITS: usize = 11;

/// Takes the mark, and what stands behind it, out of the output.
#[derive(Debug)]
pub struct Mark {
    mark: Vec<u8>,
    /// May be the beginning of the mark.
    held: Vec<u8>,
    status: Option<i32>,
}

impl Mark {
    /// For a text that nothing else prints.
    pub fn new(mark: &str) -> Self {
        Self {
            mark: mark.as_bytes().to_vec(),
            held: Vec::new(),
            status: None,
        }
    }

    /// The output without what is, or may become, the mark.
    pub fn feed(&mut self, data: Bytes) -> Bytes {
        if self.status.is_some() {
            return Bytes::new();
        }
        let data = match self.held.is_empty() {
            true => data,
            false => {
                let mut held = std::mem::take(&mut self.held);
                held.extend_from_slice(&data);
                held.into()
            }
        };
        let starts = data.iter().enumerate();
        let first = self.mark.first();
        for (at, _) in starts.filter(|(_, byte)| Some(*byte) == first) {
            let (before, rest) = data.split_at(at);
            match self.read(rest) {
                Reading::Other => {}
                Reading::Cut => self.held = rest.to_vec(),
                Reading::Status(status) => self.status = Some(status),
            }
            if self.status.is_some() || !self.held.is_empty() {
                return data.slice(..before.len());
            }
        }
        data
    }

    /// The status, once it is told.
    pub fn status(&self) -> Option<i32> {
        self.status
    }

    /// What was held back for nothing.
    pub fn finish(&mut self) -> Bytes {
        std::mem::take(&mut self.held).into()
    }

    fn read(&self, rest: &[u8]) -> Reading {
        let Some(number) = rest.strip_prefix(self.mark.as_slice()) else {
            return match self.mark.starts_with(rest) {
                true => Reading::Cut,
                false => Reading::Other,
            };
        };
        match number.iter().position(|byte| *byte == b';') {
            Some(end) => {
                let number = number.get(..end).and_then(|n| std::str::from_utf8(n).ok());
                match number.and_then(|number| number.parse().ok()) {
                    Some(status) => Reading::Status(status),
                    None => Reading::Other,
                }
            }
            None if number.len() <= DIGITS => Reading::Cut,
            None => Reading::Other,
        }
    }
}

enum Reading {
    Other,
    /// The end is missing.
    Cut,
    Status(i32),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(all: &[u8], size: usize) -> (Vec<u8>, Option<i32>) {
        let mut mark = Mark::new("ssmx-abc:");
        let mut out = Vec::new();
        for piece in all.chunks(size) {
            out.extend_from_slice(&mark.feed(Bytes::copy_from_slice(piece)));
        }
        out.extend_from_slice(&mark.finish());
        (out, mark.status())
    }

    #[test]
    fn the_mark_is_taken_out_however_it_is_cut() {
        for size in 1..30 {
            let (out, status) = feed(b"hello ssmx-ab ssmx-abc:-12;\r\n", size);
            assert_eq!(
                (out.as_slice(), status),
                (&b"hello ssmx-ab "[..], Some(-12)),
                "{size}"
            );
        }
    }

    #[test]
    fn what_is_no_mark_stays() {
        for text in [
            &b"ssmx-ab"[..],
            b"ssmx-abc:x;",
            b"sssssmx",
            b"ssmx-abc:1",
            b"",
        ] {
            for size in 1..12 {
                let (out, status) = feed(text, size);
                assert_eq!((out.as_slice(), status), (text, None), "{size}");
            }
        }
    }
}
