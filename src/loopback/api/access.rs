//! Systems Manager: just-in-time access to nodes.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use serde_json::{Map, Value, json};

use super::super::access::{Keys, Request};
use super::super::state::{Shared, random_hex, wall_clock};
use super::{Answer, refuse, required, text};

/// How long credentials are good, in seconds.
const LIFE: f64 = 3600.0;

pub(super) fn start_access_request(shared: &Arc<Shared>, input: &Map<String, Value>) -> Answer {
    let reason = required(input, "Reason")?;
    if reason.chars().count() > 256 {
        return refuse("ValidationException", "The reason is too long.");
    }
    let targets = input.get("Targets").and_then(Value::as_array);
    let target = match targets.map(Vec::as_slice) {
        Some([target]) if text_of(target, "Key") == Some("InstanceIds") => {
            let values = target.get("Values").and_then(Value::as_array);
            values.and_then(|values| values.first()?.as_str())
        }
        _ => None,
    };
    let Some(target) = target else {
        return refuse("ValidationException", "Targets must name one node.");
    };
    let request = Request {
        id: format!("oi-{}", random_hex::<6>()),
        status: "Pending".to_owned(),
        made: wall_clock(),
        keys: Keys {
            access_key_id: format!("ASIALOOP{:.12}", random_hex::<8>().to_uppercase()),
            secret_access_key: random_hex::<20>(),
            token: Some(random_hex::<40>()),
            target: Some(target.to_owned()),
        },
    };
    let id = request.id.clone();
    shared.change(|state| {
        state.access.push(request);
        state.stats.access_requests += 1;
    });
    Ok(json!({ "AccessRequestId": id }))
}

pub(super) fn get_access_token(shared: &Arc<Shared>, input: &Map<String, Value>) -> Answer {
    let id = required(input, "AccessRequestId")?;
    let after = shared.options.approve_after;
    shared.change(|state| {
        let mut requests = state.access.iter_mut();
        let Some(request) = requests.find(|request| request.id == id) else {
            return refuse("ResourceNotFoundException", format!("{id} does not exist."));
        };
        let age = wall_clock()
            .duration_since(request.made)
            .unwrap_or_default();
        if request.status == "Pending" && after.is_some_and(|after| age >= after) {
            request.status = "Approved".to_owned();
        }
        let mut output = json!({ "AccessRequestStatus": request.status });
        if let (true, Value::Object(output)) = (request.status == "Approved", &mut output) {
            let now = wall_clock().duration_since(UNIX_EPOCH).unwrap_or_default();
            let keys = &request.keys;
            output.insert(
                "Credentials".to_owned(),
                json!({
                    "AccessKeyId": keys.access_key_id,
                    "SecretAccessKey": keys.secret_access_key,
                    "SessionToken": keys.token,
                    "ExpirationTime": now.as_secs_f64() + LIFE,
                }),
            );
        }
        Ok(output)
    })
}

fn text_of<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    text(value.as_object()?, key)
}
