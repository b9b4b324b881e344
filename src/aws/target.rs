//! What the user calls a node → its id.

use std::net::IpAddr;

use super::nodes::{Node, NodeFilter, Nodes, Source};
use super::{Aws, Error};

/// The tag that Auto Scaling gives its instances.
const GROUP: &str = "aws:autoscaling:groupName";

/// As many candidates are enough to choose among.
const CANDIDATES: usize = 200;

/// As many of them go into a line.
const TOLD: usize = 8;

/// As many names are enough to be reminded of the right one.
const NEAREST: usize = 3;

/// Why a target is none.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TargetError {
    /// It cannot mean anything.
    #[error("{0}")]
    Syntax(String),
    /// It means several nodes; these are some of them.
    #[error("{what} is ambiguous: {}", list(.candidates))]
    Ambiguous {
        /// What was asked for.
        what: String,
        /// The nodes, or enough of them.
        candidates: Vec<Node>,
    },
    /// There is no such node; these are called something like it.
    #[error("no managed node in {region} {what}")]
    Unknown {
        /// What was asked for, such as `is called web`.
        what: String,
        /// Where.
        region: String,
        /// The names.
        nearest: Vec<String>,
    },
    /// The service did not answer.
    #[error(transparent)]
    Aws(#[from] Error),
}

/// `i-1 (web, Online), i-2 (web, Online)`
fn list(nodes: &[Node]) -> String {
    let told = nodes.iter().take(TOLD).map(|node| match node.known_as() {
        Some(name) => format!("{} ({name}, {})", node.id, node.ping),
        None => format!("{} ({})", node.id, node.ping),
    });
    let list = told.collect::<Vec<_>>().join(", ");
    match nodes.len() > TOLD {
        true => list + " and others",
        false => list,
    }
}

/// Whether this names one node for good: what the service itself calls it. Anything else may mean
/// another later.
pub fn is_final(text: &str) -> bool {
    matches!(Wanted::parse(text), Ok(Wanted::Id(_)))
}

/// How a target is given.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Wanted {
    /// By what the service itself calls it.
    Id(String),
    /// By a tag.
    Tag { key: String, value: String },
    /// By its Auto Scaling group.
    Group(String),
    /// By an address.
    Address(IpAddr),
    /// By its Name tag or its computer's name.
    Name(String),
}

impl Wanted {
    fn parse(text: &str) -> Result<Self, TargetError> {
        let syntax = |why: &str| Err(TargetError::Syntax(why.to_owned()));
        if let Some(tag) = text.strip_prefix("tag:") {
            return match tag.split_once('=') {
                Some((GROUP, group)) if !group.is_empty() => Ok(Self::Group(group.to_owned())),
                Some((key, value)) if !key.is_empty() => Ok(Self::Tag {
                    key: key.to_owned(),
                    value: value.to_owned(),
                }),
                _ => syntax("a tag is given as tag:KEY=VALUE"),
            };
        }
        if let Some(group) = text.strip_prefix("asg:") {
            return match group {
                "" => syntax("an Auto Scaling group is given as asg:NAME"),
                group => Ok(Self::Group(group.to_owned())),
            };
        }
        if text.is_empty() {
            return syntax("the target is empty");
        }
        if text.starts_with("ecs:") || is_id(text) {
            return Ok(Self::Id(text.to_owned()));
        }
        // Names of DNS can be made of ids.
        if let Some((label, _)) = text.split_once('.')
            && is_id(label)
        {
            return Ok(Self::Id(label.to_owned()));
        }
        match text.parse() {
            Ok(address) => Ok(Self::Address(address)),
            Err(_) => Ok(Self::Name(text.to_owned())),
        }
    }
}

/// `i-` or `mi-` and hexadecimal digits. Other words that begin so may be names.
fn is_id(text: &str) -> bool {
    let digits = text.strip_prefix("mi-").or_else(|| text.strip_prefix("i-"));
    digits.is_some_and(|digits| {
        !digits.is_empty()
            && digits
                .bytes()
                .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
    })
}

impl Aws {
    /// The id of the node that `text` means: an id (`i-…`, `mi-…`, `ecs:…`), which takes no call
    /// and need not exist; a Name tag; `tag:KEY=VALUE`; `asg:NAME`, the newest node of an Auto
    /// Scaling group; an IP address; or the computer's name in DNS. Of several, those that are
    /// online count; if none is, all do.
    pub async fn find_target(&self, text: &str) -> Result<String, TargetError> {
        let search = Search { aws: self, text };
        let found = match Wanted::parse(text)? {
            Wanted::Id(id) => return Ok(id),
            Wanted::Tag { key, value } if key == "Name" => search.name(&value).await,
            Wanted::Tag { key, value } => search.tag(&key, &value).await,
            Wanted::Group(group) => search.group(&group).await,
            Wanted::Address(address) => search.address(address).await,
            Wanted::Name(name) => search.name(&name).await,
        };
        let node = found?;
        tracing::debug!(target = text, id = node.id, "found the node");
        Ok(node.id)
    }
}

struct Search<'a> {
    aws: &'a Aws,
    text: &'a str,
}

impl Search<'_> {
    fn nodes(&self, source: Source, filters: Vec<NodeFilter>) -> Nodes {
        let what = format!("cannot look up {}", self.text);
        self.aws.nodes_from(source, filters, what)
    }

    fn tagged(&self, key: &str, value: &str) -> Nodes {
        let filter = NodeFilter::Tag {
            key: key.to_owned(),
            value: value.to_owned(),
        };
        self.nodes(Source::Properties, vec![filter])
    }

    fn unknown(&self, what: String, nearest: Vec<String>) -> TargetError {
        TargetError::Unknown {
            what,
            region: self.aws.region().to_owned(),
            nearest,
        }
    }

    async fn tag(&self, key: &str, value: &str) -> Result<Node, TargetError> {
        let mut candidates = Candidates::default();
        candidates
            .take_all(self.tagged(key, value), |_| true)
            .await?;
        match candidates.choose(self.text)? {
            Some(node) => Ok(node),
            None => Err(self.unknown(format!("has the tag {key}={value}"), Vec::new())),
        }
    }

    /// The newest node that is online, or else the newest.
    async fn group(&self, group: &str) -> Result<Node, TargetError> {
        let mut nodes = self.tagged(GROUP, group);
        let mut newest: Option<Node> = None;
        while let Some(page) = nodes.next().await? {
            let rank = |node: &Node| (node.is_online(), node.launched, node.id.clone());
            let best = page.into_iter().max_by_key(rank);
            newest = newest.into_iter().chain(best).max_by_key(rank);
        }
        newest.ok_or_else(|| {
            self.unknown(format!("is in the Auto Scaling group {group}"), Vec::new())
        })
    }

    /// By Name tag; else by names of computers, and whatever the case of letters.
    async fn name(&self, name: &str) -> Result<Node, TargetError> {
        let mut candidates = Candidates::default();
        candidates
            .take_all(self.tagged("Name", name), |_| true)
            .await?;
        if let Some(node) = candidates.choose(self.text)? {
            return Ok(node);
        }
        let mut nearest = Nearest::new(name);
        let mut nodes = self.nodes(Source::Properties, Vec::new());
        while let Some(page) = nodes.next().await? {
            for node in page {
                if is_called(&node, name) {
                    candidates.take(node);
                } else {
                    nearest.look_at(&node);
                }
            }
        }
        match candidates.choose(self.text)? {
            Some(node) => Ok(node),
            None => Err(self.unknown(format!("is called {name}"), nearest.names())),
        }
    }

    async fn address(&self, address: IpAddr) -> Result<Node, TargetError> {
        let is = |node: &Node| {
            let own = node.any_address();
            own.is_some_and(|own| own.parse() == Ok(address))
        };
        // Each call knows the addresses of one kind.
        let sources = match is_private(address) {
            true => [Source::Information, Source::Properties],
            false => [Source::Properties, Source::Information],
        };
        let mut asked = Vec::new();
        for source in sources {
            let nodes = self.nodes(source, Vec::new());
            if asked.contains(&nodes.source()) {
                continue;
            }
            let mut candidates = Candidates::default();
            asked.push(candidates.take_all(nodes, is).await?);
            if let Some(node) = candidates.choose(self.text)? {
                return Ok(node);
            }
        }
        Err(self.unknown(format!("has the address {address}"), Vec::new()))
    }
}

/// An address that means something within a network only.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_private() || v4.is_link_local() || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

/// Whether people may call a node so: its name, or the one of the computer with or without domain.
fn is_called(node: &Node, text: &str) -> bool {
    let is = |name: &str| name.to_lowercase() == text.to_lowercase();
    let computer = node.computer_name.as_deref();
    node.name.as_deref().is_some_and(is)
        || computer.is_some_and(is)
        || computer.is_some_and(|name| name.split('.').next().is_some_and(is))
}

/// Nodes that are meant, no more of them than are needed to choose or to tell.
#[derive(Default)]
struct Candidates {
    online: Vec<Node>,
    others: Vec<Node>,
}

impl Candidates {
    /// Takes those nodes that `are` meant; tells by which call they were listed.
    async fn take_all(
        &mut self,
        mut nodes: Nodes,
        are: impl Fn(&Node) -> bool,
    ) -> Result<Source, Error> {
        while let Some(page) = nodes.next().await? {
            page.into_iter()
                .filter(&are)
                .for_each(|node| self.take(node));
            if self.online.len() >= CANDIDATES {
                break;
            }
        }
        Ok(nodes.source())
    }

    fn take(&mut self, node: Node) {
        let list = match node.is_online() {
            true => &mut self.online,
            false => &mut self.others,
        };
        if list.len() < CANDIDATES && list.iter().all(|known| known.id != node.id) {
            list.push(node);
        }
    }

    /// The only one. Fails if there are several.
    fn choose(&mut self, what: &str) -> Result<Option<Node>, TargetError> {
        let mut nodes = match self.online.is_empty() {
            true => std::mem::take(&mut self.others),
            false => std::mem::take(&mut self.online),
        };
        if nodes.len() < 2 {
            return Ok(nodes.pop());
        }
        Err(TargetError::Ambiguous {
            what: what.to_owned(),
            candidates: nodes,
        })
    }
}

/// Names that are like one that nobody has.
struct Nearest {
    wanted: String,
    /// How far away each is, the nearest first.
    names: Vec<(usize, String)>,
}

impl Nearest {
    fn new(wanted: &str) -> Self {
        Self {
            wanted: wanted.to_lowercase(),
            names: Vec::new(),
        }
    }

    fn look_at(&mut self, node: &Node) {
        let Some(name) = node.known_as() else {
            return;
        };
        let lower = name.to_lowercase();
        let far = strsim::osa_distance(&self.wanted, &lower);
        let begins = self.wanted.len() > 1 && lower.starts_with(&self.wanted);
        if !begins && far > (self.wanted.chars().count() / 3).max(1) {
            return;
        }
        let entry = (if begins { 0 } else { far }, name.to_owned());
        if let Err(at) = self.names.binary_search(&entry) {
            self.names.insert(at, entry);
            self.names.truncate(NEAREST);
        }
    }

    fn names(self) -> Vec<String> {
        self.names.into_iter().map(|(_, name)| name).collect()
    }
}

#[cfg(test)]
#[path = "target_tests.rs"]
mod tests;
