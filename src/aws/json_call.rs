//! Calls of services for which an SDK would be too dear: JSON 1.1, signed, over the connections
//! and with the retries of the other calls.

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_smithy_runtime_api::client::http::HttpConnector as _;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use serde_json::{Map, Value};

use super::Aws;
use super::error::{self, Call, Error, Kind, Refusal};
use super::reply;
use super::sign::{self, Unsigned};

/// The pause before the second try, at most; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LAST_PAUSE: Duration = Duration::from_secs(20);

/// A service that is called so.
pub(super) struct Service<'a> {
    /// Its name in signatures and host names, such as `ecs`.
    pub name: &'static str,
    /// What stands before the operation in `x-amz-target`.
    pub target: &'static str,
    /// The user's endpoint, if there is one.
    pub endpoint: Option<&'a str>,
}

impl Aws {
    /// Calls an operation until it is answered, or not worth another try; what it answers.
    ///
    /// Fails as calls of the SDKs do.
    pub(super) async fn call_json(
        &self,
        service: &Service<'_>,
        call: &Call<'_>,
        operation: &str,
        input: &Value,
    ) -> Result<Map<String, Value>, Error> {
        let body = input.to_string();
        let mut pause = FIRST_PAUSE;
        let mut attempts = 1;
        loop {
            let credentials = self.credentials().await;
            let credentials = credentials.map_err(|error| error.while_doing(call.what))?;
            let request = self
                .json_request(service, operation, &body, &credentials)
                .map_err(|why| Error::new(Kind::Other, call.what, why))?;
            let off = self.0.connections.clock().off();
            let (error, again) = match self.send_json(call, request).await {
                Ok(answer) => return Ok(answer),
                Err((error, again)) => (self.note(error).await, again),
            };
            // A signature of the wrong time is worth another of the right one.
            let again = again || off != self.0.connections.clock().off();
            if !again || attempts >= self.0.settings.max_attempts {
                return Err(error);
            }
            tracing::debug!(operation, %error, "trying again");
            tokio::time::sleep(pause.mul_f64(fastrand::f64())).await;
            pause = (pause * 2).min(LAST_PAUSE);
            attempts += 1;
        }
    }

    fn json_request(
        &self,
        service: &Service<'_>,
        operation: &str,
        body: &str,
        credentials: &Credentials,
    ) -> Result<HttpRequest, String> {
        let settings = &self.0.settings;
        let url = match service.endpoint {
            Some(endpoint) => endpoint.to_owned(),
            None => endpoint(
                service.name,
                &self.0.region,
                settings.fips,
                settings.dual_stack,
            ),
        };
        let mut request = HttpRequest::new(SdkBody::from(body));
        let odd = |error: &dyn std::fmt::Display| format!("cannot make the request: {error}");
        request.set_method("POST").map_err(|error| odd(&error))?;
        let path = if url.ends_with('/') { "" } else { "/" };
        let uri = format!("{url}{path}");
        request.set_uri(uri.as_str()).map_err(|error| odd(&error))?;
        let headers = [
            ("content-type", "application/x-amz-json-1.1".to_owned()),
            ("x-amz-target", format!("{}.{operation}", service.target)),
        ];
        let now = self.0.connections.clock().now();
        let unsigned = Unsigned {
            service: service.name,
            region: &self.0.region,
            method: "POST",
            url: &uri,
            headers: &headers,
            body: body.as_bytes(),
        };
        let signature = sign::headers(&unsigned, credentials, now)?;
        for (name, value) in headers
            .into_iter()
            .map(|(n, v)| (n.to_owned(), v))
            .chain(signature)
        {
            request
                .headers_mut()
                .try_insert(name, value)
                .map_err(|error| odd(&error))?;
        }
        Ok(request)
    }

    /// One try; with an error goes whether another is worth it.
    async fn send_json(
        &self,
        call: &Call<'_>,
        request: HttpRequest,
    ) -> Result<Map<String, Value>, (Error, bool)> {
        let answer = self.0.connections.connector().call(request).await;
        let answer = answer.map_err(|error| {
            let again = error.is_io() || error.is_timeout() || error.as_other().is_some();
            (error::no_answer(call, &error), again)
        })?;
        let (status, header) = (answer.status(), answer.headers().get(reply::ERROR_TYPE));
        let header = header.map(str::to_owned);
        let mut answer = answer;
        let body = answer.take_body().collect().await;
        let body: Bytes = match body {
            Ok(body) => body.to_bytes(),
            Err(error) => return Err((error::no_answer(call, error.as_ref()), true)),
        };
        if status.is_success() {
            return match serde_json::from_slice(&body) {
                Ok(Value::Object(output)) => Ok(output),
                _ => Err((error::senseless(call), false)),
            };
        }
        let body = String::from_utf8_lossy(&body);
        let code = reply::code(header.as_deref(), &body);
        let message = reply::message(&body);
        let refusal = Refusal::new(&answer, code.as_deref(), message.as_deref());
        let error = error::service_error(call, &self.0.context, &refusal);
        let again = error.is_transient();
        Err((error, again))
    }
}

/// Where AWS answers for a service in a region.
fn endpoint(service: &str, region: &str, fips: bool, dual_stack: bool) -> String {
    let partitions = [
        ("cn-", "amazonaws.com.cn", "api.amazonwebservices.com.cn"),
        ("eusc-", "amazonaws.eu", "api.amazonwebservices.eu"),
        ("us-iso-", "c2s.ic.gov", "api.aws.ic.gov"),
        ("us-isob-", "sc2s.sgov.gov", "api.aws.scloud"),
        ("us-isof-", "csp.hci.ic.gov", "api.aws.hci.ic.gov"),
        ("eu-isoe-", "cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"),
    ];
    let (plain, dual) = partitions
        .iter()
        .find(|(prefix, ..)| region.starts_with(prefix))
        .map_or(("amazonaws.com", "api.aws"), |(_, plain, dual)| {
            (*plain, *dual)
        });
    let suffix = if dual_stack { dual } else { plain };
    let fips = if fips { "-fips" } else { "" };
    format!("https://{service}{fips}.{region}.{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_follow_the_partition() {
        let cases = [
            (
                "us-east-1",
                false,
                false,
                "https://ecs.us-east-1.amazonaws.com",
            ),
            (
                "us-east-1",
                true,
                false,
                "https://ecs-fips.us-east-1.amazonaws.com",
            ),
            ("eu-west-1", false, true, "https://ecs.eu-west-1.api.aws"),
            (
                "us-gov-west-1",
                true,
                false,
                "https://ecs-fips.us-gov-west-1.amazonaws.com",
            ),
            (
                "cn-north-1",
                false,
                false,
                "https://ecs.cn-north-1.amazonaws.com.cn",
            ),
            (
                "eusc-de-east-1",
                false,
                false,
                "https://ecs.eusc-de-east-1.amazonaws.eu",
            ),
            (
                "us-iso-east-1",
                false,
                false,
                "https://ecs.us-iso-east-1.c2s.ic.gov",
            ),
        ];
        for (region, fips, dual_stack, expected) in cases {
            assert_eq!(endpoint("ecs", region, fips, dual_stack), expected);
        }
    }
}
