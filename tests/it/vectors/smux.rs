//! smux: what AWS's ends write, and what they make of raw input.

use std::time::Instant;

use bytes::Bytes;
use serde_json::Value;
use ssmx::protocol::smux::{Command, Config, Event, Header, Role, Streams};

use super::{cases, hex, list, load, text, to_hex};

/// A session whose frames are as large as those of AWS's ends.
fn session(role: Role, keepalive: bool) -> Streams {
    let config = Config {
        max_frame: 32_768,
        ..Config::new(role, keepalive)
    };
    Streams::new(config, Instant::now())
}

fn pattern(length: u64) -> Vec<u8> {
    (0..length).map(|i| (i * 7 + 3).to_le_bytes()[0]).collect()
}

fn sent(streams: &mut Streams) -> String {
    let frames: Vec<u8> = std::iter::from_fn(|| streams.poll_transmit(1 << 20))
        .flatten()
        .collect();
    to_hex(&frames)
}

/// What the case wrote, all writes joined; of large frames only the headers and sizes are known.
fn expected(case: &Value) -> String {
    list(&case["writes"])
        .iter()
        .map(|write| write.as_str().unwrap())
        .collect()
}

#[test]
fn frames_are_written_as_aws_writes_them() {
    let now = Instant::now();
    let mut seen = 0;
    for case in cases(&load("smux"), "frames", 17) {
        let name = text(&case, "name");
        let client = text(&case, "from") == "client";
        let id = case["stream_id"]
            .as_u64()
            .map(|id| u32::try_from(id).unwrap());
        let mut streams = session(if client { Role::Client } else { Role::Server }, true);
        let written = match name {
            _ if name.contains("SYN") && client => {
                // The first stream is 3, the second 5.
                let opened = std::iter::repeat_with(|| (streams.open(now), sent(&mut streams)));
                opened.take(2).find(|(opened, _)| *opened == id).unwrap().1
            }
            "server SYN, first server stream" => {
                // No agent opens streams, and ours does not either: the client declines.
                let mut client = session(Role::Client, false);
                let syn = hex(&expected(&case));
                client.handle_input(now, syn).unwrap();
                assert_eq!(client.poll_event(), None);
                let fin = Header::bare(Command::Fin, 2).encode();
                assert_eq!(sent(&mut client), to_hex(&fin));
                expected(&case)
            }
            "keepalive NOP" => {
                streams.handle_timeout(streams.poll_timeout().unwrap());
                sent(&mut streams)
            }
            // There is no such thing with ours: the carrier just ends.
            "client session close writes nothing" => sent(&mut streams),
            _ => {
                let id = id.unwrap();
                if client {
                    while streams.open(now) != Some(id) {}
                } else {
                    let syn = Header::bare(Command::Syn, id).encode();
                    streams
                        .handle_input(now, Bytes::copy_from_slice(&syn))
                        .unwrap();
                }
                sent(&mut streams);
                if name.contains("FIN") {
                    streams.finish(id);
                } else if !client {
                    streams.write(id, b"reply");
                } else {
                    let length = case["payload_bytes"].as_u64().unwrap_or(0);
                    streams.write(id, &pattern(length));
                }
                sent(&mut streams)
            }
        };
        match case["frames"].as_array() {
            None => assert_eq!(written, expected(&case), "{name}"),
            Some(frames) => {
                let mut rest = written.as_str();
                for frame in frames {
                    let (one, others) =
                        rest.split_at(2 * frame["total_bytes"].as_u64().unwrap() as usize);
                    assert!(one.starts_with(text(frame, "header")), "{name}");
                    rest = others;
                }
                assert_eq!(rest, "", "{name}");
            }
        }
        seen += 1;
    }
    assert_eq!(seen, 17);
}

/// What a server makes of a case's input, given in pieces that `cut` chooses the sizes of.
fn run(case: &Value, mut cut: impl FnMut() -> usize) {
    let name = text(case, "name");
    let now = Instant::now();
    let mut streams = session(Role::Server, false);
    let mut input = hex(text(case, "input"));
    let (mut opened, mut outcome) = (0, Ok(()));
    while !input.is_empty() && outcome.is_ok() {
        let piece = input.split_to(cut().clamp(1, input.len()));
        outcome = streams.handle_input(now, piece);
        while let Some(event) = streams.poll_event() {
            opened += i32::from(matches!(event, Event::Opened(_)));
        }
    }
    assert_eq!(
        outcome.is_err(),
        !case["session_error"].is_null(),
        "{name}: {outcome:?}"
    );
    assert_eq!(
        opened,
        case["streams_open"].as_i64().unwrap() as i32,
        "{name}"
    );
    for finished in list(&case["streams_finished"]) {
        let id = u32::try_from(finished["stream"].as_u64().unwrap()).unwrap();
        let mut read = Vec::new();
        while let Some(data) = streams.take(id) {
            read.extend_from_slice(&data);
        }
        assert_eq!(to_hex(&read), text(&finished, "read"), "{name}");
        assert!(streams.is_over(id), "{name}");
    }
}

#[test]
fn input_is_read_as_aws_reads_it_however_it_is_cut() {
    let mut rng = fastrand::Rng::with_seed(7);
    for case in cases(&load("smux"), "input_cases", 16) {
        run(&case, || usize::MAX);
        run(&case, || 1);
        for _ in 0..200 {
            run(&case, || rng.usize(1..20));
        }
    }
}
