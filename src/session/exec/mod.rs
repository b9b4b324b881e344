//! A command on a node as `ssh HOST COMMAND` runs it: its three streams apart and byte for byte,
//! its exit status, signals.
//!
//! No document of AWS's offers that. NonInteractiveCommands have no input, no shell, and tell
//! outputs apart and an exit status only where a document of the user's own asks for it;
//! InteractiveCommands have input, but all on one terminal, whose output agents alter where it
//! is no UTF-8. So `AWS-StartInteractiveCommand`, which every account has, is given a wrapper
//! ([`wrapper.sh`](script)) that carries the streams over the terminal as lines of ASCII:
//!
//! ```text
//! keyboard ─ cat ─ cat ─ xi: decodes, acknowledges ─► stdin ┐
//!                                                           command ── status
//! screen ◄─ xe E: encodes ◄── stderr ┘ └── stdout ──► xe O: encodes ─► screen
//! ```
//!
//! It makes the terminal raw but for the interrupt and quit characters, which the node's kernel
//! turns into signals for the command however much input waits. Each line to the screen is one
//! write, so lines never mix. They begin with STX (0x02), a letter and, mostly, base64:
//!
//! | line | meaning |
//! |---|---|
//! | `S1b`, `S1o` | the wrapper is ready; it has base64, or only `od` and `printf` |
//! | `O…`, `E…` | bytes of stdout, of stderr |
//! | `A<n>` | a line of n characters of input was passed on |
//! | `C` | the command takes no more input |
//! | `X<n>` | the command has ended, as `$?` has it (128 + n for signal n) |
//! | `Z` | all output is told; the wrapper hangs up on its terminal |
//!
//! What comes without STX was written to the terminal itself, as password prompts are; it goes to
//! stderr. Input goes as base64 (or octal escapes) with a full stop behind each piece; `E.` is
//! its end, `T.` asks for SIGTERM. At most `WINDOW` characters are on their way unacknowledged:
//! that fits into the pipe between the two `cat`s, so a command that does not read its input
//! never blocks the agent, and with it signals and acknowledgements.
//!
//! The wrapper needs `sh` (dash, bash and BusyBox are tested), `stty`, `dd` and `cat`, and
//! `base64` or `od`. It starts the command in the home directory, with a controlling terminal
//! (which is raw) but none among its streams. Processes that the command leaves behind are hung
//! up on unless they ignore that (`nohup`, `setsid`), and, as with ssh, the end waits for those
//! that keep the outputs open.

mod frames;
mod mark;
mod outgoing;
pub mod powershell;
mod running;
pub mod script;

use std::time::Duration;

use thiserror::Error;

use self::running::Running;
use super::Options;
use super::ending::{Outcome, SessionFailure};
use super::front::Front;
use super::opening::Opening;
use crate::aws::{Aws, SessionGrant};
use crate::protocol::SessionType;

pub use mark::Mark;

/// Characters of input that may be on their way to the command. The pipe between the wrapper's
/// two `cat`s takes as many.
const WINDOW: usize = 64 * 1024;
/// The status of a command that took too long, as `timeout` has it.
pub const TIMED_OUT: i32 = 124;

/// A command to be run, for a session that was granted with [`script::framed`].
#[derive(Debug)]
pub struct Setup {
    /// Credentials, region and endpoints.
    pub aws: Aws,
    /// The answer to StartSession.
    pub grant: SessionGrant,
    /// The managed node's id.
    pub target: String,
    /// How to behave.
    pub options: Options,
    /// Whether standard input is for the command.
    pub input: bool,
    /// How long the command may take.
    pub timeout: Option<Duration>,
}

/// Why there is no exit status of the command.
#[derive(Debug, Error)]
pub enum Failure {
    /// The session failed.
    #[error("{0}")]
    Session(SessionFailure),
    /// The wrapper did not start.
    #[error("the node did not run the command{0}")]
    NotRun(String),
    /// The session is over, and the command's status was not told.
    #[error("the session ended before the command did")]
    NoStatus,
}

impl From<SessionFailure> for Failure {
    fn from(failure: SessionFailure) -> Self {
        Self::Session(failure)
    }
}

/// Runs the command to its end.
///
/// # Errors
///
/// Why its exit status is not known; the remote side is terminated by then.
pub async fn run(setup: Setup) -> Result<Outcome, Failure> {
    let front = Front::new(setup.options.clone(), &setup.grant.session_id)?;
    // What is typed is for the command, though reconnecting may want new credentials.
    setup.aws.stop_prompting();
    let opening = Opening::begin(setup.aws, setup.grant, setup.target, setup.options.channel)?;
    let (front, opened) = match front.open(opening).await {
        Ok(opened) => opened,
        Err(outcome) => return Ok(outcome?),
    };
    let kind = opened.kind.clone();
    let running = Running::new(front, opened, setup.input, setup.timeout);
    match kind {
        SessionType::InteractiveCommands | SessionType::StandardStream => running.run().await,
        _ => running.refuse().await,
    }
}
