//! Systems Manager: settings of the account.

use serde_json::{Map, Value, json};

use super::super::state::Shared;
use super::{ACCOUNT, Answer, refuse, required};

/// The document that holds the account's preferences for sessions.
const PREFERENCES: &str = "SSM-SessionManagerRunShell";
/// The setting that lets machines outside of EC2 have sessions.
const TIER: &str = "/ssm/managed-instance/activation-tier";

pub(super) fn get_document(shared: &Shared, input: &Map<String, Value>) -> Answer {
    let name = required(input, "Name")?;
    if name != PREFERENCES {
        return refuse(
            "InvalidDocument",
            format!("Document with name {name} does not exist."),
        );
    }
    let content = json!({
        "schemaVersion": "1.0",
        "description": "Document to hold regional settings for Session Manager",
        "sessionType": "Standard_Stream",
        "inputs": {
            "s3BucketName": "",
            "cloudWatchLogGroupName": "",
            "kmsKeyId": shared.options.preferred_key.as_deref().unwrap_or_default(),
            "runAsEnabled": false,
            "idleSessionTimeout": "20",
        },
    });
    Ok(json!({
        "Name": name,
        "DocumentVersion": "1",
        "Status": "Active",
        "Content": content.to_string(),
        "DocumentType": "Session",
        "DocumentFormat": "JSON",
    }))
}

pub(super) fn get_service_setting(
    shared: &Shared,
    region: &str,
    input: &Map<String, Value>,
) -> Answer {
    let id = required(input, "SettingId")?;
    if id != TIER {
        return refuse(
            "ServiceSettingNotFound",
            format!("There is no setting {id}."),
        );
    }
    let tier = match shared.options.advanced_tier {
        true => "advanced",
        false => "standard",
    };
    Ok(json!({
        "ServiceSetting": {
            "SettingId": id,
            "SettingValue": tier,
            "Status": "Customized",
            "ARN": format!("arn:aws:ssm:{region}:{ACCOUNT}:servicesetting{id}"),
        },
    }))
}
