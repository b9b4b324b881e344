//! The sending half: numbers, the queue of what is not acknowledged, and when to send it again.
//!
//! The protocol has no cumulative acknowledgement and agents resend little, so the client carries
//! the burden: a message leaves the queue only when its own number is acknowledged. A full
//! window is the caller's sign to wait; nothing is ever dropped.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::rtt::RoundTrip;

/// Unacknowledged payload above which the window is closed, in bytes.
const WINDOW_BYTES: usize = 1024 * 1024;
/// Unacknowledged messages above which the window is closed.
const WINDOW_MESSAGES: usize = 1000;
/// Numbers from the oldest unacknowledged message on above which the window is closed. What is
/// acknowledged behind it costs the peer memory too: it holds that.
const WINDOW_SPAN: usize = 10 * WINDOW_MESSAGES;
/// The least time to an agent's acknowledgement that is worth a resend.
const MIN_TIMEOUT: Duration = Duration::from_millis(200);
/// The timeout doubles with each resend of a message, up to this.
const MAX_TIMEOUT: Duration = Duration::from_secs(5);
/// Acknowledgements of later messages that show a message to be lost.
const LATER_ACKNOWLEDGEMENTS: u8 = 3;

#[derive(Debug)]
struct Message {
    /// `None` once acknowledged behind an older one that is not.
    frame: Option<Bytes>,
    last_sent: Option<Instant>,
    sends: u32,
    later_acknowledged: u8,
    resend: bool,
}

/// Numbered messages on their way to the peer.
#[derive(Debug, Default)]
pub struct Sender {
    /// Number of the first message in `queue`.
    first: i64,
    queue: VecDeque<Message>,
    /// Index in `queue` of the first message that was never sent on this connection.
    unsent: usize,
    /// Messages with `resend` set.
    to_resend: usize,
    /// Bytes and messages in `queue` that are not acknowledged.
    bytes: usize,
    messages: usize,
    round_trip: RoundTrip,
    /// A lower bound of the next resend; looked at again when it passes.
    timer: Option<Instant>,
    resent: u64,
}

impl Sender {
    /// The number that the next message takes.
    pub fn next_sequence_number(&self) -> i64 {
        self.first.saturating_add_unsigned(self.queue.len() as u64)
    }

    /// The number of the first message that is not acknowledged, or that of the next one.
    pub fn first_unacknowledged(&self) -> i64 {
        self.first
    }

    /// Takes the encoded message that has [`next_sequence_number`](Self::next_sequence_number).
    pub fn push(&mut self, frame: Bytes) {
        self.bytes += frame.len();
        self.messages += 1;
        self.queue.push_back(Message {
            frame: Some(frame),
            last_sent: None,
            sends: 0,
            later_acknowledged: 0,
            resend: false,
        });
    }

    /// Whether more data may be pushed.
    pub fn has_room(&self) -> bool {
        self.bytes < WINDOW_BYTES
            && self.messages < WINDOW_MESSAGES
            && self.queue.len() < WINDOW_SPAN
    }

    /// Whether everything was acknowledged.
    pub fn is_empty(&self) -> bool {
        self.messages == 0
    }

    /// Times to acknowledgements so far.
    pub fn round_trip(&self) -> &RoundTrip {
        &self.round_trip
    }

    /// How often a message was sent again.
    pub fn resent(&self) -> u64 {
        self.resent
    }

    /// Takes an acknowledgement; `false` if no such message waits for one.
    pub fn acknowledge(&mut self, number: i64, now: Instant) -> bool {
        let Some(index) = self.index(number) else {
            return false;
        };
        let timeout = self.timeout();
        let Some(message) = self.queue.get_mut(index) else {
            return false;
        };
        let (Some(frame), Some(sent)) = (&message.frame, message.last_sent) else {
            return false;
        };
        self.bytes -= frame.len();
        self.messages -= 1;
        message.frame = None;
        if message.resend {
            // Sent before the connection or the peer was away: that is no round trip.
            message.resend = false;
            self.to_resend -= 1;
        } else if message.sends == 1 {
            self.round_trip.sample(now.saturating_duration_since(sent));
        }
        if index == 0 {
            self.forget_acknowledged();
        } else {
            self.count_later(index, now, timeout);
        }
        if self.messages == 0 {
            self.timer = None;
        }
        true
    }

    /// The next frame to be sent: first what was lost, then what is new.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Bytes> {
        let index = if self.to_resend > 0 {
            let index = self.queue.iter().position(|message| message.resend)?;
            self.to_resend -= 1;
            self.resent += 1;
            index
        } else {
            let index = self.unsent;
            self.queue.get(index)?;
            self.unsent += 1;
            index
        };
        let timeout = self.timeout();
        let message = self.queue.get_mut(index)?;
        message.resend = false;
        message.later_acknowledged = 0;
        message.last_sent = Some(now);
        message.sends = message.sends.saturating_add(1);
        // Another message's longer pause must not put this one off.
        let due = now + backed_off(timeout, message.sends);
        self.timer = Some(self.timer.map_or(due, |timer| timer.min(due)));
        message.frame.clone()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn timer(&self) -> Option<Instant> {
        self.timer
    }

    /// Marks what has waited too long for its acknowledgement.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.timer.is_none_or(|timer| now < timer) {
            return;
        }
        let timeout = self.timeout();
        self.timer = None;
        for message in self.queue.iter_mut().take(self.unsent) {
            let (Some(_), Some(sent), false) = (&message.frame, message.last_sent, message.resend)
            else {
                continue;
            };
            let due = sent + backed_off(timeout, message.sends);
            if due <= now {
                message.resend = true;
                self.to_resend += 1;
            } else {
                self.timer = Some(self.timer.map_or(due, |timer| timer.min(due)));
            }
        }
    }

    /// Everything unacknowledged is to be sent again, in order, at once: a new connection, or a
    /// peer that was away.
    pub fn resend_all(&mut self) {
        self.to_resend = 0;
        self.timer = None;
        for message in self.queue.iter_mut().take(self.unsent) {
            message.resend = message.frame.is_some();
            message.sends = 1;
            self.to_resend += usize::from(message.resend);
        }
    }

    fn timeout(&self) -> Duration {
        self.round_trip.timeout().max(MIN_TIMEOUT)
    }

    fn index(&self, number: i64) -> Option<usize> {
        usize::try_from(number.checked_sub(self.first)?).ok()
    }

    fn forget_acknowledged(&mut self) {
        while self
            .queue
            .front()
            .is_some_and(|message| message.frame.is_none())
        {
            self.queue.pop_front();
            self.first += 1;
            self.unsent -= 1;
        }
    }

    fn count_later(&mut self, acknowledged: usize, now: Instant, timeout: Duration) {
        for message in self.queue.iter_mut().take(acknowledged) {
            let (Some(_), Some(sent), false) = (&message.frame, message.last_sent, message.resend)
            else {
                continue;
            };
            message.later_acknowledged = message.later_acknowledged.saturating_add(1);
            // A peer that is not ready yet acknowledges later messages while it refuses this one,
            // so a message is not taken for lost before its timeout more than once.
            let again = message.sends > 1 && now.saturating_duration_since(sent) < timeout;
            if message.later_acknowledged >= LATER_ACKNOWLEDGEMENTS && !again {
                message.resend = true;
                self.to_resend += 1;
            }
        }
    }
}

/// The timeout of a message that was sent `sends` times.
fn backed_off(timeout: Duration, sends: u32) -> Duration {
    timeout
        .saturating_mul(1 << sends.saturating_sub(1).min(8))
        .min(MAX_TIMEOUT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(length: usize) -> Bytes {
        Bytes::from(vec![0; length])
    }

    fn drain(sender: &mut Sender, now: Instant) -> usize {
        std::iter::from_fn(|| sender.poll_transmit(now)).count()
    }

    #[test]
    fn a_full_window_closes_and_an_acknowledgement_opens_it() {
        let now = Instant::now();
        let mut sender = Sender::default();
        while sender.has_room() {
            sender.push(frame(1144));
        }
        assert_eq!(drain(&mut sender, now), 917);
        assert!(sender.acknowledge(0, now));
        assert!(sender.has_room());
        assert!(!sender.acknowledge(0, now), "each only once");
        assert!(!sender.acknowledge(-1, now));
        assert!(!sender.acknowledge(i64::MIN, now));
        assert!(!sender.acknowledge(i64::MAX, now));
    }

    #[test]
    fn what_was_never_sent_cannot_be_acknowledged() {
        let now = Instant::now();
        let mut sender = Sender::default();
        sender.push(frame(1));
        assert!(!sender.acknowledge(0, now));
        assert_eq!(drain(&mut sender, now), 1);
    }

    #[test]
    fn a_message_is_sent_again_with_growing_pauses() {
        let mut now = Instant::now();
        let mut sender = Sender::default();
        sender.push(frame(1));
        assert_eq!(drain(&mut sender, now), 1);
        for pause in [200, 400, 800, 1600, 3200, 5000, 5000] {
            let due = sender.timer().unwrap();
            assert_eq!(due, now + Duration::from_millis(pause));
            sender.handle_timeout(due - Duration::from_nanos(1));
            assert_eq!(drain(&mut sender, due), 0);
            sender.handle_timeout(due);
            assert_eq!(drain(&mut sender, due), 1);
            now = due;
        }
        assert!(sender.acknowledge(0, now));
        assert_eq!(sender.timer(), None);
    }

    #[test]
    fn the_long_pause_of_one_message_is_not_that_of_the_next() {
        let mut now = Instant::now();
        let mut sender = Sender::default();
        sender.push(frame(1));
        drain(&mut sender, now);
        for _ in 0..4 {
            now = sender.timer().unwrap();
            sender.handle_timeout(now);
            drain(&mut sender, now);
        }
        sender.push(frame(2));
        drain(&mut sender, now);
        assert_eq!(sender.timer(), Some(now + MIN_TIMEOUT));
    }

    #[test]
    fn an_absence_is_no_round_trip() {
        let mut now = Instant::now();
        let mut sender = Sender::default();
        sender.push(frame(1));
        drain(&mut sender, now);
        now += Duration::from_secs(60);
        sender.resend_all();
        assert!(sender.acknowledge(0, now), "as late as it is");
        sender.push(frame(2));
        drain(&mut sender, now);
        assert_eq!(sender.timer(), Some(now + MIN_TIMEOUT));
    }

    #[test]
    fn the_window_closes_behind_a_message_that_is_never_acknowledged() {
        let now = Instant::now();
        let mut sender = Sender::default();
        while sender.has_room() {
            let number = sender.next_sequence_number();
            sender.push(frame(1));
            drain(&mut sender, now);
            assert!(number == 0 || sender.acknowledge(number, now));
        }
        assert_eq!(sender.next_sequence_number(), WINDOW_SPAN as i64);
        assert!(sender.acknowledge(0, now));
        assert!(sender.has_room() && sender.is_empty());
    }

    #[test]
    fn three_later_acknowledgements_show_a_loss_once_per_timeout() {
        let now = Instant::now();
        let mut sender = Sender::default();
        for _ in 0..10 {
            sender.push(frame(1));
        }
        assert_eq!(drain(&mut sender, now), 10);
        for number in 1..3 {
            sender.acknowledge(number, now);
        }
        assert_eq!(drain(&mut sender, now), 0);
        sender.acknowledge(3, now);
        assert_eq!(drain(&mut sender, now), 1);
        for number in 4..10 {
            sender.acknowledge(number, now);
        }
        assert_eq!(drain(&mut sender, now), 0, "not before its timeout");
        assert!(sender.acknowledge(0, now));
        assert!(sender.is_empty());
        assert_eq!(sender.next_sequence_number(), 10);
    }

    #[test]
    fn a_new_connection_sends_everything_again_in_order() {
        let now = Instant::now();
        let mut sender = Sender::default();
        for length in 1..=4 {
            sender.push(frame(length));
        }
        assert_eq!(drain(&mut sender, now), 4);
        sender.acknowledge(1, now);
        sender.push(frame(5));
        sender.resend_all();
        let lengths: Vec<_> = std::iter::from_fn(|| sender.poll_transmit(now))
            .map(|frame| frame.len())
            .collect();
        assert_eq!(lengths, [1, 3, 4, 5]);
    }
}
