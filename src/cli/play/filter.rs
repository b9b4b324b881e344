//! What of a recording a terminal gets to see: not what makes it answer, as a player has no use
//! for answers and the shell behind it would take them for something typed, nor what reaches
//! beyond the screen, such as the clipboard or a printer.

/// The longest control sequence, in bytes; none that shows anything is longer.
const SEQUENCE: usize = 256;
/// The longest title or address, in bytes.
const TEXT: usize = 4096;
/// Commands of the operating system (OSC) that only show: titles and links.
const SHOWN: [&str; 4] = ["0", "1", "2", "8"];

/// Takes out what is not for showing, wherever events part it.
#[derive(Debug, Default)]
pub struct Filter {
    state: State,
    /// Of a sequence, without what introduces it.
    held: String,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    Escape,
    /// CSI.
    Control,
    /// OSC.
    Command,
    /// DCS, SOS, PM or APC.
    Other,
}

impl Filter {
    /// The part of it that is for showing.
    pub fn feed(&mut self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        for c in text.chars() {
            self.take(c, &mut out);
        }
        out
    }

    fn take(&mut self, c: char, out: &mut String) {
        match (self.state, c) {
            (State::Command, '\u{7}' | '\u{9c}') => self.end_command(out),
            (State::Command, '\u{1b}') => {
                // It ends with a backslash behind this; whatever else follows cuts it off.
                self.end_command(out);
                self.state = State::Escape;
            }
            (_, '\u{1b}') => self.state = State::Escape,
            // These break off whatever it is.
            (_, '\u{18}' | '\u{1a}' | '\u{9c}') => self.state = State::Text,
            (State::Text, '\u{5}' | '\u{80}'..='\u{9f}') => {}
            (State::Text, c) => out.push(c),
            (State::Escape, c) => self.escape(c, out),
            (State::Control, '@'..='~') => {
                if shows(&self.held, c) {
                    out.push_str("\u{1b}[");
                    out.push_str(&self.held);
                    out.push(c);
                }
                self.state = State::Text;
            }
            (State::Control, ' '..='?') if self.held.len() < SEQUENCE => self.held.push(c),
            // Terminals obey these within a sequence.
            (State::Control, '\u{7}'..='\u{d}') => out.push(c),
            (State::Control, _) => self.state = State::Text,
            (State::Command, c) if c.is_control() => {}
            (State::Command, c) if self.held.len() < TEXT => self.held.push(c),
            (State::Command, _) => self.state = State::Other,
            (State::Other, _) => {}
        }
    }

    fn escape(&mut self, c: char, out: &mut String) {
        self.held.clear();
        self.state = match c {
            '[' => State::Control,
            ']' => State::Command,
            'P' | 'X' | '^' | '_' => State::Other,
            // Asks who it is, and ends what was not shown.
            'Z' | '\\' => State::Text,
            c if c.is_ascii() && !c.is_ascii_control() => {
                out.push('\u{1b}');
                out.push(c);
                State::Text
            }
            _ => State::Text,
        };
    }

    fn end_command(&mut self, out: &mut String) {
        let number = self.held.split(';').next().unwrap_or_default();
        if SHOWN.contains(&number) {
            out.push_str(&format!("\u{1b}]{}\u{7}", self.held));
        }
        self.state = State::Text;
    }
}

/// Whether a control sequence with this end shows something, or changes how.
fn shows(held: &str, end: char) -> bool {
    let is_private = held.starts_with(['?', '>', '=', '<']);
    match end {
        // Reports of the device, of states and positions, of sizes and titles; printing.
        'c' | 'n' | 't' | 'x' | 'y' | 'i' => false,
        // The state of a mode, the terminal's version, its keyboard, its graphics, a checksum.
        'p' => !held.ends_with('$'),
        'q' | 'S' => !is_private,
        'u' => held.is_empty(),
        'w' | '|' => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        Filter::default().feed(text)
    }

    #[test]
    fn what_shows_passes() {
        for text in [
            "ä\r\n\t\u{8}\u{7}日本",
            "\u{1b}[1;31mred\u{1b}[0m\u{1b}[2J\u{1b}[H\u{1b}[10;20H\u{1b}[K",
            "\u{1b}[?1049h\u{1b}[?25l\u{1b}[4h\u{1b}[2 q\u{1b}[3S\u{1b}[!p\u{1b}[s\u{1b}[u",
            "\u{1b}(B\u{1b}7\u{1b}8\u{1b}M\u{1b}=\u{1b}#8\u{1b}c",
            "\u{1b}]0;title; more\u{7}\u{1b}]8;;https://x\u{7}link\u{1b}]8;;\u{7}",
        ] {
            assert_eq!(shown(text), text);
        }
        assert_eq!(shown("\u{1b}]2;t\u{1b}\\x"), "\u{1b}]2;t\u{7}x");
        assert_eq!(shown("\u{1b}[1\r2mx"), "\r\u{1b}[12mx");
    }

    #[test]
    fn what_asks_or_reaches_out_does_not() {
        for text in [
            "\u{5}\u{1b}Z",
            "\u{1b}[c\u{1b}[>c\u{1b}[0c\u{1b}[6n\u{1b}[?6n\u{1b}[5n\u{1b}[21t\u{1b}[x",
            "\u{1b}[?2026$p\u{1b}[>q\u{1b}[?u\u{1b}[?1;1;0S\u{1b}[5i\u{1b}[1;1;1;1;1;1*y",
            "\u{1b}]52;c;aGk=\u{7}\u{1b}]52;c;?\u{1b}\\\u{1b}]11;?\u{7}\u{1b}]1337;File=:\u{7}",
            "\u{1b}P$q q\u{1b}\\\u{1b}P+q544e\u{1b}\\\u{1b}_Gt=f;L2V0Yw==\u{1b}\\\u{1b}^x\u{1b}\\",
            "\u{9b}6n\u{9d}52;c;aGk=\u{9c}\u{90}",
        ] {
            let left = shown(text);
            let is_harmless = !left.contains(|c: char| c.is_control());
            assert!(is_harmless, "{text:?} shows {left:?}");
        }
        assert_eq!(shown("a\u{1b}[6\u{18}b\u{1b}]52;c;aGk=\u{1a}c"), "abc");
        // A sequence within another one is one.
        assert_eq!(shown("\u{1b}]52;\u{1b}[31mx"), "\u{1b}[31mx");
    }

    #[test]
    fn nothing_makes_it_grow_without_bound() {
        for start in ["\u{1b}[", "\u{1b}]2;", "\u{1b}P", "\u{1b}"] {
            let mut filter = Filter::default();
            filter.feed(start);
            for _ in 0..1000 {
                filter.feed(&"1;".repeat(100));
            }
            assert!(filter.held.len() <= TEXT + 4, "{start:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn splits_do_not_matter(text in r"[\x1b\[\]\\P_;?0-9a-z\x07\x18\x05\u{9b}\u{9c} é]{0,60}", at in 0..60usize) {
            let at = text.char_indices().nth(at).map_or(text.len(), |(at, _)| at);
            let mut filter = Filter::default();
            let parted = filter.feed(&text[..at]) + &filter.feed(&text[at..]);
            proptest::prop_assert_eq!(parted, shown(&text));
        }
    }
}
