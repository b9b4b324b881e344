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
}

impl Default for RoundTrip {
    fn default() -> Self {
        Self {
            rtt: INITIAL_RTT,
            variation: 0.0,
            timeout: INITIAL_TIMEOUT,
        }
    }
}

impl RoundTrip {
    /// Takes one measured round trip. Samples of resent messages are not to be given (Karn).
    pub fn sample(&mut self, sample: Duration) {
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

    /// How long an acknowledgement may take before the message is sent again; 1 s at most.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }
}
