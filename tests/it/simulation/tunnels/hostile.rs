//! A peer that sends anything: no end of an smux session may panic, grow or go astray.

use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;
use ssmx::protocol::smux::{Command, Config, Event, Header, Role, Streams};

use super::half::UNREAD;
use crate::simulation::cases;

/// Streams that an end knows at once.
const STREAMS: usize = 65_536;

#[derive(Debug, Clone)]
enum Operation {
    /// A frame with its payload, or with less or more than it says.
    Frame(Command, u32, u16, usize),
    Bytes(Vec<u8>),
    Refusal,
    Open,
    Write(u32, usize),
    Take(u32),
    Consume(u32, usize),
    Abandon(u32),
    Reset(u32),
    Finish(u32),
    Transmit(usize),
    Wait(u64),
}

fn ids() -> impl Strategy<Value = u32> {
    prop_oneof![20 => 0u32..12, 1 => any::<u32>()]
}

fn frames() -> impl Strategy<Value = Operation> {
    let commands = vec![
        Command::Syn,
        Command::Fin,
        Command::Psh,
        Command::Nop,
        Command::Upd,
    ];
    let length = prop_oneof![8 => 0u16..50, 1 => any::<u16>()];
    let command = proptest::sample::select(commands);
    (command, ids(), length, 0usize..40).prop_map(|(command, id, length, kind)| {
        let payload = match (kind, command) {
            (0, _) => usize::from(length) + 1,
            (1, _) => usize::from(length) / 2,
            (_, Command::Psh) => length.into(),
            (_, Command::Upd) => 8,
            _ => 0,
        };
        Operation::Frame(command, id, length, payload)
    })
}

fn operations() -> impl Strategy<Value = Operation> {
    prop_oneof![
        60 => frames(),
        1 => proptest::collection::vec(any::<u8>(), 0..20).prop_map(Operation::Bytes),
        4 => Just(Operation::Refusal),
        6 => Just(Operation::Open),
        6 => (ids(), 0usize..3000).prop_map(|(id, bytes)| Operation::Write(id, bytes)),
        6 => ids().prop_map(Operation::Take),
        4 => (ids(), 0usize..3000).prop_map(|(id, bytes)| Operation::Consume(id, bytes)),
        4 => ids().prop_map(Operation::Abandon),
        2 => ids().prop_map(Operation::Reset),
        2 => ids().prop_map(Operation::Finish),
        6 => (1usize..5000).prop_map(Operation::Transmit),
        4 => (0u64..20_000).prop_map(Operation::Wait),
    ]
}

fn frame(command: Command, stream: u32, length: u16, payload: usize) -> Bytes {
    let header = Header {
        command,
        length,
        stream,
    };
    // What is taken for a header is most often one.
    let payload = [1, 2, 0, 0].into_iter().cycle().take(payload);
    header.encode().into_iter().chain(payload).collect()
}

fn new(role: Role) -> (Streams, Instant) {
    let now = Instant::now();
    (Streams::new(Config::new(role, false), now), now)
}

fn remembered(streams: &Streams) -> usize {
    format!("{streams:?}").matches(": Stream {").count()
}

fn events(streams: &mut Streams) -> Vec<Event> {
    std::iter::from_fn(|| streams.poll_event()).collect()
}

/// What its user does to an end; how much was written, and how much is sent.
fn operate(streams: &mut Streams, now: &mut Instant, operation: &Operation) -> (usize, usize) {
    match *operation {
        Operation::Frame(..) | Operation::Bytes(_) => {}
        Operation::Refusal => streams.expect_refusal(),
        Operation::Open => assert!(streams.open(*now).is_some()),
        Operation::Write(id, bytes) => {
            let bytes = bytes.min(streams.room(id));
            streams.write(id, &vec![7; bytes]);
            return (bytes, 0);
        }
        Operation::Take(id) => drop(streams.take(id)),
        Operation::Consume(id, bytes) => streams.consumed(*now, id, bytes),
        Operation::Abandon(id) => streams.abandon(id),
        Operation::Reset(id) => streams.reset(id),
        Operation::Finish(id) => streams.finish(id),
        Operation::Transmit(limit) => {
            let frames = streams.poll_transmit(limit);
            return (0, frames.map_or(0, |frames| frames.len()));
        }
        Operation::Wait(millis) => *now += Duration::from_millis(millis),
    }
    (0, 0)
}

fn run(role: Role, operations: &[Operation]) {
    let (mut streams, mut now) = new(role);
    let (mut failed, mut received, mut written, mut sent) = (None, 0, 0, 0);
    for operation in operations {
        // Servers open none.
        if matches!((role, operation), (Role::Server, Operation::Open)) {
            continue;
        }
        let input = match operation {
            Operation::Frame(command, id, length, payload) => {
                frame(*command, *id, *length, *payload)
            }
            Operation::Bytes(bytes) => Bytes::copy_from_slice(bytes),
            _ => Bytes::new(),
        };
        let (more_written, more_sent) = operate(&mut streams, &mut now, operation);
        written += more_written;
        sent += more_sent;
        received += input.len();
        let outcome = streams.handle_input(now, input);
        if let Some(error) = failed {
            assert_eq!(outcome, Err(error), "it recovers");
        }
        failed = failed.or(outcome.err());
        streams.handle_timeout(now);
        assert!(streams.poll_timeout().is_none_or(|due| due > now));
        assert!(streams.unread() <= received);
        // One of each kind for a frame, and one for what a user did.
        assert!(events(&mut streams).len() <= received / 4 + 20);
    }
    while let Some(frames) = streams.poll_transmit(1000) {
        sent += frames.len();
    }
    // A header for each piece of data, and what opens and ends each stream.
    let headers = written / 1016 + 4 * operations.len() + received / 8;
    assert!(sent <= written + 8 * headers, "{sent} bytes are sent");
    assert!(!streams.has_output());
    // What is left is what its user has not left.
    assert!(remembered(&streams) == streams.len(), "{streams:?}");
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn whatever_a_peer_sends_streams_hold(
        role in proptest::sample::select(vec![Role::Client, Role::Server]),
        operations in proptest::collection::vec(operations(), 1..100),
    ) {
        run(role, &operations);
    }
}

#[test]
fn a_flood_of_streams_is_bounded_even_if_nothing_can_be_sent() {
    let (mut streams, now) = new(Role::Server);
    let mut opened = 0;
    for id in 0..80_000 {
        let syn = frame(Command::Syn, 3 + 2 * id, 0, 0);
        streams.handle_input(now, syn).unwrap();
        for event in events(&mut streams) {
            let Event::Opened(id) = event else {
                panic!("{event:?}");
            };
            opened += 1;
            // Its end is remembered until it is sent.
            if opened % 2 == 0 {
                streams.abandon(id);
            }
        }
    }
    assert!(opened <= STREAMS, "{opened}");
}

/// While the connection is lost local programs may come and go.
#[test]
fn streams_that_come_and_go_while_nothing_is_sent_are_bounded() {
    let (mut streams, now) = new(Role::Client);
    let mut opened = 0;
    while opened < 80_000
        && let Some(id) = streams.open(now)
    {
        streams.write(id, b"GET / HTTP/1.1\r\n\r\n");
        streams.abandon(id);
        opened += 1;
    }
    assert!(opened <= STREAMS, "{opened}");
    // Once it is sent there is room again.
    while streams.poll_transmit(1 << 20).is_some() {}
    assert!(streams.open(now).is_some());
}

#[test]
fn floods_for_streams_that_nobody_knows_leave_nothing() {
    for role in [Role::Client, Role::Server] {
        let (mut streams, now) = new(role);
        for id in 0..50_000 {
            let data = frame(Command::Psh, id, 100, 100);
            streams.handle_input(now, data).unwrap();
            let end = frame(Command::Fin, id, 0, 0);
            streams.handle_input(now, end).unwrap();
        }
        assert_eq!((streams.unread(), remembered(&streams)), (0, 0));
        assert!(!streams.has_output());
        assert_eq!(events(&mut streams), []);
    }
}

#[test]
fn ends_and_beginnings_that_are_repeated_count_once() {
    let (mut streams, now) = new(Role::Server);
    for command in [Command::Syn, Command::Fin] {
        for _ in 0..1000 {
            let again = frame(command, 3, 0, 0);
            streams.handle_input(now, again).unwrap();
        }
    }
    let expected = [Event::Opened(3), Event::Readable(3)];
    assert_eq!(events(&mut streams), expected);
}

/// A length where there is no payload is nothing to be skipped or waited for.
#[test]
fn lengths_without_payload_hide_nothing() {
    let (mut streams, now) = new(Role::Server);
    let input = [
        frame(Command::Syn, 3, u16::MAX, 0),
        frame(Command::Nop, 0, u16::MAX, 0),
        frame(Command::Psh, 3, 5, 5),
        frame(Command::Fin, 3, u16::MAX, 0),
    ];
    streams.handle_input(now, input.concat().into()).unwrap();
    let expected = [Event::Opened(3), Event::Readable(3), Event::Readable(3)];
    assert_eq!(events(&mut streams), expected);
    assert_eq!(streams.take(3).map(|data| data.len()), Some(5));
    assert!(streams.is_over(3));
}

/// Another's burst is not the fault of who has little to read and takes its time.
#[test]
fn who_is_late_with_little_is_not_dropped_for_the_burst_of_another() {
    let (mut streams, mut now) = new(Role::Client);
    let (late, busy) = (streams.open(now).unwrap(), streams.open(now).unwrap());
    let little = frame(Command::Psh, late, 10, 10);
    streams.handle_input(now, little).unwrap();
    now += Duration::from_secs(60);
    while !streams.is_blocked() {
        let much = frame(Command::Psh, busy, 32_768, 32_768);
        streams.handle_input(now, much).unwrap();
    }
    assert!(streams.unread() < UNREAD + 65_536);
    streams.handle_timeout(now);
    let dropped = events(&mut streams);
    assert!(!dropped.contains(&Event::TooSlow(late)), "{dropped:?}");
    // Who keeps the others waiting is dropped in its turn.
    now += Duration::from_secs(10);
    streams.handle_timeout(now);
    assert_eq!(events(&mut streams), [Event::TooSlow(busy)]);
    assert!(!streams.is_blocked());
}
