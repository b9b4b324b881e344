//! `ssmx terminate-session`: ends a session for good.

use serde_json::json;

use super::global::Global;
use super::output;

/// `ssmx terminate-session`
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Example:\n  \
    ssmx terminate-session --session-id me-0123456789abcdef0      as `ssmx describe-sessions` lists it")]
pub struct Args {
    /// The session to end
    #[arg(long, value_name = "ID")]
    session_id: String,
}

/// Runs the subcommand; the exit status.
pub async fn run(global: &Global, args: Args) -> anyhow::Result<u8> {
    let aws = global.aws().await?;
    aws.terminate_session(&args.session_id).await?;
    if global.wants_json() {
        output::json(&json!({ "SessionId": args.session_id }))?;
    } else {
        output::text(&format!("{} terminated\n", args.session_id))?;
    }
    Ok(0)
}
