//! Chains of causes, and what is shown of them.

use std::error::Error as StdError;
use std::time::Duration;

use crate::text::words;

/// The longest text taken over from a service or a library, in characters.
pub(super) const MAX_TEXT: usize = 500;

/// The first error of this type in a chain of causes; looks into `io::Error` too, whose `source`
/// skips what it wraps.
pub(in crate::aws) fn find<'a, T: StdError + 'static>(
    error: &'a (dyn StdError + 'static),
) -> Option<&'a T> {
    causes(error).find_map(|error| error.downcast_ref::<T>())
}

fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| {
        match error.downcast_ref::<std::io::Error>() {
            Some(io) => io.get_ref().map(|inner| inner as &(dyn StdError + 'static)),
            None => error.source(),
        }
    })
    // A chain that bites its tail would be a bug of a library, yet must not hang us.
    .take(32)
}

/// A chain of causes as one line, without repetition.
pub(in crate::aws) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = String::new();
    for cause in causes(error) {
        let part = cause.to_string();
        if part.is_empty() || text.contains(&part) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&part);
    }
    text
}

/// The text of an I/O error without Rust's "(os error 111)".
pub(in crate::aws) fn plain(error: &std::io::Error) -> String {
    let text = chain(error);
    match text.find(" (os error") {
        Some(at) => text.get(..at).unwrap_or(&text).to_owned(),
        None => text,
    }
}

/// Foreign text for a terminal: no control characters, no line ends, not without end.
pub(in crate::aws) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len().min(MAX_TEXT));
    let mut count = 0;
    for word in words(text) {
        if count > 0 {
            line.push(' ');
            count += 1;
        }
        for c in word.chars() {
            if count == MAX_TEXT {
                line.push('…');
                return line;
            }
            line.push(c);
            count += 1;
        }
    }
    line
}

/// A duration as options give it: whole seconds where it is such.
pub(in crate::aws) fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}
