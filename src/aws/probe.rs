//! Single calls for finding out what is wrong: signed by hand, never repeated, soon given up, and
//! with all that an answer says, which the SDK keeps to itself.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
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
use super::dial::{Dial, DialError};
use super::endpoint::Service;
use super::error::{self, Error, Kind};

/// The longest answer that is read, in bytes.
const ANSWER: usize = 4 << 20;

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
    fn forms_are_encoded() {
        let input = serde_json::json!({ "InstanceId.1": "i-1&x" });
        let (_, body) = request(Service::Ec2, "DescribeInstances", &input);
        assert_eq!(
            body,
            "Action=DescribeInstances&Version=2016-11-15&InstanceId.1=i-1%26x"
        );
    }
}
