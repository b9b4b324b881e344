//! The body of an answer within bounds: whoever answers decides neither how much memory it takes
//! nor how long.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use super::super::dial::DialError;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The longest answer, in bytes. Pages of a thousand nodes have a tenth of it at most.
pub(super) const LONGEST: usize = 16 << 20;
/// All of an answer may take so many times as long as one part of it.
const PARTS: u32 = 5;

/// A body that ends in an error when it is too long, or too slow.
pub(super) struct Bounded<B> {
    body: B,
    host: String,
    left: usize,
    clock: Option<Clock>,
}

struct Clock {
    /// For the next part.
    limit: Duration,
    /// For all of them.
    end: Instant,
    sleep: Pin<Box<Sleep>>,
}

impl<B> Bounded<B> {
    /// `limit` is how long a part may keep us waiting.
    pub(super) fn new(body: B, host: String, limit: Option<Duration>) -> Self {
        let now = Instant::now();
        let clock = limit.and_then(|limit| {
            Some(Clock {
                limit,
                end: now.checked_add(limit.checked_mul(PARTS)?)?,
                sleep: Box::pin(sleep_until(now.checked_add(limit)?)),
            })
        });
        Self {
            body,
            host,
            left: LONGEST,
            clock,
        }
    }
}

impl Clock {
    fn restart(&mut self) {
        let next = Instant::now()
            .checked_add(self.limit)
            .map_or(self.end, |next| next.min(self.end));
        self.sleep.as_mut().reset(next);
    }
}

impl<B> Body for Bounded<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) else {
            let Some(clock) = &mut this.clock else {
                return Poll::Pending;
            };
            ready!(clock.sleep.as_mut().poll(context));
            let late = DialError::Timeout {
                host: this.host.clone(),
                what: "answer in full",
                limit: clock.limit,
            };
            return Poll::Ready(Some(Err(late.into())));
        };
        let frame = match frame {
            None => return Poll::Ready(None),
            Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
            Some(Ok(frame)) => frame,
        };
        let length = frame.data_ref().map_or(0, Bytes::len);
        let Some(left) = this.left.checked_sub(length) else {
            let error = DialError::TooLong {
                host: this.host.clone(),
                limit: LONGEST,
            };
            return Poll::Ready(Some(Err(error.into())));
        };
        this.left = left;
        if let Some(clock) = &mut this.clock {
            clock.restart();
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::error::find;
    use super::*;
    use futures_util::{Stream, StreamExt as _, stream};
    use http_body_util::{BodyExt as _, StreamBody};

    const LIMIT: Duration = Duration::from_secs(60);

    /// Parts of a length, with a pause before each.
    fn parts(length: usize, pause: Duration) -> impl Stream<Item = Result<Frame<Bytes>, BoxError>> {
        stream::repeat(()).then(move |()| async move {
            tokio::time::sleep(pause).await;
            Ok(Frame::data(Bytes::from(vec![b'x'; length])))
        })
    }

    async fn read(
        parts: impl Stream<Item = Result<Frame<Bytes>, BoxError>>,
        limit: Option<Duration>,
    ) -> Result<usize, String> {
        let body = StreamBody::new(Box::pin(parts));
        let body = Bounded::new(body, "host".to_owned(), limit).collect().await;
        body.map(|body| body.to_bytes().len()).map_err(|error| {
            let dial = find::<DialError>(error.as_ref()).expect("ours");
            dial.to_string()
        })
    }

    #[tokio::test(start_paused = true)]
    async fn answers_in_bounds_come_through() {
        let slow = parts(1000, LIMIT / 2);
        assert_eq!(read(slow.take(9), Some(LIMIT)).await, Ok(9000));
        let unhurried = parts(1000, LIMIT * 10);
        assert_eq!(read(unhurried.take(9), None).await, Ok(9000));
        let long = parts(LONGEST / 4, Duration::ZERO);
        assert_eq!(read(long.take(4), Some(LIMIT)).await, Ok(LONGEST));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_and_drops_are_given_up() {
        let late = Err("host did not answer in full within 60 s".to_owned());
        assert_eq!(read(parts(1, LIMIT * 2), Some(LIMIT)).await, late);
        let begun = Instant::now();
        assert_eq!(read(parts(1, LIMIT / 2), Some(LIMIT)).await, late);
        assert_eq!(begun.elapsed(), LIMIT * PARTS);
    }

    #[tokio::test(start_paused = true)]
    async fn more_than_an_answer_is_not_read() {
        let endless = read(parts(LONGEST / 2 + 1, Duration::ZERO), None).await;
        assert_eq!(endless, Err("host answers with more than 16 MB".to_owned()));
    }
}
