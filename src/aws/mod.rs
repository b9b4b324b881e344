//! The control plane: calls to SSM, KMS and EC2 Instance Connect over HTTPS, with the settings,
//! credentials, proxies and trust of the AWS CLI. Knows nothing of channels and sessions.
//!
//! Everything is made at first need. Loading reads the profile files; credentials are looked up
//! by the first call, root certificates by the first `https` connection.

mod access;
mod certificate;
mod clock;
mod config;
mod credentials;
mod dial;
mod ecs;
mod endpoint;
mod error;
mod http;
mod instance_connect;
mod json_call;
mod keys;
mod kms;
mod mfa;
mod model;
mod nodes;
mod pages;
mod probe;
mod prompt;
mod proxy;
mod reach;
mod regions;
mod reply;
mod role_cache;
mod run_command;
mod sdk;
mod sessions;
mod sign;
mod ssm;
mod stream_url;
mod sts;
mod target;
mod tls;

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_config::provider_config::ProviderConfig;
use aws_credential_types::Credentials;
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_async::time::SystemTimeSource;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_types::os_shim_internal::{Env, Fs};
use aws_types::region::Region;
use hyper_util::client::proxy::matcher::Intercept;
use tokio_rustls::rustls::ClientConfig;
use url::Url;

pub use access::AccessWish;
pub use certificate::Issuer;
pub use clock::{CLOCK_FIX, clock_text};
pub use config::{Options, profiles, ssm_endpoint_for};
pub use ecs::{Agent, Container, Task};
pub use endpoint::{Endpoint, Service};
pub use error::{Error, Kind};
pub use keys::Keys;
pub use kms::DataKey;
pub use model::{
    ConnectionStatus, OutputUrl, Session, SessionFilter, SessionGrant, SessionQuery, SessionState,
    StartSession, Token,
};
pub use nodes::{Node, NodeFilter, Nodes};
pub use probe::Prober;
pub use reach::{Reach, Stage};
pub use regions::{regions, regions_beside};
pub use reply::Reply;
pub use sessions::Sessions;
pub use target::{TargetError, is_final};

pub use run_command::{
    CommandResult, CommandState, Invocation, KEPT_ERRORS, KEPT_OUTPUT, SendCommand,
};

use access::Access;
use config::Settings;
use credentials::{Chain, Providers};
use error::Context;
use http::Http;
use proxy::Proxies;
use tls::Trust;

/// How long signing may wait for credentials before the WebSocket goes unsigned.
const SIGNING_LIMIT: Duration = Duration::from_secs(10);

/// Access to AWS with one set of settings; cheap to clone.
#[derive(Clone)]
pub struct Aws(Arc<Inner>);

struct Inner {
    settings: Arc<Settings>,
    region: String,
    context: Context,
    trust: Arc<Trust>,
    proxies: Arc<Proxies>,
    connections: Http,
    http: SharedHttpClient,
    credentials: Chain,
    access: Option<Access>,
    ssm: OnceLock<aws_sdk_ssm::Client>,
    /// The caller may not call DescribeInstanceProperties.
    lacks_properties: AtomicBool,
}

impl std::fmt::Debug for Aws {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Aws")
            .field("region", &self.0.region)
            .finish_non_exhaustive()
    }
}

impl Aws {
    /// Settings from options, environment and profile files. Does not look for credentials yet.
    ///
    /// Fails if profile, region, endpoint or profile files cannot be used, or if there is no region.
    pub async fn load(options: Options) -> Result<Self, Error> {
        let env = match &options.environment {
            Some(variables) => Env::from(variables.iter().cloned().collect::<HashMap<_, _>>()),
            None => Env::real(),
        };
        let settings = Arc::new(Settings::load(&options, env, Fs::real()).await?);
        let trust = Arc::new(Trust::new(settings.ca_bundle.clone(), options.verify_ssl));
        let proxies = Arc::new(Proxies::from_env());
        let connections = Http::new(
            Arc::clone(&trust),
            Arc::clone(&proxies),
            options.connect_timeout,
            options.read_timeout,
        );
        let http = SharedHttpClient::new(connections.clone());
        let config = ProviderConfig::without_region()
            .with_http_client(http.clone())
            .with_sleep_impl(TokioSleep::new())
            .with_time_source(SystemTimeSource::new())
            .with_timeout_config(http::no_timeouts())
            .with_use_fips(Some(settings.fips))
            .with_use_dual_stack(Some(settings.dual_stack));
        let region = match settings.region(&options)? {
            Some(region) => region,
            None => config::region_of_instance(&config)
                .await
                .ok_or_else(config::no_region)?,
        };
        let context = settings.context();
        let credentials = Chain::new(Providers {
            settings: Arc::clone(&settings),
            config: config.with_region(Some(Region::new(region.clone()))),
            http: http.clone(),
            region: region.clone(),
            may_prompt: Arc::new(options.may_prompt.into()),
        });
        tracing::debug!(
            profile = %settings.profile,
            region,
            endpoint = settings.ssm_endpoint.as_deref().unwrap_or("default"),
            "AWS settings"
        );
        Ok(Self(Arc::new(Inner {
            settings,
            region,
            context,
            trust,
            proxies,
            connections,
            http,
            credentials,
            access: options.access.map(Access::new),
            ssm: OnceLock::new(),
            lacks_properties: AtomicBool::new(false),
        })))
    }

    /// The same settings and credentials in another region.
    pub fn in_region(&self, region: &str) -> Self {
        self.with(region, self.0.credentials.clone())
    }

    /// The same settings, with credentials that go their own way from now on.
    async fn with_credentials_of_now(&self) -> Self {
        self.with(&self.0.region, self.0.credentials.fork().await)
    }

    fn with(&self, region: &str, credentials: Chain) -> Self {
        Self(Arc::new(Inner {
            settings: Arc::clone(&self.0.settings),
            region: region.to_owned(),
            context: self.0.context.clone(),
            trust: Arc::clone(&self.0.trust),
            proxies: Arc::clone(&self.0.proxies),
            connections: self.0.connections.clone(),
            http: self.0.http.clone(),
            credentials,
            access: None,
            ssm: OnceLock::new(),
            lacks_properties: AtomicBool::new(false),
        }))
    }

    /// The region of all calls.
    pub fn region(&self) -> &str {
        &self.0.region
    }

    /// Whether SSM is called at an endpoint of the user's own, by whichever setting. AWS's own
    /// hosts do not count: the AWS CLI always hands its plugin an endpoint, mostly the default.
    pub fn endpoint_overridden(&self) -> bool {
        let endpoint = self.0.settings.ssm_endpoint.as_deref();
        endpoint.is_some_and(|endpoint| {
            !Url::parse(endpoint).is_ok_and(|url| url.host_str().is_some_and(stream_url::is_aws))
        })
    }

    /// Checks a StreamUrl before token and signature go there: `wss` to a message gateway of AWS,
    /// or anything to a loopback address, or any host if the user chose the endpoint.
    ///
    /// Fails with advice; the text names the host, never the query.
    pub fn check_stream_url(&self, url: &str) -> Result<Url, Error> {
        stream_url::check_stream_url(url, self.endpoint_overridden())
    }

    /// Headers (name, value) for the WebSocket's upgrade request: SigV4 for `ssmmessages`.
    ///
    /// None if the URL is presigned, or if there are no credentials to be had within ten seconds;
    /// the connection is then to be tried unsigned.
    pub async fn sign_upgrade(&self, url: &Url) -> Vec<(String, String)> {
        if sign::is_presigned(url) {
            tracing::debug!("the stream URL is presigned: not signing again");
            return Vec::new();
        }
        let credentials = match tokio::time::timeout(SIGNING_LIMIT, self.credentials()).await {
            Ok(Ok(credentials)) => credentials,
            Ok(Err(error)) => {
                tracing::debug!(%error, "connecting unsigned");
                return Vec::new();
            }
            Err(_) => {
                tracing::debug!("connecting unsigned: no credentials in time");
                return Vec::new();
            }
        };
        let now = self.0.connections.clock().now();
        match sign::upgrade_headers(url, &self.0.region, &credentials, now) {
            Ok(headers) => headers,
            Err(error) => {
                tracing::debug!(error, "connecting unsigned: cannot sign");
                Vec::new()
            }
        }
    }

    /// The TLS configuration for the WebSocket, made once; ALPN is `http/1.1`.
    ///
    /// Fails if the CA bundle is broken or the machine has no root certificates at all.
    pub fn tls(&self) -> Result<Arc<ClientConfig>, Error> {
        self.0.trust.config()
    }

    /// The HTTP proxy for a URL, if the environment wants one; `wss` asks as `https`.
    ///
    /// Fails if the environment names a proxy of a kind that is not supported.
    pub fn proxy_for(&self, url: &Url) -> Result<Option<Intercept>, Error> {
        self.0.proxies.for_url(url)
    }

    /// Looks for credentials, which may ask the user for an MFA code; calls find them ready then.
    ///
    /// Fails if there are none; `what` is what they are wanted for, as in "cannot …".
    pub async fn prepare(&self, what: &str) -> Result<(), Error> {
        let found = self.credentials().await;
        found.map(drop).map_err(|error| error.while_doing(what))
    }

    /// Asks the user for nothing from now on: the terminal belongs to a session.
    pub fn stop_prompting(&self) {
        self.0.credentials.stop_prompting();
    }

    /// Credentials, or why there are none.
    async fn credentials(&self) -> Result<Credentials, Error> {
        self.0
            .credentials
            .get()
            .await
            .map_err(|error| error::from_credentials(&self.0.context, &error))
    }

    /// To be called with each error of a service: keys that it calls expired are not kept.
    async fn note(&self, error: Error) -> Error {
        if error.code().is_some_and(|code| code.contains("Expired")) {
            self.0.credentials.forget().await;
        }
        error
    }
}
