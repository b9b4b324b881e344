//! A data channel over real sockets, against the embedded peer with faults.

use std::time::Duration;

use sha2::{Digest as _, Sha256};
use ssmx::aws::{Aws, Options as AwsOptions, StartSession};
use ssmx::channel::{Channel, End, Event, Options};
use ssmx::loopback::fault::{Cut, Direction, Faults};
use ssmx::loopback::{Injection, Loopback, Options as Peer};
use ssmx::protocol::SessionType;
use ssmx::protocol::error::SessionError;
use ssmx::protocol::payload::Size;
use tokio::time::timeout;

use crate::support::DEADLINE;

/// Everything that a channel told until its end.
#[derive(Default)]
struct Told {
    kind: Option<SessionType>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    exit_code: Option<i32>,
    messages: Vec<String>,
    lost: usize,
    resumed: usize,
    incomplete: bool,
}

fn peer() -> Peer {
    Peer {
        paced: false,
        ..Peer::default()
    }
}

async fn aws(loopback: &Loopback) -> Aws {
    let environment = loopback.environment().into_iter();
    Aws::load(AwsOptions {
        environment: Some(environment.map(|(k, v)| (k.to_owned(), v)).collect()),
        may_prompt: false,
        ..AwsOptions::default()
    })
    .await
    .expect("the settings of loopback")
}

async fn open(loopback: &Loopback, document: &str, command: &str, options: Options) -> Channel {
    let aws = aws(loopback).await;
    let mut parameters = Vec::new();
    if !command.is_empty() {
        parameters.push(("command".to_owned(), vec![command.to_owned()]));
    }
    if document == NON_INTERACTIVE {
        parameters.push(("separateOutputStream".to_owned(), vec!["true".to_owned()]));
    }
    let grant = aws
        .start_session(&StartSession {
            target: loopback.target().to_owned(),
            document_name: Some(document.to_owned()).filter(|name| !name.is_empty()),
            parameters,
            reason: None,
        })
        .await
        .expect("a session");
    let channel = Channel::open(aws, grant, loopback.target().to_owned(), options);
    let channel = channel.expect("randomness");
    channel.set_size(Size { cols: 80, rows: 24 });
    channel
}

const SHELL: &str = "";
const INTERACTIVE: &str = "AWS-StartInteractiveCommand";
const NON_INTERACTIVE: &str = "AWS-StartNonInteractiveCommand";

async fn next(channel: &mut Channel) -> Option<Event> {
    timeout(DEADLINE, channel.next())
        .await
        .expect("an event in time")
}

impl Told {
    /// Takes events until `enough`, or until the end, which is returned.
    async fn until(
        &mut self,
        channel: &mut Channel,
        enough: impl Fn(&Self) -> bool,
    ) -> Option<End> {
        while !enough(self) {
            match next(channel).await? {
                Event::Started(kind, _) => self.kind = Some(kind),
                Event::Output(data) => self.stdout.extend_from_slice(&data),
                Event::Stderr(data) => self.stderr.extend_from_slice(&data),
                Event::ExitCode(code, _) => self.exit_code = code,
                Event::CustomerMessage(text) => self.messages.push(text),
                Event::Lost(_) => self.lost += 1,
                Event::Resumed => self.resumed += 1,
                Event::Incomplete => self.incomplete = true,
                Event::End(end) => return Some(end),
                Event::Connected | Event::Hindered(_) | Event::Flag(_) => {}
            }
        }
        None
    }

    async fn until_the_end(&mut self, channel: &mut Channel) -> End {
        self.until(channel, |_| false).await.expect("an end")
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

async fn send(channel: &Channel, data: impl Into<bytes::Bytes>) {
    let sender = channel.sender();
    let permit = timeout(DEADLINE, sender.reserve())
        .await
        .expect("room in time");
    permit.expect("a living channel").send(data.into());
}

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
async fn the_hourly_close_is_resumed_with_the_new_url_and_token() {
    let options = Peer {
        stream_url_expires: true,
        require_signature: true,
        ..peer()
    };
    let loopback = Loopback::start(options).unwrap();
    let mut channel = open(&loopback, SHELL, "", Options::default()).await;
    let mut told = Told::default();
    send(&channel, &b"echo fir''st\n"[..]).await;
    let end = told
        .until(&mut channel, |told| told.text().contains("first"))
        .await;
    assert!(end.is_none(), "{end:?}");
    loopback.close(1000, "Bye");
    let end = told.until(&mut channel, |told| told.resumed == 1).await;
    assert!(end.is_none(), "{end:?}");
    send(&channel, &b"echo sec''ond; exit\n"[..]).await;
    told.until_the_end(&mut channel).await;
    assert!(told.text().contains("second"), "{}", told.text());
    let stats = loopback.stats();
    assert_eq!(
        (
            stats.stale_stream_urls,
            stats.bad_tokens,
            stats.upgrades_signed
        ),
        (0, 0, 2)
    );
}

#[tokio::test]
async fn a_silent_gateway_is_noticed_and_replaced() {
    let loopback = Loopback::start(peer()).unwrap();
    let options = Options {
        keepalive: Some(Duration::from_millis(200)),
        ..Options::default()
    };
    let mut channel = open(&loopback, SHELL, "", options).await;
    let mut told = Told::default();
    told.until(&mut channel, |told| told.kind.is_some()).await;
    loopback.stall();
    let end = told.until(&mut channel, |told| told.resumed == 1).await;
    assert!(end.is_none(), "{end:?}");
    send(&channel, &b"exit\n"[..]).await;
    assert!(matches!(
        told.until_the_end(&mut channel).await,
        End::Closed(_)
    ));
}

#[tokio::test]
async fn resuming_outlasts_errors_of_the_service() {
    let loopback = Loopback::start(peer()).unwrap();
    let mut channel = open(&loopback, SHELL, "", Options::default()).await;
    let mut told = Told::default();
    told.until(&mut channel, |told| told.kind.is_some()).await;
    // More than the SDK retries by itself.
    loopback.fail_resumes(4);
    loopback.refuse_upgrades(1);
    loopback.cut();
    let end = told.until(&mut channel, |told| told.resumed == 1).await;
    assert!(end.is_none(), "{end:?}");
    send(&channel, &b"exit\n"[..]).await;
    assert!(matches!(
        told.until_the_end(&mut channel).await,
        End::Closed(_)
    ));
}

#[tokio::test]
async fn a_refusal_to_resume_ends_the_channel() {
    let loopback = Loopback::start(peer()).unwrap();
    let mut channel = open(&loopback, SHELL, "", Options::default()).await;
    let mut told = Told::default();
    told.until(&mut channel, |told| told.kind.is_some()).await;
    loopback.deny_resume(true);
    loopback.cut();
    let end = told.until_the_end(&mut channel).await;
    assert!(matches!(end, End::LostForGood(_)), "{end:?}");
}

#[tokio::test]
async fn a_session_that_is_over_is_not_resumed() {
    let loopback = Loopback::start(peer()).unwrap();
    let aws = aws(&loopback).await;
    let mut channel = open(&loopback, SHELL, "", Options::default()).await;
    let mut told = Told::default();
    told.until(&mut channel, |told| told.kind.is_some()).await;
    // An answer without a token is the service's word for that.
    loopback.script("ResumeSession", 200, "{}");
    loopback.cut();
    let end = told.until_the_end(&mut channel).await;
    assert!(matches!(end, End::TimedOut), "{end:?}");
    let session = loopback.stats().session_id.expect("a session");
    aws.terminate_session(&session)
        .await
        .expect("it can be terminated");
}

#[tokio::test]
async fn a_gateway_that_closes_at_once_is_given_up() {
    let loopback = Loopback::start(peer()).unwrap();
    loopback.close_on_open(Some((1000, "Bye")));
    let mut channel = open(&loopback, SHELL, "", Options::default()).await;
    let mut told = Told::default();
    let end = told.until_the_end(&mut channel).await;
    assert!(
        matches!(end, End::Useless(ref reason) if reason.contains("Bye")),
        "{end:?}"
    );
    assert!(told.resumed > 2);
}

#[tokio::test]
async fn an_agent_that_never_answers_is_given_up() {
    let options = Peer {
        silent_agent: true,
        ..peer()
    };
    let loopback = Loopback::start(options).unwrap();
    let options = Options {
        answer_timeout: Duration::from_millis(300),
        ..Options::default()
    };
    let mut channel = open(&loopback, SHELL, "", options).await;
    let end = Told::default().until_the_end(&mut channel).await;
    assert!(
        matches!(end, End::Failed(SessionError::NoAnswer(_))),
        "{end:?}"
    );
}

#[tokio::test]
async fn a_forbidden_upgrade_names_the_permission() {
    let loopback = Loopback::start(peer()).unwrap();
    loopback.forbid_upgrades(true);
    let mut channel = open(&loopback, SHELL, "", Options::default()).await;
    let End::NotConnected(error) = Told::default().until_the_end(&mut channel).await else {
        panic!("not refused");
    };
    let hint = error.hint().expect("a hint");
    assert!(
        hint.contains("ssmmessages:OpenDataChannel"),
        "{error}: {hint}"
    );
}

#[tokio::test]
async fn garbage_between_messages_is_ignored() {
    let loopback = Loopback::start(peer()).unwrap();
    let mut channel = open(&loopback, SHELL, "", Options::default()).await;
    let mut told = Told::default();
    told.until(&mut channel, |told| told.kind.is_some()).await;
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
