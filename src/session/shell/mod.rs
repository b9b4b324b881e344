//! A terminal (or pipes) at this end, a shell or a command at the other.
//!
//! One loop waits for whatever comes first: a signal, an event of the channel, typed bytes, room
//! for them, a deadline. A blocked stdout only keeps further output waiting, never the user.

mod keys;
mod leave;

use std::collections::VecDeque;
use std::io::IsTerminal as _;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use self::leave::output_lost;
use super::ending::{Outcome, SessionFailure};
use super::notices::{LossNotice, plugin};
use super::{Options, Setup, Style};
use crate::aws::Aws;
use crate::channel::{Channel, DataSender, End, Ended, Event};
use crate::protocol::SessionType;
use crate::protocol::escape::EscapeParser;
use crate::protocol::payload::Size;
use crate::terminal::{self, Input, Output, Parent, RawMode, Signal, Signals};

/// The size that a session without a terminal gets, as official clients give it.
const NO_TERMINAL: Size = Size {
    cols: 300,
    rows: 100,
};
/// Typed bytes that may wait for the channel, so that escape keys are heard while it lags.
const TYPE_AHEAD: usize = 256 * 1024;
/// Silence of the agent after which the user is told why nothing happens.
const QUIET_START: Duration = Duration::from_secs(15);

/// Quiet after output that came behind the end of standard input. A pipe stays at its end, a
/// terminal passes each end-of-file character to one reader: the next one gets its own.
const NEXT_READER: Duration = Duration::from_millis(300);

/// A session that is open.
pub struct Session {
    aws: Aws,
    session_id: String,
    options: Options,
    channel: Channel,
    sender: DataSender,
    signals: Signals,
    parent: Parent,
    stdout: Output,
    stderr: Output,
    kind: Option<SessionType>,
    raw: Option<RawMode>,
    input: Option<Input>,
    escape: EscapeParser,
    to_send: VecDeque<Bytes>,
    to_send_bytes: usize,
    last_typed: u8,
    exit_code: Option<i32>,
    incomplete: bool,
    loss: LossNotice,
    quiet_start: Option<Instant>,
    interrupted: Option<Instant>,
    /// End-of-file characters that may still be sent; none before the end of standard input.
    end_of_files: u32,
    next_reader: Option<Instant>,
    writing: bool,
}

/// What the loop was woken by.
enum Woken {
    Signal(Signal),
    Event(Option<Event>),
    Typed(Option<std::io::Result<Bytes>>),
    Sent,
    Written(std::io::Result<()>),
    Deadline,
}

/// The way out of the loop.
enum Exit {
    /// The channel has ended.
    Channel(End),
    /// The user or the system wants us gone; the remote side does not know yet.
    Leave(Result<Outcome, SessionFailure>),
}

impl Session {
    /// Opens the channel of `setup`.
    pub fn open(setup: Setup) -> Result<Self, SessionFailure> {
        let Setup {
            aws,
            grant,
            target,
            options,
        } = setup;
        let signals = Signals::install().map_err(local("cannot listen for signals"))?;
        let session_id = grant.session_id.clone();
        // Keys typed in a session are for its other side, though reconnecting may want new
        // credentials.
        aws.stop_prompting();
        let channel = Channel::open(aws.clone(), grant, target, options.channel.clone())
            .map_err(local("cannot open the data channel"))?;
        channel.set_size(current_size());
        let parent = match options.style {
            Style::Plugin => Parent::watch_aws_cli(),
            Style::Native => Parent::unwatched(),
        };
        let mut stdout = Output::stdout();
        if options.style == Style::Plugin {
            stdout.push(plugin::starting(&session_id).into());
        }
        Ok(Self {
            aws,
            session_id,
            escape: EscapeParser::new(options.escape.filter(|_| terminal::stdin_is_terminal())),
            options,
            sender: channel.sender(),
            channel,
            signals,
            parent,
            stdout,
            stderr: Output::stderr(),
            kind: None,
            raw: None,
            input: None,
            to_send: VecDeque::new(),
            to_send_bytes: 0,
            last_typed: b'\n',
            exit_code: None,
            incomplete: false,
            loss: LossNotice::default(),
            quiet_start: Some(Instant::now() + QUIET_START),
            interrupted: None,
            end_of_files: 0,
            next_reader: None,
            writing: true,
        })
    }

    /// Runs the session to its end.
    pub async fn run(mut self) -> Result<Outcome, SessionFailure> {
        let exit = loop {
            let woken = self.wait().await;
            if let Some(exit) = self.handle(woken) {
                break exit;
            }
        };
        self.leave(exit).await
    }

    async fn wait(&mut self) -> Woken {
        let deadlines = [
            self.loss_deadline(),
            self.quiet_start,
            self.interrupted,
            self.next_reader,
        ];
        let deadline = deadlines.into_iter().flatten().min();
        let room = self.to_send_bytes < TYPE_AHEAD;
        let input = self.input.as_mut().filter(|_| room);
        tokio::select! {
            signal = self.signals.next() => Woken::Signal(signal),
            () = self.parent.gone() => Woken::Signal(Signal::Hangup),
            event = self.channel.next(), if !self.writing => Woken::Event(event),
            written = written(&mut self.stdout, &mut self.stderr), if self.writing => {
                Woken::Written(written)
            }
            typed = next_input(input) => Woken::Typed(typed),
            permit = self.sender.reserve(), if !self.to_send.is_empty() => {
                match permit {
                    Ok(permit) => {
                        if let Some(data) = self.to_send.pop_front() {
                            self.to_send_bytes -= data.len();
                            permit.send(data);
                        }
                    }
                    // The channel has ended, though what it told last may wait behind a slow
                    // stdout: nobody takes this any more.
                    Err(Ended) => {
                        self.to_send.clear();
                        self.to_send_bytes = 0;
                    }
                }
                Woken::Sent
            }
            () = until(deadline) => Woken::Deadline,
        }
    }

    fn handle(&mut self, woken: Woken) -> Option<Exit> {
        match woken {
            Woken::Signal(signal) => self.handle_signal(signal),
            Woken::Event(Some(event)) => self.handle_event(event),
            // The channel's task ends only after its last event.
            Woken::Event(None) => Some(Exit::Leave(Ok(Outcome::Ended {
                exit_code: self.exit_code,
            }))),
            Woken::Typed(typed) => self.handle_typed(typed),
            Woken::Sent => None,
            Woken::Written(Ok(())) => {
                self.writing = false;
                None
            }
            Woken::Written(Err(error)) => Some(Exit::Leave(output_lost(error))),
            Woken::Deadline => self.handle_deadline(),
        }
    }

    fn handle_event(&mut self, event: Event) -> Option<Exit> {
        let plugin = self.options.style == Style::Plugin;
        match event {
            Event::Connected => debug!("connected, waiting for the agent"),
            Event::Started(kind, _) => {
                self.quiet_start = None;
                return self.start(kind);
            }
            Event::Output(data) => {
                if self.end_of_files > 0 {
                    self.next_reader = Some(Instant::now() + NEXT_READER);
                }
                self.write(data);
            }
            Event::Stderr(data) if plugin => self.write(data),
            Event::Stderr(data) => {
                self.stderr.push(data);
                self.writing = true;
            }
            Event::ExitCode(code, text) => {
                self.exit_code = code.or(self.exit_code);
                if plugin {
                    self.write(text);
                }
            }
            Event::CustomerMessage(text) if plugin => {
                // The terminal will be raw by the time that this is written.
                let end = if std::io::stdout().is_terminal() {
                    "\r\n"
                } else {
                    "\n"
                };
                self.write(format!("{text}{end}").into());
            }
            Event::CustomerMessage(text) => terminal::notice(&printable(&text)),
            Event::Flag(flag) => debug!(?flag, "ignored a flag"),
            Event::Lost(reason) => self.loss.lost(reason),
            Event::Hindered(reason) => {
                let text = self.loss.hindered(reason);
                self.tell_loss(text);
            }
            Event::Resumed => {
                let text = self.loss.resumed();
                self.tell_loss(text);
                if self.kind == Some(SessionType::NonInteractiveCommands) {
                    // Nothing on the wire tells whether it happened.
                    terminal::notice(
                        "agents may stop reading a command's output while the connection is lost: \
                         what follows may be incomplete, or never come",
                    );
                }
            }
            Event::Incomplete => self.incomplete = true,
            Event::End(end) => return Some(Exit::Channel(end)),
        }
        None
    }

    fn start(&mut self, kind: SessionType) -> Option<Exit> {
        let failure = match &kind {
            SessionType::Port(_) => Some(SessionFailure::Unsupported("Port")),
            // Agents throw its input away, but for the bytes that stand for signals.
            SessionType::NonInteractiveCommands => None,
            SessionType::StandardStream | SessionType::InteractiveCommands => {
                self.open_terminal().err()
            }
        };
        self.kind = Some(kind);
        self.loss = LossNotice::default();
        failure.map(|failure| Exit::Leave(Err(failure)))
    }

    fn open_terminal(&mut self) -> Result<(), SessionFailure> {
        self.raw = RawMode::enter().map_err(local("cannot put the terminal into raw mode"))?;
        self.input = Some(Input::spawn().map_err(local("cannot read standard input"))?);
        Ok(())
    }

    fn handle_deadline(&mut self) -> Option<Exit> {
        let now = Instant::now();
        if self.loss_deadline().is_some_and(|at| at <= now) {
            let text = self.loss.tell();
            self.tell_loss(text);
        }
        if self.quiet_start.is_some_and(|at| at <= now) {
            self.quiet_start = None;
            let lost = self.loss.deadline().and_then(|_| self.loss.tell());
            let silent = "the agent has not answered yet, still waiting (Ctrl-C gives up)";
            terminal::notice(lost.as_deref().unwrap_or(silent));
        }
        if self.next_reader.is_some_and(|at| at <= now) {
            self.next_reader = None;
            self.end_of_files -= 1;
            self.queue(Bytes::from_static(keys::END_OF_FILE));
        }
        if self.interrupted.is_some_and(|at| at <= now) {
            return Some(Exit::Leave(Ok(Outcome::Signal(2))));
        }
        None
    }

    /// Losses before the session began are told by its start or failure, unless that takes long.
    fn loss_deadline(&self) -> Option<Instant> {
        self.kind.as_ref().and_then(|_| self.loss.deadline())
    }

    fn tell_loss(&self, text: Option<String>) {
        let Some(text) = text.filter(|_| self.kind.is_some()) else {
            return;
        };
        let can_escape = self.raw.is_some() && self.options.escape.is_some();
        match self.loss.lasts() && can_escape {
            true => terminal::notice(&format!("{text} (Enter {}. gives up)", self.escape_name())),
            false => terminal::notice(&text),
        }
    }

    fn write(&mut self, data: Bytes) {
        self.stdout.push(data);
        self.writing = true;
    }
}

fn local(what: &'static str) -> impl Fn(std::io::Error) -> SessionFailure {
    move |error| SessionFailure::Local { what, error }
}

fn current_size() -> Size {
    terminal::size().map_or(NO_TERMINAL, |size| Size {
        cols: size.cols.into(),
        rows: size.rows.into(),
    })
}

/// A text of the service on one line, without what could move the cursor.
fn printable(text: &str) -> String {
    text.split(|c: char| c.is_control())
        .filter(|part| !part.trim().is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

async fn written(stdout: &mut Output, stderr: &mut Output) -> std::io::Result<()> {
    stdout.ready().await?;
    stderr.ready().await
}

async fn next_input(input: Option<&mut Input>) -> Option<std::io::Result<Bytes>> {
    match input {
        Some(input) => input.next().await,
        None => std::future::pending().await,
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
