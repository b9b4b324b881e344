//! What the calls say of the target.

use std::time::Duration;

use aws_smithy_async::time::{SystemTimeSource, TimeSource as _};
use aws_smithy_types::DateTime;
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::super::output::short_time;
use super::super::report::REFUSED;
use super::check::{Check, Status};
use super::ecs;
use super::facts::{Answer, Facts, TIER, Verdict, verdict};
use super::settings::{Caller, span};
use crate::aws::{Prober, Reply, Service, regions_beside};

/// What older agents cannot do: the first version that can, and what that is.
const ABILITIES: [([u64; 4], &str, bool); 4] = [
    ([2, 3, 68, 0], "no sessions at all", true),
    ([2, 3, 672, 0], "no forwarded ports and no ssh", false),
    (
        [3, 0, 196, 0],
        "only one connection at a time through a forwarded port",
        false,
    ),
    ([3, 1, 1374, 0], "no ports of other hosts", false),
];

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
            checks.extend(agent(&node));
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

/// What is known of a node.
#[derive(Debug, Default)]
struct Node {
    id: Option<String>,
    name: Option<String>,
    state: Option<String>,
    ping: Option<String>,
    last_ping: Option<f64>,
    platform: Option<String>,
    agent: Option<String>,
    /// Whether anybody could be asked.
    is_known: bool,
}

impl Node {
    fn of(facts: &Facts) -> Self {
        let first = |answer: &Answer, list: &str| {
            let reply = answer.as_ref().ok()?;
            reply.json.get(list)?.get(0).cloned()
        };
        let properties = first(&facts.properties, "InstanceProperties");
        let information = first(&facts.information, "InstanceInformationList");
        let value = |key: &str| {
            let found = [&properties, &information];
            found
                .into_iter()
                .flatten()
                .find_map(|node| node.get(key).cloned())
        };
        let text = |key: &str| value(key).and_then(|value| Some(value.as_str()?.to_owned()));
        let is_told = |answer: &Answer| {
            let known = ["InvalidInstanceId", "InvalidInstanceIdException"];
            verdict(answer, &known) == Verdict::Allowed
        };
        Self {
            id: text("InstanceId"),
            name: text("Name"),
            state: text("InstanceState"),
            ping: text("PingStatus"),
            last_ping: value("LastPingDateTime").and_then(|value| value.as_f64()),
            platform: text("PlatformName").or_else(|| text("PlatformType")),
            agent: text("AgentVersion"),
            is_known: is_told(&facts.properties) || is_told(&facts.information),
        }
    }
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

/// Whether the agent can do everything.
fn agent(node: &Node) -> Option<Check> {
    const ID: &str = "target.agent";
    let version = node.agent.as_deref()?;
    let lacking: Vec<_> = ABILITIES
        .iter()
        .filter(|(first, _, _)| is_older(version, *first))
        .collect();
    let what: Vec<&str> = lacking.iter().map(|(_, what, _)| *what).collect();
    let check = if lacking.is_empty() {
        Check::ok(ID, format!("agent {version}"))
    } else {
        // The first says all if there is nothing at all.
        let what = match lacking.iter().find(|(_, _, fatal)| *fatal) {
            Some((_, what, _)) => (*what).to_owned(),
            None => what.join(", "),
        };
        let text = format!("agent {version} is too old for some things: {what}");
        let fatal = lacking.iter().any(|(_, _, fatal)| *fatal);
        let check = match fatal {
            true => Check::failed(ID, REFUSED, text),
            false => Check::warning(ID, text),
        };
        check.fix("update it: aws ssm send-command --document-name AWS-UpdateSSMAgent --targets Key=InstanceIds,Values=ID")
    };
    Some(check.detail("Version", version))
}

/// Whether a version is older; one that is malformed is not.
fn is_older(version: &str, first: [u64; 4]) -> bool {
    let numbers: Vec<u64> = version
        .split('.')
        .map_while(|part| part.parse().ok())
        .collect();
    !numbers.is_empty() && numbers.as_slice() < first.as_slice()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        let first = [3, 0, 196, 0];
        for (version, older) in [
            ("3.0.195.0", true),
            ("2.99.999.9", true),
            ("3.0.196.0", false),
            ("3.0.1000.0", false),
            ("10.0.0.0", false),
            ("", false),
            ("new", false),
        ] {
            assert_eq!(is_older(version, first), older, "{version}");
        }
    }

    #[test]
    fn old_agents_are_told_apart() {
        let status = |version: &str| {
            let node = Node {
                agent: Some(version.to_owned()),
                ..Node::default()
            };
            agent(&node).expect("a version").status
        };
        assert_eq!(status("3.3.0.0"), Status::Ok);
        assert_eq!(status("3.0.100.0"), Status::Warning);
        assert_eq!(status("2.2.0.0"), Status::Failed);
    }
}
