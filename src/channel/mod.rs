//! The tokio side of one data channel: [`Channel`] is the handle, a task drives the socket.
//!
//! Both directions are bounded: [`DataSender::reserve`] waits while the agent lags, and the socket is
//! not read while [`Channel::next`] is not called for long. Acknowledgements, resends, pings and
//! reconnects go on meanwhile.

mod data_key;
mod driver;
mod figures;
mod pending;
mod reconnect;
pub mod websocket;
mod wire;

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::aws::{Aws, SessionGrant};
use crate::protocol::SessionType;
use crate::protocol::error::SessionError;
use crate::protocol::payload::{Flag, Size};
use crate::protocol::version::AgentFeatures;

pub use figures::Figures;
pub use reconnect::ReconnectError;
pub use websocket::ConnectError;

/// How a channel is to behave.
#[derive(Debug, Clone)]
pub struct Options {
    /// Silence after which a ping is sent; `None` for never. Half of it (15 s at most) is the
    /// time that the gateway has to answer.
    pub keepalive: Option<Duration>,
    /// How long the agent may take until the session is in force.
    pub answer_timeout: Duration,
    /// The most payload bytes per data message.
    pub max_payload: usize,
    /// Why data keys cannot be had, if so.
    pub no_data_keys: Option<String>,
    /// The session is in force already, and its client is gone.
    pub take_over: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            keepalive: Some(Duration::from_secs(30)),
            answer_timeout: Duration::from_secs(60),
            max_payload: 1024,
            no_data_keys: None,
            take_over: false,
        }
    }
}

/// What happened on a channel.
#[derive(Debug)]
pub enum Event {
    /// The first connection is up; the agent may still be silent.
    Connected,
    /// The session is in force.
    Started(SessionType, AgentFeatures),
    /// A text of the service for the user.
    CustomerMessage(String),
    /// Bytes of the session.
    Output(Bytes),
    /// Bytes of a command's standard error.
    Stderr(Bytes),
    /// A command's exit status, and the text that told it.
    ExitCode(Option<i32>, Bytes),
    /// A flag of the agent.
    Flag(Flag),
    /// The connection is lost and being replaced.
    Lost(String),
    /// Replacing it is hindered, for this reason; it goes on.
    Hindered(String),
    /// The connection is replaced.
    Resumed,
    /// Data is lost: the agent ended the session before it had sent everything again.
    Incomplete,
    /// The last event.
    End(End),
}

/// How a channel ended.
#[derive(Debug)]
pub enum End {
    /// By `channel_closed`; the reason is empty after a normal end.
    Closed(String),
    /// The service says that the session is over: it answered ResumeSession without a token.
    TimedOut,
    /// The session cannot go on. The remote end has to be terminated.
    Failed(SessionError),
    /// No connection could be made.
    NotConnected(ConnectError),
    /// Every connection is lost again, for this reason, before the agent is heard on it.
    Useless(String),
    /// The connection was lost and could not be replaced.
    LostForGood(ReconnectError),
}

impl End {
    /// Whether the remote side may still be there, and has to be terminated.
    pub fn wants_termination(&self) -> bool {
        !matches!(self, Self::Closed(_) | Self::TimedOut)
    }
}

/// The channel's task is gone: it has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended;

/// A data channel. Dropping it closes the connection, not the session.
#[derive(Debug)]
pub struct Channel {
    sender: DataSender,
    size: watch::Sender<Option<Size>>,
    questions: mpsc::Sender<Question>,
    events: mpsc::Receiver<Event>,
    driver: JoinHandle<()>,
}

/// What is handed over to the channel's task, in the order in which the agent is to get it.
#[derive(Debug)]
enum Outgoing {
    Data(Bytes),
    Flag(Flag),
    /// Answered once all that went before is acknowledged.
    Flush(oneshot::Sender<()>),
}

/// Where somebody waits for [`Figures`].
type Question = oneshot::Sender<Figures>;

/// Sends bytes and flags of the session, which the agent gets in the order of the calls.
#[derive(Debug, Clone)]
pub struct DataSender(mpsc::Sender<Outgoing>);

/// Room for bytes.
#[derive(Debug)]
pub struct Permit<'a>(mpsc::Permit<'a, Outgoing>);

impl Permit<'_> {
    /// Hands over bytes, in as many messages as they take; few at a time (64 KiB or so) keep the
    /// window what it is.
    pub fn send(self, data: Bytes) {
        self.0.send(Outgoing::Data(data));
    }
}

impl DataSender {
    /// Waits until the window is open and the session in force; the permit then takes bytes at
    /// once. Safe to cancel.
    ///
    /// # Errors
    ///
    /// The channel has ended.
    pub async fn reserve(&self) -> Result<Permit<'_>, Ended> {
        self.0.reserve().await.map(Permit).map_err(|_| Ended)
    }

    /// Sends a flag, behind the bytes that were handed over before.
    ///
    /// # Errors
    ///
    /// The channel has ended.
    pub async fn send_flag(&self, flag: Flag) -> Result<(), Ended> {
        self.0.send(Outgoing::Flag(flag)).await.map_err(|_| Ended)
    }

    /// Whether the channel has ended; its last events may still wait to be taken.
    pub fn has_ended(&self) -> bool {
        self.0.is_closed()
    }

    /// Waits until the channel has ended. Safe to cancel.
    pub async fn ended(&self) {
        self.0.closed().await;
    }

    /// Waits until all that was handed over before the first poll is acknowledged (true), or the
    /// channel has ended (false). Borrows nothing, so that it can be kept beside
    /// [`Channel::next`]. Dropping it ends the wait, nothing else.
    pub fn flush(&self) -> impl Future<Output = bool> + Send + use<> {
        let sender = self.0.clone();
        async move {
            let (flush, flushed) = oneshot::channel();
            sender.send(Outgoing::Flush(flush)).await.is_ok() && flushed.await.is_ok()
        }
    }
}

impl Channel {
    /// Opens the channel of a session that was started or resumed on `target`. Must be called
    /// within a tokio runtime.
    ///
    /// # Errors
    ///
    /// The system has no randomness.
    pub fn open(
        aws: Aws,
        grant: SessionGrant,
        target: String,
        options: Options,
    ) -> std::io::Result<Self> {
        let (outgoing, outgoing_rx) = mpsc::channel(2);
        let (size, size_rx) = watch::channel(None);
        let (questions, questions_rx) = mpsc::channel(1);
        let (events_tx, events) = mpsc::channel(2);
        let driver = driver::Driver::new(
            aws,
            grant,
            target,
            options,
            driver::Ports {
                outgoing: outgoing_rx,
                size: size_rx,
                questions: questions_rx,
                events: events_tx,
            },
        )?;
        Ok(Self {
            sender: DataSender(outgoing),
            size,
            questions,
            events,
            driver: tokio::spawn(driver.run()),
        })
    }

    /// A handle for sending while [`next`](Self::next) is waited for.
    pub fn sender(&self) -> DataSender {
        self.sender.clone()
    }

    /// [`DataSender::send_flag`].
    ///
    /// # Errors
    ///
    /// The channel has ended.
    pub async fn send_flag(&self, flag: Flag) -> Result<(), Ended> {
        self.sender.send_flag(flag).await
    }

    /// [`DataSender::flush`].
    pub fn flush(&self) -> impl Future<Output = bool> + Send + use<> {
        self.sender.flush()
    }

    /// Tells the terminal's size; only the latest counts.
    pub fn set_size(&self, size: Size) {
        self.size.send_replace(Some(size));
    }

    /// Asks how the channel is doing, whether or not it is connected; `None` if it has ended.
    /// Borrows nothing, so that it can be kept beside [`next`](Self::next).
    pub fn figures(&self) -> impl Future<Output = Option<Figures>> + Send + use<> {
        let questions = self.questions.clone();
        async move {
            let (question, answer) = oneshot::channel();
            questions.send(question).await.ok()?;
            answer.await.ok()
        }
    }

    /// The next event; `None` after [`Event::End`].
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// Closes the connection politely, within half a second.
    pub async fn close(self) {
        drop((self.sender, self.size, self.questions, self.events));
        // A driver that does not end in time is dropped with the runtime.
        let _ = tokio::time::timeout(Duration::from_millis(500), self.driver).await;
    }
}
