//! One data channel, as a state machine.
//!
//! The rule: change it (`handle_*` for what came from outside, the commands for what the user
//! wants), then drain [`poll_transmit`](DataChannel::poll_transmit) and
//! [`poll_event`](DataChannel::poll_event), then wait for input or for
//! [`poll_timeout`](DataChannel::poll_timeout).
//!
//! A connection is lost and replaced without the session noticing: numbers, keys and what is
//! unacknowledged carry over. Only the gateway's `channel_closed` ends it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use tracing::debug;
use uuid::Uuid;

use super::cipher::{Cipher, DataKey, Role};
use super::error::{PayloadError, SessionError};
use super::handshake::{DataKeyRequest, Handshake, SealedDataKey, SessionType, Step};
use super::message::{AgentMessage, FLAG_SYN_FIN, MessageType, PayloadType};
use super::payload::{
    Acknowledge, ChannelClosed, Flag, HandshakeComplete, HandshakeRequest, OpenDataChannelInput,
    Size, acknowledge_json, challenge_from_json, challenge_to_json, exit_code_from_text,
};
use super::receiver::{Receipt, Received, Receiver};
use super::sender::Sender;
use super::version::AgentFeatures;

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

/// What a [`DataChannel`] cannot make up itself.
#[derive(Debug, Clone)]
pub struct Config {
    /// Made once per process.
    pub client_id: Uuid,
    /// Source of message ids; seed it randomly.
    pub rng: fastrand::Rng,
    /// The wall clock at the `now` of [`DataChannel::new`], in milliseconds since 1970.
    pub unix_millis: u64,
    /// The most payload bytes a data message carries; official clients send 1024.
    pub max_payload: usize,
    /// How long the agent may take until the session is in force; not counted while paused.
    pub answer_timeout: Duration,
    /// Why data keys cannot be had, if so: the text that the agent gets.
    pub no_data_keys: Option<String>,
}

/// What happened, for the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The session is in force; data may flow. Comes once, before any data.
    Started(SessionType, AgentFeatures),
    /// A text of the service for the user.
    CustomerMessage(String),
    /// Bytes of the session.
    Output(Bytes),
    /// Bytes of a command's standard error.
    Stderr(Bytes),
    /// A command's exit status: the number if it was readable, and the text as it came.
    ExitCode(Option<i32>, Bytes),
    /// A flag of the agent.
    Flag(Flag),
    /// Answer with [`DataChannel::handle_data_key`], soon: agents wait 15 s.
    DataKeyNeeded(DataKeyRequest),
    /// Data is lost: the session is over, and what the agent had yet to send again was not. The
    /// last event but one.
    Incomplete,
    /// The session is over; the reason is empty after a normal end. The last event.
    Closed(String),
    /// The session cannot go on. The last event; the remote end still has to be terminated.
    Failed(SessionError),
}

/// One frame to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transmit {
    /// A text frame; it holds the token.
    Text(String),
    /// A binary frame.
    Binary(Bytes),
}

/// Counts, for the curious.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Stream messages and acknowledgements of the agent that were understood.
    pub understood: u64,
    /// Frames dropped because they were malformed.
    pub malformed: u64,
    /// Frames and payloads ignored because nothing is known to be done with them.
    pub ignored: u64,
    /// Stream messages received again.
    pub duplicates: u64,
    /// Stream messages sent again.
    pub resent: u64,
}

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
    Closing { output: String, deadline: Instant },
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

    /// The connection is lost.
    pub fn handle_disconnect(&mut self) {
        self.connected = false;
        self.paused = false;
        self.control.clear();
        self.answer_deadline = None;
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

    /// [`poll_timeout`](Self::poll_timeout) has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Phase::Closing { output, deadline } = &mut self.phase
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
        let changed = self.size.replace(size) != Some(size);
        if changed && matches!(self.phase, Phase::Session) {
            self.send_size(now);
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

/// What messages do.
impl DataChannel {
    fn handle_message(&mut self, now: Instant, message: &AgentMessage) {
        match &message.message_type {
            kind if *kind == MessageType::OUTPUT_STREAM_DATA => self.handle_stream(now, message),
            kind if *kind == MessageType::ACKNOWLEDGE => self.handle_acknowledge(now, message),
            kind if *kind == MessageType::CHANNEL_CLOSED => {
                let output = ChannelClosed::from_json(&message.payload).output;
                self.handle_closed(now, output);
            }
            kind if *kind == MessageType::PAUSE_PUBLICATION => {
                self.paused = true;
                self.answer_deadline = None;
            }
            kind if *kind == MessageType::START_PUBLICATION => self.unpause(now),
            kind => {
                self.stats.ignored += 1;
                debug!(?kind, "ignored a message of another type");
            }
        }
    }

    fn handle_stream(&mut self, now: Instant, message: &AgentMessage) {
        self.stats.understood += 1;
        match self.receiver.receive(message, now) {
            Receipt::Accepted => {}
            Receipt::Duplicate => {
                self.stats.duplicates += 1;
                self.acknowledge(now, message.sequence_number, message.message_id);
                self.unpause(now);
                return;
            }
            Receipt::Refused => {
                self.stats.ignored += 1;
                debug!(
                    number = message.sequence_number,
                    expected = self.receiver.expected(),
                    "refused a stream message"
                );
                return;
            }
        }
        self.last_progress = now;
        self.acknowledge(now, message.sequence_number, message.message_id);
        self.unpause(now);
        self.deliver(now);
    }

    fn deliver(&mut self, now: Instant) {
        while !self.has_ended()
            && let Some(received) = self.receiver.next()
        {
            self.dispatch(now, received);
        }
    }

    fn handle_acknowledge(&mut self, now: Instant, message: &AgentMessage) {
        let number = match Acknowledge::from_json(&message.payload) {
            Ok(acknowledge) => acknowledge.acknowledged_message_sequence_number,
            Err(reason) => {
                self.stats.malformed += 1;
                debug!(%reason, "ignored an acknowledgement");
                return;
            }
        };
        let Some(number) = number else {
            self.stats.ignored += 1;
            return;
        };
        self.stats.understood += 1;
        if self.sender.acknowledge(number, now) {
            self.last_progress = now;
        }
        self.unpause(now);
        if let Phase::Opening { probe } = &mut self.phase
            && matches!(*probe, Probe::Sent(sent) if sent == number)
        {
            *probe = Probe::Acknowledged(now + PROBE_GRACE);
        }
    }

    fn handle_closed(&mut self, now: Instant, output: String) {
        if matches!(self.phase, Phase::Closing { .. }) {
            return;
        }
        self.receiver.begin();
        self.deliver(now);
        if self.receiver.has_gap() {
            // Data of a session that was never in force has nobody to go to.
            if matches!(self.phase, Phase::Session) {
                self.phase = Phase::Closing {
                    output,
                    deadline: now + CLOSING_GRACE,
                };
                return;
            }
        }
        self.close(output);
    }

    fn dispatch(&mut self, now: Instant, received: Received) {
        let Received {
            payload_type,
            payload,
        } = received;
        match payload_type {
            PayloadType::HANDSHAKE_REQUEST => self.handle_handshake_request(now, &payload),
            PayloadType::HANDSHAKE_COMPLETE => self.handle_handshake_complete(now, &payload),
            PayloadType::ENC_CHALLENGE_REQUEST => self.handle_challenge(now, &payload),
            PayloadType::OUTPUT | PayloadType::STDERR | PayloadType::EXIT_CODE => {
                self.handle_data(now, payload_type, payload);
            }
            PayloadType::FLAG => match Flag::from_bytes(&payload) {
                Some(flag) => self.events.push_back(Event::Flag(flag)),
                None => self.stats.ignored += 1,
            },
            PayloadType(number) => {
                self.stats.ignored += 1;
                debug!(number, "ignored a payload of another type");
            }
        }
    }

    fn handle_data(&mut self, now: Instant, payload_type: PayloadType, payload: Bytes) {
        match &self.phase {
            // Agents shake hands only where they must; plain shells just begin to talk.
            Phase::Opening { .. } => self.start(now, SessionType::StandardStream),
            Phase::Handshaking {
                handshake,
                responded: true,
                ..
            } => match handshake.session_type().cloned() {
                Some(session_type) => self.start(now, session_type),
                None => return,
            },
            Phase::Handshaking { .. } => {
                self.stats.ignored += 1;
                return;
            }
            Phase::Session | Phase::Closing { .. } | Phase::Ended => {}
        }
        let data = match &self.cipher {
            None => payload,
            Some(cipher) => match cipher.open(&payload) {
                Ok(data) => data.into(),
                Err(error) => {
                    // A resend would bring the same bytes.
                    self.fail(error.into());
                    return;
                }
            },
        };
        if data.is_empty() {
            return;
        }
        self.events.push_back(match payload_type {
            PayloadType::STDERR => Event::Stderr(data),
            PayloadType::EXIT_CODE => Event::ExitCode(exit_code_from_text(&data), data),
            _ => Event::Output(data),
        });
    }
}

/// The handshake.
impl DataChannel {
    fn handle_handshake_request(&mut self, now: Instant, payload: &[u8]) {
        if !matches!(self.phase, Phase::Opening { .. }) {
            // A second response would block the agent's reader for good.
            self.stats.ignored += 1;
            return;
        }
        match HandshakeRequest::from_json(payload) {
            Ok(request) => {
                self.agent = AgentFeatures::of(&request.agent_version);
                debug!(version = request.agent_version, "handshake");
                self.phase = Phase::Handshaking {
                    handshake: Handshake::new(request),
                    responded: false,
                    challenged: false,
                };
                self.advance_handshake(now);
            }
            Err(reason) => self.fail(bad_handshake("handshake request", &reason)),
        }
    }

    fn advance_handshake(&mut self, now: Instant) {
        let Phase::Handshaking {
            handshake,
            responded,
            ..
        } = &mut self.phase
        else {
            return;
        };
        loop {
            match (handshake.advance(), &self.config.no_data_keys) {
                (Step::DataKey(_), Some(reason)) => handshake.data_key(Err(reason.clone())),
                (Step::DataKey(request), None) => {
                    self.events.push_back(Event::DataKeyNeeded(request));
                    return;
                }
                (Step::Response(response), _) => {
                    *responded = true;
                    let payload = response.to_json().into();
                    self.send(now, PayloadType::HANDSHAKE_RESPONSE, payload);
                    return;
                }
            }
        }
    }

    fn handle_challenge(&mut self, now: Instant, payload: &[u8]) {
        let (
            Phase::Handshaking {
                responded: true,
                challenged: challenged @ false,
                ..
            },
            Some(cipher),
        ) = (&mut self.phase, &mut self.cipher)
        else {
            self.stats.ignored += 1;
            return;
        };
        *challenged = true;
        let sealed = challenge_from_json(payload).and_then(|text| {
            BASE64
                .decode(text)
                .map_err(|_| PayloadError::WrongType("Challenge"))
        });
        match sealed.map(|sealed| cipher.open(&sealed)) {
            Ok(Ok(challenge)) => {
                let answer = challenge_to_json(&BASE64.encode(cipher.seal(&challenge)));
                self.send(now, PayloadType::ENC_CHALLENGE_RESPONSE, answer.into());
            }
            Ok(Err(error)) => self.fail(error.into()),
            Err(reason) => self.fail(bad_handshake("encryption challenge", &reason)),
        }
    }

    fn handle_handshake_complete(&mut self, now: Instant, payload: &[u8]) {
        let Phase::Handshaking {
            handshake,
            responded: true,
            ..
        } = &self.phase
        else {
            self.stats.ignored += 1;
            return;
        };
        let session_type = handshake.session_type().cloned();
        let message = match HandshakeComplete::from_json(payload) {
            Ok(complete) => complete.customer_message,
            // Only its arrival matters; what else is in it may change.
            Err(PayloadError::WrongType(_)) => String::new(),
            Err(reason) => return self.fail(bad_handshake("handshake completion", &reason)),
        };
        let Some(session_type) = session_type else {
            let reason = "the agent did not say what kind of session this is";
            return self.fail(SessionError::Refused(reason.to_owned()));
        };
        if !message.is_empty() {
            self.events.push_back(Event::CustomerMessage(message));
        }
        self.start(now, session_type);
    }

    fn start(&mut self, now: Instant, session_type: SessionType) {
        self.phase = Phase::Session;
        self.answer_deadline = None;
        if !matches!(session_type, SessionType::Port(_)) {
            self.send_size(now);
        }
        self.events
            .push_back(Event::Started(session_type, self.agent));
    }
}

/// Sending and ending.
impl DataChannel {
    fn send_probe(&mut self, now: Instant) {
        let number = self.sender.next_sequence_number();
        if self.size.is_some() {
            self.send_size(now);
            self.phase = Phase::Opening {
                probe: Probe::Sent(number),
            };
        } else {
            self.phase = Phase::Opening {
                probe: Probe::At(None),
            };
        }
    }

    fn send_size(&mut self, now: Instant) {
        if let Some(size) = self.size
            && let Ok(json) = serde_json::to_vec(&size)
        {
            self.send(now, PayloadType::SIZE, json.into());
        }
    }

    fn send(&mut self, now: Instant, payload_type: PayloadType, payload: Bytes) {
        if self.sender.is_empty() {
            self.last_progress = now;
        }
        let message = AgentMessage {
            message_type: MessageType::INPUT_STREAM_DATA,
            schema_version: 1,
            created_date: self.date(now),
            sequence_number: self.sender.next_sequence_number(),
            flags: 0,
            message_id: self.new_id(),
            payload_type,
            payload,
        };
        match message.encode() {
            Ok(frame) => self.sender.push(frame),
            Err(reason) => debug!(%reason, "not sent"),
        }
    }

    fn acknowledge(&mut self, now: Instant, number: i64, id: Uuid) {
        let kind = MessageType::OUTPUT_STREAM_DATA;
        let message = AgentMessage {
            message_type: MessageType::ACKNOWLEDGE,
            schema_version: 1,
            created_date: self.date(now),
            sequence_number: 0,
            flags: FLAG_SYN_FIN,
            message_id: self.new_id(),
            payload_type: PayloadType::NONE,
            payload: acknowledge_json(kind.as_str(), id, number).into(),
        };
        if let Ok(frame) = message.encode() {
            self.control.push_back(Transmit::Binary(frame));
        }
    }

    fn unpause(&mut self, now: Instant) {
        if std::mem::take(&mut self.paused) {
            self.last_progress = now;
            self.sender.resend_all();
            self.start_answer_clock(now);
        }
    }

    fn start_answer_clock(&mut self, now: Instant) {
        if matches!(
            self.phase,
            Phase::Opening { .. } | Phase::Handshaking { .. }
        ) {
            self.answer_deadline = Some(now + self.config.answer_timeout);
        }
    }

    fn progress_deadline(&self) -> Option<Instant> {
        (!self.sender.is_empty()).then(|| self.last_progress + PROGRESS_TIMEOUT)
    }

    fn close(&mut self, output: String) {
        self.phase = Phase::Ended;
        if self.receiver.has_gap() {
            self.events.push_back(Event::Incomplete);
        }
        self.events.push_back(Event::Closed(output));
    }

    fn fail(&mut self, error: SessionError) {
        self.phase = Phase::Ended;
        self.events.push_back(Event::Failed(error));
    }

    fn date(&self, now: Instant) -> u64 {
        let elapsed = now.saturating_duration_since(self.started).as_millis();
        let elapsed = u64::try_from(elapsed).unwrap_or(u64::MAX);
        self.config.unix_millis.saturating_add(elapsed).max(1)
    }

    fn new_id(&mut self) -> Uuid {
        uuid::Builder::from_random_bytes(self.config.rng.u128(..).to_be_bytes()).into_uuid()
    }
}

fn bad_handshake(message: &'static str, reason: &PayloadError) -> SessionError {
    SessionError::BadHandshake {
        message,
        reason: reason.to_string(),
    }
}
