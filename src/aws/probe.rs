//! Single calls for finding out what is wrong: signed by hand, never repeated, soon given up, and
//! with all that an answer says, which the SDK keeps to itself.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::credential_feature::AwsCredentialFeature;
use aws_sdk_kms::config::endpoint as kms;
use aws_sdk_ssm::config::endpoint as ssm;
use aws_sdk_sts::config::endpoint as sts;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_async::time::{SystemTimeSource, TimeSource};
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use bytes::Bytes;
use http::header::DATE;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use url::Url;

use super::Aws;
use super::config::get_env;
use super::dial::{Dial, DialError};
use super::error::{self, Error, Kind};
use super::stream_url::is_aws;

/// The longest answer that is read, in bytes.
const ANSWER: usize = 4 << 20;

/// A service that sessions have to do with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Systems Manager.
    Ssm,
    /// The message gateway.
    SsmMessages,
    /// Keys for encrypted sessions.
    Kms,
    /// Who the caller is.
    Sts,
    /// Containers.
    Ecs,
    /// Instances.
    Ec2,
}

impl Service {
    /// The name in hosts and signatures.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ssm => "ssm",
            Self::SsmMessages => "ssmmessages",
            Self::Kms => "kms",
            Self::Sts => "sts",
            Self::Ecs => "ecs",
            Self::Ec2 => "ec2",
        }
    }

    /// What stands before the operation in `X-Amz-Target`; none in services that know only forms.
    fn prefix(self) -> Option<&'static str> {
        match self {
            Self::Ssm | Self::SsmMessages => Some("AmazonSSM"),
            Self::Kms => Some("TrentService"),
            Self::Ecs => Some("AmazonEC2ContainerServiceV20141113"),
            Self::Sts | Self::Ec2 => None,
        }
    }

    fn version(self) -> &'static str {
        match self {
            Self::Sts => "2011-06-15",
            _ => "2016-11-15",
        }
    }
}

/// Where a service answers.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Scheme, host and port.
    pub url: Url,
    /// It is not one of AWS's own hosts.
    pub is_custom: bool,
}

/// The credentials in use, without anything secret.
#[derive(Clone, Debug)]
pub struct Keys {
    /// Where they come from, in words.
    pub source: String,
    /// The first and the last four characters of the access key's id.
    pub id: String,
    /// When they end, if they do.
    pub expires: Option<SystemTime>,
    /// How to get fresh ones, as half a sentence.
    pub renew: String,
}

/// What a service answered.
#[derive(Clone, Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// The service's name for the error.
    pub code: Option<String>,
    /// What it says of it, in one line.
    pub message: String,
    /// The answer if it is JSON, else null.
    pub json: Value,
    /// The answer as it came.
    pub text: String,
    /// Seconds that the service's clock is ahead of this machine's, if it told the time.
    pub ahead: Option<i64>,
}

impl Reply {
    /// Whether the service did what it was asked for.
    pub fn is_good(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether the caller lacks a permission.
    pub fn is_denied(&self) -> bool {
        let code = self.code.as_deref().unwrap_or_default();
        matches!(
            code,
            "AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation"
        )
    }

    /// The text of the first XML element of this name.
    pub fn element(&self, name: &str) -> Option<&str> {
        element(&self.text, name)
    }
}

/// The text of the first XML element of this name, without anything unescaped.
pub(super) fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (inner, _) = rest.split_once(&format!("</{name}>"))?;
    Some(inner.trim()).filter(|inner| !inner.is_empty())
}

/// Makes single calls.
#[derive(Clone)]
pub struct Prober {
    aws: Aws,
    client: Client<Dial, Full<Bytes>>,
    limit: Duration,
}

impl std::fmt::Debug for Prober {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prober").finish_non_exhaustive()
    }
}

impl Aws {
    /// For calls that are given up after `limit`.
    pub fn prober(&self, limit: Duration) -> Prober {
        let (trust, proxies) = (self.0.trust.clone(), self.0.proxies.clone());
        Prober {
            client: Client::builder(TokioExecutor::new()).build(Dial::new(
                trust,
                proxies,
                Some(limit),
            )),
            aws: self.clone(),
            limit,
        }
    }

    /// The name of the profile in use.
    pub fn profile(&self) -> &str {
        &self.0.settings.profile
    }

    /// Whether the profile names the region in use.
    pub fn is_region_of_profile(&self) -> bool {
        self.0.settings.sections.get("region") == Some(self.region())
    }

    /// Certificates that are trusted beside those of the system.
    pub fn ca_bundle(&self) -> Option<&std::path::Path> {
        self.0.settings.ca_bundle.as_deref()
    }

    /// The credentials in use.
    ///
    /// Fails if there are none.
    pub async fn keys(&self) -> Result<Keys, Error> {
        let credentials = self.credentials().await?;
        Ok(Keys {
            source: self.source(&credentials),
            id: masked(credentials.access_key_id()),
            expires: credentials.expiry(),
            renew: self.0.context.renew.clone(),
        })
    }

    fn source(&self, credentials: &Credentials) -> String {
        use AwsCredentialFeature as From;
        let settings = &self.0.settings;
        let profile = &settings.profile;
        let of_environment = !settings.explicit_profile
            && get_env(&settings.env, "AWS_ACCESS_KEY_ID").as_deref()
                == Some(credentials.access_key_id());
        let features = credentials
            .get_property::<Vec<AwsCredentialFeature>>()
            .map_or(&[][..], Vec::as_slice);
        let has = |wanted: &[From]| features.iter().any(|feature| wanted.contains(feature));
        if of_environment {
            return "the environment".to_owned();
        }
        if has(&[
            From::CredentialsStsAssumeRoleWebId,
            From::CredentialsEnvVarsStsWebIdToken,
        ]) {
            return "a web identity token".to_owned();
        }
        let how = if has(&[From::CredentialsStsAssumeRole]) {
            "a role"
        } else if has(&[From::CredentialsSso, From::CredentialsProfileSso]) {
            "SSO"
        } else if has(&[From::CredentialsProcess, From::CredentialsProfileProcess]) {
            "its credential_process"
        } else if has(&[From::CredentialsImds]) {
            return "instance metadata".to_owned();
        } else if has(&[From::CredentialsHttp]) {
            return "the container's endpoint".to_owned();
        } else {
            return format!("profile {profile}");
        };
        format!("profile {profile}, {how}")
    }

    /// Where a service answers in a region, by the settings or by AWS's own rules.
    ///
    /// None if there are no such rules for the region, or if SSM is not AWS's and so nobody knows
    /// where its message gateway is.
    pub async fn endpoint(&self, service: Service, region: &str) -> Option<Endpoint> {
        let settings = &self.0.settings;
        let at_home = region == self.0.region;
        let configured = match service {
            Service::Ssm => settings.ssm_endpoint.clone(),
            Service::SsmMessages => {
                let own = settings.ssm_endpoint.as_ref();
                if own.is_some_and(|own| !is_of_aws(own)) {
                    return None;
                }
                None
            }
            Service::Kms => settings.kms_endpoint.clone(),
            Service::Sts => settings.sts_endpoint.clone(),
            Service::Ecs => settings.configured_endpoint("ecs").ok()?,
            Service::Ec2 => settings.configured_endpoint("ec2").ok()?,
        };
        // An endpoint of AWS is one of its region.
        let configured = configured.filter(|url| at_home || !is_of_aws(url));
        let url = match configured {
            Some(url) => url,
            None => self.usual_endpoint(service, region).await?,
        };
        let url = Url::parse(&url).ok()?;
        let is_custom = !url.host_str().is_some_and(is_aws);
        Some(Endpoint { url, is_custom })
    }

    async fn usual_endpoint(&self, service: Service, region: &str) -> Option<String> {
        let (fips, dual_stack) = (self.0.settings.fips, self.0.settings.dual_stack);
        macro_rules! resolve {
            ($module:ident) => {{
                use $module::ResolveEndpoint as _;
                let params = $module::Params::builder()
                    .region(region)
                    .use_fips(fips)
                    .use_dual_stack(dual_stack)
                    .build()
                    .ok()?;
                let resolver = $module::DefaultResolver::new();
                let found = resolver.resolve_endpoint(&params).await.ok()?;
                Some(found.url().to_owned())
            }};
        }
        match service {
            Service::Ssm => resolve!(ssm),
            Service::Kms => resolve!(kms),
            Service::Sts => resolve!(sts),
            // They follow the same rules, as far as that goes.
            Service::SsmMessages | Service::Ecs | Service::Ec2 => {
                let url: String = resolve!(ssm)?;
                Some(url.replacen("//ssm", &format!("//{}", service.name()), 1))
            }
        }
    }
}

fn is_of_aws(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| url.host_str().is_some_and(is_aws))
}

fn masked(id: &str) -> String {
    const SHOWN: usize = 4;
    let characters: Vec<char> = id.chars().filter(|c| !c.is_control()).collect();
    match characters.len() {
        0..16 => "...".to_owned(),
        length => {
            let first: String = characters.iter().take(SHOWN).collect();
            let last: String = characters.iter().skip(length - SHOWN).collect();
            format!("{first}...{last}")
        }
    }
}

impl Prober {
    /// Whose credentials these are.
    pub fn aws(&self) -> &Aws {
        &self.aws
    }

    /// Calls an operation once. `input` is the JSON of the request; for STS and EC2 the values of
    /// its object have to be texts.
    ///
    /// Fails if there are no credentials, or if no answer came in time.
    pub async fn call(
        &self,
        service: Service,
        region: &str,
        operation: &str,
        input: &Value,
    ) -> Result<Reply, Error> {
        let what = format!("cannot call {operation}");
        let late = || {
            let why = format!("no answer within {}", error::seconds(self.limit));
            Error::new(Kind::Unreachable, what.clone(), why)
                .with_hint("check the network, HTTPS_PROXY and NO_PROXY, and the endpoint")
        };
        let call = self.call_at_leisure(&what, service, region, operation, input);
        tokio::time::timeout(self.limit, call)
            .await
            .unwrap_or_else(|_| Err(late()))
    }

    async fn call_at_leisure(
        &self,
        what: &str,
        service: Service,
        region: &str,
        operation: &str,
        input: &Value,
    ) -> Result<Reply, Error> {
        let other = |why: String| Error::new(Kind::Other, what, why);
        let credentials = self.aws.credentials().await?;
        let endpoint =
            self.aws.endpoint(service, region).await.ok_or_else(|| {
                other(format!("it is not known where {} answers", service.name()))
            })?;
        let mut url = endpoint.url;
        if url.path().is_empty() {
            url.set_path("/");
        }
        let (headers, body) = request(service, operation, input);
        let clock = SystemTimeSource::new();
        let begun = clock.now();
        let signing = signed(service, region, &credentials, begun, &url, &headers, &body);
        let mut request = Request::builder().method(Method::POST).uri(url.as_str());
        for (name, value) in headers.iter().map(|(name, value)| (*name, value)) {
            request = request.header(name, value);
        }
        for (name, value) in signing.map_err(other)? {
            request = request.header(name, value);
        }
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| other(error.to_string()))?;
        let answer = self.client.request(request).await.map_err(|error| {
            match error::find::<DialError>(&error) {
                Some(dial) => dial.to_error(),
                None => Error::new(Kind::Unreachable, what, error::chain(&error)),
            }
        })?;
        let (head, body) = answer.into_parts();
        let ended = clock.now();
        let ahead = head.headers.get(DATE).and_then(|date| {
            let date = DateTime::from_str(date.to_str().ok()?, Format::HttpDate).ok()?;
            let seconds = |time: SystemTime| DateTime::from(time).secs();
            let (begun, ended) = (seconds(begun), seconds(ended));
            // Within the call, no clock is off.
            Some(match date.secs() {
                date if date < begun - 1 => date - begun,
                date if date > ended + 1 => date - ended,
                _ => 0,
            })
        });
        let error_type = head.headers.get("x-amzn-errortype");
        let error_type = error_type.and_then(|value| Some(value.to_str().ok()?.to_owned()));
        let body = Limited::new(body, ANSWER).collect().await;
        let body = body.map_err(|error| other(error.to_string()))?.to_bytes();
        let text = String::from_utf8_lossy(&body).into_owned();
        Ok(reply(head.status.as_u16(), error_type, text, ahead))
    }
}

/// Headers and body of a request.
fn request(
    service: Service,
    operation: &str,
    input: &Value,
) -> (Vec<(&'static str, String)>, String) {
    let content_type = |text: &str| ("content-type", text.to_owned());
    match service.prefix() {
        Some(prefix) => {
            let headers = vec![
                content_type("application/x-amz-json-1.1"),
                ("x-amz-target", format!("{prefix}.{operation}")),
            ];
            (headers, input.to_string())
        }
        None => {
            let mut form = url::form_urlencoded::Serializer::new(String::new());
            form.append_pair("Action", operation);
            form.append_pair("Version", service.version());
            for (name, value) in input.as_object().into_iter().flatten() {
                form.append_pair(name, value.as_str().unwrap_or_default());
            }
            let headers = vec![content_type(
                "application/x-www-form-urlencoded; charset=utf-8",
            )];
            (headers, form.finish())
        }
    }
}

fn signed(
    service: Service,
    region: &str,
    credentials: &Credentials,
    now: SystemTime,
    url: &Url,
    headers: &[(&'static str, String)],
    body: &str,
) -> Result<Vec<(String, String)>, String> {
    let identity = credentials.clone().into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(service.name())
        .time(now)
        .settings(SigningSettings::default())
        .build()
        .map_err(|error| error::chain(&error))?
        .into();
    let request = SignableRequest::new(
        "POST",
        url.as_str(),
        headers.iter().map(|(name, value)| (*name, value.as_str())),
        SignableBody::Bytes(body.as_bytes()),
    )
    .map_err(|error| error::chain(&error))?;
    let (instructions, _) = sign(request, &params)
        .map_err(|error| error::chain(&error))?
        .into_parts();
    Ok(instructions
        .headers()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect())
}

fn reply(status: u16, error_type: Option<String>, text: String, ahead: Option<i64>) -> Reply {
    let json: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
    let of_json = |keys: [&str; 2]| {
        let found = keys.iter().find_map(|key| json.get(key)?.as_str());
        found.map(str::to_owned)
    };
    let of_xml = |name| element(&text, name).map(str::to_owned);
    let is_error = !(200..300).contains(&status);
    let code = error_type
        .or_else(|| of_json(["__type", "code"]))
        .or_else(|| of_xml("Code"))
        .filter(|_| is_error)
        // As in `com.amazonaws.ssm#TargetNotConnected`, `AccessDeniedException:http://…`.
        .map(|code| {
            let code = code.rsplit('#').next().unwrap_or_default();
            error::one_line(code.split(':').next().unwrap_or_default())
        });
    let message = of_json(["message", "Message"]).or_else(|| of_xml("Message"));
    let message = message.filter(|_| is_error).unwrap_or_default();
    Reply {
        status,
        code,
        message: error::one_line(message.trim_end_matches('.')),
        json,
        text,
        ahead,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_found_in_json_and_xml() {
        let cases = [
            (
                r#"{"__type":"com.amazonaws.ssm#TargetNotConnected","message":"no."}"#,
                "TargetNotConnected",
            ),
            (
                r#"{"__type":"AccessDeniedException","Message":"no"}"#,
                "AccessDeniedException",
            ),
            (
                "<ErrorResponse><Error><Code>ExpiredToken</Code><Message>no.</Message></Error></ErrorResponse>",
                "ExpiredToken",
            ),
        ];
        for (text, code) in cases {
            let reply = reply(400, None, text.to_owned(), None);
            assert_eq!(
                (reply.code.as_deref(), reply.message.as_str()),
                (Some(code), "no")
            );
        }
        let good = reply(200, None, "<Code>16</Code>".to_owned(), None);
        assert_eq!((good.is_denied(), good.code), (false, None));
    }

    #[test]
    fn ids_of_keys_are_shown_in_part() {
        assert_eq!(masked("AKIAIOSFODNN7EXAMPLE"), "AKIA...MPLE");
        assert_eq!(masked("short"), "...");
    }

    #[test]
    fn forms_are_encoded() {
        let input = serde_json::json!({ "InstanceId.1": "i-1&x" });
        let (_, body) = request(Service::Ec2, "DescribeInstances", &input);
        assert_eq!(
            body,
            "Action=DescribeInstances&Version=2016-11-15&InstanceId.1=i-1%26x"
        );
    }
}
