//! One connection at a time, whose bytes are those of the messages.

use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use tokio::net::TcpStream;

use super::HostEvent;
use super::destination::Destination;
use super::pace::Pace;
use crate::protocol::message::PayloadType;
use crate::protocol::payload::Flag;

/// Inputs that may wait for the destination, in messages.
const QUEUE: usize = 256;
/// Messages that are written at once.
const GATHERED: usize = 64;

type Dial = Pin<Box<dyn Future<Output = Result<TcpStream, String>> + Send>>;

/// Stdio mode, or basic mode.
pub(super) struct Direct {
    destination: Arc<Destination>,
    /// Basic: a connection that has ended gives way to another one.
    forwards: bool,
    connection: Connection,
    queue: VecDeque<Input>,
    buffer: Vec<u8>,
    injected: VecDeque<Bytes>,
    pace: Pace,
}

enum Connection {
    Dialling(Dial),
    Open(TcpStream),
    Closed,
}

enum Input {
    Data(Bytes),
    Flag(Flag),
}

/// What a connection is ready for.
enum Ready {
    Dialled(Result<TcpStream, String>),
    Write,
    Read,
    Inject,
}

impl Direct {
    /// Connects to the destination.
    pub(super) async fn connect(
        destination: Destination,
        forwards: bool,
        paced: bool,
    ) -> Result<Self, String> {
        let stream = destination.dial().await?;
        let pace = Pace::new(paced);
        Ok(Self {
            destination: Arc::new(destination),
            forwards,
            connection: Connection::Open(stream),
            queue: VecDeque::new(),
            buffer: vec![0; pace.size()],
            injected: VecDeque::new(),
            pace,
        })
    }

    pub(super) fn input(&mut self, input: Bytes) {
        self.queue.push_back(Input::Data(input));
    }

    pub(super) fn flag(&mut self, flag: Flag) {
        self.queue.push_back(Input::Flag(flag));
    }

    pub(super) fn takes_input(&self) -> bool {
        self.queue.len() < QUEUE
    }

    pub(super) fn inject(&mut self, output: Bytes) {
        self.injected.push_back(output);
    }

    pub(super) async fn next(&mut self, wanted: bool) -> HostEvent {
        loop {
            if let Some(event) = self.settle() {
                return event;
            }
            match self.ready(wanted).await {
                Ready::Dialled(Ok(stream)) => self.connection = Connection::Open(stream),
                Ready::Dialled(Err(reason)) => {
                    tracing::debug!(reason, "the loopback agent cannot reconnect");
                    self.connection = Connection::Closed;
                    return HostEvent::Ended(1);
                }
                Ready::Write => {
                    let full = !self.takes_input();
                    if let Err(error) = self.write() {
                        tracing::debug!(%error, "the loopback agent cannot write to the port");
                        if let Some(event) = self.closed(1) {
                            return event;
                        }
                    }
                    if full && self.takes_input() {
                        return HostEvent::Room;
                    }
                }
                Ready::Read => match self.read() {
                    Ok(output) if output.is_empty() => {
                        if let Some(event) = self.closed(0) {
                            return event;
                        }
                    }
                    Ok(output) => return HostEvent::Output(PayloadType::OUTPUT, output),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) => {
                        if let Some(event) = self.closed(1) {
                            return event;
                        }
                    }
                },
                Ready::Inject => {
                    if let Some(output) = self.injected.pop_front() {
                        return HostEvent::Output(PayloadType::OUTPUT, output);
                    }
                }
            }
        }
    }

    /// Does what flags say, and dials where data has nowhere to go.
    fn settle(&mut self) -> Option<HostEvent> {
        while let Some(Input::Flag(flag)) = self.queue.front() {
            let flag = *flag;
            self.queue.pop_front();
            match flag {
                Flag::TerminateSession => return Some(HostEvent::Ended(0)),
                Flag::DisconnectToPort => {
                    if let Some(event) = self.closed(1) {
                        return Some(event);
                    }
                }
                Flag::ConnectToPortError => {}
            }
        }
        if !self.queue.is_empty() && matches!(self.connection, Connection::Closed) {
            let destination = self.destination.clone();
            let dial = Box::pin(async move { destination.dial().await });
            self.connection = Connection::Dialling(dial);
        }
        None
    }

    /// The connection is over; so is a session that may not have another one.
    fn closed(&mut self, code: i32) -> Option<HostEvent> {
        self.connection = Connection::Closed;
        (!self.forwards).then_some(HostEvent::Ended(code))
    }

    async fn ready(&mut self, wanted: bool) -> Ready {
        let reads = wanted && self.injected.is_empty();
        let injects = wanted && !self.injected.is_empty();
        let writes = !self.queue.is_empty();
        let pace = &self.pace;
        match &mut self.connection {
            Connection::Dialling(dial) => tokio::select! {
                outcome = dial => Ready::Dialled(outcome),
                () = pace.due(), if injects => Ready::Inject,
            },
            // Errors show in what is tried then.
            Connection::Open(stream) => tokio::select! {
                _ = stream.writable(), if writes => Ready::Write,
                () = async { pace.due().await; let _ = stream.readable().await; }, if reads => Ready::Read,
                () = pace.due(), if injects => Ready::Inject,
                () = std::future::pending() => Ready::Read,
            },
            Connection::Closed => {
                if injects {
                    pace.due().await;
                    return Ready::Inject;
                }
                std::future::pending().await
            }
        }
    }

    /// Writes as much as the socket takes at once.
    fn write(&mut self) -> io::Result<()> {
        let Connection::Open(stream) = &self.connection else {
            return Ok(());
        };
        let pieces: Vec<IoSlice<'_>> = self
            .queue
            .iter()
            .map_while(|input| match input {
                Input::Data(data) => Some(IoSlice::new(data)),
                Input::Flag(_) => None,
            })
            .take(GATHERED)
            .collect();
        let mut written = match stream.try_write_vectored(&pieces) {
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        while let Some(Input::Data(data)) = self.queue.front_mut() {
            let part = written.min(data.len());
            data.advance(part);
            written -= part;
            if !data.is_empty() {
                break;
            }
            self.queue.pop_front();
        }
        Ok(())
    }

    fn read(&mut self) -> io::Result<Bytes> {
        let Connection::Open(stream) = &self.connection else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        let length = stream.try_read(&mut self.buffer)?;
        self.pace.has_read();
        let read = self.buffer.get(..length).unwrap_or_default();
        Ok(Bytes::copy_from_slice(read))
    }
}
