//! The tokio side of smux: [`Mux`] joins one carrier (a data channel) and many streams, and
//! [`relay`] joins a stream and a socket.
//!
//! ```text
//! carrier --receive--> Mux --Stream--> relay --> socket
//!         <--output---     <--Stream--       <--
//! ```
//!
//! Everything lives in one [`Streams`] behind a lock that is never held across an await. Whoever
//! changes it wakes those whom it concerns, so nobody looks twice at what has not changed.

#[cfg(target_os = "linux")]
mod linux;
mod relay;
mod socket;
mod stream;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::protocol::smux::{Error, Event, Streams};

pub use crate::protocol::smux::{Config, Role};
pub use relay::{HalfClose, Relayed, relay};
pub use socket::Socket;
pub use stream::Stream;

/// The most that is read from a socket at once, in bytes.
const READ: usize = 64 * 1024;

/// One smux session. Clones are handles on the same one.
#[derive(Debug, Clone)]
pub struct Mux(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// There may be something to send.
    output: Notify,
    /// There may be room to receive.
    room: Notify,
    /// There may be a new stream.
    accepted: Notify,
}

#[derive(Debug)]
struct State {
    streams: Streams,
    handles: HashMap<u32, Handle>,
    accepted: VecDeque<u32>,
    ended: bool,
    /// Nor is what has come delivered any more.
    aborted: bool,
    /// Questions that streams have asked, that the carrier has taken, and that are answered.
    asked: u64,
    taken: u64,
    answered: u64,
    /// What was just read from a socket; one for all, as it is empty between reads.
    scratch: Vec<u8>,
}

/// Whether the peer has all that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question(u64);

/// What a [`Stream`] waits for, and what became of it.
#[derive(Debug, Default)]
struct Handle {
    waker: Option<Waker>,
    fate: Option<Over>,
    /// It waits for an answer.
    asking: bool,
}

/// Why nothing more comes on a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    Finished,
    Refused,
    TooSlow,
    Ended,
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

/// For the carrier.
impl Mux {
    /// A session in which nothing has happened.
    pub fn new(config: Config) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::new(State {
                streams: Streams::new(config, now()),
                handles: HashMap::new(),
                accepted: VecDeque::new(),
                ended: false,
                aborted: false,
                asked: 0,
                taken: 0,
                answered: 0,
                scratch: vec![0; READ],
            }),
            output: Notify::new(),
            room: Notify::new(),
            accepted: Notify::new(),
        }))
    }

    /// Bytes of the carrier came; wait for [`room`](Self::room) first.
    ///
    /// # Errors
    ///
    /// They are not smux: the session cannot go on.
    pub fn receive(&self, data: Bytes) -> Result<(), Error> {
        self.change(|state| state.streams.handle_input(now(), data))
    }

    /// Waits until more may be received. While it waits, readers that take nothing lose their
    /// streams in time. Safe to cancel.
    pub async fn room(&self) {
        self.wait(&self.0.room, |state| !state.streams.is_blocked())
            .await;
    }

    /// Waits until [`take_output`](Self::take_output) has something. Safe to cancel.
    pub async fn output(&self) {
        self.wait(&self.0.output, |state| state.streams.has_output())
            .await;
    }

    /// Frames for the carrier, about `limit` bytes of them.
    pub fn take_output(&self, limit: usize) -> Option<Bytes> {
        self.change(|state| state.streams.poll_transmit(limit))
    }

    /// The peer says that a connect failed; the stream concerned is the next one that it finishes
    /// without having sent anything.
    pub fn refused(&self) {
        self.change(|state| state.streams.expect_refusal());
    }

    /// Whether streams want to know that the peer has all that was sent; to be answered by
    /// [`confirm`](Self::confirm). What that is about has been taken by then.
    pub fn question(&self) -> Option<Question> {
        let mut state = self.lock();
        if state.streams.has_nop() || state.taken == state.asked {
            return None;
        }
        state.taken = state.asked;
        Some(Question(state.asked))
    }

    /// The peer has all that was sent before the question.
    pub fn confirm(&self, question: Question) {
        self.change(|state| {
            state.answered = state.answered.max(question.0);
            for handle in state.handles.values_mut().filter(|handle| handle.asking) {
                handle.asking = false;
                handle.wake();
            }
        });
    }

    /// The session is over. Its streams deliver what has come, then end.
    pub fn end(&self) {
        self.close(false);
    }

    /// The same, but streams whose readers take nothing end at once.
    pub fn abort(&self) {
        self.close(true);
    }

    fn close(&self, abort: bool) {
        self.change(|state| {
            state.ended = true;
            state.aborted |= abort;
            for handle in state.handles.values_mut() {
                handle.wake();
            }
        });
        self.0.accepted.notify_one();
    }

    async fn wait(&self, changed: &Notify, condition: impl Fn(&State) -> bool) {
        loop {
            let deadline = {
                let state = self.lock();
                if condition(&state) {
                    return;
                }
                state.streams.poll_timeout()
            };
            let changed = changed.notified();
            match deadline {
                None => changed.await,
                Some(deadline) => {
                    if timeout_at(deadline.into(), changed).await.is_err() {
                        self.change(|state| state.streams.handle_timeout(now()));
                    }
                }
            }
        }
    }
}

/// For those with connections.
impl Mux {
    /// Opens a stream; `None` once the session is over, or if there are too many.
    pub fn open(&self) -> Option<Stream> {
        let id = self.change(|state| match state.ended {
            true => None,
            false => state.streams.open(now()),
        })?;
        Some(self.stream(id))
    }

    /// The next stream that the peer opened; `None` once the session is over. Safe to cancel.
    pub async fn accept(&self) -> Option<Stream> {
        loop {
            {
                let mut state = self.lock();
                if let Some(id) = state.accepted.pop_front() {
                    drop(state);
                    return Some(self.stream(id));
                }
                if state.ended {
                    return None;
                }
            }
            self.0.accepted.notified().await;
        }
    }

    /// Open streams.
    pub fn streams(&self) -> usize {
        self.lock().streams.len()
    }

    fn stream(&self, id: u32) -> Stream {
        Stream::new(self.clone(), id)
    }
}

impl Mux {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, and wakes whom that concerns.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let result = change(&mut state);
        while let Some(event) = state.streams.poll_event() {
            let (id, fate) = match event {
                Event::Opened(id) => {
                    state.accepted.push_back(id);
                    self.0.accepted.notify_one();
                    continue;
                }
                Event::Readable(id) | Event::Writable(id) => (id, None),
                Event::Refused(id) => (id, Some(Over::Refused)),
                Event::TooSlow(id) => (id, Some(Over::TooSlow)),
            };
            if let Some(handle) = state.handles.get_mut(&id) {
                handle.fate = handle.fate.or(fate);
                handle.wake();
            } else if fate.is_some() {
                let handle = state.handles.entry(id).or_default();
                handle.fate = fate;
            }
        }
        if state.streams.has_output() {
            self.0.output.notify_one();
        }
        if !state.streams.is_blocked() {
            self.0.room.notify_one();
        }
        result
    }
}

impl Handle {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests;
