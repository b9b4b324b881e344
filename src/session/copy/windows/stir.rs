//! A session that carries nothing of the copy's, and is not to be ended for being idle.

use std::time::Duration;

use tokio::time::Instant;

/// How often something is sent on it. Accounts end sessions that are idle for a minute at least.
const STIR: Duration = Duration::from_secs(40);

/// When a session is to be kept from being idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stir {
    /// It is busy.
    Never,
    /// Then.
    At(Instant),
    /// At once.
    Now,
}

impl Stir {
    /// In a while.
    pub fn later() -> Self {
        Self::At(Instant::now() + STIR)
    }

    /// When it is time, unless it is time already.
    pub fn deadline(self) -> Option<Instant> {
        match self {
            Self::At(at) => Some(at),
            Self::Never | Self::Now => None,
        }
    }
}
