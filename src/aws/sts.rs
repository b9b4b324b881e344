//! STS: who the caller is.

use aws_sdk_sts::config::retry::RetryConfig;
use aws_sdk_sts::config::{BehaviorVersion, IdentityCache, Region};

use super::Aws;
use super::error::{Call, Error, Kind, from_sdk};
use super::http::{no_timeouts, only_downloads};

impl Aws {
    /// The ARN of the caller, as it stands as the owner of sessions:
    /// `arn:aws:sts::ACCOUNT:assumed-role/ROLE/NAME` or `arn:aws:iam::ACCOUNT:user/NAME`.
    ///
    /// Nobody needs a permission for this.
    pub async fn caller_arn(&self) -> Result<String, Error> {
        let call = Call {
            what: "cannot ask who the caller is",
            action: "sts:GetCallerIdentity",
        };
        self.prepare(call.what).await?;
        match self.sts().get_caller_identity().send().await {
            Ok(answer) => answer
                .arn
                .filter(|arn| !arn.is_empty())
                .ok_or_else(|| Error::new(Kind::Other, call.what, "the answer has no ARN")),
            Err(error) => Err(self.note(from_sdk(&call, &self.0.context, error)).await),
        }
    }

    /// Once in a process: not worth keeping.
    fn sts(&self) -> aws_sdk_sts::Client {
        let settings = &self.0.settings;
        let mut config = aws_sdk_sts::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(self.0.region.clone()))
            .http_client(self.0.http.clone())
            .credentials_provider(self.0.credentials.clone())
            .identity_cache(IdentityCache::no_cache())
            .retry_config(RetryConfig::standard().with_max_attempts(settings.max_attempts))
            .timeout_config(no_timeouts())
            .stalled_stream_protection(only_downloads())
            .use_fips(settings.fips)
            .use_dual_stack(settings.dual_stack);
        config.set_endpoint_url(settings.sts_endpoint.clone());
        aws_sdk_sts::Client::from_conf(config.build())
    }
}
