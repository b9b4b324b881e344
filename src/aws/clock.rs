//! This machine's clock against that of AWS, which takes no signature of another time.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use aws_smithy_async::time::{SystemTimeSource, TimeSource as _};
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;

use crate::text::span;

/// The header of answers that has the time.
pub(super) const DATE: &str = "date";
/// From so many seconds on, the clock is to blame for a signature that is not taken.
const TO_BLAME: u64 = 240;

/// How a clock is set right.
pub const CLOCK_FIX: &str = "set the clock, by NTP: `timedatectl set-ntp true` (Linux), `sudo sntp -sS \
     time.apple.com` (macOS), `w32tm /resync` (Windows)";

/// How far the clock is off, for seconds that the one of AWS is ahead.
pub fn clock_text(ahead: i64) -> String {
    let way = if ahead > 0 { "behind" } else { "ahead of" };
    let off = span(Duration::from_secs(ahead.unsigned_abs()));
    format!("this machine's clock is {off} {way} that of AWS")
}

/// Seconds that a service's clock is ahead of this machine's, by the `Date` of an answer to a
/// call that took from `begun` to `ended`: within that, no clock is off.
pub(super) fn ahead(date: &str, begun: SystemTime, ended: SystemTime) -> Option<i64> {
    let date = DateTime::from_str(date, Format::HttpDate).ok()?.secs();
    let (begun, ended) = (DateTime::from(begun).secs(), DateTime::from(ended).secs());
    Some(match date {
        date if date < begun - 1 => date - begun,
        date if date > ended + 1 => date - ended,
        _ => 0,
    })
}

/// The time by which signatures are made: that of this machine, unless AWS has quite another.
#[derive(Debug, Default)]
pub(super) struct Clock {
    ahead: AtomicI64,
}

impl Clock {
    /// Seconds to be added to the time of this machine.
    pub(super) fn off(&self) -> i64 {
        match self.ahead.load(Ordering::Relaxed) {
            ahead if ahead.unsigned_abs() >= TO_BLAME => ahead,
            _ => 0,
        }
    }

    /// The time.
    pub(super) fn now(&self) -> SystemTime {
        let (now, off) = (SystemTimeSource::new().now(), self.off());
        let span = Duration::from_secs(off.unsigned_abs());
        match off < 0 {
            true => now.checked_sub(span),
            false => now.checked_add(span),
        }
        .unwrap_or(now)
    }

    /// Learns from the `Date` of an answer to a signed call that began at `begun`.
    pub(super) fn learn(&self, date: &str, begun: SystemTime) {
        let ended = SystemTimeSource::new().now();
        let Some(ahead) = ahead(date, begun, ended) else {
            return;
        };
        let before = self.off();
        self.ahead.store(ahead, Ordering::Relaxed);
        if before == 0 && self.off() != 0 {
            tracing::debug!("{}: signing by that", clock_text(ahead));
        }
    }
}

/// What to do about a signature that is not taken, if the clock is to blame by the `Date` of the
/// answer, which is here just now.
pub(super) fn advice(date: &str) -> Option<String> {
    let now = SystemTimeSource::new().now();
    let ahead = ahead(date, now, now)?;
    (ahead.unsigned_abs() >= TO_BLAME).then(|| format!("{}: {CLOCK_FIX}", clock_text(ahead)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_compared_with_the_time_of_the_call() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let date = "Tue, 24 Nov 2026 20:38:00 GMT";
        let sent = 1_795_552_680;
        for (begun, ended, expected) in [
            (sent, sent, 0),
            (sent - 60, sent + 60, 0),
            (sent - 1, sent - 1, 0),
            (sent - 600, sent - 599, 599),
            (sent + 600, sent + 601, -600),
        ] {
            assert_eq!(ahead(date, at(begun), at(ended)), Some(expected));
        }
        assert_eq!(ahead("yesterday", at(0), at(0)), None);
    }

    #[test]
    fn signatures_go_by_the_time_of_aws_where_that_is_another() {
        let clock = Clock::default();
        let here = SystemTimeSource::new().now();
        let date = |ahead: i64| {
            let time = DateTime::from_secs(DateTime::from(here).secs() + ahead);
            time.fmt(Format::HttpDate).expect("a date")
        };
        let off = || DateTime::from(clock.now()).secs() - DateTime::from(here).secs();
        for (ahead, expected) in [(60, 0), (3600, 3600), (-3600, -3600), (0, 0)] {
            clock.learn(&date(ahead), here);
            assert!((off() - expected).abs() < 60, "{ahead}: {}", off());
        }
        clock.learn("yesterday", here);
        assert_eq!(clock.off(), 0);
    }

    #[test]
    fn clocks_are_to_blame_only_if_they_are_off() {
        let advice = advice("Sat, 01 Jan 2000 00:00:00 GMT").expect("long ago");
        assert!(
            advice.contains("days ahead of that of AWS: set the clock"),
            "{advice}"
        );
        let now = DateTime::from(SystemTimeSource::new().now());
        let now = now.fmt(Format::HttpDate).expect("a date");
        assert_eq!(super::advice(&now), None);
    }
}
