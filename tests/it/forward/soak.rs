//! Many connections over a bad network for a while: a few seconds each time, or as many as
//! SSMX_SOAK_SECONDS says:
//!
//! ```text
//! SSMX_SOAK_SECONDS=900 SSMX_BIN=target/release/ssmx cargo test --locked --test it soak -- --nocapture
//! ```

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ssmx::loopback::fault::{Direction, Faults};
use ssmx::loopback::{Loopback, Options};

use super::program::{Program, connect, digest, echo, loopback_with, noise, serve};

/// Connections at once.
const CONNECTIONS: u64 = 50;
/// What a connection carries at most each time, in bytes.
const MOST: u64 = 400_000;
/// The first of what a server gets: how much it is to send.
const REQUEST: usize = 16;

/// What the workers did.
#[derive(Default)]
struct Work {
    over: AtomicBool,
    transfers: AtomicU64,
    bytes: AtomicU64,
}

#[test]
fn soak() {
    let seconds = std::env::var("SSMX_SOAK_SECONDS").ok();
    let seconds = seconds.map_or(4, |text| text.parse().expect("a number of seconds"));
    let slight = Direction {
        drop: 0.002,
        duplicate: 0.002,
        ..Direction::default()
    };
    let loopback = loopback_with(Options {
        // Agents send what a cut has lost again one by one. At their own pace of ten a second that
        // would be all that there is to see.
        resend_tick: Duration::from_millis(2),
        faults: Faults {
            to_client: slight.clone(),
            to_agent: slight,
            seed: 4,
            ..Faults::default()
        },
        ..Options::default()
    });
    let (echo, source) = (echo(), serve(answer));
    let specs = [format!("0:{echo}"), format!("0:db.internal:{source}")];
    let mut program = Program::forward(
        &loopback,
        &["--keepalive", "2", "-L", &specs[0], "-L", &specs[1]],
    );
    let [echo, source] = program.ports();
    let work = Arc::new(Work::default());
    let workers: Vec<_> = (0..CONNECTIONS)
        .map(|number| {
            let work = Arc::clone(&work);
            thread::spawn(move || transfers(&work, number, [echo, source]))
        })
        .collect();
    let cuts = spoil(&loopback, Duration::from_secs(seconds));
    work.over.store(true, Ordering::Relaxed);
    for worker in workers {
        worker.join().expect("all that was sent has arrived");
    }
    let stats = loopback.stats();
    println!(
        "{} transfers, {} MB, {cuts} faults, {} resumes, {} messages dropped",
        work.transfers.load(Ordering::Relaxed),
        work.bytes.load(Ordering::Relaxed) / 1_000_000,
        stats.resumes,
        stats.dropped,
    );
    #[cfg(target_os = "linux")]
    println!("peak RSS {} KiB", program.peak_memory());
    assert_eq!(stats.started, 2, "a session did not survive");
    assert!(stats.resumes > 0, "nothing was put to the test");
    assert!(work.transfers.load(Ordering::Relaxed) >= CONNECTIONS);
    program.interrupt();
}

/// Spoils the network for a time, each way that it knows; how often.
fn spoil(loopback: &Loopback, time: Duration) -> u64 {
    let mut rng = fastrand::Rng::with_seed(44);
    let began = Instant::now();
    let mut count = 0;
    while began.elapsed() < time {
        // Faults are to come at random times, and not so often that nothing moves.
        thread::sleep(Duration::from_millis(rng.u64(300..3000)));
        match rng.u8(..4) {
            0 => loopback.cut(),
            1 => loopback.close(1000, "Bye"),
            2 => loopback.stall(),
            _ => {
                loopback.refuse_upgrades(2);
                loopback.cut();
            }
        }
        count += 1;
    }
    count
}

/// One transfer after another, each by a connection of its own, in several manners.
fn transfers(work: &Work, number: u64, [echo, source]: [u16; 2]) {
    let mut rng = fastrand::Rng::with_seed(number);
    while !work.over.load(Ordering::Relaxed) {
        let (seed, length) = (rng.u64(..), rng.u64(1..MOST));
        let carried = match rng.u8(..3) {
            0 => there_and_back(connect(echo), seed, length),
            1 => to_and_fro(connect(echo), seed, length),
            _ => back(connect(source), seed, length),
        };
        work.bytes.fetch_add(carried, Ordering::Relaxed);
        work.transfers.fetch_add(1, Ordering::Relaxed);
    }
}

/// Everything to the echo, and all of it back at the same time.
fn there_and_back(mut stream: TcpStream, seed: u64, length: u64) -> u64 {
    let data = noise(seed, usize::try_from(length).unwrap());
    let mut writer = stream.try_clone().unwrap();
    let expected = digest(&data);
    let writing = thread::spawn(move || writer.write_all(&data).expect("all goes out"));
    let mut back = vec![0; usize::try_from(length).unwrap()];
    stream.read_exact(&mut back).expect("all comes back");
    writing.join().unwrap();
    assert!(digest(&back) == expected, "changed on the way");
    2 * length
}

/// Small questions and answers in turn.
fn to_and_fro(mut stream: TcpStream, seed: u64, length: u64) -> u64 {
    let data = noise(seed, usize::try_from(length / 100 + 1).unwrap());
    for question in data.chunks(200) {
        stream.write_all(question).expect("it goes out");
        let mut answer = vec![0; question.len()];
        stream.read_exact(&mut answer).expect("an answer");
        assert!(answer == question, "changed on the way");
    }
    2 * data.len() as u64
}

/// All that the source has, to its end.
fn back(mut stream: TcpStream, seed: u64, length: u64) -> u64 {
    let request = [seed.to_be_bytes(), length.to_be_bytes()].concat();
    stream.write_all(&request).expect("it goes out");
    let mut all = Vec::new();
    stream.read_to_end(&mut all).expect("an end in order");
    let expected = noise(seed, usize::try_from(length).unwrap());
    assert_eq!(all.len(), expected.len());
    assert!(all == expected, "changed on the way");
    length
}

/// A server that sends what it is asked for.
fn answer(mut stream: TcpStream) {
    let mut request = [0; REQUEST];
    if stream.read_exact(&mut request).is_err() {
        return;
    }
    let number = |bytes: &[u8]| u64::from_be_bytes(bytes.try_into().unwrap());
    let length = usize::try_from(number(&request[8..])).unwrap();
    // A client that is gone has failed already.
    let _ = stream.write_all(&noise(number(&request[..8]), length));
}
