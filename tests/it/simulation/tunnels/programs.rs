//! The programs at both ends of many connections that one session carries.

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Value, json};
use ssmx::loopback::agent::Event as AgentEvent;
use ssmx::protocol::Event;
use ssmx::protocol::message::PayloadType;
use ssmx::protocol::payload::Flag;
use ssmx::protocol::smux::{self, Decoder, Frame};

use super::super::plan::Stream;
use super::super::world::{Action, Link, Programs, Side};
use super::half::{Half, Input, SLOW};
use super::plan::{Connection, Leave, Reader};

/// Messages of the agent that may be under way: what buffers of connections hold.
const UNDER_WAY: usize = 100;

const SIDES: [Side; 2] = [Side::Client, Side::Agent];

/// What a program was woken for.
#[derive(Debug, Clone, Copy)]
enum Job {
    Open,
    Write,
    Read,
    Leave,
    Refuse,
}

const JOBS: [Job; 5] = [Job::Open, Job::Write, Job::Read, Job::Leave, Job::Refuse];

/// How an end came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// Everything was read and written, or the other end had enough.
    InOrder,
    Abandoned,
    Reset,
    /// It was told that it was refused.
    Refused,
    /// It did not read.
    TooSlow,
    /// The agent could not connect.
    Unconnected,
}

#[derive(Debug, Default)]
pub struct EndState {
    pub began: bool,
    pub finished: bool,
    pub gone: Option<Gone>,
    /// Waits for room, or for something to read.
    waits_for_room: bool,
    reads: bool,
    /// Taken, and not consumed yet.
    taken: usize,
    last_read: Option<Instant>,
}

#[derive(Debug)]
pub struct State {
    plan: Connection,
    id: u32,
    /// What each end has sent.
    sent: [Stream; 2],
    pub ends: [EndState; 2],
}

pub struct Tunnels {
    pub connections: Vec<State>,
    halves: [Half; 2],
    by_id: HashMap<u32, usize>,
    /// What the client is about to receive.
    decoder: Decoder,
    heard: HashMap<u32, bool>,
    /// Refusals that were told, and whose streams were not finished yet.
    refusals: usize,
    /// Another stream's end came between a refusal and that of the refused stream, and looked
    /// just like it: nobody can tell them apart.
    pub ambiguous: bool,
}

impl fmt::Debug for Tunnels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = |state: &&State| state.ends.iter().any(|end| end.gone.is_none());
        let open: Vec<_> = self.connections.iter().filter(open).collect();
        write!(
            f,
            "{} connections, of them open: {open:#?}",
            self.connections.len()
        )
    }
}

impl Tunnels {
    pub fn new(connections: Vec<Connection>) -> Self {
        let now = Instant::now();
        let connections = connections.into_iter().zip(1..).map(|(plan, salt)| State {
            plan,
            id: 0,
            sent: [0, 1].map(|side| Stream {
                salt: 2 * salt + side,
                ..Stream::default()
            }),
            ends: Default::default(),
        });
        Self {
            connections: connections.collect(),
            halves: SIDES.map(|side| Half::new(side, now)),
            by_id: HashMap::new(),
            decoder: Decoder::default(),
            heard: HashMap::new(),
            refusals: 0,
            ambiguous: false,
        }
    }

    /// How many ends of connections ended so.
    pub fn count(&self, side: Side, gone: Gone) -> usize {
        let ends = self
            .connections
            .iter()
            .map(|state| &state.ends[side as usize]);
        ends.filter(|end| end.gone == Some(gone)).count()
    }

    /// Looks that all is well in the end.
    pub fn check_end(&mut self) {
        for half in &mut self.halves {
            half.check_end();
        }
        for state in &self.connections {
            let refused = state.ends[0].gone == Some(Gone::Refused);
            let was_there = matches!(state.ends[0].gone, Some(Gone::InOrder | Gone::Refused));
            assert!(
                self.ambiguous || !was_there || refused == state.plan.refused,
                "{state:?}"
            );
        }
        let unconnected = self.count(Side::Agent, Gone::Unconnected);
        assert!(self.count(Side::Client, Gone::Refused) <= unconnected);
    }

    fn wake(&self, link: &mut Link, after: Duration, index: usize, side: Side, job: Job) {
        let which = (index * 2 + side as usize) * JOBS.len() + job as usize;
        link.at(after, Action::Program(which));
    }

    fn open(&mut self, link: &mut Link, index: usize) {
        let id = self.halves[0].streams.open(link.now).unwrap();
        self.by_id.insert(id, index);
        self.connections[index].id = id;
        self.start(link, index, Side::Client);
    }

    fn start(&mut self, link: &mut Link, index: usize, side: Side) {
        let state = &mut self.connections[index];
        let end = &mut state.ends[side as usize];
        assert!(!std::mem::replace(&mut end.began, true), "opened twice");
        end.last_read = Some(link.now);
        if side == Side::Agent && state.plan.refused {
            let dialled = link.moment(300);
            return self.wake(link, dialled, index, side, Job::Refuse);
        }
        if let Leave::Abandon(after) | Leave::Reset(after) = state.plan.ends[side as usize].leave {
            self.wake(link, Duration::from_millis(after), index, side, Job::Leave);
        }
        self.write(link, index, side);
    }

    fn write(&mut self, link: &mut Link, index: usize, side: Side) {
        let s = side as usize;
        let state = &mut self.connections[index];
        let (plan, end) = (&state.plan.ends[s], &mut state.ends[s]);
        end.waits_for_room = false;
        if end.gone.is_some() || end.finished {
            return;
        }
        let left = plan.send - state.sent[s].sent;
        if left > 0 {
            let room = self.halves[s].streams.room(state.id);
            if room == 0 {
                end.waits_for_room = true;
                return;
            }
            let length = link.rng.usize(1..=left.min(room).min(plan.chunk));
            let data = state.sent[s].take(length);
            self.halves[s].write(state.id, &data);
        }
        if state.sent[s].sent < plan.send {
            let pause = link.moment(20);
            self.wake(link, pause, index, side, Job::Write);
            return;
        }
        if matches!(plan.leave, Leave::InOrder | Leave::WithTheOther) {
            end.finished = true;
            self.halves[s].streams.finish(state.id);
            self.leave_if_over(index, side);
        }
    }

    fn read(&mut self, link: &mut Link, index: usize, side: Side) {
        let (s, other) = (side as usize, 1 - side as usize);
        let state = &mut self.connections[index];
        // While an agent dials it does not look.
        let dials = side == Side::Agent && state.plan.refused;
        let (end, half, id) = (&mut state.ends[s], &mut self.halves[s], state.id);
        if end.gone.is_some() || dials {
            return;
        }
        end.reads = true;
        match state.plan.ends[s].reader {
            Reader::Never => return,
            Reader::Eager => {
                while let Some(data) = half.streams.take(id) {
                    state.sent[other].give(&data);
                    half.consumed(link.now, id, data.len());
                    end.last_read = Some(link.now);
                }
            }
            Reader::Slow { bytes, pause_ms } => {
                if end.taken == 0
                    && let Some(data) = half.streams.take(id)
                {
                    state.sent[other].give(&data);
                    end.taken = data.len();
                }
                if end.taken > 0 {
                    let now = end.taken.min(bytes);
                    end.taken -= now;
                    half.consumed(link.now, id, now);
                    end.last_read = Some(link.now);
                    let pause = Duration::from_millis(pause_ms);
                    return self.wake(link, pause, index, side, Job::Read);
                }
            }
        }
        end.reads = false;
        self.leave_if_over(index, side);
    }

    fn leave_if_over(&mut self, index: usize, side: Side) {
        let (s, other) = (side as usize, 1 - side as usize);
        let state = &mut self.connections[index];
        let deaf = state.plan.ends[s].reader == Reader::Never;
        if deaf || state.ends[s].taken > 0 || !self.halves[s].streams.is_over(state.id) {
            return;
        }
        // Behind the end there is nothing, and before it everything.
        let (peer, sent) = (&state.ends[other], &state.sent[other]);
        assert!(peer.finished || peer.gone.is_some(), "{state:?}");
        let whole = !matches!(peer.gone, Some(Gone::Reset | Gone::TooSlow));
        assert!(!whole || sent.got == sent.sent, "{state:?}");
        match state.plan.ends[s].leave {
            Leave::InOrder if state.ends[s].finished => self.leave(index, side, Gone::InOrder),
            Leave::WithTheOther => self.leave(index, side, Gone::InOrder),
            _ => {}
        }
    }

    fn leave(&mut self, index: usize, side: Side, how: Gone) {
        let s = side as usize;
        let state = &mut self.connections[index];
        if state.ends[s].gone.is_some() {
            return;
        }
        state.ends[s].gone = Some(how);
        match how {
            Gone::Reset => {
                self.halves[s].discard(state.id);
                self.halves[s].streams.reset(state.id);
            }
            Gone::TooSlow => self.halves[s].discard(state.id),
            _ => self.halves[s].streams.abandon(state.id),
        }
    }

    /// Looks at what the client is about to receive.
    fn foresee(&mut self, data: &Bytes) {
        let mut input = data.clone();
        while let Some(frame) = self.decoder.next(&mut input).unwrap() {
            match frame {
                Frame::Syn(id) => panic!("the agent opens {id}"),
                Frame::Data(id, _) => {
                    self.heard.insert(id, true);
                }
                Frame::Fin(id) => {
                    let state = &self.connections[self.by_id[&id]];
                    let gone = state.ends[0].gone.is_some();
                    let heard = self.heard.contains_key(&id);
                    if state.plan.refused {
                        self.refusals = self.refusals.saturating_sub(1);
                    } else if self.refusals > 0 && (gone || !heard) {
                        self.ambiguous = true;
                    }
                }
            }
        }
    }

    fn receive(&mut self, link: &mut Link, side: Side) -> bool {
        let half = &mut self.halves[side as usize];
        if half.streams.is_blocked() {
            return false;
        }
        let Some(input) = half.input.pop_front() else {
            return false;
        };
        match input {
            Input::Refusal => {
                self.refusals += 1;
                half.streams.expect_refusal();
            }
            Input::Data(mut data) => {
                if link.rng.bool() {
                    let rest = data.split_off(link.rng.usize(0..=data.len()));
                    half.input.push_front(Input::Data(rest));
                }
                half.streams.handle_input(link.now, data.clone()).unwrap();
                if side == Side::Client {
                    self.foresee(&data);
                }
            }
        }
        true
    }

    fn event(&mut self, link: &mut Link, side: Side, event: smux::Event) {
        let (smux::Event::Opened(id)
        | smux::Event::Readable(id)
        | smux::Event::Writable(id)
        | smux::Event::Refused(id)
        | smux::Event::TooSlow(id)) = event;
        let index = self.by_id[&id];
        let state = &self.connections[index];
        let end = &state.ends[side as usize];
        match event {
            smux::Event::Opened(_) => {
                assert_eq!(side, Side::Agent);
                self.start(link, index, side);
            }
            _ if end.gone.is_some() => {}
            smux::Event::Readable(_) if end.reads => {}
            smux::Event::Readable(_) => self.read(link, index, side),
            smux::Event::Writable(_) if end.waits_for_room => self.write(link, index, side),
            smux::Event::Writable(_) => {}
            smux::Event::Refused(_) => {
                assert_eq!(side, Side::Client);
                assert!(state.plan.refused || self.ambiguous, "{state:?}");
                assert_eq!(state.sent[1].got, 0, "{state:?}");
                self.leave(index, side, Gone::Refused);
            }
            smux::Event::TooSlow(_) => {
                let reader = state.plan.ends[side as usize].reader;
                assert_ne!(reader, Reader::Eager, "{state:?}");
                assert!(end.last_read.is_some_and(|at| link.now - at >= SLOW));
                self.leave(index, side, Gone::TooSlow);
            }
        }
    }
}

impl Programs for Tunnels {
    fn properties(&self) -> Value {
        json!({ "type": "LocalPortForwarding", "portNumber": "80", "localPortNumber": "0" })
    }

    fn begin(&mut self, link: &mut Link) {
        for index in 0..self.connections.len() {
            let after = Duration::from_millis(self.connections[index].plan.at_ms);
            self.wake(link, after, index, Side::Client, Job::Open);
        }
    }

    fn work(&mut self, link: &mut Link, which: usize) {
        let job = JOBS[which % JOBS.len()];
        let (index, side) = (which / JOBS.len() / 2, SIDES[which / JOBS.len() % 2]);
        match job {
            Job::Open => self.open(link, index),
            Job::Write => self.write(link, index, side),
            Job::Read => self.read(link, index, side),
            Job::Leave => {
                let leave = self.connections[index].plan.ends[side as usize].leave;
                let reset = matches!(leave, Leave::Reset(_));
                self.leave(
                    index,
                    side,
                    if reset { Gone::Reset } else { Gone::Abandoned },
                );
            }
            Job::Refuse => {
                let flag = Bytes::copy_from_slice(&Flag::ConnectToPortError.to_bytes());
                link.agent.send(link.now, PayloadType::FLAG, flag);
                self.leave(index, side, Gone::Unconnected);
            }
        }
    }

    fn take(&mut self, _: &mut Link, event: Event) {
        self.halves[0].input.push_back(match event {
            Event::Output(data) => Input::Data(data),
            Event::Flag(Flag::ConnectToPortError) => Input::Refusal,
            other => panic!("{other:?}"),
        });
    }

    fn take_from_agent(&mut self, _: &mut Link, event: AgentEvent) {
        match event {
            AgentEvent::Delivered(PayloadType::OUTPUT, data) => {
                self.halves[1].input.push_back(Input::Data(data));
            }
            _ => panic!("the agent got what was not sent: {self:?}"),
        }
    }

    fn go_on(&mut self, link: &mut Link) -> bool {
        let mut changed = false;
        // What has come may have made somebody too slow.
        if self.poll_timeout().is_some_and(|due| due <= link.now) {
            self.handle_timeout(link.now);
            changed = true;
        }
        for side in SIDES {
            changed |= self.receive(link, side);
            while let Some(event) = self.halves[side as usize].streams.poll_event() {
                self.event(link, side, event);
                changed = true;
            }
        }
        while link.client.can_write()
            && let Some(frames) = self.halves[0].transmit(link.rng.usize(1..5000))
        {
            assert!(link.client.write(link.now, &frames));
            changed = true;
        }
        while link.agent.unacknowledged() < UNDER_WAY
            && let Some(mut frames) = self.halves[1].transmit(link.rng.usize(1..5000))
        {
            while !frames.is_empty() {
                let length = link.rng.usize(1..=1024.min(frames.len()));
                let piece = frames.split_to(length);
                link.agent.send(link.now, PayloadType::OUTPUT, piece);
            }
            changed = true;
        }
        if !changed {
            for half in &mut self.halves {
                half.check(link.now);
            }
        }
        changed
    }

    fn reads(&self, side: Side) -> bool {
        self.halves[side as usize].reads()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let deadlines = self.halves.iter().map(|half| half.streams.poll_timeout());
        deadlines.flatten().min()
    }

    fn handle_timeout(&mut self, now: Instant) {
        for half in &mut self.halves {
            half.streams.handle_timeout(now);
        }
    }

    fn are_done(&self) -> bool {
        let over = |state: &State| state.ends.iter().all(|end| end.gone.is_some());
        self.connections.iter().all(over)
            && self
                .halves
                .iter()
                .all(|half| half.input.is_empty() && !half.streams.has_output())
    }
}
