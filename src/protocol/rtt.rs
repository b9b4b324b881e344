//! Round trips to retransmission timeout: RFC 6298's arithmetic with AWS's constants, in f64
//! nanoseconds as both of AWS's programs compute it.

use std::time::Duration;

const INITIAL_RTT: f64 = 100e6;
const INITIAL_TIMEOUT: Duration = Duration::from_millis(200);
const GRANULARITY: f64 = 10e6;
const MAX_TIMEOUT: f64 = 1e9;

/// A smoothed round trip, its variation and the timeout that follows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RoundTrip {
    rtt: f64,
    variation: f64,
    timeout: Duration,
    measured: Option<Measured>,
}

/// What was measured, without what the arithmetic begins with.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Measured {
    smoothed: Duration,
    least: Duration,
}

impl Default for RoundTrip {
    fn default() -> Self {
        Self {
            rtt: INITIAL_RTT,
            variation: 0.0,
            timeout: INITIAL_TIMEOUT,
            measured: None,
        }
    }
}

impl RoundTrip {
    /// Takes one measured round trip. Samples of resent messages are not to be given (Karn).
    pub fn sample(&mut self, sample: Duration) {
        self.measured = Some(match self.measured {
            None => Measured {
                smoothed: sample,
                least: sample,
            },
            Some(before) => Measured {
                smoothed: (before.smoothed.saturating_mul(7).saturating_add(sample)) / 8,
                least: before.least.min(sample),
            },
        });
        let sample = sample.as_nanos() as f64;
        self.variation = 0.75 * self.variation + 0.25 * (self.rtt - sample).abs();
        self.rtt = 0.875 * self.rtt + 0.125 * sample;
        let timeout = self.rtt + GRANULARITY.max(4.0 * self.variation);
        self.timeout = Duration::from_nanos(timeout.min(MAX_TIMEOUT) as u64);
    }

    /// The smoothed round trip, in nanoseconds.
    pub fn rtt_nanos(&self) -> f64 {
        self.rtt
    }

    /// The smoothed variation, in nanoseconds.
    pub fn variation_nanos(&self) -> f64 {
        self.variation
    }

    /// The smoothed round trip of what was measured, which begins with the first sample; none
    /// before that.
    pub fn smoothed(&self) -> Option<Duration> {
        Some(self.measured?.smoothed)
    }

    /// The shortest round trip so far.
    pub fn least(&self) -> Option<Duration> {
        Some(self.measured?.least)
    }

    /// How long an acknowledgement may take before the message is sent again; 1 s at most.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_begins_with_the_first_sample() {
        let mut round_trip = RoundTrip::default();
        assert_eq!((round_trip.smoothed(), round_trip.least()), (None, None));
        let ms = Duration::from_millis;
        round_trip.sample(ms(8));
        assert_eq!(round_trip.smoothed(), Some(ms(8)));
        round_trip.sample(ms(16));
        assert_eq!(round_trip.smoothed(), Some(ms(9)));
        assert_eq!(round_trip.least(), Some(ms(8)));
        // The timeout still comes from AWS's arithmetic.
        assert!(round_trip.rtt_nanos() > 70e6);
        round_trip.sample(Duration::MAX);
    }
}
