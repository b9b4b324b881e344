//! A proxy through loopback, and what its clients do.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use ssmx::aws::{Aws, Options as AwsOptions};
use ssmx::channel;
use ssmx::loopback::{Loopback, Options as Peer, Stats};
use ssmx::session::forward::Stopper;
use ssmx::session::forward::bind::{Bind, Host};
use ssmx::session::forward::listener::{Listener, Place};
use ssmx::session::forward::proxy::{Options, Proxy, ProxyNotice};
use ssmx::session::forward::report::{Notice, Reporter, Reports};
use ssmx::session::forward::route::Settings;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::support::DEADLINE;

pub const HOSTS: [&str; 5] = [
    "one.internal",
    "two.internal",
    "three.internal",
    "four.internal",
    "five.internal",
];
pub const CONNECTED: [u8; 10] = [5, 0, 0, 1, 0, 0, 0, 0, 0, 0];

/// A proxy through a loopback.
pub struct Running {
    pub loopback: Loopback,
    pub address: SocketAddr,
    pub reports: Reports,
    pub stopper: Stopper,
    pub proxy: JoinHandle<()>,
}

/// How a proxy is to be.
pub struct Setup {
    pub options: Options,
    pub patience: Duration,
}

pub fn peer() -> Peer {
    let here = |name: &str| (name.to_owned(), IpAddr::V4(Ipv4Addr::LOCALHOST));
    Peer {
        paced: false,
        hosts: HOSTS.map(here).into(),
        ..Peer::default()
    }
}

pub async fn start() -> Running {
    start_with(peer(), |_| {}).await
}

pub async fn start_with(peer: Peer, adapt: impl FnOnce(&mut Setup)) -> Running {
    let loopback = Loopback::start(peer).unwrap();
    let environment = loopback.environment().into_iter();
    let aws = Aws::load(AwsOptions {
        environment: Some(environment.map(|(k, v)| (k.to_owned(), v)).collect()),
        may_prompt: false,
        ..AwsOptions::default()
    });
    let settings = Settings {
        aws: aws.await.unwrap(),
        channel: channel::Options::default(),
        slow_reader: None,
        restart: true,
        aim: None,
    };
    let mut setup = Setup {
        options: Options::new(loopback.target().to_owned(), settings),
        patience: Duration::from_secs(20),
    };
    adapt(&mut setup);
    let Setup { options, patience } = setup;
    let bind = Bind::Tcp {
        host: Host::Localhost,
        port: 0,
    };
    let listener = Listener::bind(&bind).await.unwrap();
    let Place::Tcp(address) = *listener.place() else {
        panic!("a port was asked for");
    };
    let (mut queue, accepting) = listener.start();
    let (report, reports) = Reporter::new();
    let stopper = Stopper::new();
    let mut stop = stopper.listen();
    let proxy = tokio::spawn(async move {
        let proxy = Proxy::new(options, report).with_patience(patience);
        proxy.run(&mut queue, &mut stop).await;
        drop(accepting);
    });
    Running {
        loopback,
        address,
        reports,
        stopper,
        proxy,
    }
}

impl Running {
    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Asks for a connection by SOCKS5; what the answer says.
    pub async fn socks(&self, host: &str, port: u16) -> (TcpStream, u8) {
        let mut stream = self.connect().await;
        stream.write_all(&socks_request(host, port)).await.unwrap();
        assert_eq!(read(&mut stream, 2).await, [5, 0]);
        let answer = read(&mut stream, 10).await;
        (stream, answer[1])
    }

    /// The same, and it has to work.
    pub async fn through(&self, host: &str, port: u16) -> TcpStream {
        let (stream, code) = self.socks(host, port).await;
        assert_eq!(code, 0, "{host}:{port}");
        stream
    }

    /// Sends this; all that comes back until the end.
    pub async fn ask(&self, request: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let read = timeout(DEADLINE, stream.read_to_string(&mut answer)).await;
        read.expect("an answer in time").unwrap();
        answer
    }

    /// The next notice that this takes.
    pub async fn told<T>(&mut self, mut take: impl FnMut(Notice) -> Option<T>) -> T {
        loop {
            let report = timeout(DEADLINE, self.reports.next()).await;
            let report = report.expect("a report in time").expect("a report");
            if let Some(taken) = take(report.notice) {
                return taken;
            }
        }
    }

    pub async fn wait_for(&self, condition: impl Fn(&Stats) -> bool) {
        let ended = tokio::time::Instant::now() + DEADLINE;
        while !condition(&self.loopback.stats()) {
            assert!(
                tokio::time::Instant::now() < ended,
                "{:?}",
                self.loopback.stats()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub async fn stop(self) {
        self.stopper.leave();
        let ended = timeout(DEADLINE, self.proxy).await;
        ended.expect("an end in time").unwrap();
        // Agents acknowledge the wish, and then end the session.
        let ended = |stats: &Stats| stats.started == stats.ended;
        let limit = Duration::from_secs(5);
        assert!(
            self.loopback.wait_for(ended, limit),
            "a session was left behind"
        );
    }
}

pub fn socks_request(host: &str, port: u16) -> Vec<u8> {
    let mut request = vec![5, 1, 0, 5, 1, 0];
    match host.parse() {
        Ok(IpAddr::V4(ip)) => {
            request.push(1);
            request.extend(ip.octets());
        }
        Ok(IpAddr::V6(ip)) => {
            request.push(4);
            request.extend(ip.octets());
        }
        Err(_) => {
            request.extend([3, u8::try_from(host.len()).unwrap()]);
            request.extend(host.as_bytes());
        }
    }
    request.extend(port.to_be_bytes());
    request
}

pub async fn read(stream: &mut TcpStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let read = timeout(DEADLINE, stream.read_exact(&mut bytes)).await;
    read.expect("bytes in time").unwrap();
    bytes
}

/// Sends bytes that have to come back.
pub async fn echo(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
    assert_eq!(read(stream, text.len()).await, text.as_bytes());
}

/// What reading brings in the end: nothing, or an error.
pub async fn end(stream: &mut TcpStream) -> std::io::Result<usize> {
    let mut byte = [0];
    let read = timeout(DEADLINE, stream.read(&mut byte)).await;
    read.expect("an end in time")
}

/// A server that sends back what it gets; its port.
pub async fn echo_server() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    port
}

/// A port where nobody listens.
pub fn closed_port() -> u16 {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

pub fn opened(notice: Notice) -> Option<String> {
    match notice {
        Notice::Proxy(ProxyNotice::Opened { destination, .. }) => Some(destination),
        _ => None,
    }
}

pub fn rejected(notice: Notice) -> Option<(String, String)> {
    match notice {
        Notice::Proxy(ProxyNotice::Rejected { peer, why }) => Some((peer, why)),
        _ => None,
    }
}

pub fn closed(notice: Notice) -> Option<(String, String)> {
    match notice {
        Notice::Proxy(ProxyNotice::Closed {
            destination, why, ..
        }) => Some((destination, why)),
        _ => None,
    }
}

pub fn failed(notice: Notice) -> Option<(String, String)> {
    match notice {
        Notice::Proxy(ProxyNotice::Failed {
            destination, why, ..
        }) => Some((destination, why)),
        _ => None,
    }
}
