//! What the node's program answers: a length as four bytes, the lowest first, a line of that
//! length, and behind the line `ID data COUNT` so many bytes.

use bytes::{Buf as _, BytesMut};

use super::super::frame::{Garbled, Reply};

/// The longest line, in bytes.
const LINE: usize = 64 << 10;
/// The most bytes of an answer.
const MOST: usize = 64 << 20;

/// Takes bytes, gives answers.
#[derive(Debug, Default)]
pub struct Answers {
    buffer: BytesMut,
    /// Bytes that are to come, and for which command.
    data: Option<(u64, usize)>,
}

impl Answers {
    /// Takes more.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Bytes of an answer that is not whole.
    pub fn unread(&self) -> usize {
        self.buffer.len()
    }

    /// The next answer, if it is complete.
    ///
    /// # Errors
    ///
    /// The answers make no sense.
    pub fn next(&mut self) -> Result<Option<(u64, Reply)>, Garbled> {
        loop {
            if let Some((id, count)) = self.data {
                if self.buffer.len() < count {
                    return Ok(None);
                }
                self.data = None;
                let data = self.buffer.split_to(count).freeze();
                return Ok(Some((id, Reply::Data(data))));
            }
            let Some(length) = self.buffer.first_chunk().copied().map(u32::from_le_bytes) else {
                return Ok(None);
            };
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            if length > LINE {
                return Err(Garbled("it has no end"));
            }
            if self.buffer.len() < 4 + length {
                return Ok(None);
            }
            self.buffer.advance(4);
            let line = self.buffer.split_to(length);
            if let Some(answer) = self.read(&String::from_utf8_lossy(&line))? {
                return Ok(Some(answer));
            }
        }
    }

    fn read(&mut self, line: &str) -> Result<Option<(u64, Reply)>, Garbled> {
        let mut words = line.splitn(3, ' ');
        let id = words.next().and_then(|word| word.parse().ok());
        let id = id.ok_or(Garbled("it has no number"))?;
        let kind = words.next().unwrap_or_default();
        let rest = words.next().unwrap_or_default();
        let reply = match kind {
            "ok" => Reply::Ok(rest.to_owned()),
            "err" => Reply::Err(rest.to_owned()),
            "skip" => Reply::Skip,
            "sum" => Reply::Sum,
            "data" => {
                let count = rest.parse().ok().filter(|count| *count <= MOST);
                self.data = Some((id, count.ok_or(Garbled("it has no end"))?));
                return Ok(None);
            }
            _ => return Err(Garbled("it is of no known kind")),
        };
        Ok(Some((id, reply)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn line(text: &str) -> Vec<u8> {
        [&(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()
    }

    #[test]
    fn answers_are_the_same_however_they_come() {
        let text = [
            line("0 ok"),
            line("1 ok 5 x -"),
            line("2 data 3"),
            b"a\n\0".to_vec(),
            line("3 err No space left on device"),
            line("4 data 0"),
            line("5 skip"),
            line("6 sum"),
        ]
        .concat();
        let expected = [
            (0, Reply::Ok(String::new())),
            (1, Reply::Ok("5 x -".to_owned())),
            (2, Reply::Data(Bytes::from_static(b"a\n\0"))),
            (3, Reply::Err("No space left on device".to_owned())),
            (4, Reply::Data(Bytes::new())),
            (5, Reply::Skip),
            (6, Reply::Sum),
        ];
        for step in 1..text.len() {
            let mut answers = Answers::default();
            let mut all = Vec::new();
            for part in text.chunks(step) {
                answers.push(part);
                while let Some(answer) = answers.next().expect("sense") {
                    all.push(answer);
                }
            }
            assert_eq!(all, expected, "{step}");
        }
    }

    #[test]
    fn nonsense_is_told() {
        for text in ["x ok", "1", "1 what", "1 data", "1 data 99999999999"] {
            let mut answers = Answers::default();
            answers.push(&line(text));
            assert!(answers.next().is_err(), "{text}");
        }
        let mut answers = Answers::default();
        answers.push(b"HTTP/1.1 400 Bad Request\r\n");
        assert!(answers.next().is_err());
    }
}
