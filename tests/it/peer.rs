//! Messages as an agent sends them, and a client's core to give them to.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ssmx::protocol::message::{AgentMessage, MessageType, PayloadType};
use ssmx::protocol::payload::{Size, acknowledge_json};
use ssmx::protocol::{Config, DataChannel, Event, SessionType, Transmit};
use uuid::Uuid;

/// The id of all messages made here, the one of the vectors.
pub const ID: Uuid = uuid::uuid!("dd01e56b-ff48-483e-a508-b5f073f31b16");

/// A message of any kind.
pub fn message(kind: MessageType, sequence: i64, payload_type: PayloadType, text: &[u8]) -> Bytes {
    AgentMessage {
        message_type: kind,
        schema_version: 1,
        created_date: 1_503_434_274_948,
        sequence_number: sequence,
        flags: 0,
        message_id: ID,
        payload_type,
        payload: Bytes::copy_from_slice(text),
    }
    .encode()
    .unwrap()
}

/// A stream message of the agent.
pub fn stream(sequence: i64, payload_type: PayloadType, payload: &[u8]) -> Bytes {
    message(
        MessageType::OUTPUT_STREAM_DATA,
        sequence,
        payload_type,
        payload,
    )
}

/// Output of the agent.
pub fn output(sequence: i64, payload: &[u8]) -> Bytes {
    stream(sequence, PayloadType::OUTPUT, payload)
}

/// The agent's acknowledgement of a message of the client.
pub fn acknowledge(sequence: i64) -> Bytes {
    let text = acknowledge_json("input_stream_data", ID, sequence);
    control(MessageType::ACKNOWLEDGE, text.as_bytes())
}

/// A message outside of the stream.
pub fn control(kind: MessageType, text: &[u8]) -> Bytes {
    message(kind, 0, PayloadType::NONE, text)
}

/// What a core is made from, with time enough for any schedule.
pub fn config() -> Config {
    Config {
        client_id: Uuid::from_u128(1),
        rng: fastrand::Rng::with_seed(1),
        unix_millis: 1_700_000_000_000,
        max_payload: 1024,
        answer_timeout: Duration::from_secs(60),
        no_data_keys: None,
    }
}

/// A client's core in virtual time.
pub struct Client {
    pub core: DataChannel,
    pub now: Instant,
}

impl Client {
    /// Connected, and nothing came yet.
    pub fn new(config: Config) -> Self {
        let now = Instant::now();
        let mut core = DataChannel::new(config, now);
        core.handle_connect(now, "token");
        let open = core.poll_transmit(now);
        assert!(matches!(open, Some(Transmit::Text(_))));
        Self { core, now }
    }

    /// In a shell that has said nothing yet, so that the agent's message 0 is still to come. The
    /// client's own messages 0 and 1 were sizes, and are acknowledged.
    pub fn in_silent_shell() -> Self {
        let mut client = Self::new(config());
        client
            .core
            .set_size(client.now, Size { cols: 80, rows: 24 });
        client.wait();
        assert_eq!(client.sent().len(), 1, "the probe");
        client.give(acknowledge(0));
        client.wait();
        let events = client.events();
        assert!(matches!(
            events.as_slice(),
            [Event::Started(SessionType::StandardStream, _)]
        ));
        assert_eq!(client.sent().len(), 1, "the size");
        client.give(acknowledge(1));
        client
    }

    /// A frame arrives.
    pub fn give(&mut self, frame: Bytes) {
        self.core.handle_frame(self.now, frame);
    }

    /// Waits for the next deadline, which has to lie ahead.
    pub fn wait(&mut self) {
        let due = self.core.poll_timeout().expect("a deadline");
        assert!(due > self.now, "a deadline that is always due spins");
        self.now = due;
        self.core.handle_timeout(due);
    }

    /// All that is to be sent.
    pub fn sent(&mut self) -> Vec<AgentMessage> {
        std::iter::from_fn(|| self.core.poll_transmit(self.now))
            .map(|transmit| match transmit {
                Transmit::Binary(frame) => AgentMessage::decode(frame).unwrap(),
                Transmit::Text(_) => panic!("opened again"),
            })
            .collect()
    }

    /// All that happened.
    pub fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.core.poll_event()).collect()
    }
}
