//! One-line notices to the user on standard error.

use std::borrow::Cow;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicU8, Ordering};

use super::os;
use crate::text::plain;

/// The most of a text that is shown, in bytes: a terminal or a pipe that takes a line at all takes
/// so much of it at once.
const MOST: usize = 1000;

/// Whether output to terminals may be styled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum ColorChoice {
    /// On terminals that can, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always, even to files.
    Always,
    /// Never.
    Never,
}

static COLOR: AtomicU8 = AtomicU8::new(ColorChoice::Auto as u8);

/// Sets the choice for the whole process.
pub fn set_color(choice: ColorChoice) {
    COLOR.store(choice as u8, Ordering::Relaxed);
}

/// Whether text on standard error may be styled.
pub fn color_allowed() -> bool {
    const ALWAYS: u8 = ColorChoice::Always as u8;
    const NEVER: u8 = ColorChoice::Never as u8;
    match COLOR.load(Ordering::Relaxed) {
        ALWAYS => true,
        NEVER => false,
        _ => {
            let unset = |name| std::env::var_os(name).is_none_or(|value| value.is_empty());
            io::stderr().is_terminal()
                && unset("NO_COLOR")
                && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
                && os::styles_work()
        }
    }
}

/// Writes several lines as [`notice`] writes one, without gaps between them.
pub fn notices(texts: &[String]) {
    if !os::stderr_takes_a_line() {
        return;
    }
    let raw = io::stderr().is_terminal() && os::is_raw();
    let text = lines(texts, raw, color_allowed());
    // There is nobody left to tell of a failure.
    drop(io::stderr().write_all(text.as_bytes()));
}

/// Writes a text as it is, such as a bar that is drawn again and again, on the terminal that standard
/// error is. Should that not take it at once, or belong to another job, it is lost.
pub fn draw(text: &str) {
    if os::stderr_takes_a_line() && !os::stderr_is_others() {
        // There is nobody left to tell of a failure.
        drop(io::stderr().write_all(text.as_bytes()));
    }
}

/// Writes `ssmx: TEXT` as a line of its own on standard error, dim if that may be.
///
/// In raw mode the line starts below the one that the cursor is in, since there may be
/// a prompt in that. Control characters in the text are replaced, and long texts are cut. Should
/// standard error not take the line, it is lost.
pub fn notice(text: &str) {
    if !os::stderr_takes_a_line() {
        return;
    }
    let raw = io::stderr().is_terminal() && os::is_raw();
    let line = line(text, raw, color_allowed());
    // There is nobody left to tell of a failure.
    drop(io::stderr().write_all(line.as_bytes()));
}

/// The text, or as much of it as is worth a line, at a character boundary.
pub fn excerpt(text: &str) -> Cow<'_, str> {
    match text.len() {
        ..=MOST => text.into(),
        _ => format!("{}…", &text[..text.floor_char_boundary(MOST)]).into(),
    }
}

fn line(text: &str, raw: bool, dim: bool) -> String {
    let text = plain(&excerpt(text));
    let (before, after) = if raw { ("\r\n", "\r\n") } else { ("", "\n") };
    let (on, off) = if dim {
        ("\x1b[2m", "\x1b[22m")
    } else {
        ("", "")
    };
    format!("{before}{on}ssmx: {text}{off}{after}")
}

fn lines(texts: &[String], raw: bool, dim: bool) -> String {
    let mut all = String::new();
    for text in texts {
        let line = line(text, raw, dim);
        let below = if raw && !all.is_empty() { 2 } else { 0 };
        all.push_str(line.get(below..).unwrap_or_default());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::{MOST, excerpt, line, lines};

    #[test]
    fn a_notice_is_one_line() {
        assert_eq!(line("resumed", false, false), "ssmx: resumed\n");
        assert_eq!(line("a\r\nb\x1b[2J", false, false), "ssmx: a  b [2J\n");
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let text = "ü".repeat(MOST / 2);
        assert_eq!(excerpt(&text), text);
        let cut = excerpt(&format!("x{text}")).into_owned();
        assert_eq!(cut, format!("x{}…", "ü".repeat(MOST / 2 - 1)));
        assert_eq!(excerpt(&cut).len(), cut.len());
        assert!(line(&"x".repeat(1_000_000), true, true).len() < 2 * MOST);
    }

    #[test]
    fn lines_have_no_gaps() {
        let texts = ["a".to_owned(), "b".to_owned()];
        assert_eq!(lines(&texts, false, false), "ssmx: a\nssmx: b\n");
        assert_eq!(lines(&texts, true, false), "\r\nssmx: a\r\nssmx: b\r\n");
        assert_eq!(lines(&[], true, false), "");
    }

    #[test]
    fn in_raw_mode_a_notice_returns_the_cursor_itself() {
        assert_eq!(
            line("resumed", true, true),
            "\r\n\x1b[2mssmx: resumed\x1b[22m\r\n"
        );
    }
}
