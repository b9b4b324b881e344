//! Reading, writing and waiting, each on a thread of its own.

use std::io::{self, Read, Write};
use std::sync::mpsc as blocking;
use std::thread;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::{mpsc, oneshot};

use super::super::output::CHUNK;

/// Read buffer of unpaced output, in bytes: a pipe's size.
pub(super) const READ_BUFFER: usize = 64 << 10;
/// Pause between reads of paced output.
pub(super) const PACE: Duration = Duration::from_millis(1);
/// Reads that wait for the session.
const OUTPUT_QUEUE: usize = 4;
/// Inputs that wait for the terminal.
const INPUT_QUEUE: usize = 64;

/// Reads until the end or an error: a terminal ends with one.
pub(super) fn read(
    mut reader: impl Read + Send + 'static,
    paced: bool,
) -> io::Result<mpsc::Receiver<Bytes>> {
    let (sender, receiver) = mpsc::channel(if paced { 1 } else { OUTPUT_QUEUE });
    let size = if paced { CHUNK } else { READ_BUFFER };
    let run = move || {
        let mut buffer = BytesMut::zeroed(size);
        loop {
            let length = match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => break,
            };
            let chunk = if length < size / 2 {
                Bytes::copy_from_slice(buffer.get(..length).unwrap_or_default())
            } else {
                let mut full = std::mem::replace(&mut buffer, BytesMut::zeroed(size));
                full.truncate(length);
                full.freeze()
            };
            if sender.blocking_send(chunk).is_err() {
                break;
            }
            if paced {
                thread::sleep(PACE);
            }
        }
    };
    thread::Builder::new()
        .name("loopback-read".into())
        .spawn(run)?;
    Ok(receiver)
}

/// Writes until the session is gone. Linux never wakes a writer whose terminal has no reader any
/// more, so where input was left unread the thread stays until this process ends.
pub(super) fn write(mut writer: impl Write + Send + 'static) -> io::Result<mpsc::Sender<Bytes>> {
    let (sender, mut receiver) = mpsc::channel::<Bytes>(INPUT_QUEUE);
    let run = move || {
        while let Some(input) = receiver.blocking_recv() {
            if writer.write_all(&input).is_err() {
                break;
            }
        }
    };
    thread::Builder::new()
        .name("loopback-write".into())
        .spawn(run)?;
    Ok(sender)
}

/// The exit status, and the bare fact for those who cannot await it.
pub(super) fn wait(
    wait: impl FnOnce() -> i32 + Send + 'static,
) -> io::Result<(oneshot::Receiver<i32>, blocking::Receiver<()>)> {
    let (sender, receiver) = oneshot::channel();
    let (ended, has_ended) = blocking::channel();
    let run = move || {
        let _ = sender.send(wait());
        drop(ended);
    };
    thread::Builder::new()
        .name("loopback-wait".into())
        .spawn(run)?;
    Ok((receiver, has_ended))
}
