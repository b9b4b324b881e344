//! Standard input as a stream of chunks, read by a thread.
//!
//! The thread waits for input and for the handle being dropped, and reads only when
//! there is something to read. So dropping the handle ends it at once, and what is
//! typed afterwards is left for the shell.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::os::{Source, Waker};

/// The most that one read takes, in bytes: what a Linux pipe holds.
const READ_SIZE: usize = 64 * 1024;

/// Chunks that may wait for [`Input::next`]; then the thread stops reading.
const QUEUE_CHUNKS: usize = 4;

/// How long a drop waits for a read that is under way. The thread reads only when there
/// is input, so this passes only if another process took that input first.
const READ_GRACE: Duration = Duration::from_millis(50);

/// Input read by a thread of its own, from a terminal, a pipe, a file or a device.
pub struct Input {
    chunks: mpsc::Receiver<io::Result<Bytes>>,
    gate: Arc<Gate>,
    waker: Option<Waker>,
    ended: bool,
}

impl Input {
    /// Starts reading standard input.
    ///
    /// Errors: no more descriptors or threads. A closed standard input is an empty one.
    pub fn spawn() -> io::Result<Input> {
        Input::start(Source::stdin()?)
    }

    pub(super) fn start((source, waker): (Source, Waker)) -> io::Result<Input> {
        let (sender, chunks) = mpsc::channel(QUEUE_CHUNKS);
        let gate = Arc::new(Gate::default());
        let of_thread = Arc::clone(&gate);
        thread::Builder::new()
            .name("input".into())
            .spawn(move || read_all(source, &of_thread, &sender))?;
        Ok(Input {
            chunks,
            gate,
            waker: Some(waker),
            ended: false,
        })
    }

    /// The next bytes, never an empty chunk; an error, after which the input is at its
    /// end; or `None`, once, at the end of the input. After that it stays pending, so
    /// that a `select!` which keeps asking does not spin. Safe to cancel.
    pub async fn next(&mut self) -> Option<io::Result<Bytes>> {
        if self.ended {
            return std::future::pending().await;
        }
        let chunk = self.chunks.recv().await;
        self.ended = chunk.is_none();
        chunk
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        // A thread that waits for room in the queue ends by this.
        self.chunks.close();
        let reading = self.gate.close();
        if let Some(waker) = self.waker.take() {
            waker.wake(reading);
        }
        self.gate.wait_for_reader();
    }
}

fn read_all(mut source: Source, gate: &Gate, chunks: &mpsc::Sender<io::Result<Bytes>>) {
    let mut buffer = vec![0; READ_SIZE];
    loop {
        match source.wait() {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => return drop(chunks.blocking_send(Err(error))),
        }
        if !gate.enter() {
            return;
        }
        let read = source.read(&mut buffer);
        gate.leave();
        let chunk = match read {
            Ok(0) => return,
            Ok(length) => Bytes::copy_from_slice(&buffer[..length]),
            // Somebody else made the file non-blocking, or took the input first: wait again.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                continue;
            }
            Err(error) => return drop(chunks.blocking_send(Err(error))),
        };
        if chunks.blocking_send(Ok(chunk)).is_err() {
            return;
        }
    }
}

/// Keeps reads and the drop of the handle apart: no read starts once it is closed.
#[derive(Default)]
struct Gate {
    state: Mutex<GateState>,
    left: Condvar,
}

#[derive(Default)]
struct GateState {
    closed: bool,
    reading: bool,
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, GateState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Announces a read; false when none may start any more.
    fn enter(&self) -> bool {
        let mut state = self.lock();
        state.reading = !state.closed;
        state.reading
    }

    fn leave(&self) {
        let mut state = self.lock();
        state.reading = false;
        if state.closed {
            self.left.notify_all();
        }
    }

    /// Lets no further read start; true when one is under way.
    fn close(&self) -> bool {
        let mut state = self.lock();
        state.closed = true;
        state.reading
    }

    fn wait_for_reader(&self) {
        let state = self.lock();
        // The outcome does not matter: after the grace there is nothing left to do.
        drop(
            self.left
                .wait_timeout_while(state, READ_GRACE, |state| state.reading),
        );
    }
}
