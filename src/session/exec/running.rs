//! The loop of a command: frames one way, input the other, signals and deadlines.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tracing::debug;

use super::frames::{Encoding, Frame, Frames};
use super::outgoing::{self, Outgoing};
use super::{Failure, TIMED_OUT};
use crate::aws::Aws;
use crate::channel::{Channel, DataSender, End, Ended, Event};
use crate::session::ending::{Outcome, SessionFailure, printable};
use crate::session::front::{Front, current_size, next_input, suspend, until, written};
use crate::session::leave::{Exit, Leaving, output_lost};
use crate::session::notices::LossNotice;
use crate::session::opening::Opened;
use crate::terminal::{self, Input, Signal};

/// How long a command that was told to end may take, before the session is ended over it.
const GRACE: Duration = Duration::from_secs(5);
/// How long the session may take to end behind its command.
const FAREWELL: Duration = Duration::from_secs(3);
/// How long outputs may stay open behind the command before that is told.
const HELD_OPEN: Duration = Duration::from_secs(3);
/// What is kept of what the node says instead of running the command, in bytes.
const SAID: usize = 300;

/// A session in force that runs a command.
pub struct Running {
    aws: Aws,
    session_id: String,
    channel: Channel,
    sender: DataSender,
    front: Front,
    frames: Frames,
    /// How input is written; the wrapper is at work once it is known.
    encoding: Option<Encoding>,
    wants_input: bool,
    input: Option<Input>,
    outgoing: Outgoing,
    /// What came before the wrapper was at work.
    said: Vec<u8>,
    exit_code: Option<i32>,
    done: bool,
    incomplete: bool,
    loss: LossNotice,
    writing: bool,
    timeout: Option<(Instant, Duration)>,
    timed_out: bool,
    /// Leave then, with this outcome.
    leave_at: Option<(Instant, Outcome)>,
    held_open: Option<Instant>,
    interrupted: bool,
}

/// What the loop was woken by.
enum Woken {
    Signal(Signal),
    Event(Option<Event>),
    Typed(Option<std::io::Result<Bytes>>),
    Sent(Result<(), Ended>),
    Written(std::io::Result<()>),
    Deadline,
}

impl Running {
    pub fn new(
        mut front: Front,
        opened: Opened,
        wants_input: bool,
        timeout: Option<Duration>,
    ) -> Self {
        front.show_messages(opened.messages);
        if let Some(recording) = &front.options.recording {
            recording.start(&opened.session_id, current_size(), true);
        }
        Self {
            aws: opened.aws,
            session_id: opened.session_id,
            sender: opened.channel.sender(),
            channel: opened.channel,
            front,
            frames: Frames::default(),
            encoding: None,
            wants_input,
            input: None,
            outgoing: Outgoing::default(),
            said: Vec::new(),
            exit_code: None,
            done: false,
            incomplete: false,
            loss: LossNotice::default(),
            writing: true,
            timeout: timeout.map(|limit| (Instant::now() + limit, limit)),
            timed_out: false,
            leave_at: None,
            held_open: None,
            interrupted: false,
        }
    }

    /// Runs the command to its end.
    pub async fn run(mut self) -> Result<Outcome, Failure> {
        let exit = loop {
            if let Some(encoding) = self.encoding {
                self.outgoing.fill(encoding);
            }
            let woken = self.wait().await;
            if let Some(exit) = self.handle(woken) {
                break exit;
            }
        };
        self.leave(exit).await
    }

    /// Leaves a session of another kind than a terminal.
    pub async fn refuse(self) -> Result<Outcome, Failure> {
        let leave = Exit::Leave(Ok(Outcome::Ended { exit_code: None }));
        self.leave(leave).await
    }

    async fn leave(self, exit: Exit) -> Result<Outcome, Failure> {
        drop(self.input);
        let recording = self.front.options.recording.clone();
        let by_itself = matches!(exit, Exit::Channel(End::Closed(_)));
        let (started, done, timed_out) = (self.encoding.is_some(), self.done, self.timed_out);
        let leaving = Leaving {
            aws: self.aws,
            session_id: self.session_id,
            channel: self.channel,
            front: self.front,
            raw: None,
            exit_code: self.exit_code,
            incomplete: self.incomplete || (by_itself && started && !done),
        };
        let outcome = leaving.leave(exit).await;
        if let Some(recording) = recording {
            recording.finish().await;
        }
        if timed_out {
            let exit_code = Some(TIMED_OUT);
            return Ok(Outcome::Ended { exit_code });
        }
        match outcome {
            Err(SessionFailure::Incomplete) if self.exit_code.is_none() => Err(Failure::NoStatus),
            Err(SessionFailure::Closed(reason)) if !started => Err(not_run(reason.as_bytes())),
            Ok(Outcome::Ended { exit_code: None }) if !started => Err(not_run(&self.said)),
            Ok(Outcome::Ended { exit_code: None }) => Err(Failure::NoStatus),
            outcome => Ok(outcome?),
        }
    }

    async fn wait(&mut self) -> Woken {
        let deadlines = [
            self.loss.deadline(),
            self.timeout.map(|(at, _)| at),
            self.leave_at.map(|(at, _)| at),
            self.held_open,
        ];
        let deadline = deadlines.into_iter().flatten().min();
        let wants = self.outgoing.wants_input();
        let input = self.input.as_mut().filter(|_| wants);
        let sends = !self.outgoing.is_empty();
        tokio::select! {
            signal = self.front.signals.next() => Woken::Signal(signal),
            event = self.channel.next(), if !self.writing => Woken::Event(event),
            written = written(&mut self.front.stdout, &mut self.front.stderr), if self.writing => {
                Woken::Written(written)
            }
            typed = next_input(input) => Woken::Typed(typed),
            sent = self.outgoing.send(&self.sender), if sends => Woken::Sent(sent),
            () = until(deadline) => Woken::Deadline,
        }
    }

    fn handle(&mut self, woken: Woken) -> Option<Exit> {
        match woken {
            Woken::Signal(signal) => self.handle_signal(signal),
            Woken::Event(Some(event)) => self.handle_event(event),
            // The channel's task ends only after its last event.
            Woken::Event(None) => Some(Exit::Channel(End::Closed(String::new()))),
            Woken::Typed(Some(Ok(chunk))) => {
                if let Some(recording) = &self.front.options.recording {
                    recording.input(&chunk);
                }
                self.outgoing.input(chunk);
                None
            }
            Woken::Typed(ended) => {
                if let Some(Err(error)) = ended {
                    debug!(%error, "standard input failed");
                }
                self.input = None;
                self.outgoing.push(outgoing::END);
                None
            }
            Woken::Sent(sent) => {
                if sent.is_err() {
                    // The channel's last event is on its way; nobody takes this any more.
                    self.stop_input();
                    self.outgoing.clear();
                }
                None
            }
            Woken::Written(Ok(())) => {
                self.writing = false;
                None
            }
            Woken::Written(Err(error)) => Some(Exit::Leave(output_lost(error))),
            Woken::Deadline => self.handle_deadline(),
        }
    }

    fn handle_event(&mut self, event: Event) -> Option<Exit> {
        match event {
            Event::Output(data) => {
                let mut frames = Vec::new();
                self.frames.feed(&data, |frame| frames.push(frame));
                for frame in frames {
                    self.handle_frame(frame);
                }
            }
            Event::CustomerMessage(text) => self.front.show_messages(vec![text]),
            Event::Lost(reason) => self.loss.lost(reason),
            Event::Hindered(reason) => {
                let text = self.loss.hindered(reason);
                tell(text);
            }
            Event::Resumed => tell(self.loss.resumed()),
            Event::Incomplete => self.incomplete = true,
            Event::End(end) => return Some(Exit::Channel(end)),
            event => debug!(?event, "ignored"),
        }
        None
    }

    fn handle_frame(&mut self, frame: Frame) {
        match frame {
            Frame::Started(encoding) => {
                self.encoding = Some(encoding);
                if self.wants_input {
                    match Input::spawn() {
                        Ok(input) => self.input = Some(input),
                        Err(error) => {
                            debug!(%error, "standard input cannot be read");
                            self.outgoing.push(outgoing::END);
                        }
                    }
                }
            }
            Frame::Output(bytes) => {
                self.front.show(bytes.into());
                self.writing = true;
            }
            Frame::Foreign(bytes) if self.encoding.is_none() => {
                let room = SAID.saturating_sub(self.said.len()).min(bytes.len());
                self.said
                    .extend_from_slice(bytes.get(..room).unwrap_or_default());
            }
            Frame::Errors(bytes) | Frame::Foreign(bytes) => {
                self.front.show_errors(bytes.into());
                self.writing = true;
            }
            Frame::Taken(length) => self.outgoing.taken(length),
            Frame::Closed => self.stop_input(),
            Frame::Exit(status) => {
                self.exit_code = Some(status);
                self.stop_input();
                self.timeout = None;
                self.held_open = Some(Instant::now() + HELD_OPEN);
            }
            Frame::Done => {
                self.done = true;
                self.held_open = None;
                let exit_code = self.exit_code;
                let outcome = Outcome::Ended { exit_code };
                self.leave_at = Some((Instant::now() + FAREWELL, outcome));
            }
        }
    }

    /// The command takes no more.
    fn stop_input(&mut self) {
        self.input = None;
        self.outgoing.stop_input();
    }

    fn handle_signal(&mut self, signal: Signal) -> Option<Exit> {
        let number = i32::from(signal.number().unwrap_or_default());
        let leave = Some(Exit::Leave(Ok(Outcome::Signal(number))));
        // Nobody is there who could hear of it.
        let deaf = self.encoding.is_none() || self.exit_code.is_some() || self.loss.lasts();
        match signal {
            Signal::Interrupt | Signal::Quit | Signal::Terminate if deaf => leave,
            // The second one is meant for us.
            Signal::Interrupt | Signal::Quit if self.interrupted => leave,
            Signal::Interrupt | Signal::Quit => {
                self.interrupted = true;
                // The kernel of the node takes it out of the input, wherever it stands.
                self.outgoing.push_first(match signal {
                    Signal::Quit => outgoing::QUIT,
                    _ => outgoing::INTERRUPT,
                });
                None
            }
            Signal::Terminate if self.leave_at.is_some() => leave,
            Signal::Terminate => {
                self.terminate(Outcome::Signal(number));
                None
            }
            Signal::Hangup => leave,
            Signal::Suspend => {
                suspend();
                None
            }
            Signal::Resize | Signal::Continue => None,
        }
    }

    /// Asks the command to end, and sees to it that all ends.
    fn terminate(&mut self, outcome: Outcome) {
        self.outgoing.push(outgoing::TERMINATE);
        self.leave_at = Some((Instant::now() + GRACE, outcome));
    }

    fn handle_deadline(&mut self) -> Option<Exit> {
        let now = Instant::now();
        if self.loss.deadline().is_some_and(|at| at <= now) {
            tell(self.loss.tell());
        }
        if self.held_open.is_some_and(|at| at <= now) {
            self.held_open = None;
            terminal::notice(
                "the command has ended, but what it started keeps its output open: still reading",
            );
        }
        if let Some((_, limit)) = self.timeout.take_if(|(at, _)| *at <= now) {
            self.timed_out = true;
            terminal::notice(&format!(
                "the command did not end within {} s",
                limit.as_secs()
            ));
            let exit_code = Some(TIMED_OUT);
            let outcome = Outcome::Ended { exit_code };
            if self.encoding.is_none() || self.loss.lasts() {
                return Some(Exit::Leave(Ok(outcome)));
            }
            self.terminate(outcome);
        }
        let due = self.leave_at.filter(|(at, _)| *at <= now);
        due.map(|(_, outcome)| Exit::Leave(Ok(outcome)))
    }
}

fn not_run(said: &[u8]) -> Failure {
    let said = printable(&String::from_utf8_lossy(said));
    Failure::NotRun(match said.is_empty() {
        true => String::new(),
        false => format!(": {said}"),
    })
}

fn tell(text: Option<String>) {
    if let Some(text) = text {
        terminal::notice(&text);
    }
}
