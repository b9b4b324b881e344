//! `ssmx get-connection-status`: whether a node's agent can be reached.

use serde_json::json;

use super::global::Global;
use super::output;

/// `ssmx get-connection-status`
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Node: i-…, mi-…, or ecs:CLUSTER_TASK_RUNTIME
    #[arg(long)]
    target: String,
}

/// Runs the subcommand; the exit status. Prints `connected` or `notconnected`.
pub async fn run(global: &Global, args: Args) -> anyhow::Result<u8> {
    let aws = global.aws().await?;
    let target = global.settings().target(&args.target);
    let status = aws.connection_status(target).await?;
    if global.wants_json() {
        output::json(&json!({ "Target": status.target, "Status": status.status }))?;
    } else {
        output::text(&format!("{}\n", output::plain(&status.status)))?;
    }
    Ok(0)
}
