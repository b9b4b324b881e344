//! What is asked of SSM and what it answers, free of the SDK's types.

use aws_sdk_ssm::types;
use aws_smithy_types::DateTime;
use zeroize::Zeroizing;

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
    fn tokens_do_not_show() {
        let grant = SessionGrant {
            session_id: "s".to_owned(),
            token: Token::new("secret".to_owned()),
            stream_url: "u".to_owned(),
        };
        assert!(!format!("{grant:?}").contains("secret"));
    }
}
