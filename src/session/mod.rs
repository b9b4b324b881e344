//! What a data channel is used for, from the first byte to the exit status.
//!
//! [`run`] opens the channel, waits until the agent has said what the session is, bridges it to
//! the terminal, and sees to its end: the remote side is terminated on every way out that it did
//! not choose itself.

pub mod copy;
mod ending;
pub mod exec;
pub mod forward;
mod front;
mod leave;
mod notices;
pub mod opening;
pub mod record;
mod shell;
pub mod units;

use std::time::Duration;

use self::front::Front;
use self::opening::Opening;
use crate::aws::{Aws, SessionGrant};
use crate::channel;
use crate::protocol::SessionType;
use crate::terminal;
use crate::terminal::Ignored;

pub use ending::{Outcome, SessionFailure};

/// Whose manners a session has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// ssmx's own: stdout is only data, the remote exit status is ours.
    Native,
    /// Those of the official plugin: its texts on stdout, byte for byte.
    Plugin,
}

/// A session to be run.
#[derive(Debug)]
pub struct Setup {
    /// Credentials, region and endpoints.
    pub aws: Aws,
    /// The answer to StartSession or ResumeSession.
    pub grant: SessionGrant,
    /// The managed node's id, as the service knows it.
    pub target: String,
    /// How to behave.
    pub options: Options,
    /// For a session that forwards a port.
    pub forward: forward::Given,
}

/// How a session is to behave.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whose manners.
    pub style: Style,
    /// The first character of escape commands, if there are any.
    pub escape: Option<u8>,
    /// Whether the plugin's first line waits until it is known whether stdout is for data.
    pub hold_announcement: bool,
    /// Whether the end of a piped standard input is passed on, as end-of-file characters.
    pub send_eof: bool,
    /// What becomes of signals that the parent had ignored.
    pub ignored: Ignored,
    /// Told at the end of the output, with the exit status behind it; see [`exec::Mark`].
    pub mark: Option<String>,
    /// Gets what a terminal or a command shows.
    pub recording: Option<record::Recording>,
    /// The channel's.
    pub channel: channel::Options,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            style: Style::Native,
            escape: Some(b'~'),
            hold_announcement: false,
            send_eof: true,
            ignored: Ignored::Heeded,
            mark: None,
            recording: None,
            channel: channel::Options::default(),
        }
    }
}

impl Options {
    /// What a recording, if there is one, is said to be of.
    pub fn set_title(&self, title: &str) {
        if let Some(recording) = &self.recording {
            recording.set_title(title);
        }
    }
}

/// How long the service may take to terminate a session that we leave.
const TERMINATE_TIMEOUT: Duration = Duration::from_secs(5);

/// Runs a session to its end.
///
/// # Errors
///
/// Why the session did not end as it should; the terminal is restored and the remote side
/// terminated by then.
pub async fn run(setup: Setup) -> Result<Outcome, SessionFailure> {
    let Setup {
        aws,
        grant,
        target,
        options,
        forward,
    } = setup;
    let front = Front::new(options.clone(), &grant.session_id)?;
    // Keys typed in a session are for its other side, though reconnecting may want new
    // credentials.
    aws.stop_prompting();
    let opening = Opening::begin(aws, grant, target, options.channel)?;
    let (front, opened) = match front.open(opening).await {
        Ok(opened) => opened,
        Err(outcome) => return outcome,
    };
    if let SessionType::Port(_) = opened.kind {
        if options.recording.is_some() {
            terminal::notice("nothing is recorded: the session carries connections");
        }
        return forward::run(front, opened, forward).await;
    }
    match shell::Session::start(front, opened).await {
        Ok(session) => session.run().await,
        Err(outcome) => outcome,
    }
}
