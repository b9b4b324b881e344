//! Sessions as the SSM API has them.

use aws_sdk_ssm::config::retry::RetryConfig;
use aws_sdk_ssm::config::{BehaviorVersion, IdentityCache, Region};
use aws_sdk_ssm::types;
use aws_smithy_types::DateTime;
use zeroize::Zeroizing;

use super::Aws;
use super::error::{Call, Error, Kind, from_sdk};
use super::http::no_timeouts;

/// A session token: whoever has it can join the session. Wiped from memory when dropped.
#[derive(Clone)]
pub struct Token(Zeroizing<String>);

impl Token {
    /// Takes over a token's text.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text, for the wire alone.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

/// Leave to open the data channel of a session.
#[derive(Clone, Debug)]
pub struct SessionGrant {
    /// The session's name, such as `user-0123456789abcdef0`.
    pub session_id: String,
    /// To be sent in the first frame.
    pub token: Token,
    /// Where the message gateway is; not checked yet.
    pub stream_url: String,
}

impl SessionGrant {
    /// From the three parts of an answer.
    pub fn new(session_id: String, token: String, stream_url: String) -> Self {
        Self {
            session_id,
            token: Token::new(token),
            stream_url,
        }
    }
}

/// A session to start.
#[derive(Clone, Debug, Default)]
pub struct StartSession {
    /// `i-…`, `mi-…` or `ecs:CLUSTER_TASK_RUNTIME`.
    pub target: String,
    /// Session document; none is a shell.
    pub document_name: Option<String>,
    /// Parameters of the document, in the order given.
    pub parameters: Vec<(String, Vec<String>)>,
    /// For the session's history.
    pub reason: Option<String>,
}

/// Whether a node's agent can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionStatus {
    /// As the service repeats it.
    pub target: String,
    /// `connected` or `notconnected`.
    pub status: String,
}

/// Which sessions to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionState {
    /// Those that live.
    Active,
    /// Those that have ended.
    History,
}

/// A condition of a listing, e.g. `Owner`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionFilter {
    /// `InvokedAfter`, `InvokedBefore`, `Target`, `Owner`, `Status`, `SessionId` or `AccessType`.
    pub key: String,
    /// What it has to be.
    pub value: String,
}

/// A listing to ask for.
#[derive(Clone, Debug)]
pub struct SessionQuery {
    /// Living or ended ones.
    pub state: SessionState,
    /// All of these must hold.
    pub filters: Vec<SessionFilter>,
    /// Sessions in a page.
    pub page_size: Option<i32>,
}

/// One page of a listing.
#[derive(Clone, Debug, Default)]
pub struct SessionPage {
    /// The sessions, newest first.
    pub sessions: Vec<Session>,
    /// To ask for the next page with; none after the last.
    pub next: Option<String>,
}

/// A session as listed. The texts are the service's own, times are milliseconds since 1970.
#[derive(Clone, Debug, Default)]
pub struct Session {
    /// Such as `user-0123456789abcdef0`.
    pub session_id: Option<String>,
    /// The node.
    pub target: Option<String>,
    /// `Connected`, `Connecting`, `Disconnected`, `Terminated`, `Terminating`, `Failed`.
    pub status: Option<String>,
    /// When it began.
    pub start: Option<i64>,
    /// When it ended, if it has.
    pub end: Option<i64>,
    /// The session document.
    pub document_name: Option<String>,
    /// ARN of who started it.
    pub owner: Option<String>,
    /// What `--reason` said.
    pub reason: Option<String>,
    /// Reserved by the service.
    pub details: Option<String>,
    /// Where the output was logged.
    pub output_url: Option<OutputUrl>,
    /// Minutes, as text.
    pub max_session_duration: Option<String>,
    /// `Standard` or `JustInTime`.
    pub access_type: Option<String>,
}

/// Where the output of a session was logged.
#[derive(Clone, Debug, Default)]
pub struct OutputUrl {
    /// In S3.
    pub s3: Option<String>,
    /// In CloudWatch Logs.
    pub cloud_watch: Option<String>,
}

impl Aws {
    fn ssm(&self) -> &aws_sdk_ssm::Client {
        self.0.ssm.get_or_init(|| {
            let settings = &self.0.settings;
            let mut config = aws_sdk_ssm::Config::builder()
                .behavior_version(BehaviorVersion::latest())
                .region(Region::new(self.0.region.clone()))
                .http_client(self.0.http.clone())
                .credentials_provider(self.0.credentials.clone())
                // The chain has its own memory, and may wait for a user without limit.
                .identity_cache(IdentityCache::no_cache())
                .retry_config(RetryConfig::standard().with_max_attempts(settings.max_attempts))
                .timeout_config(no_timeouts())
                .use_fips(settings.fips)
                .use_dual_stack(settings.dual_stack);
            config.set_endpoint_url(settings.ssm_endpoint.clone());
            aws_sdk_ssm::Client::from_conf(config.build())
        })
    }

    /// Starts a session.
    pub async fn start_session(&self, request: &StartSession) -> Result<SessionGrant, Error> {
        let call = Call {
            what: &format!("cannot start a session on {}", request.target),
            action: "ssm:StartSession",
        };
        let mut start = self
            .ssm()
            .start_session()
            .target(&request.target)
            .set_document_name(request.document_name.clone())
            .set_reason(request.reason.clone());
        for (name, values) in &request.parameters {
            start = start.parameters(name, values.clone());
        }
        self.ready(&call).await?;
        let answer = match start.send().await {
            Ok(answer) => answer,
            Err(error) => return Err(self.failure(&call, error).await),
        };
        grant(
            &call,
            answer.session_id,
            answer.token_value,
            answer.stream_url,
        )
    }

    /// Asks for a new token for a session that lost its channel; `None`: the session is over.
    /// The grant's `stream_url` may be empty: then the old one stays.
    pub async fn resume_session(&self, session_id: &str) -> Result<Option<SessionGrant>, Error> {
        let call = Call {
            what: &format!("cannot resume the session {session_id}"),
            action: "ssm:ResumeSession",
        };
        self.ready(&call).await?;
        let resume = self.ssm().resume_session().session_id(session_id);
        let answer = match resume.send().await {
            Ok(answer) => answer,
            Err(error) => return Err(self.failure(&call, error).await),
        };
        Ok(answer
            .token_value
            .filter(|token| !token.is_empty())
            .map(|token| {
                SessionGrant::new(
                    answer.session_id.unwrap_or_else(|| session_id.to_owned()),
                    token,
                    answer.stream_url.unwrap_or_default(),
                )
            }))
    }

    /// Ends a session for good.
    pub async fn terminate_session(&self, session_id: &str) -> Result<(), Error> {
        let call = Call {
            what: &format!("cannot terminate the session {session_id}"),
            action: "ssm:TerminateSession",
        };
        self.ready(&call).await?;
        let terminate = self.ssm().terminate_session().session_id(session_id);
        match terminate.send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.failure(&call, error).await),
        }
    }

    /// Asks whether a node can be reached.
    pub async fn connection_status(&self, target: &str) -> Result<ConnectionStatus, Error> {
        let call = Call {
            what: &format!("cannot get the connection status of {target}"),
            action: "ssm:GetConnectionStatus",
        };
        self.ready(&call).await?;
        let ask = self.ssm().get_connection_status().target(target);
        match ask.send().await {
            Ok(answer) => Ok(ConnectionStatus {
                target: answer.target.unwrap_or_else(|| target.to_owned()),
                status: answer
                    .status
                    .map_or_else(String::new, |status| status.as_str().to_owned()),
            }),
            Err(error) => Err(self.failure(&call, error).await),
        }
    }

    /// One page of a listing: the first, or the one that `next` stands for.
    pub async fn describe_sessions(
        &self,
        query: &SessionQuery,
        next: Option<String>,
    ) -> Result<SessionPage, Error> {
        let call = Call {
            what: "cannot list the sessions",
            action: "ssm:DescribeSessions",
        };
        let state = match query.state {
            SessionState::Active => types::SessionState::Active,
            SessionState::History => types::SessionState::History,
        };
        let mut describe = self
            .ssm()
            .describe_sessions()
            .state(state)
            .set_max_results(query.page_size)
            .set_next_token(next);
        for filter in &query.filters {
            let filter = types::SessionFilter::builder()
                .key(types::SessionFilterKey::from(filter.key.as_str()))
                .value(&filter.value)
                .build()
                .map_err(|error| Error::new(Kind::Other, call.what, error.to_string()))?;
            describe = describe.filters(filter);
        }
        self.ready(&call).await?;
        match describe.send().await {
            Ok(answer) => Ok(SessionPage {
                sessions: answer
                    .sessions
                    .unwrap_or_default()
                    .into_iter()
                    .map(Session::from)
                    .collect(),
                next: answer.next_token.filter(|next| !next.is_empty()),
            }),
            Err(error) => Err(self.failure(&call, error).await),
        }
    }

    /// Credentials first: the SDK would wrap their error beyond recognition.
    async fn ready(&self, call: &Call<'_>) -> Result<(), Error> {
        match self.credentials().await {
            Ok(_) => Ok(()),
            Err(error) => Err(error.while_doing(call.what)),
        }
    }

    async fn failure<E>(
        &self,
        call: &Call<'_>,
        error: aws_sdk_ssm::error::SdkError<E, aws_sdk_ssm::config::http::HttpResponse>,
    ) -> Error
    where
        E: std::error::Error + aws_sdk_ssm::error::ProvideErrorMetadata + Send + Sync + 'static,
    {
        self.note(from_sdk(call, &self.0.context, error)).await
    }
}

/// Checks that an answer has all that a session needs.
fn grant(
    call: &Call<'_>,
    session_id: Option<String>,
    token: Option<String>,
    stream_url: Option<String>,
) -> Result<SessionGrant, Error> {
    let given = |field: Option<String>| field.filter(|text| !text.is_empty());
    let missing = |name: &str| {
        Error::new(Kind::Other, call.what, format!("the answer has no {name}")).with_hint(
            "is the endpoint really an SSM endpoint? see --endpoint-url and AWS_ENDPOINT_URL_SSM",
        )
    };
    let token = given(token).map(Token::new);
    Ok(SessionGrant {
        session_id: given(session_id).ok_or_else(|| missing("SessionId"))?,
        token: token.ok_or_else(|| missing("TokenValue"))?,
        stream_url: given(stream_url).ok_or_else(|| missing("StreamUrl"))?,
    })
}

impl From<types::Session> for Session {
    fn from(session: types::Session) -> Self {
        // The service sends seconds as a fraction in binary, a hair below what it means.
        let millis = |time: DateTime| {
            let fraction = i64::from(time.subsec_nanos()).saturating_add(500_000) / 1_000_000;
            time.secs().checked_mul(1000)?.checked_add(fraction)
        };
        Self {
            session_id: session.session_id,
            target: session.target,
            status: session.status.map(|status| status.as_str().to_owned()),
            start: session.start_date.and_then(millis),
            end: session.end_date.and_then(millis),
            document_name: session.document_name,
            owner: session.owner,
            reason: session.reason,
            details: session.details,
            output_url: session.output_url.map(|url| OutputUrl {
                s3: url.s3_output_url,
                cloud_watch: url.cloud_watch_output_url,
            }),
            max_session_duration: session.max_session_duration,
            access_type: session.access_type.map(|kind| kind.as_str().to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn incomplete_grants_name_what_is_missing() {
        let call = Call {
            what: "cannot start a session on i-1",
            action: "ssm:StartSession",
        };
        let some = |text: &str| Some(text.to_owned());
        let cases = [
            (None, some("t"), some("u"), "SessionId"),
            (some("s"), None, some("u"), "TokenValue"),
            (some("s"), some(""), some("u"), "TokenValue"),
            (some("s"), some("t"), None, "StreamUrl"),
            (some("s"), some("secret"), some(""), "StreamUrl"),
        ];
        for (id, token, url, missing) in cases {
            let error = grant(&call, id, token, url).expect_err(missing);
            assert!(error.to_string().ends_with(missing), "{error}");
            assert!(!error.to_string().contains("secret"));
        }
        assert!(grant(&call, some("s"), some("t"), some("u")).is_ok());
    }

    #[test]
    fn tokens_do_not_show() {
        let grant = SessionGrant {
            session_id: "s".to_owned(),
            token: Token::new("secret".to_owned()),
            stream_url: "u".to_owned(),
        };
        assert!(!format!("{grant:?}").contains("secret"));
    }
}
