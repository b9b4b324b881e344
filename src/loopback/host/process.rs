//! Programs: on a terminal, or with pipes.
//!
//! Reading, writing and waiting block, so each has a thread of its own, and a bounded channel to
//! the session. The threads end with the program, which ends with its [`Process`] at the latest.

use std::collections::VecDeque;
use std::io;
use std::process::{Command, Stdio};
use std::sync::mpsc as blocking;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use portable_pty::{CommandBuilder, MasterPty, PtySize, native_pty_system};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::super::agent;
use super::super::output::CHUNK;
use super::kill::Killer;
use super::thread::{PACE, READ_BUFFER, read, wait, write};
use super::{HostEvent, Remains, until};
use crate::protocol::message::PayloadType;
use crate::protocol::payload::Size;

/// How long output is awaited once the program has ended: others may hold the other end open.
const LINGER: Duration = Duration::from_secs(2);
/// The most output that is kept for the end of a command, in bytes; more is lost.
const COLLECT: usize = 256 << 20;

/// A running program.
pub(in super::super) struct Process {
    output: Option<mpsc::Receiver<Bytes>>,
    errors: Option<mpsc::Receiver<Bytes>>,
    exit: oneshot::Receiver<i32>,
    ended: Option<blocking::Receiver<()>>,
    exited: Option<(i32, Instant)>,
    /// It got a signal from the client.
    interrupted: bool,
    collected: Option<Collected>,
    paced: bool,
    input: Option<mpsc::Sender<Bytes>>,
    /// Input that the terminal had no room for.
    typed: VecDeque<Bytes>,
    terminal: Option<Box<dyn MasterPty + Send>>,
    killer: Killer,
    remains: Remains,
}

/// Output that is sent only at the end.
#[derive(Default)]
struct Collected {
    chunks: VecDeque<BytesMut>,
    bytes: usize,
    next: Option<Instant>,
}

impl Process {
    /// Starts `argv` on a terminal of 80 by 24.
    pub(in super::super) fn terminal(
        argv: &[String],
        paced: bool,
        remains: Remains,
    ) -> io::Result<Self> {
        let pair = native_pty_system()
            .openpty(PtySize {
                rows: 24,
                cols: 80,
                pixel_width: 0,
                pixel_height: 0,
            })
            .map_err(io::Error::other)?;
        let mut command = CommandBuilder::from_argv(argv.iter().map(Into::into).collect());
        command.env("TERM", "xterm-256color");
        if std::env::var_os("LANG").is_none() {
            command.env("LANG", "C.UTF-8");
        }
        if let Ok(directory) = std::env::current_dir() {
            command.cwd(directory);
        }
        let mut child = pair
            .slave
            .spawn_command(command)
            .map_err(io::Error::other)?;
        drop(pair.slave);
        let killer = Killer::of_terminal(child.as_ref());
        let reader = pair.master.try_clone_reader().map_err(io::Error::other)?;
        let writer = pair.master.take_writer().map_err(io::Error::other)?;
        let (exit, ended) = wait(move || match child.wait() {
            Ok(status) if status.signal().is_none() => status.exit_code().cast_signed(),
            _ => -1,
        })?;
        Ok(Self {
            output: Some(read(reader, paced)?),
            errors: None,
            exit,
            ended: Some(ended),
            exited: None,
            interrupted: false,
            collected: None,
            paced,
            input: Some(write(writer)?),
            typed: VecDeque::new(),
            terminal: Some(pair.master),
            killer,
            remains,
        })
    }

    /// Starts `argv` with nothing to read, outputs `apart` or together at the end.
    pub(in super::super) fn command(
        argv: &[String],
        apart: bool,
        paced: bool,
        remains: Remains,
    ) -> io::Result<Self> {
        let (program, arguments) = argv
            .split_first()
            .ok_or_else(|| io::Error::other("there is no command"))?;
        let (stdout, write_stdout) = io::pipe()?;
        let (errors, write_stderr) = if apart {
            let (stderr, write_stderr) = io::pipe()?;
            (Some(stderr), write_stderr)
        } else {
            (None, write_stdout.try_clone()?)
        };
        let mut command = Command::new(program);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(write_stdout)
            .stderr(write_stderr);
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn()?;
        // The command holds our copies of the pipes' other ends.
        drop(command);
        let killer = Killer::of_command(child.id());
        let (exit, ended) = wait(move || match child.wait() {
            Ok(status) => status.code().unwrap_or(-1),
            Err(_) => -1,
        })?;
        Ok(Self {
            output: Some(read(stdout, false)?),
            errors: errors.map(|errors| read(errors, false)).transpose()?,
            exit,
            ended: Some(ended),
            exited: None,
            interrupted: false,
            collected: (!apart).then(Collected::default),
            paced,
            input: None,
            typed: VecDeque::new(),
            terminal: None,
            killer,
            remains,
        })
    }

    /// The next thing that happens; no output unless it is `wanted`.
    pub(super) async fn next(&mut self, wanted: bool) -> HostEvent {
        let full = self.input.clone().filter(|_| !self.typed.is_empty());
        tokio::select! {
            event = self.happening(wanted) => event,
            () = room_in(full) => {
                self.type_in();
                HostEvent::Room
            }
        }
    }

    async fn happening(&mut self, wanted: bool) -> HostEvent {
        loop {
            let over = self.output.is_none() && self.errors.is_none();
            if over && self.exited.is_none() {
                let code = (&mut self.exit).await.unwrap_or(-1);
                self.exited = Some((code, Instant::now()));
            }
            if let (true, true, Some((code, _))) = (over, wanted, self.exited) {
                return match self.next_collected().await {
                    Some(chunk) => HostEvent::Output(PayloadType::OUTPUT, chunk),
                    // Agents wait for it twice then, and lose its status.
                    None if self.interrupted => HostEvent::Ended(1),
                    None => HostEvent::Ended(code),
                };
            }
            let reads = wanted || self.collected.is_some();
            let linger = self
                .exited
                .map(|(_, at)| at + LINGER)
                .filter(|_| reads && !over);
            tokio::select! {
                chunk = receive(&mut self.output), if reads => match chunk {
                    None => self.output = None,
                    Some(chunk) => match &mut self.collected {
                        None => return HostEvent::Output(PayloadType::OUTPUT, chunk),
                        Some(collected) => collected.push(chunk),
                    },
                },
                chunk = receive(&mut self.errors), if reads => match chunk {
                    None => self.errors = None,
                    Some(chunk) => return HostEvent::Output(PayloadType::STDERR, chunk),
                },
                code = &mut self.exit, if self.exited.is_none() => {
                    self.exited = Some((code.unwrap_or(-1), Instant::now()));
                    return HostEvent::Exited;
                }
                () = until(linger) => {
                    self.output = None;
                    self.errors = None;
                }
            }
        }
    }

    async fn next_collected(&mut self) -> Option<Bytes> {
        let collected = self.collected.as_mut()?;
        let chunk = collected.chunks.front_mut()?;
        if !self.paced {
            return collected.chunks.pop_front().map(BytesMut::freeze);
        }
        if let Some(next) = collected.next {
            sleep_until(next).await;
        }
        collected.next = Some(Instant::now() + PACE);
        let piece = chunk.split_to(CHUNK.min(chunk.len())).freeze();
        if chunk.is_empty() {
            collected.chunks.pop_front();
        }
        Some(piece)
    }

    /// Types into the terminal as soon as there is room.
    pub(super) fn input(&mut self, input: Bytes) {
        self.typed.push_back(input);
        self.type_in();
    }

    /// Whether all input so far is typed.
    pub(super) fn takes_input(&self) -> bool {
        self.typed.is_empty()
    }

    fn type_in(&mut self) {
        let Some(queue) = &self.input else {
            return self.typed.clear();
        };
        while let Some(input) = self.typed.pop_front() {
            // Where nobody reads any more, input goes nowhere.
            if let Err(mpsc::error::TrySendError::Full(input)) = queue.try_send(input) {
                return self.typed.push_front(input);
            }
        }
    }

    pub(super) fn resize(&self, size: Size) {
        let cells = |n: u32| u16::try_from(n).unwrap_or(u16::MAX);
        if let Some(terminal) = &self.terminal {
            let outcome = terminal.resize(PtySize {
                rows: cells(size.rows),
                cols: cells(size.cols),
                pixel_width: 0,
                pixel_height: 0,
            });
            if let Err(error) = outcome {
                tracing::debug!(%error, "the loopback terminal cannot be resized");
            }
        }
    }

    /// Signals the program, not its children.
    pub(super) fn signal(&mut self, signal: agent::Signal) {
        if self.exited.is_none() {
            self.interrupted = true;
            self.killer.signal(signal);
        }
    }

    /// Whether the program itself is over; its output may not be.
    pub(super) fn has_exited(&self) -> bool {
        self.exited.is_some()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The id of an ended program may be another's by now.
        let over = self.exited.is_some() || self.exit.try_recv().is_ok();
        if let Some(ended) = self.ended.take().filter(|_| !over) {
            self.killer.kill(ended, self.remains.clone());
        }
    }
}

impl Collected {
    /// Fills chunks up to their full size, whatever the reads were.
    fn push(&mut self, mut output: Bytes) {
        output.truncate(COLLECT - self.bytes);
        self.bytes += output.len();
        while !output.is_empty() {
            let room = match self.chunks.back() {
                Some(chunk) if chunk.len() < READ_BUFFER => READ_BUFFER - chunk.len(),
                _ => {
                    self.chunks.push_back(BytesMut::new());
                    READ_BUFFER
                }
            };
            if let Some(chunk) = self.chunks.back_mut() {
                chunk.extend_from_slice(&output.split_to(room.min(output.len())));
            }
        }
    }
}

async fn receive(queue: &mut Option<mpsc::Receiver<Bytes>>) -> Option<Bytes> {
    match queue {
        Some(queue) => queue.recv().await,
        None => std::future::pending().await,
    }
}

async fn room_in(queue: Option<mpsc::Sender<Bytes>>) {
    match queue {
        // Closed is room too: input goes nowhere then.
        Some(queue) => drop(queue.reserve().await),
        None => std::future::pending().await,
    }
}
