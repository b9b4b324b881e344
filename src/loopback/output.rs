//! Program output on its way into messages: cut, prefixed, and held back inside a character.

use bytes::Bytes;

/// What the agent reads at most at once, hence what a message holds as a rule, in bytes.
pub(super) const CHUNK: usize = 1024;

/// Cuts one stream of a program's output.
///
/// An incomplete UTF-8 sequence waits for the rest (and is lost if there is none); other invalid
/// bytes pass one by one; a genuine U+FFFD loses its last two bytes, as agents do it.
#[derive(Debug, Default)]
pub(super) struct Cutter {
    carry: Vec<u8>,
    prefix: Vec<u8>,
    within_line: bool,
}

impl Cutter {
    /// `prefix` goes before the first chunk, and before each that follows one ending in LF.
    pub(super) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.as_bytes().to_vec(),
            ..Self::default()
        }
    }

    /// Gives the payloads that `output` makes, in order.
    pub(super) fn cut(&mut self, mut output: Bytes, mut emit: impl FnMut(Bytes)) {
        while !output.is_empty() {
            let chunk = output.split_to(CHUNK.min(output.len()));
            let plain = self.carry.is_empty() && self.prefix.is_empty();
            let payload = if plain && chunk.is_ascii() {
                chunk
            } else {
                self.filter(&chunk)
            };
            if !payload.is_empty() {
                self.within_line = !payload.ends_with(b"\n");
                emit(payload);
            }
        }
    }

    fn filter(&mut self, chunk: &[u8]) -> Bytes {
        let mut out = Vec::with_capacity(self.prefix.len() + self.carry.len() + chunk.len());
        if !self.within_line {
            out.extend_from_slice(&self.prefix);
        }
        let prefix = out.len();
        let mut bytes = std::mem::take(&mut self.carry);
        bytes.extend_from_slice(chunk);
        let mut chunks = bytes.utf8_chunks().peekable();
        while let Some(part) = chunks.next() {
            for text in part.valid().split_inclusive('\u{fffd}') {
                match text.strip_suffix('\u{fffd}') {
                    Some(text) => {
                        out.extend_from_slice(text.as_bytes());
                        out.push(0xef);
                    }
                    None => out.extend_from_slice(text.as_bytes()),
                }
            }
            let invalid = part.invalid();
            if chunks.peek().is_none() && is_incomplete(invalid) {
                self.carry = invalid.to_vec();
            } else {
                out.extend_from_slice(invalid);
            }
        }
        if out.len() == prefix {
            return Bytes::new();
        }
        out.into()
    }
}

/// Whether more bytes could make a character of it.
fn is_incomplete(bytes: &[u8]) -> bool {
    match std::str::from_utf8(bytes) {
        Ok(_) => false,
        Err(error) => error.error_len().is_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(cutter: &mut Cutter, output: &[u8]) -> Vec<Vec<u8>> {
        let mut payloads = Vec::new();
        cutter.cut(Bytes::copy_from_slice(output), |payload| {
            payloads.push(payload.to_vec());
        });
        payloads
    }

    #[test]
    fn long_output_is_cut() {
        let lengths: Vec<usize> = cut(&mut Cutter::default(), &[b'a'; 2500])
            .iter()
            .map(Vec::len)
            .collect();
        assert_eq!(lengths, [1024, 1024, 452]);
    }

    #[test]
    fn a_split_character_waits_for_its_rest() {
        let mut cutter = Cutter::default();
        assert_eq!(cut(&mut cutter, b"a\xe2\x82"), [b"a"]);
        assert_eq!(cut(&mut cutter, b"\xacb"), ["€b".as_bytes()]);
        assert_eq!(cut(&mut cutter, b"\xe2"), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn invalid_bytes_pass_and_a_replacement_character_shrinks() {
        let mut cutter = Cutter::default();
        assert_eq!(cut(&mut cutter, b"\xff\xfea\x80b"), [b"\xff\xfea\x80b"]);
        assert_eq!(cut(&mut cutter, "a\u{fffd}b".as_bytes()), [b"a\xefb"]);
    }

    #[test]
    fn the_prefix_marks_the_start_and_each_chunk_behind_a_line() {
        let mut cutter = Cutter::new("E:");
        assert_eq!(cut(&mut cutter, b"a"), [b"E:a".to_vec()]);
        assert_eq!(cut(&mut cutter, b"b\n"), [b"b\n".to_vec()]);
        assert_eq!(cut(&mut cutter, b"c\nd\n"), [b"E:c\nd\n".to_vec()]);
    }
}
