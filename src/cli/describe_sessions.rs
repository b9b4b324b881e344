//! `ssmx describe-sessions`: lists sessions, all pages of them, as a table or as JSON.

use clap::ValueEnum;
use serde_json::{Map, Value, json};

use super::global::Global;
use super::report::Failure;
use super::{input, output, shorthand};
use crate::aws::{Session, SessionFilter, SessionQuery, SessionState};

const FILTER_KEYS: &str =
    "InvokedAfter, InvokedBefore, Target, Owner, Status, SessionId, AccessType";

/// `ssmx describe-sessions`
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    ssmx describe-sessions                            the living ones\n  \
    ssmx describe-sessions --state History --max-items 20 --output json\n  \
    ssmx describe-sessions --filters key=Target,value=i-… key=Status,value=Connected")]
pub struct Args {
    /// Living sessions, or those that ended in the last 30 days
    #[arg(long, default_value = "Active")]
    state: State,
    /// Conditions: key=Owner,value=ARN (also as JSON, or file://PATH); more than one may follow
    #[arg(long, num_args = 1.., value_name = "key=KEY,value=VALUE")]
    filters: Vec<String>,
    /// List no more than this many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_items: Option<u32>,
    /// Sessions to ask for at a time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=200))]
    #[arg(hide_short_help = true)]
    page_size: Option<i32>,
    /// Only the first page, of this many sessions
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=200))]
    #[arg(hide_short_help = true)]
    max_results: Option<i32>,
    /// Only the page that this token stands for
    #[arg(
        long,
        value_name = "TOKEN",
        hide_short_help = true,
        alias = "starting-token"
    )]
    next_token: Option<String>,
    /// Only the first page
    #[arg(long, hide_short_help = true)]
    no_paginate: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum State {
    #[value(name = "Active", alias = "active")]
    Active,
    #[value(name = "History", alias = "history")]
    History,
}

/// Runs the subcommand; the exit status.
pub async fn run(global: &Global, args: Args) -> anyhow::Result<u8> {
    let query = SessionQuery {
        state: match args.state {
            State::Active => SessionState::Active,
            State::History => SessionState::History,
        },
        filters: filters(&args.filters)?,
        page_size: args.max_results.or(args.page_size),
    };
    let one_page = args.no_paginate || args.max_results.is_some() || args.next_token.is_some();
    let limit = args.max_items.map_or(usize::MAX, |n| n as usize);
    let aws = global.aws().await?;
    let mut sessions = Vec::new();
    let mut pages = aws.sessions(query, args.next_token);
    while let Some(page) = pages.next().await? {
        sessions.extend(page);
        if one_page || sessions.len() >= limit {
            break;
        }
    }
    let next = pages.token();
    let more = next.is_some() || sessions.len() > limit;
    sessions.truncate(limit);
    if global.wants_json() {
        let mut answer = Map::new();
        let list = sessions.iter().map(to_json).collect();
        answer.insert("Sessions".to_owned(), Value::Array(list));
        if let (true, Some(next)) = (one_page, next) {
            answer.insert("NextToken".to_owned(), Value::String(next));
        }
        output::json(&Value::Object(answer))?;
    } else {
        output::text(&to_table(&sessions, args.state))?;
        if more {
            eprintln!("ssmx: there are more sessions");
        }
    }
    Ok(0)
}

/// The list of `--filters`, in any form that the AWS CLI takes.
fn filters(words: &[String]) -> Result<Vec<SessionFilter>, Failure> {
    let mut filters = Vec::new();
    for word in words {
        let text = input::text(word)?;
        let text = text.trim();
        if text.starts_with(['[', '{']) {
            let json = serde_json::from_str(text)
                .map_err(|error| complain(&format!("it is no JSON: {error}")))?;
            let list = match json {
                Value::Array(list) => list,
                one => vec![one],
            };
            for filter in &list {
                let get = |key| filter.get(key).and_then(Value::as_str).map(str::to_owned);
                filters.push(filter_of(get("key"), get("value"))?);
            }
        } else {
            let pairs = shorthand::parse(text).map_err(|why| complain(&why))?;
            let (mut key, mut value) = (None, None);
            for (name, text) in pairs {
                match (name.as_str(), text) {
                    ("key", shorthand::Value::Text(text)) => key = Some(text),
                    ("value", shorthand::Value::Text(text)) => value = Some(text),
                    _ => return Err(complain(&format!("{name:?} makes no sense"))),
                }
            }
            filters.push(filter_of(key, value)?);
        }
    }
    Ok(filters)
}

fn filter_of(key: Option<String>, value: Option<String>) -> Result<SessionFilter, Failure> {
    match (key, value) {
        (Some(key), Some(value)) => Ok(SessionFilter { key, value }),
        _ => Err(complain("each filter has a key and a value")),
    }
}

fn complain(why: &str) -> Failure {
    Failure::usage(format!("--filters: {why}")).hint(format!(
        "write key=KEY,value=VALUE with one of the keys {FILTER_KEYS}"
    ))
}

/// A session with the AWS CLI's keys in their order; what is not known is not there.
pub(super) fn to_json(session: &Session) -> Value {
    let mut object = Map::new();
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            object.insert(key.to_owned(), value);
        }
    };
    let text = |text: &Option<String>| text.clone().map(Value::String);
    let time = |millis: Option<i64>| millis.map(|millis| output::iso_time(millis).into());
    put("SessionId", text(&session.session_id));
    put("Target", text(&session.target));
    put("Status", text(&session.status));
    put("StartDate", time(session.start));
    put("EndDate", time(session.end));
    put("DocumentName", text(&session.document_name));
    put("Owner", text(&session.owner));
    put("Reason", text(&session.reason));
    put("Details", text(&session.details));
    let urls = session.output_url.as_ref().map(|url| {
        let mut urls = json!({});
        for (key, value) in [
            ("S3OutputUrl", &url.s3),
            ("CloudWatchOutputUrl", &url.cloud_watch),
        ] {
            if let (Some(value), Some(urls)) = (value, urls.as_object_mut()) {
                urls.insert(key.to_owned(), value.clone().into());
            }
        }
        urls
    });
    put("OutputUrl", urls);
    put("MaxSessionDuration", text(&session.max_session_duration));
    put("AccessType", text(&session.access_type));
    Value::Object(object)
}

fn to_table(sessions: &[Session], state: State) -> String {
    let text = |text: &Option<String>| output::plain(text.as_deref().unwrap_or("-"));
    let time = |millis: Option<i64>| millis.map_or_else(|| "-".to_owned(), output::short_time);
    // The user's name is what tells owners apart: …:assumed-role/ROLE/NAME, …:user/NAME.
    let owner = |session: &Session| {
        let owner = text(&session.owner);
        owner.rsplit('/').next().map(str::to_owned).unwrap_or(owner)
    };
    let rows: Vec<Vec<String>> = sessions
        .iter()
        .map(|session| {
            let mut row = vec![
                text(&session.session_id),
                text(&session.target),
                text(&session.status),
                time(session.start),
            ];
            if state == State::History {
                row.push(time(session.end));
            }
            row.extend([
                owner(session),
                text(&session.document_name),
                text(&session.reason),
            ]);
            row
        })
        .collect();
    let titles: &[&str] = match state {
        State::Active => &[
            "SESSION", "TARGET", "STATUS", "STARTED", "OWNER", "DOCUMENT", "REASON",
        ],
        State::History => &[
            "SESSION", "TARGET", "STATUS", "STARTED", "ENDED", "OWNER", "DOCUMENT", "REASON",
        ],
    };
    output::table(titles, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::OutputUrl;

    #[test]
    fn filters_in_all_forms() {
        let expected = [
            SessionFilter {
                key: "Owner".to_owned(),
                value: "me".to_owned(),
            },
            SessionFilter {
                key: "Status".to_owned(),
                value: "Connected".to_owned(),
            },
        ];
        let cases: [&[&str]; 3] = [
            &["key=Owner,value=me", "key=Status,value=Connected"],
            &[r#"[{"key":"Owner","value":"me"},{"key":"Status","value":"Connected"}]"#],
            &[
                r#"{"key":"Owner","value":"me"}"#,
                "key=Status,value=Connected",
            ],
        ];
        for words in cases {
            let words: Vec<String> = words.iter().map(ToString::to_string).collect();
            assert_eq!(filters(&words).expect("good"), expected, "{words:?}");
        }
        for bad in [
            "",
            "Owner=me",
            "key=Owner",
            "key=Owner,value=a,b",
            "[1]",
            "[",
            "{}",
        ] {
            assert!(filters(&[bad.to_owned()]).is_err(), "{bad}");
        }
    }

    #[test]
    fn json_has_the_order_of_the_aws_cli_and_no_gaps() {
        let session = Session {
            session_id: Some("s-1".to_owned()),
            start: Some(1_795_552_680_123),
            max_session_duration: Some("60".to_owned()),
            output_url: Some(OutputUrl {
                s3: None,
                cloud_watch: Some("u".to_owned()),
            }),
            ..Session::default()
        };
        assert_eq!(
            to_json(&session).to_string(),
            r#"{"SessionId":"s-1","StartDate":"2026-11-24T20:38:00.123000+00:00","OutputUrl":{"CloudWatchOutputUrl":"u"},"MaxSessionDuration":"60"}"#
        );
    }

    #[test]
    fn tables_show_the_name_of_the_owner() {
        let session = Session {
            session_id: Some("s-1".to_owned()),
            owner: Some("arn:aws:sts::1:assumed-role/Admin/me@example.org".to_owned()),
            reason: Some("evil\u{1b}[2J".to_owned()),
            ..Session::default()
        };
        let table = to_table(&[session], State::Active);
        assert!(table.contains("  me@example.org  "), "{table}");
        assert!(!table.contains('\u{1b}'));
    }
}
