//! Raw mode, input and output on pseudo-terminals, pipes and files of the tests' own.

use std::fs::{File, OpenOptions};
use std::future::Future;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::thread;

use bytes::Bytes;
use portable_pty::{MasterPty, PtySize, native_pty_system};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::termios::{LocalModes, OutputModes, tcgetattr};

use super::unix::{Sink, Source, size_of};
use super::{Input, Output, RawMode, Signal, Signals, Size};

/// A pseudo-terminal, and its inner end opened.
fn terminal() -> (Box<dyn MasterPty + Send>, File) {
    let pair = native_pty_system()
        .openpty(PtySize {
            rows: 33,
            cols: 111,
            ..PtySize::default()
        })
        .unwrap();
    let name = pair.master.tty_name().unwrap();
    let inner = OpenOptions::new()
        .read(true)
        .write(true)
        .open(name)
        .unwrap();
    (pair.master, inner)
}

fn input(fd: impl Into<OwnedFd>) -> Input {
    Input::start(Source::new(Some(fd.into())).unwrap()).unwrap()
}

fn output(fd: impl Into<OwnedFd>) -> Output {
    Output::new("test output", Ok(Sink::new(fd.into())))
}

async fn read_to_end(input: &mut Input) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(chunk) = input.next().await {
        all.extend_from_slice(&chunk.unwrap());
    }
    all
}

/// Some bytes that differ from place to place.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i ^ (i >> 8)) as u8).collect()
}

fn poll_once<T>(future: impl Future<Output = T>) -> Poll<T> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Waits until nobody can read from the pipe any more.
fn wait_for_no_reader(pipe: &impl AsFd) {
    let mut fds = [PollFd::new(pipe, PollFlags::empty())];
    while poll(&mut fds, None).is_err() {}
    assert!(fds[0].revents().contains(PollFlags::ERR));
}

#[test]
fn raw_mode_is_entered_and_left() {
    let (_outer, inner) = terminal();
    let before = tcgetattr(&inner).unwrap();
    assert!(
        before
            .local_modes
            .contains(LocalModes::ICANON | LocalModes::ECHO)
    );

    let guard = RawMode::enter_on(inner.as_fd()).unwrap().unwrap();
    let raw = tcgetattr(&inner).unwrap();
    let keys = LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG | LocalModes::IEXTEN;
    assert!(!raw.local_modes.intersects(keys));
    assert!(!raw.output_modes.contains(OutputModes::OPOST));

    drop(guard);
    let after = tcgetattr(&inner).unwrap();
    assert_eq!(after.local_modes, before.local_modes);
    assert_eq!(after.input_modes, before.input_modes);
    assert_eq!(after.output_modes, before.output_modes);
    assert_eq!(after.control_modes, before.control_modes);
}

#[test]
fn restoring_keeps_what_was_typed_ahead() {
    let (outer, mut inner) = terminal();
    let mut keyboard = outer.take_writer().unwrap();
    let guard = RawMode::enter_on(inner.as_fd()).unwrap().unwrap();
    keyboard.write_all(b"ls\n").unwrap();
    let mut ready = [PollFd::new(&inner, PollFlags::IN)];
    poll(&mut ready, None).unwrap();
    drop(guard);
    let mut typed = [0; 3];
    inner.read_exact(&mut typed).unwrap();
    assert_eq!(&typed, b"ls\n");
}

#[test]
fn only_terminals_become_raw() {
    let (reader, _writer) = io::pipe().unwrap();
    assert!(RawMode::enter_on(reader.as_fd()).unwrap().is_none());
    let null = File::open("/dev/null").unwrap();
    assert!(RawMode::enter_on(null.as_fd()).unwrap().is_none());
}

#[test]
fn a_terminal_knows_its_size() {
    let (outer, inner) = terminal();
    assert_eq!(
        size_of(inner.as_fd()),
        Some(Size {
            cols: 111,
            rows: 33
        })
    );
    outer
        .resize(PtySize {
            rows: 0,
            cols: 0,
            ..PtySize::default()
        })
        .unwrap();
    assert_eq!(size_of(inner.as_fd()), None);
    let (reader, _writer) = io::pipe().unwrap();
    assert_eq!(size_of(reader.as_fd()), None);
}

#[tokio::test]
async fn keys_arrive_at_once_and_unchanged() {
    let (outer, inner) = terminal();
    let mut keyboard = outer.take_writer().unwrap();
    let _guard = RawMode::enter_on(inner.as_fd()).unwrap().unwrap();
    let mut input = input(inner);
    for keys in [
        &b"\r"[..],
        b"\n",
        b"\x03",
        b"\x1c\x1a",
        b"\x11\x13",
        b"\x1b[A\xff\x00",
    ] {
        keyboard.write_all(keys).unwrap();
        let mut got = Vec::new();
        while got.len() < keys.len() {
            got.extend_from_slice(&input.next().await.unwrap().unwrap());
        }
        assert_eq!(got, keys);
    }
}

#[tokio::test]
async fn a_hung_up_terminal_ends_the_input() {
    let (outer, inner) = terminal();
    let mut input = input(inner);
    drop(outer);
    // Linux says that it is at its end or that it is broken, depending on the moment.
    if let Some(chunk) = input.next().await {
        assert!(chunk.is_err());
        assert!(input.next().await.is_none());
    }
}

#[tokio::test]
async fn a_large_paste_arrives_whole() {
    let (reader, mut writer) = io::pipe().unwrap();
    let paste = pattern(3_000_000);
    let expected = paste.clone();
    let writing = thread::spawn(move || writer.write_all(&paste));
    assert_eq!(read_to_end(&mut input(reader)).await, expected);
    writing.join().unwrap().unwrap();
}

#[tokio::test]
async fn the_end_is_told_once() {
    let (reader, writer) = io::pipe().unwrap();
    let mut input = input(reader);
    drop(writer);
    assert!(input.next().await.is_none());
    assert!(poll_once(input.next()).is_pending());
}

#[tokio::test]
async fn files_and_devices_are_read_to_their_end() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&pattern(200_000)).unwrap();
    io::Seek::rewind(&mut file).unwrap();
    assert_eq!(read_to_end(&mut input(file)).await, pattern(200_000));

    let null = File::open("/dev/null").unwrap();
    assert_eq!(read_to_end(&mut input(null)).await, b"");

    let mut closed = Input::start(Source::new(None).unwrap()).unwrap();
    assert_eq!(read_to_end(&mut closed).await, b"");
}

#[tokio::test]
async fn an_unreadable_input_is_an_error_and_then_the_end() {
    let mut input = input(File::open("/").unwrap());
    assert!(input.next().await.unwrap().is_err());
    assert!(input.next().await.is_none());
}

#[tokio::test]
async fn a_non_blocking_input_is_waited_for() {
    let (reader, mut writer) = io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&reader, true).unwrap();
    let mut input = input(reader);
    writer.write_all(b"one").unwrap();
    assert_eq!(input.next().await.unwrap().unwrap(), "one");
    writer.write_all(b"two").unwrap();
    assert_eq!(input.next().await.unwrap().unwrap(), "two");
}

#[tokio::test]
async fn a_dropped_input_reads_no_more() {
    let (mut reader, mut writer) = io::pipe().unwrap();
    let mut input = input(reader.try_clone().unwrap());
    writer.write_all(b"ours").unwrap();
    assert_eq!(input.next().await.unwrap().unwrap(), "ours");
    drop(input);
    writer.write_all(b"theirs").unwrap();
    drop(writer);
    let mut rest = String::new();
    reader.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "theirs");
}

#[test]
fn dropping_an_input_ends_its_thread() {
    let (reader, writer) = io::pipe().unwrap();
    drop(input(reader));
    wait_for_no_reader(&writer);

    // The same with more to read than the queue has room for, whatever the thread does
    // at that moment.
    let (reader, mut writer) = io::pipe().unwrap();
    let input = input(reader);
    let writing = thread::spawn(move || writer.write_all(&pattern(16 << 20)));
    drop(input);
    let error = writing.join().unwrap().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
}

#[tokio::test]
async fn output_waits_while_the_queue_is_full() {
    let (mut reader, writer) = io::pipe().unwrap();
    let mut output = output(writer);
    let sent = pattern(3 << 20);
    for chunk in sent.chunks(1000) {
        output.push(Bytes::copy_from_slice(chunk));
    }
    assert!(poll_once(output.ready()).is_pending());
    let reading = thread::spawn(move || {
        let mut all = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            match reader.read(&mut buffer).unwrap() {
                0 => return all,
                length => all.extend_from_slice(&buffer[..length]),
            }
        }
    });
    output.ready().await.unwrap();
    output.write(Bytes::from_static(b"end")).await.unwrap();
    output.flush().await.unwrap();
    drop(output);
    let all = reading.join().unwrap();
    assert_eq!(all.len(), sent.len() + 3);
    assert!(all.starts_with(&sent) && all.ends_with(b"end"));
}

#[tokio::test]
async fn flushed_output_is_written() {
    let (mut reader, writer) = io::pipe().unwrap();
    let mut output = output(writer);
    for text in ["a", "bc", "", "def"] {
        output.push(Bytes::from_static(text.as_bytes()));
    }
    output.flush().await.unwrap();
    let mut got = [0; 6];
    reader.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"abcdef");
}

#[tokio::test]
async fn dropped_output_is_still_written() {
    let (mut reader, writer) = io::pipe().unwrap();
    let mut output = output(writer);
    output.push(Bytes::from_static(b"last words"));
    drop(output);
    let mut got = String::new();
    reader.read_to_string(&mut got).unwrap();
    assert_eq!(got, "last words");
}

#[tokio::test]
async fn a_closed_output_is_an_error_each_time() {
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let mut output = output(writer);
    output.push(Bytes::from_static(b"unheard"));
    for _ in 0..2 {
        let error = output.flush().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
    let error = output
        .write(Bytes::from_static(b"still"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
}

#[tokio::test]
async fn a_non_blocking_output_is_waited_for() {
    let (mut reader, writer) = io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    let mut output = output(writer);
    output.push(Bytes::from(pattern(2 << 20)));
    assert!(poll_once(output.flush()).is_pending());
    let reading = thread::spawn(move || {
        let mut all = Vec::new();
        reader.read_to_end(&mut all).unwrap();
        all
    });
    output.flush().await.unwrap();
    drop(output);
    assert!(reading.join().unwrap() == pattern(2 << 20));
}

#[tokio::test]
async fn signals_arrive_and_repeats_count_once() {
    #[expect(unsafe_code, reason = "whoever runs the tests may have had it ignored")]
    // SAFETY: a default disposition runs no code of ours.
    unsafe {
        libc::signal(libc::SIGHUP, libc::SIG_DFL);
    }
    let mut signals = Signals::install().unwrap();
    let own = rustix::process::getpid();
    for (number, signal) in [
        (rustix::process::Signal::WINCH, Signal::Resize),
        (rustix::process::Signal::TSTP, Signal::Suspend),
        (rustix::process::Signal::CONT, Signal::Continue),
        (rustix::process::Signal::TERM, Signal::Terminate),
        (rustix::process::Signal::HUP, Signal::Hangup),
        (rustix::process::Signal::QUIT, Signal::Quit),
        (rustix::process::Signal::INT, Signal::Interrupt),
    ] {
        rustix::process::kill_process(own, number).unwrap();
        assert_eq!(signals.next().await, signal);
    }
}
