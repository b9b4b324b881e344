//! What a copy shows on stderr: a bar where that is a terminal, else what matters.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use tokio::time::Instant;

use super::super::report;
use crate::session::copy::{CopyFailure, Watch};
use crate::terminal;
use crate::text::is_harmful;

/// Between two pictures.
const REFRESH: Duration = Duration::from_millis(100);
/// Columns where the terminal does not say.
const COLUMNS: usize = 80;

/// Shows how a copy goes.
pub(super) struct Progress {
    shows: bool,
    /// Whether the cursor is in the bar's line.
    drawn: Option<Instant>,
    name: String,
    size: Option<u64>,
    /// Of the file, with what was there.
    done: u64,
    there: u64,
    began: Instant,
}

impl Progress {
    /// Shows a bar unless told to be `quiet`.
    pub(super) fn new(quiet: bool) -> Self {
        Self {
            shows: !quiet && std::io::stderr().is_terminal(),
            drawn: None,
            name: String::new(),
            size: None,
            done: 0,
            there: 0,
            began: Instant::now(),
        }
    }

    fn draw(&mut self, last: bool) {
        let due = self.drawn.is_none_or(|at| at.elapsed() >= REFRESH);
        if !self.shows || !(due || last) {
            return;
        }
        let columns = terminal::size().map_or(COLUMNS, |size| size.cols.into());
        let line = line(
            &self.name,
            self.size,
            self.done,
            self.there,
            self.began.elapsed(),
            columns.saturating_sub(1),
        );
        write(&format!("\r{line}\x1b[K"));
        self.drawn = Some(Instant::now());
    }

    fn clear(&mut self) {
        if self.drawn.take().is_some() {
            write("\r\x1b[K");
        }
    }
}

impl Watch for Progress {
    fn begin(&mut self, name: &str, size: Option<u64>, there: u64) {
        self.name = name.to_owned();
        (self.size, self.done, self.there) = (size, there, there);
        self.began = Instant::now();
        self.draw(false);
    }

    fn advance(&mut self, bytes: u64) {
        self.done += bytes;
        self.draw(false);
    }

    fn done(&mut self) {
        self.draw(true);
        if self.drawn.take().is_some() {
            write("\n");
        }
    }

    fn failed(&mut self, failure: &CopyFailure) {
        self.clear();
        report::error(&failure.to_string(), failure.hint().as_deref());
    }

    fn notice(&mut self, text: &str) {
        self.clear();
        terminal::notice(text);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        // What follows, such as an error, is no part of the bar.
        if self.drawn.take().is_some() {
            write("\n");
        }
    }
}

fn write(text: &str) {
    // If stderr is gone there is nobody to show it to.
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

fn line(
    name: &str,
    size: Option<u64>,
    done: u64,
    there: u64,
    elapsed: Duration,
    columns: usize,
) -> String {
    let seconds = elapsed.as_secs_f64();
    let rate = match seconds > 0.0 {
        true => done.saturating_sub(there) as f64 / seconds,
        false => 0.0,
    };
    let mut right = match size {
        Some(size) => {
            let percent = match size {
                0 => 100,
                size => done.min(size).saturating_mul(100) / size,
            };
            format!(
                "{percent:3}%  {} of {}",
                amount(done as f64),
                amount(size as f64)
            )
        }
        None => amount(done as f64),
    };
    right.push_str(&format!("  {}/s", amount(rate)));
    match size.map(|size| size.saturating_sub(done)) {
        Some(left) if left > 0 && rate >= 1.0 => {
            right.push_str(&format!("  {} left", clock((left as f64 / rate).ceil())));
        }
        Some(0) => right.push_str(&format!("  {}", clock(seconds))),
        _ => {}
    }
    let room = columns.saturating_sub(right.chars().count() + 2);
    let name = name.chars().map(|c| if is_harmful(c) { '?' } else { c });
    let name: String = name.take(room).collect();
    let line = format!("{name:room$}  {right}");
    line.chars().take(columns).collect()
}

/// Decimal units, as rates of networks have them.
fn amount(bytes: f64) -> String {
    let mut bytes = bytes;
    for unit in ["B", "kB", "MB", "GB"] {
        if bytes < 999.5 {
            return match unit {
                "B" => format!("{bytes:.0} B"),
                unit => format!("{bytes:.1} {unit}"),
            };
        }
        bytes /= 1000.0;
    }
    format!("{bytes:.1} TB")
}

fn clock(seconds: f64) -> String {
    // A cast of a float never wraps.
    let seconds = seconds as u64;
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    match hours {
        0 => format!("{minutes}:{:02}", seconds % 60),
        hours => format!("{hours}:{minutes:02}:{:02}", seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_fits_and_tells() {
        let second = Duration::from_secs(2);
        assert_eq!(
            line("a.iso", Some(10_000_000), 4_000_000, 2_000_000, second, 70),
            "a.iso                         40%  4.0 MB of 10.0 MB  1.0 MB/s  0:06 left"
                .replacen("   ", "", 1)
        );
        assert!(line("b", Some(0), 0, 0, Duration::ZERO, 70).contains("100%"));
        assert!(line("-", None, 1500, 0, second, 70).ends_with("1.5 kB  750 B/s"));
        for columns in [0, 1, 20, 79] {
            let long = line(
                &"n".repeat(300),
                Some(u64::MAX),
                u64::MAX,
                0,
                second,
                columns,
            );
            assert_eq!(long.chars().count(), columns);
        }
    }
}
