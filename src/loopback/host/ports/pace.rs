//! The pause that agents make behind each read.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::super::super::output::CHUNK;
use super::super::thread::{PACE, READ_BUFFER};

/// How far reads may catch up: timers are not exact to the millisecond.
const SLACK: Duration = Duration::from_millis(4);

/// Decides how much is read when.
pub(super) struct Pace {
    /// When the next read is due; `None` for at once, always.
    next: Option<Instant>,
}

impl Pace {
    pub(super) fn new(paced: bool) -> Self {
        Self {
            next: paced.then(Instant::now),
        }
    }

    /// The most that one read brings, in bytes.
    pub(super) fn size(&self) -> usize {
        if self.next.is_some() {
            CHUNK
        } else {
            READ_BUFFER
        }
    }

    /// Waits until the next read is due.
    pub(super) async fn due(&self) {
        if let Some(next) = self.next {
            sleep_until(next).await;
        }
    }

    /// Something was read.
    pub(super) fn has_read(&mut self) {
        if let Some(next) = &mut self.next {
            let now = Instant::now();
            let earliest = now.checked_sub(SLACK).unwrap_or(now);
            *next = (*next).max(earliest) + PACE;
        }
    }
}
