//! Systems Manager: sessions.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use hyper::StatusCode;
use serde_json::{Map, Value, json};

use super::super::access::Keys;
use super::super::document::Program;
use super::super::record::{Control, Record};
use super::super::state::{Grant, Shared};
use super::{Answer, Refusal, ecs, refuse, required, text};

/// The most sessions in one page of DescribeSessions.
const PAGE: usize = 200;

pub(super) fn start_session(
    shared: &Arc<Shared>,
    keys: &Keys,
    region: &str,
    input: &Map<String, Value>,
) -> Answer {
    let target = required(input, "Target")?;
    if !keys.open(shared, target) {
        return refuse(
            "AccessDeniedException",
            format!("User is not authorized to perform: ssm:StartSession on resource: {target}"),
        );
    }
    let online = match target.starts_with("ecs:") {
        true => ecs::is_online(shared, target),
        false => shared
            .state()
            .is_online(target, region, &shared.options.region),
    };
    if !online {
        return refuse("TargetNotConnected", format!("{target} is not connected."));
    }
    let empty = Map::new();
    let parameters = match input.get("Parameters") {
        Some(Value::Object(parameters)) => parameters,
        _ => &empty,
    };
    let document = text(input, "DocumentName");
    let program = match Program::of_document(document, parameters, &shared.options.documents) {
        Ok(program) if target.starts_with("ecs:") => program.in_container(),
        Ok(program) => program,
        Err((code, message)) => return refuse(code, message),
    };
    let document = document.unwrap_or("SSM-SessionManagerRunShell").to_owned();
    let reason = text(input, "Reason").map(ToOwned::to_owned);
    match shared.open_session("loopback", target, Some(document), reason, program) {
        Some(grant) => Ok(granted(grant)),
        None => refuse("ThrottlingException", "There are too many sessions."),
    }
}

fn granted(grant: Grant) -> Value {
    json!({
        "SessionId": grant.session_id,
        "TokenValue": grant.token,
        "StreamUrl": grant.stream_url,
    })
}

pub(super) fn resume_session(shared: &Shared, input: &Map<String, Value>) -> Answer {
    let id = required(input, "SessionId")?;
    let denied = shared.change(|state| {
        if state.deny_resume {
            state.stats.resumes_refused += 1;
            return refuse(
                "AccessDeniedException",
                format!("User is not authorized to perform: ssm:ResumeSession on resource: {id}"),
            );
        }
        if state.fail_resumes > 0 {
            state.fail_resumes -= 1;
            state.stats.resumes_refused += 1;
            return Err(Refusal {
                status: StatusCode::INTERNAL_SERVER_ERROR,
                code: "InternalServerError",
                message: "An error occurred on the server side.".to_owned(),
            });
        }
        if state.sessions.iter().any(|session| session.id == id) {
            Ok(())
        } else {
            state.stats.resumes_refused += 1;
            refuse(
                "DoesNotExistException",
                format!("Session {id} does not exist."),
            )
        }
    });
    denied?;
    let grant = shared.grant(id);
    shared.change(|state| match grant {
        Some(_) => state.stats.resumes += 1,
        None => state.stats.resumes_refused += 1,
    });
    // Without a token: the session is over.
    Ok(grant.map_or_else(|| json!({ "SessionId": id }), granted))
}

pub(super) fn terminate_session(shared: &Shared, input: &Map<String, Value>) -> Answer {
    let id = required(input, "SessionId")?;
    shared.change(|state| {
        let Some(session) = state.sessions.iter().find(|session| session.id == id) else {
            return refuse(
                "DoesNotExistException",
                format!("Session {id} does not exist."),
            );
        };
        if !session.status.is_over() && session.control.try_send(Control::Terminate).is_ok() {
            state.stats.terminated += 1;
        }
        Ok(json!({ "SessionId": id }))
    })
}

pub(super) fn connection_status(
    shared: &Shared,
    region: &str,
    input: &Map<String, Value>,
) -> Answer {
    let target = required(input, "Target")?;
    let status = if shared
        .state()
        .is_online(target, region, &shared.options.region)
    {
        "connected"
    } else {
        "notconnected"
    };
    Ok(json!({ "Target": target, "Status": status }))
}

pub(super) fn describe_sessions(shared: &Shared, input: &Map<String, Value>) -> Answer {
    let over = match required(input, "State")? {
        "Active" => false,
        "History" => true,
        _ => {
            return refuse(
                "ValidationException",
                "1 validation error detected: Value at 'state' failed to satisfy constraint: Member must satisfy enum value set: [Active, History]",
            );
        }
    };
    let mut filters = Vec::new();
    if let Some(Value::Array(list)) = input.get("Filters") {
        for filter in list {
            let part = |key| filter.get(key).and_then(Value::as_str).unwrap_or("");
            match part("key") {
                "InvokedAfter" | "InvokedBefore" | "Target" | "Owner" | "Status" | "SessionId"
                | "AccessType" => filters.push((part("key"), part("value"))),
                key => return refuse("InvalidFilterKey", format!("{key} is no filter.")),
            }
        }
    }
    let size = input.get("MaxResults").and_then(Value::as_u64);
    let size = usize::try_from(size.unwrap_or(PAGE as u64)).unwrap_or(PAGE);
    let from = match text(input, "NextToken").map(str::parse::<usize>) {
        None => 0,
        Some(Ok(from)) => from,
        Some(Err(_)) => return refuse("InvalidNextToken", "The token is not valid."),
    };
    let state = shared.state();
    // The newest first.
    let mut matching = state.sessions.iter().rev().filter(|session| {
        session.status.is_over() == over && filters.iter().all(|filter| matches(session, *filter))
    });
    let page: Vec<Value> = matching
        .by_ref()
        .skip(from)
        .take(size.clamp(1, PAGE))
        .map(described)
        .collect();
    let mut output = json!({ "Sessions": page });
    if matching.next().is_some() {
        let next = from + size.clamp(1, PAGE);
        if let Value::Object(map) = &mut output {
            map.insert("NextToken".to_owned(), json!(next.to_string()));
        }
    }
    Ok(output)
}

fn matches(session: &Record, (key, value): (&str, &str)) -> bool {
    match key {
        "Target" => session.target == value,
        "SessionId" => session.id == value,
        "Status" => session.status.as_str().eq_ignore_ascii_case(value),
        "Owner" => session.owner == value,
        "InvokedAfter" => rfc3339(session.started).as_str() >= value,
        "InvokedBefore" => rfc3339(session.started).as_str() < value,
        _ => true,
    }
}

fn described(session: &Record) -> Value {
    let seconds = |time: SystemTime| {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        (since.as_secs_f64() * 1e3).round() / 1e3
    };
    let (s3, cloud_watch) = &session.logs;
    let mut logs = json!({ "S3OutputUrl": s3, "CloudWatchOutputUrl": cloud_watch });
    if let Value::Object(map) = &mut logs {
        map.retain(|_, value| !value.is_null());
    }
    let mut output = json!({
        "SessionId": session.id,
        "Target": session.target,
        "Status": session.status.as_str(),
        "StartDate": seconds(session.started),
        "EndDate": session.ended.map(seconds),
        "DocumentName": session.document,
        "Owner": session.owner,
        "Reason": session.reason,
        "Details": session.details,
        "OutputUrl": logs,
        "MaxSessionDuration": "60",
        "AccessType": "Standard",
    });
    if let Value::Object(map) = &mut output {
        map.retain(|_, value| !value.is_null() && *value != json!(""));
    }
    output
}

/// `2026-11-24T20:30:00Z`, which compares as time does.
fn rfc3339(time: SystemTime) -> String {
    let time = aws_smithy_types::DateTime::from(time);
    let whole = aws_smithy_types::DateTime::from_secs(time.secs());
    whole
        .fmt(aws_smithy_types::date_time::Format::DateTime)
        .unwrap_or_default()
}
