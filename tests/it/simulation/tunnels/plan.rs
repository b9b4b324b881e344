//! What forwarded connections do.

use proptest::prelude::*;

/// One connection. Ends are those of the client, then of the agent.
#[derive(Debug, Clone)]
pub struct Connection {
    /// When it is made.
    pub at_ms: u64,
    /// The agent cannot connect it.
    pub refused: bool,
    pub ends: [End; 2],
}

/// What the program at one end does.
#[derive(Debug, Clone)]
pub struct End {
    /// Bytes that it sends, in pieces of up to so many.
    pub send: usize,
    pub chunk: usize,
    pub reader: Reader,
    pub leave: Leave,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    Eager,
    /// Takes up to so many bytes at a time, then sleeps.
    Slow {
        bytes: usize,
        pause_ms: u64,
    },
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// Once it has sent and read everything. That all is sent it says at once.
    InOrder,
    /// The same, but the end of what it reads is the end of what it sends, as it is with agents.
    WithTheOther,
    /// So much later than it began, whatever has come till then.
    Abandon(u64),
    /// The same, and what waits to be sent is thrown away.
    Reset(u64),
}

impl End {
    /// Sends and reads all there is.
    pub fn orderly(send: usize) -> Self {
        Self {
            send,
            chunk: 20_000,
            reader: Reader::Eager,
            leave: Leave::InOrder,
        }
    }

    /// Goes away after a minute, and reads nothing till then.
    pub fn deaf(send: usize) -> Self {
        Self {
            reader: Reader::Never,
            leave: Leave::Abandon(60_000),
            ..Self::orderly(send)
        }
    }
}

impl Connection {
    pub fn between(client: End, agent: End) -> Self {
        Self {
            at_ms: 0,
            refused: false,
            ends: [client, agent],
        }
    }
}

fn readers() -> impl Strategy<Value = Reader> {
    prop_oneof![
        6 => Just(Reader::Eager),
        3 => (500usize..20_000, 1u64..300)
            .prop_map(|(bytes, pause_ms)| Reader::Slow { bytes, pause_ms }),
        1 => Just(Reader::Never),
    ]
}

fn leaves() -> impl Strategy<Value = Leave> {
    prop_oneof![
        4 => Just(Leave::InOrder),
        3 => Just(Leave::WithTheOther),
        1 => (0u64..20_000).prop_map(Leave::Abandon),
        1 => (0u64..20_000).prop_map(Leave::Reset),
    ]
}

fn sizes() -> impl Strategy<Value = usize> {
    prop_oneof![
        2 => Just(0),
        10 => 1usize..3000,
        4 => 0usize..30_000,
        1 => 0usize..200_000,
    ]
}

prop_compose! {
    fn ends()(
        send in sizes(),
        chunk in 1usize..20_000,
        reader in readers(),
        leave in leaves(),
        patience in 0u64..40_000,
    ) -> End {
        let leave = match (reader, leave) {
            (Reader::Never, Leave::InOrder | Leave::WithTheOther) => Leave::Abandon(patience),
            (_, leave) => leave,
        };
        // A byte at a time takes too many steps.
        End { send, chunk: chunk.max(send / 300), reader, leave }
    }
}

prop_compose! {
    pub fn connections()(
        at_ms in 0u64..8000,
        refused in proptest::bool::weighted(0.1),
        ends in [ends(), ends()],
    ) -> Connection {
        Connection { at_ms, refused, ends }
    }
}
