mod arbitrary;

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use super::super::refusal::Why;
use super::*;

/// Greeting, then CONNECT to `db.example:5432`.
const SOCKS: &[u8] = b"\x05\x01\x00\x05\x01\x00\x03\x0adb.example\x15\x38";
const SOCKS_ANSWER: &[u8] = b"\x05\x00\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00";
const CONNECT: &[u8] = b"CONNECT db.example:5432 HTTP/1.1\r\nHost: db.example:5432\r\n\r\n";
const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

/// How a client sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    AtOnce,
    ByteByByte,
}

/// What became of a client.
struct Outcome {
    /// Where it wanted to go, or why not.
    asked: Result<String, Rejected>,
    /// All that it was told.
    told: Vec<u8>,
    /// What it had sent behind its request.
    behind: Vec<u8>,
}

/// Lets a client send all of `input` and then hang up, while its request is granted.
async fn serve(input: &[u8], manner: Manner) -> Outcome {
    serve_with(input, manner, |_| None).await
}

async fn serve_with(
    input: &[u8],
    manner: Manner,
    decide: impl Fn(&Destination) -> Option<Refusal>,
) -> Outcome {
    let (client, mut socket) = duplex(64 * 1024);
    let (mut answers, mut sending) = tokio::io::split(client);
    let input = input.to_vec();
    let client = tokio::spawn(async move {
        let size = match manner {
            Manner::AtOnce => input.len().max(1),
            Manner::ByteByByte => 1,
        };
        for part in input.chunks(size) {
            sending.write_all(part).await.expect("the pipe takes it");
            tokio::task::yield_now().await;
        }
        sending.shutdown().await.expect("the pipe closes");
    });
    let asked = match greet(&mut socket).await {
        Ok(request) => {
            let destination = request.destination().clone();
            match decide(&destination) {
                Some(refusal) => request.refuse(&refusal).await.expect("it takes the answer"),
                None => request.accept().await.expect("it takes the answer"),
            }
            Ok(destination.to_string())
        }
        Err(rejected) => Err(rejected),
    };
    client.await.expect("the client sends all");
    let mut behind = Vec::new();
    socket.read_to_end(&mut behind).await.expect("a pipe reads");
    drop(socket);
    let mut told = Vec::new();
    answers.read_to_end(&mut told).await.expect("a pipe reads");
    Outcome {
        asked,
        told,
        behind,
    }
}

async fn both(input: &[u8], check: impl Fn(Outcome)) {
    for manner in [Manner::AtOnce, Manner::ByteByByte] {
        check(serve(input, manner).await);
    }
}

/// A SOCKS5 client without authentication that sends this request.
fn socks(request: &[u8]) -> Vec<u8> {
    [b"\x05\x01\x00", request].concat()
}

fn status(told: &[u8]) -> String {
    let text = String::from_utf8_lossy(told);
    text.lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn socks_requests_of_every_kind_of_address() {
    let cases: [(&[u8], &str); 4] = [
        (b"\x05\x01\x00\x03\x0adb.example\x15\x38", "db.example:5432"),
        (b"\x05\x01\x00\x01\x0a\x00\x00\x07\x01\xbb", "10.0.0.7:443"),
        (
            b"\x05\x01\x00\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x00\x16",
            "[2001:db8::1]:22",
        ),
        // Addresses as text are addresses, and the reserved byte is nobody's business.
        (b"\x05\x01\xff\x03\x0810.0.0.7\x00\x50", "10.0.0.7:80"),
    ];
    for (request, destination) in cases {
        both(
            &[&socks(request), b"early".as_slice()].concat(),
            |outcome| {
                assert_eq!(outcome.asked.expect("good"), destination);
                assert_eq!(outcome.told, SOCKS_ANSWER);
                assert_eq!(outcome.behind, b"early");
            },
        )
        .await;
    }
}

#[tokio::test]
async fn socks_clients_may_offer_more_than_we_take() {
    let input = [b"\x05\x03\x01\x02\x00", &SOCKS[3..]].concat();
    both(&input, |outcome| {
        assert_eq!(outcome.asked.expect("good"), "db.example:5432");
        assert_eq!(outcome.told, SOCKS_ANSWER);
    })
    .await;
    let all: Vec<u8> = (0..=254).rev().collect();
    let input = [b"\x05\xff", all.as_slice(), &SOCKS[3..]].concat();
    both(&input, |outcome| assert!(outcome.asked.is_ok())).await;
}

#[tokio::test]
async fn what_socks_clients_cannot_have_is_answered() {
    // What follows the greeting's answer.
    let cases: [(&[u8], u8); 8] = [
        (b"\x05\x02\x00\x01\x0a\x00\x00\x07\x01\xbb", 7),
        (b"\x05\x03\x00\x01\x0a\x00\x00\x07\x01\xbb", 7),
        (b"\x05\x09\x00\x01\x0a\x00\x00\x07\x01\xbb", 7),
        (b"\x05\x01\x00\x02\x0a\x00\x00\x07\x01\xbb", 8),
        // No name, no port, no UTF-8, no name's characters.
        (b"\x05\x01\x00\x03\x00\x00\x50", 1),
        (b"\x05\x01\x00\x03\x01a\x00\x00", 1),
        (b"\x05\x01\x00\x03\x02\xff\xfe\x00\x50", 5),
        (b"\x05\x01\x00\x03\x05a b;c\x00\x50", 1),
    ];
    for (request, code) in cases {
        both(&socks(request), |outcome| {
            let rejected = outcome.asked.expect_err("refused");
            assert!(matches!(rejected, Rejected::Socks(_)), "{rejected}");
            assert!(rejected.is_telling());
            assert_eq!(
                outcome.told[..4],
                [5, 0, 5, code],
                "{request:?}: {rejected}"
            );
            assert_eq!(outcome.told.len(), 12);
        })
        .await;
    }
}

#[tokio::test]
async fn clients_that_insist_on_a_password_are_told_no() {
    for greeting in [b"\x05\x01\x02".as_slice(), b"\x05\x00"] {
        both(greeting, |outcome| {
            assert!(matches!(outcome.asked, Err(Rejected::Socks(_))));
            assert_eq!(outcome.told, [5, 0xff]);
        })
        .await;
    }
}

#[tokio::test]
async fn a_version_must_stay_the_same() {
    both(
        &socks(b"\x04\x01\x00\x01\x0a\x00\x00\x07\x01\xbb"),
        |outcome| {
            assert!(matches!(outcome.asked, Err(Rejected::Socks(_))));
        },
    )
    .await;
}

#[tokio::test]
async fn socks_4_is_told_in_its_own_words() {
    both(b"\x04\x01\x00\x50\x0a\x00\x00\x07user\0", |outcome| {
        let rejected = outcome.asked.expect_err("refused");
        assert!(matches!(rejected, Rejected::Socks4));
        assert!(rejected.to_string().contains("SOCKS5"));
        assert_eq!(outcome.told, [0, 91, 0, 0, 0, 0, 0, 0]);
    })
    .await;
}

#[tokio::test]
async fn http_connect() {
    let cases = [
        (
            "CONNECT db.example:5432 HTTP/1.1\r\n\r\n",
            "db.example:5432",
        ),
        (
            "CONNECT db.example:5432 HTTP/1.0\r\nHost: x\r\n\r\n",
            "db.example:5432",
        ),
        ("CONNECT [2001:db8::1]:22 HTTP/1.1\n\n", "[2001:db8::1]:22"),
        (
            "CONNECT 10.0.0.7:443 HTTP/1.1\r\nProxy-Authorization: Basic eDp5\r\nContent-Length: 9\r\n\r\n",
            "10.0.0.7:443",
        ),
    ];
    for (head, destination) in cases {
        both(&[head.as_bytes(), b"early\r\n\r\n"].concat(), |outcome| {
            assert_eq!(outcome.asked.expect(head), destination);
            assert_eq!(outcome.told, ESTABLISHED);
            assert_eq!(outcome.behind, b"early\r\n\r\n");
        })
        .await;
    }
}

#[tokio::test]
async fn other_http_is_answered_with_what_to_do() {
    let many = format!("CONNECT a:1 HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(101));
    let cases = [
        (
            "GET http://db.example/ HTTP/1.1\r\nHost: db.example\r\n\r\n",
            405,
        ),
        (
            "POST http://db.example/ HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody",
            405,
        ),
        ("connect db.example:80 HTTP/1.1\r\n\r\n", 405),
        ("CONNECT db.example HTTP/1.1\r\n\r\n", 400),
        ("CONNECT db.example:0 HTTP/1.1\r\n\r\n", 400),
        ("CONNECT http://db.example/ HTTP/1.1\r\n\r\n", 400),
        ("CONNECT u@db.example:80 HTTP/1.1\r\n\r\n", 400),
        ("CONNECT ::1:80 HTTP/1.1\r\n\r\n", 400),
        ("CONNECT  HTTP/1.1\r\n\r\n", 400),
        ("CONNECT\r\n\r\n", 400),
        ("CONNECT a:1 HTTP/2.0\r\n\r\n", 400),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        ("CONNECT a:1 HTTP/1.1\r\nbad header\r\n\r\n", 400),
        ("CONNECT a:1 HTTP/1.1\r\nA: \x01\r\n\r\n", 400),
        ("SSH-2.0-OpenSSH_9.2p1\r\n\r\n", 400),
        (many.as_str(), 431),
    ];
    for (input, code) in cases {
        both(input.as_bytes(), |outcome| {
            let rejected = outcome.asked.expect_err(input);
            assert!(matches!(rejected, Rejected::Http(_)), "{rejected}");
            let told = String::from_utf8(outcome.told).expect("text");
            let (head, body) = told.split_once("\r\n\r\n").expect("a head");
            assert!(
                head.starts_with(&format!("HTTP/1.1 {code} ")),
                "{input:?}: {told}"
            );
            assert!(head.contains(&format!("Content-Length: {}", body.len())));
            assert_eq!(head.contains("Allow: CONNECT"), code == 405);
            assert_eq!(code == 405, body.contains("socks5h"), "{body}");
            assert_eq!(body.lines().count(), 1);
        })
        .await;
    }
}

#[tokio::test]
async fn heads_have_a_limit() {
    let fill = "x".repeat(http::MAX_HEAD - "CONNECT a:1 HTTP/1.1\r\nA: \r\n\r\n".len());
    let longest = format!("CONNECT a:1 HTTP/1.1\r\nA: {fill}\r\n\r\n");
    let outcome = serve(longest.as_bytes(), Manner::AtOnce).await;
    assert_eq!(outcome.asked.expect("just fits"), "a:1");
    let longer = longest.replace("A: ", "A: y");
    let endless = format!("CONNECT {}", "x".repeat(60 * 1024));
    for input in [longer, endless] {
        let outcome = serve(input.as_bytes(), Manner::AtOnce).await;
        assert!(matches!(outcome.asked, Err(Rejected::Http(_))));
        assert!(status(&outcome.told).contains(" 431 "));
        assert_eq!(outcome.behind.len(), input.len() - http::MAX_HEAD);
    }
}

#[tokio::test]
async fn who_speaks_something_else_hears_nothing() {
    both(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", |outcome| {
        assert!(matches!(outcome.asked, Err(Rejected::Tls)));
        assert!(outcome.told.is_empty());
    })
    .await;
    both(b"\x00\x01", |outcome| {
        assert!(matches!(outcome.asked, Err(Rejected::Unknown(0))));
        assert!(outcome.told.is_empty());
    })
    .await;
}

#[tokio::test]
async fn who_hangs_up_early_is_gone() {
    for whole in [SOCKS, CONNECT] {
        for end in 0..whole.len() {
            let outcome = serve(&whole[..end], Manner::AtOnce).await;
            // A name that is cut short is answered with an error.
            match outcome.asked.expect_err("cut short") {
                Rejected::Gone => {}
                rejected => assert!(matches!(rejected, Rejected::Socks(_)), "{end}: {rejected}"),
            }
        }
    }
    assert!(!Rejected::Gone.is_telling());
}

#[tokio::test(start_paused = true)]
async fn who_does_not_come_to_the_point_is_left() {
    for whole in [SOCKS, CONNECT] {
        for end in 0..whole.len() {
            let (mut client, mut socket) = duplex(1024);
            client.write_all(&whole[..end]).await.expect("it fits");
            let asked = greet(&mut socket).await;
            assert!(matches!(asked, Err(Rejected::TooSlow)), "{end}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_takes_no_answer_is_left() {
    // A pipe that is full from the first byte on.
    let (mut client, socket) = duplex(1024);
    client.write_all(CONNECT).await.expect("it fits");
    let mut socket = Deaf(socket);
    let request = greet(&mut socket).await.expect("a request");
    let refusal = Refusal::new(Why::General, "no");
    assert!(request.refuse(&refusal).await.is_err());
    linger(&mut socket).await;
}

#[tokio::test]
async fn refusals_have_words_in_both_protocols() {
    let cases = [
        (Why::NotAllowed, 2, "HTTP/1.1 403 Forbidden"),
        (Why::HostUnreachable, 4, "HTTP/1.1 502 Bad Gateway"),
        (Why::ConnectionRefused, 5, "HTTP/1.1 502 Bad Gateway"),
        (Why::TimedOut, 6, "HTTP/1.1 504 Gateway Timeout"),
        (Why::Busy, 1, "HTTP/1.1 503 Service Unavailable"),
        (Why::General, 1, "HTTP/1.1 502 Bad Gateway"),
    ];
    for (why, code, line) in cases {
        let decide = |_: &Destination| Some(Refusal::new(why, "because"));
        let outcome = serve_with(SOCKS, Manner::AtOnce, decide).await;
        assert!(outcome.asked.is_ok());
        assert_eq!(outcome.told[2..4], [5, code], "{why:?}");
        let outcome = serve_with(CONNECT, Manner::AtOnce, decide).await;
        assert_eq!(status(&outcome.told), line);
        assert!(outcome.told.ends_with(b"\r\n\r\nbecause\n"));
    }
}

#[tokio::test(start_paused = true)]
async fn lingering_ends_with_the_client_or_in_time() {
    let (client, mut socket) = duplex(1024);
    let before = tokio::time::Instant::now();
    linger(&mut socket).await;
    assert!(before.elapsed() >= LINGER);
    drop(client);
    let before = tokio::time::Instant::now();
    linger(&mut socket).await;
    assert!(before.elapsed() < LINGER);
}

/// A socket that takes nothing.
struct Deaf(DuplexStream);

impl AsyncRead for Deaf {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::pin::Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Deaf {
    fn poll_write(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        _: &[u8],
    ) -> std::task::Poll<io::Result<usize>> {
        std::task::Poll::Pending
    }

    fn poll_flush(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::task::Poll::Pending
    }

    fn poll_shutdown(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::task::Poll::Pending
    }
}
