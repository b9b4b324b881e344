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

/// The socket, and what is known of its health.
pub struct Wire {
    socket: Socket,
    unflushed: bool,
    last_received: Instant,
    ping_sent: Option<Instant>,
    /// What the core had understood when the connection came up.
    understood: u64,
}

impl Wire {
    /// A connection that has just come up.
    pub fn new(socket: Socket, now: Instant, core: &DataChannel) -> Self {
        Self {
            socket,
            unflushed: false,
            last_received: now,
            ping_sent: None,
            understood: core.stats().understood,
        }
    }

    /// Whether the agent was heard on this connection.
    pub fn was_useful(&self, core: &DataChannel) -> bool {
        core.stats().understood > self.understood
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
            if let Poll::Ready(Err(error)) = self.poll_write(cx, core, now) {
                return Poll::Ready(Err(describe(&error)));
            }
            let until = received + FRAMES_A_FLUSH;
            while may_read && received < until && bytes < BYTES_A_TURN {
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
                    Poll::Pending => break,
                }
            }
            if received < until || received >= FRAMES_A_TURN {
                break;
            }
        }
        if let Poll::Ready(Err(error)) = self.poll_write(cx, core, now) {
            return Poll::Ready(Err(describe(&error)));
        }
        if received > 0 {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
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
                .filter(|c| !c.is_control())
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
        tungstenite::Error::Io(error) => error.to_string(),
        tungstenite::Error::Protocol(
            tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
        ) => "connection reset".into(),
        error => error.to_string(),
    }
}
