//! The way out: everything written, the terminal restored, the remote side ended.

use std::time::Duration;

use tokio::time::timeout;
use tracing::debug;

use super::ending::{Outcome, SessionFailure, sentence};
use super::front::Front;
use super::notices::plugin;
use super::{Style, TERMINATE_TIMEOUT};
use crate::aws::Aws;
use crate::channel::{Channel, End};
use crate::terminal::{self, RawMode, Signal, Signals};

/// How long a stdout that takes nothing may keep someone who wants to leave.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);

/// Why a session is left.
pub enum Exit {
    /// The channel has ended.
    Channel(End),
    /// The user or the system wants us gone; the remote side does not know yet.
    Leave(Result<Outcome, SessionFailure>),
}

/// A session that is to be left: a shell, or one that never came to be anything.
pub struct Leaving {
    pub aws: Aws,
    pub session_id: String,
    pub channel: Channel,
    pub front: Front,
    pub raw: Option<RawMode>,
    pub exit_code: Option<i32>,
    /// Whether something is missing from the output.
    pub incomplete: bool,
}

impl Leaving {
    /// Leaves by `exit`.
    pub async fn leave(mut self, exit: Exit) -> Result<Outcome, SessionFailure> {
        self.front.announce();
        let ended = Ok(Outcome::Ended {
            exit_code: self.exit_code,
        });
        let plugin = self.front.options.style == Style::Plugin;
        let by_itself = matches!(exit, Exit::Channel(_));
        let (result, text, terminate) = match exit {
            Exit::Channel(End::Closed(output)) => {
                let text = plugin::ended(&self.session_id, &output);
                let result = match self.exit_code {
                    _ if plugin && !self.incomplete => ended,
                    None if !output.is_empty() && !plugin => {
                        Err(SessionFailure::Closed(sentence(&output)))
                    }
                    None | Some(0) if self.incomplete => Err(SessionFailure::Incomplete),
                    _ => ended,
                };
                (result, text, false)
            }
            Exit::Channel(End::TimedOut) => {
                let result = if plugin {
                    ended
                } else {
                    Err(SessionFailure::TimedOut)
                };
                (result, plugin::timed_out(&self.session_id), false)
            }
            Exit::Channel(end) => (Err(SessionFailure::of(end)), String::new(), true),
            Exit::Leave(result) => {
                let text = plugin::ended(&self.session_id, "");
                (result, text, true)
            }
        };
        let flushed = match &result {
            Ok(Outcome::Signal(_)) => None,
            // What is left of the output goes out first, however long the reader takes.
            Ok(Outcome::Ended { .. }) | Err(_) if by_itself => self.front.flush().await,
            Ok(Outcome::Ended { .. }) | Err(_) => timeout(LEAVE_TIMEOUT, self.front.flush())
                .await
                .unwrap_or_default(),
        };
        let Self {
            aws,
            session_id,
            channel,
            mut front,
            raw,
            exit_code,
            ..
        } = self;
        let banner = front.options.mark.is_none();
        let tell = raw.is_some() && banner && !plugin && result.is_ok();
        // A shell that was left stands in the middle of its line; in raw mode a notice begins a
        // new one.
        if tell && !by_itself {
            terminal::notice("session ended");
        }
        drop(raw);
        if tell && by_itself {
            terminal::notice("session ended");
        }
        if !plugin && exit_code.is_some_and(|code| code < 0) {
            terminal::notice("the command was ended by a signal");
        }
        let last = async {
            if plugin && !text.is_empty() {
                front.stdout.push(text.into());
                let _ = timeout(TERMINATE_TIMEOUT, front.stdout.flush()).await;
            }
            if terminate {
                terminate_session(&aws, &session_id).await;
            }
            channel.close().await;
        };
        tokio::select! {
            () = last => {}
            () = enough(&mut front.signals) => debug!("told to leave at once"),
        }
        flushed.unwrap_or(result)
    }
}

/// Waits until somebody insists. A hang-up does not count: it often comes in a pair.
pub async fn enough(signals: &mut Signals) {
    while !matches!(
        signals.next().await,
        Signal::Interrupt | Signal::Quit | Signal::Terminate
    ) {}
}

/// Ends the remote side of a session that is left here; without it, it would live until its idle
/// timeout.
pub async fn terminate_session(aws: &Aws, session_id: &str) {
    match timeout(TERMINATE_TIMEOUT, aws.terminate_session(session_id)).await {
        Ok(Ok(())) => debug!("session terminated"),
        Ok(Err(error)) => debug!(%error, "the session could not be terminated"),
        Err(_) => debug!("the session could not be terminated in time"),
    }
}

/// A reader that went away is a quiet end, as after SIGPIPE.
pub fn output_lost(error: std::io::Error) -> Result<Outcome, SessionFailure> {
    const SIGPIPE: i32 = 13;
    if error.kind() == std::io::ErrorKind::BrokenPipe {
        return Ok(Outcome::Signal(SIGPIPE));
    }
    Err(SessionFailure::local("cannot write the session's output")(
        error,
    ))
}
