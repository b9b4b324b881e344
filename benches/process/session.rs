//! Shells and commands.

use std::io::Read;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use portable_pty::{CommandBuilder, PtySize, native_pty_system};

use super::peer::{Peer, State, ssmx};

const MEGABYTES: u64 = 100;
const KEYSTROKES: usize = 2000;
const IDLE: Duration = Duration::from_secs(60);

pub fn run_all(peer: &Peer) {
    version();
    command(peer);
    output(peer);
    keystrokes(peer);
    idle(peer);
}

/// A command without a terminal, outputs apart.
fn run(peer: &Peer, command: &str) -> Command {
    let parameters = format!(r#"{{"command":["{command}"],"separateOutputStream":["true"]}}"#);
    let mut ssmx = Command::new(ssmx());
    ssmx.envs(peer.environment.clone())
        .args(["start-session", "--target", &peer.target])
        .args(["--document-name", "AWS-StartNonInteractiveCommand"])
        .args(["--parameters", &parameters])
        .stdin(Stdio::null());
    ssmx
}

/// What a finished process cost.
struct Cost {
    wall: Duration,
    cpu: Duration,
    /// KiB
    memory: i64,
    bytes: u64,
}

#[allow(
    clippy::zombie_processes,
    reason = "it is waited for by its id, for the figures"
)]
fn cost(command: &mut Command) -> Cost {
    let began = Instant::now();
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut buffer = vec![0; 1 << 16];
    let mut bytes = 0;
    loop {
        match stdout.read(&mut buffer).unwrap() {
            0 => break,
            read => bytes += read as u64,
        }
    }
    let id = i32::try_from(child.id()).unwrap();
    // SAFETY: plain data to be filled in, and pointers to it that outlive the call.
    #[allow(unsafe_code, reason = "the only way to the figures of one child")]
    let usage = unsafe {
        let mut status = 0;
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::wait4(id, &raw mut status, 0, &raw mut usage), id);
        assert_eq!(status, 0, "it failed");
        usage
    };
    let time = |t: libc::timeval| {
        Duration::from_micros(u64::try_from(t.tv_sec * 1_000_000 + t.tv_usec).unwrap())
    };
    Cost {
        wall: began.elapsed(),
        cpu: time(usage.ru_utime) + time(usage.ru_stime),
        memory: usage.ru_maxrss,
        bytes,
    }
}

pub fn median<T: Ord + Copy>(values: impl Iterator<Item = T>) -> T {
    let mut values: Vec<T> = values.collect();
    values.sort_unstable();
    values[values.len() / 2]
}

fn show(what: &str, costs: &[Cost]) {
    println!(
        "{what}: wall {:.1?}, CPU {:.1?}, peak RSS {:.1} MB ({} runs)",
        median(costs.iter().map(|cost| cost.wall)),
        median(costs.iter().map(|cost| cost.cpu)),
        median(costs.iter().map(|cost| cost.memory)) as f64 / 1024.0,
        costs.len(),
    );
}

fn version() {
    let directory = tempfile::tempdir().unwrap();
    let plugin = directory.path().join("session-manager-plugin");
    std::os::unix::fs::symlink(ssmx(), &plugin).unwrap();
    let runs: Vec<Cost> = (0..21)
        .map(|_| cost(Command::new(&plugin).arg("--version")))
        .collect();
    show("--version", &runs);
}

fn command(peer: &Peer) {
    let runs: Vec<Cost> = (0..21).map(|_| cost(&mut run(peer, "echo hi"))).collect();
    show("one command", &runs);
}

fn output(peer: &Peer) {
    let size = MEGABYTES * 1_000_000;
    let command = format!("head -c {size} /dev/zero");
    let runs: Vec<Cost> = (0..5).map(|_| cost(&mut run(peer, &command))).collect();
    assert!(runs.iter().all(|run| run.bytes == size));
    show(&format!("{MEGABYTES} MB of output"), &runs);
    let wall = median(runs.iter().map(|run| run.wall)).as_secs_f64();
    let cpu = median(runs.iter().map(|run| run.cpu)).as_secs_f64();
    println!(
        "  {:.0} MB/s, {:.2} CPU s/GB",
        MEGABYTES as f64 / wall,
        cpu * 1000.0 / MEGABYTES as f64
    );
}

/// A session on a terminal: one that echoes, or one that waits.
fn on_terminal(peer: &Peer, arguments: &[&str]) -> Session {
    let pair = native_pty_system().openpty(PtySize::default()).unwrap();
    let mut ssmx = CommandBuilder::new(ssmx());
    for (name, value) in &peer.environment {
        ssmx.env(name, value);
    }
    ssmx.args(["start-session", "--target", &peer.target]);
    ssmx.args(arguments);
    let child = pair.slave.spawn_command(ssmx).unwrap();
    let mut reader = pair.master.try_clone_reader().unwrap();
    // The first output, in all of its parts: the session is in force.
    let mut buffer = [0; 4096];
    let mut output = Vec::new();
    while !output.ends_with(b"# ") && !output.ends_with(b"$ ") && !output.ends_with(b"\n") {
        let read = reader.read(&mut buffer).unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&output));
        output.extend_from_slice(&buffer[..read]);
    }
    Session {
        reader,
        writer: pair.master.take_writer().unwrap(),
        id: child.process_id().unwrap(),
        child,
    }
}

struct Session {
    reader: Box<dyn Read + Send>,
    writer: Box<dyn std::io::Write + Send>,
    id: u32,
    child: Box<dyn portable_pty::Child + Send + Sync>,
}

fn keystrokes(peer: &Peer) {
    let parameters = r#"{"command":["stty raw -echo; echo ready; exec cat"]}"#;
    let arguments = [
        "--document-name",
        "AWS-StartInteractiveCommand",
        "--escape-char",
        "none",
        "--parameters",
        parameters,
    ];
    let mut session = on_terminal(peer, &arguments);
    let mut buffer = [0; 4096];
    let mut times = Vec::with_capacity(KEYSTROKES);
    for _ in 0..KEYSTROKES {
        let began = Instant::now();
        session.writer.write_all(b"x").unwrap();
        session.writer.flush().unwrap();
        assert!(session.reader.read(&mut buffer).unwrap() > 0);
        times.push(began.elapsed());
    }
    times.sort_unstable();
    println!(
        "echo of a keystroke: p50 {:.0?}, p99 {:.0?} ({KEYSTROKES} of them)",
        times[KEYSTROKES / 2],
        times[KEYSTROKES * 99 / 100]
    );
    session.child.kill().unwrap();
    session.child.wait().unwrap();
}

fn idle(peer: &Peer) {
    let mut session = on_terminal(peer, &[]);
    let before = State::of(session.id);
    thread::sleep(IDLE);
    let after = State::of(session.id);
    println!(
        "a shell idle for {IDLE:?}: CPU {:?}, {} wake-ups, {} threads, RSS {:.1} MB",
        after.cpu - before.cpu,
        after.switches - before.switches,
        after.threads,
        after.memory as f64 / 1024.0
    );
    session.child.kill().unwrap();
    session.child.wait().unwrap();
}
