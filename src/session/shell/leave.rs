//! The way out: everything written, the terminal restored, the remote side ended.

use std::time::Duration;

use tokio::time::timeout;
use tracing::debug;

use super::super::ending::{Outcome, SessionFailure};
use super::super::notices::plugin;
use super::super::{Style, TERMINATE_TIMEOUT};
use super::{Exit, Session, local, printable};
use crate::aws::Aws;
use crate::channel::End;
use crate::terminal::{self, Signal, Signals};

/// How long a stdout that takes nothing may keep someone who wants to leave.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);

impl Session {
    /// Leaves by `exit`.
    pub(super) async fn leave(mut self, exit: Exit) -> Result<Outcome, SessionFailure> {
        self.input = None;
        let ended = Ok(Outcome::Ended {
            exit_code: self.exit_code,
        });
        let plugin = self.options.style == Style::Plugin;
        let by_itself = matches!(exit, Exit::Channel(_));
        let (result, text, terminate) = match exit {
            Exit::Channel(End::Closed(output)) => {
                let text = plugin::ended(&self.session_id, &output);
                let result = match self.exit_code {
                    _ if plugin && !self.incomplete => ended,
                    None if !output.is_empty() && !plugin => {
                        Err(SessionFailure::Closed(printable(&output)))
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
            Exit::Channel(End::Failed(error)) => (Err(error.into()), String::new(), true),
            Exit::Channel(End::NotConnected(error)) => (Err(error.into()), String::new(), true),
            Exit::Channel(End::LostForGood(error)) => (Err(error.into()), String::new(), true),
            Exit::Channel(End::Useless(reason)) => {
                (Err(SessionFailure::Useless(reason)), String::new(), true)
            }
            Exit::Leave(result) => {
                let text = plugin::ended(&self.session_id, "");
                (result, text, true)
            }
        };
        let flushed = match &result {
            Ok(Outcome::Signal(_)) => None,
            // What is left of the output goes out first, however long the reader takes.
            Ok(Outcome::Ended { .. }) | Err(_) if by_itself => self.flush().await,
            Ok(Outcome::Ended { .. }) | Err(_) => timeout(LEAVE_TIMEOUT, self.flush())
                .await
                .unwrap_or_default(),
        };
        let Self {
            aws,
            session_id,
            channel,
            mut signals,
            mut stdout,
            raw,
            exit_code,
            ..
        } = self;
        let tell = raw.is_some() && !plugin && result.is_ok();
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
                stdout.push(text.into());
                let _ = timeout(TERMINATE_TIMEOUT, stdout.flush()).await;
            }
            if terminate {
                terminate_session(&aws, &session_id).await;
            }
            channel.close().await;
        };
        tokio::select! {
            () = last => {}
            () = enough(&mut signals) => debug!("told to leave at once"),
        }
        flushed.unwrap_or(result)
    }

    /// Writes out what is queued; the outcome if that is cut short.
    async fn flush(&mut self) -> Option<Result<Outcome, SessionFailure>> {
        loop {
            tokio::select! {
                written = async {
                    self.stdout.flush().await?;
                    self.stderr.flush().await
                } => return written.err().map(output_lost),
                signal = self.signals.next() => {
                    if let Some(number) = signal.number() {
                        return Some(Ok(Outcome::Signal(number.into())));
                    }
                }
            }
        }
    }
}

/// Waits until somebody insists. A hang-up does not count: it often comes in a pair.
async fn enough(signals: &mut Signals) {
    while !matches!(
        signals.next().await,
        Signal::Interrupt | Signal::Quit | Signal::Terminate
    ) {}
}

/// Ends the remote side of a session that is left here; without it, it would live until its idle
/// timeout.
async fn terminate_session(aws: &Aws, session_id: &str) {
    match timeout(TERMINATE_TIMEOUT, aws.terminate_session(session_id)).await {
        Ok(Ok(())) => debug!("session terminated"),
        Ok(Err(error)) => debug!(%error, "the session could not be terminated"),
        Err(_) => debug!("the session could not be terminated in time"),
    }
}

/// A reader that went away is a quiet end, as after SIGPIPE.
pub(super) fn output_lost(error: std::io::Error) -> Result<Outcome, SessionFailure> {
    const SIGPIPE: i32 = 13;
    if error.kind() == std::io::ErrorKind::BrokenPipe {
        return Ok(Outcome::Signal(SIGPIPE));
    }
    Err(local("cannot write the session's output")(error))
}
