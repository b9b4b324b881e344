//! A real session, opened, measured and ended.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::super::report::{self, FAILURE, REFUSED};
use super::advice;
use super::check::Check;
use crate::aws::{Aws, SessionGrant, StartSession};
use crate::channel::{Channel, ConnectError, End, Event, Options};
use crate::protocol::payload::Size;

const ID: &str = "deep.session";
/// For StartSession, and for the end.
const CALL: Duration = Duration::from_secs(5);
/// Until the agent has said what the session is.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// A terminal like any other.
const SIZE: Size = Size { cols: 80, rows: 24 };

/// Opens a session on a target and ends it.
pub async fn check(aws: &Aws, target: &str) -> Check {
    let request = StartSession {
        target: target.to_owned(),
        reason: Some("ssmx doctor".to_owned()),
        ..StartSession::default()
    };
    let grant = match timeout(CALL, aws.start_session(&request)).await {
        Ok(Ok(grant)) => grant,
        Ok(Err(error)) => {
            return Check::failed(ID, report::aws_status(&error), error.to_string())
                .maybe_fix(advice(error.hint()));
        }
        Err(_) => {
            let text = format!("StartSession gave no answer within {} s", CALL.as_secs());
            return Check::failed(ID, FAILURE, text)
                .fix("check the network, HTTPS_PROXY and NO_PROXY");
        }
    };
    let id = grant.session_id.clone();
    let check = open(aws, grant, target).await;
    // Whatever the agent was told: it must not stay.
    if let Ok(Err(error)) = timeout(CALL, aws.terminate_session(&id)).await {
        tracing::debug!(%error, "the session could not be terminated");
    }
    check.detail("SessionId", id)
}

async fn open(aws: &Aws, grant: SessionGrant, target: &str) -> Check {
    let begun = Instant::now();
    let opened = Channel::open(aws.clone(), grant, target.to_owned(), Options::default());
    let mut channel = match opened {
        Ok(channel) => channel,
        Err(error) => {
            return Check::failed(
                ID,
                FAILURE,
                format!("cannot open the data channel: {error}"),
            );
        }
    };
    let mut is_connected = false;
    let started = async {
        loop {
            match channel.next().await {
                Some(Event::Started(..)) => return Ok(()),
                Some(Event::Connected) => is_connected = true,
                Some(Event::End(end)) => return Err(Some(end)),
                None => return Err(None),
                Some(_) => {}
            }
        }
    };
    match timeout(HANDSHAKE, started).await {
        Ok(Ok(())) => {}
        Ok(Err(end)) => return ended(end),
        Err(_) => return silent(is_connected),
    }
    let handshake = begun.elapsed();
    let mut text = format!(
        "a session started: connection and handshake took {}",
        millis(handshake)
    );
    let trip = timeout(CALL, round_trip(&mut channel))
        .await
        .unwrap_or_default();
    if let Some(trip) = trip {
        text.push_str(&format!(", the way to the node and back {}", millis(trip)));
    }
    channel.close().await;
    let number = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    Check::ok(ID, text)
        .detail("HandshakeMilliseconds", number(handshake))
        .detail("RoundTripMilliseconds", trip.map(number))
}

/// How long the terminal's size, which every shell is told, took to be acknowledged.
async fn round_trip(channel: &mut Channel) -> Option<Duration> {
    channel.set_size(SIZE);
    loop {
        // Nothing is there to be acknowledged until the size has gone out, which is at once.
        let flushed = channel.flush();
        if !beside(channel, flushed).await? {
            return None;
        }
        let asked = channel.figures();
        let figures = beside(channel, asked).await??;
        if figures.round_trip.is_some() {
            return figures.round_trip;
        }
    }
}

/// Waits for something while the session says what it likes; none if that is its end.
async fn beside<T>(channel: &mut Channel, wanted: impl Future<Output = T>) -> Option<T> {
    tokio::pin!(wanted);
    loop {
        tokio::select! {
            done = &mut wanted => return Some(done),
            event = channel.next() => match event {
                Some(Event::End(_)) | None => return None,
                Some(_) => {}
            },
        }
    }
}

fn millis(time: Duration) -> String {
    match time.as_millis() {
        0..10 => format!("{:.1} ms", time.as_secs_f64() * 1e3),
        millis => format!("{millis} ms"),
    }
}

fn silent(is_connected: bool) -> Check {
    let within = HANDSHAKE.as_secs();
    match is_connected {
        true => Check::failed(ID, FAILURE, format!("the agent did not answer within {within} s"))
            .fix("restart the agent on the node, and see its log (/var/log/amazon/ssm/amazon-ssm-agent.log)"),
        false => Check::failed(ID, FAILURE, format!("no connection to the message gateway within {within} s"))
            .fix("allow TCP 443 and WebSockets to ssmmessages, in firewalls, proxies and the VPC endpoint"),
    }
}

fn ended(end: Option<End>) -> Check {
    let failed =
        |why: String| Check::failed(ID, FAILURE, format!("the session did not start: {why}"));
    match end {
        Some(End::NotConnected(error)) => {
            let is_denied =
                matches!(&error, ConnectError::Refused { status, .. } if status.as_u16() == 403);
            let hint = error.hint();
            let text = format!("the session did not start: {error}");
            match is_denied {
                true => Check::failed(ID, REFUSED, text)
                    .fix("add to the caller's policy: {\"Effect\":\"Allow\",\"Action\":\"ssmmessages:OpenDataChannel\",\"Resource\":\"arn:aws:ssm:*:*:session/${aws:userid}-*\"}; and check this machine's clock"),
                false => Check::failed(ID, FAILURE, text).maybe_fix(advice(hint)),
            }
        }
        Some(End::Closed(why)) if !why.is_empty() => failed(why),
        Some(End::Failed(error)) => failed(error.to_string()),
        Some(End::Useless(why)) => failed(why),
        Some(End::LostForGood(error)) => failed(error.to_string()),
        _ => failed("it was ended at once".to_owned()),
    }
}
