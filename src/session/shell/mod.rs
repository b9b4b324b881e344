//! A terminal (or pipes) at this end, a shell or a command at the other.
//!
//! One loop waits for whatever comes first: a signal, an event of the channel, typed bytes, room
//! for them, a deadline. A blocked stdout only keeps further output waiting, never the user.

mod keys;
mod status;

use std::collections::VecDeque;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tracing::debug;

use super::Style;
use super::ending::{Outcome, SessionFailure};
use super::exec::Mark;
use super::front::{Front, current_size, next_input, until, written};
use super::leave::{Exit, Leaving, output_lost};
use super::notices::LossNotice;
use super::opening::Opened;
use crate::aws::Aws;
use crate::channel::{Channel, DataSender, End, Ended, Event, Figures};
use crate::protocol::SessionType;
use crate::protocol::escape::EscapeParser;
use crate::terminal::{self, Input, RawMode, Signal};

/// Typed bytes that may wait for the channel, so that escape keys are heard while it lags.
const TYPE_AHEAD: usize = 256 * 1024;
/// Quiet after output that came behind the end of standard input. A pipe stays at its end, a
/// terminal passes each end-of-file character to one reader: the next one gets its own.
const NEXT_READER: Duration = Duration::from_millis(300);

/// A session that is open.
pub struct Session {
    aws: Aws,
    session_id: String,
    channel: Channel,
    sender: DataSender,
    front: Front,
    kind: SessionType,
    raw: Option<RawMode>,
    input: Option<Input>,
    escape: EscapeParser,
    to_send: VecDeque<Bytes>,
    to_send_bytes: usize,
    last_typed: u8,
    exit_code: Option<i32>,
    incomplete: bool,
    /// What a command that did not start leaves: the last byte of its errors, and no output.
    errors: Option<u8>,
    output: bool,
    mark: Option<Mark>,
    loss: LossNotice,
    interrupted: Option<Instant>,
    /// End-of-file characters that may still be sent; none before the end of standard input.
    end_of_files: u32,
    next_reader: Option<Instant>,
    /// Asked for by the user, to be shown.
    figures: Option<Pin<Box<dyn Future<Output = Option<Figures>> + Send>>>,
    writing: bool,
}

/// What the loop was woken by.
enum Woken {
    Signal(Signal),
    Event(Option<Event>),
    Typed(Option<std::io::Result<Bytes>>),
    Sent,
    Written(std::io::Result<()>),
    Figures(Option<Figures>),
    Deadline,
}

impl Session {
    /// The session that `opened` is, at this `front`. Fails where the terminal does, with the
    /// remote side terminated.
    pub async fn start(
        mut front: Front,
        opened: Opened,
    ) -> Result<Self, Result<Outcome, SessionFailure>> {
        front.announce();
        front.show_messages(opened.messages);
        let early = front.early.take();
        let escape = front.options.escape;
        let mark = front.options.mark.as_deref().map(Mark::new);
        if let Some(recording) = &front.options.recording {
            let bare = opened.kind == SessionType::NonInteractiveCommands;
            recording.start(&opened.session_id, current_size(), bare);
        }
        let mut session = Self {
            aws: opened.aws,
            session_id: opened.session_id,
            escape: EscapeParser::new(escape.filter(|_| terminal::stdin_is_terminal())),
            sender: opened.channel.sender(),
            channel: opened.channel,
            front,
            kind: opened.kind,
            raw: None,
            input: None,
            to_send: VecDeque::new(),
            to_send_bytes: 0,
            last_typed: b'\n',
            exit_code: None,
            incomplete: false,
            errors: None,
            output: false,
            mark,
            loss: LossNotice::default(),
            interrupted: None,
            end_of_files: 0,
            next_reader: None,
            figures: None,
            writing: true,
        };
        if let Some(typed) = early {
            session.queue(typed);
        }
        // Agents throw the input of such commands away, but for the bytes that stand for signals.
        if session.kind != SessionType::NonInteractiveCommands
            && let Err(failure) = session.open_terminal()
        {
            return Err(session.leave(Exit::Leave(Err(failure))).await);
        }
        Ok(session)
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

    async fn leave(mut self, exit: Exit) -> Result<Outcome, SessionFailure> {
        drop(self.input.take());
        if let Some(mark) = &mut self.mark {
            let rest = mark.finish();
            self.front.show(rest);
        }
        let not_run = self.not_run(&exit);
        let recording = self.front.options.recording.clone();
        let leaving = Leaving {
            aws: self.aws,
            session_id: self.session_id,
            channel: self.channel,
            front: self.front,
            raw: self.raw,
            exit_code: self.exit_code,
            incomplete: self.incomplete,
        };
        let outcome = leaving.leave(exit).await;
        if let Some(recording) = recording {
            recording.finish().await;
        }
        match outcome {
            Ok(Outcome::Ended { exit_code: None }) if not_run => Err(SessionFailure::NotRun),
            outcome => outcome,
        }
    }

    /// Whether this is how a command ends that never started. Its errors become a line then: what
    /// agents say has no end.
    fn not_run(&mut self, exit: &Exit) -> bool {
        let ended = matches!(exit, Exit::Channel(End::Closed(reason)) if reason.is_empty());
        let bare = self.kind == SessionType::NonInteractiveCommands && !self.output;
        if !ended || !bare || self.exit_code.is_some() {
            return false;
        }
        if self.errors.is_some_and(|last| last != b'\n') {
            self.front.show_errors(Bytes::from_static(b"\n"));
        }
        self.errors.is_some()
    }

    async fn wait(&mut self) -> Woken {
        let deadlines = [self.loss.deadline(), self.interrupted, self.next_reader];
        let deadline = deadlines.into_iter().flatten().min();
        let room = self.to_send_bytes < TYPE_AHEAD;
        let input = self.input.as_mut().filter(|_| room);
        tokio::select! {
            signal = self.front.signals.next() => Woken::Signal(signal),
            () = self.front.parent.gone() => Woken::Signal(Signal::Hangup),
            event = self.channel.next(), if !self.writing => Woken::Event(event),
            written = written(&mut self.front.stdout, &mut self.front.stderr), if self.writing => {
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
            figures = async { match &mut self.figures { Some(figures) => figures.await, None => std::future::pending().await } },
                if self.figures.is_some() => Woken::Figures(figures),
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
            Woken::Figures(figures) => {
                self.figures = None;
                // None: the session is about to say that it has ended.
                if let Some(figures) = figures {
                    terminal::notices(&status::lines(&self.session_id, &figures));
                }
                None
            }
            Woken::Deadline => self.handle_deadline(),
        }
    }

    fn handle_event(&mut self, event: Event) -> Option<Exit> {
        let plugin = self.front.options.style == Style::Plugin;
        match event {
            Event::Output(data) => {
                self.output = true;
                if self.end_of_files > 0 {
                    self.next_reader = Some(Instant::now() + NEXT_READER);
                }
                let data = match &mut self.mark {
                    Some(mark) => {
                        let data = mark.feed(data);
                        self.exit_code = mark.status().or(self.exit_code);
                        data
                    }
                    None => data,
                };
                self.write(data);
            }
            Event::Stderr(data) if plugin => self.write(data),
            Event::Stderr(data) => {
                self.errors = data.last().copied().or(self.errors);
                self.front.show_errors(data);
                self.writing = true;
            }
            Event::ExitCode(code, text) => {
                self.exit_code = code.or(self.exit_code);
                if plugin {
                    self.write(text);
                }
            }
            Event::CustomerMessage(text) => self.tell(text),
            Event::Flag(flag) => debug!(?flag, "ignored a flag"),
            Event::Lost(reason) => self.loss.lost(reason),
            Event::Hindered(reason) => {
                let text = self.loss.hindered(reason);
                self.tell_loss(text);
            }
            Event::Resumed => {
                let text = self.loss.resumed();
                self.tell_loss(text);
                if self.kind == SessionType::NonInteractiveCommands {
                    // Nothing on the wire tells whether it happened.
                    terminal::notice(
                        "agents may stop reading a command's output while the connection is lost: \
                         what follows may be incomplete, or never come",
                    );
                }
            }
            Event::Incomplete => self.incomplete = true,
            Event::End(end) => return Some(Exit::Channel(end)),
            event => debug!(?event, "comes only before the start"),
        }
        None
    }

    fn open_terminal(&mut self) -> Result<(), SessionFailure> {
        self.raw = RawMode::enter().map_err(SessionFailure::local(
            "cannot put the terminal into raw mode",
        ))?;
        self.input =
            Some(Input::spawn().map_err(SessionFailure::local("cannot read standard input"))?);
        Ok(())
    }

    fn handle_deadline(&mut self) -> Option<Exit> {
        let now = Instant::now();
        if self.loss.deadline().is_some_and(|at| at <= now) {
            let text = self.loss.tell();
            self.tell_loss(text);
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

    fn tell(&mut self, message: String) {
        self.front.show_messages(vec![message]);
        self.writing = true;
    }

    fn tell_loss(&self, text: Option<String>) {
        let Some(text) = text else {
            return;
        };
        let can_escape = self.raw.is_some() && self.front.options.escape.is_some();
        match self.loss.lasts() && can_escape {
            true => terminal::notice(&format!("{text} (Enter {}. gives up)", self.escape_name())),
            false => terminal::notice(&text),
        }
    }

    fn write(&mut self, data: Bytes) {
        self.front.show(data);
        self.writing = true;
    }
}
