//! Pauses between attempts to have a session.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);
/// A session that lasted no longer counts as a failed attempt.
const LASTING: Duration = Duration::from_secs(10);

/// 1, 2, 4, … 30 s, as long as nothing lasts.
#[derive(Debug)]
pub struct Backoff {
    pause: Duration,
    not_before: Instant,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            pause: FIRST,
            not_before: Instant::now(),
        }
    }
}

impl Backoff {
    /// An attempt failed; the time until the next.
    pub fn failed(&mut self) -> Duration {
        let pause = self.pause;
        self.not_before = Instant::now() + pause;
        self.pause = (pause * 2).min(LONGEST);
        pause
    }

    /// A session that began at `since` is over. If it was `ended` with a reason, that is not worth
    /// longer and longer pauses: whoever comes next may be told another.
    pub fn served(&mut self, since: Instant, ended: bool) {
        let lasted = since.elapsed() >= LASTING;
        if lasted || ended {
            *self = Self::default();
        }
        if !lasted {
            self.failed();
        }
    }

    /// How long it is until an attempt may be made.
    pub fn remaining(&self) -> Duration {
        self.not_before.saturating_duration_since(Instant::now())
    }

    /// Waits until an attempt may be made. Safe to cancel.
    pub async fn wait(&self) {
        sleep_until(self.not_before).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_until_something_lasts() {
        let mut backoff = Backoff::default();
        let began = Instant::now();
        backoff.wait().await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        let pauses: Vec<u64> = (0..7).map(|_| backoff.failed().as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        backoff.wait().await;
        assert_eq!(began.elapsed(), LONGEST);
        let since = Instant::now();
        advance(LASTING).await;
        backoff.served(since, false);
        assert_eq!(backoff.remaining(), Duration::ZERO);
        assert_eq!(backoff.failed(), FIRST);
        backoff.served(Instant::now(), false);
        assert_eq!(backoff.remaining(), FIRST * 2);
        assert_eq!(backoff.failed(), FIRST * 4);
        for _ in 0..3 {
            backoff.served(Instant::now(), true);
            assert_eq!(backoff.remaining(), FIRST);
        }
    }
}
