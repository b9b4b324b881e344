//! What the calls say of the target.

use std::time::Duration;

use aws_smithy_async::time::{SystemTimeSource, TimeSource as _};
use aws_smithy_types::DateTime;
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::super::output::short_time;
use super::super::report::REFUSED;
use super::check::{Check, Status};
use super::facts::{Facts, TIER, Verdict, verdict};
use super::node::Node;
use super::settings::Caller;
use super::{ecs, node};
use crate::aws::{Prober, Reply, Service, regions_beside};
use crate::text::span;

/// All checks of a target.
pub async fn checks(
    facts: &Facts,
    prober: &Prober,
    caller: &Caller,
    target: &str,
    all_regions: bool,
) -> Vec<Check> {
    let region = prober.aws().region();
    if let Some(answer) = &facts.task {
        return ecs::checks(answer, target, region);
    }
    let node = Node::of(facts);
    let mut checks = Vec::new();
    checks.extend(state(facts, &node, target, region, caller));
    let is_stopped = checks
        .iter()
        .any(|check: &Check| check.status == Status::Failed);
    checks.extend(tier(facts));
    match &node.id {
        Some(id) => {
            checks.push(managed(id, &node));
            if !is_stopped {
                checks.push(connection(facts, &node, region));
            }
            checks.extend(node::agent(&node));
        }
        None => {
            checks.push(unmanaged(facts, target, region, is_stopped));
            if all_regions {
                checks.push(elsewhere(prober, target).await);
            }
        }
    }
    checks
}

/// Whether the machine runs.
fn state(facts: &Facts, node: &Node, target: &str, region: &str, caller: &Caller) -> Option<Check> {
    const ID: &str = "target.state";
    let answer = facts.instance.as_ref()?;
    let reply = answer.as_ref().ok();
    let of_ec2 = reply.and_then(|reply| {
        let (_, state) = reply.text.split_once("<instanceState>")?;
        Some(
            state
                .split_once("<name>")?
                .1
                .split_once("</name>")?
                .0
                .to_owned(),
        )
    });
    let missing = reply.is_some_and(|reply| {
        let code = reply.code.as_deref().unwrap_or_default();
        code.starts_with("InvalidInstanceID")
    });
    if missing && node.id.is_none() {
        let account = match caller.account.as_str() {
            "" => "this account".to_owned(),
            account => format!("account {account}"),
        };
        let text = format!("there is no instance {target} in {region} of {account}");
        let check = Check::failed(ID, REFUSED, text);
        return Some(check.fix("check --region and --profile; --all-regions looks in the others"));
    }
    let Some(state) = of_ec2.or_else(|| node.state.clone()) else {
        let why = match verdict(answer, &[]) {
            Verdict::Allowed => "EC2 does not tell".to_owned(),
            Verdict::Denied(why)
            | Verdict::Credentials(why)
            | Verdict::Time(why)
            | Verdict::Unknown(why) => why,
        };
        return Some(Check::skipped(
            ID,
            format!("whether the instance runs is not known: {why}"),
        ));
    };
    let text = format!("the instance is {state}");
    let check = match state.as_str() {
        "running" => Check::ok(ID, text),
        "pending" => Check::warning(ID, text).fix("wait until it has started"),
        "stopped" | "stopping" => Check::failed(ID, REFUSED, text).fix(format!(
            "aws ec2 start-instances --instance-ids {target} --region {region}"
        )),
        _ => Check::failed(ID, REFUSED, text).fix("it is gone: choose another"),
    };
    Some(check.detail("State", state))
}

fn tier(facts: &Facts) -> Option<Check> {
    const ID: &str = "target.tier";
    let answer = facts.tier.as_ref()?;
    let tier = answer.as_ref().ok().and_then(|reply| {
        let value = reply.json.pointer("/ServiceSetting/SettingValue")?;
        Some(value.as_str()?.to_owned())
    });
    Some(match tier.as_deref() {
        Some("advanced") => Check::ok(ID, "the account has the advanced tier, which mi-… nodes need"),
        Some(other) => Check::failed(
            ID,
            REFUSED,
            format!("the account has the {other} tier: sessions on mi-… nodes need the advanced one"),
        )
        .fix(format!(
            "aws ssm update-service-setting --setting-id {TIER} --setting-value advanced (each such node costs money then)"
        )),
        None => match verdict(answer, &[]) {
            Verdict::Allowed => Check::skipped(ID, "the tier is not known"),
            Verdict::Denied(why) | Verdict::Credentials(why) | Verdict::Time(why) | Verdict::Unknown(why) => {
                Check::skipped(ID, format!("whether the account has the advanced tier is not known: {why}"))
            }
        },
    })
}

fn managed(id: &str, node: &Node) -> Check {
    let name = node
        .name
        .as_ref()
        .map_or(String::new(), |name| format!(" ({name})"));
    let platform = node
        .platform
        .as_ref()
        .map_or(String::new(), |platform| format!(", {platform}"));
    Check::ok("target.managed", format!("{id}{name} is managed{platform}"))
        .detail("Name", node.name.clone())
        .detail("Platform", node.platform.clone())
}

/// A node that the service does not know, and why that may be.
fn unmanaged(facts: &Facts, target: &str, region: &str, is_stopped: bool) -> Check {
    const ID: &str = "target.managed";
    if !node_is_known(facts) {
        return Check::skipped(ID, "whether the node is managed is not known")
            .fix("allow ssm:DescribeInstanceInformation to the caller to find out");
    }
    let text = format!("{target} is not managed by Systems Manager in {region}");
    if is_stopped {
        return Check::skipped(ID, text);
    }
    let check = Check::failed(ID, REFUSED, text);
    if target.starts_with("mi-") {
        return check.fix(
            "check --region and --profile; if it was deregistered: `aws ssm create-activation`, and `amazon-ssm-agent -register` on the machine",
        );
    }
    let reply = facts
        .instance
        .as_ref()
        .and_then(|answer| answer.as_ref().ok());
    let reply = reply.filter(|reply| reply.is_good());
    let agent = "see that the SSM Agent is installed and runs (`systemctl status amazon-ssm-agent`, or the snap; on Windows `Get-Service AmazonSSMAgent`)";
    let way = format!("and reaches ssm, ssmmessages and ec2messages.{region}.amazonaws.com");
    match reply.map(profile) {
        Some(None) => check.fix(format!(
            "the instance has no instance profile: attach one whose role has the policy AmazonSSMManagedInstanceCore \
             (aws ec2 associate-iam-instance-profile --instance-id {target} --iam-instance-profile Name=PROFILE --region {region}), \
             or turn on Default Host Management; then {agent}"
        )),
        Some(Some(profile)) => check.fix(format!(
            "give the role of {profile} the policy AmazonSSMManagedInstanceCore; {agent} {way}"
        )),
        None => check.fix(format!(
            "check --region; see that the instance runs and has an instance profile whose role has AmazonSSMManagedInstanceCore; {agent} {way}"
        )),
    }
}

fn node_is_known(facts: &Facts) -> bool {
    Node::of(facts).is_known
}

/// The instance profile that EC2 tells.
fn profile(reply: &Reply) -> Option<String> {
    let (_, profile) = reply.text.split_once("<iamInstanceProfile>")?;
    let (_, arn) = profile.split_once("<arn>")?;
    Some(arn.split_once("</arn>")?.0.to_owned())
}

/// Whether the agent is connected.
fn connection(facts: &Facts, node: &Node, region: &str) -> Check {
    const ID: &str = "target.connection";
    let status = facts.status.as_ref().ok().and_then(|reply| {
        let status = reply.json.get("Status")?.as_str()?;
        Some(status.eq_ignore_ascii_case("connected"))
    });
    let is_online = node.ping.as_deref().map(|ping| ping == "Online");
    let since = node.last_ping.map_or(String::new(), since);
    let ping = node.ping.clone().unwrap_or_default();
    let restart = match node.platform.as_deref() {
        Some(platform) if platform.contains("Windows") => "Restart-Service AmazonSSMAgent",
        Some(platform) if platform.contains("mac") => {
            "sudo launchctl kickstart -k system/com.amazon.aws.ssm"
        }
        _ => "sudo systemctl restart amazon-ssm-agent, or sudo snap restart amazon-ssm-agent",
    };
    let check = match (status, is_online) {
        (Some(true), _) => Check::ok(ID, "the agent is connected"),
        (None, Some(true)) => Check::ok(ID, "the agent is online"),
        (Some(false), Some(true)) => Check::failed(
            ID,
            REFUSED,
            "the agent is online, but has no connection to the message gateway",
        )
        .fix(format!(
            "allow ssmmessages:CreateControlChannel, CreateDataChannel, OpenControlChannel and OpenDataChannel to the node's role (AmazonSSMManagedInstanceCore has them), and TCP 443 from the node to ssmmessages.{region}.amazonaws.com; then {restart}"
        )),
        (_, Some(false)) => Check::failed(
            ID,
            REFUSED,
            format!("the agent is not connected: {ping}{since}"),
        )
        .fix(format!(
            "see that the machine runs, that it reaches ssm and ssmmessages.{region}.amazonaws.com on TCP 443, and that its role still has AmazonSSMManagedInstanceCore; then restart the agent ({restart})"
        )),
        (Some(false), None) => Check::failed(ID, REFUSED, "the agent is not connected")
            .fix(format!("restart the agent ({restart})")),
        (None, None) => Check::skipped(ID, "whether the agent is connected is not known"),
    };
    check.detail("PingStatus", node.ping.clone())
}

/// Since when nothing was heard; `seconds` since 1970.
fn since(seconds: f64) -> String {
    let then = DateTime::from_secs_f64(seconds);
    let now = DateTime::from(SystemTimeSource::new().now());
    let passed = now.secs().saturating_sub(then.secs()).max(0).unsigned_abs();
    let millis = then.to_millis().unwrap_or_default();
    format!(
        " since {} (for {})",
        short_time(millis),
        span(Duration::from_secs(passed))
    )
}

/// Looks in all other regions.
async fn elsewhere(prober: &Prober, target: &str) -> Check {
    const ID: &str = "target.region";
    let home = prober.aws().region();
    let input = json!({ "Filters": [{ "Key": "InstanceIds", "Values": [target] }] });
    let input = &input;
    let asked = regions_beside(home)
        .into_iter()
        .filter(|region| *region != home)
        .map(|region| async move {
            let answer = prober
                .call(Service::Ssm, region, "DescribeInstanceInformation", input)
                .await;
            let list = answer
                .as_ref()
                .ok()
                .and_then(|reply| reply.json.get("InstanceInformationList"));
            let found = list
                .and_then(Value::as_array)
                .is_some_and(|list| !list.is_empty());
            let known = ["InvalidInstanceId", "InvalidInstanceIdException"];
            (region, found, verdict(&answer, &known) == Verdict::Allowed)
        });
    let answers = join_all(asked).await;
    if let Some((region, ..)) = answers.iter().find(|(_, found, _)| *found) {
        return Check::failed(ID, REFUSED, format!("{target} is in {region}"))
            .fix(format!("--region {region}, or export AWS_REGION={region}"))
            .detail("Region", *region);
    }
    let told = answers.iter().filter(|(_, _, told)| *told).count();
    let text = format!("{target} is in none of the {told} other regions that answer");
    Check::warning(ID, text).fix("check --profile: it may be in another account")
}
