//! The sessions that live, if AWS tells soon. They come and go, so nothing is kept.

use super::super::{output, settings};
use super::nodes::ask;
use super::values::{Choice, Words};
use crate::aws::{Aws, Session, SessionQuery, SessionState};

/// As many as the service gives at a time; among more nobody finds one by completing.
const MOST: i32 = 200;

/// Ids of sessions, with the node and whose they are; none if there are none to be had soon.
pub(super) fn choices(words: &Words) -> Vec<Choice> {
    let Some(global) = settings::global(&words.globals) else {
        return Vec::new();
    };
    ask(global.options(), list).unwrap_or_default()
}

async fn list(aws: &Aws) -> Option<Vec<Choice>> {
    let query = SessionQuery {
        state: SessionState::Active,
        filters: Vec::new(),
        page_size: Some(MOST),
    };
    let page = aws.sessions(query, None).next().await.ok()??;
    Some(page.into_iter().filter_map(choice).collect())
}

fn choice(session: Session) -> Option<Choice> {
    let text = |text: Option<String>| output::plain(text.as_deref().unwrap_or("-"));
    let owner = session
        .owner
        .as_deref()
        .and_then(|owner| owner.rsplit('/').next());
    let owner = owner.map(str::to_owned);
    let about = format!("{} by {}", text(session.target), text(owner));
    Some((session.session_id?, Some(about)))
}
