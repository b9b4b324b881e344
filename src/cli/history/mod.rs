//! `ssmx history`: who was on which node, when and for how long, why, and where the log is.

mod local;
mod logs;
mod print;
mod since;

use clap::ArgAction;

use self::print::Printer;
use self::since::Since;
use super::global::Global;
use crate::aws::{SessionFilter, SessionQuery, SessionState};
use crate::terminal;

/// The most sessions that the service gives at a time.
const PAGE: i32 = 200;
/// As many as are asked for where somebody waits for the first ones.
const SCREEN: i32 = 50;

/// `ssmx history`
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    ssmx history --since 2d                           sessions that began in the last two days\n  \
    ssmx history --target i-… --owner me --limit 20\n  \
    ssmx history --active                             living ones first\n  \
    ssmx history --since 2026-11-01 --output json | jq -r '.Sessions[].Owner'\n\n\
    The newest come first. The service keeps ended sessions for 30 days. Times are local ones, but \
    for --output json and text (tabs between start, end, seconds, status, owner, target, session, \
    document, reason, S3 and CloudWatch log), which have UTC.")]
pub struct Args {
    /// Only sessions that began since: 90m, 12h, 2d, 1w ago, or at 2026-11-20[T08:00:00Z]
    #[arg(long, value_name = "TIME", value_parser = Since::parse)]
    since: Option<Since>,
    /// Only sessions on this node: id, name, or what else `ssmx ls` knows
    #[arg(long)]
    target: Option<String>,
    /// Only sessions of whoever this ARN names; me is the caller
    #[arg(long, value_name = "me|ARN", value_parser = owner)]
    owner: Option<String>,
    /// List no more than this many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// Living sessions, too
    #[arg(long, action = ArgAction::SetTrue)]
    active: bool,
}

fn owner(text: &str) -> Result<String, String> {
    match text {
        _ if text == "me" || text.starts_with("arn:") => Ok(text.to_owned()),
        _ => Err("it must be me or an ARN, as `ssmx history --output text` shows".to_owned()),
    }
}

/// Runs the subcommand; the exit status.
pub async fn run(global: &Global, args: Args) -> anyhow::Result<u8> {
    let now = now();
    let aws = global.aws().await?;
    let mut filters = Vec::new();
    let mut filter = |key: &str, value: String| {
        filters.push(SessionFilter {
            key: key.to_owned(),
            value,
        });
    };
    if let Some(since) = &args.since {
        filter("InvokedAfter", since.text(now));
    }
    if let Some(target) = &args.target {
        filter("Target", global.target(&aws, Some(target)).await?);
    }
    match args.owner.as_deref() {
        Some("me") => filter("Owner", aws.caller_arn().await?),
        Some(arn) => filter("Owner", arn.to_owned()),
        None => {}
    }
    let mut printer = Printer::new(global, aws.region(), now);
    let mut left = args.limit.map_or(usize::MAX, |limit| limit as usize);
    let states: &[SessionState] = match args.active {
        true => &[SessionState::Active, SessionState::History],
        false => &[SessionState::History],
    };
    let largest = match printer.is_table() {
        true => SCREEN,
        false => PAGE,
    };
    for &state in states {
        let query = SessionQuery {
            state,
            filters: filters.clone(),
            page_size: Some(i32::try_from(left).map_or(largest, |left| left.clamp(1, largest))),
        };
        let mut pages = aws.sessions(query, None);
        while let Some(mut page) = pages.next().await? {
            let more = pages.token().is_some() || page.len() > left;
            page.truncate(left);
            left -= page.len();
            if !printer.print(&page)? {
                // Nobody reads on.
                return Ok(0);
            }
            if left == 0 {
                printer.finish()?;
                let ended_are_left = args.active && state == SessionState::Active;
                if printer.is_table() && (more || ended_are_left) {
                    terminal::notice("there may be more sessions: this is the --limit");
                }
                return Ok(0);
            }
        }
    }
    if printer.is_table() && printer.is_empty() {
        terminal::notice("no such session");
    }
    printer.finish()?;
    Ok(0)
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long ago is asked of the wall clock"
)]
fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(i64::MAX)
}

/// Milliseconds since 1970, for those beside this.
pub(super) fn started(millis: Option<i64>) -> String {
    millis.map_or_else(|| "-".to_owned(), local::time)
}

/// The name in the ARN of an owner: …:assumed-role/ROLE/NAME, …:user/NAME.
pub(super) fn name(owner: Option<&str>) -> String {
    let owner = super::output::plain(owner.unwrap_or("-"));
    owner.rsplit('/').next().map(str::to_owned).unwrap_or(owner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_arns_or_me() {
        assert_eq!(owner("me").as_deref(), Ok("me"));
        assert!(owner("arn:aws:iam::1:user/me").is_ok());
        assert!(owner("alice").is_err());
        assert_eq!(name(Some("arn:aws:sts::1:assumed-role/R/a@b")), "a@b");
        assert_eq!(name(None), "-");
    }
}
