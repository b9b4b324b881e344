//! Two sessions back to back, with real sockets behind them; and a peer that is not ours.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// Moves what `from` has to say to `to`, in pieces of `size` bytes.
async fn carry(from: Mux, to: Mux, size: usize) {
    loop {
        from.output().await;
        while let Some(mut frames) = from.take_output(16 * 1024) {
            while !frames.is_empty() {
                to.room().await;
                let piece = frames.split_to(size.min(frames.len()));
                to.receive(piece).unwrap();
            }
        }
        if let Some(question) = from.question() {
            from.confirm(question);
        }
        tokio::task::yield_now().await;
    }
}

/// A client and a server session, joined.
fn pair(size: usize) -> (Mux, Mux) {
    let client = Mux::new(Config::new(Role::Client, false));
    let server = Mux::new(Config::new(Role::Server, false));
    tokio::spawn(carry(client.clone(), server.clone(), size));
    tokio::spawn(carry(server.clone(), client.clone(), size));
    (client, server)
}

async fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connecting = TcpStream::connect(listener.local_addr().unwrap());
    let (connected, accepted) = tokio::join!(connecting, listener.accept());
    (connected.unwrap(), accepted.unwrap().0)
}

/// One forwarded connection: the application's ends here and there, and how the relays end.
async fn forwarded(
    client: &Mux,
    server: &Mux,
) -> (
    TcpStream,
    TcpStream,
    JoinHandle<Relayed>,
    JoinHandle<Relayed>,
) {
    let (here, local) = tcp().await;
    let (remote, there) = tcp().await;
    let opened = client.open().unwrap();
    let at_client = tokio::spawn(relay(opened, local, HalfClose::Hold));
    let accepted = server.accept().await.unwrap();
    let at_server = tokio::spawn(relay(accepted, remote, HalfClose::Full));
    (here, there, at_client, at_server)
}

fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(seed);
    (0..length).map(|_| rng.u8(..)).collect()
}

#[tokio::test]
async fn connections_carry_bytes_both_ways_at_once() {
    let (client, server) = pair(1000);
    let mut applications = Vec::new();
    for seed in 0..20 {
        let (here, there, at_client, at_server) = forwarded(&client, &server).await;
        for (seed, socket) in [(seed, here), (seed + 100, there)] {
            let length = 100_000;
            let (mut read, mut write) = socket.into_split();
            let expected = noise(if seed < 100 { seed + 100 } else { seed - 100 }, length);
            let data = noise(seed, length);
            applications.push(tokio::spawn(async move {
                let mut got = vec![0; length];
                let (wrote, read_all) =
                    tokio::join!(write.write_all(&data), read.read_exact(&mut got));
                wrote.unwrap();
                read_all.unwrap();
                assert!(got == expected, "connection {seed}");
            }));
        }
        applications.push(tokio::spawn(async move {
            at_client.await.unwrap();
            at_server.await.unwrap();
        }));
    }
    for application in applications {
        application.await.unwrap();
    }
    assert_eq!((client.streams(), server.streams()), (0, 0));
}

#[tokio::test]
async fn an_answer_behind_the_end_of_input_arrives() {
    let (client, server) = pair(1024);
    let (mut here, mut there, at_client, _) = forwarded(&client, &server).await;
    here.write_all(b"question").await.unwrap();
    here.shutdown().await.unwrap();
    let mut question = [0; 8];
    there.read_exact(&mut question).await.unwrap();
    tokio::time::sleep(SECOND / 2).await;
    there.write_all(&noise(1, 300_000)).await.unwrap();
    drop(there);
    let mut answer = Vec::new();
    here.read_to_end(&mut answer).await.unwrap();
    assert!(answer == noise(1, 300_000));
    assert!(matches!(at_client.await.unwrap(), Relayed::Finished));
}

#[tokio::test]
async fn the_end_of_input_arrives_where_no_answer_comes() {
    let (client, server) = pair(1024);
    let (mut here, mut there, ..) = forwarded(&client, &server).await;
    here.write_all(b"all").await.unwrap();
    here.shutdown().await.unwrap();
    let mut got = Vec::new();
    there.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, b"all");
}

#[tokio::test]
async fn silence_of_a_peer_that_is_away_is_no_answer() {
    let client = Mux::new(Config::new(Role::Client, false));
    let (mut here, local) = tcp().await;
    let stream = client.open().unwrap();
    let id = stream.id();
    tokio::spawn(relay(stream, local, HalfClose::Hold));
    here.write_all(b"question").await.unwrap();
    here.shutdown().await.unwrap();
    let mut question = None;
    while question.is_none() {
        client.output().await;
        while client.take_output(1024).is_some() {}
        question = client.question();
    }
    // The peer was away, and has an answer now.
    let header = crate::protocol::smux::Header {
        command: crate::protocol::smux::Command::Psh,
        length: 6,
        stream: id,
    };
    let answer = [&header.encode()[..], b"answer"].concat();
    client.receive(answer.into()).unwrap();
    let mut got = [0; 6];
    here.read_exact(&mut got).await.unwrap();
    client.confirm(question.unwrap());
    let early = tokio::time::timeout(SECOND, client.output()).await;
    assert!(early.is_err(), "more of the answer may follow");
    client.output().await;
    assert_eq!(client.take_output(1024).unwrap()[1], 3, "it asks again");
    client.confirm(client.question().unwrap());
    client.output().await;
    assert_eq!(client.take_output(1024).unwrap()[1], 1, "the end follows");
}

/// Closes an application's end, or half of it; whether the other application hears of the end
/// before the silence would tell.
#[cfg(unix)]
async fn end_is_told_at_once(
    here: impl Socket,
    local: impl Socket + Send + 'static,
    half: bool,
) -> bool {
    let (client, server) = pair(1024);
    let (remote, mut there) = tcp().await;
    tokio::spawn(relay(client.open().unwrap(), local, HalfClose::Hold));
    let accepted = server.accept().await.unwrap();
    tokio::spawn(relay(accepted, remote, HalfClose::Full));
    let mut here = here;
    here.write_all(b"all").await.unwrap();
    if half {
        here.shutdown().await.unwrap();
        std::mem::forget(here);
    } else {
        drop(here);
    }
    let mut got = Vec::new();
    let told = tokio::time::timeout(SECOND, there.read_to_end(&mut got)).await;
    assert_eq!(got, b"all");
    told.is_ok()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn nobody_who_is_gone_is_answered() {
    let (here, local) = tcp().await;
    assert!(end_is_told_at_once(here, local, false).await);
    let (here, local) = tcp().await;
    assert!(!end_is_told_at_once(here, local, true).await);
}

#[cfg(unix)]
#[tokio::test]
async fn nobody_who_is_gone_is_answered_on_a_unix_socket() {
    let (here, local) = tokio::net::UnixStream::pair().unwrap();
    assert!(end_is_told_at_once(here, local, false).await);
    let (here, local) = tokio::net::UnixStream::pair().unwrap();
    assert!(!end_is_told_at_once(here, local, true).await);
}

#[tokio::test]
async fn an_upload_of_others_does_not_put_an_end_off() {
    let client = Mux::new(Config::new(Role::Client, false));
    let (mut bulk, local) = tcp().await;
    tokio::spawn(relay(client.open().unwrap(), local, HalfClose::Hold));
    tokio::spawn(async move { while bulk.write_all(&[0; 64 * 1024]).await.is_ok() {} });
    let (mut here, local) = tcp().await;
    let stream = client.open().unwrap();
    let fin = crate::protocol::smux::Header::bare(crate::protocol::smux::Command::Fin, stream.id());
    tokio::spawn(relay(stream, local, HalfClose::Hold));
    here.write_all(b"all").await.unwrap();
    here.shutdown().await.unwrap();
    let told = async {
        loop {
            client.output().await;
            let sent = client.take_output(4096).unwrap();
            if let Some(question) = client.question() {
                client.confirm(question);
            }
            if sent.windows(8).any(|part| part == fin.encode()) {
                return;
            }
            // At no rate that would ever empty what the upload fills.
            tokio::time::sleep(SECOND / 100).await;
        }
    };
    tokio::time::timeout(10 * SECOND, told).await.unwrap();
}

#[tokio::test]
async fn what_a_client_sent_before_it_left_arrives() {
    let (client, server) = pair(1024);
    let (mut here, mut there, at_client, _) = forwarded(&client, &server).await;
    here.write_all(&noise(2, 200_000)).await.unwrap();
    drop(here);
    let mut got = vec![0; 1000];
    there.read_exact(&mut got).await.unwrap();
    // Nobody is there to take it: what was sent before counts all the same.
    there.write_all(b"answer").await.unwrap();
    there.read_to_end(&mut got).await.unwrap();
    assert!(got == noise(2, 200_000), "{} bytes", got.len());
    at_client.await.unwrap();
}

#[tokio::test]
async fn the_end_of_the_session_resets_connections_behind_what_has_come() {
    let (client, server) = pair(1024);
    let (mut here, mut there, at_client, _) = forwarded(&client, &server).await;
    there.write_all(b"news").await.unwrap();
    let mut news = [0; 4];
    here.read_exact(&mut news).await.unwrap();
    client.end();
    assert!(matches!(at_client.await.unwrap(), Relayed::Ended));
    let error = here.read(&mut news).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert!(client.open().is_none());
}

#[tokio::test]
async fn a_refused_connection_is_reset() {
    let (client, server) = pair(1024);
    let (mut here, local) = tcp().await;
    let at_client = tokio::spawn(relay(client.open().unwrap(), local, HalfClose::Hold));
    let refused = server.accept().await.unwrap();
    client.refused();
    drop(refused);
    assert!(matches!(at_client.await.unwrap(), Relayed::Refused));
    let error = here.read(&mut [0]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_reader_that_pauses_alone_gets_everything() {
    let (client, server) = pair(1024);
    let (mut here, mut there, ..) = forwarded(&client, &server).await;
    let writing = tokio::spawn(async move {
        there.write_all(&noise(3, 10_000_000)).await.unwrap();
    });
    // Long enough for everything in between to be full.
    tokio::time::sleep(SECOND).await;
    assert!(!writing.is_finished());
    let mut got = Vec::new();
    here.read_to_end(&mut got).await.unwrap();
    assert!(got == noise(3, 10_000_000));
}

/// Moves what a session has to say to a pipe, and back.
async fn over(mux: Mux, pipe: DuplexStream) {
    let (mut read, mut write) = tokio::io::split(pipe);
    let receiving = async {
        let mut buffer = vec![0; 4096];
        loop {
            mux.room().await;
            let read = read.read(&mut buffer).await.unwrap();
            mux.receive(Bytes::copy_from_slice(&buffer[..read]))
                .unwrap();
        }
    };
    let sending = async {
        loop {
            mux.output().await;
            if let Some(frames) = mux.take_output(16 * 1024) {
                write.write_all(&frames).await.unwrap();
            }
            if let Some(question) = mux.question() {
                mux.confirm(question);
            }
        }
    };
    tokio::join!(receiving, sending);
}

#[tokio::test]
async fn another_implementation_understands_the_same() {
    let (near, far) = duplex(64 * 1024);
    let client = Mux::new(Config::new(Role::Client, false));
    tokio::spawn(over(client.clone(), near));
    let (_, mut acceptor, worker) = async_smux::MuxBuilder::server()
        .with_connection(far)
        .build();
    tokio::spawn(worker);
    let echo = tokio::spawn(async move {
        for _ in 0..10 {
            let mut stream = acceptor.accept().await.unwrap();
            tokio::spawn(async move {
                let mut buffer = vec![0; 10_000];
                loop {
                    let read = stream.read(&mut buffer).await.unwrap();
                    if read == 0 {
                        break;
                    }
                    stream.write_all(&buffer[..read]).await.unwrap();
                    stream.flush().await.unwrap();
                }
                stream.shutdown().await.unwrap();
            });
        }
    });
    let mut clients = Vec::new();
    for seed in 0..10 {
        let (here, local) = tcp().await;
        tokio::spawn(relay(client.open().unwrap(), local, HalfClose::Hold));
        clients.push(tokio::spawn(async move {
            let (mut read, mut write) = here.into_split();
            let data = noise(seed, 200_000);
            let mut got = vec![0; data.len()];
            let (wrote, read_all) = tokio::join!(write.write_all(&data), read.read_exact(&mut got));
            wrote.unwrap();
            read_all.unwrap();
            assert!(got == data);
            write.shutdown().await.unwrap();
            let mut end = Vec::new();
            read.read_to_end(&mut end).await.unwrap();
            assert!(end.is_empty());
        }));
    }
    for client in clients {
        client.await.unwrap();
    }
    echo.await.unwrap();
}

/// A stream whose reader takes nothing, with more behind it than its socket holds.
async fn stuck(client: &Mux, server: &Mux) -> (TcpStream, TcpStream, JoinHandle<Relayed>) {
    let (here, mut there, at_client, _) = forwarded(client, server).await;
    let piece = vec![0; 64 * 1024];
    // Its relay has blocked by the time that no more goes in.
    while let Ok(Ok(())) = tokio::time::timeout(SECOND / 2, there.write_all(&piece)).await {}
    (here, there, at_client)
}

#[tokio::test]
async fn a_reader_that_keeps_others_waiting_is_reset_while_its_socket_takes_nothing() {
    let slow_reader = Some(SECOND / 10);
    let config = Config::new(Role::Client, false);
    let client = Mux::new(Config {
        slow_reader,
        ..config
    });
    let server = Mux::new(Config::new(Role::Server, false));
    tokio::spawn(carry(client.clone(), server.clone(), 1000));
    tokio::spawn(carry(server.clone(), client.clone(), 1000));
    let (mut other, mut its_end, _, _) = forwarded(&client, &server).await;
    let (here, _there, relayed) = stuck(&client, &server).await;
    assert!(matches!(relayed.await.unwrap(), Relayed::TooSlow));
    drop(here);
    its_end.write_all(b"hello").await.unwrap();
    let mut got = [0; 5];
    other.read_exact(&mut got).await.unwrap();
}

#[tokio::test]
async fn an_aborted_session_waits_for_no_reader() {
    let (client, server) = pair(1000);
    let (mut here, _there, relayed) = stuck(&client, &server).await;
    client.end();
    tokio::task::yield_now().await;
    assert!(!relayed.is_finished(), "what has come is still delivered");
    client.abort();
    assert!(matches!(relayed.await.unwrap(), Relayed::Ended));
    let mut rest = Vec::new();
    let error = here.read_to_end(&mut rest).await.expect_err("it is reset");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}
