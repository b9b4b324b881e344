//! Many connections, each a stream of one smux session.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::super::super::state::Shared;
use super::super::until;
use super::HostEvent;
use super::destination::Destination;
use super::pace::Pace;
use crate::mux::{Config, HalfClose, Mux, Role, Stream, relay};
use crate::protocol::message::PayloadType;
use crate::protocol::payload::Flag;

/// The payload of agents' frames, in bytes: they read connections in such pieces.
const FRAME: u16 = 32 << 10;
/// How long an agent that wants keep-alives waits for one.
const PATIENCE: Duration = Duration::from_secs(30);

/// Mux mode.
pub(super) struct Multiplexed {
    mux: Mux,
    acceptor: JoinHandle<()>,
    /// One for each connect that failed.
    failures: mpsc::Receiver<()>,
    /// Frames that are yet to be sent, as they were read.
    unsent: Bytes,
    injected: VecDeque<Bytes>,
    pace: Pace,
    /// When a client is missed, where that matters.
    patience: Option<Instant>,
    full: bool,
    ended: Option<i32>,
}

impl Multiplexed {
    /// Waits for streams; nothing is connected yet.
    pub(super) fn new(
        shared: Arc<Shared>,
        destination: Destination,
        keepalive: bool,
        paced: bool,
    ) -> Self {
        let mux = Mux::new(Config {
            max_frame: FRAME,
            // Whoever does not read stops all of them, as it is with agents.
            slow_reader: None,
            ..Config::new(Role::Server, keepalive)
        });
        let (failed, failures) = mpsc::channel(1);
        Self {
            acceptor: tokio::spawn(accept(mux.clone(), destination, failed, shared)),
            mux,
            failures,
            unsent: Bytes::new(),
            injected: VecDeque::new(),
            pace: Pace::new(paced),
            patience: keepalive.then(|| Instant::now() + PATIENCE),
            full: false,
            ended: None,
        }
    }

    pub(super) fn input(&mut self, input: Bytes) {
        if self.patience.is_some() {
            self.patience = Some(Instant::now() + PATIENCE);
        }
        if let Err(error) = self.mux.receive(input) {
            tracing::debug!(%error, "the loopback agent got something that is not smux");
            self.ended = Some(1);
        }
    }

    pub(super) fn flag(&mut self, flag: Flag) {
        if flag == Flag::TerminateSession {
            self.ended = Some(0);
        }
    }

    pub(super) fn takes_input(&mut self) -> bool {
        self.full = self.mux.room().now_or_never().is_none();
        !self.full
    }

    pub(super) fn inject(&mut self, output: Bytes) {
        self.injected.push_back(output);
    }

    pub(super) async fn next(&mut self, wanted: bool) -> HostEvent {
        loop {
            if let Some(code) = self.ended.take() {
                return HostEvent::Ended(code);
            }
            if wanted && !self.unsent.is_empty() {
                self.pace.due().await;
                self.pace.has_read();
                let length = self.pace.size().min(self.unsent.len());
                let output = self.unsent.split_to(length);
                return HostEvent::Output(PayloadType::OUTPUT, output);
            }
            if wanted && let Some(injected) = self.injected.pop_front() {
                self.unsent = injected;
                continue;
            }
            tokio::select! {
                biased;
                // Before the end of the stream that it is about.
                Some(()) = self.failures.recv(), if wanted => {
                    let flag = Flag::ConnectToPortError.to_bytes();
                    return HostEvent::Output(PayloadType::FLAG, Bytes::copy_from_slice(&flag));
                }
                () = self.mux.output(), if wanted => {
                    let frames = self.mux.take_output(self.pace.size());
                    self.unsent = frames.unwrap_or_default();
                }
                () = self.mux.room(), if self.full => {
                    self.full = false;
                    return HostEvent::Room;
                }
                () = until(self.patience) => {
                    self.patience = None;
                    self.ended = Some(1);
                }
            }
        }
    }
}

impl Drop for Multiplexed {
    fn drop(&mut self) {
        self.acceptor.abort();
        self.mux.end();
    }
}

/// Connects streams, one behind the other.
async fn accept(mux: Mux, destination: Destination, failed: mpsc::Sender<()>, shared: Arc<Shared>) {
    while let Some(stream) = mux.accept().await {
        match destination.dial().await {
            Ok(socket) => {
                let open = Open::new(shared.clone());
                tokio::spawn(async move {
                    relay(stream, socket, HalfClose::Full).await;
                    drop(open);
                });
            }
            Err(reason) => {
                tracing::debug!(reason, "the loopback agent cannot connect");
                if failed.send(()).await.is_err() {
                    return;
                }
                drop::<Stream>(stream);
            }
        }
    }
}

/// Counts a stream while it is open.
struct Open(Arc<Shared>);

impl Open {
    fn new(shared: Arc<Shared>) -> Self {
        shared.change(|state| state.stats.streams += 1);
        Self(shared)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.change(|state| state.stats.streams -= 1);
    }
}
