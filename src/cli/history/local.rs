//! Times as the clocks here show them.

use crate::cli::output;

/// A time to the minute, `2026-11-24 21:38`; in UTC, with a Z, where the local time is not known.
pub fn time(millis: i64) -> String {
    here(millis).unwrap_or_else(|| output::short_time(millis))
}

#[cfg(unix)]
fn here(millis: i64) -> Option<String> {
    let seconds = libc::time_t::try_from(millis.div_euclid(1000)).ok()?;
    #[expect(unsafe_code, reason = "no safe way to the local time is at hand")]
    // SAFETY: zeroes are a `tm`, and both pointers are to values of this function. The zone comes
    // from the environment, which nothing in this program changes.
    let parts = unsafe {
        let mut parts: libc::tm = std::mem::zeroed();
        if libc::localtime_r(&raw const seconds, &raw mut parts).is_null() {
            return None;
        }
        parts
    };
    Some(format!(
        "{:04}-{:02}-{:02} {:02}:{:02}",
        i64::from(parts.tm_year) + 1900,
        parts.tm_mon + 1,
        parts.tm_mday,
        parts.tm_hour,
        parts.tm_min
    ))
}

#[cfg(not(unix))]
fn here(_millis: i64) -> Option<String> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_time_is_some_text() {
        // Whatever the zone is here, the day is one of these.
        let text = time(1_795_552_680_123);
        assert!(text.starts_with("2026-11-2"), "{text}");
        for millis in [i64::MIN, i64::MAX, 0, -1] {
            assert!(!time(millis).is_empty());
        }
    }
}
