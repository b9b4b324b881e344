//! A bad network, decided by a seed: messages dropped, doubled, delayed and swapped, and
//! connections cut. Sans-IO: time and messages go in, what is due comes out.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fastrand::Rng;

/// How long a message that is to be overtaken waits for another one to do so.
const OVERTAKE: Duration = Duration::from_millis(20);

/// What happens to stream and acknowledge messages at the gateway. The default is nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Faults {
    /// The same seed and the same messages give the same faults.
    pub seed: u64,
    /// From agent to client.
    pub to_client: Direction,
    /// From client to agent.
    pub to_agent: Direction,
    /// One for each connection of a session, in order; later connections are not cut.
    pub cuts: Vec<Cut>,
}

impl Faults {
    /// The same faults both ways.
    pub fn both(seed: u64, direction: Direction) -> Self {
        Self {
            seed,
            to_client: direction.clone(),
            to_agent: direction,
            cuts: Vec::new(),
        }
    }
}

/// Faults of one direction; probabilities from 0 to 1, each drawn for each message.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Direction {
    /// The message is lost.
    pub drop: f64,
    /// It arrives twice.
    pub duplicate: f64,
    /// It is late, and may be overtaken.
    pub delay: f64,
    /// By at most so much.
    pub max_delay: Duration,
    /// The next message overtakes it.
    pub reorder: f64,
}

/// When to cut a connection: both directions count, from its opening on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Behind so many messages.
    AfterMessages(u64),
    /// Behind so many bytes of messages, so as a rule within one of them.
    AfterBytes(u64),
}

/// What was done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Messages dropped.
    pub dropped: u64,
    /// Messages doubled.
    pub duplicated: u64,
    /// Messages delayed.
    pub delayed: u64,
    /// Messages overtaken.
    pub reordered: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.dropped += other.dropped;
        self.duplicated += other.duplicated;
        self.delayed += other.delayed;
        self.reordered += other.reordered;
    }
}

/// One direction of one session, with what is on its way.
#[derive(Debug)]
pub struct Line {
    faults: Direction,
    perfect: bool,
    rng: Rng,
    due: BinaryHeap<Reverse<(Instant, u64, Bytes)>>,
    overtaken: Option<(Instant, Bytes)>,
    arrivals: u64,
    tally: Tally,
}

impl Line {
    /// A line with these faults.
    pub fn new(faults: &Direction, seed: u64) -> Self {
        Self {
            perfect: *faults == Direction::default(),
            faults: faults.clone(),
            rng: Rng::with_seed(seed),
            due: BinaryHeap::new(),
            overtaken: None,
            arrivals: 0,
            tally: Tally::default(),
        }
    }

    /// Whether messages may go around the line, since nothing ever happens on it.
    pub fn is_perfect(&self) -> bool {
        self.perfect
    }

    /// What was done since this was last asked.
    pub fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    /// Takes a message that enters the line at `now`.
    pub fn push(&mut self, now: Instant, message: Bytes) {
        if self.rng.f64() < self.faults.drop {
            self.tally.dropped += 1;
            return;
        }
        let mut at = now;
        if self.rng.f64() < self.faults.delay {
            self.tally.delayed += 1;
            at += self.faults.max_delay.mul_f64(self.rng.f64());
        }
        if self.rng.f64() < self.faults.duplicate {
            self.tally.duplicated += 1;
            let later = self.faults.max_delay.mul_f64(self.rng.f64());
            self.enqueue(at + later, message.clone());
        }
        let overtaken = self.overtaken.take();
        if overtaken.is_none() && self.rng.f64() < self.faults.reorder {
            self.tally.reordered += 1;
            self.overtaken = Some((at + OVERTAKE, message));
        } else {
            self.enqueue(at, message);
        }
        if let Some((_, message)) = overtaken {
            self.enqueue(at, message);
        }
    }

    /// The next message that leaves the line by `now`.
    pub fn pop(&mut self, now: Instant) -> Option<Bytes> {
        if let Some((at, message)) = self.overtaken.take_if(|(at, _)| *at <= now) {
            self.enqueue(at, message);
        }
        match self.due.peek() {
            Some(Reverse((at, _, _))) if *at <= now => {
                self.due.pop().map(|Reverse((_, _, message))| message)
            }
            _ => None,
        }
    }

    /// When [`pop`](Self::pop) next gives something.
    pub fn deadline(&self) -> Option<Instant> {
        let due = self.due.peek().map(|Reverse((at, _, _))| *at);
        let overtaken = self.overtaken.as_ref().map(|(at, _)| *at);
        due.into_iter().chain(overtaken).min()
    }

    /// Loses what is on its way.
    pub fn clear(&mut self) {
        self.due.clear();
        self.overtaken = None;
    }

    /// Everything on its way, at once.
    pub fn release(&mut self) -> Vec<Bytes> {
        if let Some((at, message)) = self.overtaken.take() {
            self.enqueue(at, message);
        }
        std::iter::from_fn(|| self.due.pop().map(|Reverse((_, _, message))| message)).collect()
    }

    fn enqueue(&mut self, at: Instant, message: Bytes) {
        self.arrivals += 1;
        self.due.push(Reverse((at, self.arrivals, message)));
    }
}

/// Counts down to the cut of one connection.
#[derive(Debug, Clone, Copy)]
pub struct Fuse {
    cut: Option<Cut>,
}

/// What a [`Fuse`] says of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Burn {
    /// It passes.
    Pass,
    /// It passes, and the cut follows.
    Last,
    /// Only so many bytes of it pass, and the cut follows.
    Within(usize),
}

impl Fuse {
    /// The fuse of a connection.
    pub fn new(cut: Option<Cut>) -> Self {
        Self { cut }
    }

    /// Counts a message of `length` bytes.
    pub fn burn(&mut self, length: usize) -> Burn {
        match &mut self.cut {
            None => Burn::Pass,
            Some(Cut::AfterMessages(left)) => {
                *left = left.saturating_sub(1);
                if *left == 0 { Burn::Last } else { Burn::Pass }
            }
            Some(Cut::AfterBytes(left)) => {
                if let Some(rest) = left.checked_sub(length as u64) {
                    *left = rest;
                    Burn::Pass
                } else {
                    Burn::Within(usize::try_from(*left).unwrap_or(length))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(line: &mut Line, now: Instant) -> Vec<u8> {
        std::iter::from_fn(|| line.pop(now))
            .filter_map(|message| message.first().copied())
            .collect()
    }

    #[test]
    fn a_seed_decides_everything() {
        let faults = Direction {
            drop: 0.2,
            duplicate: 0.2,
            delay: 0.5,
            max_delay: Duration::from_millis(50),
            reorder: 0.2,
        };
        let now = tokio::time::Instant::now().into_std();
        let run = |seed| {
            let mut line = Line::new(&faults, seed);
            let mut out = Vec::new();
            for n in 0..100 {
                line.push(now + Duration::from_millis(n), Bytes::from(vec![n as u8]));
                out.extend(drain(&mut line, now + Duration::from_millis(n)));
            }
            out.extend(drain(&mut line, now + Duration::from_secs(1)));
            (out, line.take_tally())
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7).0, run(8).0);
        let (out, tally) = run(7);
        assert_eq!(
            out.len() as u64,
            100 - tally.dropped + tally.duplicated,
            "nothing else is lost"
        );
    }

    #[test]
    fn a_perfect_line_keeps_the_order() {
        let now = tokio::time::Instant::now().into_std();
        let mut line = Line::new(&Direction::default(), 1);
        for n in 0..10 {
            line.push(now, Bytes::from(vec![n]));
        }
        assert_eq!(drain(&mut line, now), (0..10).collect::<Vec<_>>());
        assert_eq!(line.deadline(), None);
    }

    #[test]
    fn a_fuse_burns_by_messages_or_bytes() {
        let mut fuse = Fuse::new(Some(Cut::AfterMessages(2)));
        assert_eq!((fuse.burn(9), fuse.burn(9)), (Burn::Pass, Burn::Last));
        let mut fuse = Fuse::new(Some(Cut::AfterBytes(12)));
        assert_eq!((fuse.burn(9), fuse.burn(9)), (Burn::Pass, Burn::Within(3)));
        assert_eq!(Fuse::new(None).burn(9), Burn::Pass);
    }
}
