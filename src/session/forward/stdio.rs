//! A port session between standard input and output: ssh's ProxyCommand.
//!
//! Bytes pass as they are, and stdout carries nothing else; all that is to be said goes to
//! stderr. Neither direction has a bound of its own beyond a few chunks: a reader or an agent
//! that lags keeps the writer waiting.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::debug;

use super::leave::{Patience, terminate};
use crate::aws::Aws;
use crate::channel::{Channel, DataSender, End, Ended, Event};
use crate::protocol::version::AgentFeatures;
use crate::session::Style;
use crate::session::ending::{Outcome, SessionFailure, printable};
use crate::session::front::{Front, suspend};
use crate::session::leave::{enough, output_lost};
use crate::session::notices::{LossNotice, plugin};
use crate::session::opening::Opened;
use crate::terminal::{self, Input, Output, Partner, Signal, Signals};

/// Silence, after all input was taken to its end, by which the other side shows that it has nothing
/// more to say: it is not told of the end.
const SILENCE: Duration = Duration::from_secs(3);

/// How long after a signal others still belong to it.
const SAME_WISH: Duration = Duration::from_millis(500);

/// The session.
struct Session {
    aws: Aws,
    session_id: String,
    channel: Channel,
    sender: DataSender,
    features: AgentFeatures,
    front: Front,
    partner: Partner,
    /// `None` once it is at its end.
    input: Option<Input>,
    /// Read, not handed over yet.
    chunk: Option<Bytes>,
    /// Whether stdout or stderr may be full.
    writing: bool,
    /// Whether something was queued for stdout that may not be written yet.
    unwritten: bool,
    /// Nobody reads stdout any more: what was not written before is lost, and all that comes.
    unread: bool,
    /// All input is handed over; waits for its acknowledgement.
    flush: Option<Pin<Box<dyn Future<Output = bool> + Send>>>,
    /// When the silence after the last input is long enough, once that is acknowledged.
    silence: Option<Instant>,
    incomplete: bool,
    loss: LossNotice,
}

/// The way out.
enum Exit {
    /// The channel has ended.
    Channel(End),
    /// Nothing more is to be expected.
    Silence,
    /// Nobody is left to serve, or somebody wants us gone; with this outcome.
    Leave(Result<Outcome, SessionFailure>),
}

/// Runs the session to its end.
pub async fn run(mut front: Front, opened: Opened) -> Result<Outcome, SessionFailure> {
    front.announce_on_stderr();
    let input = Input::spawn();
    let mut session = Session {
        aws: opened.aws,
        session_id: opened.session_id,
        sender: opened.channel.sender(),
        channel: opened.channel,
        features: opened.features,
        front,
        partner: Partner::watch(),
        input: None,
        chunk: None,
        writing: true,
        unwritten: true,
        unread: false,
        flush: None,
        silence: None,
        incomplete: false,
        loss: LossNotice::default(),
    };
    for message in &opened.messages {
        session.show(message);
    }
    let exit = match input {
        Ok(input) => {
            session.input = Some(input);
            session.carry().await
        }
        Err(error) => Exit::Leave(Err(SessionFailure::local("cannot read standard input")(
            error,
        ))),
    };
    session.leave(exit).await
}

impl Session {
    async fn carry(&mut self) -> Exit {
        loop {
            let deadline = [self.loss.deadline(), self.silence];
            let deadline = deadline.into_iter().flatten().min();
            let ended = self.input.is_none();
            let input = self.input.as_mut().filter(|_| self.chunk.is_none());
            // Otherwise failures are noticed by the next that is written, which may never come.
            let to_the_last = self.unread && self.unwritten;
            let exit = tokio::select! {
                signal = self.front.signals.next() => handle_signal(signal),
                () = self.front.parent.gone() => Some(Exit::Leave(Ok(Outcome::Signal(1)))),
                () = self.partner.gone(ended || !self.unread) => {
                    if ended || self.unread {
                        debug!("nobody is left at standard input and output");
                        Some(Exit::Leave(Ok(Outcome::Ended { exit_code: None })))
                    } else {
                        // Whoever writes to us may still want to.
                        self.unread = true;
                        None
                    }
                }
                event = self.channel.next(), if !self.writing => match event {
                    Some(event) => self.handle_event(event),
                    // The channel's task ends only after its last event.
                    None => Some(Exit::Channel(End::Closed(String::new()))),
                },
                written = written(&mut self.front.stdout, &mut self.front.stderr, to_the_last), if self.writing || to_the_last => match written {
                    Ok(()) => {
                        self.writing = false;
                        self.unwritten &= !to_the_last;
                        self.hear();
                        None
                    }
                    Err(error) => Some(Exit::Leave(output_lost(error))),
                },
                chunk = next(input) => {
                    self.handle_input(chunk);
                    None
                }
                handed = hand_over(&self.sender, &mut self.chunk), if self.chunk.is_some() => {
                    if handed == Err(Ended) {
                        // The channel's last event is on its way; nobody takes this any more.
                        (self.input, self.chunk) = (None, None);
                    }
                    self.flush_if_ended();
                    None
                }
                () = flushed(&mut self.flush) => {
                    self.flush = None;
                    self.silence = Some(Instant::now() + SILENCE);
                    None
                }
                () = until(deadline) => self.handle_deadline(),
            };
            if let Some(exit) = exit {
                return exit;
            }
        }
    }

    fn handle_input(&mut self, chunk: Option<std::io::Result<Bytes>>) {
        match chunk {
            Some(Ok(chunk)) => self.chunk = Some(chunk),
            Some(Err(error)) => {
                debug!(%error, "standard input failed");
                self.input = None;
            }
            None => self.input = None,
        }
        self.flush_if_ended();
    }

    fn flush_if_ended(&mut self) {
        if self.input.is_none() && self.chunk.is_none() {
            self.flush = Some(Box::pin(self.sender.flush()));
        }
    }

    fn handle_event(&mut self, event: Event) -> Option<Exit> {
        match event {
            Event::Output(data) => {
                self.front.stdout.push(data);
                (self.writing, self.unwritten) = (true, true);
            }
            Event::CustomerMessage(text) => self.show(&text),
            Event::Lost(reason) => self.loss.lost(reason),
            Event::Hindered(reason) => {
                if let Some(text) = self.loss.hindered(reason) {
                    terminal::notice(&text);
                }
            }
            Event::Resumed => {
                if let Some(text) = self.loss.resumed() {
                    terminal::notice(&text);
                }
                self.hear();
            }
            Event::Incomplete => self.incomplete = true,
            Event::End(end) => return Some(Exit::Channel(end)),
            // Data of other kinds is none of the connection's.
            event => debug!(?event, "ignored"),
        }
        None
    }

    /// It was not silent just now, or could not be heard.
    fn hear(&mut self) {
        if let Some(silence) = &mut self.silence {
            *silence = Instant::now() + SILENCE;
        }
    }

    fn handle_deadline(&mut self) -> Option<Exit> {
        let now = Instant::now();
        if self.loss.deadline().is_some_and(|at| at <= now)
            && let Some(text) = self.loss.tell()
        {
            terminal::notice(&text);
        }
        if self.silence.is_some_and(|at| at <= now) {
            if !self.loss.lasts() && !self.writing {
                return Some(Exit::Silence);
            }
            self.hear();
        }
        None
    }

    fn show(&mut self, message: &str) {
        match self.front.options.style {
            Style::Plugin => self.front.stderr.push(format!("{message}\n").into()),
            Style::Native => terminal::notice(&printable(message)),
        }
        self.writing = true;
    }

    async fn leave(self, exit: Exit) -> Result<Outcome, SessionFailure> {
        let Self {
            aws,
            session_id,
            mut channel,
            features,
            mut front,
            input,
            incomplete,
            mut partner,
            ..
        } = self;
        drop(input);
        let hasty = matches!(exit, Exit::Leave(_));
        let style = front.options.style;
        let ended = Ok(Outcome::Ended { exit_code: None });
        let (result, patience) = match exit {
            Exit::Channel(End::Closed(_)) if incomplete => (Err(SessionFailure::Incomplete), None),
            Exit::Channel(End::Closed(reason)) if reason.is_empty() => (ended, None),
            Exit::Channel(End::Closed(reason)) if style == Style::Plugin => {
                let text = plugin::ended(&session_id, &reason);
                front.stderr.push(text.into());
                (ended, None)
            }
            Exit::Channel(End::TimedOut) if style == Style::Plugin => {
                front.stderr.push(plugin::timed_out(&session_id).into());
                (ended, None)
            }
            Exit::Channel(end) => {
                let patience = end.wants_termination().then_some(Patience::ORDERLY);
                (Err(SessionFailure::of(end)), patience)
            }
            Exit::Silence => (ended, Some(Patience::ORDERLY)),
            Exit::Leave(result) => (result, Some(Patience::HASTY)),
        };
        let flushed = match hasty {
            true => None,
            // What is left of the output goes out first, however long the reader takes.
            false => tokio::select! {
                flushed = front.flush() => flushed,
                () = partner.gone(true) => None,
            },
        };
        let last = async {
            if let Some(patience) = patience {
                terminate(&aws, &session_id, &mut channel, features, patience).await;
            }
            channel.close().await;
        };
        tokio::select! {
            () = last => {}
            () = told_again(&mut front.signals, hasty) => debug!("told to leave at once"),
        }
        flushed.unwrap_or(result)
    }
}

/// ssh hangs its helper up when it ends itself.
fn handle_signal(signal: Signal) -> Option<Exit> {
    match signal {
        Signal::Suspend => {
            suspend();
            None
        }
        signal => signal
            .number()
            .map(|number| Exit::Leave(Ok(Outcome::Signal(number.into())))),
    }
}

/// Waits for a signal that is a further wish to be gone: one Ctrl-C interrupts ssh and this process,
/// and then ssh hangs this process up, in whatever order that is seen here.
async fn told_again(signals: &mut Signals, just_told: bool) {
    if just_told {
        let ignored = async {
            loop {
                signals.next().await;
            }
        };
        let _: Result<(), _> = timeout(SAME_WISH, ignored).await;
    }
    enough(signals).await;
}

/// Waits until there is room for more, or all is written.
async fn written(
    stdout: &mut Output,
    stderr: &mut Output,
    to_the_last: bool,
) -> std::io::Result<()> {
    match to_the_last {
        true => stdout.flush().await?,
        false => stdout.ready().await?,
    }
    // What is said is not worth ending for.
    let _ = stderr.ready().await;
    Ok(())
}

/// Safe to cancel.
async fn hand_over(sender: &DataSender, chunk: &mut Option<Bytes>) -> Result<(), Ended> {
    let permit = sender.reserve().await?;
    if let Some(chunk) = chunk.take() {
        permit.send(chunk);
    }
    Ok(())
}

async fn next(input: Option<&mut Input>) -> Option<std::io::Result<Bytes>> {
    match input {
        Some(input) => input.next().await,
        None => std::future::pending().await,
    }
}

async fn flushed(flush: &mut Option<Pin<Box<dyn Future<Output = bool> + Send>>>) {
    match flush {
        Some(flush) => drop(flush.await),
        None => std::future::pending().await,
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
