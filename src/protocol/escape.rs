//! The escape keys of a shell: `~` as the first character of a line, then a command.

use bytes::Bytes;

/// What typed bytes amount to, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Typed {
    /// Bytes for the remote side.
    Input(Vec<u8>),
    /// `~.`: end the session, even without a network.
    Disconnect,
    /// `~?`: show the commands.
    Help,
    /// `~#`: show how the session is doing.
    Status,
    /// `~^Z`: stop this program, as job control does.
    Suspend,
    /// `~-`: no more escapes. The parser has already obeyed.
    Off,
}

/// Finds escape commands in what is typed. The escape character is held back until the next byte
/// tells what it means.
#[derive(Debug)]
pub struct EscapeParser {
    escape: Option<u8>,
    line_start: bool,
    held: bool,
}

impl EscapeParser {
    /// A parser for the character `escape`; `None` passes everything through.
    pub fn new(escape: Option<u8>) -> Self {
        Self {
            escape,
            line_start: true,
            held: false,
        }
    }

    /// Takes typed bytes.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Typed> {
        let mut out = Vec::new();
        let mut input = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            let Some(escape) = self.escape else {
                input.push(byte);
                continue;
            };
            if std::mem::take(&mut self.held) {
                let command = match byte {
                    b'.' => Typed::Disconnect,
                    b'?' => Typed::Help,
                    b'#' => Typed::Status,
                    0x1a => Typed::Suspend,
                    b'-' => {
                        self.escape = None;
                        Typed::Off
                    }
                    _ => {
                        input.push(escape);
                        if byte != escape {
                            input.push(byte);
                        }
                        self.line_start = matches!(byte, b'\r' | b'\n');
                        continue;
                    }
                };
                if !input.is_empty() {
                    out.push(Typed::Input(std::mem::take(&mut input)));
                }
                out.push(command);
            } else if self.line_start && byte == escape {
                self.held = true;
            } else {
                input.push(byte);
                self.line_start = matches!(byte, b'\r' | b'\n');
            }
        }
        if !input.is_empty() {
            out.push(Typed::Input(input));
        }
        out
    }

    /// The input has ended: what is still held back belongs to the remote side.
    pub fn finish(&mut self) -> Option<Typed> {
        let escape = self.escape?;
        std::mem::take(&mut self.held).then(|| Typed::Input(vec![escape]))
    }
}

/// What typed bytes are sent as. A line feed alone is a typed Enter, which agents on Windows
/// want as a carriage return; longer pieces, such as pasted text, stay as they are. Never for
/// data of port sessions.
pub fn typed_payload(typed: Vec<u8>) -> Bytes {
    match typed.as_slice() {
        b"\n" => Bytes::from_static(b"\r"),
        _ => typed.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(input: &[u8]) -> Vec<Typed> {
        EscapeParser::new(Some(b'~')).feed(input)
    }

    fn input(bytes: &[u8]) -> Typed {
        Typed::Input(bytes.to_vec())
    }

    #[test]
    fn commands_count_at_the_start_of_a_line_only() {
        assert_eq!(parse(b"~."), [Typed::Disconnect]);
        assert_eq!(parse(b"ls\r~."), [input(b"ls\r"), Typed::Disconnect]);
        assert_eq!(
            parse(b"ls\n~?x"),
            [input(b"ls\n"), Typed::Help, input(b"x")]
        );
        assert_eq!(parse(b"\r~#"), [input(b"\r"), Typed::Status]);
        assert_eq!(parse(b"a~."), [input(b"a~.")]);
        assert_eq!(parse(b"\r~\x1a"), [input(b"\r"), Typed::Suspend]);
        assert_eq!(parse(b"\r~~."), [input(b"\r~.")]);
        assert_eq!(parse(b"\r~/bin"), [input(b"\r~/bin")]);
        assert_eq!(parse(b"\r~\r~."), [input(b"\r~\r"), Typed::Disconnect]);
        assert_eq!(parse(b"~-\r~."), [Typed::Off, input(b"\r~.")]);
        assert_eq!(parse(b"~?~."), [Typed::Help, Typed::Disconnect]);
    }

    #[test]
    fn the_escape_character_is_held_until_its_meaning_is_known() {
        let mut parser = EscapeParser::new(Some(b'~'));
        assert_eq!(parser.feed(b"~"), []);
        assert_eq!(parser.feed(b"."), [Typed::Disconnect]);
        assert_eq!(parser.feed(b"~"), []);
        assert_eq!(parser.finish(), Some(input(b"~")));
        assert_eq!(parser.finish(), None);
    }

    proptest! {
        #[test]
        fn without_an_escape_character_every_byte_passes(bytes: Vec<u8>) {
            let out = EscapeParser::new(None).feed(&bytes);
            let expected = if bytes.is_empty() { vec![] } else { vec![Typed::Input(bytes)] };
            prop_assert_eq!(out, expected);
        }

        #[test]
        fn splits_do_not_matter(bytes in "[ab~.?\r-]{0,40}", at in 0usize..40) {
            let bytes = bytes.as_bytes();
            let at = at.min(bytes.len());
            let mut split = EscapeParser::new(Some(b'~'));
            let mut parts = split.feed(&bytes[..at]);
            parts.extend(split.feed(&bytes[at..]));
            prop_assert_eq!(merged(parts), merged(parse(bytes)));
        }
    }

    fn merged(parts: Vec<Typed>) -> Vec<Typed> {
        let mut out: Vec<Typed> = Vec::new();
        for part in parts {
            match (out.last_mut(), part) {
                (Some(Typed::Input(last)), Typed::Input(more)) => last.extend(more),
                (_, part) => out.push(part),
            }
        }
        out
    }
}
