//! `--parameters`: shorthand in one or more words, JSON, or a file of either.

use serde_json::{Map, Value};

use super::report::Failure;
use super::{input, shorthand};

/// Names and values of a document's parameters.
pub(super) type Parameters = Vec<(String, Vec<String>)>;

const HINT: &str = r#"write command="ls -la, pwd", or name=value,name=value, or JSON {"command":["ls"]}, or file://PATH"#;

/// Reads all words of the option.
pub(super) fn parse(words: &[String]) -> Result<Parameters, Failure> {
    let mut parameters = Parameters::new();
    for word in words {
        let text = input::text(word)?;
        for (name, values) in parse_word(&text)? {
            if parameters.iter().any(|(known, _)| *known == name) {
                return Err(complain(&format!("{name} is in it twice")));
            }
            parameters.push((name, values));
        }
    }
    Ok(parameters)
}

fn parse_word(text: &str) -> Result<Parameters, Failure> {
    let text = text.trim();
    if text.starts_with('{') {
        return match serde_json::from_str(text) {
            Ok(Value::Object(object)) => from_json(object),
            Ok(_) => Err(complain("it must be a JSON object")),
            Err(error) => Err(complain(&format!("it is no JSON: {error}"))),
        };
    }
    let pairs = shorthand::parse(text).map_err(|why| complain(&why))?;
    let mut parameters = Parameters::new();
    for (name, value) in pairs {
        if name.is_empty() {
            return Err(complain("there is a value without a name"));
        }
        let values = match value {
            shorthand::Value::Text(text) => vec![text],
            shorthand::Value::List(list) => list,
        };
        parameters.push((name, values));
    }
    Ok(parameters)
}

/// From `{"name": ["value"]}`; a text alone counts as a list of one.
pub(super) fn from_json(object: Map<String, Value>) -> Result<Parameters, Failure> {
    let text = |name: &str, value| match value {
        Value::String(text) => Ok(text),
        _ => Err(complain(&format!("{name} must be a list of texts"))),
    };
    object
        .into_iter()
        .map(|(name, value)| {
            let values = match value {
                Value::Array(values) => values
                    .into_iter()
                    .map(|value| text(&name, value))
                    .collect::<Result<_, _>>()?,
                value => vec![text(&name, value)?],
            };
            Ok((name, values))
        })
        .collect()
}

fn complain(why: &str) -> Failure {
    Failure::usage(format!("--parameters: {why}")).hint(HINT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(words: &[&str]) -> String {
        let words: Vec<String> = words.iter().map(ToString::to_string).collect();
        match parse(&words) {
            Ok(parameters) => format!("{parameters:?}"),
            Err(failure) => {
                assert_eq!(failure.status, super::super::report::USAGE);
                failure.what
            }
        }
    }

    #[test]
    fn all_forms_mean_the_same() {
        let expected = r#"[("portNumber", ["22"]), ("localPortNumber", ["9000"])]"#;
        let dir = tempfile::tempdir().expect("a directory for this test");
        let path = dir.path().join("p.json");
        std::fs::write(&path, "portNumber=22,localPortNumber=9000\n").expect("a file");
        let file = format!("file://{}", path.display());
        let cases: [&[&str]; 6] = [
            &["portNumber=22,localPortNumber=9000"],
            &["portNumber=22", "localPortNumber=9000"],
            &["portNumber=[22],localPortNumber=[\"9000\"]"],
            &[r#"{"portNumber":["22"],"localPortNumber":["9000"]}"#],
            &[r#" {"portNumber":"22","localPortNumber":["9000"]} "#],
            &[&file],
        ];
        for words in cases {
            assert_eq!(show(words), expected, "{words:?}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        let cases: [(&[&str], &str); 8] = [
            (&[""], "expected '='"),
            (&["portNumber"], "expected '='"),
            (&["=x"], "without a name"),
            (&["a=1", "a=2"], "a is in it twice"),
            (&["{\"a\":"], "no JSON"),
            (&["{\"a\":[22]}"], "a must be a list of texts"),
            (&["{\"a\":{}}"], "a must be a list of texts"),
            (&["file:///does/not/exist"], "cannot read"),
        ];
        for (words, why) in cases {
            let text = show(words);
            assert!(text.contains(why), "{words:?}: {text}");
        }
    }
}
