//! How the peer is set up.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};

use super::agent::{self, Challenge};
use super::fault::Faults;
use super::node::{self, Node};
use super::task::{self, Task};

/// How the peer behaves. The default is an AWS of today without faults.
#[derive(Debug, Clone)]
pub struct Options {
    /// The region whose signatures count.
    pub region: String,
    /// Further regions in which calls are answered, for nodes elsewhere.
    pub other_regions: Vec<String>,
    /// The nodes there are.
    pub nodes: Vec<Node>,
    /// The ECS tasks there are.
    pub tasks: Vec<Task>,
    /// After this time, requests for access are approved by themselves.
    pub approve_after: Option<Duration>,
    /// AgentVersion of the handshake.
    pub agent_version: String,
    /// Seconds that the clock of the API is ahead of this machine's.
    pub clock_ahead: i64,
    /// The KMS key that the account's preferences name for its sessions.
    pub preferred_key: Option<String>,
    /// Whether machines outside of EC2 may have sessions: the advanced tier.
    pub advanced_tier: bool,
    /// Pause as the real agent does: 1 ms behind each read, 1 s before a terminal's output.
    pub paced: bool,
    /// Encrypt shells and commands with a KMS key.
    pub kms: bool,
    /// What the agent says of random challenges.
    pub challenge: Challenge,
    /// The shell of shell sessions and interactive commands; `sh` if none is given.
    pub shell: Option<PathBuf>,
    /// Refuse unsigned upgrades with 403, as AWS announced.
    pub require_signature: bool,
    /// Only the newest StreamUrl of a session opens; older ones are refused.
    pub stream_url_expires: bool,
    /// Give StreamUrls that are presigned already; signing them again is refused.
    pub presigned_stream_url: bool,
    /// Host and port in StreamUrls instead of the gateway's own.
    pub stream_host: Option<String>,
    /// The agent never says anything.
    pub silent_agent: bool,
    /// How often the agent looks at its oldest unacknowledged message.
    pub resend_tick: Duration,
    /// How long the agent waits at the end for acknowledgements.
    pub drain: Duration,
    /// The agent's flaw: once it reads separate output while the client is away, it gives that
    /// stream up, and the rest of it is lost.
    pub abandon_paused_output: bool,
    /// Names that agents resolve so, for want of remote hosts; they are never forbidden.
    pub hosts: Vec<(String, IpAddr)>,
    /// A name without an address fails each connection, as it does with some old agents; with
    /// others it fails the session.
    pub late_lookup: bool,
    /// Further documents of type Port: name and properties, whose texts may hold `{{ parameter }}`.
    pub documents: Vec<(String, Map<String, Value>)>,
    /// Where keys pushed by EC2 Instance Connect stand for their minute, for an sshd.
    pub authorized_keys: Option<PathBuf>,
    /// How long a session without a client lives.
    pub idle_timeout: Duration,
    /// Live sessions at once.
    pub max_sessions: usize,
    /// What goes wrong between gateway and both ends.
    pub faults: Faults,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            region: "us-east-1".to_owned(),
            other_regions: Vec::new(),
            nodes: node::usual(),
            tasks: task::usual(),
            approve_after: None,
            agent_version: "3.3.0.0".to_owned(),
            clock_ahead: 0,
            preferred_key: None,
            advanced_tier: true,
            paced: true,
            kms: false,
            challenge: Challenge::Offered,
            shell: None,
            require_signature: false,
            stream_url_expires: false,
            presigned_stream_url: false,
            stream_host: None,
            silent_agent: false,
            resend_tick: agent::RESEND_TICK,
            drain: Duration::from_secs(2),
            abandon_paused_output: true,
            hosts: Vec::new(),
            late_lookup: false,
            documents: Vec::new(),
            authorized_keys: None,
            idle_timeout: Duration::from_secs(20 * 60),
            max_sessions: 100,
            faults: Faults::default(),
        }
    }
}
