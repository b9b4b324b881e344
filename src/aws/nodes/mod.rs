//! The managed nodes of a region, page by page.
//!
//! DescribeInstanceProperties knows the Name tag, the state and the public address of a node, in
//! pages of a thousand. DescribeInstanceInformation knows less in smaller pages, but more callers
//! may do it, and it is the one that knows private addresses.

mod node;

use std::sync::atomic::Ordering;

use aws_sdk_ssm::types::{
    InstanceInformationStringFilter, InstancePropertyFilterOperator, InstancePropertyStringFilter,
};
use aws_smithy_types::error::operation::BuildError;
use tokio::sync::mpsc;

use super::Aws;
use super::error::{Call, Error, Kind};
use super::pages::Pages;

pub use node::Node;

/// The most nodes in a page of either call.
const PROPERTIES_PAGE: i32 = 1000;
const INFORMATION_PAGE: i32 = 50;

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
    pages: Pages,
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
            pages: Pages::new(),
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
    /// Fails if the caller may do neither call, none of them is answered, or there is no end.
    pub async fn next(&mut self) -> Result<Option<Vec<Node>>, Error> {
        if self.pages.is_over() {
            return Ok(None);
        }
        let (mut nodes, next) = match self.page().await {
            Err(error) if self.pages.is_first() && self.may_fall_back(&error) => {
                tracing::debug!(%error, "asking for less of the nodes");
                self.source = Source::Information;
                self.page().await?
            }
            page => page?,
        };
        self.pages.turn(&self.what, next)?;
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
            .set_next_token(self.pages.token());
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
            .set_next_token(self.pages.token());
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
