//! A client's connection, as a session drives it.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::{Sink, Stream};
use tokio_tungstenite::tungstenite::Message;

use super::fault::{Burn, Fuse};
use super::gateway::Socket;

/// Frames taken from the socket at once.
const BATCH: usize = 256;

pub(super) struct Client {
    pub(super) socket: Socket,
    /// Frames to be written.
    pub(super) out: VecDeque<Message>,
    /// Keep the connection, but move nothing.
    pub(super) stalled: bool,
    unflushed: bool,
    lost: bool,
    fuse: Fuse,
    doom: Option<Doom>,
}

/// The connection is to be cut once everything is written.
struct Doom {
    /// The beginning of one more frame.
    torn: Bytes,
}

/// What became of a connection.
pub(super) enum Traffic {
    /// Frames were written, or read into the inbox.
    Moved { pings: u64 },
    /// It is gone.
    Lost,
    /// It is to be cut.
    Doomed,
}

impl Client {
    pub(super) fn new(socket: Socket, fuse: Fuse) -> Self {
        Self {
            socket,
            out: VecDeque::new(),
            stalled: false,
            unflushed: false,
            lost: false,
            fuse,
            doom: None,
        }
    }

    /// Whether frames wait to be written.
    pub(super) fn has_backlog(&self) -> bool {
        !self.out.is_empty()
    }

    /// Queues a frame from the agent, unless the connection is about to be cut.
    pub(super) fn forward(&mut self, frame: Bytes) {
        if self.doom.is_some() {
            return;
        }
        match self.fuse.burn(frame.len()) {
            Burn::Pass => self.out.push_back(Message::Binary(frame)),
            Burn::Last => {
                self.out.push_back(Message::Binary(frame));
                self.doom = Some(Doom { torn: Bytes::new() });
            }
            Burn::Within(length) => {
                let torn = frame.slice(..length.min(frame.len()));
                // A binary frame's head says that all of it will come.
                let length = u16::try_from(frame.len()).unwrap_or(u16::MAX);
                let mut head = vec![0x82, 126];
                head.extend_from_slice(&length.to_be_bytes());
                head.extend_from_slice(&torn);
                self.doom = Some(Doom { torn: head.into() });
            }
        }
    }

    /// Writes the beginning of a frame whose rest never comes.
    pub(super) fn write_torn(&mut self) {
        if let Some(doom) = self.doom.take() {
            // If there is no room for it, the cut falls between two frames.
            let _ = self.socket.get_ref().try_write(&doom.torn);
        }
    }

    /// Lets the end of the connection be a reset.
    pub(super) fn reset_on_drop(&self) {
        // Where that is impossible the connection ends in order, which is a loss as well.
        let _ = self.socket.get_ref().set_zero_linger();
    }

    fn poll(
        &mut self,
        context: &mut Context<'_>,
        read: bool,
        inbox: &mut VecDeque<Bytes>,
    ) -> Poll<Traffic> {
        if self.lost {
            return Poll::Ready(Traffic::Lost);
        }
        let mut moved = false;
        let mut pings = 0;
        while !self.out.is_empty() {
            match Pin::new(&mut self.socket).poll_ready(context) {
                Poll::Pending => break,
                Poll::Ready(Err(_)) => return Poll::Ready(Traffic::Lost),
                Poll::Ready(Ok(())) => {}
            }
            let Some(message) = self.out.pop_front() else {
                break;
            };
            if Pin::new(&mut self.socket).start_send(message).is_err() {
                return Poll::Ready(Traffic::Lost);
            }
            self.unflushed = true;
            moved = true;
        }
        if self.unflushed {
            match Pin::new(&mut self.socket).poll_flush(context) {
                Poll::Pending => {}
                Poll::Ready(Err(_)) => return Poll::Ready(Traffic::Lost),
                Poll::Ready(Ok(())) => {
                    self.unflushed = false;
                    moved = true;
                }
            }
        }
        if self.doom.is_some() && self.out.is_empty() && !self.unflushed {
            return Poll::Ready(Traffic::Doomed);
        }
        while read && inbox.len() < BATCH {
            match Pin::new(&mut self.socket).poll_next(context) {
                Poll::Pending => break,
                Poll::Ready(Some(Ok(message))) => {
                    moved = true;
                    match message {
                        Message::Binary(frame) => {
                            if self.fuse.burn(frame.len()) != Burn::Pass && self.doom.is_none() {
                                self.doom = Some(Doom { torn: Bytes::new() });
                            }
                            inbox.push_back(frame);
                        }
                        Message::Ping(_) => pings += 1,
                        Message::Close(_) => self.lost = true,
                        // Gateways have no use for text behind the first frame.
                        Message::Text(_) | Message::Pong(_) | Message::Frame(_) => {}
                    }
                }
                Poll::Ready(Some(Err(_)) | None) => {
                    self.lost = true;
                    moved = true;
                    break;
                }
            }
        }
        if moved {
            Poll::Ready(Traffic::Moved { pings })
        } else {
            Poll::Pending
        }
    }
}

/// Writes and reads as much as the socket takes and has. May be dropped at any time.
pub(super) async fn traffic(
    client: &mut Option<Client>,
    read: bool,
    inbox: &mut VecDeque<Bytes>,
) -> Traffic {
    match client {
        Some(client) if !client.stalled => {
            poll_fn(|context| client.poll(context, read, inbox)).await
        }
        _ => std::future::pending().await,
    }
}
