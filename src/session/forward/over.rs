//! How a port session is told to end, and how it ended.

use tokio::sync::watch;

use crate::channel::End;
use crate::protocol::error::SessionError;
use crate::session::ending::{SessionFailure, sentence};

/// How a port session ended.
#[derive(Debug)]
pub enum Over {
    /// The service or the agent ended it; the reason, as it came, may be empty.
    Closed(String),
    /// The service says that it is over: idle for too long, at its maximum duration, or terminated
    /// while the connection was lost.
    TimedOut,
    /// It could not go on.
    Failed(SessionFailure),
    /// We were told to leave.
    Stopped,
}

impl Over {
    /// What the end of a channel is for its session.
    pub fn of(end: End) -> Self {
        match end {
            End::Closed(reason) => Self::Closed(reason),
            End::TimedOut => Self::TimedOut,
            end => Self::Failed(SessionFailure::of(end)),
        }
    }

    /// Whether another session to the same destination may fare better.
    pub fn can_restart(&self) -> bool {
        match self {
            // A loopback or metadata address: agents refuse it whenever they are asked.
            Self::Closed(reason) => !reason.contains("is forbidden"),
            Self::TimedOut => true,
            Self::Failed(failure) => !matches!(
                failure,
                SessionFailure::Protocol(SessionError::Refused(_)) | SessionFailure::Local { .. }
            ),
            Self::Stopped => false,
        }
    }

    /// The same as a failure; `None` for an end without a reason, or at our wish.
    pub fn into_failure(self) -> Option<SessionFailure> {
        match self {
            Self::Closed(reason) if reason.is_empty() => None,
            Self::Closed(reason) => Some(SessionFailure::Closed(sentence(&reason))),
            Self::TimedOut => Some(SessionFailure::TimedOut),
            Self::Failed(failure) => Some(failure),
            Self::Stopped => None,
        }
    }

    /// The same for a session that has carried nothing: that it ended is a failure.
    pub(super) fn before_use(self) -> Self {
        match self {
            Self::Closed(reason) => Self::Failed(SessionFailure::Closed(sentence(&reason))),
            Self::TimedOut => Self::Failed(SessionFailure::TimedOut),
            over => over,
        }
    }

    /// Why, in words.
    pub fn reason(&self) -> String {
        match self {
            Self::Closed(reason) if reason.is_empty() => {
                "it was terminated, or reached its idle timeout or maximum duration".to_owned()
            }
            Self::Closed(reason) => sentence(reason),
            Self::TimedOut => {
                "it timed out or was terminated while the connection was lost".to_owned()
            }
            Self::Failed(failure) => failure.to_string(),
            Self::Stopped => "it was left".to_owned(),
        }
    }
}

/// How much somebody wants a session to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Wish {
    Run,
    Leave,
    LeaveSoon,
    LeaveAtOnce,
}

/// Tells sessions to end. Dropping it tells them too.
#[derive(Debug)]
pub struct Stopper(watch::Sender<Wish>);

/// Hears that its session is to end. Clones hear the same.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<Wish>);

impl Stopper {
    /// One that nobody listens to yet.
    pub fn new() -> Self {
        Self(watch::Sender::new(Wish::Run))
    }

    /// For a session.
    pub fn listen(&self) -> Stop {
        Stop(self.0.subscribe())
    }

    /// Sessions end in good order, within some seconds.
    pub fn leave(&self) {
        self.raise(Wish::Leave);
    }

    /// The same, if that can be had within a second or two: what we belong to is going down.
    pub fn leave_soon(&self) {
        self.raise(Wish::LeaveSoon);
    }

    /// Sessions that are still there are left as they are.
    pub fn leave_at_once(&self) {
        self.raise(Wish::LeaveAtOnce);
    }

    fn raise(&self, wish: Wish) {
        self.0.send_if_modified(|present| {
            let grows = wish > *present;
            *present = wish.max(*present);
            grows
        });
    }
}

impl Default for Stopper {
    fn default() -> Self {
        Self::new()
    }
}

impl Stop {
    /// Whether the session is to end.
    pub fn is_wanted(&self) -> bool {
        *self.0.borrow() > Wish::Run || self.0.has_changed().is_err()
    }

    /// Waits until the session is to end. Safe to cancel.
    pub async fn wanted(&mut self) {
        // An error means that nobody is left to tell, which is a wish to end as well.
        let _ = self.0.wait_for(|wish| *wish > Wish::Run).await;
    }

    /// Whether an end is to be quick.
    pub fn is_hasty(&self) -> bool {
        *self.0.borrow() >= Wish::LeaveSoon
    }

    /// Waits until somebody insists, even on an end in bad order. Safe to cancel.
    pub async fn insisted(&mut self) {
        let _ = self.0.wait_for(|wish| *wish == Wish::LeaveAtOnce).await;
    }
}

/// Whether a session that could not be had may be had later, without anybody changing anything.
pub(super) fn may_pass(failure: &SessionFailure) -> bool {
    if let Some(error) = failure.aws() {
        return error.is_transient() || error.code() == Some("TargetNotConnected");
    }
    match failure {
        SessionFailure::NotConnected(_)
        | SessionFailure::LostForGood(_)
        | SessionFailure::Useless(_)
        | SessionFailure::TimedOut
        | SessionFailure::Protocol(SessionError::NoAnswer(_)) => true,
        // With a reason it is what the agent finds whenever it is asked: no such host, no such
        // port, no leave.
        SessionFailure::Closed(reason) => reason.is_empty(),
        SessionFailure::Astray { passes, .. } => *passes,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[test]
    fn wishes_only_grow() {
        let stopper = Stopper::new();
        let mut stop = stopper.listen();
        assert!(!stop.is_wanted());
        assert!(stop.wanted().now_or_never().is_none());
        stopper.leave();
        assert!(stop.is_wanted());
        assert!(stop.wanted().now_or_never().is_some());
        assert!(stop.insisted().now_or_never().is_none());
        assert!(!stop.is_hasty());
        stopper.leave_soon();
        assert!(stop.is_hasty());
        assert!(stop.insisted().now_or_never().is_none());
        stopper.leave_at_once();
        stopper.leave();
        assert!(stop.is_hasty());
        assert!(stop.insisted().now_or_never().is_some());
        assert!(stopper.listen().insisted().now_or_never().is_some());
    }

    #[test]
    fn who_can_no_longer_be_told_ends() {
        let stopper = Stopper::new();
        let mut stop = stopper.listen();
        drop(stopper);
        assert!(stop.is_wanted());
        assert!(stop.wanted().now_or_never().is_some());
        assert!(stop.insisted().now_or_never().is_some());
    }
}
