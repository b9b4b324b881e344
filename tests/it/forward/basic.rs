//! Sessions of agents without multiplexing: one connection at a time.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use ssmx::aws::{Aws, Options as AwsOptions, StartSession};
use ssmx::channel;
use ssmx::loopback::{Loopback, Options as Peer};
use ssmx::session::forward::bind::{Bind, Host};
use ssmx::session::forward::listener::{Listener, Place};
use ssmx::session::forward::report::{Gone, Notice, Report, Reporter, Reports};
use ssmx::session::forward::route::{Begin, Route, Settings};
use ssmx::session::forward::{Over, Stopper};

use crate::support::DEADLINE;

/// The last agent without multiplexing, and one that does not know the flag for the end either.
const BASIC: &str = "3.0.196.0";
const OLD: &str = "2.3.722.0";

/// A route through a basic session, on a thread of its own.
struct Tunnel {
    loopback: Loopback,
    address: SocketAddr,
    reports: mpsc::Receiver<Notice>,
    stopper: Stopper,
    over: mpsc::Receiver<Over>,
}

impl Tunnel {
    fn open(version: &str, port: u16) -> Self {
        let loopback = Loopback::start(Peer {
            paced: false,
            agent_version: version.to_owned(),
            // Cuts cost no more time than they have to.
            resend_tick: Duration::from_millis(10),
            ..Peer::default()
        })
        .unwrap();
        let environment = loopback.environment().into_iter();
        let environment = environment.map(|(k, v)| (k.to_owned(), v)).collect();
        let request = StartSession {
            target: loopback.target().to_owned(),
            document_name: Some("AWS-StartPortForwardingSession".to_owned()),
            parameters: vec![("portNumber".to_owned(), vec![port.to_string()])],
            reason: None,
        };
        let stopper = Stopper::new();
        let mut stop = stopper.listen();
        let (listens, address) = mpsc::channel();
        let (notices, reports) = mpsc::channel();
        let (ends, over) = mpsc::channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let aws = Aws::load(AwsOptions {
                    environment: Some(environment),
                    may_prompt: false,
                    ..AwsOptions::default()
                });
                let bind = Bind::Tcp {
                    host: Host::Localhost,
                    port: 0,
                };
                let listener = Listener::bind(&bind).await.unwrap();
                let Place::Tcp(place) = listener.place().clone() else {
                    panic!("no port");
                };
                let (mut queue, _accepting) = listener.start();
                let (report, told) = Reporter::new();
                let route = Route {
                    request,
                    settings: Settings {
                        aws: aws.await.unwrap(),
                        channel: channel::Options::default(),
                        slow_reader: None,
                        restart: true,
                        aim: None,
                    },
                    report,
                };
                listens.send(place).unwrap();
                let run = route.run(Begin::Lazy, &mut queue, &mut stop);
                let over = tokio::select! {
                    over = run => over,
                    () = pass_on(told, notices) => unreachable!(),
                };
                let _ = ends.send(over);
            });
        });
        Self {
            loopback,
            address: address.recv_timeout(DEADLINE).unwrap(),
            reports,
            stopper,
            over,
        }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// How the next connection that ends does so.
    fn gone(&self) -> Gone {
        loop {
            if let Notice::Disconnected { how, .. } = self.reports.recv_timeout(DEADLINE).unwrap() {
                return how;
            }
        }
    }
}

async fn pass_on(mut reports: Reports, notices: mpsc::Sender<Notice>) {
    while let Some(Report { notice, .. }) = reports.next().await {
        let _ = notices.send(notice);
    }
    std::future::pending().await
}

/// A server that does `work` with each connection, and their number.
fn serve(work: impl Fn(usize, TcpStream) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let work = std::sync::Arc::new(work);
    thread::spawn(move || {
        for (n, stream) in listener.incoming().enumerate() {
            let work = std::sync::Arc::clone(&work);
            thread::spawn(move || work(n, stream.unwrap()));
        }
    });
    port
}

/// Sends back what it gets until the other end closes.
fn echo(_: usize, mut stream: TcpStream) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(length) = stream.read(&mut buffer) {
        if length == 0 || stream.write_all(&buffer[..length]).is_err() {
            return;
        }
    }
}

fn pattern(length: usize, seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| random.u8(..))
        .take(length)
        .collect()
}

/// Sends all of `data` and gets it back.
fn exchange(stream: &mut TcpStream, data: &[u8]) {
    let mut writer = stream.try_clone().unwrap();
    let to_send = data.to_vec();
    let sending = thread::spawn(move || writer.write_all(&to_send));
    let mut back = vec![0; data.len()];
    stream.read_exact(&mut back).unwrap();
    assert!(back == data);
    sending.join().unwrap().unwrap();
}

#[test]
fn connections_follow_one_another() {
    for version in [BASIC, OLD] {
        let tunnel = Tunnel::open(version, serve(echo));
        for n in 0..4 {
            let mut stream = tunnel.connect();
            exchange(&mut stream, &pattern(1_500_000, n));
            drop(stream);
            assert_eq!(tunnel.gone(), Gone::Finished);
        }
        let stats = tunnel.loopback.stats();
        assert_eq!((stats.started, stats.streams), (1, 0), "{version}");
        // The session's own, and one for each connection behind the first.
        assert_eq!(stats.dialled, 4);
    }
}

#[test]
fn a_second_connection_waits_for_its_turn() {
    let tunnel = Tunnel::open(BASIC, serve(echo));
    let mut first = tunnel.connect();
    exchange(&mut first, b"first");
    let mut second = tunnel.connect();
    second.write_all(b"second").unwrap();
    second
        .set_read_timeout(Some(Duration::from_millis(700)))
        .unwrap();
    let error = second.read(&mut [0]).unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        "{error}"
    );
    exchange(&mut first, b"still first");
    drop(first);
    second.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut back = [0; 6];
    second.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"second");
}

#[test]
fn a_greeting_that_came_before_anybody_reaches_the_first() {
    let port = serve(|_, mut stream| {
        stream.write_all(b"hello ").unwrap();
        echo(0, stream);
    });
    let tunnel = Tunnel::open(BASIC, port);
    let mut stream = tunnel.connect();
    let mut hello = [0; 6];
    stream.read_exact(&mut hello).unwrap();
    assert_eq!(&hello, b"hello ");
    exchange(&mut stream, b"you");
}

#[test]
fn late_output_of_one_connection_never_reaches_the_next() {
    let port = serve(|n, mut stream| match n {
        // It goes on and on.
        0 => while stream.write_all(&[b'x'; 8192]).is_ok() {},
        _ => echo(n, stream),
    });
    let tunnel = Tunnel::open(BASIC, port);
    for n in 0..3_u64 {
        let mut stream = tunnel.connect();
        match n {
            0 => stream.read_exact(&mut [0; 100_000]).unwrap(),
            _ => exchange(&mut stream, &pattern(10_000, n)),
        }
        drop(stream);
        tunnel.gone();
    }
    assert_eq!(tunnel.loopback.stats().started, 1);
}

#[test]
fn an_agent_that_never_stops_sending_is_left_for_another() {
    let tunnel = Tunnel::open(BASIC, serve(echo));
    let mut stream = tunnel.connect();
    exchange(&mut stream, b"before");
    drop(stream);
    let began = Instant::now();
    while tunnel.loopback.stats().ended == 0 {
        assert!(began.elapsed() < DEADLINE, "it is waited for");
        tunnel.loopback.inject_output(b"more");
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(tunnel.gone(), Gone::Finished);
    exchange(&mut tunnel.connect(), b"after");
    assert_eq!(tunnel.loopback.stats().started, 2);
}

#[test]
fn who_has_said_all_still_gets_the_answer() {
    let port = serve(|_, mut stream| {
        let mut request = [0; 7];
        stream.read_exact(&mut request).unwrap();
        for _ in 0..5 {
            thread::sleep(Duration::from_millis(400));
            stream.write_all(b"answer ").unwrap();
        }
        echo(0, stream);
    });
    let tunnel = Tunnel::open(BASIC, port);
    let mut stream = tunnel.connect();
    stream.write_all(b"request").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "answer ".repeat(5));
    assert_eq!(tunnel.gone(), Gone::Finished);
}

#[test]
fn a_slow_reader_holds_its_server_up_and_loses_nothing() {
    let data = pattern(24_000_000, 9);
    let expected = data.clone();
    let (told, progress) = mpsc::channel();
    let port = serve(move |_, mut stream| {
        for piece in data.chunks(64 * 1024) {
            stream.write_all(piece).unwrap();
            let _ = told.send(());
        }
    });
    let tunnel = Tunnel::open(BASIC, port);
    let mut stream = tunnel.connect();
    let mut pieces = 0;
    while progress.recv_timeout(Duration::from_millis(1500)).is_ok() {
        pieces += 1;
    }
    assert!(pieces * 64 * 1024 < expected.len(), "nothing holds it up");
    let mut all = vec![0; expected.len()];
    stream.read_exact(&mut all).unwrap();
    assert!(all == expected);
}

#[test]
fn connections_survive_cuts() {
    let tunnel = Tunnel::open(BASIC, serve(echo));
    for n in 0..3 {
        let mut stream = tunnel.connect();
        for piece in 0..4 {
            exchange(&mut stream, &pattern(200_000, n * 4 + piece));
            tunnel.loopback.cut();
        }
        drop(stream);
        // The flag, too, is sent again.
        tunnel.loopback.cut();
        assert_eq!(tunnel.gone(), Gone::Finished);
    }
    let stats = tunnel.loopback.stats();
    assert_eq!(stats.started, 1);
    assert!(stats.resumes > 0);
}

#[test]
fn a_session_that_is_over_resets_its_connection_and_another_follows() {
    let tunnel = Tunnel::open(BASIC, serve(echo));
    let mut stream = tunnel.connect();
    exchange(&mut stream, b"before");
    tunnel.loopback.end_sessions("");
    let error = stream.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_eq!(tunnel.gone(), Gone::Ended);
    exchange(&mut tunnel.connect(), b"after");
    assert_eq!(tunnel.loopback.stats().started, 2);
}

#[test]
fn leaving_tells_the_agent_or_the_service() {
    for (version, by_service) in [(BASIC, 0), (OLD, 1)] {
        let tunnel = Tunnel::open(version, serve(echo));
        let mut stream = tunnel.connect();
        exchange(&mut stream, b"here");
        let begun = Instant::now();
        tunnel.stopper.leave();
        let over = tunnel.over.recv_timeout(DEADLINE).unwrap();
        assert!(matches!(over, Over::Stopped), "{over:?}");
        assert!(begun.elapsed() < Duration::from_secs(2));
        let stats = tunnel.loopback.stats();
        let _ = stream.read(&mut [0]);
        let ended = tunnel.loopback.wait_for(|stats| stats.ended == 1, DEADLINE);
        assert!(ended, "{version}: {stats:?}");
        assert_eq!(stats.terminated, by_service, "{version}");
    }
}

#[test]
fn a_destination_that_comes_and_goes_costs_one_connection_each_time() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let tunnel = Tunnel::open(BASIC, port);
    let mut stream = tunnel.connect();
    stream.write_all(b"anybody?").unwrap();
    let error = stream.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    thread::spawn(move || echo(0, listener.accept().unwrap().0));
    exchange(&mut tunnel.connect(), b"now?");
}
