//! What the wrapper prints: lines that begin with STX and a letter, among whatever else is
//! written to the terminal.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// Begins a frame: nothing else writes it, and a frame behind half a line is found by it.
const START: u8 = 2;
/// The longest frame. Larger than any that the wrapper makes.
const LONGEST: usize = 16 * 1024;

/// How the wrapper and we write bytes as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// The node has base64.
    Base64,
    /// It has not: hexadecimal numbers from it, octal escapes to it.
    Numbers,
}

/// One thing that the wrapper says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// It is at work and takes input.
    Started(Encoding),
    /// Bytes of the command's standard output.
    Output(Vec<u8>),
    /// Bytes of its standard error.
    Errors(Vec<u8>),
    /// So many bytes of text were passed on to the command as input.
    Taken(usize),
    /// The command takes no more input.
    Closed,
    /// The command has ended with this status; output may follow.
    Exit(i32),
    /// All output is told.
    Done,
    /// No frame: written to the terminal by whoever has it open.
    Foreign(Vec<u8>),
}

/// Takes frames out of a terminal's output, however that is cut.
#[derive(Debug, Default)]
pub struct Frames {
    line: Vec<u8>,
    encoding: Option<Encoding>,
}

impl Frames {
    /// Reads what came next.
    pub fn feed(&mut self, data: &[u8], mut emit: impl FnMut(Frame)) {
        for piece in data.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                self.read(&line, &mut emit);
            } else if self.line.first() != Some(&START) || self.line.len() > LONGEST {
                // A prompt ends in no line. The frame behind it is told by its start.
                let at = self.line.iter().position(|byte| *byte == START);
                let at = at.filter(|at| *at > 0).unwrap_or(self.line.len());
                let rest = self.line.split_off(at);
                let foreign = std::mem::replace(&mut self.line, rest);
                if !foreign.is_empty() {
                    emit(Frame::Foreign(foreign));
                }
            }
        }
    }

    fn read(&mut self, line: &[u8], emit: &mut impl FnMut(Frame)) {
        let at = line.iter().rposition(|byte| *byte == START);
        let frame = at.and_then(|at| {
            let (before, frame) = line.split_at(at);
            Some((before, self.frame(frame.get(1..)?.trim_ascii_end())?))
        });
        match frame {
            Some((before, frame)) => {
                if !before.is_empty() {
                    emit(Frame::Foreign(before.to_vec()));
                }
                if let Frame::Started(encoding) = frame {
                    self.encoding = Some(encoding);
                }
                emit(frame);
            }
            None => emit(Frame::Foreign(line.to_vec())),
        }
    }

    fn frame(&self, frame: &[u8]) -> Option<Frame> {
        let (kind, text) = frame.split_first()?;
        let number = || std::str::from_utf8(text).ok()?.parse::<i32>().ok();
        Some(match (kind, self.encoding) {
            (b'S', None) => Frame::Started(match text {
                b"1b" => Encoding::Base64,
                b"1o" => Encoding::Numbers,
                _ => return None,
            }),
            (_, None) => return None,
            (b'O', Some(encoding)) => Frame::Output(decode(text, encoding)?),
            (b'E', Some(encoding)) => Frame::Errors(decode(text, encoding)?),
            (b'A', _) => Frame::Taken(usize::try_from(number()?).ok()?),
            (b'C', _) if text.is_empty() => Frame::Closed,
            (b'X', _) => Frame::Exit(number()?),
            (b'Z', _) if text.is_empty() => Frame::Done,
            _ => return None,
        })
    }
}

fn decode(text: &[u8], encoding: Encoding) -> Option<Vec<u8>> {
    match encoding {
        Encoding::Base64 => BASE64.decode(text).ok(),
        Encoding::Numbers => {
            let digit = |byte: u8| char::from(byte).to_digit(16);
            let pairs = text.chunks(2).map(|pair| match *pair {
                [high, low] => u8::try_from(digit(high)? * 16 + digit(low)?).ok(),
                _ => None,
            });
            pairs.collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(pieces: &[&[u8]]) -> Vec<Frame> {
        let mut frames = Frames::default();
        let mut told = Vec::new();
        for piece in pieces {
            frames.feed(piece, |frame| told.push(frame));
        }
        told
    }

    #[test]
    fn frames_are_read_however_they_are_cut() {
        let all: &[u8] = b"\x02S1b\n\x02OaGk=\r\n\x02EAP8=\n\x02A12\n\x02C\n\x02X3\n\x02Z\n";
        let expected = [
            Frame::Started(Encoding::Base64),
            Frame::Output(b"hi".to_vec()),
            Frame::Errors(vec![0, 255]),
            Frame::Taken(12),
            Frame::Closed,
            Frame::Exit(3),
            Frame::Done,
        ];
        for size in 1..all.len() {
            let pieces: Vec<&[u8]> = all.chunks(size).collect();
            assert_eq!(feed(&pieces), expected, "{size}");
        }
        let told = feed(&[b"\x02S1o\n\x02O00fF\n"]);
        assert_eq!(told[1..], [Frame::Output(vec![0, 255])]);
    }

    #[test]
    fn what_others_write_is_told_apart_at_once() {
        let told = feed(&[
            b"\x02S1b\nPassword: ",
            b"\x02OaGk=\nx\x02OaGk=\n",
            b"\x02O?\n",
        ]);
        let foreign = |text: &[u8]| Frame::Foreign(text.to_vec());
        assert_eq!(
            told[1..],
            [
                foreign(b"Password: "),
                Frame::Output(b"hi".to_vec()),
                foreign(b"x"),
                Frame::Output(b"hi".to_vec()),
                foreign(b"\x02O?\n"),
            ]
        );
    }

    #[test]
    fn nothing_is_believed_before_the_start_nor_kept_without_end() {
        assert_eq!(feed(&[b"\x02X0\n"]), [Frame::Foreign(b"\x02X0\n".to_vec())]);
        let mut frames = Frames::default();
        for _ in 0..100 {
            frames.feed(&[START; 1000], |_| {});
            assert!(frames.line.len() <= LONGEST);
        }
    }
}
