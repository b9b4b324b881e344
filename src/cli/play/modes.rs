//! What a recording switches on in the terminal, so that it can be switched off in the end.

use std::collections::BTreeSet;

/// Private modes that are on unless switched off: wrapping lines, and the cursor.
const ON: [u16; 2] = [7, 25];
/// The most modes that are kept in mind.
const MOST: usize = 64;

/// Follows `CSI ? … h` and `CSI ? … l` through what is shown.
#[derive(Debug, Default)]
pub struct Modes {
    state: State,
    numbers: Vec<u16>,
    /// Modes that are not as they usually are.
    changed: BTreeSet<u16>,
    /// Whether anything was shown.
    shown: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    Escape,
    Csi,
    Private,
}

impl Modes {
    /// Takes what is shown.
    pub fn note(&mut self, shown: &[u8]) {
        self.shown |= !shown.is_empty();
        for &byte in shown {
            self.state = match (self.state, byte) {
                (_, 0x1b) => State::Escape,
                (State::Text, _) => State::Text,
                (State::Escape, b'[') => State::Csi,
                (State::Csi, b'?') => {
                    self.numbers = vec![0];
                    State::Private
                }
                (State::Private, b'0'..=b'9') => {
                    if let Some(number) = self.numbers.last_mut() {
                        let digit = u16::from(byte - b'0');
                        *number = number.saturating_mul(10).saturating_add(digit);
                    }
                    State::Private
                }
                (State::Private, b';') if self.numbers.len() < MOST => {
                    self.numbers.push(0);
                    State::Private
                }
                (State::Private, b'h' | b'l') => {
                    self.set(byte == b'h');
                    State::Text
                }
                _ => State::Text,
            };
        }
    }

    fn set(&mut self, on: bool) {
        for number in std::mem::take(&mut self.numbers) {
            if ON.contains(&number) == on {
                self.changed.remove(&number);
            } else if self.changed.len() < MOST {
                self.changed.insert(number);
            }
        }
    }

    /// What brings the terminal back to what it usually is.
    pub fn undo(&self) -> String {
        if !self.shown {
            return String::new();
        }
        let mut text = String::new();
        for &number in &self.changed {
            let end = if ON.contains(&number) { 'h' } else { 'l' };
            text.push_str(&format!("\x1b[?{number}{end}"));
        }
        // No colours, the usual characters, and a line of its own for the prompt.
        text.push_str("\x1b[0m\x1b(B\r\n");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn undone(pieces: &[&str]) -> String {
        let mut modes = Modes::default();
        for piece in pieces {
            modes.note(piece.as_bytes());
        }
        modes.undo()
    }

    #[test]
    fn what_was_left_on_is_switched_off() {
        let end = "\x1b[0m\x1b(B\r\n";
        assert_eq!(undone(&[]), "");
        assert_eq!(undone(&["ls\r\n", "\x1b[1mx"]), end);
        assert_eq!(
            undone(&["\x1b[?1049h\x1b[?25l", "\x1b[?1049l\x1b[?25h"]),
            end
        );
        assert_eq!(
            undone(&["\x1b[?104", "9h\x1b", "[?25l\x1b[?1000;1006h"]),
            format!("\x1b[?25h\x1b[?1000l\x1b[?1006l\x1b[?1049l{end}")
        );
        // Other sequences are none of these.
        assert_eq!(undone(&["\x1b[4h\x1b[?6n\x1b]0;?25l\x07[?1h"]), end);
    }

    #[test]
    fn nothing_makes_it_grow_without_bound() {
        let mut modes = Modes::default();
        for number in 0..100_000 {
            modes.note(format!("\x1b[?{number};").as_bytes());
            modes.note(b"1;2;3;99999999h");
        }
        assert!(modes.changed.len() <= MOST);
    }
}
