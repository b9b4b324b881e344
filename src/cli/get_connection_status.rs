//! `ssmx get-connection-status`: whether a node's agent can be reached.

use serde_json::json;

use super::global::Global;
use super::{output, target};

/// `ssmx get-connection-status`
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Example:\n  \
    ssmx get-connection-status --target i-…           prints connected or notconnected\n\n\
    The exit status is 0 in both cases. `ssmx doctor TARGET` finds out why.")]
pub struct Args {
    /// Node: id, name, tag:KEY=VALUE, asg:NAME, IP address, DNS name, or ecs:CLUSTER_TASK_RUNTIME;
    /// at a terminal there is a list to pick one from
    #[arg(long)]
    target: Option<String>,
}

/// Runs the subcommand; the exit status. Prints `connected` or `notconnected`.
pub async fn run(global: &Global, args: Args) -> anyhow::Result<u8> {
    let target = args.target.as_deref();
    target::check(target, "give --target i-… (or a name)")?;
    let aws = global.aws().await?;
    let target = global.target(&aws, target).await?;
    let status = aws.connection_status(&target).await?;
    if global.wants_json() {
        output::json(&json!({ "Target": status.target, "Status": status.status }))?;
    } else {
        output::text(&format!("{}\n", output::plain(&status.status)))?;
    }
    Ok(0)
}
