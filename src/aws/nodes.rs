//! The managed nodes of a region, page by page.
//!
//! DescribeInstanceProperties knows the Name tag, the state and the public address of a node, in
//! pages of a thousand. DescribeInstanceInformation knows less in smaller pages, but more callers
//! may do it, and it is the one that knows private addresses.

use std::sync::atomic::Ordering;

use aws_sdk_ssm::types::{
    InstanceInformation, InstanceInformationStringFilter, InstanceProperty,
    InstancePropertyFilterOperator, InstancePropertyStringFilter,
};
use aws_smithy_types::DateTime;
use aws_smithy_types::error::operation::BuildError;
use tokio::sync::mpsc;

use super::Aws;
use super::error::{Call, Error, Kind};

/// What `Node::ping` says of a node that sessions can be started on.
const ONLINE: &str = "Online";

/// The most nodes in a page of either call.
const PROPERTIES_PAGE: i32 = 1000;
const INFORMATION_PAGE: i32 = 50;

/// A managed node as listed; the texts are the service's own. What is empty there is none here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// `i-…` or `mi-…`.
    pub id: String,
    /// The Name tag, or the name it was registered by.
    pub name: Option<String>,
    /// The full name of the computer, such as `ip-10-0-0-1.ec2.internal`.
    pub computer_name: Option<String>,
    /// An IP address: the public one, if Name tags are known too, else the private one.
    pub address: Option<String>,
    /// `Online`, `ConnectionLost` or `Inactive`.
    pub ping: String,
    /// `running`, `stopped` …, if known.
    pub state: Option<String>,
    /// `Linux`, `Windows` or `MacOS`.
    pub platform_type: Option<String>,
    /// Such as `Amazon Linux`.
    pub platform_name: Option<String>,
    /// Such as `2023`.
    pub platform_version: Option<String>,
    /// Of the SSM Agent.
    pub agent_version: Option<String>,
    /// When it was launched or, if that is not known, registered; in seconds since 1970.
    pub launched: Option<i64>,
}

impl Node {
    /// Whether sessions can be started on it.
    pub fn is_online(&self) -> bool {
        self.ping == ONLINE
    }

    /// What people call it: its name, or else that of the computer.
    pub fn known_as(&self) -> Option<&str> {
        self.name.as_deref().or(self.computer_name.as_deref())
    }

    /// An address of it, if only the one that EC2 makes the computer's name of.
    pub fn any_address(&self) -> Option<String> {
        self.address
            .clone()
            .or_else(|| address_in(self.computer_name.as_deref()?))
    }
}

/// `ip-10-0-0-1.ec2.internal` has an address in it.
fn address_in(name: &str) -> Option<String> {
    let label = name.split('.').next()?.strip_prefix("ip-")?;
    let address = label.replace('-', ".");
    address.parse::<std::net::Ipv4Addr>().ok().map(|_| address)
}

/// Which nodes to list; all filters have to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeFilter {
    /// A tag has this value.
    Tag {
        /// Its key.
        key: String,
        /// The value, in full.
        value: String,
    },
    /// `Online`, `ConnectionLost` or `Inactive`.
    Ping(String),
    /// `Linux`, `Windows` or `MacOS`.
    Platform(String),
}

impl NodeFilter {
    fn is_tag(&self) -> bool {
        matches!(self, Self::Tag { .. })
    }

    fn key_and_value(&self) -> (String, &str) {
        match self {
            Self::Tag { key, value } => (format!("tag:{key}"), value),
            Self::Ping(status) => ("PingStatus".to_owned(), status),
            Self::Platform(kind) => ("PlatformTypes".to_owned(), kind),
        }
    }

    /// Whether it holds, as far as the node itself tells.
    fn may_hold(&self, node: &Node) -> bool {
        match self {
            Self::Tag { .. } => true,
            Self::Ping(status) => node.ping == *status,
            Self::Platform(kind) => node.platform_type.as_ref() == Some(kind),
        }
    }
}

/// Which call lists nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// DescribeInstanceProperties, or the other where that cannot be done.
    Properties,
    /// DescribeInstanceInformation.
    Information,
}

/// A listing under way.
#[derive(Debug)]
pub struct Nodes {
    aws: Aws,
    what: String,
    filters: Vec<NodeFilter>,
    source: Source,
    next: Option<String>,
    begun: bool,
}

impl Aws {
    /// Begins to list nodes.
    pub fn nodes(&self, filters: Vec<NodeFilter>) -> Nodes {
        self.nodes_from(Source::Properties, filters, "cannot list the nodes")
    }

    /// The same by a certain call, and for a certain purpose.
    pub(super) fn nodes_from(
        &self,
        source: Source,
        filters: Vec<NodeFilter>,
        what: impl Into<String>,
    ) -> Nodes {
        // There is no need to be told twice.
        let source = match self.lacks_properties() {
            true => Source::Information,
            false => source,
        };
        Nodes {
            aws: self.clone(),
            what: what.into(),
            filters,
            source,
            next: None,
            begun: false,
        }
    }

    /// Whether the caller turned out not to be allowed DescribeInstanceProperties: the Name tags
    /// and public addresses of nodes are not known then.
    pub fn lacks_properties(&self) -> bool {
        self.0.lacks_properties.load(Ordering::Relaxed)
    }
}

impl Nodes {
    /// The next page; it may be empty. `None` after the last.
    ///
    /// Fails if the caller may do neither call, or none of them is answered.
    pub async fn next(&mut self) -> Result<Option<Vec<Node>>, Error> {
        if self.begun && self.next.is_none() {
            return Ok(None);
        }
        let first = !self.begun;
        let (mut nodes, next) = match self.page().await {
            Err(error) if first && self.may_fall_back(&error) => {
                tracing::debug!(%error, "asking for less of the nodes");
                self.source = Source::Information;
                self.page().await?
            }
            page => page?,
        };
        self.begun = true;
        self.next = next.filter(|next| !next.is_empty());
        nodes.retain(|node| !node.id.is_empty() && self.filters.iter().all(|it| it.may_hold(node)));
        Ok(Some(nodes))
    }

    /// Lists on a task of its own, which waits until a page is taken before it asks for the one
    /// after the next. It ends with the last page, after an error, or once nobody takes them.
    pub fn spawn(mut self) -> mpsc::Receiver<Result<Vec<Node>, Error>> {
        let (sender, pages) = mpsc::channel(1);
        tokio::spawn(async move {
            let pages = async {
                while let Some(page) = self.next().await.transpose() {
                    let failed = page.is_err();
                    if sender.send(page).await.is_err() || failed {
                        break;
                    }
                }
            };
            tokio::select! {
                () = pages => {}
                () = sender.closed() => {}
            }
        });
        pages
    }

    /// Whether Name tags and states are known of these nodes.
    pub(super) fn source(&self) -> Source {
        self.source
    }

    /// Whether the other call may do what this one does not.
    fn may_fall_back(&self, error: &Error) -> bool {
        const OTHERWISE: [&str; 5] = [
            "InvalidFilterKey",
            "InvalidInstancePropertyFilterValue",
            "ValidationException",
            "UnknownOperationException",
            "UnsupportedOperationException",
        ];
        if self.source == Source::Information {
            return false;
        }
        if error.is_access_denied() {
            self.aws.0.lacks_properties.store(true, Ordering::Relaxed);
            return true;
        }
        error.code().is_some_and(|code| OTHERWISE.contains(&code))
    }

    async fn page(&self) -> Result<(Vec<Node>, Option<String>), Error> {
        match self.source {
            Source::Properties => self.properties().await,
            Source::Information => self.information().await,
        }
    }

    async fn properties(&self) -> Result<(Vec<Node>, Option<String>), Error> {
        let call = Call {
            what: &self.what,
            action: "ssm:DescribeInstanceProperties",
        };
        let mut describe = self
            .aws
            .ssm()
            .describe_instance_properties()
            .max_results(PROPERTIES_PAGE)
            .set_next_token(self.next.clone());
        for filter in &self.filters {
            let (key, value) = filter.key_and_value();
            let filter = InstancePropertyStringFilter::builder()
                .key(key)
                .values(value)
                .operator(InstancePropertyFilterOperator::Equal);
            describe = describe.filters_with_operator(filter.build().map_err(no_filter(&call))?);
        }
        self.aws.ready(&call).await?;
        match describe.send().await {
            Ok(answer) => {
                let nodes = answer.instance_properties.unwrap_or_default();
                let nodes = nodes.into_iter().map(Node::from).collect();
                Ok((nodes, answer.next_token))
            }
            Err(error) => Err(self.aws.failure(&call, error).await),
        }
    }

    async fn information(&self) -> Result<(Vec<Node>, Option<String>), Error> {
        let call = Call {
            what: &self.what,
            action: "ssm:DescribeInstanceProperties or ssm:DescribeInstanceInformation",
        };
        let mut describe = self
            .aws
            .ssm()
            .describe_instance_information()
            .max_results(INFORMATION_PAGE)
            .set_next_token(self.next.clone());
        // The service takes tags only alone; the rest is looked at when the nodes are here.
        let tags = self.filters.iter().any(NodeFilter::is_tag);
        for filter in self.filters.iter().filter(|it| it.is_tag() || !tags) {
            let (key, value) = filter.key_and_value();
            let filter = InstanceInformationStringFilter::builder()
                .key(key)
                .values(value);
            describe = describe.filters(filter.build().map_err(no_filter(&call))?);
        }
        self.aws.ready(&call).await?;
        match describe.send().await {
            Ok(answer) => {
                let nodes = answer.instance_information_list.unwrap_or_default();
                let nodes = nodes.into_iter().map(Node::from).collect();
                Ok((nodes, answer.next_token))
            }
            Err(error) => Err(self.aws.failure(&call, error).await),
        }
    }
}

fn no_filter(call: &Call<'_>) -> impl Fn(BuildError) -> Error {
    |error| Error::new(Kind::Other, call.what, error.to_string())
}

fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

fn seconds(time: Option<DateTime>) -> Option<i64> {
    time.map(|time| time.secs())
}

impl From<InstanceProperty> for Node {
    fn from(node: InstanceProperty) -> Self {
        Self {
            id: node.instance_id.unwrap_or_default(),
            name: given(node.name),
            computer_name: given(node.computer_name),
            address: given(node.ip_address),
            ping: node
                .ping_status
                .map_or_else(String::new, |ping| ping.as_str().to_owned()),
            state: given(node.instance_state),
            platform_type: node.platform_type.map(|kind| kind.as_str().to_owned()),
            platform_name: given(node.platform_name),
            platform_version: given(node.platform_version),
            agent_version: given(node.agent_version),
            launched: seconds(node.launch_time.or(node.registration_date)),
        }
    }
}

impl From<InstanceInformation> for Node {
    fn from(node: InstanceInformation) -> Self {
        Self {
            id: node.instance_id.unwrap_or_default(),
            name: given(node.name),
            computer_name: given(node.computer_name),
            address: given(node.ip_address),
            ping: node
                .ping_status
                .map_or_else(String::new, |ping| ping.as_str().to_owned()),
            state: None,
            platform_type: node.platform_type.map(|kind| kind.as_str().to_owned()),
            platform_name: given(node.platform_name),
            platform_version: given(node.platform_version),
            agent_version: given(node.agent_version),
            launched: seconds(node.registration_date),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_ec2_makes_have_an_address() {
        for (name, expected) in [
            ("ip-10-0-0-11.ec2.internal", Some("10.0.0.11")),
            ("ip-10-0-0-11", Some("10.0.0.11")),
            ("ip-10-0-0-311.ec2.internal", None),
            ("ip-10-0-0.x", None),
            ("db.corp.example", None),
            ("", None),
        ] {
            assert_eq!(address_in(name).as_deref(), expected, "{name}");
        }
    }
}
