//! Arguments that may be files, and `--cli-input-json`.

use serde_json::{Map, Value};

use super::report::Failure;

/// The text of an argument: its own, or that of the file which `file://PATH` names.
pub(super) fn text(argument: &str) -> Result<String, Failure> {
    let Some(path) = argument.strip_prefix("file://") else {
        return Ok(argument.to_owned());
    };
    let home = path
        .strip_prefix("~/")
        .and_then(|rest| Some(std::env::home_dir()?.join(rest)));
    std::fs::read_to_string(home.unwrap_or_else(|| path.into()))
        .map_err(|error| Failure::usage(format!("cannot read {argument}: {error}")))
}

/// The object of `--cli-input-json`: JSON, or a file of it. Keys must be among `known`.
pub(super) fn json_object(
    argument: Option<&str>,
    known: &[&str],
) -> Result<Map<String, Value>, Failure> {
    let Some(argument) = argument else {
        return Ok(Map::new());
    };
    let complain = |why: String| Failure::usage(format!("--cli-input-json: {why}"));
    let object = match serde_json::from_str(&text(argument)?) {
        Ok(Value::Object(object)) => object,
        Ok(_) => return Err(complain("it must be a JSON object".to_owned())),
        Err(error) => return Err(complain(format!("it is no JSON: {error}"))),
    };
    match object.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => Err(complain(format!(
            "unknown key {key:?}; the keys are {}",
            known.join(", ")
        ))),
        None => Ok(object),
    }
}

/// Takes a text out of such an object.
pub(super) fn take_text(
    object: &mut Map<String, Value>,
    key: &str,
) -> Result<Option<String>, Failure> {
    match object.remove(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Failure::usage(format!(
            "--cli-input-json: {key} must be a text"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_come_from_text_or_file_with_known_keys_only() {
        let known = ["Target", "Reason"];
        let dir = tempfile::tempdir().expect("a directory for this test");
        let path = dir.path().join("input.json");
        std::fs::write(&path, "{\"Target\": \"i-1\"}\n").expect("a file for this test");
        for good in [
            "{\"Target\": \"i-1\"}".to_owned(),
            format!("file://{}", path.display()),
        ] {
            let mut object = json_object(Some(&good), &known).expect("good");
            assert_eq!(
                take_text(&mut object, "Target").expect("text").as_deref(),
                Some("i-1")
            );
            assert_eq!(take_text(&mut object, "Reason").expect("none"), None);
        }
        for bad in [
            "",
            "x",
            "[]",
            "{\"target\": \"i-1\"}",
            "file:///does/not/exist",
        ] {
            assert!(json_object(Some(bad), &known).is_err(), "{bad}");
        }
        let mut object = json_object(Some("{\"Target\": 3}"), &known).expect("an object");
        assert!(take_text(&mut object, "Target").is_err());
    }
}
