//! Which nodes are wanted: what the service can tell, and what is looked at here.

use super::super::report::Failure;
use crate::aws::{Node, NodeFilter};

/// All of it has to hold.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Filter {
    /// For the service.
    pub asked: Vec<NodeFilter>,
    /// In lower case: parts of ids, names or addresses.
    texts: Vec<String>,
    /// In lower case: parts of platforms.
    platforms: Vec<String>,
}

impl Filter {
    /// Reads `tag:KEY=VALUE`, `ping=…`, `platform=…`, or else a text.
    pub(super) fn parse(words: &[String]) -> Result<Self, Failure> {
        let mut filter = Self::default();
        for word in words {
            filter.add(word).map_err(|why| {
                Failure::usage(format!("cannot filter by {word:?}: {why}")).hint(
                    "a filter is a part of an id, name or address, tag:KEY=VALUE, platform=linux, \
                     or ping=online",
                )
            })?;
        }
        Ok(filter)
    }

    fn add(&mut self, word: &str) -> Result<(), &'static str> {
        if let Some(tag) = word.strip_prefix("tag:") {
            let (key, value) = tag
                .split_once('=')
                .filter(|(key, _)| !key.is_empty())
                .ok_or("a tag has a key and a value")?;
            self.asked.push(NodeFilter::Tag {
                key: key.to_owned(),
                value: value.to_owned(),
            });
            return Ok(());
        }
        let lower = word.to_lowercase();
        match lower.split_once('=') {
            Some(("ping", status)) => {
                let status = match status {
                    "online" => "Online",
                    "connectionlost" | "lost" | "offline" => "ConnectionLost",
                    "inactive" => "Inactive",
                    _ => return Err("nodes are online, lost or inactive"),
                };
                self.asked.push(NodeFilter::Ping(status.to_owned()));
            }
            Some(("platform", "")) => return Err("it has no value"),
            Some(("platform", platform)) => match platform {
                "linux" => self.asked.push(NodeFilter::Platform("Linux".to_owned())),
                "windows" => self.asked.push(NodeFilter::Platform("Windows".to_owned())),
                "macos" => self.asked.push(NodeFilter::Platform("MacOS".to_owned())),
                part => self.platforms.push(part.to_owned()),
            },
            Some(_) => return Err("there is no such key"),
            None if word.is_empty() => return Err("it is empty"),
            None => self.texts.push(lower),
        }
        Ok(())
    }

    /// Whether a node that the service gave is wanted.
    pub(super) fn keeps(&self, node: &Node) -> bool {
        let has = |parts: &[&Option<String>], wanted: &String| {
            let mut parts = parts.iter().filter_map(|part| part.as_deref());
            parts.any(|part| part.to_lowercase().contains(wanted))
        };
        let texts = [&Some(node.id.clone()), &node.name, &node.computer_name];
        let address = node.any_address();
        self.texts
            .iter()
            .all(|text| has(&texts, text) || has(&[&address], text))
            && self
                .platforms
                .iter()
                .all(|platform| has(&[&node.platform_name, &node.platform_type], platform))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Filter, Failure> {
        let words: Vec<String> = words.iter().map(ToString::to_string).collect();
        Filter::parse(&words)
    }

    #[test]
    fn filters_are_for_the_service_where_it_has_them() {
        let filter = parse(&["tag:a=b=c", "PING=Online", "platform=Linux"]).expect("good");
        let expected = [
            NodeFilter::Tag {
                key: "a".to_owned(),
                value: "b=c".to_owned(),
            },
            NodeFilter::Ping("Online".to_owned()),
            NodeFilter::Platform("Linux".to_owned()),
        ];
        assert_eq!(filter.asked, expected);
        for bad in ["", "tag:", "tag:a", "ping=up", "platform=", "name=x"] {
            assert!(parse(&[bad]).is_err(), "{bad}");
        }
    }

    #[test]
    fn texts_may_be_anywhere() {
        let node = Node {
            id: "i-0abc".to_owned(),
            name: Some("Web-1".to_owned()),
            computer_name: Some("ip-10-0-0-11.ec2.internal".to_owned()),
            platform_name: Some("Ubuntu".to_owned()),
            ..Node::default()
        };
        for (words, expected) in [
            (&["web"][..], true),
            (&["0ab"], true),
            (&["10.0.0.11"], true),
            (&["web", "internal"], true),
            (&["web", "db"], false),
            (&["platform=ubu"], true),
            (&["platform=suse"], false),
        ] {
            assert_eq!(
                parse(words).expect("good").keeps(&node),
                expected,
                "{words:?}"
            );
        }
    }
}
