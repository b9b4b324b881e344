//! Golden vectors: what AWS's client and agent did, run against ours.
//!
//! Where AWS's client does something that a good client should not (it panics, drops a message,
//! prints what it does not know), the test says what ours does instead, and why.

mod cipher;
mod frames;
mod handshake;
mod messages;
mod negatives;
mod numbers;
mod payloads;
mod sequencing;
mod smux;

use std::path::Path;

use bytes::Bytes;
use serde_json::Value;
use ssmx::protocol::version::CLIENT_VERSION;

/// The ClientVersion inside the vectors.
const VECTORS_CLIENT_VERSION: &str = "1.2.677.0";

/// The vectors of `name`.json.
fn load(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let text = std::fs::read_to_string(path.join(name).with_extension("json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The cases under `key`, which have to be `count`.
fn cases(vectors: &Value, key: &str, count: usize) -> Vec<Value> {
    let cases = vectors[key].as_array().unwrap().clone();
    assert_eq!(cases.len(), count, "cases under {key}");
    cases
}

fn text<'a>(case: &'a Value, key: &str) -> &'a str {
    case[key]
        .as_str()
        .unwrap_or_else(|| panic!("{key} in {case}"))
}

/// The elements of a list that may be null.
fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

fn hex(text: &str) -> Bytes {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// JSON of the vectors, as a client of our version writes it.
fn json_of_ours(text: &str) -> Value {
    let text = text.replace(VECTORS_CLIENT_VERSION, CLIENT_VERSION);
    let mut value: Value = serde_json::from_str(&text).unwrap();
    let actions = value
        .get_mut("ProcessedClientActions")
        .and_then(Value::as_array_mut);
    for action in actions.into_iter().flatten() {
        // AWS's client reports an unknown action in the wrong field.
        if action["ActionStatus"] == 0 && action["ActionResult"] == 3 {
            action["ActionStatus"] = 3.into();
            action["ActionResult"] = Value::Null;
        }
    }
    value
}
