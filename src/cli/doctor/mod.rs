//! `ssmx doctor`: finds out why sessions do not work, and says what to do about it.
//!
//! ```text
//! settings.rs     profile, region, credentials, clock
//! network.rs      names, TCP, proxies, TLS
//! facts.rs        the calls that are made, none of which changes anything
//! permissions.rs  what they say of IAM
//! target.rs       what they say of the target; node.rs of it and its agent, ecs.rs of containers
//! deep.rs         a real session, if asked for
//! local.rs        other programs on this machine
//! ```

mod check;
mod deep;
mod ecs;
mod facts;
mod local;
mod network;
mod node;
mod permissions;
mod settings;
mod target;

use std::io::IsTerminal as _;
use std::time::Duration;

use aws_smithy_async::time::{SystemTimeSource, TimeSource as _};

use tokio::time::timeout;

use super::global::Global;
use super::{output, report};
use crate::aws::{Aws, Reply, TargetError};
use check::{Check, Look, Status};
use facts::{Facts, Verdict, verdict};

/// How long each single step may take.
const LIMIT: Duration = Duration::from_secs(5);

/// `ssmx doctor`
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Nothing is changed: permissions are tried with calls that cannot succeed, and only --deep starts
a session.

Examples:
  ssmx doctor                              this machine, its settings, the network, permissions
  ssmx doctor i-0123456789abcdef0          the same, and why that node cannot be reached
  ssmx doctor i-0123456789abcdef0 --deep   the same, with a real session on it
  ssmx doctor mi-0123456789abcdef0 --all-regions
  ssmx doctor --output json                for programs: Checks with Id, Status, Text, Fix

Exit status: 0 if all is well or there are only warnings; else that of the first failure: 252 no
such target, 253 settings or credentials, 254 the service refuses, 255 the network or anything else.")]
pub struct Args {
    /// Node: id, name, tag:KEY=VALUE, asg:NAME, IP address, DNS name, or ecs:CLUSTER_TASK_RUNTIME
    target: Option<String>,
    /// Start a session on the target, measure it, and end it
    #[arg(long, requires = "target")]
    deep: bool,
    /// Look for the target in all other regions, if it is not in this one
    #[arg(long, requires = "target")]
    all_regions: bool,
}

/// Runs the subcommand; the exit status.
pub async fn run(global: &Global, args: Args) -> anyhow::Result<u8> {
    let (mut checks, local) = tokio::join!(remote(global, &args), local::checks());
    checks.extend(local);
    if global.wants_json() {
        output::json(&check::json(&checks))?;
    } else {
        output::text(&check::text(&checks, look(global)))?;
    }
    let failed = checks.iter().find(|check| check.status == Status::Failed);
    Ok(failed.map_or(0, |check| check.exit))
}

/// Everything that has to do with AWS.
async fn remote(global: &Global, args: &Args) -> Vec<Check> {
    let aws = match Aws::load(global.options()).await {
        Ok(aws) => aws,
        Err(error) => return vec![settings::broken(&error)],
    };
    let mut checks = settings::checks(global, &aws);
    let (network, rest) = tokio::join!(network::checks(global, &aws), calls(global, &aws, args));
    let (credentials, rest) = rest;
    checks.extend(credentials);
    checks.extend(network);
    checks.extend(rest);
    checks
}

/// What takes credentials: what is found of them, and what they are good for.
async fn calls(global: &Global, aws: &Aws, args: &Args) -> (Vec<Check>, Vec<Check>) {
    let now = SystemTimeSource::new().now();
    let (keys, are_there) = settings::credentials(aws, now).await;
    if !are_there {
        return (vec![keys], Vec::new());
    }
    let prober = aws.prober(LIMIT);
    let (identity, caller, answer) = settings::identity(&prober).await;
    let is_refused = identity.status == Status::Failed;
    let ahead = |replies: &[&Reply]| -> Vec<i64> {
        replies.iter().filter_map(|reply| reply.ahead).collect()
    };
    if is_refused {
        let clock = settings::clock(&ahead(&answer.iter().collect::<Vec<_>>()));
        return (vec![keys, identity, clock], Vec::new());
    }
    let (target, lost) = match &args.target {
        Some(text) => find(global, aws, text).await,
        None => (None, None),
    };
    let target = target.as_deref();
    let facts = Facts::find(&prober, &caller, target).await;
    let replies: Vec<&Reply> = answer.iter().chain(facts.replies()).collect();
    let clock = settings::clock(&ahead(&replies));
    let mut checks = permissions::checks(&facts, aws, &caller, target);
    checks.extend(lost);
    if let Some(target) = target {
        checks.extend(target::checks(&facts, &prober, &caller, target, args.all_regions).await);
        if args.deep {
            checks.push(deep::check(aws, target).await);
        }
    }
    (vec![keys, identity, clock], checks)
}

/// The id of the node that the user means, or what is wrong with it.
async fn find(global: &Global, aws: &Aws, text: &str) -> (Option<String>, Option<Check>) {
    const ID: &str = "target.id";
    if let Some(wanted) = global.settings().container(text) {
        return match wanted.aim(aws).await {
            Ok((id, _)) => (Some(id), None),
            Err(error) => {
                let check = Check::failed(ID, report::status(&error), format!("{error:#}"));
                (None, Some(check.maybe_fix(report::advice(&error))))
            }
        };
    }
    let text = global.settings().target(text);
    let lost = match timeout(LIMIT, aws.find_target(text)).await {
        Ok(Ok(id)) => return (Some(id), None),
        Ok(Err(TargetError::Aws(error))) => {
            Check::failed(ID, report::aws_status(&error), error.to_string())
                .maybe_fix(advice(error.hint()))
        }
        Ok(Err(error)) => Check::failed(ID, report::USAGE, error.to_string()).fix(
            "`ssmx ls --all-regions` lists the nodes; ids (i-…, mi-…, ecs:…) are taken as they are",
        ),
        Err(_) => {
            let text = format!(
                "cannot look up {text}: no answer within {} s",
                LIMIT.as_secs()
            );
            Check::failed(ID, report::FAILURE, text).fix("give the id of the node")
        }
    };
    (None, Some(lost))
}

fn look(global: &Global) -> Look {
    Look {
        color: global.stdout_color(),
        signs: std::io::stdout().is_terminal() && has_signs(|name| std::env::var(name).ok()),
    }
}

/// Whether the terminal is known to have more than ASCII.
fn has_signs(variable: impl Fn(&str) -> Option<String>) -> bool {
    if cfg!(windows) {
        return true;
    }
    let set = |name: &&str| variable(name).filter(|value| !value.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(set);
    let locale = locale.unwrap_or_default().to_ascii_lowercase();
    locale.ends_with("utf-8") || locale.ends_with("utf8")
}

/// The advice that goes with an error, as far as it leads elsewhere.
fn advice(hint: Option<String>) -> Option<String> {
    let hint = hint?;
    let (before, _) = hint.split_once(" `ssmx doctor").unwrap_or((&hint, ""));
    Some(before.trim_end_matches(';').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_does_not_lead_back_here() {
        let hint = |text: &str| advice(Some(text.to_owned()));
        assert_eq!(
            hint("check it; `ssmx doctor` finds out").as_deref(),
            Some("check it")
        );
        assert_eq!(
            hint("is it up? `ssmx doctor X`").as_deref(),
            Some("is it up?")
        );
        assert_eq!(hint("check it").as_deref(), Some("check it"));
        assert_eq!(advice(None), None);
    }

    #[cfg(unix)]
    #[test]
    fn signs_are_for_utf_8() {
        let with = |pairs: &[(&str, &str)]| {
            has_signs(|name| {
                let pair = pairs.iter().find(|(key, _)| *key == name);
                pair.map(|(_, value)| (*value).to_owned())
            })
        };
        assert!(with(&[("LANG", "C.UTF-8")]));
        assert!(with(&[("LC_ALL", ""), ("LANG", "de_DE.utf8")]));
        assert!(!with(&[("LC_ALL", "C"), ("LANG", "C.UTF-8")]));
        assert!(!with(&[]));
    }
}
