//! AWS in miniature, for trying ssmx out and for testing it: the Systems Manager API, the message
//! gateway and an agent, on 127.0.0.1 and in this process.
//!
//! ```text
//! client --HTTP---> api/         StartSession, …: SigV4, tokens, errors as AWS words them
//! client --WS-----> gateway.rs   the upgrade, its signature, the token
//!                   session/     joins a client and an agent; fault.rs in between
//!                   agent/       the agent's protocol, sans-IO
//!                   host/        its terminals and processes
//! ```
//!
//! It runs programs of the user, so it takes only requests that were signed with the key pair of
//! this very run, and only from this machine.

pub mod agent;
mod api;
mod client;
mod document;
mod door;
pub mod fault;
mod gateway;
mod host;
mod output;
mod session;
mod sigv4;
mod state;
mod stats;

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc as blocking;
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

pub use self::state::{Injection, Scripted};
pub use self::stats::Stats;

use self::agent::Challenge;
use self::fault::Faults;
use self::host::Remains;
use self::state::{Control, Shared};

/// How long the end of the children is awaited when a [`Loopback`] is dropped.
const CLEAN_UP: Duration = Duration::from_secs(2);

/// How the peer behaves. The default is an AWS of today without faults.
#[derive(Debug, Clone)]
pub struct Options {
    /// The region whose signatures count.
    pub region: String,
    /// The nodes there are.
    pub nodes: Vec<Node>,
    /// AgentVersion of the handshake.
    pub agent_version: String,
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
            nodes: vec![
                Node::online("i-10000000000000001"),
                Node::online("i-10000000000000002"),
                Node::online("mi-10000000000000003"),
                Node::offline("i-1000000000000000f"),
            ],
            agent_version: "3.3.0.0".to_owned(),
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
            idle_timeout: Duration::from_secs(20 * 60),
            max_sessions: 100,
            faults: Faults::default(),
        }
    }
}

/// A managed node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its id.
    pub id: String,
    /// Whether its agent is connected.
    pub online: bool,
}

impl Node {
    /// A node that sessions can be started on.
    pub fn online(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            online: true,
        }
    }

    /// A node that answers `TargetNotConnected`.
    pub fn offline(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            online: false,
        }
    }
}

/// The peer, running on a thread of its own until it is dropped.
pub struct Loopback {
    shared: Arc<Shared>,
    endpoint_url: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
    remains: blocking::Receiver<()>,
}

impl Loopback {
    /// Starts everything; requests can be sent at once.
    ///
    /// # Errors
    ///
    /// No port, thread or runtime to be had.
    pub fn start(options: Options) -> io::Result<Self> {
        let bind = || {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            listener.set_nonblocking(true)?;
            let port = listener.local_addr()?.port();
            io::Result::Ok((listener, port))
        };
        let (api, api_port) = bind()?;
        let (gateway, gateway_port) = bind()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (held, remains) = Remains::new();
        let shared = Arc::new(Shared::new(options, gateway_port, held));
        let (stop, stopped) = oneshot::channel();
        let serving = shared.clone();
        let run = move || {
            let served = runtime.block_on(async {
                let api = tokio::net::TcpListener::from_std(api)?;
                let gateway = tokio::net::TcpListener::from_std(gateway)?;
                tokio::spawn(api::serve(serving.clone(), api));
                tokio::spawn(gateway::serve(serving, gateway));
                // Asked to stop, or dropped: both mean it.
                let _ = stopped.await;
                io::Result::Ok(())
            });
            if let Err(error) = served {
                tracing::error!(%error, "loopback cannot serve");
            }
        };
        let thread = thread::Builder::new().name("loopback".into()).spawn(run)?;
        Ok(Self {
            shared,
            endpoint_url: format!("http://127.0.0.1:{api_port}"),
            stop: Some(stop),
            thread: Some(thread),
            remains,
        })
    }

    /// Where SSM, KMS and ECS answer.
    pub fn endpoint_url(&self) -> &str {
        &self.endpoint_url
    }

    /// The region to sign for.
    pub fn region(&self) -> &str {
        &self.shared.options.region
    }

    /// The access key of this run.
    pub fn access_key_id(&self) -> &str {
        &self.shared.access_key_id
    }

    /// Its secret.
    pub fn secret_access_key(&self) -> &str {
        &self.shared.secret_access_key
    }

    /// The first node that is online; empty if there is none.
    pub fn target(&self) -> &str {
        self.node(true)
    }

    /// The first node that is offline; empty if there is none.
    pub fn offline_target(&self) -> &str {
        self.node(false)
    }

    fn node(&self, online: bool) -> &str {
        let nodes = &self.shared.options.nodes;
        let node = nodes.iter().find(|node| node.online == online);
        node.map_or("", |node| &node.id)
    }

    /// The environment that makes the AWS CLI, AWS's SDKs and ssmx talk to this peer. Unset
    /// [`UNSET`] first.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let url = self.endpoint_url.clone();
        let no_proxy = ["NO_PROXY", "no_proxy"]
            .iter()
            .find_map(|name| std::env::var(name).ok())
            .filter(|hosts| !hosts.is_empty())
            .map_or("127.0.0.1".to_owned(), |hosts| format!("127.0.0.1,{hosts}"));
        vec![
            ("AWS_ENDPOINT_URL_SSM", url.clone()),
            ("AWS_ENDPOINT_URL_KMS", url.clone()),
            ("AWS_ENDPOINT_URL_ECS", url),
            ("AWS_REGION", self.region().to_owned()),
            ("AWS_DEFAULT_REGION", self.region().to_owned()),
            ("AWS_ACCESS_KEY_ID", self.access_key_id().to_owned()),
            ("AWS_SECRET_ACCESS_KEY", self.secret_access_key().to_owned()),
            ("SSMX_LOOPBACK_TARGET", self.target().to_owned()),
            ("NO_PROXY", no_proxy.clone()),
            ("no_proxy", no_proxy),
        ]
    }

    /// What happened so far.
    pub fn stats(&self) -> Stats {
        self.shared.state().stats.clone()
    }

    /// Waits until `condition` holds, at most for `limit`; whether it does.
    pub fn wait_for(&self, condition: impl FnMut(&Stats) -> bool, limit: Duration) -> bool {
        self.shared.wait_for(condition, limit)
    }

    /// Cuts all connections at once (TCP reset). What was on its way is lost.
    pub fn cut(&self) {
        self.shared.broadcast(|| Control::Cut);
    }

    /// Closes all connections with a close frame; the gateway's hourly one is 1000, `Bye`.
    pub fn close(&self, code: u16, reason: &str) {
        self.shared
            .broadcast(|| Control::Close(code, reason.to_owned()));
    }

    /// Keeps all present connections open but forwards nothing, not even pongs. Later
    /// connections work.
    pub fn stall(&self) {
        self.shared.broadcast(|| Control::Stall(true));
    }

    /// Ends a [`stall`](Self::stall).
    pub fn unstall(&self) {
        self.shared.broadcast(|| Control::Stall(false));
    }

    /// Sends a frame to all clients that no agent sent.
    pub fn inject(&self, frame: &Injection) {
        self.shared.broadcast(|| Control::Inject(frame.clone()));
    }

    /// Refuses ResumeSession with AccessDeniedException, or no longer.
    pub fn deny_resume(&self, deny: bool) {
        self.shared.change(|state| state.deny_resume = deny);
    }

    /// Does what calls of `operation` ask for, but holds their answers back; `None` lets them go.
    pub fn hold(&self, operation: Option<&str>) {
        self.shared
            .change(|state| state.held = operation.map(str::to_owned));
        self.shared.released.notify_waiters();
    }

    /// Answers the next `count` calls of ResumeSession with an internal error (HTTP 500).
    pub fn fail_resumes(&self, count: u32) {
        self.shared.change(|state| state.fail_resumes = count);
    }

    /// Answers the next `count` API calls with ThrottlingException.
    pub fn throttle(&self, count: usize) {
        let body = r#"{"__type":"ThrottlingException","message":"Rate exceeded"}"#;
        for _ in 0..count {
            self.script("", 400, body);
        }
    }

    /// Answers the next call of `operation` (any, if empty) so.
    pub fn script(&self, operation: &str, status: u16, body: &str) {
        self.shared.change(|state| {
            state.script.push_back(Scripted {
                operation: operation.to_owned(),
                status,
                body: body.to_owned(),
            });
        });
    }

    /// Answers all API calls with ExpiredTokenException, or no longer.
    pub fn expire_token(&self, expired: bool) {
        self.shared.change(|state| state.expired = expired);
    }

    /// Refuses all upgrades with 403, as for a missing `ssmmessages:OpenDataChannel`; or no
    /// longer.
    pub fn forbid_upgrades(&self, forbid: bool) {
        self.shared.change(|state| state.forbid_upgrades = forbid);
    }

    /// Drops the next `count` connections to the gateway before the upgrade.
    pub fn refuse_upgrades(&self, count: u32) {
        self.shared.change(|state| state.refuse_upgrades = count);
    }

    /// Closes every further connection with this frame as soon as it has sent its token; `None`
    /// ends that.
    pub fn close_on_open(&self, frame: Option<(u16, &str)>) {
        let frame = frame.map(|(code, reason)| (code, reason.to_owned()));
        self.shared.change(|state| state.close_on_open = frame);
    }
}

/// Variables that would lead clients elsewhere than [`Loopback::environment`] says.
pub const UNSET: [&str; 8] = [
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_USE_FIPS_ENDPOINT",
    "AWS_USE_DUALSTACK_ENDPOINT",
    "AWS_STS_REGIONAL_ENDPOINTS",
];

impl Drop for Loopback {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in there has been printed already.
            let _ = thread.join();
        }
        // Hosts that are gone left threads behind which end their children.
        drop(self.shared.change(|state| state.remains.take()));
        let _ = self.remains.recv_timeout(CLEAN_UP);
    }
}
