//! AWS in miniature, for trying ssmx out and for testing it: the Systems Manager API, the message
//! gateway and an agent, on 127.0.0.1 and in this process.
//!
//! ```text
//! client --HTTP---> api/         StartSession, …: SigV4, tokens, errors as AWS words them
//! client --WS-----> gateway.rs   the upgrade, its signature, the token
//!                   session/     joins a client and an agent; fault.rs in between
//!                   agent/       the agent's protocol, sans-IO
//!                   host/        its terminals, processes and connections to ports
//! ```
//!
//! It runs programs of the user, so it takes only requests that were signed with the key pair of
//! this very run, and only from this machine.

mod access;
pub mod agent;
mod api;
mod client;
mod controls;
mod document;
mod door;
pub mod fault;
mod gateway;
mod host;
mod keys;
mod node;
mod options;
mod output;
mod record;
mod session;
mod sigv4;
mod state;
mod stats;
pub mod task;

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc as blocking;
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

pub use self::node::Node;
pub use self::options::Options;
pub use self::record::Injection;
pub use self::state::Scripted;
pub use self::stats::{PushedKey, Stats};

use self::host::Remains;
use self::state::Shared;

/// How long the end of the children is awaited when a [`Loopback`] is dropped.
const CLEAN_UP: Duration = Duration::from_secs(2);

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

    /// Where SSM, KMS, ECS, STS, EC2 (as far as doctor asks) and EC2 Instance Connect answer.
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
            ("AWS_ENDPOINT_URL_ECS", url.clone()),
            ("AWS_ENDPOINT_URL_STS", url.clone()),
            ("AWS_ENDPOINT_URL_EC2", url.clone()),
            ("AWS_ENDPOINT_URL_EC2_INSTANCE_CONNECT", url),
            ("AWS_REGION", self.region().to_owned()),
            ("AWS_DEFAULT_REGION", self.region().to_owned()),
            ("AWS_ACCESS_KEY_ID", self.access_key_id().to_owned()),
            ("AWS_SECRET_ACCESS_KEY", self.secret_access_key().to_owned()),
            ("SSMX_LOOPBACK_TARGET", self.target().to_owned()),
            ("NO_PROXY", no_proxy.clone()),
            ("no_proxy", no_proxy),
        ]
    }
}

/// Variables that would lead clients elsewhere than [`Loopback::environment`] says.
pub const UNSET: [&str; 12] = [
    "SSMX_PROFILE",
    "SSMX_REGION",
    "SSMX_ENDPOINT_URL",
    "SSMX_CA_BUNDLE",
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
        drop(self.shared.change(|state| {
            // Their scripts end with them.
            state.commands.clear();
            state.remains.take()
        }));
        let _ = self.remains.recv_timeout(CLEAN_UP);
    }
}
