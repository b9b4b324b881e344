//! One connection: bytes between a socket and its stream, both ways, to the end of both.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::socket::Socket;
use super::stream::Taken;
use super::{Over, Question, Stream};

/// Silence behind the end of a socket's input after which no answer is expected any more, once the
/// peer is known to have been there all the time.
const ANSWER: Duration = Duration::from_secs(2);
/// A process that closes its socket sends the end of its input a moment before it lets go of it.
const LETTING_GO: Duration = Duration::from_millis(50);
/// How long a socket that has got everything may go on to send before it is closed. Closed with
/// something unread, it would lose what it has not read itself.
const LINGER: Duration = Duration::from_secs(2);

/// What the end of one direction means for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HalfClose {
    /// As clients do: AWS's agents take a FIN for the end of both directions, so it is held back
    /// while an answer may still come.
    Hold,
    /// As agents do: the end of one is the end of both.
    Full,
}

/// How a connection ended.
#[derive(Debug)]
pub enum Relayed {
    /// In order: all that came was delivered.
    Finished,
    /// The peer could not connect it.
    Refused,
    /// The socket failed.
    SocketFailed(io::Error),
    /// The socket took nothing while others waited, and was reset.
    TooSlow,
    /// The session was over first, and the socket was reset.
    Ended,
}

struct Relay<S> {
    stream: Stream,
    socket: S,
    half_close: HalfClose,
    /// What is being written to the socket.
    current: Bytes,
    sending: Sending,
    /// Why nothing can be written to the socket any more. What it has sent is still read.
    deaf: Option<io::Error>,
}

enum Sending {
    Open,
    /// The socket is at the end of its input. Looks again soon whether anybody is there.
    Ending(Pin<Box<Sleep>>),
    /// Something may come until then.
    Held(Pin<Box<Sleep>>),
    /// Nothing came. FIN follows if the peer confirms that it was there, and nothing comes.
    Asking(Question),
    Finished,
}

/// Relays between `socket` and `stream` until both directions are over.
pub async fn relay<S: Socket>(stream: Stream, socket: S, half_close: HalfClose) -> Relayed {
    let mut relay = Relay {
        stream,
        socket,
        half_close,
        current: Bytes::new(),
        sending: Sending::Open,
        deaf: None,
    };
    let relayed = poll_fn(|cx| relay.poll(cx)).await;
    let Relay {
        stream, mut socket, ..
    } = relay;
    // FIN does not wait for the socket.
    drop(stream);
    match &relayed {
        Relayed::Finished => {
            let _ = socket.shutdown().await;
            let _ = timeout(LINGER, drain(&mut socket)).await;
        }
        Relayed::SocketFailed(_) => {}
        Relayed::Refused | Relayed::TooSlow | Relayed::Ended => socket.reset(),
    }
    relayed
}

/// Reads to the end, for nobody.
async fn drain<S: Socket>(socket: &mut S) {
    use tokio::io::AsyncReadExt as _;
    let mut buffer = [0; 512];
    while socket.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
}

impl<S: Socket> Relay<S> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Relayed> {
        if let Some(relayed) = self.deliver(cx).or_else(|| self.collect(cx)) {
            return Poll::Ready(relayed);
        }
        if let Sending::Ending(moment) = &mut self.sending
            && moment.as_mut().poll(cx).is_ready()
        {
            if self.socket.is_abandoned() {
                return Poll::Ready(Relayed::Finished);
            }
            self.sending = Sending::Held(Box::pin(sleep(ANSWER)));
        }
        while let Sending::Held(silence) = &mut self.sending
            && silence.as_mut().poll(cx).is_ready()
        {
            self.sending = match self.stream.ask() {
                Some(question) => Sending::Asking(question),
                None => Sending::Held(Box::pin(sleep(ANSWER))),
            };
        }
        if let Sending::Asking(question) = self.sending
            && self.stream.poll_confirmed(cx, question).is_ready()
        {
            self.stream.finish();
            self.sending = Sending::Finished;
        }
        Poll::Pending
    }

    /// Something came: more may follow.
    fn hear(&mut self) {
        match &mut self.sending {
            Sending::Held(silence) => silence.as_mut().reset(Instant::now() + ANSWER),
            Sending::Asking(_) => self.sending = Sending::Held(Box::pin(sleep(ANSWER))),
            Sending::Open | Sending::Ending(_) | Sending::Finished => {}
        }
    }

    /// Moves what came to the socket, as far as it goes.
    fn deliver(&mut self, cx: &mut Context<'_>) -> Option<Relayed> {
        loop {
            if self.current.is_empty() {
                match self.stream.poll_take(cx) {
                    Poll::Pending => return None,
                    Poll::Ready(Taken::Data(data)) => self.current = data,
                    Poll::Ready(Taken::Over(over)) => return Some(told(over)),
                }
            }
            let written = match &self.deaf {
                Some(_) => self.current.len(),
                None => match Pin::new(&mut self.socket).poll_write(cx, &self.current) {
                    Poll::Pending => return self.stream.poll_lost(cx).map(told),
                    Poll::Ready(Ok(0)) => {
                        self.deaf = Some(io::ErrorKind::WriteZero.into());
                        continue;
                    }
                    Poll::Ready(Ok(written)) => written,
                    Poll::Ready(Err(error)) => {
                        self.deaf = Some(error);
                        continue;
                    }
                },
            };
            self.current.advance(written);
            self.stream.consumed(written);
            self.hear();
        }
    }

    /// Moves what the socket sends to the stream, as far as it goes.
    fn collect(&mut self, cx: &mut Context<'_>) -> Option<Relayed> {
        while let Sending::Open = self.sending {
            match self.stream.poll_fill(cx, &mut self.socket) {
                Poll::Pending => break,
                Poll::Ready(Ok(0)) => match (self.half_close, self.deaf.take()) {
                    (_, Some(error)) => return Some(Relayed::SocketFailed(error)),
                    (HalfClose::Full, None) => return Some(Relayed::Finished),
                    (HalfClose::Hold, None) if self.socket.is_abandoned() => {
                        return Some(Relayed::Finished);
                    }
                    (HalfClose::Hold, None) => {
                        self.sending = Sending::Ending(Box::pin(sleep(LETTING_GO)));
                    }
                },
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => {
                    return Some(Relayed::SocketFailed(self.deaf.take().unwrap_or(error)));
                }
            }
        }
        // Neither direction works any more.
        match (&self.sending, self.deaf.take()) {
            (Sending::Open, deaf) => {
                self.deaf = deaf;
                None
            }
            (_, deaf) => deaf.map(Relayed::SocketFailed),
        }
    }
}

fn told(over: Over) -> Relayed {
    match over {
        Over::Finished => Relayed::Finished,
        Over::Refused => Relayed::Refused,
        Over::TooSlow => Relayed::TooSlow,
        Over::Ended => Relayed::Ended,
    }
}
