//! The way to the node's script: commands there, answers back.

mod close;

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use super::command::Command;
use super::frame::{Frame, Frames, Garbled, Reply};
use super::sum::Kind;
use super::windows::{self, Answers, Carried, Carrier, Greeting, Greetings, Stir};
use super::{CopyFailure, Encoding, RemotePath, Watch};
use crate::aws::Aws;
use crate::channel::{Channel, DataSender, End, Ended, Event};
use crate::session::ending::{SessionFailure, printable};
use crate::session::front::suspend;
use crate::session::notices::LossNotice;
use crate::session::opening::Opened;
use crate::terminal::{Signal, Signals};

/// Bytes that may wait for the channel before a command waits with them.
const AHEAD: usize = 128 * 1024;
/// What is handed over to the channel at a time, in bytes.
const PIECE: usize = 64 * 1024;
/// More than a node says before it is ready or behind its answers, in bytes without a line's end.
const NOISE: usize = 64 * 1024;

/// A node with the script running. [`close`](Self::close) it in the end.
pub struct Link {
    aws: Aws,
    session_id: String,
    channel: Channel,
    sender: DataSender,
    signals: Signals,
    loss: LossNotice,
    /// Who hears how it goes.
    pub watch: Box<dyn Watch>,
    frames: Frames,
    greetings: Greetings,
    greeting: Option<Greeting>,
    /// Carries commands and answers, if the node has Windows: the session itself cannot.
    carrier: Option<Carrier>,
    answers: Answers,
    stir: Stir,
    ready: bool,
    replies: VecDeque<(u64, Reply)>,
    out: VecDeque<Bytes>,
    out_bytes: usize,
    next_id: u64,
    /// The most that is to be answered to those that have no answer yet, in their order.
    due: VecDeque<(u64, usize)>,
    ended: bool,
    /// How bytes pass to the node.
    pub up: Encoding,
    /// How bytes come from it.
    pub down: Encoding,
    /// The checksums that it makes.
    pub sums: Kind,
}

impl Link {
    /// By a session that has begun; its shell is not [`ready`](Self::ready) yet.
    pub(super) fn new(opened: Opened, signals: Signals, watch: Box<dyn Watch>, mark: &str) -> Self {
        Self {
            aws: opened.aws,
            session_id: opened.session_id,
            sender: opened.channel.sender(),
            channel: opened.channel,
            signals,
            loss: LossNotice::default(),
            watch,
            frames: Frames::new(mark),
            greetings: Greetings::new(mark),
            greeting: None,
            carrier: None,
            answers: Answers::default(),
            stir: Stir::Never,
            ready: false,
            replies: VecDeque::new(),
            out: VecDeque::new(),
            out_bytes: 0,
            next_id: 1,
            due: VecDeque::new(),
            ended: false,
            up: Encoding::Base64,
            down: Encoding::Base64,
            sums: Kind::Cksum,
        }
    }

    /// Waits until the node's terminal is raw, or PowerShell is there instead.
    ///
    /// # Errors
    ///
    /// The session is over, or a signal came.
    pub(super) async fn ready(&mut self) -> Result<Option<Greeting>, CopyFailure> {
        while !self.ready && self.greeting.is_none() {
            self.step().await?;
        }
        Ok(self.greeting)
    }

    /// Credentials, region and endpoints.
    pub(super) fn aws(&self) -> &Aws {
        &self.aws
    }

    /// Has commands and answers carried by another session.
    pub(super) fn carry_by(&mut self, carrier: Carrier) {
        self.carrier = Some(carrier);
        self.stir = Stir::later();
        // It answers the secret.
        self.due.push_back((0, NOISE));
    }

    /// Whether the node has Windows.
    pub fn is_windows(&self) -> bool {
        self.carrier.is_some()
    }

    /// Sends a command, with bytes behind it. Waits while much waits to be sent; answers with its
    /// number.
    ///
    /// # Errors
    ///
    /// The session is over, or a signal came.
    pub async fn ask(
        &mut self,
        command: Command<'_>,
        body: Option<Bytes>,
    ) -> Result<u64, CopyFailure> {
        let id = self.next_id;
        self.next_id += 1;
        self.due.push_back((id, command.most()));
        self.push(match self.is_windows() {
            true => windows::frame(command, id),
            false => command.line(id).into(),
        });
        self.feed(body.unwrap_or_default()).await?;
        Ok(id)
    }

    /// Sends some of the bytes that belong behind the latest command. Waits while much waits to be
    /// sent.
    ///
    /// # Errors
    ///
    /// The session is over, or a signal came.
    pub async fn feed(&mut self, body: Bytes) -> Result<(), CopyFailure> {
        self.push(body);
        while self.out_bytes > AHEAD {
            self.step().await?;
        }
        Ok(())
    }

    /// The answer to the next command that has none yet.
    ///
    /// # Errors
    ///
    /// The session is over, or a signal came.
    pub async fn answer(&mut self) -> Result<(u64, Reply), CopyFailure> {
        loop {
            if let Some(reply) = self.replies.pop_front() {
                return Ok(reply);
            }
            self.step().await?;
        }
    }

    /// Whether there is an answer already.
    pub fn has_answer(&self) -> bool {
        !self.replies.is_empty()
    }

    /// A command and its answer; all others must have theirs.
    ///
    /// # Errors
    ///
    /// The session is over, or a signal came.
    pub async fn call(
        &mut self,
        command: Command<'_>,
        body: Option<Bytes>,
    ) -> Result<Reply, CopyFailure> {
        let id = self.ask(command, body).await?;
        match self.answer().await? {
            (number, reply) if number == id => Ok(reply),
            _ => Err(CopyFailure::Garbled("it belongs to another command")),
        }
    }

    /// What is at `path`, links followed; `None` with the reason if it cannot be told.
    ///
    /// # Errors
    ///
    /// The session is over, or a signal came.
    pub async fn look(&mut self, path: &RemotePath) -> Result<Result<String, String>, CopyFailure> {
        match self.call(Command::Look(path), None).await? {
            Reply::Ok(text) => Ok(Ok(text)),
            Reply::Err(why) => Ok(Err(why)),
            _ => Err(CopyFailure::Garbled("it is no status")),
        }
    }

    /// Has bytes sent.
    pub(super) fn push(&mut self, data: Bytes) {
        let mut data = data;
        self.out_bytes += data.len();
        while !data.is_empty() {
            self.out.push_back(data.split_to(PIECE.min(data.len())));
        }
    }

    /// Waits for one thing to happen, and does it. Safe to cancel.
    ///
    /// # Errors
    ///
    /// The session is over, or a signal came.
    pub async fn step(&mut self) -> Result<(), CopyFailure> {
        enum Woken {
            Signal(Signal),
            Event(Option<Event>),
            Sent,
            Carried(Carried),
            Deadline,
        }
        let deadlines = [self.loss.deadline(), self.stir.deadline()];
        let deadline = deadlines.into_iter().flatten().min();
        let sends = self.carrier.is_none() && !self.out.is_empty();
        let woken = tokio::select! {
            signal = self.signals.next() => Woken::Signal(signal),
            event = self.channel.next() => Woken::Event(event),
            carried = windows::carried(&mut self.carrier, &mut self.out) => Woken::Carried(carried),
            permit = self.sender.reserve(), if sends || self.stir == Stir::Now => {
                match permit {
                    Ok(permit) => if self.stir == Stir::Now {
                        // Nobody reads it.
                        permit.send(Bytes::from_static(b" "));
                        self.stir = Stir::later();
                    } else if let Some(data) = self.out.pop_front() {
                        self.out_bytes -= data.len();
                        permit.send(data);
                    },
                    // The channel's last event is on its way.
                    Err(Ended) => self.out.clear(),
                }
                Woken::Sent
            }
            () = until(deadline) => Woken::Deadline,
        };
        match woken {
            Woken::Signal(signal) => {
                if let Some(number) = heed(signal) {
                    return Err(CopyFailure::Signal(number));
                }
            }
            Woken::Event(event) => return self.handle(event),
            Woken::Sent => {}
            Woken::Carried(carried) => return self.carried(carried),
            Woken::Deadline => {
                let past =
                    |deadline: Option<Instant>| deadline.is_some_and(|at| at <= Instant::now());
                if past(self.stir.deadline()) {
                    self.stir = Stir::Now;
                }
                if past(self.loss.deadline())
                    && let Some(text) = self.loss.tell()
                {
                    self.watch.notice(&text);
                }
            }
        }
        Ok(())
    }

    fn handle(&mut self, event: Option<Event>) -> Result<(), CopyFailure> {
        let text = match event {
            Some(Event::Output(data)) => return self.read(&data),
            Some(Event::CustomerMessage(text)) => Some(printable(&text)),
            Some(Event::Lost(reason)) => {
                self.loss.lost(reason);
                None
            }
            Some(Event::Hindered(reason)) => self.loss.hindered(reason),
            Some(Event::Resumed) => self.loss.resumed(),
            // The channel's task ends only after its last event.
            None => return self.over(End::Closed(String::new())),
            Some(Event::End(end)) => return self.over(end),
            Some(event) => {
                debug!(?event, "ignored");
                None
            }
        };
        if let Some(text) = text {
            self.watch.notice(&text);
        }
        Ok(())
    }

    fn carried(&mut self, carried: Carried) -> Result<(), CopyFailure> {
        match carried {
            Carried::Taken(length) => self.out_bytes -= length,
            Carried::Came(data) => {
                self.answers.push(&data);
                let garbled = |garbled: Garbled| CopyFailure::Garbled(garbled.0);
                while let Some((id, reply)) = self.answers.next().map_err(garbled)? {
                    self.answered(id, reply)?;
                }
                return self.bound(self.answers.unread());
            }
            Carried::Notice(text) => self.watch.notice(&text),
            Carried::Over(failure) => return Err(failure),
        }
        Ok(())
    }

    fn over(&mut self, end: End) -> Result<(), CopyFailure> {
        self.ended = !end.wants_termination();
        Err(match end {
            End::Closed(reason) if reason.is_empty() && !self.ready && self.greeting.is_none() => {
                let noise = printable(&self.frames.noise());
                CopyFailure::NoShell(match noise.is_empty() {
                    true => String::new(),
                    false => format!(": {noise}"),
                })
            }
            End::Closed(reason) if reason.is_empty() => {
                SessionFailure::Closed("the node's shell is gone".to_owned()).into()
            }
            end => SessionFailure::of(end).into(),
        })
    }

    fn read(&mut self, data: &[u8]) -> Result<(), CopyFailure> {
        if self.greeting.is_some() {
            return Ok(());
        }
        if !self.ready {
            self.greeting = self.greetings.read(data);
            if self.greeting.is_some() {
                return Ok(());
            }
        }
        self.frames.push(data);
        while let Some(frame) = self
            .frames
            .next()
            .map_err(|garbled| CopyFailure::Garbled(garbled.0))?
        {
            match frame {
                Frame::Ready => self.ready = true,
                Frame::NoStty => return Err(CopyFailure::Lacks("stty")),
                Frame::Reply(id, reply) => self.answered(id, reply)?,
            }
        }
        self.bound(self.frames.unread())
    }

    /// Takes an answer. What was not asked for would never be taken, and fill the memory.
    fn answered(&mut self, id: u64, reply: Reply) -> Result<(), CopyFailure> {
        if self.due.pop_front().is_none_or(|(due, _)| due != id) {
            return Err(CopyFailure::Garbled("it belongs to another command"));
        }
        self.replies.push_back((id, reply));
        Ok(())
    }

    /// Checks what there is of an answer that is not whole.
    fn bound(&self, unread: usize) -> Result<(), CopyFailure> {
        let most = self.due.front().map_or(NOISE, |(_, most)| *most);
        match unread > most {
            true => Err(CopyFailure::Garbled("it has no end")),
            false => Ok(()),
        }
    }
}

/// The number of a signal that wants us gone.
pub(super) fn heed(signal: Signal) -> Option<u8> {
    if signal == Signal::Suspend {
        suspend();
        return None;
    }
    signal.number()
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
