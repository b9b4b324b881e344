//! Aliases: nodes and tunnels under a name.

use super::problem::At;

/// An `[alias.NAME]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alias {
    /// Its name.
    pub name: String,
    /// Where the name stands.
    pub at: At,
    /// The node, in any form that `--target` has.
    pub target: String,
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
