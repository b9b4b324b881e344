//! The agent's half of a data channel, without input or output of its own: frames, time and what
//! a program printed go in; frames, events and one deadline come out.
//!
//! It behaves as AWS's agent does, its weak spots included, since a client has to live with them:
//!
//! * It acknowledges after processing, and duplicates again. It does not check digests.
//! * Only its *oldest* unacknowledged message is ever sent again, looked at every 100 ms.
//! * Input before the end of the handshake is acknowledged and thrown away.
//! * A payload that it cannot use is not acknowledged, and nothing behind it is processed.
//! * Some input stops its reader for good: see [`Refusal::ReaderDead`].

mod features;
mod handshake;
mod interface;
mod outgoing;
mod received;
mod receiver;

pub use features::ClientFeatures;
pub use handshake::{Challenge, Encryption};
pub use interface::{Config, Event, Refusal, SessionType, Signal, Transmit};

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fastrand::Rng;
use uuid::Uuid;

use crate::protocol::cipher::Cipher;
use crate::protocol::message::{AgentMessage, FLAG_SYN, FLAG_SYN_FIN, MessageType, PayloadType};
use crate::protocol::payload;

use handshake::Handshake;
use outgoing::Outgoing;
use received::Received;

/// How many messages the agent keeps, each way.
pub const BUFFER_CAPACITY: usize = 100_000;
/// How often the agent looks at its oldest unacknowledged message.
pub const RESEND_TICK: Duration = Duration::from_millis(100);
/// What held messages may take together, in bytes: ours, the real one has no such bound.
const HELD_BYTES: usize = 64 << 20;

enum Reader {
    Running,
    /// Waits for a signalled command; its message is acknowledged afterwards.
    Waiting {
        id: Uuid,
        sequence: i64,
    },
    Dead,
}

/// One session's agent. After every call drain [`poll_transmit`](Self::poll_transmit) and
/// [`poll_event`](Self::poll_event), then wait until [`poll_timeout`](Self::poll_timeout).
pub struct Agent {
    config: Config,
    started: Instant,
    rng: Rng,
    expected: i64,
    held: HashMap<i64, Received>,
    held_bytes: usize,
    outgoing: Outgoing,
    paused: bool,
    ready: bool,
    /// The client has ended a port session.
    terminated: bool,
    reader: Reader,
    inbox: VecDeque<Bytes>,
    handshake: Handshake,
    cipher: Option<Cipher>,
    client_version: String,
    transmits: VecDeque<Transmit>,
    events: VecDeque<Event>,
}

impl Agent {
    /// Opens the channel; asks for a handshake if the session needs one.
    pub fn new(config: Config, now: Instant) -> Self {
        let mut agent = Self {
            started: now,
            rng: Rng::with_seed(config.seed),
            expected: 0,
            held: HashMap::new(),
            held_bytes: 0,
            outgoing: Outgoing::new(config.outgoing_capacity),
            paused: false,
            ready: false,
            terminated: false,
            reader: Reader::Running,
            inbox: VecDeque::new(),
            handshake: Handshake::Skipped,
            cipher: None,
            client_version: String::new(),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            config,
        };
        agent.announce(now, "Connected");
        agent.start_handshake(now);
        agent
    }

    /// The number of the next message that will be processed.
    pub fn expected(&self) -> i64 {
        self.expected
    }

    /// Messages held out of order.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Whether the client is away, as far as the agent knows.
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// Whether input waits for a signalled command; do not read more meanwhile.
    pub fn is_waiting(&self) -> bool {
        matches!(self.reader, Reader::Waiting { .. })
    }

    /// Messages that the client has not acknowledged.
    pub fn unacknowledged(&self) -> usize {
        self.outgoing.len()
    }

    /// ClientVersion of the handshake; empty without one.
    pub fn client_version(&self) -> &str {
        &self.client_version
    }

    /// Whether there is a program that takes input.
    pub fn set_ready(&mut self, ready: bool) {
        self.ready = ready;
    }

    /// Takes one frame from the gateway.
    ///
    /// # Errors
    ///
    /// Why it was not processed; it was not acknowledged either.
    pub fn handle_frame(&mut self, now: Instant, frame: Bytes) -> Result<(), Refusal> {
        match self.reader {
            Reader::Running => self.process(now, frame),
            Reader::Dead => Err(Refusal::ReaderDead),
            Reader::Waiting { .. } => {
                self.inbox.push_back(frame);
                Ok(())
            }
        }
    }

    /// The signalled command is over: the reader goes on.
    pub fn command_ended(&mut self, now: Instant) {
        if let Reader::Waiting { id, sequence } = self.reader {
            self.reader = Reader::Running;
            self.acknowledge(now, id, sequence);
            self.expected += 1;
            self.drain(now);
        }
        while let Reader::Running = self.reader {
            let Some(frame) = self.inbox.pop_front() else {
                break;
            };
            // Refused frames are the sender's concern: it gets no acknowledgement.
            let _ = self.process(now, frame);
        }
    }

    /// Sends program output; nothing if it is empty.
    pub fn send(&mut self, now: Instant, payload_type: PayloadType, payload: Bytes) {
        if payload.is_empty() {
            return;
        }
        let sealed = matches!(
            payload_type,
            PayloadType::OUTPUT | PayloadType::STDERR | PayloadType::EXIT_CODE
        );
        let payload = match &mut self.cipher {
            Some(cipher) if sealed => cipher.seal(&payload).into(),
            _ => payload,
        };
        let sequence = self.outgoing.allocate();
        let flags = if sequence == 0 { FLAG_SYN } else { 0 };
        let message_type = MessageType::OUTPUT_STREAM_DATA;
        if let Some(frame) = self.frame(now, message_type, sequence, flags, payload_type, payload) {
            self.outgoing.keep(sequence, frame.clone(), now);
            if !self.paused {
                self.transmits.push_back(Transmit::Client(frame));
            }
        }
    }

    /// Tells the gateway the session's state: `Connected` or `Terminating`.
    pub fn announce(&mut self, now: Instant, state: &str) {
        let text = format!(
            r#"{{"SchemaVersion":1,"SessionState":"{state}","SessionId":"{}"}}"#,
            self.config.session_id
        );
        let frame = self.frame(
            now,
            MessageType::AGENT_SESSION_STATE,
            0,
            FLAG_SYN_FIN,
            PayloadType::NONE,
            text.into(),
        );
        self.transmits.extend(frame.map(Transmit::Gateway));
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.handshake_timeout(now);
        if !self.paused && self.outgoing.is_tick(now) {
            let frame = self.outgoing.resend(now);
            self.transmits.extend(frame.map(Transmit::Client));
            self.outgoing.next_tick(now, self.config.resend_tick);
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next, if nothing else happens.
    pub fn poll_timeout(&mut self, now: Instant) -> Option<Instant> {
        let tick = (!self.paused)
            .then(|| self.outgoing.tick(now, self.config.resend_tick))
            .flatten();
        tick.into_iter().chain(self.handshake.deadline()).min()
    }

    /// The next frame to be sent.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// The next thing to do.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn kill_reader(&mut self) -> Refusal {
        self.reader = Reader::Dead;
        Refusal::ReaderDead
    }

    fn acknowledge(&mut self, now: Instant, id: Uuid, sequence: i64) {
        let name = MessageType::INPUT_STREAM_DATA;
        let text = payload::acknowledge_json(name.as_str(), id, sequence);
        let frame = self.frame(
            now,
            MessageType::ACKNOWLEDGE,
            0,
            FLAG_SYN_FIN,
            PayloadType::NONE,
            text.into(),
        );
        self.transmits.extend(frame.map(Transmit::Client));
    }

    fn frame(
        &mut self,
        now: Instant,
        message_type: MessageType,
        sequence_number: i64,
        flags: u64,
        payload_type: PayloadType,
        payload: Bytes,
    ) -> Option<Bytes> {
        let elapsed = now.saturating_duration_since(self.started).as_millis();
        let random = self.rng.u128(..).to_ne_bytes();
        let message = AgentMessage {
            message_type,
            schema_version: 1,
            created_date: self
                .config
                .started_at
                .saturating_add(u64::try_from(elapsed).unwrap_or(u64::MAX)),
            sequence_number,
            flags,
            message_id: uuid::Builder::from_random_bytes(random).into_uuid(),
            payload_type,
            payload,
        };
        // Only an empty payload or one over 4 GiB fails; neither is made here.
        message.encode().ok()
    }
}
