//! `--targets`: the nodes of Run Command.

use super::super::global::Global;
use super::super::report::Failure;
use super::super::shorthand;
use crate::aws::Aws;

/// The tag that Auto Scaling gives its instances.
const GROUP: &str = "tag:aws:autoscaling:groupName";

/// The key of nodes by id.
const IDS: &str = "InstanceIds";

/// The most ids in one command.
const MOST_IDS: usize = 50;

/// Nodes by id, or by what they have.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Targets {
    /// Ids.
    pub ids: Vec<String>,
    /// Names and addresses, each of one node whose id is still to be found.
    names: Vec<String>,
    /// Keys and values; nodes must have one of the values of each key.
    pub keys: Vec<(String, Vec<String>)>,
}

impl Targets {
    /// Reads `tag:KEY=VALUE,VALUE`, `asg:NAME`, ids and names (`i-…,web-1`), and the AWS CLI's
    /// `Key=tag:KEY,Values=VALUE,VALUE`.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, Failure> {
        let mut targets = Self::default();
        for text in texts {
            targets.add(text)?;
        }
        if targets.ids.len() + targets.names.len() > MOST_IDS {
            return Err(complain(&format!(
                "{MOST_IDS} ids and names at most; tags have no limit"
            )));
        }
        let single = !targets.ids.is_empty() || !targets.names.is_empty();
        if single && !targets.keys.is_empty() {
            return Err(complain("either tags or ids and names, not both"));
        }
        Ok(targets)
    }

    /// Finds the ids of what is named.
    pub async fn find(&mut self, global: &Global, aws: &Aws) -> anyhow::Result<()> {
        for name in std::mem::take(&mut self.names) {
            let id = global.target(aws, Some(&name)).await?;
            self.put(id);
        }
        Ok(())
    }

    fn put(&mut self, id: String) {
        if !self.ids.contains(&id) {
            self.ids.push(id);
        }
    }

    fn add(&mut self, text: &str) -> Result<(), Failure> {
        let list = |text: &str| -> Vec<String> { text.split(',').map(str::to_owned).collect() };
        let (key, values) = if text.starts_with("Key=") {
            let pairs = shorthand::parse(text).map_err(|why| complain(&why))?;
            let mut found = (None, None);
            for (name, value) in pairs {
                match (name.as_str(), value) {
                    ("Key", shorthand::Value::Text(key)) => found.0 = Some(key),
                    ("Values", shorthand::Value::Text(value)) => found.1 = Some(vec![value]),
                    ("Values", shorthand::Value::List(values)) => found.1 = Some(values),
                    _ => return Err(complain(&format!("{name} makes no sense"))),
                }
            }
            match found {
                (Some(key), Some(values)) => (key, values),
                _ => return Err(complain("there is no Values")),
            }
        } else if let Some(group) = text.strip_prefix("asg:") {
            (GROUP.to_owned(), list(group))
        } else if let Some((key, values)) = text.split_once('=') {
            if !key.contains(':') {
                return Err(complain(&format!(
                    "{key} is no key; did you mean tag:{key}?"
                )));
            }
            (key.to_owned(), list(values))
        } else {
            (IDS.to_owned(), list(text))
        };
        if values.iter().any(String::is_empty) {
            return Err(complain(&format!("{text:?} has an empty value")));
        }
        if key.eq_ignore_ascii_case(IDS) {
            for value in values {
                match value.split_once('-') {
                    _ if value.starts_with("ecs:") => {
                        return Err(complain(&format!(
                            "{value} is a container, and Run Command knows none"
                        )));
                    }
                    Some(("i" | "mi", _)) => self.put(value),
                    _ => self.names.push(value),
                }
            }
            return Ok(());
        }
        match self.keys.iter_mut().find(|(known, _)| *known == key) {
            Some((_, known)) => known.extend(values),
            None => self.keys.push((key, values)),
        }
        Ok(())
    }
}

fn complain(why: &str) -> Failure {
    Failure::usage(format!("--targets: {why}"))
        .hint("write tag:KEY=VALUE, asg:NAME, or ids and names: i-…,web-1; several tags must all be there")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(texts: &[&str]) -> Result<Targets, Failure> {
        Targets::parse(texts.iter().copied())
    }

    #[test]
    fn tags_and_ids_in_all_forms() {
        let tags = parse(&["tag:Env=a,b", "tag:Role=web", "tag:Env=c"]).expect("good");
        let keys = [("tag:Env", vec!["a", "b", "c"]), ("tag:Role", vec!["web"])];
        let keys = keys.map(|(key, values)| {
            let values = values.into_iter().map(str::to_owned).collect();
            (key.to_owned(), values)
        });
        assert_eq!(tags.keys, keys);
        assert_eq!(
            parse(&["Key=tag:Env,Values=a,b"]).expect("good"),
            parse(&["tag:Env=a,b"]).expect("good")
        );
        let ids = parse(&["i-1,mi-2", "i-1"]).expect("good");
        assert_eq!(ids.ids, ["i-1", "mi-2"]);
        let mixed = parse(&["i-1,web-1", "10.0.0.7"]).expect("good");
        assert_eq!(mixed.ids, ["i-1"]);
        assert_eq!(mixed.names, ["web-1", "10.0.0.7"]);
        assert_eq!(
            parse(&["asg:web"]).expect("good"),
            parse(&["tag:aws:autoscaling:groupName=web"]).expect("good")
        );
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        for (texts, why) in [
            (&["Env=a"][..], "did you mean tag:Env"),
            (&["tag:Env="], "empty value"),
            (&["i-1", "tag:Env=a"], "either tags or ids"),
            (&["web-1", "asg:web"], "either tags or ids"),
            (&["asg:"], "empty value"),
            (&["Key=tag:Env"], "no Values"),
            (&["ecs:a_b_c"], "Run Command knows none"),
        ] {
            let failure = parse(texts).expect_err(why);
            assert!(failure.what.contains(why), "{}", failure.what);
        }
    }
}
