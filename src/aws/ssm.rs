//! The calls of the SSM API.

use super::Aws;
use super::error::{Call, Error, Kind, from_sdk};
use super::model::{ConnectionStatus, SessionGrant, StartSession, Token};
use super::sdk::client;

impl Aws {
    pub(super) fn ssm(&self) -> &aws_sdk_ssm::Client {
        self.0.ssm.get_or_init(|| {
            let endpoint = self.0.settings.ssm_endpoint.as_ref();
            client!(aws_sdk_ssm, self.sdk(endpoint))
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

    /// Credentials first: the SDK would wrap their error beyond recognition.
    pub(super) async fn ready(&self, call: &Call<'_>) -> Result<(), Error> {
        match self.credentials().await {
            Ok(_) => Ok(()),
            Err(error) => Err(error.while_doing(call.what)),
        }
    }

    pub(super) async fn failure<E>(
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
}
