//! A terminal (or pipes) at this end, a shell or a command at the other.
//!
//! One loop waits for whatever comes first: a signal, an event of the channel, typed bytes, room
//! for them, a deadline. A blocked stdout only keeps further output waiting, never the user.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::debug;

use super::ending::{Outcome, SessionFailure};
use super::notices::{LossNotice, plugin};
use super::{Options, Setup, Style, TERMINATE_TIMEOUT};
use crate::aws::Aws;
use crate::channel::{Channel, DataSender, End, Event};
use crate::protocol::SessionType;
use crate::protocol::escape::{EscapeParser, Typed, typed_payload};
use crate::protocol::payload::Size;
use crate::terminal::{self, Input, Output, RawMode, Signal, Signals};

/// The size that a session without a terminal gets, as official clients give it.
const NO_TERMINAL: Size = Size {
    cols: 300,
    rows: 100,
};
/// Typed bytes that may wait for the channel, so that escape keys are heard while it lags.
const TYPE_AHEAD: usize = 256 * 1024;
/// Silence of the agent after which the user is told why nothing happens.
const QUIET_START: Duration = Duration::from_secs(15);
/// How long an interrupted command may take to end before the session is ended over it.
const INTERRUPT_GRACE: Duration = Duration::from_secs(3);

/// Quiet after output that came behind the end of standard input. A pipe stays at its end, a
/// terminal passes each end-of-file character to one reader: the next one gets its own.
const NEXT_READER: Duration = Duration::from_millis(300);
/// How many readers get one.
const END_OF_FILES: u32 = 100;

const INTERRUPT: &[u8] = &[0x03];
const QUIT: &[u8] = &[0x1c];
const SUSPEND: &[u8] = &[0x1a];
const END_OF_FILE: &[u8] = &[0x04];

const HELP: &str = "escape keys, at the start of a line: ~. ends the session, ~^Z suspends ssmx, \
     ~- means no more escape keys, ~~ types the escape character, ~? is this list";

/// A session that is open.
pub struct Session {
    aws: Aws,
    session_id: String,
    options: Options,
    channel: Channel,
    sender: DataSender,
    signals: Signals,
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
        let channel = Channel::open(aws.clone(), grant, target, options.channel.clone())
            .map_err(local("cannot open the data channel"))?;
        channel.set_size(current_size());
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
            stdout,
            stderr: Output::stderr(),
            kind: None,
            raw: None,
            input: None,
            to_send: VecDeque::new(),
            to_send_bytes: 0,
            last_typed: b'\n',
            exit_code: None,
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
            self.loss.deadline(),
            self.quiet_start,
            self.interrupted,
            self.next_reader,
        ];
        let deadline = deadlines.into_iter().flatten().min();
        let room = self.to_send_bytes < TYPE_AHEAD;
        let input = self.input.as_mut().filter(|_| room);
        tokio::select! {
            signal = self.signals.next() => Woken::Signal(signal),
            event = self.channel.next(), if !self.writing => Woken::Event(event),
            written = written(&mut self.stdout, &mut self.stderr), if self.writing => {
                Woken::Written(written)
            }
            typed = next_input(input) => Woken::Typed(typed),
            permit = self.sender.reserve(), if !self.to_send.is_empty() => {
                if let (Ok(permit), Some(data)) = (permit, self.to_send.pop_front()) {
                    self.to_send_bytes -= data.len();
                    permit.send(data);
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
            Event::CustomerMessage(text) if plugin => self.write(format!("{text}\n").into()),
            Event::CustomerMessage(text) => terminal::notice(&printable(&text)),
            Event::Flag(flag) => debug!(?flag, "ignored a flag"),
            Event::Lost(reason) => self.loss.lost(reason),
            Event::Hindered(reason) => self.loss.hindered(reason),
            Event::Resumed => self.loss.resumed(),
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
        failure.map(|failure| Exit::Leave(Err(failure)))
    }

    fn open_terminal(&mut self) -> Result<(), SessionFailure> {
        self.raw = RawMode::enter().map_err(local("cannot put the terminal into raw mode"))?;
        self.input = Some(Input::spawn().map_err(local("cannot read standard input"))?);
        Ok(())
    }

    fn handle_typed(&mut self, typed: Option<std::io::Result<Bytes>>) -> Option<Exit> {
        let bytes = match typed {
            Some(Ok(bytes)) => bytes,
            Some(Err(error)) => {
                debug!(%error, "standard input failed");
                return self.input_ended();
            }
            None => return self.input_ended(),
        };
        for typed in self.escape.feed(&bytes) {
            match typed {
                Typed::Input(input) => self.type_input(input),
                Typed::Disconnect => {
                    return Some(Exit::Leave(Ok(Outcome::Ended { exit_code: None })));
                }
                Typed::Help => terminal::notice(HELP),
                Typed::Off => terminal::notice("escape keys are off"),
                Typed::Suspend => self.suspend(),
            }
        }
        None
    }

    fn type_input(&mut self, input: Vec<u8>) {
        let Some(&last) = input.last() else { return };
        self.last_typed = last;
        self.queue(typed_payload(input));
    }

    fn input_ended(&mut self) -> Option<Exit> {
        self.input = None;
        if self.raw.is_some() {
            debug!("the terminal is gone");
            return Some(Exit::Leave(Ok(Outcome::Signal(1))));
        }
        if let Some(Typed::Input(held)) = self.escape.finish() {
            self.type_input(held);
        }
        if self.options.send_eof {
            // Behind a partial line the first one only passes the line on.
            for _ in 0..if self.last_typed == b'\n' { 1 } else { 2 } {
                self.queue(Bytes::from_static(END_OF_FILE));
            }
            self.end_of_files = END_OF_FILES;
        }
        None
    }

    fn handle_signal(&mut self, signal: Signal) -> Option<Exit> {
        let plugin = self.options.style == Style::Plugin;
        let number = signal.number().map(i32::from);
        match signal {
            Signal::Resize => self.channel.set_size(current_size()),
            Signal::Continue => {
                if let Err(error) = terminal::resume() {
                    debug!(%error, "the terminal cannot be made raw again");
                }
                self.channel.set_size(current_size());
            }
            Signal::Suspend if plugin => self.queue(Bytes::from_static(SUSPEND)),
            Signal::Suspend => self.suspend(),
            Signal::Quit if self.kind.is_some() => self.queue(Bytes::from_static(QUIT)),
            Signal::Interrupt if self.passes_interrupts() => {
                self.queue(Bytes::from_static(INTERRUPT));
                if !plugin {
                    self.interrupted = Some(Instant::now() + INTERRUPT_GRACE);
                }
            }
            _ => return number.map(|number| Exit::Leave(Ok(Outcome::Signal(number)))),
        }
        None
    }

    /// A command hears an interrupt first, so that its own exit status can come back. A second
    /// one is meant for us, as is every one before the session has begun.
    fn passes_interrupts(&self) -> bool {
        match self.kind {
            None => false,
            Some(_) if self.options.style == Style::Plugin => true,
            Some(SessionType::NonInteractiveCommands) => self.interrupted.is_none(),
            Some(_) => false,
        }
    }

    fn handle_deadline(&mut self) -> Option<Exit> {
        let now = Instant::now();
        if self.loss.deadline().is_some_and(|at| at <= now) {
            self.loss.tell();
        }
        if self.quiet_start.is_some_and(|at| at <= now) {
            self.quiet_start = None;
            terminal::notice("the agent has not answered yet, still waiting (Ctrl-C gives up)");
        }
        if self.next_reader.is_some_and(|at| at <= now) {
            self.next_reader = None;
            self.end_of_files -= 1;
            self.queue(Bytes::from_static(END_OF_FILE));
        }
        if self.interrupted.is_some_and(|at| at <= now) {
            return Some(Exit::Leave(Ok(Outcome::Signal(2))));
        }
        None
    }

    fn suspend(&mut self) {
        match terminal::suspend() {
            Ok(true) => {}
            Ok(false) => terminal::notice("cannot suspend: there is no job control here"),
            Err(error) => terminal::notice(&format!("cannot suspend: {error}")),
        }
    }

    fn write(&mut self, data: Bytes) {
        self.stdout.push(data);
        self.writing = true;
    }

    fn queue(&mut self, data: Bytes) {
        self.to_send_bytes += data.len();
        self.to_send.push_back(data);
    }
}

/// The way out.
impl Session {
    async fn leave(mut self, exit: Exit) -> Result<Outcome, SessionFailure> {
        self.input = None;
        let ended = Ok(Outcome::Ended {
            exit_code: self.exit_code,
        });
        let plugin = self.options.style == Style::Plugin;
        let (result, text, terminate) = match exit {
            Exit::Channel(End::Closed(output)) => {
                let text = plugin::ended(&self.session_id, &output);
                let failed = !plugin && !output.is_empty() && self.exit_code.is_none();
                let result = match failed {
                    true => Err(SessionFailure::Closed(printable(&output))),
                    false => ended,
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
            // What is left of the output goes out first, however long the reader takes.
            Ok(Outcome::Ended { .. }) | Err(_) => self.flush().await,
            Ok(Outcome::Signal(_)) => None,
        };
        drop(self.raw.take());
        if plugin && !text.is_empty() {
            self.stdout.push(text.into());
            let _ = timeout(TERMINATE_TIMEOUT, self.stdout.flush()).await;
        }
        if terminate {
            terminate_session(&self.aws, &self.session_id).await;
        }
        self.channel.close().await;
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
fn output_lost(error: std::io::Error) -> Result<Outcome, SessionFailure> {
    const SIGPIPE: i32 = 13;
    if error.kind() == std::io::ErrorKind::BrokenPipe {
        return Ok(Outcome::Signal(SIGPIPE));
    }
    Err(local("cannot write the session's output")(error))
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
