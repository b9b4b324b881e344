//! ssh's own forwards, through a session.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::thread;

use super::{Scene, free_port};
use crate::support::DEADLINE;

/// A server that gives back what it gets, to the end; its port.
fn echo_server() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    // Until the tests end.
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            thread::spawn(move || {
                let mut back = stream.try_clone().expect("one more descriptor");
                // The other end may go away.
                let _ = std::io::copy(&mut stream, &mut back);
                let _ = back.shutdown(Shutdown::Write);
            });
        }
    });
    port
}

/// A socket of either kind.
trait Socket: Read + Write + Send + Sized + 'static {
    fn double(&self) -> Self;
    fn end_input(&self);
}

impl Socket for TcpStream {
    fn double(&self) -> Self {
        self.set_read_timeout(Some(DEADLINE)).expect("a limit");
        self.try_clone().expect("one more descriptor")
    }
    fn end_input(&self) {
        self.shutdown(Shutdown::Write).expect("still there");
    }
}

impl Socket for UnixStream {
    fn double(&self) -> Self {
        self.set_read_timeout(Some(DEADLINE)).expect("a limit");
        self.try_clone().expect("one more descriptor")
    }
    fn end_input(&self) {
        self.shutdown(Shutdown::Write).expect("still there");
    }
}

/// Everything that goes in comes out, and an end of input is an end of output.
#[track_caller]
fn assert_echoes(mut socket: impl Socket, seed: u64) {
    let mut data = vec![0; 1 << 20];
    fastrand::Rng::with_seed(seed).fill(&mut data);
    let mut writer = socket.double();
    let sent = data.clone();
    let writing = thread::spawn(move || {
        writer.write_all(&sent).expect("taken");
        writer.end_input();
    });
    let mut got = Vec::new();
    socket.read_to_end(&mut got).expect("readable");
    writing.join().expect("no panic");
    assert!(got == data, "{} bytes of {}", got.len(), data.len());
}

/// A connection through a SOCKS server to a port of this machine.
fn through_socks(proxy: u16, port: u16) -> TcpStream {
    let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy)).expect("it listens");
    socket.set_read_timeout(Some(DEADLINE)).expect("a limit");
    socket.write_all(&[5, 1, 0]).expect("taken");
    let mut answer = [0; 2];
    socket.read_exact(&mut answer).expect("an answer");
    assert_eq!(answer, [5, 0]);
    let mut request = vec![5, 1, 0, 3, 9];
    request.extend(b"localhost");
    request.extend(port.to_be_bytes());
    socket.write_all(&request).expect("taken");
    let mut answer = [0; 10];
    socket.read_exact(&mut answer).expect("an answer");
    assert_eq!(answer[1], 0, "refused");
    socket
}

#[test]
fn local_remote_and_dynamic_ones() {
    let Some(scene) = Scene::set() else { return };
    let echo = echo_server();
    let (local, remote) = (scene.server.file("local"), scene.server.file("remote"));
    let (local_text, remote_text) = (local.display(), remote.display());
    let proxy = free_port();
    let mut ssh = scene.ssh(
        &[
            "-o",
            "ExitOnForwardFailure=yes",
            "-L",
            &format!("{local_text}:127.0.0.1:{echo}"),
            "-R",
            &format!("{remote_text}:127.0.0.1:{echo}"),
            "-D",
            &format!("127.0.0.1:{proxy}"),
        ],
        "echo ready; cat",
    );
    let mut child = ssh
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("ssh runs");
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
    stdout.read_line(&mut line).expect("readable");
    assert_eq!(line, "ready\n");
    // All at once.
    let local = UnixStream::connect(&local).expect("it listens");
    let remote = UnixStream::connect(&remote).expect("it listens");
    let dynamic = through_socks(proxy, echo);
    thread::scope(|scope| {
        scope.spawn(|| assert_echoes(local, 1));
        scope.spawn(|| assert_echoes(remote, 2));
        scope.spawn(|| assert_echoes(dynamic, 3));
    });
    drop(child.stdin.take());
    assert!(child.wait().expect("it ends").success());
    scene.assert_ended(1);
}
