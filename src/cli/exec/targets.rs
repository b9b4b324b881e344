//! `--targets`: the nodes of Run Command.

use super::super::report::Failure;
use super::super::shorthand;

/// The most ids in one command.
const MOST_IDS: usize = 50;

/// Nodes by id, or by what they have.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Targets {
    /// Ids.
    pub ids: Vec<String>,
    /// Keys and values; nodes must have one of the values of each key.
    pub keys: Vec<(String, Vec<String>)>,
}

impl Targets {
    /// Reads `tag:KEY=VALUE,VALUE`, `i-…,i-…`, and the AWS CLI's `Key=tag:KEY,Values=VALUE,VALUE`.
    pub fn parse(texts: &[String]) -> Result<Self, Failure> {
        let mut targets = Self::default();
        for text in texts {
            targets.add(text)?;
        }
        if targets.ids.len() > MOST_IDS {
            return Err(complain(&format!(
                "{MOST_IDS} ids at most; tags have no limit"
            )));
        }
        if !targets.ids.is_empty() && !targets.keys.is_empty() {
            return Err(complain("either ids or tags, not both"));
        }
        Ok(targets)
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
        } else if let Some((key, values)) = text.split_once('=') {
            if !key.contains(':') {
                return Err(complain(&format!(
                    "{key} is no key; did you mean tag:{key}?"
                )));
            }
            (key.to_owned(), list(values))
        } else {
            ("InstanceIds".to_owned(), list(text))
        };
        if values.iter().any(String::is_empty) {
            return Err(complain(&format!("{text:?} has an empty value")));
        }
        if key.eq_ignore_ascii_case("InstanceIds") {
            let is_id = |id: &String| id.starts_with("i-") || id.starts_with("mi-");
            if let Some(other) = values.iter().find(|id| !is_id(id)) {
                return Err(complain(&format!("{other} is no id of a managed node")));
            }
            for id in values {
                if !self.ids.contains(&id) {
                    self.ids.push(id);
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
        .hint("write tag:KEY=VALUE or ids, i-…,i-…; several tags must all be there")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(texts: &[&str]) -> Result<Targets, Failure> {
        let texts: Vec<String> = texts.iter().map(ToString::to_string).collect();
        Targets::parse(&texts)
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
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        for (texts, why) in [
            (&["web"][..], "no id of a managed node"),
            (&["Env=a"], "did you mean tag:Env"),
            (&["tag:Env="], "empty value"),
            (&["i-1", "tag:Env=a"], "either ids or tags"),
            (&["Key=tag:Env"], "no Values"),
            (&["ecs:a_b_c"], "no id"),
        ] {
            let failure = parse(texts).expect_err(why);
            assert!(failure.what.contains(why), "{}", failure.what);
        }
    }
}
