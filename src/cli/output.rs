//! Answers on stdout: JSON as the AWS CLI prints it, and tables. A reader that goes away is a
//! quiet end.

use std::io::{self, ErrorKind, Write};

use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{PrettyFormatter, Serializer};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr};

use super::report::Failure;
use crate::text::is_harmful;
pub(super) use crate::text::plain;

/// Bytes that a cell of a terminal may have at most: a letter with its marks.
const STACKED: usize = 32;

/// Prints text; an error only if stdout cannot be written for another reason than a closed pipe.
pub(super) fn text(text: &str) -> Result<(), Failure> {
    part(text).map(drop)
}

/// Prints a part of an answer; whether there is still a reader. Fails as [`text()`] does.
pub(super) fn part(text: &str) -> Result<bool, Failure> {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::other(format!("cannot write to stdout: {error}"))),
    }
}

/// Prints JSON with the AWS CLI's indentation.
pub(super) fn json(value: &Value) -> Result<(), Failure> {
    text(&(pretty(value)? + "\n"))
}

/// JSON with the AWS CLI's indentation. What is harmful to a terminal is there as an escape, which
/// to readers of JSON is the same.
pub(super) fn pretty(value: &Value) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let formatter = PrettyFormatter::with_indent(b"    ");
    value
        .serialize(&mut Serializer::with_formatter(&mut bytes, formatter))
        .map_err(|error| Failure::other(format!("cannot print the answer: {error}")))?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(escaped(&text))
}

/// JSON or TOML with another way to write what harms a terminal: outside of texts they have nothing
/// of the kind but ends of lines.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c != '\n' && is_harmful(c) {
            true => safe.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => safe.push(c),
        }
    }
    safe
}

/// Columns under their titles, two spaces apart.
pub(super) fn table(titles: &[&str], rows: &[Vec<String>]) -> String {
    let widths = widths(titles, rows);
    let titles: Vec<String> = titles.iter().map(ToString::to_string).collect();
    let lines = std::iter::once(&titles).chain(rows);
    lines.map(|cells| line(cells, &widths)).collect()
}

/// How wide the columns have to be, in cells of a terminal.
pub(super) fn widths(titles: &[&str], rows: &[Vec<String>]) -> Vec<usize> {
    let column = |(at, title): (usize, &&str)| {
        let cells = rows.iter().filter_map(|row| row.get(at));
        let widest = cells.map(|cell| width(cell)).max();
        widest.unwrap_or(0).max(width(title))
    };
    titles.iter().enumerate().map(column).collect()
}

/// A line of a table; cells that are too wide push the others.
pub(super) fn line(cells: &[String], widths: &[usize]) -> String {
    let cells = cells.iter().zip(widths);
    let text: String = cells
        .map(|(cell, &width)| pad(cell, width) + "  ")
        .collect();
    format!("{}\n", text.trim_end())
}

/// How many cells of a terminal a text takes.
pub(super) fn width(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

/// A text with spaces behind it up to a width.
pub(super) fn pad(text: &str, to: usize) -> String {
    let spaces = to.saturating_sub(width(text));
    format!("{text}{}", " ".repeat(spaces))
}

/// A text no wider than this, with an ellipsis where it is cut.
pub(super) fn fit(text: &str, to: usize) -> String {
    // Much can be stacked in a cell.
    let most = to.saturating_mul(STACKED);
    if width(text) <= to && text.len() <= most {
        return text.to_owned();
    }
    let mut cut = String::new();
    let mut used = 0;
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        // One is for the ellipsis.
        if used >= to || cut.len() >= most {
            break;
        }
        cut.push(c);
    }
    if to > 0 {
        cut.push('…');
    }
    cut
}

/// A time in UTC as Python's `isoformat` has it; `millis` since 1970.
pub(super) fn iso_time(millis: i64) -> String {
    let time = Utc::at(millis);
    let fraction = match time.millis {
        0 => String::new(),
        millis => format!(".{millis:03}000"),
    };
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{fraction}+00:00",
        time.year, time.month, time.day, time.hour, time.minute, time.second
    )
}

/// A time in UTC for people.
pub(super) fn short_time(millis: i64) -> String {
    let time = Utc::at(millis);
    format!(
        "{:04}-{:02}-{:02} {:02}:{:02}Z",
        time.year, time.month, time.day, time.hour, time.minute
    )
}

struct Utc {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    millis: i64,
}

impl Utc {
    /// The Gregorian calendar, counted in eras of 400 years that begin on 1 March.
    fn at(millis: i64) -> Self {
        const DAY: i64 = 86_400_000;
        let (days, rest) = (millis.div_euclid(DAY), millis.rem_euclid(DAY));
        let days = days + 719_468;
        let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        Self {
            year: year + era * 400 + i64::from(month <= 2),
            month,
            day,
            hour: rest / 3_600_000,
            minute: rest / 60_000 % 60,
            second: rest / 1000 % 60,
            millis: rest % 1000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn times_are_those_of_the_calendar() {
        let cases = [
            (0, "1970-01-01T00:00:00+00:00"),
            (1_795_552_680_123, "2026-11-24T20:38:00.123000+00:00"),
            (951_782_400_000, "2000-02-29T00:00:00+00:00"),
            (1_709_251_199_000, "2024-02-29T23:59:59+00:00"),
            (4_107_542_400_000, "2100-03-01T00:00:00+00:00"),
            (-1, "1969-12-31T23:59:59.999000+00:00"),
        ];
        for (millis, text) in cases {
            assert_eq!(iso_time(millis), text);
        }
        assert_eq!(short_time(1_795_552_680_123), "2026-11-24 20:38Z");
        // No time may panic.
        let _ = (iso_time(i64::MAX), iso_time(i64::MIN));
    }

    #[test]
    fn json_looks_like_that_of_the_aws_cli() {
        let value = json!({"Sessions": [{"a": "é\u{1}\u{9b}\u{202e}\n"}], "None": [], "Empty": {}});
        let expected = "{\n    \"Sessions\": [\n        {\n            \"a\": \"é\\u0001\\u009b\\u202e\\n\"\n        }\n    ],\n    \"None\": [],\n    \"Empty\": {}\n}";
        assert_eq!(pretty(&value).expect("printable"), expected);
    }

    #[test]
    fn columns_line_up() {
        let rows = [
            vec!["a".to_owned(), "bbb".to_owned()],
            vec!["ää".to_owned()],
        ];
        assert_eq!(table(&["X", "Y"], &rows), "X   Y\na   bbb\nää\n");
        assert_eq!(table(&["X"], &[]), "X\n");
        let wide = [vec!["日本".to_owned(), "c".to_owned()]];
        assert_eq!(table(&["X", "Y"], &wide), "X     Y\n日本  c\n");
    }

    #[test]
    fn texts_are_cut_to_their_width() {
        for (text, to, expected) in [
            ("web", 3, "web"),
            ("web-1", 4, "web…"),
            ("日本語", 6, "日本語"),
            ("日本語", 5, "日本…"),
            ("日本語", 4, "日…"),
            ("web", 1, "…"),
            ("web", 0, ""),
        ] {
            assert_eq!(fit(text, to), expected, "{text} {to}");
        }
        let stacked = "e".to_owned() + &"\u{301}".repeat(1_000_000);
        assert!(fit(&stacked, 8).len() < 8 * STACKED + 10);
    }
}
