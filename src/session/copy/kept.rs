//! What is kept of a file besides its bytes.

use std::fs::Metadata;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Mode and time of a file.
#[derive(Debug, Clone, Copy)]
pub struct Kept {
    /// The lowest twelve bits.
    pub mode: u32,
    /// Seconds since 1970, if known.
    pub time: Option<i64>,
}

impl Kept {
    /// Those of a file here.
    pub fn of(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        let mode = std::os::unix::fs::MetadataExt::mode(metadata) & 0o7777;
        #[cfg(not(unix))]
        let mode = match metadata.permissions().readonly() {
            true => 0o444,
            false => 0o644,
        };
        let time = metadata.modified().ok().map(|time| {
            let seconds =
                |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
            match time.duration_since(UNIX_EPOCH) {
                Ok(after) => seconds(after),
                Err(before) => -seconds(before.duration()),
            }
        });
        Self { mode, time }
    }

    /// The time, if the system has it.
    pub fn system_time(self) -> Option<SystemTime> {
        let time = self.time?;
        let distance = Duration::from_secs(time.unsigned_abs());
        match time < 0 {
            true => UNIX_EPOCH.checked_sub(distance),
            false => UNIX_EPOCH.checked_add(distance),
        }
    }

    /// The time as `touch -t` takes it, in UTC: `202611251200.59`.
    pub fn stamp(self) -> Option<String> {
        let time = self.time?;
        let (days, second) = (time.div_euclid(86_400), time.rem_euclid(86_400));
        // The Gregorian calendar, counted in eras of 400 years that begin on 1 March.
        let days = days + 719_468;
        let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        let year = year + era * 400 + i64::from(month <= 2);
        (0..=9999).contains(&year).then(|| {
            let (hour, minute) = (second / 3600, second / 60 % 60);
            let second = second % 60;
            format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}.{second:02}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_those_of_touch() {
        let stamp = |time| Kept { mode: 0, time }.stamp();
        assert_eq!(stamp(Some(0)).as_deref(), Some("197001010000.00"));
        assert_eq!(stamp(Some(951_782_461)).as_deref(), Some("200002290001.01"));
        assert_eq!(stamp(Some(-1)).as_deref(), Some("196912312359.59"));
        assert_eq!(stamp(Some(i64::MAX / 2)), None);
        assert_eq!(stamp(None), None);
    }
}
