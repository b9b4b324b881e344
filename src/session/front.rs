//! This end of a session that the user started: the standard streams, and what the system says.

use std::io::IsTerminal as _;

use bytes::Bytes;
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use super::ending::{Outcome, SessionFailure, printable};
use super::leave::{Exit, Leaving, output_lost};
use super::notices::plugin;
use super::opening::{Opened, Opening, Progress};
use super::{Options, Style};
use crate::protocol::payload::Size;
use crate::terminal::{self, Input, Output, Parent, Signal, Signals};

/// The size that a session without a terminal gets, as official clients give it.
const NO_TERMINAL: Size = Size {
    cols: 300,
    rows: 100,
};
/// What the suspend key types.
pub const SUSPEND: &[u8] = &[0x1a];

/// The standard streams but for stdin, signals, and manners.
pub struct Front {
    /// How to behave.
    pub options: Options,
    /// What the system says.
    pub signals: Signals,
    /// Its end is ours.
    pub parent: Parent,
    /// Standard output.
    pub stdout: Output,
    /// Standard error, for what a session writes to it.
    pub stderr: Output,
    /// Typed before the session was in force.
    pub early: Option<Bytes>,
    /// What the plugin says first, until that is said.
    announcement: Option<String>,
}

impl Front {
    /// For the session of this id.
    pub fn new(options: Options, session_id: &str) -> Result<Self, SessionFailure> {
        let signals = Signals::install_for(options.ignored)
            .map_err(SessionFailure::local("cannot listen for signals"))?;
        let parent = match options.style {
            Style::Plugin => Parent::watch_aws_cli(),
            Style::Native => Parent::unwatched(),
        };
        let announcement = match options.style {
            Style::Plugin => Some(plugin::starting(session_id)),
            Style::Native => None,
        };
        let hold = options.hold_announcement;
        let mut front = Self {
            options,
            signals,
            parent,
            stdout: Output::stdout(),
            stderr: Output::stderr(),
            early: None,
            announcement,
        };
        if !hold {
            front.announce();
        }
        Ok(front)
    }

    /// Says on stdout what is to be said first, if that is not done.
    pub fn announce(&mut self) {
        if let Some(text) = self.announcement.take() {
            self.stdout.push(text.into());
        }
    }

    /// The same on stderr, where stdout is for data.
    pub fn announce_on_stderr(&mut self) {
        if let Some(text) = self.announcement.take() {
            self.stderr.push(text.into());
        }
    }

    /// Waits until the agent has said what the session is; the outcome, if it never says.
    pub async fn open(
        mut self,
        mut opening: Opening,
    ) -> Result<(Self, Opened), Result<Outcome, SessionFailure>> {
        opening.set_size(current_size());
        let mut writing = true;
        let exit = loop {
            tokio::select! {
                signal = self.signals.next() => match self.handle_early(signal) {
                    Some(exit) => break exit,
                    None => opening.set_size(current_size()),
                },
                () = self.parent.gone() => {
                    break Exit::Leave(Ok(Outcome::Signal(1)));
                }
                written = self.stdout.ready(), if writing => match written {
                    Ok(()) => writing = false,
                    Err(error) => break Exit::Leave(output_lost(error)),
                },
                progress = opening.next() => match progress {
                    Progress::Quiet(text) => {
                        terminal::notice(&format!("{text} (Ctrl-C gives up)"));
                    }
                    Progress::Started(kind, features) => {
                        return Ok((self, opening.finish(kind, features)));
                    }
                    Progress::Over(end) => break Exit::Channel(end),
                },
            }
        };
        let (aws, session_id, channel) = opening.into_parts();
        let leaving = Leaving {
            aws,
            session_id,
            channel,
            front: self,
            raw: None,
            exit_code: None,
            incomplete: false,
        };
        Err(leaving.leave(exit).await)
    }

    /// A signal while nobody at the other end can hear of it.
    fn handle_early(&mut self, signal: Signal) -> Option<Exit> {
        match signal {
            Signal::Resize => {}
            Signal::Continue => {
                if let Err(error) = terminal::resume() {
                    debug!(%error, "the terminal cannot be made raw again");
                }
            }
            Signal::Suspend if self.options.style == Style::Plugin => {
                // Once is enough, however often the key was hit.
                self.early = Some(Bytes::from_static(SUSPEND));
            }
            Signal::Suspend => suspend(),
            _ => {
                let number = signal.number()?;
                return Some(Exit::Leave(Ok(Outcome::Signal(number.into()))));
            }
        }
        None
    }

    /// Shows output, and records it.
    pub fn show(&mut self, data: Bytes) {
        if let Some(recording) = &self.options.recording {
            recording.output(&data);
        }
        self.stdout.push(data);
    }

    /// Shows errors, and records them.
    pub fn show_errors(&mut self, data: Bytes) {
        if let Some(recording) = &self.options.recording {
            recording.errors(&data);
        }
        self.stderr.push(data);
    }

    /// Shows texts of the service, on stdout if those are the manners.
    pub fn show_messages(&mut self, messages: Vec<String>) {
        // The terminal may be raw by the time that this is written.
        let end = match std::io::stdout().is_terminal() {
            true => "\r\n",
            false => "\n",
        };
        for text in messages {
            match self.options.style {
                Style::Plugin => self.stdout.push(format!("{text}{end}").into()),
                Style::Native => terminal::notice(&printable(&text)),
            }
        }
    }

    /// Writes out what is queued; the outcome if that is cut short.
    pub async fn flush(&mut self) -> Option<Result<Outcome, SessionFailure>> {
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

/// Stops the process, if there is job control to continue it.
pub fn suspend() {
    match terminal::suspend() {
        Ok(true) => {}
        Ok(false) => terminal::notice("cannot suspend: there is no job control here"),
        Err(error) => terminal::notice(&format!("cannot suspend: {error}")),
    }
}

/// The size of the terminal, or what takes its place.
pub fn current_size() -> Size {
    terminal::size().map_or(NO_TERMINAL, |size| Size {
        cols: size.cols.into(),
        rows: size.rows.into(),
    })
}

/// Both have written what they were given.
pub async fn written(stdout: &mut Output, stderr: &mut Output) -> std::io::Result<()> {
    stdout.ready().await?;
    stderr.ready().await
}

/// What is typed next; where nothing is read, nothing ever comes.
pub async fn next_input(input: Option<&mut Input>) -> Option<std::io::Result<Bytes>> {
    match input {
        Some(input) => input.next().await,
        None => std::future::pending().await,
    }
}

/// The deadline, if there is one.
pub async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
