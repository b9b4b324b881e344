//! What serves a session at the agent's end: a program, or connections to ports.

mod kill;
mod ports;
mod process;
mod thread;

use std::sync::mpsc as blocking;

use bytes::Bytes;
use tokio::time::{Instant, sleep_until};

pub(super) use self::ports::{Ports, Settings};
pub(super) use self::process::Process;
use super::agent;
use crate::protocol::message::PayloadType;
use crate::protocol::payload::{Flag, Size};

/// What a host did.
pub(super) enum HostEvent {
    /// Ports: input can be taken from now on.
    Ready,
    /// Ports: they cannot be served, for this reason.
    Failed(String),
    /// Output, not yet cut.
    Output(PayloadType, Bytes),
    /// There may be room for input again.
    Room,
    /// The program is over; its output may not be.
    Exited,
    /// Its output is over too. The exit status; -1 for killed.
    Ended(i32),
}

/// The one of a session.
pub(super) enum Host {
    Process(Process),
    Ports(Ports),
}

impl Host {
    /// The next thing that happens; no output unless it is `wanted`. May be dropped at any time
    /// without losing anything.
    pub(super) async fn next(&mut self, wanted: bool) -> HostEvent {
        match self {
            Self::Process(process) => process.next(wanted).await,
            Self::Ports(ports) => ports.next(wanted).await,
        }
    }

    /// Takes input in any case; to be bounded it must only get some while it
    /// [`takes_input`](Self::takes_input).
    pub(super) fn input(&mut self, input: Bytes) {
        match self {
            Self::Process(process) => process.input(input),
            Self::Ports(ports) => ports.input(input),
        }
    }

    pub(super) fn takes_input(&mut self) -> bool {
        match self {
            Self::Process(process) => process.takes_input(),
            Self::Ports(ports) => ports.takes_input(),
        }
    }

    /// Takes a flag, which comes behind the input before it.
    pub(super) fn flag(&mut self, flag: Flag) {
        if let Self::Ports(ports) = self {
            ports.flag(flag);
        }
    }

    /// Sends output that nobody made.
    pub(super) fn inject(&mut self, output: Bytes) {
        if let Self::Ports(ports) = self {
            ports.inject(output);
        }
    }

    pub(super) fn resize(&self, size: Size) {
        if let Self::Process(process) = self {
            process.resize(size);
        }
    }

    /// Signals the program, not its children.
    pub(super) fn signal(&mut self, signal: agent::Signal) {
        if let Self::Process(process) = self {
            process.signal(signal);
        }
    }

    /// Whether the program itself is over; its output may not be.
    pub(super) fn has_exited(&self) -> bool {
        match self {
            Self::Process(process) => process.has_exited(),
            Self::Ports(_) => false,
        }
    }
}

/// Held by whatever may outlive a [`Host`] for a moment; who waits for the end of all children
/// waits until every clone is gone.
#[derive(Clone)]
pub(super) struct Remains(#[expect(dead_code, reason = "held, never used")] blocking::Sender<()>);

impl Remains {
    /// The receiver is disconnected once nothing remains.
    pub(super) fn new() -> (Self, blocking::Receiver<()>) {
        let (sender, receiver) = blocking::channel();
        (Self(sender), receiver)
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
