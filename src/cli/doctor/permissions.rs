//! What the calls say of the caller's permissions.

use serde_json::Value;

use super::super::report::REFUSED;
use super::check::Check;
use super::facts::{Answer, DOCUMENT, Facts, Verdict, inputs, verdict};
use super::settings::Caller;
use crate::aws::Aws;
use crate::channel::ConnectError;

/// Errors that only callers get who may start sessions.
const STARTED: [&str; 5] = [
    "InvalidParameters",
    "TargetNotConnected",
    "InvalidTarget",
    "InvalidInstanceId",
    "InvalidDocument",
];

/// The caller's own sessions, in policies.
const OWN: &str = "arn:aws:ssm:*:*:session/${aws:userid}-*";

/// A permission, and what it is for.
struct Permission<'a> {
    id: &'static str,
    action: &'static str,
    /// Errors of those who have it.
    good: &'a [&'a str],
    /// What to allow it on.
    resource: &'a str,
    /// What does not work without it.
    loss: &'a str,
}

/// All checks of permissions.
pub fn checks(facts: &Facts, aws: &Aws, caller: &Caller, target: Option<&str>) -> Vec<Check> {
    let known = [
        "InvalidInstanceId",
        "InvalidInstanceIdException",
        "TargetNotConnected",
    ];
    let gone = ["DoesNotExistException"];
    let permission = |id, action, good, resource, loss| Permission {
        id,
        action,
        good,
        resource,
        loss,
    };
    let all = [
        (
            permission(
                "iam.resume-session",
                "ssm:ResumeSession",
                &gone[..],
                OWN,
                "sessions end when the network changes",
            ),
            &facts.resume,
        ),
        (
            permission(
                "iam.terminate-session",
                "ssm:TerminateSession",
                &gone[..],
                OWN,
                "sessions that are left stay open until their time-out",
            ),
            &facts.terminate,
        ),
        (
            permission(
                "iam.get-connection-status",
                "ssm:GetConnectionStatus",
                &known[..],
                "*",
                "it cannot be asked whether a node is connected",
            ),
            &facts.status,
        ),
        (
            permission(
                "iam.describe-instance-information",
                "ssm:DescribeInstanceInformation",
                &known[..],
                "*",
                "nodes cannot be listed or named by their tags",
            ),
            &facts.information,
        ),
        (
            permission(
                "iam.describe-instance-properties",
                "ssm:DescribeInstanceProperties",
                &known[..],
                "*",
                "nodes cannot be found by name, and their state is not known",
            ),
            &facts.properties,
        ),
    ];
    let mut checks = vec![start(&facts.start, aws, caller, target), channel(facts)];
    checks.extend(all.iter().map(
        |(permission, answer)| match verdict(answer, permission.good) {
            Verdict::Denied(why) => {
                let text = format!(
                    "{} is denied, so {}: {why}",
                    permission.action, permission.loss
                );
                Check::warning(permission.id, text)
                    .fix(statement(permission.action, permission.resource))
            }
            other => rest(permission.id, permission.action, other),
        },
    ));
    checks.extend(preferences(facts));
    checks
}

/// What is to be said of an answer that is no denial.
fn rest(id: &'static str, action: &str, verdict: Verdict) -> Check {
    match verdict {
        Verdict::Allowed => Check::ok(id, format!("{action} is allowed")),
        Verdict::Denied(why)
        | Verdict::Credentials(why)
        | Verdict::Time(why)
        | Verdict::Unknown(why) => Check::skipped(id, format!("{action} is not known: {why}")),
    }
}

/// What to put into a policy.
fn statement(action: &str, resource: &str) -> String {
    format!(
        "add to the caller's policy: {{\"Effect\":\"Allow\",\"Action\":\"{action}\",\"Resource\":\"{resource}\"}}"
    )
}

fn start(answer: &Answer, aws: &Aws, caller: &Caller, target: Option<&str>) -> Check {
    const ID: &str = "iam.start-session";
    const ACTION: &str = "ssm:StartSession";
    let Verdict::Denied(why) = verdict(answer, &STARTED) else {
        return rest(ID, ACTION, verdict(answer, &STARTED));
    };
    let text = format!("{ACTION} is denied: {why}");
    // As in: not authorized to perform: ssm:StartSession on resource: arn:….
    let (_, resource) = why.split_once(" on resource: ").unwrap_or_default();
    if resource.contains(":document/") {
        let text = format!(
            "{ACTION} is denied for the document {DOCUMENT}, so ports cannot be forwarded: {why}"
        );
        let document = format!("arn:aws:ssm:*::document/{DOCUMENT}");
        return Check::warning(ID, text).fix(format!(
            "{} (shells may be allowed nevertheless: --deep tries one)",
            statement(ACTION, &document)
        ));
    }
    match target {
        Some(target) => {
            let allow = statement(ACTION, &arn(target, aws.region(), caller));
            // Nobody tells which nodes those are; containers are none of them.
            let ask = match target.starts_with("ecs:") {
                true => String::new(),
                false => format!(
                    "; or, where access is granted just in time, ask for it: \
                     ssmx start-session --target {target} --request-access REASON"
                ),
            };
            Check::failed(ID, REFUSED, text).fix(allow + &ask)
        }
        None => Check::warning(ID, text)
            .fix("policies may allow some nodes only: ssmx doctor TARGET asks for one"),
    }
}

fn channel(facts: &Facts) -> Check {
    const ID: &str = "iam.open-data-channel";
    const ACTION: &str = "ssmmessages:OpenDataChannel";
    match &facts.channel {
        None => Check::skipped(ID, format!("{ACTION} is not known: --deep tries it")),
        Some(Ok(())) => Check::ok(ID, format!("{ACTION} is allowed")),
        Some(Err(ConnectError::Refused { status, host })) if status.as_u16() == 403 => {
            let text = format!(
                "{ACTION} seems to be denied: {host} refuses the connection with status 403"
            );
            Check::warning(ID, text)
                .fix(format!("{}; --deep tells for sure", statement(ACTION, OWN)))
        }
        Some(Err(error)) => Check::skipped(
            ID,
            format!("{ACTION} is not known: {error}; --deep tries it"),
        ),
    }
}

/// The ARN that policies have for a target.
fn arn(target: &str, region: &str, caller: &Caller) -> String {
    let account = match caller.account.as_str() {
        "" => "*",
        account => account,
    };
    if let Some((cluster, task, _)) = super::ecs::parts(target) {
        return format!("arn:aws:ecs:{region}:{account}:task/{cluster}/{task}");
    }
    match target.starts_with("mi-") {
        true => format!("arn:aws:ssm:{region}:{account}:managed-instance/{target}"),
        false => format!("arn:aws:ec2:{region}:{account}:instance/{target}"),
    }
}

/// The account's preferences, and whether their key can be used.
fn preferences(facts: &Facts) -> Vec<Check> {
    const ID: &str = "iam.preferences";
    const KEY: &str = "iam.kms";
    let preferences = match verdict(&facts.preferences, &["InvalidDocument"]) {
        Verdict::Allowed => {
            let inputs = facts.preferences.as_ref().ok().and_then(inputs);
            match inputs {
                Some(inputs) => {
                    Check::ok(ID, format!("the account's preferences: {}", told(&inputs)))
                }
                None => Check::ok(ID, "the account has no preferences for sessions of its own"),
            }
        }
        Verdict::Denied(why)
        | Verdict::Credentials(why)
        | Verdict::Time(why)
        | Verdict::Unknown(why) => Check::skipped(
            ID,
            format!("the account's preferences are not known: {why}"),
        ),
    };
    let Some((key, answer)) = &facts.key else {
        let text = match preferences.status {
            super::Status::Ok => {
                "kms:GenerateDataKey is not needed: sessions are not encrypted with a key of the account's"
            }
            _ => "whether kms:GenerateDataKey is needed is not known",
        };
        return vec![preferences, Check::skipped(KEY, text)];
    };
    let check = match verdict(answer, &["DryRunOperationException"]) {
        Verdict::Allowed => Check::ok(KEY, format!("kms:GenerateDataKey is allowed on {key}")),
        Verdict::Denied(why) => Check::failed(
            KEY,
            REFUSED,
            format!("kms:GenerateDataKey is denied, and sessions are encrypted with {key}: {why}"),
        )
        .fix(format!(
            "{}, and kms:Decrypt to the node's role",
            statement("kms:GenerateDataKey", key)
        )),
        Verdict::Unknown(why) if answer.is_ok() => Check::failed(
            KEY,
            REFUSED,
            format!("the key {key} of the account's preferences cannot be used: {why}"),
        )
        .fix("enable the key, or choose another in the preferences of Session Manager"),
        other => rest(KEY, "kms:GenerateDataKey", other),
    };
    vec![preferences, check.detail("Key", key.as_str())]
}

/// What matters of the preferences.
fn told(inputs: &Value) -> String {
    let text = |key: &str| {
        let value = inputs.get(key).and_then(Value::as_str).unwrap_or_default();
        Some(value).filter(|value| !value.is_empty())
    };
    let is_set = |key: &str| match inputs.get(key) {
        Some(Value::Bool(set)) => *set,
        Some(Value::String(set)) => set == "true",
        _ => false,
    };
    let mut parts = Vec::new();
    if let Some(minutes) = text("idleSessionTimeout") {
        parts.push(format!("idle sessions end after {minutes} min"));
    }
    if let Some(minutes) = text("maxSessionDuration") {
        parts.push(format!("all sessions after {minutes} min"));
    }
    if text("kmsKeyId").is_some() {
        parts.push("encrypted with KMS".to_owned());
    }
    if let Some(bucket) = text("s3BucketName") {
        parts.push(format!("logged to the bucket {bucket}"));
    }
    if let Some(group) = text("cloudWatchLogGroupName") {
        parts.push(format!("logged to the log group {group}"));
    }
    if is_set("runAsEnabled") {
        let user = text("runAsDefaultUser").unwrap_or("the user that the caller's tag names");
        parts.push(format!("run as {user}"));
    }
    match parts.is_empty() {
        true => "the defaults".to_owned(),
        false => parts.join(", "),
    }
}
