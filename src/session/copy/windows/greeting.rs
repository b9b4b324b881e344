//! What the node's program announces, among what a console is painted with.

/// What is kept of the text, in bytes: more than an announcement and what may stand around it.
const KEPT: usize = 4096;

/// What is announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Greeting {
    /// PowerShell reads the command.
    Windows,
    /// The program is at work, on this port.
    Port(u16),
    /// PowerShell may not do what the program needs.
    Limited,
}

/// Looks for an announcement: `@MARK windows;`, `@MARK port N;` or `@MARK limited;`.
#[derive(Debug)]
pub struct Greetings {
    mark: String,
    /// What came, without escape sequences and controls.
    text: Vec<u8>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Text,
    Escape,
    /// ESC [ … up to a letter.
    Sequence,
    /// ESC ] … up to BEL or ESC \.
    Title,
    TitleEscape,
}

impl Greetings {
    /// With this mark.
    pub fn new(mark: &str) -> Self {
        Self {
            mark: format!("@{mark} "),
            text: Vec::new(),
            state: State::Text,
        }
    }

    /// Reads what came next.
    pub fn read(&mut self, data: &[u8]) -> Option<Greeting> {
        for &byte in data {
            self.take(byte);
        }
        let found = self.find();
        if let Some(surplus) = self.text.len().checked_sub(KEPT) {
            self.text.drain(..surplus);
        }
        found
    }

    fn take(&mut self, byte: u8) {
        self.state = match (self.state, byte) {
            (State::Text, 0x1b) => State::Escape,
            (State::Text, byte) => {
                if byte >= b' ' {
                    self.text.push(byte);
                }
                State::Text
            }
            (State::Escape, b'[') => State::Sequence,
            (State::Escape, b']') => State::Title,
            (State::Escape, _) | (State::Sequence, b'@'..=b'~') => State::Text,
            (State::Sequence, _) => State::Sequence,
            (State::Title, 0x07) | (State::TitleEscape, b'\\') => State::Text,
            (State::Title | State::TitleEscape, 0x1b) => State::TitleEscape,
            (State::Title | State::TitleEscape, _) => State::Title,
        };
    }

    fn find(&self) -> Option<Greeting> {
        let text = String::from_utf8_lossy(&self.text);
        // The latest is whole if an earlier one was painted over.
        text.rmatch_indices(&self.mark).find_map(|(at, mark)| {
            let (words, _) = text.get(at + mark.len()..)?.split_once(';')?;
            match words.split_once(' ') {
                None if words == "windows" => Some(Greeting::Windows),
                None if words == "limited" => Some(Greeting::Limited),
                Some(("port", number)) => number.parse().ok().map(Greeting::Port),
                _ => None,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8], size: usize) -> Option<Greeting> {
        let mut greetings = Greetings::new("m0");
        let found: Vec<Greeting> = text
            .chunks(size)
            .filter_map(|piece| greetings.read(piece))
            .collect();
        found.first().copied()
    }

    #[test]
    fn it_is_found_however_the_console_is_painted() {
        let cases: [(&[u8], Option<Greeting>); 8] = [
            (b"@m0 windows;\r\n", Some(Greeting::Windows)),
            (
                b"\x1b]0;C:\\powershell.exe\x07\x1b[0m\x1b[2J\x1b[1;1H@m0 port 51234;\x1b[0K\r\n",
                Some(Greeting::Port(51234)),
            ),
            (
                b"\x1b]0;t\x1b\\@m\x1b[?25l0 po\r\nrt 1\x1b[1;9H23\x1b[K;",
                Some(Greeting::Port(123)),
            ),
            (
                b"Profile: h\xe9llo\r\n@m0 limited;",
                Some(Greeting::Limited),
            ),
            (b"@m0 po\x1b[1;1H@m0 port 5;", Some(Greeting::Port(5))),
            (b"@m1 port 5;", None),
            (b"@m0 port 65536;", None),
            (b"@m0 port 5", None),
        ];
        for (text, expected) in cases {
            for size in 1..=text.len() {
                assert_eq!(read(text, size), expected, "{text:?} {size}");
            }
        }
    }

    #[test]
    fn nothing_is_kept_without_end() {
        let mut greetings = Greetings::new("m0");
        for _ in 0..10 {
            assert_eq!(greetings.read(&[b'x'; 5000]), None);
            assert!(greetings.text.len() <= KEPT);
        }
        assert_eq!(greetings.read(b"@m0 windows;"), Some(Greeting::Windows));
    }
}
