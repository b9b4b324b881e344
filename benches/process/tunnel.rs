//! Forwarded connections.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::peer::{Peer, State, ssmx};

const MEGABYTE: u64 = 1_000_000;
const ROUND_TRIPS: usize = 5000;
const CONNECTIONS: usize = 500;

pub fn run_all(peer: &Peer) {
    round_trips(peer);
    connects(peer);
    for (what, connections, each) in [
        ("1 connection", 1, 1000 * MEGABYTE),
        ("50 connections", 50, 20 * MEGABYTE),
        ("100 connections", 100, 10 * MEGABYTE),
        ("200 connections", 200, MEGABYTE / 4),
    ] {
        transfer(peer, &format!("down, {what}"), Way::Down, connections, each);
        transfer(peer, &format!("up, {what}"), Way::Up, connections, each);
    }
    transfer(peer, "10 GB down", Way::Down, 1, 10_000 * MEGABYTE);
    transfer(peer, "10 GB up", Way::Up, 1, 10_000 * MEGABYTE);
}

/// The same with the pauses of real agents: 1 ms a message from them.
pub fn paced(peer: &Peer) {
    round_trips(peer);
    transfer(peer, "down, paced", Way::Down, 1, 5 * MEGABYTE);
    transfer(peer, "up, paced", Way::Up, 1, 500 * MEGABYTE);
    transfer(peer, "down, 100 paced", Way::Down, 100, MEGABYTE / 20);
}

#[derive(Clone, Copy)]
enum Way {
    Up,
    Down,
}

/// A server in this process, which does `serve` with each connection.
fn server(serve: impl Fn(TcpStream) + Clone + Send + 'static) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for connection in listener.incoming() {
            let (connection, serve) = (connection.unwrap(), serve.clone());
            connection.set_nodelay(true).unwrap();
            thread::spawn(move || serve(connection));
        }
    });
    port
}

/// `ssmx forward` to a port.
struct Tunnel {
    child: Child,
    port: u16,
}

impl Tunnel {
    fn to(peer: &Peer, destination: u16) -> Self {
        let mut child = Command::new(ssmx())
            .envs(peer.environment.clone())
            .args(["forward", &peer.target, "--json", "-L"])
            .arg(format!("0:{destination}"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready: serde_json::Value = lines
            .by_ref()
            .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
            .find(|event: &serde_json::Value| event["event"] == "ready")
            .unwrap();
        // The other events are of no interest, but are to be written.
        thread::spawn(move || lines.for_each(drop));
        let port = ready["port"].as_u64().unwrap();
        Self {
            child,
            port: u16::try_from(port).unwrap(),
        }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    fn state(&self) -> State {
        State::of(self.child.id())
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn echo() -> u16 {
    server(|mut connection| {
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = connection.read(&mut buffer) {
            if connection.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
    })
}

fn round_trips(peer: &Peer) {
    let tunnel = Tunnel::to(peer, echo());
    let mut stream = tunnel.connect();
    let mut times: Vec<Duration> = (0..ROUND_TRIPS)
        .map(|_| {
            let began = Instant::now();
            stream.write_all(b"x").unwrap();
            stream.read_exact(&mut [0]).unwrap();
            began.elapsed()
        })
        .collect();
    times.sort_unstable();
    println!(
        "1 byte there and back: p50 {:.0?}, p99 {:.0?} ({ROUND_TRIPS} of them)",
        times[ROUND_TRIPS / 2],
        times[ROUND_TRIPS * 99 / 100]
    );
}

/// From connect() to the first byte of the answer, while all stay open.
fn connects(peer: &Peer) {
    let tunnel = Tunnel::to(peer, echo());
    let mut open = Vec::new();
    let mut times = Vec::new();
    for _ in 0..CONNECTIONS {
        let began = Instant::now();
        let mut stream = tunnel.connect();
        stream.write_all(b"x").unwrap();
        stream.read_exact(&mut [0]).unwrap();
        times.push(began.elapsed());
        open.push(stream);
    }
    println!(
        "connect and first answer: 1st {:.1?}, median {:.1?}, {CONNECTIONS}th {:.1?}; RSS with all open {:.1} MB",
        times[0],
        super::session::median(times.iter().copied()),
        times[CONNECTIONS - 1],
        tunnel.state().memory as f64 / 1024.0
    );
}

fn transfer(peer: &Peer, what: &str, way: Way, connections: usize, each: u64) {
    let (done, all_done) = mpsc::channel();
    let port = match way {
        Way::Down => server(move |connection| send(connection, each)),
        Way::Up => server(move |connection| done.send(receive(connection)).unwrap()),
    };
    let tunnel = Tunnel::to(peer, port);
    let before = tunnel.state();
    let began = Instant::now();
    let clients: Vec<_> = (0..connections)
        .map(|_| {
            let stream = tunnel.connect();
            thread::spawn(move || match way {
                Way::Down => assert_eq!(receive(stream), each),
                Way::Up => send(stream, each),
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
    if let Way::Up = way {
        for _ in 0..connections {
            assert_eq!(all_done.recv().unwrap(), each);
        }
    }
    let wall = began.elapsed();
    let after = tunnel.state();
    let cpu = after.cpu - before.cpu;
    let bytes = (connections as u64 * each) as f64;
    println!(
        "{what}: {:.0} MB/s, {:.2} CPU s/GB ({cpu:.2?}), peak RSS {:.1} MB",
        bytes / 1e6 / wall.as_secs_f64(),
        cpu.as_secs_f64() / (bytes / 1e9),
        after.peak_memory as f64 / 1024.0
    );
}

fn send(mut stream: TcpStream, bytes: u64) {
    let buffer = vec![7; 1 << 16];
    let mut left = bytes;
    while left > 0 {
        let part = buffer.len().min(usize::try_from(left).unwrap());
        stream.write_all(&buffer[..part]).unwrap();
        left -= part as u64;
    }
}

fn receive(mut stream: TcpStream) -> u64 {
    let mut buffer = vec![0; 1 << 16];
    let mut bytes = 0;
    loop {
        match stream.read(&mut buffer).unwrap() {
            0 => return bytes,
            read => bytes += read as u64,
        }
    }
}
