//! Messages until they are acknowledged, and the one that is sent again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::protocol::rtt::RoundTrip;

/// The resend buffer: ordered by number, the oldest in front.
pub(super) struct Outgoing {
    next: i64,
    capacity: usize,
    kept: VecDeque<Kept>,
    unacknowledged: usize,
    round_trip: RoundTrip,
    tick: Option<Instant>,
}

struct Kept {
    sequence: i64,
    /// `None` once acknowledged.
    frame: Option<Bytes>,
    last_sent: Instant,
}

impl Outgoing {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            next: 0,
            capacity,
            kept: VecDeque::new(),
            unacknowledged: 0,
            round_trip: RoundTrip::default(),
            tick: None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.unacknowledged
    }

    pub(super) fn allocate(&mut self) -> i64 {
        self.next += 1;
        self.next - 1
    }

    /// Keeps a message; when the buffer is full it is not kept, so never sent again.
    pub(super) fn keep(&mut self, sequence: i64, frame: Bytes, now: Instant) {
        if self.unacknowledged < self.capacity {
            self.unacknowledged += 1;
            self.kept.push_back(Kept {
                sequence,
                frame: Some(frame),
                last_sent: now,
            });
        }
    }

    /// Takes an acknowledgement; the round trip counts from the last sending.
    pub(super) fn acknowledge(&mut self, sequence: i64, now: Instant) {
        // Most often it is the oldest.
        let index = match self.kept.front() {
            Some(kept) if kept.sequence == sequence => Ok(0),
            _ => self
                .kept
                .binary_search_by_key(&sequence, |kept| kept.sequence),
        };
        let Some(kept) = index.ok().and_then(|index| self.kept.get_mut(index)) else {
            return;
        };
        if kept.frame.take().is_some() {
            self.unacknowledged -= 1;
            self.round_trip
                .sample(now.saturating_duration_since(kept.last_sent));
        }
        while self.kept.front().is_some_and(|kept| kept.frame.is_none()) {
            self.kept.pop_front();
        }
    }

    /// The oldest message, if its time is over.
    pub(super) fn resend(&mut self, now: Instant) -> Option<Bytes> {
        let timeout = self.round_trip.timeout();
        let oldest = self.kept.front_mut()?;
        if now.saturating_duration_since(oldest.last_sent) <= timeout {
            return None;
        }
        oldest.last_sent = now;
        oldest.frame.clone()
    }

    pub(super) fn is_tick(&self, now: Instant) -> bool {
        self.tick.is_some_and(|tick| tick <= now)
    }

    pub(super) fn next_tick(&mut self, now: Instant, period: Duration) {
        self.tick = (self.unacknowledged > 0).then(|| now + period);
    }

    /// The next tick; there is none while nothing is kept.
    pub(super) fn tick(&mut self, now: Instant, period: Duration) -> Option<Instant> {
        if self.unacknowledged == 0 || self.tick.is_none() {
            self.next_tick(now, period);
        }
        self.tick
    }
}
