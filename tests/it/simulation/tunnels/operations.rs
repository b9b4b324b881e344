//! Two ends of an smux session, joined, and whatever their users may do, against a model.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use ssmx::protocol::smux::Event;

use super::half::{Half, Input, SLOW};
use crate::simulation::cases;
use crate::simulation::plan::Stream;
use crate::simulation::world::Side;

const SIDES: [Side; 2] = [Side::Client, Side::Agent];

/// What can be done. Streams are chosen by any number.
#[derive(Debug, Clone)]
enum Operation {
    Open,
    /// As much as there is room for, up to so many bytes.
    Write(Side, usize, usize),
    Finish(Side, usize),
    Take(Side, usize),
    Consume(Side, usize, usize),
    Abandon(Side, usize),
    Reset(Side, usize),
    Refuse(usize),
    /// This end sends so much, or receives so many pieces.
    Transmit(Side, usize),
    Receive(Side, usize),
    Wait(u64),
}

#[derive(Debug, Default)]
struct End {
    known: bool,
    /// Nothing more is written.
    finished: bool,
    gone: bool,
    /// What was written before is not all sent.
    truncated: bool,
    readable: bool,
    waits_for_room: bool,
    taken: usize,
    last_read: Option<Instant>,
}

#[derive(Debug)]
struct Model {
    id: u32,
    sent: [Stream; 2],
    ends: [End; 2],
}

struct Joined {
    now: Instant,
    halves: [Half; 2],
    models: Vec<Model>,
    /// How many the client was told of, and how many of its streams.
    refusals: usize,
    refused: usize,
}

fn operations() -> impl Strategy<Value = Operation> {
    let side = || proptest::sample::select(SIDES.to_vec());
    let which = || 0usize..1000;
    prop_oneof![
        4 => Just(Operation::Open),
        10 => (side(), which(), prop_oneof![0usize..3000, 0usize..70_000])
            .prop_map(|(side, which, bytes)| Operation::Write(side, which, bytes)),
        2 => (side(), which()).prop_map(|(side, which)| Operation::Finish(side, which)),
        6 => (side(), which()).prop_map(|(side, which)| Operation::Take(side, which)),
        6 => (side(), which(), 0usize..70_000)
            .prop_map(|(side, which, bytes)| Operation::Consume(side, which, bytes)),
        1 => (side(), which()).prop_map(|(side, which)| Operation::Abandon(side, which)),
        1 => (side(), which()).prop_map(|(side, which)| Operation::Reset(side, which)),
        1 => which().prop_map(Operation::Refuse),
        10 => (side(), 1usize..30_000).prop_map(|(side, limit)| Operation::Transmit(side, limit)),
        10 => (side(), 1usize..10).prop_map(|(side, pieces)| Operation::Receive(side, pieces)),
        2 => (0u64..8000).prop_map(Operation::Wait),
    ]
}

impl Joined {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            now,
            halves: SIDES.map(|side| Half::new(side, now)),
            models: Vec::new(),
            refusals: 0,
            refused: 0,
        }
    }

    /// One of the streams that this end knows, and has not left.
    fn pick(&self, side: Side, which: usize) -> Option<usize> {
        let open = |model: &Model| {
            let end = &model.ends[side as usize];
            end.known && !end.gone
        };
        let known = self.models.iter().enumerate().filter(|(_, m)| open(m));
        let known: Vec<_> = known.map(|(index, _)| index).collect();
        (!known.is_empty()).then(|| known[which % known.len()])
    }

    fn run(&mut self, operation: &Operation) {
        match *operation {
            Operation::Open => self.open(),
            Operation::Transmit(side, limit) => {
                self.transmit(side, limit);
            }
            Operation::Receive(side, pieces) => {
                for _ in 0..pieces {
                    self.receive(side);
                }
            }
            Operation::Wait(millis) => self.now += Duration::from_millis(millis),
            Operation::Write(side, which, _)
            | Operation::Finish(side, which)
            | Operation::Take(side, which)
            | Operation::Consume(side, which, _)
            | Operation::Abandon(side, which)
            | Operation::Reset(side, which) => {
                if let Some(index) = self.pick(side, which) {
                    self.run_on(side, index, operation);
                }
            }
            Operation::Refuse(which) => {
                if let Some(index) = self.pick(Side::Agent, which) {
                    self.refuse(index);
                }
            }
        }
        self.settle();
    }

    fn run_on(&mut self, side: Side, index: usize, operation: &Operation) {
        match *operation {
            Operation::Write(_, _, bytes) => self.write(side, index, bytes),
            Operation::Finish(..) => {
                let model = &mut self.models[index];
                model.ends[side as usize].finished = true;
                self.halves[side as usize].streams.finish(model.id);
            }
            Operation::Take(..) => self.take(side, index),
            Operation::Consume(_, _, bytes) => self.consume(side, index, bytes),
            Operation::Abandon(..) => self.leave(side, index, false),
            _ => self.leave(side, index, true),
        }
    }

    fn open(&mut self) {
        let id = self.halves[0].streams.open(self.now).unwrap();
        assert_eq!(id as usize, 3 + 2 * self.models.len());
        let salt = u64::from(id);
        let sent = [salt, salt + 1].map(|salt| Stream {
            salt,
            ..Stream::default()
        });
        let mut ends: [End; 2] = Default::default();
        ends[0].known = true;
        ends[0].last_read = Some(self.now);
        self.models.push(Model { id, sent, ends });
    }

    fn write(&mut self, side: Side, index: usize, bytes: usize) {
        let (model, half) = (&mut self.models[index], &mut self.halves[side as usize]);
        let end = &mut model.ends[side as usize];
        let room = half.streams.room(model.id);
        if end.finished {
            assert_eq!(room, 0);
            return;
        }
        end.waits_for_room = room == 0;
        let data = model.sent[side as usize].take(bytes.min(room));
        half.write(model.id, &data);
    }

    fn take(&mut self, side: Side, index: usize) {
        let (s, other) = (side as usize, 1 - side as usize);
        let (model, half) = (&mut self.models[index], &mut self.halves[s]);
        match half.streams.take(model.id) {
            Some(data) => {
                assert!(model.ends[s].readable, "nobody was told: {model:?}");
                model.sent[other].give(&data);
                model.ends[s].taken += data.len();
            }
            None => {
                model.ends[s].readable = false;
                if half.streams.is_over(model.id) {
                    let (peer, sent) = (&model.ends[other], &model.sent[other]);
                    assert!(peer.finished || peer.gone, "{model:?}");
                    assert!(peer.truncated || sent.got == sent.sent, "{model:?}");
                }
            }
        }
    }

    fn consume(&mut self, side: Side, index: usize, bytes: usize) {
        let model = &mut self.models[index];
        let end = &mut model.ends[side as usize];
        // More than it took does not count.
        self.halves[side as usize].consumed(self.now, model.id, bytes);
        end.taken -= bytes.min(end.taken);
        end.last_read = Some(self.now);
    }

    fn leave(&mut self, side: Side, index: usize, reset: bool) {
        let (model, half) = (&mut self.models[index], &mut self.halves[side as usize]);
        model.ends[side as usize].gone = true;
        if reset {
            model.ends[side as usize].truncated = true;
            half.discard(model.id);
            half.streams.reset(model.id);
        } else {
            half.streams.abandon(model.id);
        }
    }

    /// The agent tells that it cannot connect, and leaves.
    fn refuse(&mut self, index: usize) {
        if self.models[index].sent[1].sent == 0 {
            self.halves[0].input.push_back(Input::Refusal);
            self.leave(Side::Agent, index, false);
        }
    }

    fn transmit(&mut self, side: Side, limit: usize) -> bool {
        let Some(frames) = self.halves[side as usize].transmit(limit) else {
            assert!(!self.halves[side as usize].streams.has_output());
            return false;
        };
        let receiver = &mut self.halves[1 - side as usize];
        // Cut anywhere.
        let cut = frames.len() * 2 / 3;
        receiver.input.push_back(Input::Data(frames.slice(..cut)));
        receiver.input.push_back(Input::Data(frames.slice(cut..)));
        true
    }

    fn receive(&mut self, side: Side) -> bool {
        let half = &mut self.halves[side as usize];
        if half.streams.is_blocked() {
            return false;
        }
        match half.input.pop_front() {
            None => return false,
            Some(Input::Refusal) => {
                self.refusals += 1;
                half.streams.expect_refusal();
            }
            Some(Input::Data(data)) => half.streams.handle_input(self.now, data).unwrap(),
        }
        true
    }

    /// Hears what happened.
    fn settle(&mut self) {
        for side in SIDES {
            let streams = &mut self.halves[side as usize].streams;
            streams.handle_timeout(self.now);
            assert!(streams.poll_timeout().is_none_or(|due| due > self.now));
            while let Some(event) = self.halves[side as usize].streams.poll_event() {
                self.event(side, event);
            }
        }
    }

    fn event(&mut self, side: Side, event: Event) {
        let (Event::Opened(id)
        | Event::Readable(id)
        | Event::Writable(id)
        | Event::Refused(id)
        | Event::TooSlow(id)) = event;
        let model = &mut self.models[(id as usize - 3) / 2];
        let end = &mut model.ends[side as usize];
        match event {
            Event::Opened(_) => {
                assert!(side == Side::Agent && !end.known, "{model:?}");
                end.known = true;
                end.last_read = Some(self.now);
            }
            Event::Readable(_) => end.readable = true,
            Event::Writable(_) => end.waits_for_room = false,
            Event::Refused(_) => {
                self.refused += 1;
                assert!(side == Side::Client && self.refused <= self.refusals);
                assert_eq!(model.sent[1].got, 0, "{model:?}");
                if !end.gone {
                    end.gone = true;
                    self.halves[0].streams.abandon(id);
                }
            }
            Event::TooSlow(_) => {
                assert!(!end.gone, "{model:?}");
                assert!(end.last_read.is_some_and(|at| self.now - at >= SLOW));
                end.gone = true;
                end.truncated = true;
                self.halves[side as usize].discard(id);
            }
        }
    }

    /// Lets both ends read and send all there is, and go.
    fn finish(&mut self) {
        while self.exchange() {}
        for model in &self.models {
            for (end, other) in model.ends.iter().zip([1, 0]) {
                assert!(end.known, "{model:?}");
                let all = model.sent[other].got == model.sent[other].sent;
                assert!(all || end.gone || model.ends[other].truncated, "{model:?}");
                let waits = end.waits_for_room && !end.gone && !end.finished;
                assert!(!waits, "never woken: {model:?}");
            }
        }
        for side in SIDES {
            while let Some(index) = self.pick(side, 0) {
                self.leave(side, index, false);
            }
        }
        while self.exchange() {}
        for half in &mut self.halves {
            half.check_end();
        }
    }

    /// Whether anything was sent or received.
    fn exchange(&mut self) -> bool {
        let mut changed = false;
        for side in SIDES {
            while self.transmit(side, 16 * 1024) {
                changed = true;
            }
            while self.receive(side) {
                changed = true;
            }
            self.settle();
            for index in 0..self.models.len() {
                let s = side as usize;
                while self.models[index].ends[s].readable && !self.models[index].ends[s].gone {
                    self.take(side, index);
                }
                if !self.models[index].ends[s].gone {
                    self.consume(side, index, usize::MAX);
                }
            }
        }
        changed
    }
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn whatever_users_do_streams_keep_their_promises(
        operations in proptest::collection::vec(operations(), 1..200),
    ) {
        let mut joined = Joined::new();
        for operation in &operations {
            joined.run(operation);
        }
        joined.finish();
    }
}

/// Both are told before either stream is finished, as it happens if two connects fail at once.
#[test]
fn a_refusal_of_a_stream_that_is_gone_leaves_the_next_one_its_own() {
    let mut joined = Joined::new();
    for operation in [
        Operation::Open,
        Operation::Open,
        Operation::Transmit(Side::Client, 100),
        Operation::Receive(Side::Agent, 2),
        Operation::Abandon(Side::Client, 0),
        Operation::Transmit(Side::Client, 100),
        Operation::Refuse(0),
        Operation::Refuse(0),
        Operation::Transmit(Side::Agent, 100),
        Operation::Receive(Side::Client, 4),
    ] {
        joined.run(&operation);
    }
    assert_eq!((joined.refusals, joined.refused), (2, 1));
    joined.finish();
}
