//! Commands and what they print, as a file has it, without what is another each time.

use std::process::Command;

use crate::support::pty::Terminal;
use crate::support::{Finished, run_without_input, snapshot};

/// The name of a snapshot, and what makes it.
pub type Snapshot = (&'static str, fn() -> Transcript);

/// What is run for a snapshot, and what came of it.
pub struct Transcript {
    text: String,
    /// Texts of this run, and what stands for them.
    unsteady: Vec<(String, String)>,
}

impl Transcript {
    pub fn new() -> Self {
        Self {
            text: String::new(),
            unsteady: Vec::new(),
        }
    }

    /// A text of this run only, and what stands for it. The longer ones should come first.
    pub fn replace(&mut self, text: impl Into<String>, by: &str) {
        self.unsteady.push((text.into(), by.to_owned()));
    }

    /// Runs a command without a terminal, and notes the line and what came of it.
    #[track_caller]
    pub fn run(&mut self, command: Command) -> Finished {
        self.run_as(&line(&command), command)
    }

    /// The same, with another line.
    #[track_caller]
    pub fn run_as(&mut self, line: &str, command: Command) -> Finished {
        let done = run_without_input(command);
        self.begin(line);
        let (stdout, stderr) = (self.steady(&done.text()), self.steady(&done.stderr));
        self.text.push_str(&stdout);
        for line in stderr.lines() {
            self.text.push_str(&format!("2> {line}\n"));
        }
        let code = done.code().expect("no signal");
        if code != 0 {
            self.text.push_str(&format!("[status {code}]\n"));
        }
        done
    }

    /// Runs a command on a terminal of so many columns, and notes its screen, which is high enough
    /// for all: how many lines wrap depends on where the binary is.
    #[track_caller]
    pub fn on_terminal(&mut self, cols: u16, command: &Command) {
        let terminal = Terminal::of_size(command, cols, 200);
        let (screen, code) = terminal.last_screen();
        let line = format!("{}   # {cols} columns", line(command));
        self.begin(&line);
        for line in self.steady(&screen).trim_end().lines() {
            self.text.push_str(&format!("{}\n", line.trim_end()));
        }
        if code != 0 {
            self.text.push_str(&format!("[status {code}]\n"));
        }
    }

    /// Compares all of it with the file of this name.
    #[track_caller]
    pub fn check(self, name: &str) {
        snapshot::check(name, &self.text);
    }

    fn begin(&mut self, line: &str) {
        let gap = if self.text.is_empty() { "" } else { "\n" };
        let line = self.steady(line);
        self.text.push_str(&format!("{gap}$ {line}\n"));
    }

    fn steady(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (from, to) in &self.unsteady {
            text = text.replace(from, to);
        }
        without_times(&text)
    }
}

/// The line that a shell would have.
fn line(command: &Command) -> String {
    let words = command.get_args().map(|word| {
        let word = word.to_string_lossy();
        match word.contains(|c: char| c.is_whitespace() || "'\"*|&;()<>".contains(c))
            || word.is_empty()
        {
            true => format!("'{}'", word.replace('\'', r"'\''")),
            false => word.into_owned(),
        }
    });
    let words: Vec<String> = std::iter::once("ssmx".to_owned()).chain(words).collect();
    words.join(" ")
}

/// With other digits in dates, times and ids, as wide as they were; fractions of seconds may be
/// none.
fn without_times(text: &str) -> String {
    const LOOKS: [(&str, &str); 4] = [
        ("0000-00-00T00:00:00", "YYYY-MM-DDThh:mm:ss"),
        ("0000-00-00 00:00", "YYYY-MM-DD hh:mm"),
        ("(for 00 days)", "(for NN days)"),
        (
            "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx",
            "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx",
        ),
    ];
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    'text: while let Some(first) = rest.chars().next() {
        for (look, shown) in LOOKS {
            let Some(found) = rest
                .get(..look.len())
                .filter(|found| looks_like(found, look))
            else {
                continue;
            };
            out.push_str(shown);
            rest = rest.get(found.len()..).unwrap_or_default();
            if let Some(fraction) = rest.strip_prefix('.') {
                rest = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
            }
            continue 'text;
        }
        out.push(first);
        rest = rest.get(first.len_utf8()..).unwrap_or_default();
    }
    out
}

fn looks_like(text: &str, look: &str) -> bool {
    let mut pairs = text.bytes().zip(look.bytes());
    pairs.all(|(byte, like)| match like {
        b'0' => byte.is_ascii_digit(),
        b'x' => byte.is_ascii_hexdigit(),
        like => byte == like,
    })
}

#[test]
fn times_are_hidden_and_nothing_else() {
    for (text, expected) in [
        ("at 2026-11-30 22:37  1m00s", "at YYYY-MM-DD hh:mm  1m00s"),
        (
            "\"2026-11-30T22:37:11.123000+00:00\"",
            "\"YYYY-MM-DDThh:mm:ss+00:00\"",
        ),
        ("2026-11-30T22:37:11Z ä", "YYYY-MM-DDThh:mm:ssZ ä"),
        ("3.3.0.0 2023 10.0.0.1", "3.3.0.0 2023 10.0.0.1"),
        (
            "\"d07a87ab-920c-410a-b713-2f1b9ca897bc\"",
            "\"xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx\"",
        ),
    ] {
        assert_eq!(without_times(text), expected);
    }
}
