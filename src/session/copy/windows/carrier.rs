//! The port session that carries the bytes: one connection to the node's program.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use super::super::CopyFailure;
use crate::aws::Aws;
use crate::channel::{Channel, Ended, Event};
use crate::protocol::SessionType;
use crate::protocol::payload::Flag;
use crate::protocol::smux::{Config, Role, Streams};
use crate::protocol::version::AgentFeatures;
use crate::session::SessionFailure;
use crate::session::ending::printable;
use crate::session::forward::leave::{Patience, terminate};
use crate::session::forward::{Mode, Properties};
use crate::session::notices::LossNotice;
use crate::session::opening::Opened;

/// Bytes that are handed to the channel at a time.
const PIECE: usize = 16 * 1024;

/// A port session in force.
pub struct Carrier {
    aws: Aws,
    session_id: String,
    channel: Channel,
    features: AgentFeatures,
    /// The one stream, where the agent carries many connections.
    stream: Option<Stream>,
    loss: LossNotice,
}

struct Stream {
    streams: Streams,
    id: u32,
}

/// What a carrier did.
pub enum Carried {
    /// It took so many bytes.
    Taken(usize),
    /// These came.
    Came(Bytes),
    /// This is to be told.
    Notice(String),
    /// It can go on no longer.
    Over(CopyFailure),
}

impl Carrier {
    /// By a session that leads to the node's program.
    ///
    /// # Errors
    ///
    /// It is for something else.
    pub fn new(opened: Opened) -> Result<Self, Box<Opened>> {
        let SessionType::Port(properties) = &opened.kind else {
            return Err(Box::new(opened));
        };
        let stream = match Properties::read(properties).mode(opened.features) {
            Mode::Mux => {
                let config = Config {
                    slow_reader: None,
                    ..Config::new(Role::Client, !opened.features.smux_keepalive_disabled)
                };
                let mut streams = Streams::new(config, now());
                // The first of all is never one too many.
                streams.open(now()).map(|id| Stream { streams, id })
            }
            Mode::Basic | Mode::Stdio => None,
        };
        Ok(Self {
            aws: opened.aws,
            session_id: opened.session_id,
            channel: opened.channel,
            features: opened.features,
            stream,
            loss: LossNotice::default(),
        })
    }

    /// Waits for something to happen; takes what is in `out`. Safe to cancel.
    pub async fn next(&mut self, out: &mut VecDeque<Bytes>) -> Carried {
        let sender = self.channel.sender();
        loop {
            let taken = self.take(out);
            if taken > 0 {
                return Carried::Taken(taken);
            }
            if let Some(carried) = self.received() {
                return carried;
            }
            let sends = match &self.stream {
                Some(stream) => stream.streams.has_output(),
                None => !out.is_empty(),
            };
            let timeout = self.stream.as_ref();
            let timeout = timeout.and_then(|stream| stream.streams.poll_timeout());
            let deadlines = [timeout.map(Instant::from_std), self.loss.deadline()];
            tokio::select! {
                event = self.channel.next() => {
                    if let Some(carried) = self.handle(event) {
                        return carried;
                    }
                }
                permit = sender.reserve(), if sends => match permit {
                    Ok(permit) => match &mut self.stream {
                        Some(stream) => if let Some(data) = stream.streams.poll_transmit(PIECE) {
                            permit.send(data);
                        },
                        None => if let Some(data) = out.pop_front() {
                            let length = data.len();
                            permit.send(data);
                            return Carried::Taken(length);
                        },
                    },
                    // The channel's last event is on its way.
                    Err(Ended) => out.clear(),
                },
                () = until(deadlines.into_iter().flatten().min()) => {
                    if let Some(stream) = &mut self.stream {
                        stream.streams.handle_timeout(now());
                    }
                    if self.loss.deadline().is_some_and(|at| at <= Instant::now())
                        && let Some(text) = self.loss.tell()
                    {
                        return Carried::Notice(text);
                    }
                }
            }
        }
    }

    /// Hands over to the stream what it has room for.
    fn take(&mut self, out: &mut VecDeque<Bytes>) -> usize {
        let mut taken = 0;
        let Some(Stream { streams, id }) = &mut self.stream else {
            return 0;
        };
        while let Some(data) = out.front_mut() {
            let room = streams.room(*id).min(data.len());
            if room == 0 && !data.is_empty() {
                break;
            }
            let piece = data.split_to(room);
            streams.write(*id, &piece);
            taken += piece.len();
            if data.is_empty() {
                out.pop_front();
            }
        }
        taken
    }

    /// What the stream has for us.
    fn received(&mut self) -> Option<Carried> {
        let Stream { streams, id } = self.stream.as_mut()?;
        // What they tell is asked for below.
        while streams.poll_event().is_some() {}
        if let Some(data) = streams.take(*id) {
            streams.consumed(now(), *id, data.len());
            return Some(Carried::Came(data));
        }
        streams.is_over(*id).then(|| Carried::Over(gone()))
    }

    fn handle(&mut self, event: Option<Event>) -> Option<Carried> {
        match event {
            Some(Event::Output(data)) => match &mut self.stream {
                Some(stream) => {
                    let error = stream.streams.handle_input(now(), data).err()?;
                    let failure = SessionFailure::NotSmux(error);
                    Some(Carried::Over(failure.into()))
                }
                None => Some(Carried::Came(data)),
            },
            Some(Event::Flag(Flag::ConnectToPortError)) => Some(Carried::Over(
                CopyFailure::Garbled("the agent cannot connect to the program that it has begun"),
            )),
            Some(Event::CustomerMessage(text)) => Some(Carried::Notice(printable(&text))),
            Some(Event::Lost(reason)) => {
                self.loss.lost(reason);
                None
            }
            Some(Event::Hindered(reason)) => self.loss.hindered(reason).map(Carried::Notice),
            Some(Event::Resumed) => self.loss.resumed().map(Carried::Notice),
            Some(Event::End(end)) => Some(Carried::Over(SessionFailure::of(end).into())),
            // The channel's task ends only after its last event.
            None => Some(Carried::Over(gone())),
            Some(event) => {
                debug!(?event, "ignored");
                None
            }
        }
    }

    /// Ends the session, and with it the connection.
    pub async fn close(mut self) {
        let (aws, id) = (&self.aws, &self.session_id);
        let patience = Patience::ORDERLY;
        terminate(aws, id, &mut self.channel, self.features, patience).await;
        self.channel.close().await;
    }
}

/// What the carrier does next, if there is one.
pub async fn carried(carrier: &mut Option<Carrier>, out: &mut VecDeque<Bytes>) -> Carried {
    match carrier {
        Some(carrier) => carrier.next(out).await,
        None => std::future::pending().await,
    }
}

fn gone() -> CopyFailure {
    SessionFailure::Closed("the node's program is gone".to_owned()).into()
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
