//! Calls that fail: who said no, or did not answer, and what to do about it.

use std::error::Error as StdError;

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use super::super::clock;
use super::super::dial::DialError;
use super::{Error, Kind, UNKNOWN_KEYS, chain, find, one_line, plain};

/// An API call: for messages and for the permission to name.
pub(in crate::aws) struct Call<'a> {
    /// What the user wanted: "cannot start a session on i-1".
    pub what: &'a str,
    /// The IAM action, e.g. `ssm:StartSession`.
    pub action: &'a str,
}

/// What hints need to know of the circumstances.
#[derive(Clone, Debug, Default)]
pub(in crate::aws) struct Context {
    /// How to get fresh credentials, as a half sentence.
    pub renew: String,
}

/// Maps what the SDK says to what the user should read.
pub(in crate::aws) fn from_sdk<E>(
    call: &Call<'_>,
    context: &Context,
    error: SdkError<E, HttpResponse>,
) -> Error
where
    E: StdError + ProvideErrorMetadata + Send + Sync + 'static,
{
    if let Some(dial) = find::<DialError>(&error) {
        return dial.to_error().while_doing(call.what);
    }
    if let Some(credentials) = find::<CredentialsError>(&error) {
        return from_credentials(context, credentials).while_doing(call.what);
    }
    match &error {
        SdkError::ServiceError(failure) => {
            let (code, message) = (failure.err().code(), failure.err().message());
            service_error(call, context, &Refusal::new(failure.raw(), code, message))
        }
        SdkError::ResponseError(answer) => {
            if !answer.raw().status().is_success() {
                return service_error(call, context, &Refusal::new(answer.raw(), None, None));
            }
            let why = chain(&error);
            let why = why.strip_prefix("response error: ").unwrap_or(&why);
            tracing::debug!(why, "the answer cannot be read");
            senseless(call)
        }
        SdkError::TimeoutError(_) => Error::new(Kind::Unreachable, call.what, "no answer in time"),
        SdkError::DispatchFailure(_) => no_answer(call, &error),
        _ => Error::new(Kind::Other, call.what, chain(&error)),
    }
}

/// An answer that is none of the API.
pub(in crate::aws) fn senseless(call: &Call<'_>) -> Error {
    Error::new(Kind::Other, call.what, "the answer is not that of the API").with_hint(format!(
        "a proxy, or an endpoint that is not that of AWS? see --endpoint-url, {} and HTTPS_PROXY",
        variable(call)
    ))
}

/// A request that got no answer.
pub(in crate::aws) fn no_answer(call: &Call<'_>, error: &(dyn StdError + 'static)) -> Error {
    if let Some(dial) = find::<DialError>(error) {
        return dial.to_error().while_doing(call.what);
    }
    let why = match find::<std::io::Error>(error) {
        Some(io) => plain(io),
        None => find::<hyper::Error>(error).map_or_else(|| chain(error), |error| chain(error)),
    };
    Error::new(
        Kind::Unreachable,
        call.what,
        format!("the connection broke before the answer: {why}"),
    )
    .with_hint("check the endpoint (http:// or https://?), the network, HTTPS_PROXY and NO_PROXY")
}

/// An answer that is no success.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::aws) struct Refusal<'a> {
    status: u16,
    /// What the service calls the error.
    code: Option<&'a str>,
    message: Option<&'a str>,
    /// When it answered.
    date: Option<&'a str>,
    /// Where it sends us.
    location: Option<&'a str>,
}

impl<'a> Refusal<'a> {
    pub(in crate::aws) fn new(
        answer: &'a HttpResponse,
        code: Option<&'a str>,
        message: Option<&'a str>,
    ) -> Self {
        Self {
            status: answer.status().as_u16(),
            code,
            message,
            date: answer.headers().get(clock::DATE),
            location: answer.headers().get("location"),
        }
    }
}

/// What a service says that refuses, or whatever answers in its place.
pub(in crate::aws) fn service_error(
    call: &Call<'_>,
    context: &Context,
    refusal: &Refusal<'_>,
) -> Error {
    let status = refusal.status;
    let Some(code) = refusal.code.filter(|code| !code.is_empty()) else {
        return stranger(call, refusal);
    };
    // The service may send the full name, as in `com.amazonaws.ssm#TargetNotConnected`.
    let code = code.rsplit('#').next().unwrap_or(code);
    let why = match refusal
        .message
        .map(str::trim)
        .filter(|text| !text.is_empty())
    {
        Some(message) => format!("{} ({code})", message.trim_end_matches('.')),
        None => code.to_owned(),
    };
    let mut error = Error::new(Kind::Refused, call.what, why);
    error.code = Some(one_line(code));
    error.transient = status >= 500 || is_throttling(code);
    match service_hint(call, context, code, refusal.date) {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// Whoever this is, it is not the service that refuses.
fn stranger(call: &Call<'_>, refusal: &Refusal<'_>) -> Error {
    let status = refusal.status;
    let kind = match status {
        500.. => Kind::Unreachable,
        _ => Kind::Other,
    };
    let why = match refusal.location {
        Some(location) => format!("HTTP status {status}, which leads to {location}"),
        None => format!("HTTP status {status} without an AWS error in it"),
    };
    let mut error = Error::new(kind, call.what, why).with_hint(format!(
        "a proxy, or an endpoint that is not that of AWS? see --endpoint-url, {}, HTTPS_PROXY and NO_PROXY",
        variable(call)
    ));
    error.transient = status >= 500;
    error
}

/// How the user names the endpoint of a service.
fn variable(call: &Call<'_>) -> String {
    let service = call.action.split(':').next().unwrap_or_default();
    format!(
        "AWS_ENDPOINT_URL_{}",
        service.to_uppercase().replace('-', "_")
    )
}

fn is_throttling(code: &str) -> bool {
    code.contains("Throttl") || code == "TooManyRequestsException" || code == "RequestLimitExceeded"
}

fn service_hint(
    call: &Call<'_>,
    context: &Context,
    code: &str,
    date: Option<&str>,
) -> Option<String> {
    let action = call.action;
    Some(match code {
        "ExpiredToken" | "ExpiredTokenException" | "RequestExpired" => {
            format!("the credentials have expired: {}", context.renew)
        }
        code if UNKNOWN_KEYS.contains(&code) => format!(
            "AWS does not know these credentials (wrong keys, wrong partition, or a missing session token): {}",
            context.renew
        ),
        "InvalidSignatureException" | "SignatureDoesNotMatch" | "RequestTimeTooSkewed" => {
            let clock = date.and_then(clock::advice);
            clock.unwrap_or_else(|| {
                "check the secret key, the region and this machine's clock".to_owned()
            })
        }
        "AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation" => {
            let request = match action {
                "ssm:StartSession" => {
                    "; where access is granted just in time, --request-access REASON asks for it"
                }
                _ => "",
            };
            format!(
                "the caller's IAM policies must allow {action}; `ssmx doctor` shows who the caller is, and what else is denied{request}"
            )
        }
        "TargetNotConnected" => {
            "is the node running, in this region and account, its SSM Agent up and its instance profile set? \
             `ssmx doctor TARGET` finds out"
                .to_owned()
        }
        "InvalidDocument" | "InvalidDocumentVersion" | "InvalidDocumentOperation" => {
            "check --document-name: it must be a Session document of this region and account".to_owned()
        }
        "InvalidParameters" => "check --parameters against the document".to_owned(),
        "ValidationException" => {
            "check the arguments: --target takes i-…, mi-… or ecs:CLUSTER_TASK_RUNTIME".to_owned()
        }
        "DoesNotExistException" => {
            "check the session id: `ssmx describe-sessions --state Active` lists the living".to_owned()
        }
        "OptInRequired" => "the account has not enabled this region".to_owned(),
        code if is_throttling(code) => {
            format!("{action} was retried and still throttled: wait a little, then try again")
        }
        _ => return None,
    })
}

/// An error of the credential chain.
pub(in crate::aws) fn from_credentials(context: &Context, error: &CredentialsError) -> Error {
    if let Some(dial) = find::<DialError>(error)
        && !matches!(error, CredentialsError::CredentialsNotLoaded(_))
    {
        return dial.to_error().while_doing("cannot get AWS credentials");
    }
    if let Some(known) = find::<Error>(error) {
        return known.clone();
    }
    match error {
        CredentialsError::CredentialsNotLoaded(_) => Error::new(
            Kind::Credentials,
            "no AWS credentials",
            "neither environment, profile, container nor instance metadata has any",
        )
        .with_hint(format!(
            "{}; or choose another profile with --profile or AWS_PROFILE",
            context.renew
        )),
        CredentialsError::ProviderTimedOut(_) => Error::new(
            Kind::Credentials,
            "cannot get AWS credentials",
            "their provider gave no answer in time",
        ),
        _ => Error::new(
            Kind::Credentials,
            "cannot get AWS credentials",
            // The outermost text says no more than ours.
            error.source().map_or_else(|| error.to_string(), chain),
        )
        .with_hint(context.renew.clone()),
    }
}
