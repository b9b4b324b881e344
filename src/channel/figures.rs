//! How a channel is doing: counts, times and rates, for those who ask.

use std::time::Duration;

use tokio::time::Instant;

use crate::protocol::{DataChannel, Stats};

/// Seconds that rates are taken over.
const WINDOW: u64 = 5;

/// How a channel is doing. The bytes are those of the payloads, as the agent has them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// Counts of the whole session.
    pub stats: Stats,
    /// The smoothed time from a message to its acknowledgement; none before the first.
    pub round_trip: Option<Duration>,
    /// The shortest one.
    pub least_round_trip: Option<Duration>,
    /// Bytes a second that the agent got in the last seconds.
    pub sent_rate: f64,
    /// Bytes a second that came from the agent in the last seconds.
    pub received_rate: f64,
    /// Whether there is a connection at present.
    pub connected: bool,
    /// How often a lost connection was replaced.
    pub reconnects: u32,
    /// How long ago that was the last time.
    pub last_reconnect: Option<Duration>,
    /// Time since the last new message, either way.
    pub idle: Duration,
    /// Time since the channel began to be opened.
    pub age: Duration,
}

/// Bytes in one second, counted from the beginning.
#[derive(Debug, Clone, Copy, Default)]
struct Second {
    number: u64,
    sent: u64,
    received: u64,
}

/// What has to be noted while the channel runs.
#[derive(Debug)]
pub struct Meter {
    opened: Instant,
    /// Those within the window, each at its number modulo the window.
    seconds: [Second; WINDOW as usize],
    /// As noted last.
    stats: Stats,
    active: Instant,
    reconnects: u32,
    last_reconnect: Option<Instant>,
}

impl Meter {
    /// Of a channel that begins to be opened at `now`.
    pub fn new(now: Instant) -> Self {
        Self {
            opened: now,
            seconds: [Second::default(); WINDOW as usize],
            stats: Stats::default(),
            active: now,
            reconnects: 0,
            last_reconnect: None,
        }
    }

    /// A lost connection was replaced.
    pub fn reconnected(&mut self, now: Instant) {
        self.reconnects = self.reconnects.saturating_add(1);
        self.last_reconnect = Some(now);
    }

    /// Takes the counts after a turn.
    pub fn note(&mut self, now: Instant, stats: Stats) {
        let sent = stats.sent_bytes.saturating_sub(self.stats.sent_bytes);
        let received = stats
            .received_bytes
            .saturating_sub(self.stats.received_bytes);
        let is_news = stats.sent_messages != self.stats.sent_messages
            || stats.received_messages != self.stats.received_messages;
        self.stats = stats;
        if !is_news {
            return;
        }
        self.active = now;
        let number = now.duration_since(self.opened).as_secs();
        let at = usize::try_from(number % WINDOW).unwrap_or_default();
        if let Some(second) = self.seconds.get_mut(at) {
            if second.number != number {
                *second = Second {
                    number,
                    ..Second::default()
                };
            }
            second.sent += sent;
            second.received += received;
        }
    }

    /// The figures at `now`.
    pub fn figures(&self, now: Instant, core: &DataChannel, connected: bool) -> Figures {
        let age = now.duration_since(self.opened);
        let number = age.as_secs();
        let recent = self
            .seconds
            .iter()
            .filter(|second| second.number + WINDOW > number);
        let (sent, received) = recent.fold((0, 0), |(sent, received), second| {
            (sent + second.sent, received + second.received)
        });
        // The present second has not passed yet.
        let whole = (WINDOW - 1) as f64 + f64::from(age.subsec_nanos()) / 1e9;
        let span = whole.min(age.as_secs_f64()).max(0.1);
        let round_trip = core.round_trip();
        Figures {
            stats: core.stats(),
            round_trip: round_trip.smoothed(),
            least_round_trip: round_trip.least(),
            sent_rate: sent as f64 / span,
            received_rate: received as f64 / span,
            connected,
            reconnects: self.reconnects,
            last_reconnect: self.last_reconnect.map(|at| now.duration_since(at)),
            idle: now.duration_since(self.active),
            age,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Config;
    use uuid::Uuid;

    fn core(now: Instant) -> DataChannel {
        let config = Config {
            client_id: Uuid::nil(),
            rng: fastrand::Rng::with_seed(1),
            unix_millis: 1,
            max_payload: 1024,
            answer_timeout: Duration::from_secs(60),
            no_data_keys: None,
        };
        DataChannel::new(config, now.into_std())
    }

    fn stats(sent: u64, received: u64) -> Stats {
        Stats {
            sent_messages: sent,
            sent_bytes: sent * 100,
            received_messages: received,
            received_bytes: received * 100,
            ..Stats::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn rates_are_of_the_last_seconds_and_idleness_of_the_last_message() {
        let start = Instant::now();
        let core = core(start);
        let mut meter = Meter::new(start);
        let at = |millis: u64| start + Duration::from_millis(millis);
        for second in 0..10 {
            meter.note(at(second * 1000 + 500), stats(second + 1, 2 * (second + 1)));
        }
        let figures = meter.figures(at(9_500), &core, true);
        // Five messages in the four and a half seconds from 5.0 on.
        assert!((figures.sent_rate - 500.0 / 4.5).abs() < 1e-6);
        assert!((figures.received_rate - 1000.0 / 4.5).abs() < 1e-6);
        assert_eq!(figures.idle, Duration::ZERO);
        // A turn without messages changes nothing.
        meter.note(at(60_000), stats(10, 20));
        let figures = meter.figures(at(60_000), &core, true);
        assert_eq!((figures.sent_rate, figures.received_rate), (0.0, 0.0));
        assert_eq!(figures.idle, Duration::from_millis(50_500));
        assert_eq!(figures.age, Duration::from_secs(60));
        assert_eq!((figures.reconnects, figures.last_reconnect), (0, None));
        meter.reconnected(at(60_000));
        let figures = meter.figures(at(61_000), &core, false);
        assert_eq!(figures.last_reconnect, Some(Duration::from_secs(1)));
        assert!(!figures.connected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_young_channel_has_rates_too() {
        let start = Instant::now();
        let core = core(start);
        let mut meter = Meter::new(start);
        meter.note(start, stats(1, 0));
        let figures = meter.figures(start + Duration::from_millis(500), &core, true);
        assert!((figures.sent_rate - 200.0).abs() < 1e-6);
    }
}
