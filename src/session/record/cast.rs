//! Events as lines of an asciicast.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::protocol::payload::Size;

/// What happened, and when it did since the beginning.
pub struct Entry {
    pub at: Duration,
    pub kind: Kind,
    /// None where the kind says it all.
    pub bytes: Bytes,
}

#[derive(Clone, Copy)]
pub enum Kind {
    Output,
    Errors,
    Input,
    Resize(Size),
    /// So many bytes were left out here.
    Gap(u64),
}

/// The first line.
pub fn header(title: &str, size: Size, unix_seconds: u64) -> String {
    let mut env = serde_json::Map::new();
    for name in ["SHELL", "TERM"] {
        if let Some(value) = std::env::var(name).ok().filter(|value| !value.is_empty()) {
            env.insert(name.to_owned(), Value::String(value));
        }
    }
    let header = json!({
        "version": 2,
        "width": size.cols,
        "height": size.rows,
        "timestamp": unix_seconds,
        "title": title,
        "env": env,
    });
    format!("{header}\n")
}

/// Makes lines of events, in their order.
pub struct Encoder {
    /// Output is no terminal's: its lines end without carriage returns.
    bare: bool,
    last: Duration,
    output: Utf8,
    errors: Utf8,
    input: Utf8,
}

impl Encoder {
    pub fn new(bare: bool) -> Self {
        Self {
            bare,
            last: Duration::ZERO,
            output: Utf8::default(),
            errors: Utf8::default(),
            input: Utf8::default(),
        }
    }

    /// Appends the line of an event, if there is anything to say yet.
    pub fn encode(&mut self, entry: &Entry, out: &mut String) {
        self.last = entry.at;
        let bare = self.bare;
        match entry.kind {
            Kind::Output => line(
                entry.at,
                "o",
                &shown(self.output.feed(&entry.bytes), bare),
                out,
            ),
            Kind::Errors => line(
                entry.at,
                "o",
                &shown(self.errors.feed(&entry.bytes), bare),
                out,
            ),
            Kind::Input => line(entry.at, "i", &self.input.feed(&entry.bytes), out),
            Kind::Resize(Size { cols, rows }) => {
                line(entry.at, "r", &format!("{cols}x{rows}"), out)
            }
            Kind::Gap(bytes) => line(entry.at, "m", &format!("{bytes} bytes are missing"), out),
        }
    }

    /// Appends what was held back, which is nothing but the beginning of a character.
    pub fn finish(&mut self, out: &mut String) {
        line(self.last, "o", &self.output.finish(), out);
        line(self.last, "o", &self.errors.finish(), out);
        line(self.last, "i", &self.input.finish(), out);
    }
}

fn shown(text: String, bare: bool) -> String {
    match bare {
        true => text.replace("\r\n", "\n").replace('\n', "\r\n"),
        false => text,
    }
}

fn line(at: Duration, code: &str, data: &str, out: &mut String) {
    if data.is_empty() {
        return;
    }
    let data = Value::String(data.to_owned());
    let (seconds, micros) = (at.as_secs(), at.subsec_micros());
    out.push_str(&format!("[{seconds}.{micros:06}, \"{code}\", {data}]\n"));
}

/// Makes text of bytes that come in pieces.
#[derive(Default)]
struct Utf8 {
    /// The beginning of a character, three bytes at the most.
    held: Vec<u8>,
}

impl Utf8 {
    /// The text up to the last whole character; what is none is U+FFFD.
    fn feed(&mut self, bytes: &[u8]) -> String {
        let mut all = std::mem::take(&mut self.held);
        all.extend_from_slice(bytes);
        let mut text = String::with_capacity(all.len());
        let mut rest = all.as_slice();
        while let Some(chunk) = rest.utf8_chunks().next() {
            text.push_str(chunk.valid());
            let invalid = chunk.invalid();
            rest = rest
                .get(chunk.valid().len() + invalid.len()..)
                .unwrap_or_default();
            if rest.is_empty() && is_beginning(invalid) {
                self.held = invalid.to_vec();
            } else if !invalid.is_empty() {
                text.push(char::REPLACEMENT_CHARACTER);
            }
        }
        text
    }

    fn finish(&mut self) -> String {
        match std::mem::take(&mut self.held).is_empty() {
            true => String::new(),
            false => char::REPLACEMENT_CHARACTER.to_string(),
        }
    }
}

/// Whether more bytes could make a character of these.
fn is_beginning(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(millis: u64, kind: Kind, bytes: &[u8]) -> Entry {
        Entry {
            at: Duration::from_millis(millis),
            kind,
            bytes: Bytes::copy_from_slice(bytes),
        }
    }

    fn encoded(bare: bool, entries: &[Entry]) -> String {
        let mut encoder = Encoder::new(bare);
        let mut out = String::new();
        for entry in entries {
            encoder.encode(entry, &mut out);
        }
        encoder.finish(&mut out);
        out
    }

    #[test]
    fn events_are_lines() {
        let entries = [
            entry(0, Kind::Output, b"a\x1b[1m\"\r\n"),
            entry(1_500, Kind::Input, b"\x03"),
            entry(
                2_000,
                Kind::Resize(Size {
                    cols: 100,
                    rows: 50,
                }),
                b"",
            ),
            entry(3_000, Kind::Gap(7), b""),
        ];
        assert_eq!(
            encoded(false, &entries),
            "[0.000000, \"o\", \"a\\u001b[1m\\\"\\r\\n\"]\n\
             [1.500000, \"i\", \"\\u0003\"]\n\
             [2.000000, \"r\", \"100x50\"]\n\
             [3.000000, \"m\", \"7 bytes are missing\"]\n"
        );
    }

    #[test]
    fn output_of_pipes_gets_carriage_returns() {
        let entries = [entry(0, Kind::Output, b"a\nb\r\n")];
        assert!(encoded(true, &entries).contains(r#""a\r\nb\r\n""#));
        assert!(encoded(false, &entries).contains(r#""a\nb\r\n""#));
    }

    #[test]
    fn characters_are_kept_whole_within_each_stream() {
        let euro = "€".as_bytes();
        let entries = [
            entry(0, Kind::Output, &euro[..1]),
            entry(1, Kind::Errors, b"x"),
            entry(2, Kind::Output, &euro[1..]),
            entry(3, Kind::Output, b"\xff\xc3"),
        ];
        assert_eq!(
            encoded(false, &entries),
            "[0.001000, \"o\", \"x\"]\n[0.002000, \"o\", \"€\"]\n\
             [0.003000, \"o\", \"\u{fffd}\"]\n[0.003000, \"o\", \"\u{fffd}\"]\n"
        );
    }

    #[test]
    fn the_header_is_one_line_of_json() {
        let text = header("i-1, \"me\"\n", Size { cols: 80, rows: 24 }, 1_795_552_680);
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(text.lines().count(), 1);
        assert_eq!(
            (&value["version"], &value["width"]),
            (&2.into(), &80.into())
        );
        assert_eq!(value["timestamp"], 1_795_552_680_u64);
        assert!(value["env"].is_object());
    }

    proptest! {
        #[test]
        fn splits_do_not_matter(bytes: Vec<u8>, at: prop::sample::Index) {
            let at = at.index(bytes.len() + 1);
            let mut utf8 = Utf8::default();
            let mut text = utf8.feed(&bytes[..at]);
            prop_assert!(utf8.held.len() <= 3);
            text += &utf8.feed(&bytes[at..]);
            text += &utf8.finish();
            prop_assert_eq!(text, String::from_utf8_lossy(&bytes));
        }
    }
}
