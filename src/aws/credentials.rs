//! The credential chain, with its result kept for as long as it is good.
//!
//! Environment, profile (keys, SSO, process, roles), web identity, container, instance metadata;
//! a profile named by an option goes before the environment. Roles that want an MFA code are
//! in `mfa`.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use aws_config::ecs::EcsCredentialsProvider;
use aws_config::imds;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::web_identity_token::WebIdentityTokenCredentialsProvider;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{self, ProvideCredentials, SharedCredentialsProvider, future};
use aws_smithy_async::time::{SystemTimeSource, TimeSource};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_types::os_shim_internal::Env;
use tokio::sync::Mutex;

use super::config::{Settings, get_env};
use super::{error, mfa};

/// Credentials with less time left than this are fetched anew.
const MARGIN: Duration = Duration::from_secs(60);

/// Credentials without an end are read again after this time: tools rewrite the files they are in.
const REREAD: Duration = Duration::from_secs(300);

/// What every provider is made of.
#[derive(Clone)]
pub(super) struct Providers {
    pub settings: Arc<Settings>,
    pub config: ProviderConfig,
    pub http: SharedHttpClient,
    pub region: String,
    /// Cleared once the terminal belongs to a session.
    pub may_prompt: Arc<AtomicBool>,
}

impl Providers {
    /// Instance metadata, asked briefly: on other machines nobody answers.
    pub(super) fn imds(&self) -> ImdsCredentialsProvider {
        let client = imds::Client::builder()
            .configure(&self.config)
            .max_attempts(2)
            .build();
        ImdsCredentialsProvider::builder()
            .configure(&self.config)
            .imds_client(client)
            .build()
    }

    /// The keys of the environment that the settings go by.
    pub(super) fn environment(&self) -> EnvironmentKeys {
        EnvironmentKeys(self.settings.env.clone())
    }

    pub(super) fn container(&self) -> EcsCredentialsProvider {
        EcsCredentialsProvider::builder()
            .configure(&self.config)
            .build()
    }

    pub(super) fn profile(&self, name: &str) -> ProfileFileCredentialsProvider {
        ProfileFileCredentialsProvider::builder()
            .configure(&self.config)
            .profile_name(name)
            .build()
    }

    /// The whole chain. Made anew for each look-up, since its parts remember the files they read.
    fn chain(&self) -> CredentialsProviderChain {
        let name = self.settings.profile.as_str();
        let profile = match mfa::provider(self, name) {
            Some(with_mfa) => SharedCredentialsProvider::new(with_mfa),
            None => SharedCredentialsProvider::new(self.profile(name)),
        };
        let chain = if self.settings.explicit_profile {
            CredentialsProviderChain::first_try("Profile", profile)
        } else {
            let web_identity = WebIdentityTokenCredentialsProvider::builder()
                .configure(&self.config)
                .build();
            CredentialsProviderChain::first_try("Environment", self.environment())
                .or_else("Profile", profile)
                .or_else("WebIdentityToken", web_identity)
        };
        chain
            .or_else("EcsContainer", self.container())
            .or_else("Ec2InstanceMetadata", LastResort(self.imds()))
    }
}

/// Instance metadata at the end of the chain: whatever it says, then there are no credentials.
#[derive(Debug)]
struct LastResort(ImdsCredentialsProvider);

impl ProvideCredentials for LastResort {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            self.0.provide_credentials().await.map_err(|error| {
                tracing::debug!(error = %error::chain(&error), "no credentials of the instance");
                CredentialsError::not_loaded(error)
            })
        })
    }
}

/// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`.
#[derive(Clone, Debug)]
pub(super) struct EnvironmentKeys(Env);

impl EnvironmentKeys {
    fn get(&self) -> provider::Result {
        let get = |name| get_env(&self.0, name).map(|value| value.trim().to_owned());
        match (get("AWS_ACCESS_KEY_ID"), get("AWS_SECRET_ACCESS_KEY")) {
            (Some(key), Some(secret)) => Ok(Credentials::new(
                key,
                secret,
                get("AWS_SESSION_TOKEN"),
                None,
                "EnvironmentVariable",
            )),
            _ => Err(CredentialsError::not_loaded(
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not both set",
            )),
        }
    }
}

impl ProvideCredentials for EnvironmentKeys {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(self.get())
    }
}

/// The chain with a memory; cheap to clone, one look-up at a time.
#[derive(Clone)]
pub(super) struct Chain(Arc<Inner>);

struct Inner {
    providers: Providers,
    clock: SystemTimeSource,
    kept: Mutex<Kept>,
}

#[derive(Clone, Default)]
struct Kept {
    credentials: Option<(Credentials, SystemTime)>,
    /// Asked instead of the whole chain.
    instead: Option<SharedCredentialsProvider>,
}

impl Chain {
    pub(super) fn new(providers: Providers) -> Self {
        Self(Arc::new(Inner {
            providers,
            clock: SystemTimeSource::new(),
            kept: Mutex::default(),
        }))
    }

    /// Credentials that are good for at least a little while.
    pub(super) async fn get(&self) -> Result<Credentials, CredentialsError> {
        let mut kept = self.0.kept.lock().await;
        let now = self.0.clock.now();
        if let Some((credentials, until)) = &kept.credentials
            && now < *until
        {
            return Ok(credentials.clone());
        }
        kept.credentials = None;
        let credentials = match &kept.instead {
            Some(provider) => provider.provide_credentials().await?,
            None => self.0.providers.chain().provide_credentials().await?,
        };
        kept.credentials = until(&credentials, now).map(|until| (credentials.clone(), until));
        Ok(credentials)
    }

    /// A chain of its own that begins with what this one has.
    pub(super) async fn fork(&self) -> Self {
        Self(Arc::new(Inner {
            providers: self.0.providers.clone(),
            clock: SystemTimeSource::new(),
            kept: Mutex::new(self.0.kept.lock().await.clone()),
        }))
    }

    /// From now on credentials are these, and then those of `provider`.
    pub(super) async fn go_by(&self, provider: SharedCredentialsProvider, first: Credentials) {
        let until = until(&first, self.0.clock.now());
        *self.0.kept.lock().await = Kept {
            credentials: until.map(|until| (first, until)),
            instead: Some(provider),
        };
    }

    /// From now on nobody is asked for anything.
    pub(super) fn stop_prompting(&self) {
        self.0.providers.may_prompt.store(false, Ordering::Relaxed);
    }

    /// Forgets what is kept: the service would not have it.
    pub(super) async fn forget(&self) {
        self.0.kept.lock().await.credentials = None;
    }
}

/// Until when credentials are used.
fn until(credentials: &Credentials, now: SystemTime) -> Option<SystemTime> {
    match credentials.expiry() {
        Some(expiry) => expiry.checked_sub(MARGIN),
        None => now.checked_add(REREAD),
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain").finish_non_exhaustive()
    }
}

impl ProvideCredentials for Chain {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async { self.get().await })
    }
}
