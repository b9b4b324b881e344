//! One stream's end: what it has, what it takes, and how it waits.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, ReadBuf};

use super::{Handle, Mux, Over, Question, READ, State, now};

/// One stream. Dropping it sends what was written, then FIN.
#[derive(Debug)]
pub struct Stream {
    mux: Mux,
    id: u32,
}

/// What comes next on a stream.
#[derive(Debug)]
pub(super) enum Taken {
    Data(Bytes),
    Over(Over),
}

impl Stream {
    pub(super) fn new(mux: Mux, id: u32) -> Self {
        Self { mux, id }
    }

    /// Its number on the wire.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The next piece of data, or why there is none. Say [`consumed`](Self::consumed) when it is
    /// gone.
    pub(super) fn poll_take(&self, cx: &Context<'_>) -> Poll<Taken> {
        let mut state = self.mux.lock();
        if let Some(data) = state.streams.take(self.id) {
            return Poll::Ready(Taken::Data(data));
        }
        let fate = state.handles.get(&self.id).and_then(|handle| handle.fate);
        let over = match fate {
            Some(fate) => Some(fate),
            None if state.streams.is_over(self.id) => Some(Over::Finished),
            None if state.ended => Some(Over::Ended),
            None => None,
        };
        match over {
            Some(over) => Poll::Ready(Taken::Over(over)),
            None => {
                self.wait(&mut state, cx);
                Poll::Pending
            }
        }
    }

    /// Why what was taken will not be waited for any more, while the socket does not take it;
    /// wakes when there is a reason.
    pub(super) fn poll_lost(&self, cx: &Context<'_>) -> Option<Over> {
        let mut state = self.mux.lock();
        let fate = state.handles.get(&self.id).and_then(|handle| handle.fate);
        match fate {
            Some(Over::TooSlow) => fate,
            _ if state.aborted => Some(Over::Ended),
            _ => {
                self.wait(&mut state, cx);
                None
            }
        }
    }

    pub(super) fn consumed(&self, bytes: usize) {
        self.mux
            .change(|state| state.streams.consumed(now(), self.id, bytes));
    }

    /// Reads from a socket as much as there is room for. 0 bytes: the socket is at its end.
    pub(super) fn poll_fill<S>(
        &self,
        cx: &mut Context<'_>,
        socket: &mut S,
    ) -> Poll<io::Result<usize>>
    where
        S: AsyncRead + Unpin,
    {
        let mut state = self.mux.lock();
        let room = state.streams.room(self.id).min(READ);
        if room == 0 {
            self.wait(&mut state, cx);
            return Poll::Pending;
        }
        let State {
            streams, scratch, ..
        } = &mut *state;
        // A frame is smaller than the scratch space, and room is bounded by its size.
        let mut buffer = ReadBuf::new(scratch.get_mut(..room).unwrap_or_default());
        match Pin::new(socket).poll_read(cx, &mut buffer) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) => {
                let data = buffer.filled();
                streams.write(self.id, data);
                let read = data.len();
                drop(state);
                if read > 0 {
                    self.mux.0.output.notify_one();
                }
                Poll::Ready(Ok(read))
            }
        }
    }

    /// Sends FIN behind what was written. What comes can still be taken.
    pub(super) fn finish(&self) {
        self.mux.change(|state| state.streams.finish(self.id));
    }

    /// Asks whether the peer has all that was sent by now; `None` while some of it still waits to
    /// be sent. Something is sent in any case, since only that is answered.
    pub(super) fn ask(&self) -> Option<Question> {
        self.mux.change(|state| {
            if state.streams.unsent(self.id) > 0 {
                return None;
            }
            state.asked += 1;
            state.streams.send_nop();
            Some(Question(state.asked))
        })
    }

    pub(super) fn poll_confirmed(&self, cx: &Context<'_>, question: Question) -> Poll<()> {
        let mut state = self.mux.lock();
        if state.answered >= question.0 {
            return Poll::Ready(());
        }
        self.wait(&mut state, cx).asking = true;
        Poll::Pending
    }

    fn wait<'a>(&self, state: &'a mut State, cx: &Context<'_>) -> &'a mut Handle {
        let handle = state.handles.entry(self.id).or_default();
        match &mut handle.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        handle
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.mux.change(|state| {
            state.handles.remove(&self.id);
            state.streams.abandon(self.id);
        });
    }
}
