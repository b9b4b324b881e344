//! Both ends of an smux session, joined, and a peer that sends anything: what arrives is what was
//! sent, and nothing grows.
#![no_main]

use std::collections::HashMap;
use std::time::{Duration, Instant};

use arbitrary::Arbitrary;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use ssmx_fuzz::protocol::smux::{Command, Config, Event, Header, Role, Streams};

#[derive(Arbitrary, Debug)]
enum Operation<'a> {
    Open,
    Write(bool, u8, u16),
    Finish(bool, u8),
    Take(bool, u8),
    Consume(bool, u8, u16),
    Abandon(bool, u8),
    Reset(bool, u8),
    /// What one end sends reaches the other, cut at this place.
    Exchange(bool, u16, u16),
    Refusal,
    Wait(u16),
    /// From here on the peer is not ours: what the ends get is made up.
    Frame(bool, Kind, u8, u16, &'a [u8]),
    Bytes(bool, &'a [u8]),
}

#[derive(Arbitrary, Debug)]
enum Kind {
    Syn,
    Fin,
    Psh,
    Nop,
    Upd,
}

/// One direction of a stream, at its sender and at its receiver.
#[derive(Default)]
struct Way {
    sent: u64,
    got: u64,
    /// Not all that was sent has to arrive: its sender threw it away, or its receiver left.
    cut_off: bool,
}

struct World {
    now: Instant,
    ends: [Streams; 2],
    /// By the sending end and the stream.
    ways: HashMap<(usize, u32), Way>,
    honest: bool,
    received: usize,
}

/// Ids that ends use, and some that they do not.
fn id(number: u8) -> u32 {
    u32::from(number % 16)
}

fn byte(at: u64) -> u8 {
    (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u8
}

impl World {
    fn run(&mut self, operation: &Operation<'_>) {
        let now = self.now;
        match *operation {
            Operation::Open => drop(self.ends[0].open(now)),
            Operation::Write(end, number, length) => {
                let (end, id) = (usize::from(end), id(number));
                let length = self.ends[end].room(id).min(length.into());
                let way = self.ways.entry((end, id)).or_default();
                let data: Vec<u8> = (way.sent..).take(length).map(byte).collect();
                way.sent += length as u64;
                self.ends[end].write(id, &data);
            }
            Operation::Finish(end, number) => self.ends[usize::from(end)].finish(id(number)),
            Operation::Take(end, number) => self.take(usize::from(end), id(number)),
            Operation::Consume(end, number, bytes) => {
                self.ends[usize::from(end)].consumed(now, id(number), bytes.into());
            }
            Operation::Abandon(end, number) => {
                let (end, id) = (usize::from(end), id(number));
                self.ways.entry((1 - end, id)).or_default().cut_off = true;
                self.ends[end].abandon(id);
            }
            Operation::Reset(end, number) => {
                let (end, id) = (usize::from(end), id(number));
                self.cut_off(id);
                self.ends[end].reset(id);
            }
            Operation::Exchange(end, limit, cut) => {
                let limit = usize::from(limit).max(1);
                self.exchange(usize::from(end), limit, cut.into());
            }
            Operation::Refusal => self.ends[0].expect_refusal(),
            Operation::Wait(millis) => self.now += Duration::from_millis(millis.into()),
            Operation::Frame(end, ref kind, number, length, payload) => {
                let command = match kind {
                    Kind::Syn => Command::Syn,
                    Kind::Fin => Command::Fin,
                    Kind::Psh => Command::Psh,
                    Kind::Nop => Command::Nop,
                    Kind::Upd => Command::Upd,
                };
                let header = Header {
                    command,
                    length,
                    stream: id(number),
                };
                let frame = [&header.encode()[..], payload].concat();
                self.inject(usize::from(end), frame.into());
            }
            Operation::Bytes(end, bytes) => {
                self.inject(usize::from(end), Bytes::copy_from_slice(bytes));
            }
        }
    }

    fn take(&mut self, end: usize, id: u32) {
        while let Some(data) = self.ends[end].take(id) {
            assert!(!data.is_empty());
            let way = self.ways.entry((1 - end, id)).or_default();
            if self.honest {
                for got in &data {
                    assert_eq!(*got, byte(way.got));
                    way.got += 1;
                }
                assert!(way.got <= way.sent);
            }
        }
    }

    /// Whether anything was sent.
    fn exchange(&mut self, from: usize, limit: usize, cut: usize) -> bool {
        if self.ends[1 - from].is_blocked() {
            return false;
        }
        let Some(mut frames) = self.ends[from].poll_transmit(limit) else {
            return false;
        };
        assert!(frames.len() <= limit + 2048);
        self.received += frames.len();
        let first = frames.split_to(cut.min(frames.len()));
        for piece in [first, frames] {
            let outcome = self.ends[1 - from].handle_input(self.now, piece);
            assert!(outcome.is_ok() || !self.honest);
        }
        true
    }

    fn cut_off(&mut self, id: u32) {
        for end in [0, 1] {
            self.ways.entry((end, id)).or_default().cut_off = true;
        }
    }

    fn inject(&mut self, to: usize, input: Bytes) {
        self.honest = false;
        self.received += input.len();
        if let Err(error) = self.ends[to].handle_input(self.now, input) {
            let again = self.ends[to].handle_input(self.now, Bytes::new());
            assert_eq!(again, Err(error), "it recovers");
        }
    }

    fn check(&mut self) {
        for end in [0, 1] {
            let streams = &mut self.ends[end];
            streams.handle_timeout(self.now);
            assert!(streams.poll_timeout().is_none_or(|due| due > self.now));
            assert!(streams.unread() <= self.received);
            while let Some(event) = self.ends[end].poll_event() {
                match event {
                    Event::Opened(_) => assert_eq!(end, 1, "a client accepts"),
                    Event::Refused(_) => assert_eq!(end, 0, "a server is refused"),
                    Event::TooSlow(id) => self.cut_off(id),
                    Event::Readable(_) | Event::Writable(_) => {}
                }
            }
        }
    }

    /// Everything is sent and read: from one honest end to the other nothing may be missing.
    fn finish(&mut self) {
        let mut changed = true;
        while changed {
            changed = false;
            for end in [0, 1] {
                changed |= self.exchange(end, 16 * 1024, 0);
                for id in (0..16).map(id) {
                    self.take(1 - end, id);
                    self.ends[1 - end].consumed(self.now, id, usize::MAX);
                }
            }
            self.check();
        }
        for ((_, id), way) in &self.ways {
            let all = way.got == way.sent;
            assert!(all || way.cut_off || !self.honest, "stream {id}");
        }
    }
}

fuzz_target!(|operations: Vec<Operation<'_>>| {
    let now = Instant::now();
    let end = |role| Streams::new(Config::new(role, false), now);
    let mut world = World {
        now,
        ends: [end(Role::Client), end(Role::Server)],
        ways: HashMap::new(),
        honest: true,
        received: 0,
    };
    for operation in &operations {
        world.run(operation);
        world.check();
    }
    world.finish();
});
