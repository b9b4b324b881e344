//! Roles that want an MFA code: asks for it, assumes the role, and keeps the answer where the AWS
//! CLI keeps its own, so that one code serves both for the role's hour.

use std::fmt;
use std::sync::atomic::Ordering;

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{self, ProvideCredentials, SharedCredentialsProvider, future};
use aws_runtime::env_config::section::Profile;
use aws_smithy_async::time::{SystemTimeSource, TimeSource};

use super::credentials::Providers;
use super::error::{self, Error, Kind};
use super::prompt;
use super::role_cache::{Role, RoleCache};
use super::sdk::{self, client};

/// Profiles may refer to one another this often; more is a circle.
const MAX_DEPTH: usize = 8;

/// The provider for a profile that assumes a role with MFA, itself or further down its chain of
/// source profiles; `None` if no MFA is in it.
pub(super) fn provider(providers: &Providers, profile: &str) -> Option<AssumeRole> {
    provider_at(providers, profile, 0)
}

fn provider_at(providers: &Providers, name: &str, depth: usize) -> Option<AssumeRole> {
    if depth >= MAX_DEPTH {
        return None;
    }
    let profile = providers.settings.sections.get_profile(name)?;
    let get = |key| profile.get(key).filter(|value| !value.is_empty());
    let arn = get("role_arn")?;
    let serial = get("mfa_serial");
    let source = get("source_profile");
    let source = match source {
        // A profile that is its own source has the keys in itself.
        Some(source) if source == name => {
            serial?;
            keys_of(profile)?
        }
        Some(source) => match provider_at(providers, source, depth + 1) {
            Some(with_mfa) => SharedCredentialsProvider::new(with_mfa),
            None => {
                serial?;
                SharedCredentialsProvider::new(providers.profile(source))
            }
        },
        None => {
            serial?;
            match get("credential_source")? {
                "Environment" => SharedCredentialsProvider::new(providers.environment()),
                "EcsContainer" => SharedCredentialsProvider::new(providers.container()),
                "Ec2InstanceMetadata" => SharedCredentialsProvider::new(providers.imds()),
                _ => return None,
            }
        }
    };
    Some(AssumeRole {
        providers: providers.clone(),
        source,
        role: Role {
            arn: arn.to_owned(),
            mfa_serial: serial.map(str::to_owned),
            session_name: get("role_session_name").map(str::to_owned),
            external_id: get("external_id").map(str::to_owned),
            duration: get("duration_seconds").and_then(|text| text.parse().ok()),
        },
    })
}

fn keys_of(profile: &Profile) -> Option<SharedCredentialsProvider> {
    let credentials = Credentials::new(
        profile.get("aws_access_key_id")?,
        profile.get("aws_secret_access_key")?,
        profile.get("aws_session_token").map(str::to_owned),
        None,
        "ProfileFile",
    );
    Some(SharedCredentialsProvider::new(credentials))
}

/// Credentials of a role that is assumed with a code from the user.
#[derive(Clone)]
pub(super) struct AssumeRole {
    providers: Providers,
    source: SharedCredentialsProvider,
    role: Role,
}

impl fmt::Debug for AssumeRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AssumeRole")
            .field("role", &self.role.arn)
            .finish_non_exhaustive()
    }
}

impl AssumeRole {
    async fn load(&self) -> provider::Result {
        let now = SystemTimeSource::new().now();
        let cache = RoleCache::new(&self.providers.settings.env, &self.role);
        if let Some(credentials) = cache.as_ref().and_then(|cache| cache.read(now)) {
            tracing::debug!(role = %self.role.arn, "found the role's credentials in the AWS CLI's cache");
            return Ok(credentials);
        }
        // Before the question: a broken source would waste the code.
        let source = self.source.provide_credentials().await?;
        let code = match &self.role.mfa_serial {
            Some(serial) => Some(
                self.ask(serial)
                    .await
                    .map_err(CredentialsError::provider_error)?,
            ),
            None => None,
        };
        let answer = self
            .client(source)
            .assume_role()
            .role_arn(&self.role.arn)
            .role_session_name(self.role.session_name_at(now))
            .set_external_id(self.role.external_id.clone())
            .set_duration_seconds(self.role.duration)
            .set_serial_number(self.role.mfa_serial.clone())
            .set_token_code(code)
            .send()
            .await
            .map_err(|error| {
                let call = error::Call {
                    what: &format!("cannot assume the role {}", self.role.arn),
                    action: "sts:AssumeRole",
                };
                let context = self.providers.settings.context();
                CredentialsError::provider_error(
                    error::from_sdk(&call, &context, error).into_credentials(),
                )
            })?;
        let Some(granted) = answer.credentials else {
            return Err(CredentialsError::unhandled(
                "AssumeRole gave no credentials",
            ));
        };
        let credentials = Credentials::new(
            granted.access_key_id,
            granted.secret_access_key,
            Some(granted.session_token),
            granted.expiration.try_into().ok(),
            "AssumeRole",
        );
        if let Some(cache) = cache {
            cache.write(&credentials);
        }
        Ok(credentials)
    }

    async fn ask(&self, serial: &str) -> Result<String, Error> {
        let what = format!("cannot assume the role {}", self.role.arn);
        if !self.providers.may_prompt.load(Ordering::Relaxed) {
            let error = Error::new(Kind::Credentials, what, "it wants an MFA code");
            return Err(error.with_hint(
                "use the profile with ssmx or the AWS CLI in another terminal, which asks for it",
            ));
        }
        let code = prompt::ask(format!("Enter MFA code for {serial}: "))
            .await
            .map_err(|error| {
                Error::new(
                    Kind::Credentials,
                    what.as_str(),
                    format!("it wants an MFA code, and there is no terminal to ask on ({error})"),
                )
            })?;
        if code.len() < 6 || !code.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Error::new(
                Kind::Credentials,
                what,
                "an MFA code is six digits",
            ));
        }
        Ok(code)
    }

    fn client(&self, source: Credentials) -> aws_sdk_sts::Client {
        let Providers {
            settings,
            region,
            http,
            ..
        } = &self.providers;
        let source = SharedCredentialsProvider::new(source);
        let endpoint = settings.sts_endpoint.as_ref();
        let config = sdk::config(settings, region, http.clone(), source, endpoint);
        client!(aws_sdk_sts, config)
    }
}

impl ProvideCredentials for AssumeRole {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.load())
    }
}
