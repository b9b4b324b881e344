//! The texts around a session: the official plugin's on stdout, or ours on stderr.

use std::time::Duration;

use tokio::time::Instant;

/// A loss that lasts longer than this is told before its end.
const PATIENCE: Duration = Duration::from_secs(1);
/// A connection that lasted no longer was none.
const RELAPSE: Duration = Duration::from_secs(10);
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

    /// `place`, such as `Port 54321`, accepts connections; `many` at once or not.
    pub fn listening(place: &str, session_id: &str, many: bool) -> String {
        let waiting = if many {
            "Waiting for connections...\n"
        } else {
            ""
        };
        format!("{place} opened for sessionId {session_id}.\n{waiting}")
    }

    /// The first connection is there.
    pub fn accepted(session_id: &str, many: bool) -> String {
        if many {
            format!("\nConnection accepted for session [{session_id}]\n")
        } else {
            format!("Connection accepted for session {session_id}.\n")
        }
    }

    /// The agent cannot connect to the destination.
    pub const REFUSED: &str = "\nConnection to destination port failed, check SSM Agent logs.\n";

    /// A signal ends a port session.
    pub const INTERRUPTED: &str = "Terminate signal received, exiting.\n";

    /// The session cannot be used.
    pub fn failed(reason: &str) -> String {
        format!("Cannot perform start session: {reason}\n")
    }
}

/// One line a loss, whether it is mended at once or not; further lines only if it lasts. What is
/// lost again as soon as it is mended is the same loss.
///
/// The methods answer with the text to be shown, if there is one.
#[derive(Debug, Default)]
pub struct LossNotice {
    loss: Option<Loss>,
}

#[derive(Debug)]
struct Loss {
    first: Instant,
    latest: Instant,
    resumed: Option<Instant>,
    reason: String,
    hindrance: Option<String>,
    told: Told,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    Mended,
    Lasting,
}

impl LossNotice {
    /// The connection is lost.
    pub fn lost(&mut self, reason: String) {
        let now = Instant::now();
        match &mut self.loss {
            Some(loss) if loss.resumed.is_none_or(|at| now - at < RELAPSE) => {
                loss.latest = now;
                loss.resumed = None;
                loss.reason = reason;
            }
            _ => {
                self.loss = Some(Loss {
                    first: now,
                    latest: now,
                    resumed: None,
                    reason,
                    hindrance: None,
                    told: Told::Nothing,
                });
            }
        }
    }

    /// The connection cannot be replaced yet.
    pub fn hindered(&mut self, reason: String) -> Option<String> {
        let loss = self.loss.as_mut()?;
        let news = loss.told == Told::Lasting && loss.hindrance.as_ref() != Some(&reason);
        let text = news.then(|| format!("still reconnecting: {reason}"));
        loss.hindrance = Some(reason);
        text
    }

    /// The connection is replaced.
    pub fn resumed(&mut self) -> Option<String> {
        let loss = self.loss.as_mut()?;
        loss.resumed = Some(Instant::now());
        if loss.told != Told::Nothing {
            return None;
        }
        loss.told = Told::Mended;
        Some(format!("connection lost ({}), resumed", loss.reason))
    }

    /// Whether the connection is lost at present.
    pub fn lasts(&self) -> bool {
        self.loss
            .as_ref()
            .is_some_and(|loss| loss.resumed.is_none())
    }

    /// When [`tell`](Self::tell) is due.
    pub fn deadline(&self) -> Option<Instant> {
        let loss = self.loss.as_ref()?;
        match (loss.resumed, loss.told) {
            (None, Told::Nothing | Told::Mended) => Some(loss.latest + PATIENCE),
            (Some(at), Told::Lasting) if at - loss.first > LONG => Some(at + PATIENCE),
            _ => None,
        }
    }

    /// The loss lasts, or is mended for good after it lasted.
    pub fn tell(&mut self) -> Option<String> {
        let loss = self.loss.as_mut()?;
        match loss.resumed {
            None => {
                loss.told = Told::Lasting;
                let reason = loss.hindrance.as_ref().unwrap_or(&loss.reason);
                Some(format!("connection lost ({reason}), resuming ..."))
            }
            Some(at) => {
                let seconds = (at - loss.first).as_secs();
                self.loss = None;
                Some(format!("resumed after {seconds} s"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    /// What is told until `next` has passed, if it has.
    async fn wait(notice: &mut LossNotice, next: Duration) -> Vec<String> {
        let until = Instant::now() + next;
        let mut told = Vec::new();
        while let Some(at) = notice.deadline().filter(|at| *at <= until) {
            advance(at - Instant::now()).await;
            told.extend(notice.tell());
        }
        advance(until - Instant::now()).await;
        told
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_loss_that_is_mended_at_once_is_one_line() {
        let mut notice = LossNotice::default();
        notice.lost("Bye".into());
        let resumed = notice.resumed();
        assert_eq!(resumed.as_deref(), Some("connection lost (Bye), resumed"));
        assert!(wait(&mut notice, 30 * SECOND).await.is_empty());
        notice.lost("Bye".into());
        assert!(notice.resumed().is_some(), "this is another");
    }

    #[tokio::test(start_paused = true)]
    async fn a_loss_that_lasts_is_told_before_its_end() {
        let mut notice = LossNotice::default();
        notice.lost("reset".into());
        assert_eq!(notice.hindered("no route".into()), None);
        let told = wait(&mut notice, 20 * SECOND).await;
        assert_eq!(told, ["connection lost (no route), resuming ..."]);
        assert_eq!(notice.hindered("no route".into()), None);
        let news = notice.hindered("denied".into());
        assert_eq!(news.as_deref(), Some("still reconnecting: denied"));
        assert_eq!(notice.resumed(), None);
        let told = wait(&mut notice, 20 * SECOND).await;
        assert_eq!(told, ["resumed after 20 s"]);
    }

    #[tokio::test(start_paused = true)]
    async fn connections_that_are_lost_at_once_again_are_one_loss() {
        let mut notice = LossNotice::default();
        let mut told = Vec::new();
        for _ in 0..60 {
            notice.lost("Bye".into());
            told.extend(wait(&mut notice, 3 * SECOND).await);
            told.extend(notice.resumed());
            told.extend(wait(&mut notice, SECOND / 2).await);
        }
        assert_eq!(told, ["connection lost (Bye), resuming ..."]);
    }
}
