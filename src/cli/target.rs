//! Targets on the command line: what the user calls a node, or picks from a list.

use super::global::Global;
use super::picker;
use super::report::{Failure, USAGE};
use crate::aws::{self, Aws, TargetError};
use crate::session::forward::aim::{Aim, Astray};
use crate::terminal;

/// What a target may be, for messages.
const FORMS: &str = "a target is an id (i-…, mi-…, ecs:CLUSTER_TASK_RUNTIME), a Name tag, tag:KEY=VALUE, \
    asg:NAME, an IP address or a DNS name; `ssmx ls` lists the nodes";

/// Checks, before anything is begun, that there is a target, or someone who can pick one.
///
/// Fails as for a usage that makes no sense; `hint` says how to give one.
pub fn check(target: Option<&str>, hint: &str) -> Result<(), Failure> {
    match target {
        Some(target) if !target.is_empty() => Ok(()),
        None if picker::is_possible() => Ok(()),
        _ => Err(Failure::usage("no target").hint(hint)),
    }
}

impl Global {
    /// The id of the node that the user means (by an alias too), or picks: if there is no
    /// `target`, or if it means several. Ids take no call.
    ///
    /// The user may be asked, for an MFA code too, so that Ctrl-C should still end the program.
    /// Fails, with advice, if the target is none or means several nodes and nobody can pick;
    /// silently, with 130, if the user picks nothing.
    pub async fn target(&self, aws: &Aws, target: Option<&str>) -> anyhow::Result<String> {
        Ok(self.aim(aws, target).await?.0)
    }

    /// The same, with what tells later whether another node is meant by then; nothing where it
    /// stays this one.
    pub async fn aim(
        &self,
        aws: &Aws,
        target: Option<&str>,
    ) -> anyhow::Result<(String, Option<Aim>)> {
        let Some(target) = target else {
            return Ok((picker::pick(aws).await?, None));
        };
        if let Some(wanted) = self.settings().container(target) {
            return wanted.aim(aws).await;
        }
        let target = self.settings().target(target);
        let found = match aws.find_target(target).await {
            Err(TargetError::Aws(error)) => return Err(error.into()),
            found => found,
        };
        tell_what_is_lacking(aws);
        match found {
            Ok(id) if aws::is_final(target) => Ok((id, None)),
            Ok(id) => Ok((id.clone(), Some(aim(aws, id, target)))),
            Err(TargetError::Ambiguous { candidates, .. }) if picker::is_possible() => {
                terminal::notice(&format!("{target} may mean any of these"));
                Ok((picker::among(&candidates).await?, None))
            }
            Err(error) => Err(failure(&error, aws.lacks_properties()).into()),
        }
    }
}

/// Looks the target up again.
fn aim(aws: &Aws, id: String, target: &str) -> Aim {
    let (aws, target) = (aws.clone(), target.to_owned());
    Aim::new(id, move || {
        let (aws, target) = (aws.clone(), target.clone());
        Box::pin(async move {
            aws.find_target(&target).await.map_err(|error| {
                let passes = matches!(error, TargetError::Unknown { .. });
                match error {
                    TargetError::Aws(error) => error.into(),
                    error => {
                        let Failure { what, hint, .. } = failure(&error, aws.lacks_properties());
                        Astray::Nowhere { what, hint, passes }
                    }
                }
            })
        })
    })
}

/// Says in a line, if it is so, that nodes are known by less than they could be.
pub fn tell_what_is_lacking(aws: &Aws) {
    if aws.lacks_properties() {
        terminal::notice(
            "ssm:DescribeInstanceProperties is denied: nodes are listed without their Name tags \
             (by ssm:DescribeInstanceInformation)",
        );
    }
}

fn failure(error: &TargetError, lacking: bool) -> Failure {
    let hint = match error {
        TargetError::Ambiguous { .. } => "give the id of one of them".to_owned(),
        TargetError::Unknown { nearest, .. } => unknown(nearest, lacking),
        TargetError::Syntax(_) | TargetError::Aws(_) => FORMS.to_owned(),
    };
    Failure {
        what: error.to_string(),
        hint: Some(hint),
        status: USAGE,
    }
}

fn unknown(nearest: &[String], lacking: bool) -> String {
    let list = "`ssmx ls` lists the nodes of a region, --all-regions those of all";
    match nearest.split_last() {
        None if lacking => format!("{list}; ssm:DescribeInstanceProperties is needed for names"),
        None => list.to_owned(),
        Some((one, [])) => format!("did you mean {one}? {list}"),
        Some((last, others)) => format!("did you mean {} or {last}? {list}", others.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_offered() {
        let name = |text: &str| text.to_owned();
        let all = [name("a"), name("b"), name("c")];
        assert!(unknown(&all, false).starts_with("did you mean a, b or c? "));
        assert!(unknown(&all[..1], true).starts_with("did you mean a? "));
        assert!(unknown(&[], true).contains("DescribeInstanceProperties"));
    }
}
