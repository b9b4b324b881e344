//! The receiving half: the expected number, what came too early, and what to acknowledge.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use uuid::Uuid;

use super::message::{AgentMessage, PayloadType};

/// How far ahead of the expected number a message is held: as far as agents run ahead. They have
/// no window, and while they send their oldest message again, ten times a second, all that was
/// refused behind it would have to be sent again in the same way.
const HOLD_MESSAGES: i64 = 100_000;
/// How much is held in all, in bytes.
const HOLD_BYTES: usize = 128 * 1024 * 1024;
/// How much older than the first message that came the oldest of an adopted stream may be.
const ADOPTION_REACH: i64 = 5_000;
/// How many acknowledgements are remembered for a new connection.
const REMEMBERED: usize = 2048;
/// How old an acknowledgement may be that a lost connection took with it.
const REMEMBERED_FOR: Duration = Duration::from_secs(120);

/// How long a client that took over a session waits for older messages before it begins with the
/// oldest it has. Agents send their oldest unacknowledged message ten times a second.
const ADOPTION: Duration = Duration::from_millis(300);

/// What one stream message carried.
#[derive(Debug, PartialEq, Eq)]
pub struct Received {
    /// What it is.
    pub payload_type: PayloadType,
    /// As on the wire.
    pub payload: Bytes,
}

/// What became of a stream message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receipt {
    /// New: acknowledge. Take what can be taken with [`Receiver::next`].
    Accepted,
    /// Had before: acknowledge again. The first acknowledgement may be lost, and the agent sends
    /// its oldest unacknowledged message for ever, and nothing else, until one arrives.
    Duplicate,
    /// Impossible, or too far ahead: no acknowledgement.
    Refused,
}

/// Stream messages on their way from the peer, put into order.
#[derive(Debug, Default)]
pub struct Receiver {
    expected: i64,
    held: BTreeMap<i64, Received>,
    held_bytes: usize,
    acknowledged: VecDeque<(Instant, i64, Uuid)>,
    adoption: Adoption,
}

/// Whether the stream was received from its beginning.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Adoption {
    #[default]
    None,
    /// Nothing has come yet of a stream that somebody else has received so far.
    Waiting,
    /// It goes on with the oldest message that has come by then.
    Until(Instant),
}

impl Receiver {
    /// A receiver of the rest of a stream, from whichever message the peer sends first.
    pub fn adopting() -> Self {
        Self {
            adoption: Adoption::Waiting,
            ..Self::default()
        }
    }

    /// When [`begin`](Self::begin) is due.
    pub fn timer(&self) -> Option<Instant> {
        match self.adoption {
            Adoption::Until(at) => Some(at),
            Adoption::None | Adoption::Waiting => None,
        }
    }

    /// An adopted stream begins with the oldest message that has come; take what can be taken
    /// with [`next`](Self::next).
    pub fn begin(&mut self) {
        if let (Adoption::Until(_), Some((&oldest, _))) =
            (self.adoption, self.held.first_key_value())
        {
            self.expected = oldest;
            self.adoption = Adoption::None;
        }
    }

    /// The number of the next message in order.
    pub fn expected(&self) -> i64 {
        self.expected
    }

    /// Whether messages wait behind a gap.
    pub fn has_gap(&self) -> bool {
        !self.held.is_empty()
    }

    /// Takes one message. Encoding of the stream's order is by number only.
    pub fn receive(&mut self, message: &AgentMessage, now: Instant) -> Receipt {
        let number = message.sequence_number;
        // Behind the last number there is none to expect.
        if !(0..i64::MAX).contains(&number) {
            return Receipt::Refused;
        }
        if self.adoption == Adoption::Waiting {
            self.expected = (number - ADOPTION_REACH).max(0);
        }
        if number < self.expected || self.held.contains_key(&number) {
            self.remember(now, number, message.message_id);
            return Receipt::Duplicate;
        }
        let length = message.payload.len();
        let ahead = number - self.expected;
        if ahead > 0 && (ahead > HOLD_MESSAGES || self.held_bytes + length > HOLD_BYTES) {
            return Receipt::Refused;
        }
        if self.adoption == Adoption::Waiting {
            // Only with something to begin with: its timer would stay due for ever.
            self.adoption = Adoption::Until(now + ADOPTION);
        }
        let payload = if ahead > 0 {
            // What waits must not keep the buffer that it came in, with all that was around it.
            Bytes::copy_from_slice(&message.payload)
        } else {
            message.payload.clone()
        };
        self.held_bytes += length;
        self.held.insert(
            number,
            Received {
                payload_type: message.payload_type,
                payload,
            },
        );
        self.remember(now, number, message.message_id);
        Receipt::Accepted
    }

    /// The next message in order, if it is there.
    pub fn next(&mut self) -> Option<Received> {
        if self.adoption != Adoption::None {
            return None;
        }
        let received = self.held.remove(&self.expected)?;
        self.held_bytes -= received.payload.len();
        self.expected += 1;
        Some(received)
    }

    /// The acknowledgements that a connection lost at `now` may not have carried through, oldest
    /// first: number and message id. Agents ask for them one by one, ten a second.
    pub fn recently_acknowledged(&self, now: Instant) -> impl Iterator<Item = (i64, Uuid)> + '_ {
        self.acknowledged
            .iter()
            .filter(move |(at, ..)| now.saturating_duration_since(*at) < REMEMBERED_FOR)
            .map(|(_, number, id)| (*number, *id))
    }

    fn remember(&mut self, now: Instant, number: i64, id: Uuid) {
        if self.acknowledged.len() == REMEMBERED {
            self.acknowledged.pop_front();
        }
        self.acknowledged.push_back((now, number, id));
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::MessageType;
    use super::*;

    fn message(sequence_number: i64, length: usize) -> AgentMessage {
        AgentMessage {
            message_type: MessageType::OUTPUT_STREAM_DATA,
            schema_version: 1,
            created_date: 1,
            sequence_number,
            flags: 0,
            message_id: Uuid::from_u128(1),
            payload_type: PayloadType::OUTPUT,
            payload: vec![0; length].into(),
        }
    }

    #[test]
    fn what_is_held_does_not_keep_the_buffer_it_came_in() {
        let mut receiver = Receiver::default();
        let buffer = Bytes::from(vec![0; 4 * 1024 * 1024]);
        for number in [1, 0] {
            let mut message = message(number, 0);
            message.payload = buffer.slice(..1);
            receiver.receive(&message, Instant::now());
        }
        assert!(receiver.next().is_some());
        let held = receiver.next().map(|received| received.payload);
        assert!(held.is_some_and(|payload| payload.is_unique()));
    }

    #[test]
    fn a_stream_is_not_taken_over_with_a_message_that_is_refused() {
        let now = Instant::now();
        let mut receiver = Receiver::adopting();
        let refused = receiver.receive(&message(7, HOLD_BYTES + 1), now);
        assert_eq!((refused, receiver.timer()), (Receipt::Refused, None));
        let accepted = receiver.receive(&message(8, 1), now);
        assert_eq!(accepted, Receipt::Accepted);
        assert_eq!(receiver.timer(), Some(now + ADOPTION));
        assert_eq!(receiver.next(), None);
        receiver.begin();
        assert_eq!((receiver.timer(), receiver.expected()), (None, 8));
        assert!(receiver.next().is_some());
    }
}
