//! `ssmx forward` as a program, and what it leads to.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use ssmx::loopback::{Loopback, Options};

use crate::support::{DEADLINE, Finished, SSMX, command, kill};

/// An AWS whose agents do not pause.
pub fn loopback() -> Loopback {
    loopback_with(Options::default())
}

/// The same with other settings.
pub fn loopback_with(options: Options) -> Loopback {
    Loopback::start(Options {
        paced: false,
        hosts: vec![("db.internal".to_owned(), Ipv4Addr::LOCALHOST.into())],
        ..options
    })
    .expect("loopback starts")
}

/// `ssmx forward` on the loopback's node.
pub fn forward(loopback: &Loopback, arguments: &[&str]) -> Command {
    // A soak of a release is the one that tells of memory.
    let binary = std::env::var("SSMX_BIN").unwrap_or_else(|_| SSMX.to_owned());
    let mut command = command(&binary, loopback);
    command.args(["forward", loopback.target()]).args(arguments);
    command.stdin(Stdio::null());
    command
}

/// A program whose lines are read as they come.
pub struct Program {
    child: Child,
    stdout: mpsc::Receiver<String>,
    stderr: mpsc::Receiver<String>,
    /// Lines of stderr that were passed over.
    said: Vec<String>,
}

impl Program {
    /// `ssmx forward --json` on the loopback's node.
    pub fn forward(loopback: &Loopback, arguments: &[&str]) -> Self {
        let mut command = forward(loopback, arguments);
        command.arg("--json");
        Self::start(command)
    }

    pub fn start(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let stdout = lines(child.stdout.take().expect("stdout is piped"));
        let stderr = lines(child.stderr.take().expect("stderr is piped"));
        Self {
            child,
            stdout,
            stderr,
            said: Vec::new(),
        }
    }

    /// The next event of this name; others before it are passed over.
    #[track_caller]
    pub fn event(&mut self, name: &str) -> Value {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let event: Value = serde_json::from_str(&self.line_by(deadline, name)).expect("JSON");
            if event["event"] == name {
                return event;
            }
        }
    }

    /// The next line of stdout.
    #[track_caller]
    pub fn line(&mut self) -> String {
        self.line_by(Instant::now() + DEADLINE, "a line")
    }

    #[track_caller]
    fn line_by(&mut self, deadline: Instant, wanted: &str) -> String {
        let left = deadline.saturating_duration_since(Instant::now());
        match self.stdout.recv_timeout(left) {
            Ok(line) => line,
            Err(error) => {
                self.said.extend(self.stderr.try_iter());
                panic!("no {wanted}: {error}; stderr: {:#?}", self.said);
            }
        }
    }

    /// The next line of stderr that has this in it.
    #[track_caller]
    pub fn says(&mut self, what: &str) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.stderr.recv_timeout(left) {
                Ok(line) if line.contains(what) => return line,
                Ok(line) => self.said.push(line),
                Err(error) => panic!("no {what:?}: {error}; stderr: {:#?}", self.said),
            }
        }
    }

    /// The ports of the next `N` forwards that are ready, in the order of the options.
    #[track_caller]
    pub fn ports<const N: usize>(&mut self) -> [u16; N] {
        let mut ports = [0; N];
        for _ in 0..N {
            let ready = self.event("ready");
            let number = |name: &str| ready[name].as_u64().expect("a number");
            let at = usize::try_from(number("forward")).unwrap() - 1;
            ports[at] = u16::try_from(number("port")).unwrap();
        }
        ports
    }

    /// The most memory that it ever had in use, in KiB.
    #[cfg(target_os = "linux")]
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .expect("it is running");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        number.and_then(|text| text.parse().ok()).expect("a number")
    }

    pub fn signal(&self, signal: &str) {
        kill(self.child.id(), signal);
    }

    /// Waits for the end; what was passed over before is not repeated on stdout.
    pub fn finish(mut self) -> Finished {
        let deadline = Instant::now() + DEADLINE;
        let mut rest = |pipe: &mpsc::Receiver<String>| {
            let mut text = String::new();
            loop {
                let left = deadline.saturating_duration_since(Instant::now());
                match pipe.recv_timeout(left) {
                    Ok(line) => text.push_str(&(line + "\n")),
                    Err(mpsc::RecvTimeoutError::Disconnected) => return text,
                    Err(mpsc::RecvTimeoutError::Timeout) => {
                        self.child.kill().expect("the program can be killed");
                        panic!("the program does not end: {text} {:#?}", self.said);
                    }
                }
            }
        };
        let stdout = rest(&self.stdout);
        let mut stderr = self.said.join("\n");
        stderr.push('\n');
        stderr.push_str(&rest(&self.stderr));
        Finished {
            stdout: stdout.into_bytes(),
            stderr,
            status: self.child.wait().expect("it can be waited for"),
        }
    }

    /// Interrupts it; the session or sessions must be ended in order.
    pub fn interrupt(self) -> Finished {
        self.signal("-INT");
        let done = self.finish();
        assert_eq!(done.code(), Some(130), "{done:?}");
        done
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // A test that failed leaves nothing behind; else it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(pipe: impl std::io::Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// A server that sends back what it gets, on 127.0.0.1; its port.
pub fn echo() -> u16 {
    serve(|mut stream| {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            if stream.write_all(&buffer[..length]).is_err() {
                return;
            }
        }
    })
}

/// A server on 127.0.0.1 that does this with each connection; its port.
pub fn serve(serve: impl Fn(TcpStream) + Send + Sync + Clone + 'static) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let serve = serve.clone();
            thread::spawn(move || serve(stream));
        }
    });
    port
}

/// A port that nobody listens on.
pub fn closed_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// A connection that does not wait for ever.
pub fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the port is open");
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// Sends a word to an echo, and has it back.
#[track_caller]
pub fn ping(stream: &mut TcpStream, word: &str) {
    stream.write_all(word.as_bytes()).expect("it is connected");
    let mut back = vec![0; word.len()];
    stream.read_exact(&mut back).expect("an answer");
    assert_eq!(back, word.as_bytes());
}

/// Whether the connection is ended abruptly, or in order.
pub fn is_reset(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => false,
        Err(error) => {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
            true
        }
    }
}

/// Bytes that look random, the same for the same seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        // The generator of Knuth's MMIX, of which the upper half is good enough.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&state.to_le_bytes()[4..]);
    }
    bytes.truncate(length);
    bytes
}

pub fn digest(bytes: &[u8]) -> Vec<u8> {
    Sha256::digest(bytes).to_vec()
}

/// Sends `length` bytes to an echo while it reads them back; whether all is as it was.
pub fn exchange(mut stream: TcpStream, seed: u64, length: usize) -> bool {
    let sent = noise(seed, length);
    let expected = digest(&sent);
    let mut writer = stream.try_clone().unwrap();
    let writing = thread::spawn(move || {
        writer.write_all(&sent).expect("all goes out");
        writer.shutdown(Shutdown::Write).expect("it is connected");
    });
    let mut back = Vec::new();
    stream.read_to_end(&mut back).expect("an end in order");
    writing.join().unwrap();
    back.len() == length && digest(&back) == expected
}
