//! Port sessions between standard input and output, with a server behind loopback's agent.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use ssmx::aws::SessionGrant;
use ssmx::loopback::{Loopback, Options as Peer};

use crate::plugin::{Plugin, VARIABLE, assert_short, grant_with, response};
use crate::support::{DEADLINE, command, kill, run, start_session};

const SSH: &str = "AWS-StartSSHSession";
/// What ends at once ends within this.
const AT_ONCE: Duration = Duration::from_millis(2500);

fn peer() -> Peer {
    Peer {
        paced: false,
        ..Peer::default()
    }
}

fn loopback() -> Loopback {
    Loopback::start(peer()).expect("loopback starts")
}

/// A server that serves one connection; its port, and what comes of it.
fn serve<T: Send + 'static>(
    work: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> (u16, mpsc::Receiver<T>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (done, outcome) = mpsc::channel();
    thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let _ = done.send(work(stream));
    });
    (port, outcome)
}

/// Reads until the connection ends, in whatever way.
fn read_all(mut stream: impl Read) -> Vec<u8> {
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all);
    all
}

fn session(loopback: &Loopback, port: u16) -> Command {
    let parameters = format!("portNumber={port}");
    let mut command = start_session(
        loopback,
        &["--document-name", SSH, "--parameters", &parameters],
    );
    command.stdin(Stdio::piped());
    command
}

/// The plugin as the AWS CLI runs it for such a session.
fn plugin_session(plugin: &Plugin, loopback: &Loopback, grant: &SessionGrant) -> Command {
    let mut command = command(plugin.path(), loopback);
    let request = json!({ "Target": loopback.target(), "DocumentName": SSH });
    command.args([VARIABLE, loopback.region(), "StartSession", ""]);
    command.args([&request.to_string(), loopback.endpoint_url()]);
    command.env(VARIABLE, response(grant).to_string());
    command.stdin(Stdio::piped());
    command
}

/// Bytes of all values, which differ from place to place.
fn pattern(length: usize, seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| random.u8(..))
        .take(length)
        .collect()
}

fn in_pipes(mut command: Command) -> Child {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits for the end; what was said on stderr, and the status.
fn wait(mut child: Child) -> (String, Option<i32>) {
    let stderr = child.stderr.take().unwrap();
    let (done, said) = mpsc::channel();
    thread::spawn(move || done.send(read_all(stderr)));
    let Ok(said) = said.recv_timeout(DEADLINE) else {
        child.kill().unwrap();
        panic!("the program does not end");
    };
    let said = String::from_utf8_lossy(&said).into_owned();
    (said, child.wait().unwrap().code())
}

/// Sends `input` to a server that sends it back, and closes.
fn echo(length: usize) -> u16 {
    let (port, _) = serve(move |mut stream| {
        let mut all = vec![0; length];
        stream.read_exact(&mut all).unwrap();
        stream.write_all(&all).unwrap();
    });
    port
}

#[test]
fn bytes_pass_as_they_are_both_ways() {
    for size in ["1024", "32768"] {
        let loopback = loopback();
        let input = pattern(3_000_001, 1);
        let mut command = session(&loopback, echo(input.len()));
        command.args(["--payload-size", size]);
        let done = run(command, &input);
        assert!(done.stdout == input, "{} bytes", done.stdout.len());
        assert_eq!((done.stderr.as_str(), done.code()), ("", Some(0)));
        assert_eq!(loopback.stats().terminated, 0);
    }
}

#[test]
fn output_that_nobody_reads_is_an_end_though_it_was_the_last() {
    let loopback = loopback();
    let (port, _) = serve(|mut stream| {
        stream.read_exact(&mut [0; 3]).unwrap();
        stream.write_all(b"bye").unwrap();
        read_all(stream)
    });
    let mut child = in_pipes(session(&loopback, port));
    let (mut stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    drop(stdout);
    stdin.write_all(b"bye").unwrap();
    // As by SIGPIPE, whoever may still want to write.
    assert_eq!(wait(child), (String::new(), Some(128 + 13)));
    drop(stdin);
}

#[test]
fn a_lone_line_feed_stays_one() {
    let loopback = loopback();
    let (port, got) = serve(|mut stream| {
        let mut all = [0; 3];
        for byte in all.chunks_mut(1) {
            stream.read_exact(byte).unwrap();
            stream.write_all(b"\n").unwrap();
        }
        all
    });
    let mut child = in_pipes(session(&loopback, port));
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    for key in [b"\n", b"\r", b"~"] {
        stdin.write_all(key).unwrap();
        let mut back = [0];
        stdout.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"\n");
    }
    assert_eq!(&got.recv_timeout(DEADLINE).unwrap(), b"\n\r~");
    // The server has closed, which is the end, whatever stdin does.
    assert_eq!(wait(child), (String::new(), Some(0)));
    drop(stdin);
}

#[test]
fn a_port_where_nobody_listens_is_one_line() {
    let loopback = loopback();
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .unwrap()
        .port();
    let done = run(session(&loopback, port), b"");
    assert_eq!((done.text().as_str(), done.code()), ("", Some(255)));
    assert_short(&done.stderr);
    let what = "Unable to connect to specified port";
    assert!(done.stderr.contains(what), "{}", done.stderr);
    assert!(done.stderr.contains("hint: "), "{}", done.stderr);

    let plugin = Plugin::install();
    let grant = grant_with(&loopback, Some(SSH), &[("portNumber", &port.to_string())]);
    let done = run(plugin_session(&plugin, &loopback, &grant), b"");
    assert_eq!((done.text().as_str(), done.code()), ("", Some(0)));
    let start = format!("\nSessionId: {} : {what}", grant.session_id);
    assert!(done.stderr.contains(&start), "{}", done.stderr);
}

#[test]
fn the_plugin_keeps_stdout_for_data() {
    let (plugin, loopback) = (Plugin::install(), loopback());
    let input = pattern(100_000, 2);
    let port = echo(input.len()).to_string();
    let grant = grant_with(&loopback, Some(SSH), &[("portNumber", &port)]);
    let done = run(plugin_session(&plugin, &loopback, &grant), &input);
    assert!(done.stdout == input, "{} bytes", done.stdout.len());
    let starting = format!("\nStarting session with SessionId: {}\n", grant.session_id);
    assert_eq!((done.stderr, done.status.code()), (starting, Some(0)));
}

#[test]
fn the_plugin_says_its_first_line_even_if_there_is_no_session() {
    let (plugin, loopback) = (Plugin::install(), loopback());
    let grant = grant_with(&loopback, Some(SSH), &[]);
    loopback.forbid_upgrades(true);
    let done = run(plugin_session(&plugin, &loopback, &grant), b"");
    let starting = format!("\nStarting session with SessionId: {}\n", grant.session_id);
    assert_eq!(done.text(), starting);
    assert_short(&done.stderr);
}

#[test]
fn a_server_that_has_nothing_to_say_is_left_after_some_silence() {
    for (version, by_service) in [("3.3.0.0", 0), ("2.3.722.0", 1)] {
        let loopback = Loopback::start(Peer {
            agent_version: version.to_owned(),
            ..peer()
        })
        .unwrap();
        let (port, got) = serve(read_all);
        let input = pattern(500_000, 3);
        let begun = Instant::now();
        let done = run(session(&loopback, port), &input);
        assert_eq!((done.stderr.as_str(), done.code()), ("", Some(0)));
        assert!(begun.elapsed() > Duration::from_secs(3));
        assert!(
            got.recv_timeout(DEADLINE).unwrap() == input,
            "all arrived first"
        );
        assert!(loopback.wait_for(|stats| stats.ended == 1, DEADLINE));
        assert_eq!(loopback.stats().terminated, by_service, "{version}");
    }
}

#[test]
fn answers_that_take_their_time_are_awaited() {
    let loopback = loopback();
    let (port, _) = serve(|mut stream| {
        let mut request = [0; 7];
        stream.read_exact(&mut request).unwrap();
        for piece in [b"one ", b"two ", b"end\n"] {
            thread::sleep(Duration::from_millis(2000));
            stream.write_all(piece).unwrap();
        }
    });
    let done = run(session(&loopback, port), b"request");
    assert_eq!(
        (done.text().as_str(), done.code()),
        ("one two end\n", Some(0))
    );
}

#[test]
fn signals_end_both_sides_at_once() {
    for (signal, status) in [("-HUP", 129), ("-TERM", 143), ("-INT", 130)] {
        let loopback = loopback();
        let (port, got) = serve(|mut stream| {
            stream.write_all(b"x").unwrap();
            read_all(stream)
        });
        let mut child = in_pipes(session(&loopback, port));
        let mut greeting = [0];
        let mut stdout = child.stdout.take().unwrap();
        stdout.read_exact(&mut greeting).unwrap();
        let begun = Instant::now();
        kill(child.id(), signal);
        assert_eq!(wait(child), (String::new(), Some(status)));
        assert!(begun.elapsed() < AT_ONCE);
        got.recv_timeout(DEADLINE).unwrap();
        assert!(loopback.wait_for(|stats| stats.ended == 1, DEADLINE));
    }
}

#[test]
fn nobody_at_either_end_is_the_end() {
    let loopback = loopback();
    let (port, got) = serve(|mut stream| {
        stream.write_all(b"x").unwrap();
        read_all(stream)
    });
    let mut child = in_pipes(session(&loopback, port));
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0]).unwrap();
    let begun = Instant::now();
    // As when ssh was killed.
    drop((child.stdin.take(), stdout));
    assert_eq!(wait(child), (String::new(), Some(0)));
    assert!(begun.elapsed() < AT_ONCE);
    got.recv_timeout(DEADLINE).unwrap();
    assert!(loopback.wait_for(|stats| stats.ended == 1, DEADLINE));
    assert_eq!(loopback.stats().terminated, 0, "the agent was told");
}

#[test]
fn nobody_is_noticed_even_while_nothing_can_be_sent() {
    for killed in [false, true] {
        let loopback = loopback();
        let (port, _) = serve(|mut stream| {
            stream.write_all(b"x").unwrap();
            thread::sleep(DEADLINE);
        });
        let mut writer = Command::new("cat")
            .arg("/dev/zero")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut command = session(&loopback, port);
        command.stdin(writer.stdout.take().unwrap());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        drop(command);
        let mut stdout = child.stdout.take().unwrap();
        stdout.read_exact(&mut [0]).unwrap();
        // Until all buffers on the way are full.
        let sent = || loopback.stats().messages_to_agent;
        let mut before = 0;
        while std::mem::replace(&mut before, sent()) < sent() || before == 0 {
            thread::sleep(Duration::from_millis(500));
        }
        let begun = Instant::now();
        if killed {
            kill(child.id(), "-TERM");
        } else {
            writer.kill().unwrap();
            drop(stdout);
        }
        assert_eq!(wait(child).1, Some(if killed { 143 } else { 0 }));
        assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
        let _ = writer.kill();
        writer.wait().unwrap();
        assert!(loopback.wait_for(|stats| stats.ended == 1, DEADLINE));
    }
}

#[test]
fn a_reader_that_goes_away_ends_it() {
    let loopback = loopback();
    let (port, got) = serve(|mut stream| {
        let mut sent = 0_u64;
        loop {
            match stream.write(&[b'x'; 4096]) {
                Ok(length) => sent += length as u64,
                Err(error) => return (sent, error.kind()),
            }
        }
    });
    let mut child = in_pipes(session(&loopback, port));
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 1000]).unwrap();
    let begun = Instant::now();
    drop(stdout);
    assert_eq!(wait(child).1, Some(141));
    assert!(begun.elapsed() < AT_ONCE);
    let (_, kind) = got.recv_timeout(DEADLINE).unwrap();
    assert!(
        matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
        "{kind}"
    );
    assert!(loopback.wait_for(|stats| stats.ended == 1, DEADLINE));
}

#[test]
fn a_slow_reader_keeps_the_server_waiting_and_loses_nothing() {
    let loopback = loopback();
    let output = pattern(24_000_000, 4);
    let expected = output.clone();
    let (told, progress) = mpsc::channel();
    let (port, _) = serve(move |mut stream| {
        for piece in output.chunks(64 * 1024) {
            stream.write_all(piece).unwrap();
            let _ = told.send(());
        }
    });
    let mut child = in_pipes(session(&loopback, port));
    let stdout = child.stdout.take().unwrap();
    // Until the server is stuck.
    let mut pieces = 0;
    while progress.recv_timeout(Duration::from_millis(1500)).is_ok() {
        pieces += 1;
    }
    let buffered = pieces * 64 * 1024;
    assert!(buffered < expected.len(), "nothing holds the server up");
    let all = read_all(stdout);
    assert!(all == expected, "{} bytes", all.len());
    assert_eq!(wait(child), (String::new(), Some(0)));
}

#[test]
fn no_byte_is_lost_when_the_connection_is() {
    let loopback = Loopback::start(Peer {
        resend_tick: Duration::from_millis(2),
        ..peer()
    })
    .unwrap();
    let input = pattern(6_000_000, 5);
    let mut child = in_pipes(session(&loopback, echo(input.len())));
    let (mut stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let output = thread::spawn(move || read_all(stdout));
    for (n, piece) in input.chunks(1_000_000).enumerate() {
        stdin.write_all(piece).unwrap();
        match n % 2 {
            0 => loopback.cut(),
            _ => loopback.close(1000, "Bye"),
        }
    }
    drop(stdin);
    let output = output.join().unwrap();
    assert!(output == input, "{} bytes", output.len());
    let (said, code) = wait(child);
    assert_eq!(code, Some(0));
    assert!(loopback.stats().resumes > 0);
    for line in said.lines() {
        assert!(line.starts_with("ssmx: connection lost ("), "{said}");
    }
}
