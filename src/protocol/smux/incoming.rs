//! What is received, and waits for its readers.

use std::time::Instant;

use bytes::Bytes;

use super::frame::{Error, Frame};
use super::streams::{
    ALONE_PATIENCE, Event, IN_ALONE, MAX_REFUSALS, MAX_STREAMS, Role, Sending, Stream, Streams,
};

impl Streams {
    /// Bytes of the carrier came.
    ///
    /// # Errors
    ///
    /// They are not smux: the session cannot go on, and every further call says the same.
    pub fn handle_input(&mut self, now: Instant, mut input: Bytes) -> Result<(), Error> {
        if let Some(error) = self.error {
            return Err(error);
        }
        self.note_blocked(now);
        loop {
            match self.decoder.next(&mut input) {
                Ok(None) => {
                    self.note_blocked(now);
                    return Ok(());
                }
                Ok(Some(Frame::Data(id, data))) => self.take_in(now, id, &data),
                Ok(Some(Frame::Syn(id))) => self.opened(now, id),
                Ok(Some(Frame::Fin(id))) => self.finished(id),
                Err(error) => {
                    self.error = Some(error);
                    return Err(error);
                }
            }
        }
    }

    /// Takes a piece of what came on a stream. It counts as unread until it is
    /// [`consumed`](Self::consumed).
    pub fn take(&mut self, id: u32) -> Option<Bytes> {
        let stream = self.streams.get_mut(&id)?;
        let data = stream.incoming.pop()?;
        stream.taken += data.len();
        Some(data)
    }

    /// The reader is done with so many bytes of those it took.
    pub fn consumed(&mut self, now: Instant, id: u32, bytes: usize) {
        if let Some(stream) = self.streams.get_mut(&id) {
            let bytes = bytes.min(stream.taken);
            stream.taken -= bytes;
            stream.stuck_since = now;
            self.in_bytes -= bytes;
            if self.in_bytes < IN_ALONE / 2 {
                self.alone_bound = IN_ALONE;
            }
        }
    }

    /// Whether nothing will ever come on this stream any more, and everything was taken.
    pub fn is_over(&self, id: u32) -> bool {
        self.streams
            .get(&id)
            .is_none_or(|stream| stream.finished && stream.incoming.is_empty())
    }

    fn take_in(&mut self, now: Instant, id: u32, data: &[u8]) {
        // What comes on a stream that is not known any more is late, and nobody's.
        let Some(stream) = self.streams.get_mut(&id).filter(|s| !s.abandoned) else {
            return;
        };
        if stream.unread() == 0 {
            stream.stuck_since = now;
        }
        if stream.incoming.is_empty() {
            self.events.push_back(Event::Readable(id));
        }
        stream.heard = true;
        stream.incoming.push(data);
        self.in_bytes += data.len();
    }

    fn opened(&mut self, now: Instant, id: u32) {
        if self.streams.contains_key(&id) {
            return;
        }
        if self.config.role == Role::Server && self.streams.len() < MAX_STREAMS {
            self.insert(now, id, Stream::new(true, now));
            self.events.push_back(Event::Opened(id));
        } else if self.refusals.len() < MAX_REFUSALS {
            self.refusals.push_back(id);
        }
    }

    fn finished(&mut self, id: u32) {
        let stream = self.streams.get_mut(&id).filter(|s| !s.abandoned);
        let Some(stream) = stream else {
            // Somebody who did not wait for the answer was refused.
            self.refused = self.refused.saturating_sub(1);
            return;
        };
        if std::mem::replace(&mut stream.finished, true) {
            return;
        }
        if !stream.heard && self.refused > 0 {
            self.refused -= 1;
            self.events.push_back(Event::Refused(id));
        } else {
            self.events.push_back(Event::Readable(id));
        }
    }

    /// Only input can block; whatever unblocks comes before the next input.
    fn note_blocked(&mut self, now: Instant) {
        let since = self.blocked_since.unwrap_or(now);
        self.blocked_since = self.is_blocked().then_some(since);
    }

    /// When a stream is to be dropped if its reader takes nothing till then, while it keeps
    /// others waiting.
    fn drop_at(&self, stream: &Stream) -> Option<Instant> {
        let limit = self.config.slow_reader?;
        let stuck = stream.unread() > 0;
        stuck.then(|| {
            // Alone it kept nobody waiting.
            let since = stream.stuck_since.max(self.blocked_since?);
            since.max(self.crowded_since).checked_add(limit)
        })?
    }

    /// When a lone stream gets a larger bound, if its reader takes nothing till then.
    pub(super) fn relief(&self) -> Option<Instant> {
        if self.live > 1 || self.alone_bound > IN_ALONE || !self.is_blocked() {
            return None;
        }
        let stuck = self.streams.values().find(|stream| stream.unread() > 0)?;
        Some(stuck.stuck_since + ALONE_PATIENCE)
    }

    /// When the next stream is to be dropped.
    pub(super) fn slow_deadline(&self) -> Option<Instant> {
        if self.live < 2 || !self.is_blocked() {
            return None;
        }
        let streams = self.streams.values();
        streams.filter_map(|stream| self.drop_at(stream)).min()
    }

    /// Drops streams whose readers take nothing, the fullest first, until more can be received.
    pub(super) fn drop_slow(&mut self, now: Instant) {
        while self.slow_deadline().is_some_and(|at| at <= now) {
            let streams = self.streams.iter();
            let due = streams.filter(|(_, s)| self.drop_at(s).is_some_and(|at| at <= now));
            let Some((&id, _)) = due.max_by_key(|(_, stream)| stream.unread()) else {
                break;
            };
            self.reset(id);
            self.events.push_back(Event::TooSlow(id));
        }
    }
}

impl Stream {
    /// Whether anything more may be written.
    pub(super) fn is_open(&self) -> bool {
        self.sending == Sending::Open
    }
}
