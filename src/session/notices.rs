//! The texts around a session: the official plugin's on stdout, or ours on stderr.

use std::time::Duration;

use tokio::time::Instant;

use crate::terminal;

/// A loss that lasts longer than this is told before its end.
const PATIENCE: Duration = Duration::from_secs(1);
/// After a loss that lasted longer than this, the return is told too.
const LONG: Duration = Duration::from_secs(10);

/// The official plugin's texts, byte for byte: scripts match them.
pub mod plugin {
    /// Before connecting.
    pub fn starting(session_id: &str) -> String {
        format!("\nStarting session with SessionId: {session_id}\n")
    }

    /// After `channel_closed`.
    pub fn ended(session_id: &str, output: &str) -> String {
        if output.is_empty() {
            format!("\n\nExiting session with sessionId: {session_id}.\n\n")
        } else {
            format!("\n\nSessionId: {session_id} : {output}\n\n")
        }
    }

    /// The service answered ResumeSession without a token.
    pub fn timed_out(session_id: &str) -> String {
        format!("Session: {session_id} timed out.\n")
    }
}

/// One dim line a loss, whether it is mended at once or not; further lines only if it lasts.
#[derive(Debug, Default)]
pub struct LossNotice {
    loss: Option<Loss>,
}

#[derive(Debug)]
struct Loss {
    since: Instant,
    reason: String,
    told: bool,
    hindrance: Option<String>,
}

impl LossNotice {
    /// The connection is lost.
    pub fn lost(&mut self, reason: String) {
        self.loss = Some(Loss {
            since: Instant::now(),
            reason,
            told: false,
            hindrance: None,
        });
    }

    /// The connection cannot be replaced yet.
    pub fn hindered(&mut self, reason: String) {
        let Some(loss) = &mut self.loss else { return };
        if loss.told && loss.hindrance.as_ref() != Some(&reason) {
            terminal::notice(&format!("still reconnecting: {reason}"));
        }
        loss.hindrance = Some(reason);
    }

    /// The connection is replaced.
    pub fn resumed(&mut self) {
        let Some(loss) = self.loss.take() else { return };
        let seconds = loss.since.elapsed().as_secs();
        if !loss.told {
            terminal::notice(&format!("connection lost ({}), resumed", loss.reason));
        } else if loss.since.elapsed() > LONG {
            terminal::notice(&format!("resumed after {seconds} s"));
        }
    }

    /// When [`tell`](Self::tell) is due.
    pub fn deadline(&self) -> Option<Instant> {
        let loss = self.loss.as_ref().filter(|loss| !loss.told)?;
        Some(loss.since + PATIENCE)
    }

    /// The loss lasts: tells it.
    pub fn tell(&mut self) {
        let Some(loss) = self.loss.as_mut().filter(|loss| !loss.told) else {
            return;
        };
        loss.told = true;
        let reason = loss.hindrance.as_ref().unwrap_or(&loss.reason);
        terminal::notice(&format!("connection lost ({reason}), resuming ..."));
    }
}
