//! `ssmx terminate`: ends sessions for good, several at once, after a question.

use std::io::{IsTerminal as _, Write as _};

use futures_util::StreamExt as _;
use futures_util::stream;
use serde_json::{Value, json};

use super::global::Global;
use super::report::{self, Failure};
use super::{history, output};
use crate::aws::{Aws, Session, SessionFilter, SessionQuery, SessionState};
use crate::terminal;

/// Calls at once.
const AT_ONCE: usize = 8;

/// `ssmx terminate`
#[derive(Clone, Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("which").required(true).args(["mine", "all", "session_ids"]))]
#[command(after_help = "Examples:\n  \
    ssmx terminate me-0123456789abcdef0               this one\n  \
    ssmx terminate --mine                             all that the caller started\n  \
    ssmx terminate --all --yes                        everybody's, without a question\n\n\
    It lists what it will end, and asks; where there is no terminal to ask on, it wants --yes. The \
    exit status is not 0 if any session could not be ended.")]
pub struct Args {
    /// All living sessions of the caller
    #[arg(long)]
    mine: bool,
    /// All living sessions of the account in this region
    #[arg(long)]
    all: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// These sessions
    #[arg(value_name = "SESSION-ID")]
    session_ids: Vec<String>,
}

/// Runs the subcommand; the exit status.
pub async fn run(global: &Global, args: Args) -> anyhow::Result<u8> {
    let asks = !args.yes;
    if asks && !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        return Err(
            Failure::usage("there is no terminal to ask on whether to end the sessions")
                .hint("--yes ends them without a question")
                .into(),
        );
    }
    let aws = global.aws().await?;
    let sessions = match args.session_ids.is_empty() {
        true => living(&aws, args.mine).await?,
        false => named(args.session_ids),
    };
    if sessions.is_empty() {
        terminal::notice("there are no such sessions");
        if global.wants_json() {
            output::json(&json!({ "Sessions": [] }))?;
        }
        return Ok(0);
    }
    if asks && !confirm(&sessions)? {
        return Err(Failure::other("no session was ended: that was no yes").into());
    }
    let results = stream::iter(&sessions)
        .map(|session| terminate(&aws, session))
        .buffered(AT_ONCE);
    tokio::pin!(results);
    let json = global.wants_json();
    let mut all = Vec::new();
    let mut status = 0;
    while let Some((id, result)) = results.next().await {
        let mut object = json!({ "SessionId": id, "Terminated": result.is_ok() });
        match result {
            Ok(()) if json => {}
            // The rest is ended, whether somebody reads of it or not.
            Ok(()) => output::text(&format!("{} terminated\n", output::plain(id)))?,
            Err(error) => {
                if status == 0 {
                    status = report::aws_status(&error);
                }
                object["Error"] = Value::String(error.reason().to_owned());
                report::error(&error.to_string(), error.hint().as_deref());
            }
        }
        if json {
            all.push(object);
        }
    }
    if json {
        output::json(&json!({ "Sessions": all }))?;
    }
    Ok(status)
}

async fn terminate<'a>(
    aws: &Aws,
    session: &'a Session,
) -> (&'a str, Result<(), crate::aws::Error>) {
    let id = session.session_id.as_deref().unwrap_or_default();
    (id, aws.terminate_session(id).await)
}

/// The living sessions, of the caller or of all.
async fn living(aws: &Aws, mine: bool) -> anyhow::Result<Vec<Session>> {
    let owner = match mine {
        true => Some(aws.caller_arn().await?),
        false => None,
    };
    let filters = owner.iter().map(|owner| SessionFilter {
        key: "Owner".to_owned(),
        value: owner.clone(),
    });
    let query = SessionQuery {
        state: SessionState::Active,
        filters: filters.collect(),
        page_size: Some(200),
    };
    let mut sessions = Vec::new();
    let mut pages = aws.sessions(query, None);
    while let Some(page) = pages.next().await? {
        // What is somebody else's is not to be ended, whatever the filter makes of the ARN.
        sessions.extend(page.into_iter().filter(|session| {
            session.session_id.is_some() && (owner.is_none() || session.owner == owner)
        }));
    }
    Ok(sessions)
}

fn named(ids: Vec<String>) -> Vec<Session> {
    let mut sessions: Vec<Session> = Vec::new();
    for id in ids {
        let is_new = |session: &Session| session.session_id.as_ref() != Some(&id);
        if sessions.iter().all(is_new) {
            sessions.push(Session {
                session_id: Some(id),
                ..Session::default()
            });
        }
    }
    sessions
}

/// Shows what will be ended, and asks.
fn confirm(sessions: &[Session]) -> Result<bool, Failure> {
    let text = |text: &Option<String>| output::plain(text.as_deref().unwrap_or("-"));
    let is_known = sessions.iter().any(|session| session.start.is_some());
    let rows: Vec<Vec<String>> = sessions
        .iter()
        .map(|session| {
            let mut row = vec![text(&session.session_id)];
            if is_known {
                row.extend([
                    text(&session.target),
                    history::started(session.start),
                    history::name(session.owner.as_deref()),
                    text(&session.reason),
                ]);
            }
            row
        })
        .collect();
    let titles: &[&str] = match is_known {
        true => &["SESSION", "TARGET", "STARTED", "OWNER", "REASON"],
        false => &["SESSION"],
    };
    let what = match sessions.len() {
        1 => "End this session".to_owned(),
        many => format!("End these {many} sessions"),
    };
    let failed = |error| Failure::other(format!("cannot ask on the terminal: {error}"));
    let mut stderr = std::io::stderr();
    let table = output::table(titles, &rows);
    let question = format!("{table}{what} for good? [y/N] ");
    stderr.write_all(question.as_bytes()).map_err(failed)?;
    stderr.flush().map_err(failed)?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(failed)?;
    let answer = answer.trim();
    Ok(answer.eq_ignore_ascii_case("y") || answer.eq_ignore_ascii_case("yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_ended_once() {
        let ids = ["a", "b", "a"].map(str::to_owned).to_vec();
        let ids: Vec<_> = named(ids)
            .into_iter()
            .filter_map(|session| session.session_id)
            .collect();
        assert_eq!(ids, ["a", "b"]);
    }
}
