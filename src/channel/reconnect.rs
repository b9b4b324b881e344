//! From a lost connection to a new one: ResumeSession, then connect, again and again.

use std::time::Duration;

use thiserror::Error;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::debug;

use super::websocket::{self, ConnectError, Socket};
use crate::aws::{self, Aws, SessionGrant};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Dials of the first connection; official clients make seven.
const FIRST_DIALS: u32 = 6;
/// The longest idle timeout that the service knows: no session outlives it without a client.
const GIVE_UP_AFTER: Duration = Duration::from_secs(3600);
/// How long a refused upgrade, missing credentials or a stranger's answer (that of a hotel's log-in
/// page, to a laptop that has just woken up) may last, in the hope that somebody mends it.
const MENDABLE_FOR: Duration = Duration::from_secs(300);

/// Why a lost connection could not be replaced.
#[derive(Debug, Error)]
pub enum ReconnectError {
    /// The service refuses to resume.
    #[error("the session cannot be resumed: {0}")]
    Resume(#[source] aws::Error),
    /// The service resumes, the gateway refuses.
    #[error("the session cannot be reconnected: {0}")]
    Connect(#[source] ConnectError),
}

impl ReconnectError {
    /// Why, in few words, while it is tried again; and what to do, if somebody has to.
    fn told(&self) -> String {
        match self {
            Self::Resume(error) if error.is_credentials() => match error.hint() {
                Some(hint) => format!("{}; {hint}", error.reason()),
                None => error.reason().to_owned(),
            },
            Self::Resume(error) => error.reason().to_owned(),
            Self::Connect(error) => error.to_string(),
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Resume(error) => error.hint(),
            Self::Connect(error) => error.hint(),
        }
    }
}

/// A new connection, with what is needed to open the channel on it.
pub struct Connection {
    /// The WebSocket.
    pub socket: Socket,
    /// Token and URL.
    pub grant: SessionGrant,
}

/// Makes the first connection, with one token throughout.
pub async fn connect_first(aws: Aws, grant: SessionGrant) -> Result<Connection, ConnectError> {
    let mut pauses = Pauses::default();
    loop {
        match websocket::connect(&aws, &grant.stream_url).await {
            Ok(socket) => return Ok(Connection { socket, grant }),
            Err(error) if error.is_transient() && pauses.count + 1 < FIRST_DIALS => {
                debug!(%error, "the first connection failed");
                pauses.pause().await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Replaces a lost connection. `None` if the service says that the session is over. `useless`
/// connections before it brought nothing, so this one is not to follow at once. What hinders it
/// is told to `hindered`, if there is room.
pub async fn reconnect(
    aws: Aws,
    old: SessionGrant,
    useless: u32,
    hindered: mpsc::Sender<String>,
) -> Result<Option<Connection>, ReconnectError> {
    let began = Instant::now();
    let mut pauses = Pauses { count: useless };
    if useless > 0 {
        pauses.pause().await;
    }
    loop {
        let error = match aws.resume_session(&old.session_id).await {
            Ok(None) => return Ok(None),
            Ok(Some(mut grant)) => {
                if grant.stream_url.is_empty() {
                    grant.stream_url.clone_from(&old.stream_url);
                }
                match websocket::connect(&aws, &grant.stream_url).await {
                    Ok(socket) => return Ok(Some(Connection { socket, grant })),
                    Err(error) => ReconnectError::Connect(error),
                }
            }
            Err(error) => ReconnectError::Resume(error),
        };
        let patience = match &error {
            ReconnectError::Resume(error) if error.is_transient() => GIVE_UP_AFTER,
            ReconnectError::Resume(error) if error.is_credentials() => MENDABLE_FOR,
            // Not the service's own word.
            ReconnectError::Resume(error) if error.code().is_none() => MENDABLE_FOR,
            ReconnectError::Connect(error) if error.is_transient() => GIVE_UP_AFTER,
            ReconnectError::Connect(ConnectError::Refused { .. } | ConnectError::Tls { .. }) => {
                MENDABLE_FOR
            }
            _ => Duration::ZERO,
        };
        if began.elapsed() >= patience {
            return Err(error);
        }
        debug!(%error, "reconnecting failed");
        // A full queue means that the same was told before.
        let _ = hindered.try_send(error.told());
        pauses.pause().await;
    }
}

/// Pauses that double, with jitter, so that clients do not come back in step.
#[derive(Debug, Default)]
struct Pauses {
    count: u32,
}

impl Pauses {
    async fn pause(&mut self) {
        let longest = FIRST_PAUSE
            .saturating_mul(1 << self.count.min(10))
            .min(LONGEST_PAUSE);
        self.count += 1;
        tokio::time::sleep(longest.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
    }
}
