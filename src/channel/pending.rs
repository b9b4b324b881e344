//! Events that wait for the session.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::Event;

/// Output that may wait before the socket is no longer read, in bytes.
const MAX_BYTES: usize = 512 * 1024;
/// Events that may wait before the socket is no longer read, whatever is in them.
const MAX_EVENTS: usize = 4096;
/// Outputs are joined up to this size, in bytes.
const JOINED_OUTPUT: usize = 64 * 1024;

/// A queue in which small outputs are joined, so that the session is woken and writes less often.
#[derive(Debug, Default)]
pub struct Pending {
    events: VecDeque<Event>,
    /// Behind all of `events`, which is not empty while there is something in here.
    joined: BytesMut,
    bytes: usize,
}

impl Pending {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Whether so much waits that no more should be read.
    pub fn is_full(&self) -> bool {
        self.bytes >= MAX_BYTES || self.events.len() >= MAX_EVENTS
    }

    /// Adds an event.
    pub fn push(&mut self, event: Event) {
        if let Event::Output(data) = event {
            return self.push_output(data);
        }
        self.bytes += size(&event);
        self.unjoin();
        self.events.push_back(event);
    }

    /// Takes the first event.
    pub fn pop(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        self.bytes -= size(&event);
        if self.events.is_empty() {
            self.unjoin();
        }
        Some(event)
    }

    fn push_output(&mut self, data: Bytes) {
        self.bytes += data.len();
        if self.events.is_empty() {
            // Nothing waits: this one goes out as it is.
            self.events.push_back(Event::Output(data));
            return;
        }
        if self.joined.len() + data.len() > JOINED_OUTPUT {
            self.unjoin();
        }
        self.joined.extend_from_slice(&data);
    }

    fn unjoin(&mut self) {
        if !self.joined.is_empty() {
            let joined = self.joined.split().freeze();
            self.events.push_back(Event::Output(joined));
        }
    }
}

fn size(event: &Event) -> usize {
    match event {
        Event::Output(data) | Event::Stderr(data) | Event::ExitCode(_, data) => data.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::payload::Flag;

    #[test]
    fn order_and_bytes_are_kept_while_outputs_are_joined() {
        let mut pending = Pending::default();
        let mut expected = Vec::new();
        for n in 0..100_000_u32 {
            let data = Bytes::from(n.to_be_bytes().to_vec());
            if n % 997 == 0 {
                pending.push(Event::Stderr(data.clone()));
            } else {
                pending.push(Event::Output(data.clone()));
            }
            expected.extend_from_slice(&data);
        }
        let mut count = 0;
        let mut all = Vec::new();
        while let Some(event) = pending.pop() {
            count += 1;
            match event {
                Event::Output(data) | Event::Stderr(data) => all.extend_from_slice(&data),
                other => panic!("{other:?}"),
            }
        }
        assert!(all == expected);
        assert!(count < 250, "{count} events");
        assert_eq!(pending.bytes, 0);
    }

    #[test]
    fn events_of_any_kind_make_it_full() {
        let flag = || Event::Flag(Flag::ConnectToPortError);
        let code = || Event::ExitCode(None, Bytes::from(vec![0; 64 * 1024]));
        let kinds: [(&dyn Fn() -> Event, usize); 2] = [(&flag, 10_000), (&code, 10)];
        for (event, enough) in kinds {
            let mut pending = Pending::default();
            for _ in 0..enough {
                pending.push(event());
            }
            assert!(pending.is_full());
            while pending.pop().is_some() {}
            assert!(!pending.is_full());
        }
    }

    #[test]
    fn it_is_full_until_enough_is_taken() {
        let mut pending = Pending::default();
        while !pending.is_full() {
            pending.push(Event::Output(Bytes::from_static(&[0; 1024])));
        }
        while !pending.is_empty() {
            pending.pop();
        }
        assert!(!pending.is_full());
    }
}
