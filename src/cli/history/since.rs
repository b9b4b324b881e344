//! What `--since` may say.

use crate::cli::output;

const HELP: &str = "it must be a span such as 90m, 12h, 2d or 1w, or a time such as 2026-11-20 or \
    2026-11-20T08:00:00Z";

/// Where a history begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Since {
    /// So many seconds ago.
    Ago(i64),
    /// At this time in UTC, as the service takes it.
    At(String),
}

impl Since {
    /// Reads a span, a date or a time.
    pub fn parse(text: &str) -> Result<Self, String> {
        span(text)
            .map(Self::Ago)
            .or_else(|| time(text).map(Self::At))
            .ok_or_else(|| HELP.to_owned())
    }

    /// The time in UTC as the service takes it; `now` in milliseconds since 1970.
    pub fn text(&self, now: i64) -> String {
        match self {
            Self::At(text) => text.clone(),
            Self::Ago(seconds) => {
                let second = now.div_euclid(1000).saturating_sub(*seconds);
                let text = output::iso_time(second.saturating_mul(1000));
                text.replace("+00:00", "Z")
            }
        }
    }
}

/// `90m` in seconds.
fn span(text: &str) -> Option<i64> {
    let unit = text.chars().next_back()?;
    let number = text.strip_suffix(unit)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        'w' => 604_800,
        _ => return None,
    };
    // Signs are none of it.
    let digits = number.bytes().all(|byte| byte.is_ascii_digit());
    let number: i64 = number.parse().ok().filter(|_| digits)?;
    // No more than the service's calendar has.
    number
        .checked_mul(seconds)
        .filter(|seconds| *seconds < 100 * 365 * 86_400)
}

/// `2026-11-20`, from midnight on, or `2026-11-20T08:00:00Z`.
fn time(text: &str) -> Option<String> {
    let (date, time) = match text.split_once('T') {
        Some((date, time)) => (date, time.strip_suffix('Z')?),
        None => (text, "00:00:00"),
    };
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    let sound = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    sound.then(|| format!("{date}T{time}Z"))
}

fn numbers(text: &str, between: char, digits: [usize; 3]) -> Option<[u32; 3]> {
    let mut parts = text.split(between);
    let mut numbers = [0; 3];
    for (number, digits) in numbers.iter_mut().zip(digits) {
        let part = parts.next()?;
        let sound = part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit());
        *number = part.parse().ok().filter(|_| sound)?;
    }
    parts.next().is_none().then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_times() {
        // 2026-11-24T20:38:00.123Z
        let now = 1_795_552_680_123;
        let cases = [
            ("0s", "2026-11-24T20:38:00Z"),
            ("90m", "2026-11-24T19:08:00Z"),
            ("2d", "2026-11-22T20:38:00Z"),
            ("1w", "2026-11-17T20:38:00Z"),
            ("2026-11-20", "2026-11-20T00:00:00Z"),
            ("2026-11-20T08:00:00Z", "2026-11-20T08:00:00Z"),
        ];
        for (text, expected) in cases {
            assert_eq!(Since::parse(text).unwrap().text(now), expected, "{text}");
        }
        for bad in [
            "",
            "2",
            "d",
            "-2d",
            "+2d",
            "2 d",
            "2y",
            "2D",
            "2dé",
            "99999999999999999999d",
            "999999w",
            "2026-13-01",
            "2026-1-1",
            "2026-11-20T08:00",
            "2026-11-20T08:00:00",
            "20-11-2026",
            "2026-11-20T24:00:00Z",
            "2026-11-20-01",
        ] {
            assert!(Since::parse(bad).is_err(), "{bad}");
        }
    }
}
