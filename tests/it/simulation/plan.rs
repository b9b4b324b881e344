//! What a run depends on, and what it has to come to.

/// The three ways in which a session begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// No handshake.
    Shell,
    /// A handshake with data key and challenge.
    EncryptedShell,
    /// A handshake.
    Port,
}

/// All that a run depends on, but what the programs at both ends do.
#[derive(Debug, Clone)]
pub struct Plan {
    pub kind: Kind,
    /// Of the schedule, of ids and of all other chance.
    pub seed: u64,
    pub max_payload: usize,
    /// In percent of the frames, each way.
    pub loss: u8,
    pub duplicates: u8,
    pub garbage: u8,
    /// How long a frame takes, and how much longer it may take: reordering.
    pub delay_ms: u64,
    pub jitter_ms: u64,
    /// How often the client's connection is lost, and the client or the agent is paused.
    pub cuts: u8,
    pub client_pauses: u8,
    pub agent_pauses: u8,
    /// How long the agent's program takes to start.
    pub not_ready_ms: u64,
}

impl Plan {
    /// A network without any fault.
    pub fn calm(kind: Kind) -> Self {
        Self {
            kind,
            seed: 7,
            max_payload: 1024,
            loss: 0,
            duplicates: 0,
            garbage: 0,
            delay_ms: 10,
            jitter_ms: 0,
            cuts: 0,
            client_pauses: 0,
            agent_pauses: 0,
            not_ready_ms: 0,
        }
    }
}

/// How a session ended that neither end broke.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// Every byte arrived once and in order, both ways.
    Delivered,
    /// The handshake took the agent longer than its 15 s: it has given up, and said so.
    HandshakeTimedOut,
}

/// One direction: how much went in, and how much came out.
#[derive(Debug, Default)]
pub struct Stream {
    /// Makes its bytes differ from those of others.
    pub salt: u64,
    pub sent: usize,
    pub got: usize,
}

impl Stream {
    /// The next `length` bytes. Each depends on its place, so that no shift goes unnoticed.
    pub fn take(&mut self, length: usize) -> Vec<u8> {
        let from = self.sent;
        self.sent += length;
        (from..self.sent).map(|at| self.byte_at(at)).collect()
    }

    /// The next bytes that came out: have to be those that went in.
    pub fn give(&mut self, bytes: &[u8]) {
        for byte in bytes {
            assert_eq!(*byte, self.byte_at(self.got), "byte {}", self.got);
            self.got += 1;
        }
        assert!(self.got <= self.sent);
    }

    fn byte_at(&self, at: usize) -> u8 {
        let place = (at as u64).wrapping_add(self.salt << 32);
        (place.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u8
    }
}
