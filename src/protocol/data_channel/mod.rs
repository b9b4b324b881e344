//! One data channel, as a state machine.
//!
//! The rule: change it (`handle_*` for what came from outside, the commands for what the user
//! wants), then drain [`poll_transmit`](DataChannel::poll_transmit) and
//! [`poll_event`](DataChannel::poll_event), then wait for input or for
//! [`poll_timeout`](DataChannel::poll_timeout).
//!
//! A connection is lost and replaced without the session noticing: numbers, keys and what is
//! unacknowledged carry over. Only the gateway's `channel_closed` ends it.

mod incoming;
mod interface;
mod opening;
mod outgoing;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tracing::debug;

use super::cipher::{Cipher, DataKey, Role};
use super::error::SessionError;
use super::handshake::{Handshake, SealedDataKey, SessionType};
use super::message::{AgentMessage, PayloadType};
use super::payload::{Flag, OpenDataChannelInput, Size};
use super::receiver::Receiver;
use super::rtt::RoundTrip;
use super::sender::Sender;
use super::version::AgentFeatures;

pub use interface::{Config, Event, Stats, Transmit};

/// Silence after which a probe tells a silent shell from an agent that is not there yet.
const PROBE_AFTER: Duration = Duration::from_secs(3);
/// How long an agent that acknowledged the probe may take to ask for a handshake.
const PROBE_GRACE: Duration = Duration::from_secs(1);
/// How long `channel_closed` waits for what is missing before held messages.
const CLOSING_GRACE: Duration = Duration::from_millis(200);
/// How long a connected, unpaused agent may acknowledge nothing.
const PROGRESS_TIMEOUT: Duration = Duration::from_secs(300);

/// Messages by which a client that takes over a session gets ahead of the number that the agent
/// expects, which nothing tells: agents acknowledge older numbers and throw them away.
const CATCH_UP: u32 = 16_384;

/// What a terminal is taken for that nobody has told the size of.
const FALLBACK_SIZE: Size = Size { cols: 80, rows: 24 };

#[derive(Debug)]
enum Phase {
    /// No stream message yet.
    Opening { probe: Probe },
    /// A handshake request was received.
    Handshaking {
        handshake: Handshake,
        responded: bool,
        challenged: bool,
    },
    /// Data flows.
    Session,
    /// `channel_closed` came, with messages held behind a gap.
    Closing {
        output: String,
        deadline: Instant,
        /// Whether the session was in force.
        started: bool,
    },
    /// Closed or failed.
    Ended,
}

#[derive(Debug, Clone, Copy)]
enum Probe {
    /// Due after some silence, once.
    At(Option<Instant>),
    /// Sent, under this number.
    Sent(i64),
    /// Acknowledged; a shell unless a handshake begins by then.
    Acknowledged(Instant),
}

/// The client's end of one session.
#[derive(Debug)]
pub struct DataChannel {
    config: Config,
    started: Instant,
    connected: bool,
    paused: bool,
    sender: Sender,
    receiver: Receiver,
    phase: Phase,
    agent: AgentFeatures,
    cipher: Option<Cipher>,
    size: Option<Size>,
    /// The agent does not know it yet.
    size_changed: bool,
    /// Messages still to be sent before the agent can be expected to listen.
    catch_up: u32,
    control: VecDeque<Transmit>,
    events: VecDeque<Event>,
    answer_deadline: Option<Instant>,
    last_progress: Instant,
    stats: Stats,
}

/// Getters.
impl DataChannel {
    /// Whether data may be written: the session is in force and the window is open.
    pub fn can_write(&self) -> bool {
        matches!(self.phase, Phase::Session) && self.catch_up == 0 && self.sender.has_room()
    }

    /// Whether everything written was acknowledged.
    pub fn all_acknowledged(&self) -> bool {
        self.sender.is_empty()
    }

    /// The number that the next message takes.
    pub fn next_sequence_number(&self) -> i64 {
        self.sender.next_sequence_number()
    }

    /// The number of the first message that is not acknowledged, or that of the next one.
    pub fn all_acknowledged_below(&self) -> i64 {
        self.sender.first_unacknowledged()
    }

    /// Whether the last event was emitted.
    pub fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended)
    }

    /// Acknowledgements that wait to be sent. Stop reading while they are many.
    pub fn queued_acknowledgements(&self) -> usize {
        self.control.len()
    }

    /// The number of the next stream message in order.
    pub fn expected_sequence_number(&self) -> i64 {
        self.receiver.expected()
    }

    /// Counts so far.
    pub fn stats(&self) -> Stats {
        Stats {
            resent: self.sender.resent(),
            ..self.stats
        }
    }

    /// Times from messages to their acknowledgements so far.
    pub fn round_trip(&self) -> &RoundTrip {
        self.sender.round_trip()
    }
}

/// Inputs.
impl DataChannel {
    /// A channel that was never connected.
    pub fn new(config: Config, now: Instant) -> Self {
        Self {
            config,
            started: now,
            connected: false,
            paused: false,
            sender: Sender::default(),
            receiver: Receiver::default(),
            phase: Phase::Opening {
                probe: Probe::At(None),
            },
            agent: AgentFeatures::default(),
            cipher: None,
            size: None,
            size_changed: false,
            catch_up: 0,
            control: VecDeque::new(),
            events: VecDeque::new(),
            answer_deadline: None,
            last_progress: now,
            stats: Stats::default(),
        }
    }

    /// A channel that takes over a session in force, which another client began: a shell, as far
    /// as anyone can know. What that client had acknowledged is gone; an encrypted session cannot
    /// be taken over, since only its client had the key.
    pub fn take_over(config: Config, now: Instant) -> Self {
        Self {
            receiver: Receiver::adopting(),
            catch_up: CATCH_UP,
            size: Some(FALLBACK_SIZE),
            ..Self::new(config, now)
        }
    }

    /// A connection is up: opens it with `token`, says again what a lost connection may have
    /// taken with it, and sends again what is unacknowledged.
    pub fn handle_connect(&mut self, now: Instant, token: &str) {
        self.connected = true;
        self.paused = false;
        self.last_progress = now;
        self.control.clear();
        let request_id = self.new_id();
        let open = OpenDataChannelInput::new(request_id, self.config.client_id, token);
        self.control.push_back(Transmit::Text(open.to_json()));
        let again: Vec<_> = self.receiver.recently_acknowledged(now).collect();
        for (number, id) in again {
            self.acknowledge(now, number, id);
        }
        self.sender.resend_all();
        if let Phase::Opening {
            probe: Probe::At(at),
        } = &mut self.phase
        {
            *at = Some(now + PROBE_AFTER);
        }
        self.start_answer_clock(now);
        if self.catch_up > 0 && matches!(self.phase, Phase::Opening { .. }) {
            self.start(now, SessionType::StandardStream);
        }
    }

    /// The connection is lost. Behind `channel_closed` that is the end: nobody is left to send
    /// what is missing.
    pub fn handle_disconnect(&mut self) {
        self.connected = false;
        self.paused = false;
        self.control.clear();
        self.answer_deadline = None;
        if let Phase::Closing { output, .. } = &mut self.phase {
            let output = std::mem::take(output);
            self.close(output);
        }
    }

    /// A frame came, text or binary. Whatever is in it, the channel goes on.
    pub fn handle_frame(&mut self, now: Instant, frame: Bytes) {
        if self.has_ended() {
            return;
        }
        let length = frame.len();
        match AgentMessage::decode(frame) {
            Ok(message) => self.handle_message(now, &message),
            Err(reason) => {
                self.stats.malformed += 1;
                debug!(bytes = length, %reason, "dropped a malformed message");
            }
        }
        if let Phase::Closing { output, .. } = &mut self.phase
            && !self.receiver.has_gap()
        {
            let output = std::mem::take(output);
            self.close(output);
        }
    }

    /// Frames are not read at present: that nothing is acknowledged says nothing of the agent.
    pub fn handle_deafness(&mut self, now: Instant) {
        self.last_progress = now;
    }

    /// [`poll_timeout`](Self::poll_timeout) has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Phase::Closing {
            output, deadline, ..
        } = &mut self.phase
            && *deadline <= now
        {
            let output = std::mem::take(output);
            self.close(output);
        }
        if self.has_ended() || !self.connected {
            return;
        }
        if self.answer_deadline.is_some_and(|deadline| deadline <= now) {
            let seconds = self.config.answer_timeout.as_secs();
            self.fail(SessionError::NoAnswer(seconds));
            return;
        }
        if self.paused {
            return;
        }
        self.sender.handle_timeout(now);
        if self.receiver.timer().is_some_and(|at| at <= now) {
            self.receiver.begin();
            self.deliver(now);
        }
        if self
            .progress_deadline()
            .is_some_and(|deadline| deadline <= now)
        {
            self.fail(SessionError::NoProgress(PROGRESS_TIMEOUT.as_secs()));
            return;
        }
        if let Phase::Opening { probe } = self.phase {
            match probe {
                Probe::At(Some(at)) if at <= now => self.send_probe(now),
                Probe::Acknowledged(until) if until <= now => {
                    self.start(now, SessionType::StandardStream);
                }
                _ => {}
            }
        }
    }

    /// The data key for [`Event::DataKeyNeeded`], or why there is none. `nonce_seed` must be
    /// random.
    pub fn handle_data_key(
        &mut self,
        now: Instant,
        key: Result<(DataKey, SealedDataKey), String>,
        nonce_seed: [u8; 12],
    ) {
        let Phase::Handshaking {
            handshake,
            responded: false,
            ..
        } = &mut self.phase
        else {
            return;
        };
        handshake.data_key(match key {
            Ok((key, sealed)) => {
                self.cipher = Some(Cipher::new(&key, Role::Client, nonce_seed));
                Ok(sealed)
            }
            Err(error) => Err(error),
        });
        self.advance_handshake(now);
    }
}

/// Commands.
impl DataChannel {
    /// Sends bytes of the session, in as many messages as it takes. Wait for
    /// [`can_write`](Self::can_write) first; before the session is in force they are refused.
    pub fn write(&mut self, now: Instant, data: &[u8]) -> bool {
        if !matches!(self.phase, Phase::Session) {
            return false;
        }
        for chunk in data.chunks(self.config.max_payload.max(1)) {
            let payload = match &mut self.cipher {
                Some(cipher) => cipher.seal(chunk).into(),
                None => Bytes::copy_from_slice(chunk),
            };
            self.send(now, PayloadType::OUTPUT, payload);
        }
        true
    }

    /// Tells the terminal's size, now and whenever it changes; before the session is in force it
    /// is kept until then.
    pub fn set_size(&mut self, now: Instant, size: Size) {
        if self.size.replace(size) != Some(size) {
            self.size_changed = true;
            self.send_changed_size(now);
        }
    }

    /// Sends a flag. Agents take none before the session is in force.
    pub fn send_flag(&mut self, now: Instant, flag: Flag) {
        if matches!(self.phase, Phase::Session) {
            let payload = Bytes::copy_from_slice(&flag.to_bytes());
            self.send(now, PayloadType::FLAG, payload);
        }
    }
}

/// Outputs.
impl DataChannel {
    /// The next frame to be sent on the current connection.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Transmit> {
        if !self.connected || self.has_ended() {
            return None;
        }
        if let Some(control) = self.control.pop_front() {
            return Some(control);
        }
        if self.paused {
            return None;
        }
        self.send_changed_size(now);
        while self.catch_up > 0 && self.sender.has_room() {
            self.catch_up -= 1;
            self.send_size(now);
        }
        self.sender.poll_transmit(now).map(Transmit::Binary)
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due; `None` if only input can change
    /// anything.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let closing = match self.phase {
            Phase::Ended => return None,
            Phase::Closing { deadline, .. } => Some(deadline),
            _ => None,
        };
        if !self.connected {
            return closing;
        }
        let probe = match self.phase {
            Phase::Opening {
                probe: Probe::At(at),
            } => at,
            Phase::Opening {
                probe: Probe::Acknowledged(until),
            } => Some(until),
            _ => None,
        };
        let unpaused = [
            probe,
            self.sender.timer(),
            self.receiver.timer(),
            self.progress_deadline(),
        ];
        unpaused
            .into_iter()
            .filter(|_| !self.paused)
            .chain([closing, self.answer_deadline])
            .flatten()
            .min()
    }
}
