//! Connections that end while the session goes on.

use std::time::Duration;

use ssmx::channel::{End, Options};
use ssmx::loopback::Loopback;

use super::{Peer, SHELL, Told, aws, open, peer, send, started};

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
    let end = told.until_the_end(&mut channel).await;
    assert!(matches!(end, End::Closed(_)), "{end:?}");
}

#[tokio::test]
async fn resuming_outlasts_errors_of_the_service() {
    let loopback = Loopback::start(peer()).unwrap();
    let (mut channel, mut told) = started(&loopback).await;
    // More than the SDK retries by itself.
    loopback.fail_resumes(4);
    loopback.refuse_upgrades(1);
    loopback.cut();
    let end = told.until(&mut channel, |told| told.resumed == 1).await;
    assert!(end.is_none(), "{end:?}");
    send(&channel, &b"exit\n"[..]).await;
    let end = told.until_the_end(&mut channel).await;
    assert!(matches!(end, End::Closed(_)), "{end:?}");
}

#[tokio::test]
async fn a_refusal_to_resume_ends_the_channel() {
    let loopback = Loopback::start(peer()).unwrap();
    let (mut channel, mut told) = started(&loopback).await;
    loopback.deny_resume(true);
    loopback.cut();
    let end = told.until_the_end(&mut channel).await;
    assert!(matches!(end, End::LostForGood(_)), "{end:?}");
}

#[tokio::test]
async fn a_session_that_is_over_is_not_resumed() {
    let loopback = Loopback::start(peer()).unwrap();
    let aws = aws(&loopback).await;
    let (mut channel, mut told) = started(&loopback).await;
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
