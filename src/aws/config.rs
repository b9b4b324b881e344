//! Options, environment and profile files brought to one set of settings. No network, except for
//! the region of an EC2 instance when nothing else names one.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_config::imds;
use aws_config::imds::region::ImdsRegionProvider;
use aws_config::provider_config::ProviderConfig;
use aws_runtime::env_config::EnvConfigValue;
use aws_runtime::env_config::file::EnvConfigFiles;
use aws_runtime::env_config::section::EnvConfigSections;
use aws_types::os_shim_internal::{Env, Fs};
use url::Url;

use super::access::AccessWish;
use super::error::{Context, Error};
use super::stream_url::{is_aws, is_label};

/// What the caller chose; empty strings count as not given.
#[derive(Clone, Debug)]
pub struct Options {
    /// Named profile; goes before credentials of the environment, as in the AWS CLI.
    pub profile: Option<String>,
    /// Region, e.g. `eu-central-1`.
    pub region: Option<String>,
    /// Region for when neither environment nor profile names one.
    pub last_region: Option<String>,
    /// Endpoint of SSM, and of nothing else.
    pub endpoint_url: Option<String>,
    /// PEM file of certificates to trust beside those of the system.
    pub ca_bundle: Option<PathBuf>,
    /// Off: take any server certificate.
    pub verify_ssl: bool,
    /// For a connection, all steps together; `None` is no limit.
    pub connect_timeout: Option<Duration>,
    /// For the answer to a request; `None` is no limit.
    pub read_timeout: Option<Duration>,
    /// Whether the user may be asked for an MFA code.
    pub may_prompt: bool,
    /// What to do where access to a node has to be asked for.
    pub access: Option<AccessWish>,
    /// The environment to go by instead of the process's own (`HTTPS_PROXY` and the like apart).
    pub environment: Option<Vec<(String, String)>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            profile: None,
            region: None,
            last_region: None,
            endpoint_url: None,
            ca_bundle: None,
            verify_ssl: true,
            connect_timeout: Some(Duration::from_secs(60)),
            read_timeout: Some(Duration::from_secs(60)),
            may_prompt: true,
            access: None,
            environment: None,
        }
    }
}

/// The endpoint to use for SSM (`None` is the default one), given a session's target and the endpoint that the AWS CLI hands
/// to its plugin: under `aws ecs execute-command` that is the endpoint of ECS, where no session
/// can be resumed. Endpoints of the user's own stay.
pub fn ssm_endpoint_for(target: &str, endpoint: &str) -> Option<String> {
    if endpoint.is_empty() {
        return None;
    }
    let is_ecs = Url::parse(endpoint).is_ok_and(|url| {
        url.host_str().is_some_and(|host| {
            (host.starts_with("ecs.") || host.starts_with("ecs-fips.")) && is_aws(host)
        })
    });
    if target.starts_with("ecs:") && is_ecs {
        return None;
    }
    Some(endpoint.to_owned())
}

/// Profile files and environment, as far as loaded before the region is known.
pub(super) struct Settings {
    pub env: Env,
    pub sections: EnvConfigSections,
    pub profile: String,
    /// The profile was named by an option: it goes before credentials of the environment.
    pub explicit_profile: bool,
    pub ssm_endpoint: Option<String>,
    pub ecs_endpoint: Option<String>,
    pub kms_endpoint: Option<String>,
    pub instance_connect_endpoint: Option<String>,
    pub sts_endpoint: Option<String>,
    pub ca_bundle: Option<PathBuf>,
    pub fips: bool,
    pub dual_stack: bool,
    pub max_attempts: u32,
}

impl Settings {
    /// Reads the profile files named by the environment.
    pub(super) async fn load(options: &Options, env: Env, fs: Fs) -> Result<Self, Error> {
        let explicit = options.profile.clone().filter(|name| !name.is_empty());
        let explicit_profile = explicit.is_some();
        let named = explicit
            .or_else(|| get_env(&env, "AWS_DEFAULT_PROFILE"))
            .or_else(|| get_env(&env, "AWS_PROFILE"));
        let profile = named.clone().unwrap_or_else(|| "default".to_owned());
        let files = EnvConfigFiles::default();
        let sections =
            aws_config::profile::load(&fs, &env, &files, Some(Cow::Owned(profile.clone())))
                .await
                .map_err(|error| {
                    Error::configuration("cannot read the AWS profiles", super::error::chain(&error))
                        .with_hint("see ~/.aws/config and ~/.aws/credentials, or what AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE name")
                })?;
        if named.is_some() && sections.get_profile(&profile).is_none() {
            return Err(no_such_profile(&profile, &sections));
        }
        let mut settings = Self {
            profile,
            explicit_profile,
            ssm_endpoint: None,
            ecs_endpoint: None,
            kms_endpoint: None,
            instance_connect_endpoint: None,
            sts_endpoint: None,
            ca_bundle: None,
            fips: false,
            dual_stack: false,
            max_attempts: 3,
            env,
            sections,
        };
        settings.ssm_endpoint = match options.endpoint_url.as_deref() {
            Some(url) if !url.is_empty() => Some(checked_endpoint(url, "--endpoint-url")?),
            _ => settings.configured_endpoint("ssm")?,
        };
        settings.ecs_endpoint = settings.configured_endpoint("ecs")?;
        settings.kms_endpoint = settings.configured_endpoint("kms")?;
        settings.instance_connect_endpoint =
            settings.configured_endpoint("ec2_instance_connect")?;
        settings.sts_endpoint = settings.configured_endpoint("sts")?;
        settings.ca_bundle = options.ca_bundle.clone().or_else(|| settings.bundle());
        settings.fips = settings.flag("AWS_USE_FIPS_ENDPOINT", "use_fips_endpoint");
        settings.dual_stack = settings.flag("AWS_USE_DUALSTACK_ENDPOINT", "use_dualstack_endpoint");
        if let Some(attempts) = settings.value("AWS_MAX_ATTEMPTS", "max_attempts") {
            settings.max_attempts = attempts
                .trim()
                .parse()
                .ok()
                .filter(|n| (1..=100).contains(n))
                .unwrap_or(3);
        }
        Ok(settings)
    }

    /// A setting of the environment, or else of the profile.
    pub(super) fn value(&self, variable: &str, key: &str) -> Option<String> {
        get_env(&self.env, variable).or_else(|| {
            self.sections
                .get(key)
                .filter(|value| !value.is_empty())
                .map(str::to_owned)
        })
    }

    fn flag(&self, variable: &str, key: &str) -> bool {
        self.value(variable, key)
            .is_some_and(|value| value.trim().eq_ignore_ascii_case("true"))
    }

    fn bundle(&self) -> Option<PathBuf> {
        let value = self.value("AWS_CA_BUNDLE", "ca_bundle")?;
        let home = value
            .strip_prefix("~/")
            .and_then(|rest| Some(home_dir(&self.env)?.join(rest)));
        Some(home.unwrap_or_else(|| PathBuf::from(value)))
    }

    /// `AWS_ENDPOINT_URL_<SERVICE>`, `AWS_ENDPOINT_URL`, the profile's `services` section, its
    /// `endpoint_url`; none of them if they are to be ignored. `service` has underscores for spaces.
    pub(super) fn configured_endpoint(&self, service: &str) -> Result<Option<String>, Error> {
        if self.flag(
            "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
            "ignore_configured_endpoint_urls",
        ) {
            return Ok(None);
        }
        let found = EnvConfigValue::new()
            .env("AWS_ENDPOINT_URL")
            .profile("endpoint_url")
            .service_id(service)
            .load(&self.env, Some(&self.sections));
        match found {
            Some((url, _)) if !url.is_empty() => {
                let source = format!(
                    "AWS_ENDPOINT_URL_{}, AWS_ENDPOINT_URL or the profile",
                    service.to_ascii_uppercase()
                );
                checked_endpoint(&url, &source).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// The region of options, environment or profile.
    pub(super) fn region(&self, options: &Options) -> Result<Option<String>, Error> {
        let region = options
            .region
            .clone()
            .filter(|region| !region.is_empty())
            .or_else(|| get_env(&self.env, "AWS_REGION"))
            .or_else(|| self.value("AWS_DEFAULT_REGION", "region"))
            .or_else(|| options.last_region.clone());
        match region {
            Some(region) if !is_label(&region) => Err(Error::configuration(
                "cannot use the region",
                format!("{region:?} is not the name of a region"),
            )
            .with_hint("regions look like us-east-1 or eu-central-1")),
            region => Ok(region),
        }
    }

    /// Half a sentence on how to get fresh credentials in these circumstances.
    pub(super) fn context(&self) -> Context {
        let own = |key| self.sections.get(key).is_some();
        let from_env = !self.explicit_profile && get_env(&self.env, "AWS_ACCESS_KEY_ID").is_some();
        let option = match self.profile.as_str() {
            "default" => String::new(),
            name => format!(" --profile {name}"),
        };
        let renew = if from_env {
            "renew AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN in the environment"
                .to_owned()
        } else if own("sso_session") || own("sso_start_url") {
            format!("run `aws sso login{option}`")
        } else if own("login_session") {
            format!("run `aws login{option}`")
        } else if own("credential_process") {
            "see what the profile's credential_process says".to_owned()
        } else if own("role_arn") || own("source_profile") {
            format!("check the role and the source of profile {}", self.profile)
        } else if own("aws_session_token") {
            format!("renew the keys of profile {}", self.profile)
        } else {
            format!("run `aws configure{option}` or `aws sso login{option}`")
        };
        Context { renew }
    }
}

/// The names of all profiles there are; none if their files cannot be read.
pub async fn profiles() -> Vec<String> {
    let files = EnvConfigFiles::default();
    let sections = aws_config::profile::load(&Fs::real(), &Env::real(), &files, None).await;
    let mut names: Vec<String> = sections
        .map(|sections| sections.profiles().map(str::to_owned).collect())
        .unwrap_or_default();
    names.sort_unstable();
    names
}

/// Asks instance metadata where this machine is: the last resort, and within bounds.
pub(super) async fn region_of_instance(config: &ProviderConfig) -> Option<String> {
    const LIMIT: Duration = Duration::from_secs(2);
    let client = imds::Client::builder()
        .configure(config)
        .max_attempts(1)
        .build();
    let provider = ImdsRegionProvider::builder()
        .configure(config)
        .imds_client(client)
        .build();
    let region = tokio::time::timeout(LIMIT, provider.region())
        .await
        .ok()??;
    Some(region.as_ref().to_owned())
}

/// No region anywhere.
pub(super) fn no_region() -> Error {
    Error::configuration(
        "no region",
        "neither option, environment nor profile names one",
    )
    .with_hint("give --region REGION, export AWS_REGION, or run `aws configure`")
}

/// A variable of the environment that is set and not empty.
pub(super) fn get_env(env: &Env, name: &str) -> Option<String> {
    env.get(name).ok().filter(|value| !value.is_empty())
}

pub(super) fn home_dir(env: &Env) -> Option<PathBuf> {
    get_env(env, "HOME")
        .or_else(|| get_env(env, "USERPROFILE"))
        .map(|home| Path::new(&home).to_owned())
}

fn checked_endpoint(text: &str, source: &str) -> Result<String, Error> {
    let complain = |why: &str| {
        Error::configuration(format!("cannot use the endpoint {text:?}"), why).with_hint(format!(
            "it comes from {source}; an endpoint looks like https://ssm.us-east-1.amazonaws.com"
        ))
    };
    if !text.starts_with("https://") && !text.starts_with("http://") {
        return Err(complain("it must start with https:// or http://"));
    }
    let url = Url::parse(text).map_err(|error| complain(&error.to_string()))?;
    if url.host().is_none() {
        return Err(complain("it names no host"));
    }
    Ok(text.to_owned())
}

fn no_such_profile(name: &str, sections: &EnvConfigSections) -> Error {
    const SHOWN: usize = 8;
    let mut known: Vec<&str> = sections.profiles().collect();
    known.sort_unstable();
    let hint = match known.len() {
        0 => "there are no profiles yet: run `aws configure` or `aws configure sso`".to_owned(),
        n if n <= SHOWN => format!("the profiles are: {}", known.join(", ")),
        n => format!("`aws configure list-profiles` shows all {n} of them"),
    };
    Error::configuration(
        "cannot use the profile",
        format!("there is no profile {name:?} in the AWS configuration"),
    )
    .with_hint(hint)
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
