//! Single calls for finding out what is wrong: signed by hand, never repeated, soon given up, and
//! with all that an answer says, which the SDK keeps to itself.

use std::time::Duration;

use aws_smithy_async::time::{SystemTimeSource, TimeSource};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use super::dial::{Dial, DialError};
use super::endpoint::Service;
use super::error::{self, Error, Kind};
use super::reply::{self, Reply};
use super::sign::{self, Unsigned};
use super::{Aws, clock};

/// The longest answer that is read, in bytes.
const ANSWER: usize = 4 << 20;

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
        let unsigned = Unsigned {
            service: service.name(),
            region,
            method: "POST",
            url: url.as_str(),
            headers: &headers,
            body: body.as_bytes(),
        };
        let signing = sign::headers(&unsigned, &credentials, begun);
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
        let header = |name: &str| head.headers.get(name)?.to_str().ok();
        let ahead = header(clock::DATE).and_then(|date| clock::ahead(date, begun, ended));
        let error_type = header(reply::ERROR_TYPE).map(str::to_owned);
        let body = Limited::new(body, ANSWER).collect().await;
        let body = body.map_err(|error| other(error.to_string()))?.to_bytes();
        let text = String::from_utf8_lossy(&body).into_owned();
        Ok(Reply::new(head.status.as_u16(), error_type, text, ahead))
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

#[cfg(test)]
mod tests {
    use super::*;

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
