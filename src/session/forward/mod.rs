//! Port sessions: TCP connections through the agent.

pub mod aim;
mod backoff;
mod basic;
pub mod bind;
pub mod descriptors;
pub(super) mod leave;
pub mod listener;
mod local;
pub mod over;
mod owner;
pub mod properties;
pub mod proxy;
mod ready;
pub mod repeats;
pub mod report;
pub mod route;
mod socket;
mod stdio;
mod tunnel;
#[cfg(unix)]
mod unix_socket;

use super::Style;
use super::ending::{Outcome, SessionFailure};
use super::front::Front;
use super::opening::Opened;
use crate::aws::StartSession;
use crate::protocol::SessionType;
use crate::terminal;

pub use aim::Aim;
pub use listener::Listener;
pub use over::{Over, Stop, Stopper};
pub use properties::{Mode, Properties};

/// What is given for the case that a session forwards a port.
#[derive(Debug, Default)]
pub struct Given {
    /// Listens already.
    pub listener: Option<Listener>,
    /// What to ask the service for once the session is over, if another is to follow.
    pub again: Option<StartSession>,
    /// The node that is meant by then, if it may be another.
    pub aim: Option<Aim>,
}

/// Runs a port session that the user started by itself, to its end.
pub(super) async fn run(
    mut front: Front,
    opened: Opened,
    given: Given,
) -> Result<Outcome, SessionFailure> {
    if front.options.style == Style::Native {
        // The AWS CLI ignores interrupts lest they end it, shells lest they end their jobs.
        front.signals.leave_ignored_alone();
    }
    let properties = match &opened.kind {
        SessionType::Port(properties) => Properties::read(properties),
        _ => Properties::default(),
    };
    if properties.mode(opened.features) == Mode::Stdio {
        if let Some(listener) = given.listener {
            terminal::notice(&format!(
                "the session is for standard input and output: nothing is accepted on {}",
                listener.place()
            ));
            // Whoever comes there is refused from now on.
            drop(listener);
        }
        return stdio::run(front, opened).await;
    }
    local::run(front, opened, given, &properties).await
}
