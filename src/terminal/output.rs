//! Standard output and error, written by a thread each.
//!
//! A write to a terminal or a pipe may block for as long as the other side likes, which
//! must not keep the session from acknowledging, pinging and hearing the user. The
//! thread takes everything that is queued at once, so that fast output costs few
//! wake-ups, and it is started by the first output, so that an unused one costs nothing.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::thread;

use bytes::{Buf, Bytes};

use super::os::Sink;

/// Bytes in the queue from which on [`Output::ready`] waits.
const QUEUE_BYTES: usize = 256 * 1024;

/// Bytes in the queue at which [`Output::push`] wakes the thread by itself.
const WAKE_BYTES: usize = 64 * 1024;

/// The most that one write takes, in bytes and pieces. What a Linux pipe holds; larger
/// writes would only hide for longer how much of the queue is gone.
const WRITE_BYTES: usize = 64 * 1024;
const WRITE_PIECES: usize = 64;

/// A queue of bytes to an open file, and the thread that writes them.
///
/// Dropping it lets the thread write what is queued and end; only
/// [`flush`](Output::flush) tells when that is done.
pub struct Output {
    shared: Arc<Shared>,
    name: &'static str,
    /// What the thread will write to, until it is started.
    sink: Option<Sink>,
}

impl Output {
    /// To standard output. Should it not be usable, the first wait says so.
    pub fn stdout() -> Output {
        Output::new("stdout", Sink::stdout())
    }

    /// To standard error. Should it not be usable, the first wait says so.
    pub fn stderr() -> Output {
        Output::new("stderr", Sink::stderr())
    }

    pub(super) fn new(name: &'static str, sink: io::Result<Sink>) -> Output {
        let mut state = State::default();
        let sink = sink.map_err(|error| state.fail(&error)).ok();
        Output {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                work: Condvar::new(),
            }),
            name,
            sink,
        }
    }

    /// Queues bytes without waiting and without a bound of its own. Whoever pushes calls
    /// [`ready`](Output::ready) or [`flush`](Output::flush) before waiting for anything
    /// else: that starts the writing, once for all that was pushed, and keeps the queue
    /// bounded. After an error the bytes are dropped.
    pub fn push(&mut self, bytes: Bytes) {
        let mut state = self.shared.lock();
        if bytes.is_empty() || state.failure.is_some() {
            return;
        }
        state.pending += bytes.len();
        state.queue.push_back(bytes);
        let wake = state.pending >= WAKE_BYTES;
        drop(state);
        if wake {
            self.start_writing();
        }
    }

    /// Starts the writing and waits while the queue is full (256 KiB). Safe to cancel.
    ///
    /// Errors: the failure of an earlier write, at every call.
    pub async fn ready(&mut self) -> io::Result<()> {
        self.start_writing();
        self.wait(QUEUE_BYTES - 1, QUEUE_BYTES / 2).await
    }

    /// Starts the writing and waits until all that was pushed is written. Safe to cancel.
    ///
    /// Errors: the failure of an earlier write, at every call.
    pub async fn flush(&mut self) -> io::Result<()> {
        self.start_writing();
        self.wait(0, 0).await
    }

    /// [`push`](Output::push) and [`ready`](Output::ready). If cancelled, the bytes are
    /// queued all the same.
    pub async fn write(&mut self, bytes: Bytes) -> io::Result<()> {
        self.push(bytes);
        self.ready().await
    }

    /// Waits until at most `enough` bytes are left, unless there are at most `at_first`.
    async fn wait(&self, at_first: usize, enough: usize) -> io::Result<()> {
        let mut bound = at_first;
        poll_fn(|context| {
            let mut state = self.shared.lock();
            if let Some(failure) = &state.failure {
                return Poll::Ready(Err(failure.to_error()));
            }
            if state.pending <= bound {
                state.waiting = None;
                return Poll::Ready(Ok(()));
            }
            bound = enough;
            state.waiting = Some((context.waker().clone(), enough));
            Poll::Pending
        })
        .await
    }

    fn start_writing(&mut self) {
        let mut state = self.shared.lock();
        if state.queue.is_empty() {
            return;
        }
        if state.idle {
            // Cleared here, so that only the first of many pushes makes the system call.
            state.idle = false;
            drop(state);
            self.shared.work.notify_one();
            return;
        }
        drop(state);
        let Some(sink) = self.sink.take() else {
            return; // The thread is at work and will come back for more.
        };
        let shared = Arc::clone(&self.shared);
        let started = thread::Builder::new()
            .name(self.name.into())
            .spawn(move || write_all(sink, &shared));
        if let Err(error) = started {
            self.shared.lock().fail(&error);
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.start_writing();
        self.shared.lock().closed = true;
        self.shared.work.notify_one();
    }
}

struct Shared {
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Bytes>,
    /// Bytes not written yet: those in the queue and those that the thread took.
    pending: usize,
    /// The thread waits for work, and nobody has told it of any.
    idle: bool,
    /// The handle is gone.
    closed: bool,
    failure: Option<Failure>,
    /// Who waits, and for how many bytes being left.
    waiting: Option<(Waker, usize)>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Swaps the whole queue into `batch`, which is empty, waiting for there to be one.
    /// False when there will be none.
    fn take(&self, batch: &mut VecDeque<Bytes>) -> bool {
        let mut state = self.lock();
        while state.queue.is_empty() {
            if state.closed {
                return false;
            }
            state.idle = true;
            state = self
                .work
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.idle = false;
        std::mem::swap(batch, &mut state.queue);
        true
    }
}

impl State {
    fn written(&mut self, length: usize) {
        self.pending = self.pending.saturating_sub(length);
        if let Some((waker, _)) = self.waiting.take_if(|(_, enough)| self.pending <= *enough) {
            waker.wake();
        }
    }

    fn fail(&mut self, error: &io::Error) {
        self.failure = Some(Failure::new(error));
        self.queue.clear();
        self.pending = 0;
        if let Some((waker, _)) = self.waiting.take() {
            waker.wake();
        }
    }
}

fn write_all(mut sink: Sink, shared: &Shared) {
    let mut batch = VecDeque::new();
    while shared.take(&mut batch) {
        while !batch.is_empty() {
            match write_some(&mut sink, &batch) {
                Ok(length) => {
                    consume(&mut batch, length);
                    shared.lock().written(length);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return shared.lock().fail(&error),
            }
        }
    }
}

fn write_some(sink: &mut Sink, batch: &VecDeque<Bytes>) -> io::Result<usize> {
    let mut pieces = [IoSlice::new(&[]); WRITE_PIECES];
    let mut room = WRITE_BYTES;
    let mut used = 0;
    for (piece, bytes) in pieces.iter_mut().zip(batch) {
        let length = bytes.len().min(room);
        *piece = IoSlice::new(&bytes[..length]);
        used += 1;
        room -= length;
        if room == 0 {
            break;
        }
    }
    match sink.write(&pieces[..used])? {
        0 => Err(io::ErrorKind::WriteZero.into()),
        length => Ok(length),
    }
}

fn consume(batch: &mut VecDeque<Bytes>, mut length: usize) {
    while let Some(first) = batch.front_mut() {
        if length < first.len() {
            return first.advance(length);
        }
        length -= first.len();
        batch.pop_front();
    }
}

/// An [`io::Error`] that can be given out again and again.
struct Failure {
    code: Option<i32>,
    kind: io::ErrorKind,
}

impl Failure {
    fn new(error: &io::Error) -> Failure {
        Failure {
            code: error.raw_os_error(),
            kind: error.kind(),
        }
    }

    fn to_error(&self) -> io::Error {
        match self.code {
            Some(code) => io::Error::from_raw_os_error(code),
            None => self.kind.into(),
        }
    }
}
