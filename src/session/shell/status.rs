//! `~#`: how the session is doing, in a few lines.

use std::time::Duration;

use crate::channel::Figures;
use crate::session::units::{bytes, count, span};

/// The lines for the session of this id.
pub fn lines(session_id: &str, figures: &Figures) -> Vec<String> {
    let stats = &figures.stats;
    let connection = match (
        figures.connected,
        figures.reconnects,
        figures.last_reconnect,
    ) {
        (false, ..) => "reconnecting".to_owned(),
        (true, 0, _) => "never reconnected".to_owned(),
        (true, 1, Some(ago)) => format!("reconnected once, {} ago", span(ago)),
        (true, times, ago) => format!(
            "reconnected {times} times, the last time {} ago",
            span(ago.unwrap_or_default())
        ),
    };
    let round_trip = match (figures.round_trip, figures.least_round_trip) {
        (Some(smoothed), Some(least)) => {
            format!("{}, at least {}", millis(smoothed), millis(least))
        }
        _ => "not known yet".to_owned(),
    };
    let way = |name: &str, all: u64, messages: u64, rate: f64| {
        format!(
            "{name} {} in {}, {}/s now",
            bytes(all),
            count(messages, "message"),
            // A rate is not negative, and far from what fits.
            bytes(rate as u64)
        )
    };
    vec![
        format!(
            "session {session_id}, for {}, idle for {}; {connection}",
            span(figures.age),
            span(figures.idle)
        ),
        format!(
            "round trip {round_trip}; {} sent again, {} received twice",
            count(stats.resent, "message"),
            stats.duplicates
        ),
        way(
            "received",
            stats.received_bytes,
            stats.received_messages,
            figures.received_rate,
        ),
        way(
            "sent",
            stats.sent_bytes,
            stats.sent_messages,
            figures.sent_rate,
        ),
    ]
}

fn millis(time: Duration) -> String {
    let millis = time.as_secs_f64() * 1e3;
    match millis {
        _ if millis < 10.0 => format!("{millis:.1} ms"),
        _ => format!("{millis:.0} ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Stats;

    #[test]
    fn figures_are_for_people() {
        let mut figures = Figures {
            stats: Stats {
                resent: 1,
                duplicates: 2,
                sent_messages: 1,
                sent_bytes: 17,
                received_messages: 1234,
                received_bytes: 1_300_000,
                ..Stats::default()
            },
            round_trip: None,
            least_round_trip: None,
            sent_rate: 0.0,
            received_rate: 2_500.0,
            connected: true,
            reconnects: 0,
            last_reconnect: None,
            idle: Duration::from_secs(4),
            age: Duration::from_secs(3700),
        };
        assert_eq!(
            lines("me-1", &figures),
            [
                "session me-1, for 1 h 1 min, idle for 4 s; never reconnected",
                "round trip not known yet; 1 message sent again, 2 received twice",
                "received 1.3 MB in 1234 messages, 2.5 kB/s now",
                "sent 17 B in 1 message, 0 B/s now",
            ]
        );
        figures.round_trip = Some(Duration::from_micros(45_678));
        figures.least_round_trip = Some(Duration::from_micros(1_234));
        figures.reconnects = 2;
        figures.last_reconnect = Some(Duration::from_secs(90));
        let lines = lines("me-1", &figures);
        assert!(lines[0].ends_with("reconnected 2 times, the last time 1 min 30 s ago"));
        assert!(lines[1].starts_with("round trip 46 ms, at least 1.2 ms; "));
    }
}
