//! The sessions of a region, living or ended, page by page.

use aws_sdk_ssm::types;

use super::Aws;
use super::error::{Call, Error, Kind};
use super::model::{Session, SessionQuery, SessionState};
use super::pages::Pages;

/// A listing under way.
#[derive(Debug)]
pub struct Sessions {
    aws: Aws,
    query: SessionQuery,
    pages: Pages,
}

impl Aws {
    /// Begins to list sessions: at the first page, or at the one that a token stands for.
    pub fn sessions(&self, query: SessionQuery, token: Option<String>) -> Sessions {
        Sessions {
            aws: self.clone(),
            query,
            pages: Pages::from(token),
        }
    }
}

impl Sessions {
    /// The next page, newest sessions first; it may be empty. `None` after the last.
    ///
    /// Fails if the service refuses, does not answer, or comes to no end.
    pub async fn next(&mut self) -> Result<Option<Vec<Session>>, Error> {
        if self.pages.is_over() {
            return Ok(None);
        }
        let call = Call {
            what: "cannot list the sessions",
            action: "ssm:DescribeSessions",
        };
        let state = match self.query.state {
            SessionState::Active => types::SessionState::Active,
            SessionState::History => types::SessionState::History,
        };
        let mut describe = self
            .aws
            .ssm()
            .describe_sessions()
            .state(state)
            .set_max_results(self.query.page_size)
            .set_next_token(self.pages.token());
        for filter in &self.query.filters {
            let filter = types::SessionFilter::builder()
                .key(types::SessionFilterKey::from(filter.key.as_str()))
                .value(&filter.value)
                .build()
                .map_err(|error| Error::new(Kind::Other, call.what, error.to_string()))?;
            describe = describe.filters(filter);
        }
        self.aws.ready(&call).await?;
        match describe.send().await {
            Ok(answer) => {
                self.pages.turn(call.what, answer.next_token)?;
                let sessions = answer.sessions.unwrap_or_default().into_iter();
                Ok(Some(sessions.map(Session::from).collect()))
            }
            Err(error) => Err(self.aws.failure(&call, error).await),
        }
    }

    /// What stands for the next page; none before the first and after the last.
    pub fn token(&self) -> Option<String> {
        self.pages.token()
    }
}
