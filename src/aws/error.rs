//! What can go wrong in the control plane, said so that the reader knows what to do next.

use std::error::Error as StdError;
use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use super::dial::DialError;

/// The longest text taken over from a service or a library, in characters.
const MAX_TEXT: usize = 500;

/// What services call access keys that they do not know.
const UNKNOWN_KEYS: [&str; 4] = [
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "UnrecognizedClient",
    "AuthFailure",
];

/// Which part of the world is to blame; decides the exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Options, profiles, certificates: to be set right on this machine.
    Configuration,
    /// No credentials, or such that cannot be used.
    Credentials,
    /// The service answered, and said no.
    Refused,
    /// No answer was to be had: name resolution, network, TLS, proxy, time-out.
    Unreachable,
    /// Anything else, such as an answer without sense.
    Other,
}

/// A failed call or a configuration that cannot work: one line what and why, and perhaps a hint.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{what}: {why}")]
pub struct Error {
    kind: Kind,
    what: String,
    why: String,
    hint: Option<String>,
    code: Option<String>,
    transient: bool,
}

impl Error {
    /// An error without a hint; both texts are brought to one clean line.
    pub(super) fn new(kind: Kind, what: impl Into<String>, why: impl AsRef<str>) -> Self {
        Self {
            kind,
            what: what.into(),
            why: one_line(why.as_ref()),
            hint: None,
            code: None,
            transient: kind == Kind::Unreachable,
        }
    }

    /// Something to be set right on this machine.
    pub(super) fn configuration(what: impl Into<String>, why: impl AsRef<str>) -> Self {
        Self::new(Kind::Configuration, what, why)
    }

    /// The same error with advice, which is printed on a line of its own.
    pub(super) fn with_hint(mut self, hint: impl AsRef<str>) -> Self {
        self.hint = Some(one_line(hint.as_ref()));
        self
    }

    /// The same error for another operation: keeps reason and hint, says what was wanted.
    pub(super) fn while_doing(mut self, what: &str) -> Self {
        if !self.what.starts_with(what) {
            self.why = format!("{}: {}", self.what, self.why);
            self.what = what.to_owned();
        }
        self
    }

    /// The same error as one of getting credentials, if a service said no.
    pub(super) fn into_credentials(mut self) -> Self {
        if self.kind == Kind::Refused {
            self.kind = Kind::Credentials;
        }
        self
    }

    /// Why it failed, without what was wanted.
    pub fn reason(&self) -> &str {
        &self.why
    }

    /// Who is to blame.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What to do next, in one line.
    pub fn hint(&self) -> Option<String> {
        self.hint.clone()
    }

    /// The service's own name for the error, e.g. `TargetNotConnected`.
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// Whether the caller lacks a permission.
    pub fn is_access_denied(&self) -> bool {
        self.code()
            .is_some_and(|code| matches!(code, "AccessDenied" | "AccessDeniedException"))
    }

    /// Whether other credentials would help: there are none, or the service takes them no more.
    pub fn is_credentials(&self) -> bool {
        self.kind == Kind::Credentials
            || self
                .code()
                .is_some_and(|code| code.contains("Expired") || UNKNOWN_KEYS.contains(&code))
    }

    /// Whether the same call may succeed later without anyone changing anything: network trouble,
    /// throttling, errors inside the service.
    pub fn is_transient(&self) -> bool {
        self.transient
    }
}

/// An API call: for messages and for the permission to name.
pub(super) struct Call<'a> {
    /// What the user wanted: "cannot start a session on i-1".
    pub what: &'a str,
    /// The IAM action, e.g. `ssm:StartSession`.
    pub action: &'a str,
}

/// What hints need to know of the circumstances.
#[derive(Clone, Debug, Default)]
pub(super) struct Context {
    /// How to get fresh credentials, as a half sentence.
    pub renew: String,
}

/// Maps what the SDK says to what the user should read.
pub(super) fn from_sdk<E>(
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
            let status = failure.raw().status().as_u16();
            service_error(
                call,
                context,
                status,
                failure.err().code(),
                failure.err().message(),
            )
        }
        SdkError::ResponseError(answer) => {
            let status = answer.raw().status();
            if !status.is_success() {
                return service_error(call, context, status.as_u16(), None, None);
            }
            let why = chain(&error);
            let why = why.strip_prefix("response error: ").unwrap_or(&why);
            Error::new(
                Kind::Other,
                call.what,
                format!("the answer is not that of the API ({why})"),
            )
            .with_hint("is the endpoint really that of AWS? see --endpoint-url, AWS_ENDPOINT_URL_SSM and HTTPS_PROXY")
        }
        SdkError::TimeoutError(_) => Error::new(Kind::Unreachable, call.what, "no answer in time"),
        SdkError::DispatchFailure(_) => no_answer(call, &error),
        _ => Error::new(Kind::Other, call.what, chain(&error)),
    }
}

/// A request that got no answer.
pub(super) fn no_answer(call: &Call<'_>, error: &(dyn StdError + 'static)) -> Error {
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

/// What a service says that refuses, or whatever answers in its place.
pub(super) fn service_error(
    call: &Call<'_>,
    context: &Context,
    status: u16,
    code: Option<&str>,
    message: Option<&str>,
) -> Error {
    let Some(code) = code.filter(|code| !code.is_empty()) else {
        // Whoever this is, it is not the service that refuses.
        let kind = if status >= 500 {
            Kind::Unreachable
        } else {
            Kind::Other
        };
        let mut error = Error::new(
            kind,
            call.what,
            format!("HTTP status {status} without an AWS error in it"),
        )
        .with_hint("a proxy, or an endpoint that is not SSM? see --endpoint-url, AWS_ENDPOINT_URL_SSM, HTTPS_PROXY and NO_PROXY");
        error.transient = status >= 500;
        return error;
    };
    // The service may send the full name, as in `com.amazonaws.ssm#TargetNotConnected`.
    let code = code.rsplit('#').next().unwrap_or(code);
    let why = match message.map(str::trim).filter(|text| !text.is_empty()) {
        Some(message) => format!("{} ({code})", message.trim_end_matches('.')),
        None => code.to_owned(),
    };
    let mut error = Error::new(Kind::Refused, call.what, why);
    error.code = Some(one_line(code));
    error.transient = status >= 500 || is_throttling(code);
    match service_hint(call, context, code) {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

fn is_throttling(code: &str) -> bool {
    code.contains("Throttl") || code == "TooManyRequestsException" || code == "RequestLimitExceeded"
}

fn service_hint(call: &Call<'_>, context: &Context, code: &str) -> Option<String> {
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
            "check the secret key, the region and this machine's clock".to_owned()
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
pub(super) fn from_credentials(context: &Context, error: &CredentialsError) -> Error {
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

/// The first error of this type in a chain of causes; looks into `io::Error` too, whose `source`
/// skips what it wraps.
pub(super) fn find<'a, T: StdError + 'static>(
    error: &'a (dyn StdError + 'static),
) -> Option<&'a T> {
    causes(error).find_map(|error| error.downcast_ref::<T>())
}

fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| {
        match error.downcast_ref::<std::io::Error>() {
            Some(io) => io.get_ref().map(|inner| inner as &(dyn StdError + 'static)),
            None => error.source(),
        }
    })
    // A chain that bites its tail would be a bug of a library, yet must not hang us.
    .take(32)
}

/// A chain of causes as one line, without repetition.
pub(super) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = String::new();
    for cause in causes(error) {
        let part = cause.to_string();
        if part.is_empty() || text.contains(&part) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&part);
    }
    text
}

/// The text of an I/O error without Rust's "(os error 111)".
pub(super) fn plain(error: &std::io::Error) -> String {
    let text = chain(error);
    match text.find(" (os error") {
        Some(at) => text.get(..at).unwrap_or(&text).to_owned(),
        None => text,
    }
}

/// Foreign text for a terminal: no control characters, no line ends, not without end.
pub(super) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len().min(MAX_TEXT));
    let mut count = 0;
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()) {
        if word.is_empty() {
            continue;
        }
        if count > 0 {
            line.push(' ');
            count += 1;
        }
        for c in word.chars() {
            if count == MAX_TEXT {
                line.push('…');
                return line;
            }
            line.push(c);
            count += 1;
        }
    }
    line
}

/// A duration as options give it: whole seconds where it is such.
pub(super) fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}

#[cfg(test)]
#[path = "error_tests.rs"]
mod tests;
