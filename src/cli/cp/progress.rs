//! What a copy shows on stderr: a bar where that is a terminal, else what matters.

use std::collections::VecDeque;
use std::io::IsTerminal as _;
use std::time::Duration;

use tokio::time::Instant;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::super::report;
use crate::session::copy::{CopyFailure, Watch};
use crate::terminal;
use crate::text::is_harmful;

/// Between two pictures.
const REFRESH: Duration = Duration::from_millis(100);
/// What the rate is of.
const RECENTLY: Duration = Duration::from_secs(5);
/// Columns that are left to the `^C` which a terminal shows of the key.
const ECHO: usize = 2;
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
    /// How much was done when it was drawn of late.
    recent: VecDeque<(Instant, u64)>,
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
            recent: VecDeque::new(),
        }
    }

    /// Bytes a second: of late, or of all if it is the `last` word.
    fn rate(&mut self, now: Instant, last: bool) -> f64 {
        while self
            .recent
            .get(1)
            .is_some_and(|(at, _)| now.duration_since(*at) >= RECENTLY)
        {
            self.recent.pop_front();
        }
        let (at, done) = match self.recent.front() {
            Some(first) if !last => *first,
            _ => (self.began, self.there),
        };
        self.recent.push_back((now, self.done));
        let seconds = now.duration_since(at).as_secs_f64();
        match seconds > 0.0 {
            true => self.done.saturating_sub(done) as f64 / seconds,
            false => 0.0,
        }
    }

    fn draw(&mut self, last: bool) {
        let due = self.drawn.is_none_or(|at| at.elapsed() >= REFRESH);
        if !self.shows || !(due || last) {
            return;
        }
        let columns = terminal::size().map_or(COLUMNS, |size| size.cols.into());
        let now = Instant::now();
        let rate = self.rate(now, last);
        let line = line(
            &self.name,
            (self.done, self.size),
            rate,
            now.duration_since(self.began),
            columns.saturating_sub(1 + ECHO),
        );
        terminal::draw(&format!("\r{line}\x1b[K"));
        self.drawn = Some(now);
    }

    fn clear(&mut self) {
        if self.drawn.take().is_some() {
            terminal::draw("\r\x1b[K");
        }
    }
}

impl Watch for Progress {
    fn begin(&mut self, name: &str, size: Option<u64>, there: u64) {
        self.name = name.to_owned();
        (self.size, self.done, self.there) = (size, there, there);
        self.began = Instant::now();
        self.recent.clear();
        self.draw(false);
    }

    fn advance(&mut self, bytes: u64) {
        self.done += bytes;
        self.draw(false);
    }

    fn done(&mut self) {
        self.draw(true);
        if self.drawn.take().is_some() {
            terminal::draw("\n");
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
            terminal::draw("\n");
        }
    }
}

fn line(
    name: &str,
    (done, size): (u64, Option<u64>),
    rate: f64,
    elapsed: Duration,
    columns: usize,
) -> String {
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
        Some(0) => right.push_str(&format!("  {}", clock(elapsed.as_secs_f64()))),
        _ => {}
    }
    let room = columns.saturating_sub(right.width() + 2);
    let name: String = name
        .chars()
        .map(|c| if is_harmful(c) { '?' } else { c })
        .collect();
    let name = fit(&name, room);
    // What is left to fill is counted in columns, not in characters.
    let gap = " ".repeat(room.saturating_sub(name.width()) + 2);
    let line = format!("{name}{gap}{right}");
    fit(&line, columns).to_owned()
}

/// As much of a text as fits.
fn fit(text: &str, columns: usize) -> &str {
    let mut width = 0;
    let end = text.char_indices().find(|(_, c)| {
        width += c.width().unwrap_or_default();
        width > columns
    });
    text.get(..end.map_or(text.len(), |(at, _)| at))
        .unwrap_or_default()
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
        let words = |name, sizes, rate, columns| {
            let line = line(name, sizes, rate, second, columns);
            line.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            words("a.iso", (4_000_000, Some(10_000_000)), 1e6, 70),
            "a.iso 40% 4.0 MB of 10.0 MB 1.0 MB/s 0:06 left"
        );
        assert_eq!(
            words("日本\u{202e}.iso", (4_000_000, Some(4_000_000)), 1e6, 60),
            "日本?.iso 100% 4.0 MB of 4.0 MB 1.0 MB/s 0:02"
        );
        assert_eq!(words("-", (1500, None), 750.0, 70), "- 1.5 kB 750 B/s");
        assert!(words("b", (0, Some(0)), 0.0, 70).contains("100%"));
        for columns in [0, 1, 20, 79] {
            for name in ["n", "日"] {
                let name = name.repeat(300);
                let sizes = (u64::MAX, Some(u64::MAX));
                let width = line(&name, sizes, 1.0, second, columns).width();
                assert!(
                    width <= columns && width + 1 >= columns,
                    "{columns}: {width}"
                );
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_is_that_of_late_and_in_the_end_that_of_all() {
        let mut progress = Progress::new(true);
        progress.begin("a", Some(1 << 40), 5000);
        for _ in 0..100 {
            tokio::time::advance(Duration::from_secs(1)).await;
            progress.done += 1000;
            progress.rate(Instant::now(), false);
        }
        for second in 1..=10 {
            tokio::time::advance(Duration::from_secs(1)).await;
            progress.done += 3000;
            let rate = progress.rate(Instant::now(), false);
            assert_eq!(rate >= 3000.0, second >= 5, "{second} {rate}");
        }
        assert!(progress.recent.len() <= 7);
        assert_eq!(progress.rate(Instant::now(), true).round(), 1182.0);
    }
}
