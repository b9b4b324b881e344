//! Profile, region, credentials, and the time.

use std::io::IsTerminal as _;
use std::time::{Duration, SystemTime};

use aws_smithy_types::DateTime;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::super::global::Global;
use super::super::output::short_time;
use super::super::report::{self, CONFIGURATION};
use super::super::settings::Source;
use super::check::Check;
use super::{LIMIT, Verdict, advice, verdict};
use crate::aws::{self, Aws, CLOCK_FIX, Prober, Reply, Service, clock_text};
use crate::text::span;

/// How long a person may take who is asked for a code.
const PERSON: Duration = Duration::from_secs(120);
/// Credentials that end sooner are worth a warning.
const SOON: Duration = Duration::from_secs(5 * 60);
/// Seconds of difference that services take, and that are worth a warning.
const SKEW: (i64, i64) = (300, 60);

/// Why nothing else can be checked.
pub fn broken(error: &aws::Error) -> Check {
    Check::failed("settings.aws", report::aws_status(error), error.to_string())
        .maybe_fix(advice(error.hint()))
}

/// Profile and region, with where they came from.
pub fn checks(global: &Global, aws: &Aws) -> Vec<Check> {
    let settings = global.settings();
    let origin = |key| match settings.source(key) {
        // Keys of the environment go before profiles, and name none.
        Source::Default | Source::Environment("AWS_ACCESS_KEY_ID") => None,
        source => Some(source.to_string()),
    };
    let profile = aws.profile();
    let from = origin("profile").map_or(String::new(), |source| format!(" ({source})"));
    let region = aws.region();
    let source = origin("region").unwrap_or_else(|| match aws.is_region_of_profile() {
        true => format!("profile {profile}"),
        false => "instance metadata".to_owned(),
    });
    vec![
        Check::ok("settings.profile", format!("profile {profile}{from}"))
            .detail("Profile", profile),
        Check::ok("settings.region", format!("region {region} ({source})"))
            .detail("Region", region)
            .detail("Source", source),
    ]
}

/// Credentials; whether there are any.
pub async fn credentials(aws: &Aws, now: SystemTime) -> (Check, bool) {
    const ID: &str = "credentials.keys";
    let limit = match std::io::stdin().is_terminal() {
        true => PERSON,
        false => LIMIT,
    };
    let keys = match timeout(limit, aws.keys()).await {
        Ok(Ok(keys)) => keys,
        Ok(Err(error)) => {
            let check = Check::failed(ID, report::aws_status(&error), error.to_string());
            return (check.maybe_fix(advice(error.hint())), false);
        }
        Err(_) => {
            let text = format!("no credentials within {} s", limit.as_secs());
            let check = Check::failed(ID, CONFIGURATION, text);
            let fix = "see what the profile's source of credentials waits for: ssmx doctor --debug";
            return (check.fix(fix), false);
        }
    };
    let millis = |time: SystemTime| DateTime::from(time).to_millis().unwrap_or(i64::MAX);
    let left = keys
        .expires
        .map(|expires| expires.duration_since(now).unwrap_or_default());
    let until = match (keys.expires, left) {
        (Some(expires), Some(left)) => {
            format!(
                ", until {} (for {})",
                short_time(millis(expires)),
                span(left)
            )
        }
        _ => String::new(),
    };
    let text = format!("credentials of {}, key {}{until}", keys.source, keys.id);
    let check = match left {
        Some(left) if left < SOON => Check::warning(ID, text).fix(keys.renew),
        _ => Check::ok(ID, text),
    };
    let check = check
        .detail("Source", keys.source)
        .detail("AccessKeyId", keys.id)
        .detail(
            "Expires",
            keys.expires
                .map(|time| super::super::output::iso_time(millis(time))),
        );
    (check, true)
}

/// Who the caller is.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    /// Its account; empty if it is not known.
    pub account: String,
    /// The last part of its ARN, by which sessions are named; empty if it is not known.
    pub name: String,
}

/// Asks STS who the caller is.
pub async fn identity(prober: &Prober) -> (Check, Caller, Option<Reply>) {
    const ID: &str = "credentials.identity";
    let region = prober.aws().region();
    let answer = prober
        .call(Service::Sts, region, "GetCallerIdentity", &json!({}))
        .await;
    let mut caller = Caller::default();
    let check = match verdict(&answer, &[]) {
        Verdict::Allowed => {
            let element = |name| {
                let reply = answer.as_ref().ok();
                reply
                    .and_then(|reply| reply.element(name))
                    .unwrap_or_default()
            };
            let (arn, account) = (element("Arn").to_owned(), element("Account").to_owned());
            caller.name = arn.rsplit(['/', ':']).next().unwrap_or_default().to_owned();
            caller.account = account.clone();
            Check::ok(ID, format!("caller {arn}"))
                .detail("Arn", arn)
                .detail("Account", account)
        }
        Verdict::Denied(why) => {
            Check::skipped(ID, format!("who the caller is, is not known: {why}"))
        }
        Verdict::Credentials(why) => {
            let check = Check::failed(
                ID,
                CONFIGURATION,
                format!("AWS does not take the credentials: {why}"),
            );
            let renew = prober.aws().keys().await.ok().map(|keys| keys.renew);
            check.maybe_fix(renew)
        }
        Verdict::Time(why) => Check::failed(
            ID,
            CONFIGURATION,
            format!("AWS does not take the signature: {why}"),
        )
        .fix("check this machine's clock, the secret key and the region"),
        Verdict::Unknown(why) => {
            Check::skipped(ID, format!("who the caller is, is not known: {why}"))
        }
    };
    (check, caller, answer.ok())
}

/// The time of this machine, against that of AWS; `ahead` is what the answers said of it.
pub fn clock(ahead: &[i64]) -> Check {
    const ID: &str = "credentials.clock";
    let Some(ahead) = ahead
        .iter()
        .copied()
        .max_by_key(|seconds| seconds.unsigned_abs())
    else {
        return Check::skipped(ID, "the clock could not be compared with that of AWS");
    };
    let off = ahead.saturating_abs();
    let text = clock_text(ahead);
    let check = if off >= SKEW.0 {
        Check::failed(
            ID,
            CONFIGURATION,
            format!("{text}; it takes no signature that is 5 min off"),
        )
        .fix(CLOCK_FIX)
    } else if off >= SKEW.1 {
        Check::warning(ID, text).fix(CLOCK_FIX)
    } else {
        Check::ok(ID, "this machine's clock goes with that of AWS")
    };
    check.detail("SecondsBehind", Value::from(ahead))
}

#[cfg(test)]
mod tests {
    use super::super::check::Status;
    use super::*;

    #[test]
    fn clocks_may_be_off_a_little() {
        let cases = [
            (vec![], Status::Skipped),
            (vec![0, 3], Status::Ok),
            (vec![0, -61], Status::Warning),
            (vec![300, 299], Status::Failed),
            (vec![i64::MIN], Status::Failed),
        ];
        for (ahead, status) in cases {
            assert_eq!(clock(&ahead).status, status, "{ahead:?}");
        }
    }
}
