//! Keys out of what a terminal in raw mode sends.

/// What a key does in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Char(char),
    Backspace,
    /// Takes back all that was typed.
    Clear,
    /// Takes back the last word.
    ClearWord,
    Up,
    Down,
    PageUp,
    PageDown,
    First,
    Last,
    Enter,
    Cancel,
}

/// Reads keys; what is not complete yet waits for more.
#[derive(Debug, Default)]
pub(super) struct Keys {
    waiting: Vec<u8>,
}

/// The longest sequence that a key may have, in bytes.
const LONGEST: usize = 32;

impl Keys {
    /// The keys that `bytes` complete.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Vec<Key> {
        self.waiting.extend_from_slice(bytes);
        let mut keys = Vec::new();
        let mut rest = self.waiting.as_slice();
        while let Some((key, length)) = key(rest) {
            keys.extend(key);
            rest = rest.get(length..).unwrap_or_default();
        }
        // A terminal does not send that.
        let rest = if rest.len() > LONGEST { &[] } else { rest };
        self.waiting = rest.to_vec();
        keys
    }

    /// Whether more may be about to come.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Nothing more came: a lone escape is the key of that name.
    pub(super) fn give_up(&mut self) -> Option<Key> {
        let was = std::mem::take(&mut self.waiting);
        (was == [0x1b]).then_some(Key::Cancel)
    }
}

/// The first key, if it does anything, and its length; `None` if it is not complete.
fn key(bytes: &[u8]) -> Option<(Option<Key>, usize)> {
    let key = match *bytes.first()? {
        b'\r' | b'\n' => Key::Enter,
        0x03 | 0x04 | 0x07 => Key::Cancel,
        0x08 | 0x7f => Key::Backspace,
        0x0b | 0x10 => Key::Up,
        0x0e | b'\t' => Key::Down,
        0x15 => Key::Clear,
        0x17 => Key::ClearWord,
        0x1b => return sequence(bytes),
        0x00..0x20 => return Some((None, 1)),
        _ => return character(bytes),
    };
    Some((Some(key), 1))
}

/// What begins with an escape: `ESC [ … letter`, `ESC O letter`.
fn sequence(bytes: &[u8]) -> Option<(Option<Key>, usize)> {
    match bytes.get(1)? {
        b'[' => {
            let body = bytes.get(2..)?;
            let end = body.iter().position(|byte| (0x40..0x7f).contains(byte))?;
            let parameter = body.get(..end).unwrap_or_default();
            let key = match (body.get(end), parameter) {
                (Some(b'A'), _) => Some(Key::Up),
                (Some(b'B'), _) => Some(Key::Down),
                (Some(b'H'), _) | (Some(b'~'), b"1" | b"7") => Some(Key::First),
                (Some(b'F'), _) | (Some(b'~'), b"4" | b"8") => Some(Key::Last),
                (Some(b'~'), b"5") => Some(Key::PageUp),
                (Some(b'~'), b"6") => Some(Key::PageDown),
                _ => None,
            };
            Some((key, end + 3))
        }
        b'O' => {
            let key = match bytes.get(2)? {
                b'A' => Some(Key::Up),
                b'B' => Some(Key::Down),
                b'H' => Some(Key::First),
                b'F' => Some(Key::Last),
                _ => None,
            };
            Some((key, 3))
        }
        // The escape key twice, or a letter with Alt.
        0x1b => Some((Some(Key::Cancel), 2)),
        _ => Some((None, 2)),
    }
}

/// A character in UTF-8; bytes that are none are passed over.
fn character(bytes: &[u8]) -> Option<(Option<Key>, usize)> {
    let most = bytes.get(..bytes.len().min(4)).unwrap_or_default();
    let valid = match std::str::from_utf8(most) {
        Ok(text) => text,
        Err(error) if error.valid_up_to() > 0 => {
            let valid = most.get(..error.valid_up_to()).unwrap_or_default();
            std::str::from_utf8(valid).unwrap_or_default()
        }
        // The rest of it is on its way.
        Err(error) if error.error_len().is_none() => return None,
        Err(_) => return Some((None, 1)),
    };
    let c = valid.chars().next()?;
    let key = (!c.is_control()).then_some(Key::Char(c));
    Some((key, c.len_utf8()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_out_however_their_bytes_come_in() {
        let bytes = "wé\u{1b}[A\u{1b}OB\u{1b}[5~\u{1b}[1;5B\u{1b}[3~日\x7f\x15\x17\r".as_bytes();
        let expected = [
            Key::Char('w'),
            Key::Char('é'),
            Key::Up,
            Key::Down,
            Key::PageUp,
            Key::Down,
            Key::Char('日'),
            Key::Backspace,
            Key::Clear,
            Key::ClearWord,
            Key::Enter,
        ];
        for size in 1..bytes.len() {
            let mut keys = Keys::default();
            let got: Vec<Key> = bytes.chunks(size).flat_map(|it| keys.feed(it)).collect();
            assert_eq!(got, expected, "{size}");
            assert!(!keys.is_waiting());
        }
    }

    #[test]
    fn a_lone_escape_cancels() {
        let mut keys = Keys::default();
        assert!(keys.feed(b"\x1b").is_empty());
        assert!(keys.is_waiting());
        assert_eq!(keys.give_up(), Some(Key::Cancel));
        assert_eq!(keys.give_up(), None);
        assert_eq!(keys.feed(b"\x03"), [Key::Cancel]);
    }

    #[test]
    fn nonsense_does_nothing() {
        let mut keys = Keys::default();
        assert_eq!(keys.feed(b"\xff\xfea\x01\x1bx"), [Key::Char('a')]);
        let endless = [b"\x1b[".as_slice(), &[b'0'; 100]].concat();
        assert!(keys.feed(&endless).is_empty());
        assert_eq!(keys.feed(b"b"), [Key::Char('b')]);
    }
}
