//! What tests see of the peer.

use super::fault::Tally;

/// What happened so far. Counters only grow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Answered API calls, of any kind and outcome.
    pub api_calls: u64,
    /// API calls answered with an error.
    pub api_errors: u64,
    /// Requests for access.
    pub access_requests: u64,
    /// API calls, and upgrades, that were signed with the credentials of such a request.
    pub with_access: u64,
    /// Sessions started.
    pub started: u64,
    /// ResumeSession calls answered with a token.
    pub resumes: u64,
    /// ResumeSession calls answered otherwise.
    pub resumes_refused: u64,
    /// TerminateSession calls that found a live session.
    pub terminated: u64,
    /// Sessions that ended, in whatever way.
    pub ended: u64,
    /// WebSocket connections that were let in with their token.
    pub connections: u64,
    /// Connections that are open now.
    pub attached: u64,
    /// Connections that were lost or cut.
    pub lost: u64,
    /// Upgrades refused or dropped.
    pub upgrades_refused: u64,
    /// Upgrades with a valid signature for `ssmmessages`.
    pub upgrades_signed: u64,
    /// Upgrades without any signature.
    pub upgrades_unsigned: u64,
    /// Upgrades to a StreamUrl that a newer one has replaced.
    pub stale_stream_urls: u64,
    /// Connections closed because of their token.
    pub bad_tokens: u64,
    /// Messages forwarded to clients, acknowledgements included.
    pub messages_to_client: u64,
    /// Messages forwarded to agents, acknowledgements included.
    pub messages_to_agent: u64,
    /// Messages that an agent refused without acknowledging them.
    pub refused_by_agent: u64,
    /// Pings that clients sent.
    pub pings: u64,
    /// Messages dropped on purpose, both ways.
    pub dropped: u64,
    /// Messages doubled on purpose.
    pub duplicated: u64,
    /// Messages delayed on purpose.
    pub delayed: u64,
    /// Messages overtaken on purpose.
    pub reordered: u64,
    /// Connections that agents made to ports.
    pub dialled: u64,
    /// Connects that failed.
    pub dial_failures: u64,
    /// Multiplexed connections that are open now.
    pub streams: u64,
    /// Keys pushed by EC2 Instance Connect, the last hundred.
    pub pushed_keys: Vec<PushedKey>,
    /// ClientVersion of the last connection.
    pub client_version: Option<String>,
    /// ClientVersion of the last handshake.
    pub handshake_version: Option<String>,
    /// Session id of the last session.
    pub session_id: Option<String>,
}

/// A key that may log in for a minute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushedKey {
    /// The instance.
    pub instance: String,
    /// The user of its operating system.
    pub user: String,
    /// As in `authorized_keys`.
    pub key: String,
}

impl Stats {
    pub(super) fn add_faults(&mut self, tally: Tally) {
        self.dropped += tally.dropped;
        self.duplicated += tally.duplicated;
        self.delayed += tally.delayed;
        self.reordered += tally.reordered;
    }
}
