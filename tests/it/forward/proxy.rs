//! The SOCKS5 and HTTP CONNECT proxy, through loopback.

#[cfg(unix)]
mod curl;
mod running;

use std::time::{Duration, Instant};

use ssmx::loopback::Options as Peer;
use ssmx::session::forward::report::{Gone, Notice};
use tokio::io::AsyncWriteExt as _;

use running::*;

#[tokio::test]
async fn names_and_addresses_over_both_protocols() {
    let port = echo_server().await;
    let mut running = start().await;
    let mut named = running.through("one.internal", port).await;
    echo(&mut named, "hello").await;
    let told = running.told(opened).await;
    assert_eq!(told, format!("one.internal:{port}"));
    // The node itself, which is no remote host.
    for host in ["localhost", "127.0.0.1", "127.0.0.2", "::1"] {
        let mut stream = running.through(host, port).await;
        echo(&mut stream, host).await;
    }
    let mut stream = running.connect().await;
    let request = format!("CONNECT One.Internal:{port} HTTP/1.1\r\nHost: x\r\n\r\nearly");
    stream.write_all(request.as_bytes()).await.unwrap();
    let established = "HTTP/1.1 200 Connection established\r\n\r\nearly";
    assert_eq!(
        read(&mut stream, established.len()).await,
        established.as_bytes()
    );
    echo(&mut stream, "late").await;
    echo(&mut named, "still here").await;
    let stats = running.loopback.stats();
    assert_eq!(stats.started, 5);
    running.stop().await;
}

#[tokio::test]
async fn what_is_sent_early_is_not_lost() {
    let port = echo_server().await;
    let running = start().await;
    let mut stream = running.connect().await;
    let mut bytes = socks_request("one.internal", port);
    bytes.extend(b"early");
    // As slowly as can be.
    for byte in bytes {
        stream.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let expected = [b"\x05\x00".as_slice(), &CONNECTED, b"early"].concat();
    assert_eq!(read(&mut stream, expected.len()).await, expected);
    running.stop().await;
}

#[tokio::test]
async fn sessions_start_side_by_side_and_are_shared() {
    let port = echo_server().await;
    let running = start().await;
    // No answer to StartSession: all of them wait at the same time.
    running.loopback.hold(Some("StartSession"));
    let clients = HOSTS.iter().cycle().take(20).map(|host| async {
        let mut stream = running.through(host, port).await;
        echo(&mut stream, host).await;
        stream
    });
    let clients = futures_util::future::join_all(clients);
    let release = async {
        running.wait_for(|stats| stats.started == 5).await;
        running.loopback.hold(None);
    };
    let (streams, ()) = tokio::join!(clients, release);
    let stats = running.loopback.stats();
    assert_eq!((stats.started, stats.dialled), (5, 20));
    drop(streams);
    running.stop().await;
}

#[tokio::test]
async fn what_nobody_uses_is_closed() {
    let port = echo_server().await;
    let idle = Duration::from_millis(300);
    let mut running = start_with(peer(), |setup| setup.options.idle = Some(idle)).await;
    let mut stream = running.through("one.internal", port).await;
    // In use for longer than that.
    tokio::time::sleep(idle * 2).await;
    echo(&mut stream, "hello").await;
    assert_eq!(running.loopback.stats().ended, 0);
    drop(stream);
    let (destination, why) = running.told(closed).await;
    assert_eq!(destination, format!("one.internal:{port}"));
    assert!(why.starts_with("unused"), "{why}");
    running.wait_for(|stats| stats.ended == 1).await;
    let mut stream = running.through("one.internal", port).await;
    echo(&mut stream, "again").await;
    assert_eq!(running.loopback.stats().started, 2);
    running.stop().await;
}

#[tokio::test]
async fn there_are_so_many_sessions_and_no_more() {
    let port = echo_server().await;
    let mut running = start_with(peer(), |setup| setup.options.sessions = 2).await;
    let first = running.through("one.internal", port).await;
    let mut second = running.through("two.internal", port).await;
    let (_, code) = running.socks("three.internal", port).await;
    assert_eq!(code, 1);
    let connect = format!("CONNECT three.internal:{port} HTTP/1.1\r\n\r\n");
    let answer = running.ask(&connect).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("2 destinations"), "{answer}");
    for _ in 0..2 {
        let (_, why) = running.told(rejected).await;
        assert!(
            why.contains("three.internal") && why.contains("2 destinations"),
            "{why}"
        );
    }
    // Known ones are not kept out.
    drop(running.through("two.internal", port).await);
    drop(first);
    let end_of_first = |notice| match notice {
        Notice::Disconnected { peer, .. } => peer.contains("one.internal").then_some(()),
        _ => None,
    };
    running.told(end_of_first).await;
    let mut third = running.through("three.internal", port).await;
    echo(&mut third, "hello").await;
    echo(&mut second, "hello").await;
    let (destination, why) = running.told(closed).await;
    assert_eq!(destination, format!("one.internal:{port}"));
    assert!(why.contains("place"), "{why}");
    running.stop().await;
}

#[tokio::test]
async fn those_who_wait_for_one_destination_keep_nobody_else_out() {
    let port = echo_server().await;
    let running = start().await;
    running.loopback.hold(Some("StartSession"));
    let connect = |host: &str| format!("CONNECT {host}:{port} HTTP/1.1\r\n\r\n");
    let mut waiting = Vec::new();
    for _ in 0..300 {
        let mut stream = running.connect().await;
        let request = connect("one.internal");
        stream.write_all(request.as_bytes()).await.unwrap();
        waiting.push(stream);
    }
    let mut other = running.connect().await;
    let request = connect("two.internal");
    other.write_all(request.as_bytes()).await.unwrap();
    running.wait_for(|stats| stats.started == 2).await;
    // Those who hang up make room for others.
    let answer = running.ask(&connect("one.internal")).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    drop(waiting);
    let mut late = loop {
        let mut stream = running.connect().await;
        let request = connect("one.internal");
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = tokio::time::timeout(Duration::from_millis(300), stream.readable()).await;
        if answer.is_err() {
            break stream;
        }
    };
    running.loopback.hold(None);
    let established = "HTTP/1.1 200 Connection established\r\n\r\n";
    for stream in [&mut late, &mut other] {
        assert_eq!(
            read(stream, established.len()).await,
            established.as_bytes()
        );
        echo(stream, "hello").await;
    }
    running.stop().await;
}

#[tokio::test]
async fn sessions_may_be_kept_for_ever() {
    let port = echo_server().await;
    let running = start_with(peer(), |setup| setup.options.idle = None).await;
    drop(running.through("one.internal", port).await);
    let mut stream = running.through("one.internal", port).await;
    echo(&mut stream, "hello").await;
    assert_eq!(running.loopback.stats().started, 1);
    running.stop().await;
}

#[tokio::test]
async fn failures_are_told_in_the_words_of_the_protocol() {
    let mut running = start_with(peer(), |setup| setup.patience = Duration::ZERO).await;
    // Agents say so after the handshake.
    let (_, code) = running.socks("169.254.169.254", 80).await;
    assert_eq!(code, 2);
    let (destination, why) = running.told(failed).await;
    assert_eq!(destination, "169.254.169.254:80");
    assert!(why.contains("is forbidden"), "{why}");
    let answer = running
        .ask("CONNECT 169.254.169.254:80 HTTP/1.1\r\n\r\n")
        .await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    assert!(answer.contains("is forbidden"), "{answer}");
    // The document takes no shorter names.
    let (_, code) = running.socks("ab", 80).await;
    assert_eq!(code, 1);
    let target = running.loopback.target().to_owned();
    running.loopback.set_online(&target, false);
    let (_, code) = running.socks("one.internal", 80).await;
    assert_eq!(code, 4);
    let answer = running
        .ask("CONNECT one.internal:80 HTTP/1.1\r\n\r\n")
        .await;
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    assert!(answer.contains("TargetNotConnected"), "{answer}");
    running.loopback.set_online(&target, true);
    let port = echo_server().await;
    let mut stream = running.through("one.internal", port).await;
    echo(&mut stream, "back").await;
    running.stop().await;
}

#[tokio::test]
async fn a_name_without_an_address_is_refused_at_once() {
    let port = echo_server().await;
    let mut running = start().await;
    let host = "no-such-host.invalid";
    let began = Instant::now();
    let (_, code) = running.socks(host, port).await;
    assert_eq!(code, 4);
    let (destination, why) = running.told(failed).await;
    assert_eq!(destination, format!("{host}:{port}"));
    let text = format!("lookup {host}: no such host");
    assert!(why.ends_with(&text), "{why}");
    // Who comes later has it tried again, once.
    let connect = format!("CONNECT {host}:{port} HTTP/1.1\r\n\r\n");
    let answer = running.ask(&connect).await;
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    assert!(answer.contains(&text), "{answer}");
    assert_eq!(running.loopback.stats().started, 2);
    assert!(began.elapsed() < Duration::from_secs(10));
    let mut stream = running.through("one.internal", port).await;
    echo(&mut stream, "hello").await;
    running.stop().await;
}

#[tokio::test]
async fn agents_that_look_names_up_late_refuse_each_connection() {
    let peer = Peer {
        late_lookup: true,
        ..peer()
    };
    let running = start_with(peer, |_| {}).await;
    for _ in 0..2 {
        let mut stream = running.through("no-such-host.invalid", 80).await;
        assert!(end(&mut stream).await.is_err(), "an end in order");
    }
    assert_eq!(running.loopback.stats().started, 1);
    running.stop().await;
}

#[tokio::test]
async fn a_target_that_comes_back_in_time_is_no_failure() {
    let port = echo_server().await;
    let mut running = start().await;
    let target = running.loopback.target().to_owned();
    running.loopback.set_online(&target, false);
    let mut stream = running.connect().await;
    let request = socks_request("one.internal", port);
    stream.write_all(&request).await.unwrap();
    let restarting = |notice| match notice {
        Notice::Restarting { why, .. } => Some(why),
        _ => None,
    };
    let why = running.told(restarting).await;
    assert!(why.starts_with("one.internal:") && why.contains("TargetNotConnected"));
    running.loopback.set_online(&target, true);
    assert_eq!(read(&mut stream, 12).await[2..], CONNECTED);
    echo(&mut stream, "back").await;
    running.stop().await;
}

#[tokio::test]
async fn a_destination_that_refuses_is_a_reset_of_that_connection() {
    let port = echo_server().await;
    let mut running = start().await;
    let refusing = closed_port();
    let mut other = running.through("one.internal", port).await;
    let mut stream = running.through("one.internal", refusing).await;
    assert!(end(&mut stream).await.is_err(), "an end in order");
    let refused = |notice| match notice {
        Notice::Disconnected {
            peer,
            how: Gone::Refused,
            ..
        } => Some(peer),
        _ => None,
    };
    let peer = running.told(refused).await;
    assert!(
        peer.ends_with(&format!("to one.internal:{refusing}")),
        "{peer}"
    );
    echo(&mut other, "hello").await;
    running.stop().await;
}

#[tokio::test]
async fn a_session_that_the_service_ends_is_followed_by_another() {
    let port = echo_server().await;
    let mut running = start().await;
    let mut stream = running.through("one.internal", port).await;
    echo(&mut stream, "hello").await;
    running.loopback.cut();
    echo(&mut stream, "survives a cut").await;
    running.loopback.end_sessions("");
    assert!(end(&mut stream).await.is_err(), "an end in order");
    let (destination, _) = running.told(closed).await;
    assert_eq!(destination, format!("one.internal:{port}"));
    let mut stream = running.through("one.internal", port).await;
    echo(&mut stream, "again").await;
    assert_eq!(running.loopback.stats().started, 2);
    running.stop().await;
}

#[tokio::test]
async fn old_agents_carry_one_connection_at_a_time() {
    let port = echo_server().await;
    let old = Peer {
        agent_version: "3.0.196.0".to_owned(),
        ..peer()
    };
    let running = start_with(old, |_| {}).await;
    for text in ["first", "second"] {
        let mut stream = running.through("one.internal", port).await;
        echo(&mut stream, text).await;
    }
    assert_eq!(running.loopback.stats().started, 1);
    running.stop().await;
}

#[tokio::test]
async fn a_proxy_that_is_stopped_leaves_nothing_behind() {
    let port = echo_server().await;
    let running = start().await;
    let mut carried = running.through("one.internal", port).await;
    echo(&mut carried, "hello").await;
    // One that has said nothing, and one that waits for its session.
    let mut silent = running.connect().await;
    running.loopback.hold(Some("StartSession"));
    let mut waiting = running.connect().await;
    let request = socks_request("two.internal", port);
    waiting.write_all(&request).await.unwrap();
    running.wait_for(|stats| stats.started == 2).await;
    running.stopper.leave();
    running.loopback.hold(None);
    running.stop().await;
    assert!(!matches!(end(&mut silent).await, Ok(1..)));
    assert!(end(&mut carried).await.is_err());
    assert_eq!(read(&mut waiting, 2).await, [5, 0]);
    assert!(!matches!(end(&mut waiting).await, Ok(1..)));
}

#[tokio::test]
async fn clients_that_make_no_sense_are_told_of() {
    let mut running = start().await;
    let answer = running
        .ask("GET http://one.internal/ HTTP/1.1\r\n\r\n")
        .await;
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    let (peer, why) = running.told(rejected).await;
    assert!(peer.starts_with("127.0.0.1:"), "{peer}");
    assert!(why.contains("CONNECT"), "{why}");
    let answer = running.ask("\u{4}\u{1}").await;
    assert_eq!(answer, "\0[\0\0\0\0\0\0", "SOCKS4's own no");
    assert_eq!(running.loopback.stats().started, 0);
    running.stop().await;
}
