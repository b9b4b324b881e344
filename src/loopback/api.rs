//! The service APIs, as far as ssmx, the AWS CLI and AWS's plugin call them: JSON 1.1 over HTTP.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::document::Program;
use super::sigv4::{self, Signed};
use super::state::{Control, Grant, Record, Shared, wall_clock};

/// Connections at once.
const CONNECTIONS: usize = 64;
/// The longest request body, in bytes.
const BODY: usize = 256 << 10;
/// How long a request's head may take, and an idle connection may stay.
const IDLE: Duration = Duration::from_secs(30);
/// How long accepting pauses after an error, such as too many open files.
const BACK_OFF: Duration = Duration::from_millis(50);
/// The most sessions in one page of DescribeSessions.
const PAGE: usize = 200;
/// The account of everything here.
const ACCOUNT: &str = "000000000000";

/// An error as the services word it.
struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
}

type Answer = Result<Value, Refusal>;

fn refuse<T>(code: &'static str, message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal {
        status: StatusCode::BAD_REQUEST,
        code,
        message: message.into(),
    })
}

/// Serves the API until the runtime ends.
pub(super) async fn serve(shared: Arc<Shared>, listener: TcpListener) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(BACK_OFF).await;
            continue;
        };
        let shared = shared.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| answer(&shared, request));
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(IDLE)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = connection {
                tracing::debug!(%error, "loopback lost an API connection");
            }
            drop(slot);
        });
    }
}

async fn answer(
    shared: &Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let limit = tokio::time::timeout(IDLE, Limited::new(body, BODY).collect());
    let (status, body) = match limit.await {
        Ok(Ok(body)) => handle(shared, &parts, &body.to_bytes()),
        _ => error_body(Refusal {
            status: StatusCode::PAYLOAD_TOO_LARGE,
            code: "RequestEntityTooLargeException",
            message: "The request is too long or too slow.".to_owned(),
        }),
    };
    shared.change(|state| {
        state.stats.api_calls += 1;
        state.stats.api_errors += u64::from(!status.is_success());
    });
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(
        hyper::header::CONTENT_TYPE,
        hyper::header::HeaderValue::from_static("application/x-amz-json-1.1"),
    );
    response.headers_mut().insert(
        "x-amzn-requestid",
        uuid::Uuid::new_v4()
            .to_string()
            .parse()
            .unwrap_or(hyper::header::HeaderValue::from_static("-")),
    );
    Ok(response)
}

fn error_body(refusal: Refusal) -> (StatusCode, String) {
    let body = json!({ "__type": refusal.code, "message": refusal.message });
    (refusal.status, body.to_string())
}

fn handle(
    shared: &Arc<Shared>,
    head: &hyper::http::request::Parts,
    body: &[u8],
) -> (StatusCode, String) {
    let target = head.headers.get("x-amz-target");
    let target = target.and_then(|value| value.to_str().ok()).unwrap_or("");
    let (service, operation) = target.split_once('.').unwrap_or(("", ""));
    let signing_name = match service {
        "AmazonSSM" => "ssm",
        "TrentService" => "kms",
        "AmazonEC2ContainerServiceV20141113" => "ecs",
        _ => "",
    };
    if head.method != Method::POST || signing_name.is_empty() {
        return error_body(Refusal {
            status: StatusCode::BAD_REQUEST,
            code: "UnknownOperationException",
            message: String::new(),
        });
    }
    let signed = Signed {
        method: head.method.as_str(),
        path: head.uri.path(),
        query: head.uri.query().unwrap_or(""),
        headers: &head.headers,
        body,
    };
    if let Err(error) = sigv4::verify(&shared.signer(), signing_name, &signed, wall_clock()) {
        return error_body(Refusal {
            status: StatusCode::BAD_REQUEST,
            code: error.code(),
            message: error.to_string(),
        });
    }
    if let Some((status, body)) = prepared(shared, operation) {
        return (status, body);
    }
    let input = match serde_json::from_slice::<Value>(body) {
        Ok(Value::Object(input)) => input,
        _ => {
            return error_body(Refusal {
                status: StatusCode::BAD_REQUEST,
                code: "SerializationException",
                message: "The request is not a JSON object.".to_owned(),
            });
        }
    };
    let answer = match (signing_name, operation) {
        ("ssm", "StartSession") => start_session(shared, &input),
        ("ssm", "ResumeSession") => resume_session(shared, &input),
        ("ssm", "TerminateSession") => terminate_session(shared, &input),
        ("ssm", "DescribeSessions") => describe_sessions(shared, &input),
        ("ssm", "GetConnectionStatus") => connection_status(shared, &input),
        ("kms", "GenerateDataKey") => generate_data_key(shared, &input),
        ("ecs", "ExecuteCommand") => execute_command(shared, &input),
        ("ecs", "DescribeTasks") => describe_tasks(shared, &input),
        _ => refuse(
            "UnknownOperationException",
            format!("loopback does not answer {operation}."),
        ),
    };
    match answer {
        Ok(output) => (StatusCode::OK, output.to_string()),
        Err(refusal) => error_body(refusal),
    }
}

/// What a test wants answered instead.
fn prepared(shared: &Shared, operation: &str) -> Option<(StatusCode, String)> {
    shared.change(|state| {
        if state.expired {
            return Some(error_body(Refusal {
                status: StatusCode::BAD_REQUEST,
                code: "ExpiredTokenException",
                message: "The security token included in the request is expired".to_owned(),
            }));
        }
        let at = state
            .script
            .iter()
            .position(|next| next.operation.is_empty() || next.operation == operation)?;
        let next = state.script.remove(at)?;
        Some((StatusCode::from_u16(next.status).ok()?, next.body))
    })
}

fn text<'a>(input: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    input.get(key)?.as_str()
}

fn required<'a>(input: &'a Map<String, Value>, key: &str) -> Result<&'a str, Refusal> {
    text(input, key).filter(|text| !text.is_empty()).map_or_else(
        || {
            let member = key.get(..1).unwrap_or("").to_lowercase() + key.get(1..).unwrap_or("");
            refuse(
                "ValidationException",
                format!(
                    "1 validation error detected: Value null at '{member}' failed to satisfy constraint: Member must not be null"
                ),
            )
        },
        Ok,
    )
}

fn start_session(shared: &Arc<Shared>, input: &Map<String, Value>) -> Answer {
    let target = required(input, "Target")?;
    let nodes = &shared.options.nodes;
    let container = target.starts_with("ecs:");
    if !container && !nodes.iter().any(|node| node.online && node.id == target) {
        return refuse("TargetNotConnected", format!("{target} is not connected."));
    }
    let empty = Map::new();
    let parameters = match input.get("Parameters") {
        Some(Value::Object(parameters)) => parameters,
        _ => &empty,
    };
    let document = text(input, "DocumentName");
    let program = match Program::of_document(document, parameters) {
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

fn resume_session(shared: &Shared, input: &Map<String, Value>) -> Answer {
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

fn terminate_session(shared: &Shared, input: &Map<String, Value>) -> Answer {
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

fn connection_status(shared: &Shared, input: &Map<String, Value>) -> Answer {
    let target = required(input, "Target")?;
    let nodes = &shared.options.nodes;
    let online = nodes.iter().any(|node| node.online && node.id == target);
    let status = if online { "connected" } else { "notconnected" };
    Ok(json!({ "Target": target, "Status": status }))
}

fn describe_sessions(shared: &Shared, input: &Map<String, Value>) -> Answer {
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
    let owner = owner();
    let state = shared.state();
    // The newest first.
    let mut matching = state.sessions.iter().rev().filter(|session| {
        session.status.is_over() == over
            && filters
                .iter()
                .all(|filter| matches(session, &owner, *filter))
    });
    let page: Vec<Value> = matching
        .by_ref()
        .skip(from)
        .take(size.clamp(1, PAGE))
        .map(|session| described(session, &owner))
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

fn matches(session: &Record, owner: &str, (key, value): (&str, &str)) -> bool {
    match key {
        "Target" => session.target == value,
        "SessionId" => session.id == value,
        "Status" => session.status.as_str().eq_ignore_ascii_case(value),
        "Owner" => owner == value,
        "InvokedAfter" => rfc3339(session.started).as_str() >= value,
        "InvokedBefore" => rfc3339(session.started).as_str() < value,
        _ => true,
    }
}

fn described(session: &Record, owner: &str) -> Value {
    let seconds = |time: SystemTime| {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        (since.as_secs_f64() * 1e3).round() / 1e3
    };
    let mut output = json!({
        "SessionId": session.id,
        "Target": session.target,
        "Status": session.status.as_str(),
        "StartDate": seconds(session.started),
        "EndDate": session.ended.map(seconds),
        "DocumentName": session.document,
        "Owner": owner,
        "Reason": session.reason,
        "Details": session.details,
        "OutputUrl": {},
        "MaxSessionDuration": "60",
        "AccessType": "Standard",
    });
    if let Value::Object(map) = &mut output {
        map.retain(|_, value| !value.is_null() && *value != json!(""));
    }
    output
}

fn owner() -> String {
    format!("arn:aws:iam::{ACCOUNT}:user/loopback")
}

/// `2026-11-24T20:30:00Z`, which compares as time does.
fn rfc3339(time: SystemTime) -> String {
    let time = aws_smithy_types::DateTime::from(time);
    let whole = aws_smithy_types::DateTime::from_secs(time.secs());
    whole
        .fmt(aws_smithy_types::date_time::Format::DateTime)
        .unwrap_or_default()
}

fn generate_data_key(shared: &Shared, input: &Map<String, Value>) -> Answer {
    let key_id = required(input, "KeyId")?;
    let length = input.get("NumberOfBytes").and_then(Value::as_u64);
    if length != Some(64) {
        return refuse("ValidationException", "loopback makes keys of 64 bytes.");
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

/// Cluster ARN, task ARN and task id out of what the caller named.
fn task_names(shared: &Shared, cluster: Option<&str>, task: &str) -> (String, String, String) {
    let arn = |rest: String| format!("arn:aws:ecs:{}:{ACCOUNT}:{rest}", shared.options.region);
    let last = |name: &str| name.rsplit('/').next().unwrap_or(name).to_owned();
    let cluster = last(cluster.unwrap_or("default"));
    let id = last(task);
    (
        arn(format!("cluster/{cluster}")),
        arn(format!("task/{cluster}/{id}")),
        id,
    )
}

/// The id of a container's runtime: of the task, and a number of its own.
fn runtime_id(task_id: &str, container: &str) -> String {
    let number = container.bytes().fold(1_u32, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(u32::from(byte))
    });
    format!("{task_id}-{number:010}")
}

fn execute_command(shared: &Arc<Shared>, input: &Map<String, Value>) -> Answer {
    let invalid = |message: &str| refuse("InvalidParameterException", message.to_owned());
    let Some(task) = text(input, "task") else {
        return invalid("Task cannot be null or empty.");
    };
    let Some(command) = text(input, "command").filter(|text| !text.trim().is_empty()) else {
        return invalid("Command cannot be empty.");
    };
    if input.get("interactive").and_then(Value::as_bool) != Some(true) {
        return invalid("Interactive is the only mode supported currently.");
    }
    let container = text(input, "container").unwrap_or("main");
    let Ok(argv) = shell_words::split(command) else {
        return invalid("Command has an open quote.");
    };
    let (cluster_arn, task_arn, id) = task_names(shared, text(input, "cluster"), task);
    let cluster = cluster_arn.rsplit('/').next().unwrap_or_default();
    let runtime_id = runtime_id(&id, container);
    let target = format!("ecs:{cluster}_{id}_{runtime_id}");
    shared.change(|state| {
        let known = state.containers.entry(task_arn.clone()).or_default();
        if !known.iter().any(|name| name == container) {
            known.push(container.to_owned());
        }
    });
    let program = Program::Container(argv);
    let grant = shared.open_session("ecs-execute-command", &target, None, None, program);
    let Some(grant) = grant else {
        return refuse("ThrottlingException", "There are too many sessions.");
    };
    Ok(json!({
        "clusterArn": cluster_arn,
        "taskArn": task_arn,
        "containerArn": format!("{}/{container}", task_arn.replace(":task/", ":container/")),
        "containerName": container,
        "interactive": true,
        "session": {
            "sessionId": grant.session_id,
            "streamUrl": grant.stream_url,
            "tokenValue": grant.token,
        },
    }))
}

fn describe_tasks(shared: &Shared, input: &Map<String, Value>) -> Answer {
    let Some(Value::Array(tasks)) = input.get("tasks") else {
        return refuse("InvalidParameterException", "Tasks cannot be empty.");
    };
    let state = shared.state();
    let tasks: Vec<Value> = tasks
        .iter()
        .filter_map(Value::as_str)
        .map(|task| {
            let (cluster_arn, task_arn, id) = task_names(shared, text(input, "cluster"), task);
            let names = state.containers.get(&task_arn).cloned().unwrap_or_default();
            let main = "main".to_owned();
            let others = names.into_iter().filter(|name| *name != main);
            let containers: Vec<Value> = std::iter::once(main.clone())
                .chain(others)
                .map(|name| {
                    json!({
                        "containerArn": format!("{}/{name}", task_arn.replace(":task/", ":container/")),
                        "taskArn": task_arn,
                        "name": name,
                        "lastStatus": "RUNNING",
                        "runtimeId": runtime_id(&id, &name),
                        "managedAgents": [{ "name": "ExecuteCommandAgent", "lastStatus": "RUNNING" }],
                    })
                })
                .collect();
            json!({
                "taskArn": task_arn,
                "clusterArn": cluster_arn,
                "lastStatus": "RUNNING",
                "enableExecuteCommand": true,
                "containers": containers,
            })
        })
        .collect();
    Ok(json!({ "tasks": tasks, "failures": [] }))
}
