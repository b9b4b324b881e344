//! How the SDK's clients are made: over our own HTTP client, with the settings of the AWS CLI.

use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_ssm::config::retry::RetryConfig;
use aws_sdk_ssm::config::{BehaviorVersion, IdentityCache, Region};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_runtime_api::client::interceptors::context::FinalizerInterceptorContextRef;
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::orchestrator::{HttpResponse, Metadata};
use aws_smithy_runtime_api::client::retries::RequestAttempts;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::client::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_smithy_types::config_bag::ConfigBag;
use aws_types::SdkConfig;

use super::config::Settings;
use super::http::no_timeouts;
use super::{Aws, error, reply};

/// A client of a service: `client!(aws_sdk_sts, config)`. It tells of calls that fail.
macro_rules! client {
    ($sdk:ident, $config:expr) => {
        $sdk::Client::from_conf(
            $sdk::config::Builder::from(&$config)
                .interceptor($crate::aws::sdk::Told)
                .build(),
        )
    };
}
pub(super) use client;

/// The configuration of a client. Credentials have a memory of their own, and may wait for a user
/// without limit.
pub(super) fn config(
    settings: &Settings,
    region: &str,
    http: SharedHttpClient,
    credentials: SharedCredentialsProvider,
    endpoint: Option<&String>,
) -> SdkConfig {
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(region.to_owned()))
        .http_client(http)
        .credentials_provider(credentials)
        .identity_cache(IdentityCache::no_cache())
        .retry_config(RetryConfig::standard().with_max_attempts(settings.max_attempts))
        .timeout_config(no_timeouts())
        // The HTTP client has limits of its own, those that the user chose.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .use_fips(settings.fips)
        .use_dual_stack(settings.dual_stack);
    config.set_endpoint_url(endpoint.cloned());
    config.build()
}

impl Aws {
    /// The configuration of a client of a service that answers at `endpoint`, or where AWS has it.
    pub(super) fn sdk(&self, endpoint: Option<&String>) -> SdkConfig {
        config(
            &self.0.settings,
            &self.0.region,
            self.0.http.clone(),
            SharedCredentialsProvider::new(self.0.credentials.clone()),
            endpoint,
        )
    }
}

/// Tells, under `--debug`, each try that fails: the SDK itself would tell payloads, too.
#[derive(Debug)]
pub(super) struct Told;

#[dyn_dispatch_hint]
impl Intercept for Told {
    fn name(&self) -> &'static str {
        "Told"
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(Err(failure)) = context.output_or_error() {
            let why = match context.response() {
                Some(response) => answer(response),
                None => error::chain(failure),
            };
            tracing::debug!(
                operation = bag.load::<Metadata>().map_or("", Metadata::name),
                attempt = bag
                    .load::<RequestAttempts>()
                    .map_or(1, RequestAttempts::attempts),
                why = error::one_line(&why),
                "a call failed"
            );
        }
        Ok(())
    }
}

/// What a service answered that does not do what it was asked for.
fn answer(response: &HttpResponse) -> String {
    let status = response.status().as_u16();
    let header = response.headers().get(reply::ERROR_TYPE);
    let body = String::from_utf8_lossy(response.body().bytes().unwrap_or_default());
    match reply::code(header, &body) {
        Some(code) => format!("HTTP status {status}, {code}"),
        None => format!("HTTP status {status}"),
    }
}
