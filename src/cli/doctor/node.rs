//! A node as the service describes it, and what its agent can do.

use super::super::report::REFUSED;
use super::check::Check;
use super::facts::{Answer, Facts, Verdict, verdict};

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

/// What is known of a node.
#[derive(Debug, Default)]
pub struct Node {
    pub id: Option<String>,
    pub name: Option<String>,
    pub state: Option<String>,
    pub ping: Option<String>,
    pub last_ping: Option<f64>,
    pub platform: Option<String>,
    pub agent: Option<String>,
    /// Whether anybody could be asked.
    pub is_known: bool,
}

impl Node {
    /// What the calls say of it.
    pub fn of(facts: &Facts) -> Self {
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

/// Whether the agent can do everything.
pub fn agent(node: &Node) -> Option<Check> {
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

#[cfg(test)]
mod tests {
    use super::super::check::Status;
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
