//! Program output on its way into messages: cut, prefixed, and held back inside a character.

use bytes::Bytes;

/// What the agent reads at most at once, hence what a message holds as a rule, in bytes.
pub(super) const CHUNK: usize = 1024;
/// So many bytes at the end could still become a character, in bytes.
const HELD_BACK: usize = 3;

/// Cuts one stream of a program's output.
///
/// Agents read characters, and take U+FFFD for a failure to do so. One that they cannot read
/// within the last three bytes waits for more output with all that is behind it, and is lost if
/// there is none; others pass byte by byte, so that a genuine U+FFFD loses its last two bytes.
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
            let chunk = output.split_to((CHUNK - self.prefix.len()).min(output.len()));
            let plain = self.carry.is_empty() && self.prefix.is_empty();
            let payload = if plain && chunk.is_ascii() {
                chunk
            } else {
                self.filter(&chunk)
            };
            if !payload.is_empty() {
                emit(payload);
            }
        }
    }

    fn filter(&mut self, chunk: &[u8]) -> Bytes {
        let mut bytes = std::mem::take(&mut self.carry);
        if !self.within_line {
            bytes.extend_from_slice(&self.prefix);
        }
        bytes.extend_from_slice(chunk);
        self.within_line = !chunk.ends_with(b"\n");
        let mut out = Vec::with_capacity(bytes.len());
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let (passes, loses) = readable(rest);
            let (passing, behind) = rest.split_at(passes);
            out.extend_from_slice(passing);
            rest = behind;
            if rest.len() <= HELD_BACK {
                self.carry = rest.to_vec();
                break;
            }
            out.extend(rest.first());
            rest = rest.get(loses..).unwrap_or_default();
        }
        out.into()
    }
}

/// How many bytes are characters that agents can read, and how long the one behind them is that
/// they cannot.
fn readable(bytes: &[u8]) -> (usize, usize) {
    let valid = match std::str::from_utf8(bytes) {
        Ok(valid) => valid,
        Err(error) => {
            let (valid, _) = bytes.split_at(error.valid_up_to());
            std::str::from_utf8(valid).unwrap_or_default()
        }
    };
    let replacement = char::REPLACEMENT_CHARACTER;
    match valid.find(replacement) {
        Some(at) => (at, replacement.len_utf8()),
        None => (valid.len(), 1),
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
        assert_eq!(cut(&mut cutter, b"\xff\xfea\x80bcd"), [b"\xff\xfea\x80bcd"]);
        assert_eq!(cut(&mut cutter, "a\u{fffd}b".as_bytes()), [b"a\xefb"]);
    }

    /// Recorded from an agent: what it sent for these writes of a program.
    #[test]
    fn what_cannot_be_read_at_the_end_waits_with_what_is_behind_it() {
        let mut cutter = Cutter::default();
        assert_eq!(cut(&mut cutter, b"a\xff\xfe"), [b"a"]);
        assert_eq!(cut(&mut cutter, b"xy\xef\xbf\xbd"), [b"\xff\xfexy"]);
        assert_eq!(cut(&mut cutter, b"zz"), [b"\xefzz"]);
        assert_eq!(cut(&mut cutter, b"\xff> "), Vec::<Vec<u8>>::new());
        assert_eq!(cut(&mut cutter, b"ls"), [b"\xff> ls"]);
    }

    #[test]
    fn the_prefix_marks_the_start_and_each_chunk_behind_a_line() {
        let mut cutter = Cutter::new("E:");
        assert_eq!(cut(&mut cutter, b"a"), [b"E:a".to_vec()]);
        assert_eq!(cut(&mut cutter, b"b\n"), [b"b\n".to_vec()]);
        assert_eq!(cut(&mut cutter, b"c\nd\n"), [b"E:c\nd\n".to_vec()]);
        assert_eq!(cut(&mut cutter, b"\xff\n"), [b"E:".to_vec()]);
        assert_eq!(cut(&mut cutter, b"f\n"), [b"\xff\nE:f\n".to_vec()]);
    }
}
