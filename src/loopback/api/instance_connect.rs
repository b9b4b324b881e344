//! EC2 Instance Connect: keys that may log in for a minute.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::super::keys;
use super::super::state::Shared;
use super::super::stats::PushedKey;
use super::{Answer, refuse, text};

/// Pushed keys that the statistics hold.
const KEPT: usize = 100;

pub(super) fn send_ssh_public_key(shared: &Arc<Shared>, input: &Map<String, Value>) -> Answer {
    let invalid = |message: &str| refuse("InvalidArgsException", message);
    let field = |key| text(input, key).unwrap_or("");
    let (instance, user) = (field("InstanceId"), field("InstanceOSUser"));
    let key = field("SSHPublicKey").trim();
    let digits = instance.strip_prefix("i-").unwrap_or("");
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return invalid("Invalid instance ID.");
    }
    let begins = user.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let named = |c: char| c.is_ascii_alphanumeric() || "-._$".contains(c);
    if !begins || user.len() > 32 || !user.chars().all(named) {
        return invalid("Invalid instance OS user.");
    }
    let algorithm = key.split(' ').next().unwrap_or("");
    let known = algorithm == "ssh-rsa" || algorithm == "ssh-ed25519";
    if !known || !(80..=4096).contains(&key.len()) || key.contains(['\r', '\n']) {
        return invalid("The specified SSH public key is not valid.");
    }
    if !shared.state().nodes.iter().any(|node| node.id == instance) {
        return refuse(
            "EC2InstanceNotFoundException",
            "The specified instance was not found.",
        );
    }
    shared.change(|state| {
        let kept = &mut state.stats.pushed_keys;
        if kept.len() >= KEPT {
            kept.remove(0);
        }
        kept.push(PushedKey {
            instance: instance.to_owned(),
            user: user.to_owned(),
            key: key.to_owned(),
        });
    });
    if let Some(file) = &shared.options.authorized_keys
        && let Err(error) = keys::authorize(file, key)
    {
        return refuse(
            "ServiceException",
            format!("{} cannot be written: {error}", file.display()),
        );
    }
    Ok(json!({
        "RequestId": uuid::Uuid::new_v4().to_string(),
        "Success": true,
    }))
}
