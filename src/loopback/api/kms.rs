//! KMS: data keys.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value, json};

use super::super::state::Shared;
use super::{Answer, refuse, required};

pub(super) fn generate_data_key(shared: &Shared, input: &Map<String, Value>) -> Answer {
    let key_id = required(input, "KeyId")?;
    let length = input.get("NumberOfBytes").and_then(Value::as_u64);
    if length != Some(64) {
        return refuse("ValidationException", "loopback makes keys of 64 bytes.");
    }
    if input.get("DryRun") == Some(&Value::Bool(true)) {
        return refuse(
            "DryRunOperationException",
            "The request would have succeeded, but the DryRun option is set.",
        );
    }
    let context = match input.get("EncryptionContext") {
        Some(Value::Object(context)) => context
            .iter()
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
            .collect(),
        _ => Vec::new(),
    };
    let (key, ciphertext) = shared.make_key(key_id, context);
    Ok(json!({
        "CiphertextBlob": BASE64.encode(ciphertext),
        "Plaintext": BASE64.encode(key.as_slice()),
        "KeyId": key_id,
    }))
}
