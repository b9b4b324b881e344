//! Connections that lose, double, reorder or cut: no byte goes missing unnoticed.

use std::time::Duration;

use sha2::{Digest as _, Sha256};
use ssmx::channel::{End, Options};
use ssmx::loopback::fault::{Cut, Direction, Faults};
use ssmx::loopback::{Injection, Loopback};

use super::{INTERACTIVE, NON_INTERACTIVE, Peer, Told, open, peer, send, started};
use crate::support::DEADLINE;

/// 2 MB through a terminal, with the connection cut again and again, byte for byte.
#[tokio::test]
async fn no_byte_of_output_is_lost_or_doubled_over_cuts() {
    let cuts = [40_000, 1, 300_000, 125, 200_000, 60_000].map(Cut::AfterBytes);
    let options = Peer {
        faults: Faults {
            cuts: cuts.to_vec(),
            ..Faults::default()
        },
        resend_tick: Duration::from_millis(2),
        ..peer()
    };
    let loopback = Loopback::start(options).unwrap();
    let command = "stty -opost; seq 1 300000";
    let mut channel = open(&loopback, INTERACTIVE, command, Options::default()).await;
    let mut told = Told::default();
    let end = told.until_the_end(&mut channel).await;
    assert!(
        matches!(end, End::Closed(ref output) if output.is_empty()),
        "{end:?}"
    );
    let expected: String = (1..=300_000).map(|n| format!("{n}\n")).collect();
    assert_eq!(told.stdout.len(), expected.len());
    assert!(
        told.stdout == expected.as_bytes(),
        "same length, other bytes"
    );
    assert_eq!((told.lost, told.resumed), (6, 6));
    assert_eq!(loopback.stats().resumes, 6);
}

/// What `typed_digest` types, and what the other side makes of it.
async fn typed_digest(options: Peer) -> (usize, Loopback) {
    const LENGTH: usize = 1_000_000;
    let loopback = Loopback::start(options).unwrap();
    let command = format!("stty raw -echo; echo ready; head -c {LENGTH} | sha256sum");
    let mut channel = open(&loopback, INTERACTIVE, &command, Options::default()).await;
    let mut told = Told::default();
    let end = told
        .until(&mut channel, |told| told.text().contains("ready"))
        .await;
    assert!(end.is_none(), "{end:?}");
    let typed: Vec<u8> = (0..LENGTH).map(|n| (n * 31 % 251) as u8).collect();
    let sender = channel.sender();
    let data = typed.clone();
    let typing = tokio::spawn(async move {
        for piece in data.chunks(64 * 1024) {
            sender.reserve().await.unwrap().send(piece.to_vec().into());
        }
    });
    let end = told.until_the_end(&mut channel).await;
    typing.await.unwrap();
    assert!(matches!(end, End::Closed(_)), "{end:?}");
    let digest = Sha256::digest(&typed);
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(told.text().contains(&digest), "{}", told.text());
    (told.resumed, loopback)
}

#[tokio::test]
async fn a_megabyte_of_typing_arrives_whole() {
    let (resumed, _) = typed_digest(peer()).await;
    assert_eq!(resumed, 0);
}

#[tokio::test]
async fn a_megabyte_of_typing_survives_cuts() {
    let cuts = [100_000, 150_000, 1_000, 250_000].map(Cut::AfterBytes);
    let options = Peer {
        faults: Faults {
            cuts: cuts.to_vec(),
            ..Faults::default()
        },
        resend_tick: Duration::from_millis(2),
        ..peer()
    };
    let (resumed, _) = typed_digest(options).await;
    assert_eq!(resumed, 4);
}

#[tokio::test]
async fn losses_doubles_and_disorder_change_nothing() {
    let faults = Direction {
        drop: 0.01,
        duplicate: 0.02,
        delay: 0.02,
        max_delay: Duration::from_millis(20),
        reorder: 0.02,
    };
    let options = Peer {
        faults: Faults::both(7, faults),
        resend_tick: Duration::from_millis(2),
        drain: Duration::from_secs(30),
        ..peer()
    };
    let (_, loopback) = typed_digest(options.clone()).await;
    let stats = loopback.stats();
    assert!(
        stats.dropped > 0 && stats.duplicated > 0 && stats.reordered > 0,
        "{stats:?}"
    );
    let loopback = Loopback::start(options).unwrap();
    let command = "seq 1 100000";
    let mut channel = open(&loopback, NON_INTERACTIVE, command, Options::default()).await;
    let mut told = Told::default();
    told.until_the_end(&mut channel).await;
    let expected: String = (1..=100_000).map(|n| format!("{n}\n")).collect();
    assert!(
        told.stdout == expected.as_bytes(),
        "{} bytes",
        told.stdout.len()
    );
    assert_eq!(told.exit_code, Some(0));
}

/// Agents have no window: behind a loss they run as far ahead as the command goes, and only what
/// is held meanwhile need not be sent again, one message at a time.
#[tokio::test]
async fn an_agent_may_run_far_ahead_of_a_loss() {
    const LENGTH: usize = 20_000_000;
    let faults = Direction {
        drop: 0.000_5,
        ..Direction::default()
    };
    let options = Peer {
        faults: Faults {
            seed: 11,
            to_client: faults,
            ..Faults::default()
        },
        drain: DEADLINE,
        ..peer()
    };
    let loopback = Loopback::start(options).unwrap();
    let command = format!("head -c {LENGTH} /dev/zero");
    let mut channel = open(&loopback, NON_INTERACTIVE, &command, Options::default()).await;
    let mut told = Told::default();
    told.until_the_end(&mut channel).await;
    assert_eq!((told.stdout.len(), told.incomplete), (LENGTH, false));
    assert!(loopback.stats().dropped > 0);
}

/// An agent that gives up before it has sent everything again: what there is comes in order and
/// without a gap, and the loss is told.
#[tokio::test]
async fn output_that_the_agent_gives_up_is_told_to_be_missing() {
    let faults = Direction {
        drop: 0.2,
        ..Direction::default()
    };
    let options = Peer {
        faults: Faults {
            seed: 3,
            to_client: faults,
            ..Faults::default()
        },
        drain: Duration::from_millis(20),
        ..peer()
    };
    let loopback = Loopback::start(options).unwrap();
    let command = "seq 1 100000";
    let mut channel = open(&loopback, NON_INTERACTIVE, command, Options::default()).await;
    let mut told = Told::default();
    let end = told.until_the_end(&mut channel).await;
    assert!(matches!(end, End::Closed(_)), "{end:?}");
    assert!(told.incomplete);
    let expected: String = (1..=100_000).map(|n| format!("{n}\n")).collect();
    assert!(told.stdout.len() < expected.len());
    assert!(expected.as_bytes().starts_with(&told.stdout));
}

#[tokio::test]
async fn garbage_between_messages_is_ignored() {
    let loopback = Loopback::start(peer()).unwrap();
    let (mut channel, mut told) = started(&loopback).await;
    for length in [0, 1, 115, 116, 119, 120, 200, 100_000] {
        loopback.inject(&Injection::Binary(vec![0x74; length].into()));
        loopback.inject(&Injection::Text("garbage".repeat(length / 7)));
    }
    send(&channel, &b"echo st''ill; exit\n"[..]).await;
    let end = told.until_the_end(&mut channel).await;
    assert!(matches!(end, End::Closed(_)), "{end:?}");
    assert!(told.text().contains("still"), "{}", told.text());
    assert_eq!(told.lost, 0);
}
