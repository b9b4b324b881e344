//! What a session is made of: streams, statuses, sizes, keys, flushes.

use std::time::Duration;

use ssmx::channel::{End, Options};
use ssmx::loopback::Loopback;
use ssmx::protocol::SessionType;
use ssmx::protocol::payload::Size;
use tokio::time::timeout;

use super::{INTERACTIVE, NON_INTERACTIVE, Peer, SHELL, Told, next, open, peer, send};
use crate::support::DEADLINE;

#[tokio::test]
async fn a_command_keeps_its_streams_apart_and_tells_its_status() {
    let loopback = Loopback::start(peer()).unwrap();
    let command = "sh -c 'echo out; echo err >&2; exit 3'";
    let mut channel = open(&loopback, NON_INTERACTIVE, command, Options::default()).await;
    let mut told = Told::default();
    let end = told.until_the_end(&mut channel).await;
    assert!(
        matches!(end, End::Closed(ref output) if output.is_empty()),
        "{end:?}"
    );
    assert_eq!(told.kind, Some(SessionType::NonInteractiveCommands));
    assert_eq!(told.stdout, b"out\n");
    assert_eq!(told.stderr, b"err\n");
    assert_eq!(told.exit_code, Some(3));
    assert!(
        next(&mut channel).await.is_none(),
        "nothing comes after the end"
    );
    let stats = loopback.stats();
    assert_eq!((stats.upgrades_signed, stats.upgrades_unsigned), (1, 0));
    assert_eq!(stats.client_version.as_deref(), Some("1.2.896.0"));
    assert_eq!(stats.handshake_version.as_deref(), Some("1.2.896.0"));
}

#[tokio::test]
async fn a_shell_takes_input_and_knows_the_size() {
    let loopback = Loopback::start(peer()).unwrap();
    let mut channel = open(&loopback, SHELL, "", Options::default()).await;
    channel.set_size(Size { cols: 91, rows: 17 });
    send(&channel, &b"stty size; exit\n"[..]).await;
    let mut told = Told::default();
    let end = told.until_the_end(&mut channel).await;
    assert!(matches!(end, End::Closed(_)), "{end:?}");
    assert_eq!(told.kind, Some(SessionType::StandardStream));
    assert!(told.text().contains("17 91"), "{}", told.text());
}

#[tokio::test]
async fn kms_sessions_are_encrypted_both_ways() {
    let options = Peer {
        kms: true,
        ..peer()
    };
    let loopback = Loopback::start(options).unwrap();
    let mut channel = open(&loopback, SHELL, "", Options::default()).await;
    send(&channel, &b"echo $((6*7)); exit\n"[..]).await;
    let mut told = Told::default();
    let end = told.until_the_end(&mut channel).await;
    assert!(
        matches!(end, End::Closed(ref output) if output.is_empty()),
        "{end:?}"
    );
    assert_eq!(told.messages, ["This session is encrypted using AWS KMS."]);
    assert!(told.text().contains("42"), "{}", told.text());
}

#[tokio::test]
async fn without_data_keys_the_agent_says_why_it_refuses() {
    let options = Peer {
        kms: true,
        ..peer()
    };
    let loopback = Loopback::start(options).unwrap();
    let no_data_keys = Some("no keys here".to_owned());
    let options = Options {
        no_data_keys,
        ..Options::default()
    };
    let mut channel = open(&loopback, SHELL, "", options).await;
    let end = Told::default().until_the_end(&mut channel).await;
    assert!(
        matches!(end, End::Closed(ref output) if output.contains("no keys here")),
        "{end:?}"
    );
}

#[tokio::test]
async fn a_flush_ends_with_the_acknowledgement_of_what_went_before() {
    let loopback = Loopback::start(peer()).unwrap();
    let mut channel = open(&loopback, INTERACTIVE, "cat", Options::default()).await;
    // Nothing was handed over, and yet the session has to be in force.
    let flushed = timeout(DEADLINE, channel.flush()).await;
    assert_eq!(flushed, Ok(true));
    loopback.stall();
    send(&channel, "typed\n").await;
    let mut flush = Box::pin(channel.flush());
    let short = Duration::from_millis(300);
    assert!(timeout(short, &mut flush).await.is_err(), "nothing came");
    // Those that nobody waits for any more do not pile up.
    for _ in 0..1000 {
        assert!(timeout(Duration::ZERO, channel.flush()).await.is_err());
    }
    loopback.unstall();
    assert_eq!(timeout(DEADLINE, flush).await, Ok(true));
    loopback.stall();
    send(&channel, "never heard of\n").await;
    let flush = tokio::spawn(channel.flush());
    loopback.end_sessions("");
    loopback.unstall();
    let mut told = Told::default();
    told.until_the_end(&mut channel).await;
    assert!(timeout(DEADLINE, flush).await.is_ok());
    assert_eq!(timeout(DEADLINE, channel.flush()).await, Ok(false));
    assert!(channel.sender().reserve().await.is_err());
}

#[tokio::test]
async fn a_flood_of_output_does_not_keep_an_interrupt_waiting() {
    let loopback = Loopback::start(peer()).unwrap();
    let command = "sh -c 'trap \"echo caught; exit\" INT; while :; do echo spam spam spam; done'";
    let mut channel = open(&loopback, INTERACTIVE, command, Options::default()).await;
    let mut told = Told::default();
    told.until(&mut channel, |told| told.stdout.len() > 100_000)
        .await;
    send(&channel, &[0x03][..]).await;
    let end = told.until_the_end(&mut channel).await;
    assert!(matches!(end, End::Closed(_)), "{end:?}");
    assert!(
        told.text().trim_end().ends_with("caught"),
        "…{:?}",
        &told.text()[told.text().len() - 80..]
    );
}
