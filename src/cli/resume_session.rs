//! `ssmx resume-session`: a new token for a session whose client is gone, and attaches with it.

use serde_json::json;

use super::global::Global;
use super::output;
use super::report::Failure;
use super::start_session::{self, Manners};

/// `ssmx resume-session`
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Example:\n  \
    ssmx resume-session --session-id me-0123456789abcdef0         as `ssmx describe-sessions` lists it\n\n\
    With --output json the answer is printed, token and all, and nobody attaches.")]
pub struct Args {
    /// The session to resume
    #[arg(long, value_name = "ID")]
    session_id: String,
    #[command(flatten)]
    manners: Manners,
}

/// Runs the subcommand; the exit status.
pub async fn run(global: &Global, args: Args) -> anyhow::Result<u8> {
    let mut options = args.manners.options()?;
    options.channel.take_over = true;
    let aws = global.aws().await?;
    let grant = aws.resume_session(&args.session_id).await?;
    if global.is_asked_for_json() {
        output::json(&match &grant {
            Some(grant) => json!({
                "SessionId": grant.session_id,
                "TokenValue": grant.token.reveal(),
                "StreamUrl": grant.stream_url,
            }),
            None => json!({ "SessionId": args.session_id }),
        })?;
        return Ok(0);
    }
    let Some(grant) = grant else {
        return Err(
            Failure::other(format!("the session {} is over", args.session_id))
                .hint("start a new one: `ssmx start-session --target TARGET`")
                .into(),
        );
    };
    if grant.stream_url.is_empty() {
        return Err(Failure::other(format!(
            "cannot resume the session {}: the answer has no StreamUrl",
            args.session_id
        ))
        .into());
    }
    start_session::attach(aws, grant, String::new(), options).await
}
