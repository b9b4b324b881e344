//! One connection of a channel: frames between its socket and the core, and its health.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Sink as _, Stream as _};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::{self, Message};

use super::websocket::Socket;
use crate::protocol::{DataChannel, Transmit};
use crate::text::is_harmful;

/// Acknowledgements that may wait for the socket before it is no longer read.
const MAX_ACKNOWLEDGEMENTS: usize = 8192;
/// Frames read before other work has its turn.
const FRAMES_A_TURN: usize = 256;
/// Bytes read before other work has its turn.
const BYTES_A_TURN: usize = 512 * 1024;
/// Frames after which acknowledgements are sent, while more can be read.
const FRAMES_A_FLUSH: usize = 64;
/// Silence, with something unacknowledged, after which a ping tells whether anybody is there.
const UNACKNOWLEDGED_SILENCE: Duration = Duration::from_secs(5);
/// The most that the gateway has to answer a ping.
const MAX_PONG_WAIT: Duration = Duration::from_secs(15);

/// A connection that lasted so long was of use, even if nothing came: the session was quiet.
const LASTING: Duration = Duration::from_secs(60);

/// The socket, and what is known of its health.
pub struct Wire {
    socket: Socket,
    unflushed: bool,
    /// Why nothing can be sent any more. What has arrived by then is still read.
    broken: Option<String>,
    came_up: Instant,
    last_received: Instant,
    ping_sent: Option<Instant>,
    /// The core's progress when the connection came up.
    progress: u64,
}

impl Wire {
    /// A connection that has just come up.
    pub fn new(socket: Socket, now: Instant, core: &DataChannel) -> Self {
        Self {
            socket,
            unflushed: false,
            broken: None,
            came_up: now,
            last_received: now,
            ping_sent: None,
            progress: core.stats().progress,
        }
    }

    /// Whether this connection brought the session on.
    pub fn was_useful(&self, core: &DataChannel, now: Instant) -> bool {
        core.stats().progress > self.progress || now.duration_since(self.came_up) >= LASTING
    }

    /// Says goodbye, should there still be somebody to hear it.
    pub async fn close(&mut self) {
        let _ = self.socket.close(None).await;
    }

    /// When [`check`](Self::check) is due: silence calls for a ping after `keepalive`, or sooner
    /// while something is unacknowledged, and half of it (15 s at most) is the time to answer.
    pub fn deadline(&self, keepalive: Duration, core: &DataChannel) -> Instant {
        match self.ping_sent {
            Some(sent) => sent + (keepalive / 2).min(MAX_PONG_WAIT),
            None if core.all_acknowledged() => self.last_received + keepalive,
            None => self.last_received + keepalive.min(UNACKNOWLEDGED_SILENCE),
        }
    }

    /// Sends the ping that is due; the reason if the last one was not answered.
    pub fn check(&mut self, now: Instant) -> Option<String> {
        if self.ping_sent.is_none() {
            self.ping(now);
            return None;
        }
        let silent = now.duration_since(self.last_received).as_secs();
        Some(format!("no answer for {silent} s"))
    }

    /// Asks now whether anybody is there, unless that is being asked.
    pub fn ask(&mut self, now: Instant) {
        if self.ping_sent.is_none() {
            self.ping(now);
        }
    }

    fn ping(&mut self, now: Instant) {
        self.ping_sent = Some(now);
        // Pings are queued even where the socket cannot take more; a dead one shows later.
        let ping = Message::Ping(Bytes::from_static(b"keepalive"));
        let _ = Pin::new(&mut self.socket).start_send(ping);
        self.unflushed = true;
    }

    /// Moves frames both ways as far as it goes. Ready when something was received, or the
    /// connection is lost.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        core: &mut DataChannel,
        may_read: bool,
    ) -> Poll<Result<(), String>> {
        let now = Instant::now();
        let mut received = 0;
        let mut bytes = 0;
        loop {
            self.write(cx, core, now);
            let until = received + FRAMES_A_FLUSH;
            while may_read && received < until && bytes < BYTES_A_TURN && self.may_read(core) {
                match Pin::new(&mut self.socket).poll_next(cx) {
                    Poll::Ready(Some(Ok(message))) => {
                        received += 1;
                        bytes += message.len();
                        self.last_received = now;
                        self.ping_sent = None;
                        if let Some(reason) = take(message, core, now) {
                            return Poll::Ready(Err(reason));
                        }
                    }
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(describe(&error))),
                    Poll::Ready(None) => return Poll::Ready(Err("closed by the gateway".into())),
                    Poll::Pending => match self.broken.take() {
                        Some(reason) => return Poll::Ready(Err(reason)),
                        None => break,
                    },
                }
            }
            if received < until || received >= FRAMES_A_TURN {
                break;
            }
        }
        self.write(cx, core, now);
        if received > 0 {
            return Poll::Ready(Ok(()));
        }
        if self.broken.is_some() && may_read {
            // It broke just now: read what there is.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Whether there is room for the acknowledgements of what is read. They are many only while
    /// the gateway does not take them.
    fn may_read(&self, core: &DataChannel) -> bool {
        self.broken.is_some() || core.queued_acknowledgements() < MAX_ACKNOWLEDGEMENTS
    }

    /// Writes as far as it goes.
    fn write(&mut self, cx: &mut Context<'_>, core: &mut DataChannel, now: Instant) {
        if self.broken.is_none()
            && let Poll::Ready(Err(error)) = self.poll_write(cx, core, now)
        {
            self.broken = Some(describe(&error));
        }
    }

    /// Gives the socket all that the core has to send, and flushes once behind it.
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        core: &mut DataChannel,
        now: Instant,
    ) -> Poll<Result<(), tungstenite::Error>> {
        let mut socket = Pin::new(&mut self.socket);
        loop {
            ready!(socket.as_mut().poll_ready(cx))?;
            let Some(transmit) = core.poll_transmit(now.into_std()) else {
                break;
            };
            let message = match transmit {
                Transmit::Text(text) => Message::text(text),
                Transmit::Binary(frame) => Message::Binary(frame),
            };
            socket.as_mut().start_send(message)?;
            self.unflushed = true;
        }
        if self.unflushed {
            ready!(socket.poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }
}

/// Gives a message to the core; the reason if it is the connection's last.
fn take(message: Message, core: &mut DataChannel, now: Instant) -> Option<String> {
    match message {
        Message::Binary(frame) => core.handle_frame(now.into_std(), frame),
        Message::Text(text) => core.handle_frame(now.into_std(), text.into()),
        Message::Close(Some(frame)) => {
            let code = u16::from(frame.code);
            // Printable words only: this is shown to the user.
            let words: String = frame
                .reason
                .chars()
                .filter(|&c| !is_harmful(c))
                .take(80)
                .collect();
            return Some(match words.is_empty() {
                true => format!("closed by the gateway with code {code}"),
                false => format!("closed by the gateway with code {code}: {words}"),
            });
        }
        Message::Close(None) => return Some("closed by the gateway".into()),
        Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
    }
    None
}

fn describe(error: &tungstenite::Error) -> String {
    match error {
        // The system's words, without the number that Rust appends to them.
        tungstenite::Error::Io(error) => {
            let text = error.to_string();
            text.split(" (os error ")
                .next()
                .unwrap_or_default()
                .to_owned()
        }
        tungstenite::Error::Protocol(
            tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
        ) => "connection reset".into(),
        error => error.to_string(),
    }
}
