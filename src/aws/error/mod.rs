//! What can go wrong in the control plane, said so that the reader knows what to do next.

mod causes;
mod service;

pub(super) use causes::{chain, find, one_line, plain, seconds};
pub(super) use service::{
    Call, Context, Refusal, from_credentials, from_sdk, no_answer, senseless, service_error,
};

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

#[cfg(test)]
mod tests;
