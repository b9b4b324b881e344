//! Between the data channel and the programs: what comes and goes, in the order in which it does.

use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Value, json};
use ssmx::loopback::agent::Event as AgentEvent;
use ssmx::protocol::Event;
use ssmx::protocol::message::PayloadType;
use ssmx::protocol::payload::Flag;
use ssmx::protocol::smux::{self, Frame};

use super::half::{Input, SLOW};
use super::plan::{Leave, Reader};
use super::programs::{Gone, JOBS, Job, SIDES, State, Tunnels};
use crate::simulation::world::{Link, Programs, Side};

/// Messages of the agent that may be under way: what buffers of connections hold.
const UNDER_WAY: usize = 100;

impl Tunnels {
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
