//! Just-in-time access: where a node's policy wants an approval, a request for it, the wait, and
//! the temporary credentials that come of it.

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_sdk_ssm::types::{AccessRequestStatus, Target};
use tokio::sync::Mutex;

use super::Aws;
use super::error::{Call, Error, Kind};

/// Between the first looks at a request, and the last: it grows.
const FIRST_LOOK: Duration = Duration::from_secs(1);
const LAST_LOOK: Duration = Duration::from_secs(15);

/// What to do where access has to be asked for.
#[derive(Clone, Debug)]
pub struct AccessWish {
    /// For whoever approves; or the id of a request (`oi-…`) that was made before.
    pub reason: String,
    /// Told, a line each, what is waited for.
    pub tell: fn(&str),
}

impl AccessWish {
    /// The request that the reason names.
    fn request(&self) -> Option<&str> {
        let digits = self.reason.strip_prefix("oi-")?;
        let is_id = digits.len() == 12 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_id.then_some(self.reason.as_str())
    }
}

/// The wish, and what came of it.
#[derive(Debug)]
pub(super) struct Access {
    wish: AccessWish,
    /// The node that there is access to.
    granted: Mutex<Option<String>>,
}

impl Access {
    pub(super) fn new(wish: AccessWish) -> Self {
        Self {
            wish,
            granted: Mutex::default(),
        }
    }
}

impl Aws {
    /// Whether access may be had by asking for it, after `error` of
    /// [`start_session`](Self::start_session).
    pub fn may_ask_for_access(&self, error: &Error) -> bool {
        self.0.access.is_some() && error.is_access_denied()
    }

    /// Asks for access to a node, and waits until it is granted: then all calls are made with the
    /// credentials of that. May take as long as people do; whoever drops it leaves the request
    /// as it is. Several may wait for the same.
    ///
    /// Fails if it is refused, or cannot be asked for.
    pub async fn gain_access(&self, target: &str) -> Result<(), Error> {
        let Some(access) = &self.0.access else {
            return Ok(());
        };
        let mut granted = access.granted.lock().await;
        if granted.as_deref() == Some(target) {
            return Ok(());
        }
        let caller = self.with_credentials_of_now().await;
        let wish = &access.wish;
        let request = match wish.request() {
            Some(request) => request.to_owned(),
            None => caller.start_access_request(target, &wish.reason).await?,
        };
        let what = format!("no access to {target} by the request {request}");
        let mut pause = FIRST_LOOK;
        let mut told = false;
        loop {
            match caller.access_token(&what, &request).await {
                Ok(Some(credentials)) => {
                    (wish.tell)(&format!("access to {target} is granted ({request})"));
                    let provider = Granted {
                        caller,
                        what,
                        request,
                    };
                    let provider = SharedCredentialsProvider::new(provider);
                    self.0.credentials.go_by(provider, credentials).await;
                    *granted = Some(target.to_owned());
                    return Ok(());
                }
                Ok(None) if told => {}
                Ok(None) => {
                    told = true;
                    (wish.tell)(&format!(
                        "waiting for approval of access to {target} ({request}); \
                         --request-access {request} goes on with it later"
                    ));
                }
                Err(error) if error.is_transient() => {
                    tracing::debug!(%error, "looking again");
                }
                Err(error) => return Err(error),
            }
            tokio::time::sleep(pause).await;
            pause = pause.mul_f64(1.5).min(LAST_LOOK);
        }
    }

    /// The id of a new request.
    async fn start_access_request(&self, target: &str, reason: &str) -> Result<String, Error> {
        let call = Call {
            what: &format!("cannot request access to {target}"),
            action: "ssm:StartAccessRequest",
        };
        let node = Target::builder().key("InstanceIds").values(target).build();
        self.ready(&call).await?;
        let start = self.ssm().start_access_request();
        let answer = match start.reason(reason).targets(node).send().await {
            Ok(answer) => answer,
            Err(error) => return Err(self.failure(&call, error).await),
        };
        let request = answer.access_request_id.filter(|id| !id.is_empty());
        request.ok_or_else(|| Error::new(Kind::Other, call.what, "the answer has no id"))
    }

    /// The credentials of a request; none while it waits for approval.
    async fn access_token(&self, what: &str, request: &str) -> Result<Option<Credentials>, Error> {
        let call = Call {
            what,
            action: "ssm:GetAccessToken",
        };
        self.ready(&call).await?;
        let get = self.ssm().get_access_token().access_request_id(request);
        let answer = match get.send().await {
            Ok(answer) => answer,
            Err(error) => return Err(self.failure(&call, error).await),
        };
        let refused =
            |why: &str, hint: &str| Err(Error::new(Kind::Refused, what, why).with_hint(hint));
        match (answer.access_request_status, answer.credentials) {
            (Some(AccessRequestStatus::Rejected), _) => refused(
                "it was rejected",
                "ask those who approve, then request it again",
            ),
            (Some(AccessRequestStatus::Revoked), _) => refused(
                "it was revoked",
                "ask those who approve, then request it again",
            ),
            (Some(AccessRequestStatus::Expired), _) => refused(
                "it has expired",
                "request it again with --request-access REASON",
            ),
            (Some(AccessRequestStatus::Pending), _) => Ok(None),
            (_, Some(keys)) => Ok(Some(Credentials::new(
                keys.access_key_id,
                keys.secret_access_key,
                Some(keys.session_token),
                keys.expiration_time.try_into().ok(),
                "JustInTimeAccess",
            ))),
            (status, None) => {
                let status = status.as_ref().map_or("unknown", |status| status.as_str());
                let why = format!("the answer has no credentials (status {status})");
                Err(Error::new(Kind::Other, what, why))
            }
        }
    }
}

/// Credentials of a request, got anew when they end: access may last longer.
struct Granted {
    caller: Aws,
    what: String,
    request: String,
}

impl std::fmt::Debug for Granted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Granted").finish_non_exhaustive()
    }
}

impl ProvideCredentials for Granted {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            match self.caller.access_token(&self.what, &self.request).await {
                Ok(Some(credentials)) => Ok(credentials),
                Ok(None) => Err(CredentialsError::not_loaded("approval is withdrawn")),
                Err(error) => Err(CredentialsError::provider_error(error)),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_requests_are_told_from_reasons() {
        let request = |reason: &str| {
            let wish = AccessWish {
                reason: reason.to_owned(),
                tell: |_| {},
            };
            wish.request().is_some()
        };
        assert!(request("oi-0123456789ab"));
        for reason in ["", "oi-", "oi-0123456789abc", "oi-0123456789ag", "TICKET-1"] {
            assert!(!request(reason), "{reason}");
        }
    }
}
