//! The streams of one smux session, as a state machine.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::buffer::Buffer;
use super::frame::{Decoder, Error};

/// Bytes of one stream that may wait to be sent.
pub(super) const OUT_A_STREAM: usize = 64 * 1024;
/// Bytes of all streams that may wait to be sent, before each may only have one frame.
pub(super) const OUT_IN_ALL: usize = 1024 * 1024;
/// Received bytes of all streams that may wait for their readers before nothing more is taken.
pub(super) const IN_IN_ALL: usize = 4 * 1024 * 1024;
/// The same where there is but one stream, which keeps nobody else waiting.
pub(super) const IN_ALONE: usize = 256 * 1024;
/// A lone stream that takes nothing for so long has the bound of many: its reader may be waiting to
/// send, and what opens the window for that comes behind what it does not read.
pub(super) const ALONE_PATIENCE: Duration = Duration::from_secs(1);
/// Streams at once, with those whose end waits to be sent.
pub(super) const MAX_STREAMS: usize = 65_536;
/// Streams that a peer opened without being asked, and that wait to be refused.
pub(super) const MAX_REFUSALS: usize = 256;
/// How often a NOP is sent where the peer needs it.
pub(super) const KEEPALIVE: Duration = Duration::from_secs(10);

/// Which end of the session this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Opens streams: 3, 5, 7, …
    Client,
    /// Takes those that the peer opens.
    Server,
}

/// How a session is to behave.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// Which end this is.
    pub role: Role,
    /// Whether the peer closes sessions in which nothing is sent for 30 s.
    pub keepalive: bool,
    /// The most payload in a frame, in bytes. Streams take turns frame by frame, so a frame is
    /// best as large as what carries it, less its header.
    pub max_frame: u16,
    /// How long a stream whose reader takes nothing may keep others waiting; `None` for ever.
    pub slow_reader: Option<Duration>,
}

impl Config {
    /// What suits data messages of AWS's size, 1024 bytes.
    pub fn new(role: Role, keepalive: bool) -> Self {
        Self {
            role,
            keepalive,
            max_frame: 1016,
            slow_reader: Some(Duration::from_secs(10)),
        }
    }
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The peer opened this stream.
    Opened(u32),
    /// There is something to take, or nothing will ever come any more.
    Readable(u32),
    /// There is room again.
    Writable(u32),
    /// The stream is over: the peer could not connect it.
    Refused(u32),
    /// The stream is over: its reader took nothing while others waited.
    TooSlow(u32),
}

/// Our half of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sending {
    /// More may be written.
    Open,
    /// FIN follows what is queued.
    Finishing,
    /// FIN is sent.
    Finished,
}

#[derive(Debug)]
pub(super) struct Stream {
    pub opened: bool,
    pub sending: Sending,
    pub outgoing: Buffer,
    /// In the queue of those that have something to send.
    pub queued: bool,
    /// Somebody waits for room.
    pub wants_room: bool,
    pub incoming: Buffer,
    /// Bytes that were taken, and not consumed yet.
    pub taken: usize,
    /// Data has come.
    pub heard: bool,
    /// FIN has come.
    pub finished: bool,
    /// Since when its reader has consumed nothing, while there is something.
    pub stuck_since: Instant,
    /// Nobody is interested any more; what comes is thrown away.
    pub abandoned: bool,
}

impl Stream {
    pub(super) fn new(opened: bool, now: Instant) -> Self {
        Self {
            opened,
            sending: Sending::Open,
            outgoing: Buffer::default(),
            queued: false,
            wants_room: false,
            incoming: Buffer::default(),
            taken: 0,
            heard: false,
            finished: false,
            stuck_since: now,
            abandoned: false,
        }
    }

    /// Bytes that its reader has not consumed.
    pub(super) fn unread(&self) -> usize {
        self.incoming.len() + self.taken
    }
}

/// All streams of a session.
///
/// Change it (`handle_*`, the commands), then drain [`poll_event`](Self::poll_event), and send
/// what [`poll_transmit`](Self::poll_transmit) gives while the carrier has room.
///
/// Memory is bounded both ways. What is to be sent waits in its stream, and each stream with
/// something to send gives one frame in turn. What was received waits for its stream's reader; once
/// all of it together exceeds a bound, [`is_blocked`](Self::is_blocked) says that nothing more may
/// be received. A reader that takes nothing meanwhile loses its stream after
/// [`slow_reader`](Config::slow_reader), if there are others.
#[derive(Debug)]
pub struct Streams {
    pub(super) config: Config,
    pub(super) streams: HashMap<u32, Stream>,
    /// Streams that are not abandoned.
    pub(super) live: usize,
    pub(super) last_id: Option<u32>,
    pub(super) decoder: Decoder,
    pub(super) error: Option<Error>,
    /// Streams with something to send, in the order of their turns.
    pub(super) ready: VecDeque<u32>,
    /// Streams with somebody who waits for room.
    pub(super) waiting: VecDeque<u32>,
    pub(super) refusals: VecDeque<u32>,
    pub(super) out_bytes: usize,
    pub(super) in_bytes: usize,
    /// What may wait for the reader of a lone stream.
    pub(super) alone_bound: usize,
    /// Since when nothing more may be received.
    pub(super) blocked_since: Option<Instant>,
    /// Since when there has been more than one stream, if there is.
    pub(super) crowded_since: Instant,
    /// Failed connects that the peer told, and whose streams it has not finished yet.
    pub(super) refused: usize,
    pub(super) next_keepalive: Option<Instant>,
    pub(super) nop_due: bool,
    pub(super) events: VecDeque<Event>,
}

/// Getters.
impl Streams {
    /// A session in which nothing has happened.
    pub fn new(config: Config, now: Instant) -> Self {
        Self {
            streams: HashMap::new(),
            live: 0,
            last_id: Some(1),
            decoder: Decoder::default(),
            error: None,
            ready: VecDeque::new(),
            waiting: VecDeque::new(),
            refusals: VecDeque::new(),
            out_bytes: 0,
            in_bytes: 0,
            alone_bound: IN_ALONE,
            blocked_since: None,
            crowded_since: now,
            refused: 0,
            next_keepalive: config.keepalive.then(|| now + KEEPALIVE),
            nop_due: false,
            events: VecDeque::new(),
            config,
        }
    }

    /// Open streams.
    pub fn len(&self) -> usize {
        self.live
    }

    /// Whether no stream is open.
    pub fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// Received bytes that wait for their readers.
    pub fn unread(&self) -> usize {
        self.in_bytes
    }

    /// Whether so much waits that nothing more may be received.
    pub fn is_blocked(&self) -> bool {
        let bound = match self.live > 1 {
            true => IN_IN_ALL,
            false => self.alone_bound,
        };
        self.in_bytes >= bound
    }

    /// Whether a NOP waits to be sent.
    pub fn has_nop(&self) -> bool {
        self.nop_due
    }

    /// Bytes of a stream that wait to be sent.
    pub fn unsent(&self, id: u32) -> usize {
        let stream = self.streams.get(&id);
        stream.map_or(0, |stream| stream.outgoing.len())
    }

    /// Whether there is something to send.
    pub fn has_output(&self) -> bool {
        !self.ready.is_empty() || !self.refusals.is_empty() || self.nop_due
    }
}

/// Commands.
impl Streams {
    /// Opens a stream; its SYN goes before what waits. `None` if there are too many.
    pub fn open(&mut self, now: Instant) -> Option<u32> {
        if self.streams.len() >= MAX_STREAMS {
            return None;
        }
        let id = self.last_id?.checked_add(2)?;
        self.last_id = Some(id);
        let mut stream = Stream::new(false, now);
        stream.queued = true;
        self.insert(now, id, stream);
        self.ready.push_front(id);
        Some(id)
    }

    /// Nobody is interested in the stream any more: what is queued and a FIN are still sent,
    /// what comes is thrown away.
    pub fn abandon(&mut self, id: u32) {
        self.finish(id);
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        if !std::mem::replace(&mut stream.abandoned, true) {
            self.in_bytes -= stream.incoming.clear() + std::mem::take(&mut stream.taken);
            self.live -= 1;
        }
        self.forget_if_over(id);
    }

    /// The same, and what is queued is thrown away: the other end is not to take it for all.
    pub fn reset(&mut self, id: u32) {
        if let Some(stream) = self.streams.get_mut(&id) {
            self.out_bytes -= stream.outgoing.clear();
        }
        self.abandon(id);
    }

    /// Sends a NOP, which says nothing.
    pub fn send_nop(&mut self) {
        self.nop_due = true;
    }

    /// Says that a connect failed at the peer: the next stream that it finishes without having
    /// sent anything was refused.
    pub fn expect_refusal(&mut self) {
        // Also for streams that are forgotten here: their ends are still to come.
        self.refused = (self.refused + 1).min(MAX_STREAMS);
    }

    pub(super) fn insert(&mut self, now: Instant, id: u32, stream: Stream) {
        self.streams.insert(id, stream);
        self.live += 1;
        if self.live == 2 {
            self.crowded_since = now;
        }
    }

    pub(super) fn forget_if_over(&mut self, id: u32) {
        let over = |stream: &Stream| stream.abandoned && stream.sending == Sending::Finished;
        if self.streams.get(&id).is_some_and(over) {
            self.streams.remove(&id);
        }
    }
}

/// Time.
impl Streams {
    /// When to call [`handle_timeout`](Self::handle_timeout) next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let keepalive = self.next_keepalive.filter(|_| !self.nop_due);
        let others = self.slow_deadline().into_iter().chain(self.relief());
        keepalive.into_iter().chain(others).min()
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.next_keepalive.is_some_and(|at| at <= now) {
            self.nop_due = true;
            self.next_keepalive = Some(now + KEEPALIVE);
        }
        if self.relief().is_some_and(|at| at <= now) {
            self.alone_bound = IN_IN_ALL;
        }
        self.drop_slow(now);
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
