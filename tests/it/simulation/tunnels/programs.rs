//! The programs at both ends of many connections that one session carries.

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

use ssmx::protocol::smux::Decoder;

use super::half::Half;
use super::plan::{Connection, Leave, Reader};
use crate::simulation::plan::Stream;
use crate::simulation::world::{Action, Link, Side};

pub const SIDES: [Side; 2] = [Side::Client, Side::Agent];

/// What a program was woken for.
#[derive(Debug, Clone, Copy)]
pub enum Job {
    Open,
    Write,
    Read,
    Leave,
    Refuse,
}

pub const JOBS: [Job; 5] = [Job::Open, Job::Write, Job::Read, Job::Leave, Job::Refuse];

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
    pub waits_for_room: bool,
    pub reads: bool,
    /// Taken, and not consumed yet.
    taken: usize,
    pub last_read: Option<Instant>,
}

#[derive(Debug)]
pub struct State {
    pub plan: Connection,
    pub id: u32,
    /// What each end has sent.
    pub sent: [Stream; 2],
    pub ends: [EndState; 2],
}

pub struct Tunnels {
    pub connections: Vec<State>,
    pub halves: [Half; 2],
    pub by_id: HashMap<u32, usize>,
    /// What the client is about to receive.
    pub decoder: Decoder,
    pub heard: HashMap<u32, bool>,
    /// Refusals that were told, and whose streams were not finished yet.
    pub refusals: usize,
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

    pub fn wake(&self, link: &mut Link, after: Duration, index: usize, side: Side, job: Job) {
        let which = (index * 2 + side as usize) * JOBS.len() + job as usize;
        link.at(after, Action::Program(which));
    }

    pub fn open(&mut self, link: &mut Link, index: usize) {
        let id = self.halves[0].streams.open(link.now).unwrap();
        self.by_id.insert(id, index);
        self.connections[index].id = id;
        self.start(link, index, Side::Client);
    }

    pub fn start(&mut self, link: &mut Link, index: usize, side: Side) {
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

    pub fn write(&mut self, link: &mut Link, index: usize, side: Side) {
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

    pub fn read(&mut self, link: &mut Link, index: usize, side: Side) {
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

    pub fn leave(&mut self, index: usize, side: Side, how: Gone) {
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
}
