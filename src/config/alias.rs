//! Aliases: nodes and tunnels under a name.

use super::problem::At;

/// An `[alias.NAME]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alias {
    /// Its name.
    pub name: String,
    /// Where the name stands.
    pub at: At,
    /// The node, in any form that `--target` has; empty if it is a container.
    pub target: String,
    /// The ECS cluster of a container.
    pub cluster: Option<String>,
    /// The ECS service of a container.
    pub service: Option<String>,
    /// The ECS task of a container.
    pub task: Option<String>,
    /// The container's name.
    pub container: Option<String>,
    /// What it is, for people.
    pub description: Option<String>,
    /// The profile to use.
    pub profile: Option<String>,
    /// The region of the node.
    pub region: Option<String>,
    /// What `-L` takes, each with its place.
    pub forwards: Vec<(String, At)>,
    /// What `-D` takes, each with its place.
    pub dynamic: Vec<(String, At)>,
    /// Why; goes into the history of sessions.
    pub reason: Option<String>,
    /// The session document.
    pub document: Option<String>,
    /// The document's parameters.
    pub parameters: Vec<(String, Vec<String>)>,
    /// What to run while its tunnels are up: a program and its arguments.
    pub command: Vec<String>,
}

impl Alias {
    /// Whether a container of ECS is meant, and no node.
    pub fn is_container(&self) -> bool {
        self.cluster.is_some() || self.service.is_some() || self.task.is_some()
    }

    /// Why it says of nothing where it is; nothing if it does say so.
    pub(super) fn lacks(&self) -> Option<(String, &'static str)> {
        const TARGET: &str = "give it one, as in: target = \"i-…\"";
        let name = &self.name;
        let is_container = self.is_container();
        match () {
            () if !self.target.is_empty() && (is_container || self.container.is_some()) => Some((
                format!("the alias {name} has a target and a container"),
                "leave out either target, or cluster, service, task and container",
            )),
            () if self.service.is_some() && self.task.is_some() => Some((
                format!("the alias {name} has a service and a task"),
                "leave out one of them",
            )),
            () if self.target.is_empty() && !is_container => {
                let hint = match self.container {
                    Some(_) => "say of what: service = \"…\", task = \"…\" or cluster = \"…\"",
                    None => TARGET,
                };
                Some((format!("the alias {name} has no target"), hint))
            }
            () => None,
        }
    }
}

/// Why a name is none for an alias.
pub(super) fn bad_name(name: &str) -> Option<&'static str> {
    let is_id = |prefix: &str| {
        name.strip_prefix(prefix).is_some_and(|rest| {
            rest.len() >= 8 && rest.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
    };
    let is_plain = |c: char| c.is_alphanumeric() || "-_.".contains(c);
    match name {
        "" => Some("it is empty"),
        _ if !name.chars().all(is_plain) => {
            Some("it may have letters, digits, hyphens, underscores and dots")
        }
        _ if name.starts_with(['-', '.']) => Some("it must start with a letter or a digit"),
        _ if is_id("i-") || is_id("mi-") => Some("it would hide the node of that id"),
        _ => None,
    }
}
