//! Text of others, made fit for a terminal: whoever names a node, writes a reason or answers in a
//! service's place must not move the cursor, ring, or turn the line around. And texts that all
//! layers have in common.

use std::time::Duration;

/// Whether a character does something to a terminal, or to the order of those beside it.
pub fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            // Marks, embeddings, overrides and isolates of direction.
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            // Ends of lines and paragraphs.
            | '\u{2028}' | '\u{2029}'
        )
}

/// A text with a space for each character that is harmful.
pub fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if is_harmful(c) { ' ' } else { c })
        .collect()
}

/// The words of a text, which nothing that is harmful is part of.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c.is_whitespace() || is_harmful(c))
        .filter(|word| !word.is_empty())
}

/// A duration for people, in its largest unit or two.
pub fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_turns_lines_around_or_moves_the_cursor() {
        let evil = "a\u{1b}[2Jb\u{9b}1mc\u{202e}d\u{2067}e\u{2028}f\r\ng\u{7f}h";
        assert_eq!(plain(evil), "a [2Jb 1mc d e f  g h");
        assert_eq!(
            words(evil).collect::<Vec<_>>(),
            ["a", "[2Jb", "1mc", "d", "e", "f", "g", "h"]
        );
        // Letters of any script stay, and so do joined emoji.
        let fine = "שלום 日本語 ü 👩\u{200d}💻";
        assert_eq!(plain(fine), fine);
    }

    #[test]
    fn spans_have_a_unit() {
        let spans = [
            (5, "5 s"),
            (180, "3 min"),
            (7200, "2 h"),
            (172_800, "2 days"),
        ];
        for (seconds, text) in spans {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
    }
}
