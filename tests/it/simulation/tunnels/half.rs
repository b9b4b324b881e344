//! One end of an smux session, and a look at what it puts on the wire.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ssmx::protocol::smux::{Config, Decoder, Event, Frame, Role, Streams};

use super::super::world::Side;

/// What may wait unread, and what may wait to be sent, in bytes: as it is documented.
pub const UNREAD: usize = 4 << 20;
const UNSENT: usize = 1 << 20;
const UNSENT_OF_ONE: usize = 64 << 10;
const FRAME: usize = 1016;
/// How long a reader may keep others waiting.
pub const SLOW: Duration = Duration::from_secs(10);

/// What came from the other end of the data channel.
#[derive(Debug)]
pub enum Input {
    Data(Bytes),
    /// A connect failed.
    Refusal,
}

/// A stream as it looks on the wire.
#[derive(Debug, Default)]
struct Line {
    opened: bool,
    finished: bool,
    /// Bytes written, and not sent yet.
    queued: usize,
}

pub struct Half {
    pub streams: Streams,
    side: Side,
    pub input: VecDeque<Input>,
    decoder: Decoder,
    lines: HashMap<u32, Line>,
    queued: usize,
    /// Since when nothing can be received, and nobody has read anything.
    stuck: Option<Instant>,
    read: bool,
}

impl Half {
    pub fn new(side: Side, now: Instant) -> Self {
        let role = match side {
            Side::Client => Role::Client,
            Side::Agent => Role::Server,
        };
        Self {
            streams: Streams::new(Config::new(role, false), now),
            side,
            input: VecDeque::new(),
            decoder: Decoder::default(),
            lines: HashMap::new(),
            queued: 0,
            stuck: None,
            read: false,
        }
    }

    /// Whether it takes what comes.
    pub fn reads(&self) -> bool {
        self.input.is_empty() && !self.streams.is_blocked()
    }

    pub fn write(&mut self, id: u32, data: &[u8]) {
        self.streams.write(id, data);
        self.lines.entry(id).or_default().queued += data.len();
        self.queued += data.len();
        let bound = UNSENT + UNSENT_OF_ONE + self.streams.len() * FRAME;
        assert!(self.queued <= bound, "{} bytes wait", self.queued);
    }

    /// What was written, and is not sent yet, will never be.
    pub fn discard(&mut self, id: u32) {
        if let Some(line) = self.lines.get_mut(&id) {
            self.queued -= std::mem::take(&mut line.queued);
        }
    }

    pub fn consumed(&mut self, now: Instant, id: u32, bytes: usize) {
        self.streams.consumed(now, id, bytes);
        self.read = true;
    }

    /// Frames for the wire: of streams that are open, and never behind their ends.
    pub fn transmit(&mut self, limit: usize) -> Option<Bytes> {
        let frames = self.streams.poll_transmit(limit)?;
        assert!(!frames.is_empty() && frames.len() <= limit + 3 * 8 + FRAME);
        let mut input = frames.clone();
        while let Some(frame) = self.decoder.next(&mut input).unwrap() {
            let (Frame::Syn(id) | Frame::Fin(id) | Frame::Data(id, _)) = frame;
            let line = self.lines.entry(id).or_default();
            assert!(!line.finished, "{frame:?} behind the end");
            let opened = self.side == Side::Agent || line.opened;
            match &frame {
                Frame::Syn(_) => {
                    assert!(!opened, "{frame:?}");
                    line.opened = true;
                }
                Frame::Fin(_) => {
                    assert!(opened && line.queued == 0, "{frame:?} of {line:?}");
                    line.finished = true;
                }
                Frame::Data(_, data) => {
                    assert!(opened && data.len() <= line.queued, "{frame:?} of {line:?}");
                    line.queued -= data.len();
                    self.queued -= data.len();
                }
            }
        }
        Some(frames)
    }

    /// What holds whenever everything that could be done was done.
    pub fn check(&mut self, now: Instant) {
        assert!(self.streams.unread() < UNREAD + 2 * FRAME);
        let stuck = self.streams.is_blocked() && self.streams.len() > 1;
        self.stuck = match self.stuck {
            Some(since) if stuck && !self.read => Some(since),
            _ => stuck.then_some(now),
        };
        self.read = false;
        let since = self.stuck.unwrap_or(now);
        assert!(now - since < SLOW, "others wait for a slow reader");
    }

    /// Looks that nothing is left.
    pub fn check_end(&mut self) {
        assert_eq!((self.streams.len(), self.streams.unread()), (0, 0));
        assert_eq!(self.streams.poll_event(), None::<Event>);
        assert!(!self.streams.has_output() && self.queued == 0);
        assert!(self.lines.values().all(|line| line.finished));
        let state = format!("{:?}", self.streams);
        assert!(state.contains("streams: {}"), "remembered: {state}");
        assert!(state.contains("in_bytes: 0, "), "{state}");
        assert!(state.contains("out_bytes: 0, "), "{state}");
    }
}
