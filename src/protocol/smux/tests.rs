use std::time::{Duration, Instant};

use bytes::Bytes;

use super::super::frame::{Command, Header};
use super::*;

fn client() -> (Streams, Instant) {
    let now = Instant::now();
    (Streams::new(Config::new(Role::Client, false), now), now)
}

fn frame(command: Command, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap();
    let header = Header {
        command,
        length,
        stream,
    };
    [&header.encode()[..], payload].concat()
}

fn events(streams: &mut Streams) -> Vec<Event> {
    std::iter::from_fn(|| streams.poll_event()).collect()
}

fn sent(streams: &mut Streams) -> Vec<u8> {
    std::iter::from_fn(|| streams.poll_transmit(16 * 1024))
        .flatten()
        .collect()
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn streams_take_turns_frame_by_frame() {
    let (mut streams, now) = client();
    let bulk = streams.open(now).unwrap();
    streams.write(bulk, &[1; 60_000]);
    let first = streams.poll_transmit(2048).unwrap();
    assert_eq!(first.len(), 8 + 2 * 1024);
    let small = streams.open(now).unwrap();
    streams.write(small, b"hi");
    let next = streams.poll_transmit(2048).unwrap();
    let expected = [
        frame(Command::Syn, small, b""),
        frame(Command::Psh, small, b"hi"),
    ];
    assert_eq!(next[..18], expected.concat(), "the new stream goes first");
}

#[test]
fn a_written_stream_takes_no_more_than_its_bound_until_it_is_sent() {
    let (mut streams, now) = client();
    let id = streams.open(now).unwrap();
    let room = streams.room(id);
    assert_eq!(room, OUT_A_STREAM);
    streams.write(id, &vec![0; room]);
    assert_eq!(streams.room(id), 0);
    assert!(events(&mut streams).is_empty());
    while events(&mut streams).is_empty() {
        assert!(streams.poll_transmit(4096).is_some(), "it is never woken");
    }
    assert!(streams.room(id) >= OUT_A_STREAM / 2);
}

#[test]
fn many_streams_together_have_a_bound_and_yet_each_has_its_turn() {
    let (mut streams, now) = client();
    let ids: Vec<u32> = (0..100).map(|_| streams.open(now).unwrap()).collect();
    for id in &ids {
        let room = streams.room(*id);
        assert!(room > 0, "stream {id} starves");
        streams.write(*id, &vec![0; room]);
    }
    assert!(streams.out_bytes <= OUT_IN_ALL + OUT_A_STREAM + 100 * 1016);
    for id in &ids {
        assert_eq!(streams.room(*id), 0);
    }
    sent(&mut streams);
    assert_eq!(events(&mut streams).len(), 100, "all are woken");
    assert_eq!(streams.out_bytes, 0);
}

#[test]
fn what_nobody_reads_blocks_at_the_bound_and_alone_for_ever() {
    let (mut streams, now) = client();
    let id = streams.open(now).unwrap();
    let data = Bytes::from(frame(Command::Psh, id, &[7; 32_768]));
    while !streams.is_blocked() {
        streams.handle_input(now, data.clone()).unwrap();
    }
    assert!(streams.unread() <= IN_ALONE + 32_768);
    // Its reader may wait for something that comes behind what it does not read.
    let relief = streams.poll_timeout().unwrap();
    assert_eq!(relief, now + ALONE_PATIENCE);
    streams.handle_timeout(relief);
    assert!(!streams.is_blocked());
    while !streams.is_blocked() {
        streams.handle_input(now, data.clone()).unwrap();
    }
    assert_eq!(streams.poll_timeout(), None, "it keeps nobody waiting");
    while let Some(taken) = streams.take(id) {
        streams.consumed(now, id, taken.len());
    }
    while !streams.is_blocked() {
        streams.handle_input(now, data.clone()).unwrap();
    }
    assert!(streams.unread() <= IN_ALONE + 32_768, "it is read again");
    // Another stream: more may wait, but not for ever.
    let other = streams.open(now).unwrap();
    assert!(!streams.is_blocked());
    while !streams.is_blocked() {
        streams.handle_input(now, data.clone()).unwrap();
    }
    assert!(streams.unread() <= IN_IN_ALL + 32_768);
    let deadline = streams.poll_timeout().unwrap();
    assert_eq!(deadline, now + 10 * SECOND);
    events(&mut streams);
    streams.handle_timeout(deadline);
    assert_eq!(events(&mut streams), [Event::TooSlow(id)]);
    assert_eq!((streams.unread(), streams.len()), (0, 1));
    // Its late data is nobody's, the other stream goes on.
    streams.handle_input(deadline, data).unwrap();
    let hello = frame(Command::Psh, other, b"hello");
    streams.handle_input(deadline, hello.into()).unwrap();
    assert_eq!(events(&mut streams), [Event::Readable(other)]);
    assert_eq!(streams.take(other).unwrap(), "hello");
}

#[test]
fn a_reader_that_takes_something_now_and_then_keeps_its_stream() {
    let (mut streams, mut now) = client();
    let slow = streams.open(now).unwrap();
    streams.open(now).unwrap();
    let data = Bytes::from(frame(Command::Psh, slow, &[7; 32_768]));
    for _ in 0..20 {
        while !streams.is_blocked() {
            streams.handle_input(now, data.clone()).unwrap();
        }
        now += 9 * SECOND;
        streams.handle_timeout(now);
        let taken = streams.take(slow).unwrap().len();
        streams.consumed(now, slow, taken);
    }
    assert!(!events(&mut streams).contains(&Event::TooSlow(slow)));
}

#[test]
fn time_in_which_a_reader_was_alone_does_not_count_against_it() {
    let (mut streams, now) = client();
    let slow = streams.open(now).unwrap();
    let data = Bytes::from(frame(Command::Psh, slow, &[7; 32_768]));
    streams.handle_input(now, data.clone()).unwrap();
    let later = now + 100 * SECOND;
    streams.open(later).unwrap();
    while !streams.is_blocked() {
        streams.handle_input(now, data.clone()).unwrap();
    }
    assert_eq!(streams.poll_timeout(), Some(later + 10 * SECOND));
}

#[test]
fn refusals_are_told_apart_from_ends() {
    let (mut streams, now) = client();
    let ids: Vec<u32> = (0..3).map(|_| streams.open(now).unwrap()).collect();
    streams.expect_refusal();
    let input = [
        frame(Command::Psh, ids[0], b"x"),
        frame(Command::Fin, ids[0], b""),
        frame(Command::Fin, ids[1], b""),
        frame(Command::Fin, ids[2], b""),
    ];
    streams.handle_input(now, input.concat().into()).unwrap();
    let expected = [
        Event::Readable(ids[0]),
        Event::Readable(ids[0]),
        Event::Refused(ids[1]),
        Event::Readable(ids[2]),
    ];
    assert_eq!(events(&mut streams), expected);
    assert!(!streams.is_over(ids[0]), "there is an x to be taken");
    assert!(streams.is_over(ids[2]));
}

#[test]
fn a_refusal_of_a_stream_that_nobody_awaits_is_no_one_elses() {
    let (mut streams, now) = client();
    let (gone, other) = (streams.open(now).unwrap(), streams.open(now).unwrap());
    streams.abandon(gone);
    sent(&mut streams);
    streams.expect_refusal();
    for id in [gone, other] {
        let fin = frame(Command::Fin, id, b"");
        streams.handle_input(now, fin.into()).unwrap();
    }
    assert_eq!(events(&mut streams), [Event::Readable(other)]);
}

#[test]
fn unasked_streams_are_finished_and_a_flood_of_them_is_bounded() {
    let (mut streams, now) = client();
    let id = streams.open(now).unwrap();
    assert_eq!(sent(&mut streams), frame(Command::Syn, id, b""));
    let one = frame(Command::Syn, 2, b"");
    streams.handle_input(now, one.into()).unwrap();
    assert_eq!(sent(&mut streams), frame(Command::Fin, 2, b""));
    for id in 0..100_000_u32 {
        let flood = frame(Command::Syn, 4 + 2 * id, b"");
        streams.handle_input(now, flood.into()).unwrap();
    }
    assert_eq!(sent(&mut streams).len(), MAX_REFUSALS * 8);
    assert!(events(&mut streams).is_empty());
    assert_eq!(streams.streams.len(), 1);
}

#[test]
fn abandoned_streams_send_what_is_queued_and_are_forgotten() {
    let (mut streams, now) = client();
    let id = streams.open(now).unwrap();
    streams.write(id, b"last words");
    streams.abandon(id);
    assert!(streams.is_empty());
    let expected = [
        frame(Command::Syn, id, b""),
        frame(Command::Psh, id, b"last words"),
        frame(Command::Fin, id, b""),
    ];
    assert_eq!(sent(&mut streams), expected.concat());
    assert!(streams.streams.is_empty());
    let other = streams.open(now).unwrap();
    streams.write(other, b"never mind");
    streams.reset(other);
    let expected = [
        frame(Command::Syn, other, b""),
        frame(Command::Fin, other, b""),
    ];
    assert_eq!(sent(&mut streams), expected.concat());
    assert_eq!((streams.out_bytes, streams.streams.len()), (0, 0));
}

#[test]
fn keepalives_are_sent_every_ten_seconds_where_they_are_wanted() {
    let now = Instant::now();
    let mut streams = Streams::new(Config::new(Role::Client, true), now);
    for round in 1..4 {
        let due = streams.poll_timeout().unwrap();
        assert_eq!(due, now + round * 10 * SECOND);
        streams.handle_timeout(due);
        assert_eq!(sent(&mut streams), frame(Command::Nop, 0, b""));
    }
    // While the carrier takes nothing they do not pile up.
    for round in 4..10 {
        streams.handle_timeout(now + round * 10 * SECOND);
    }
    assert_eq!(sent(&mut streams).len(), 8);
    assert_eq!(client().0.poll_timeout(), None);
}

#[test]
fn what_is_not_smux_is_fatal_for_good() {
    let (mut streams, now) = client();
    let ssh = Bytes::from_static(b"SSH-2.0-OpenSSH_9.2\r\n");
    let error = streams.handle_input(now, ssh).unwrap_err();
    assert_eq!(error, Error::Version(b'S'));
    let nop = frame(Command::Nop, 0, b"");
    assert_eq!(streams.handle_input(now, nop.into()), Err(error));
}
