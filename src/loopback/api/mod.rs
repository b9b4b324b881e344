//! The service APIs, as far as ssmx, the AWS CLI and AWS's plugin call them: JSON 1.1 over HTTP,
//! and forms that are answered in XML.

mod access;
mod ecs;
mod instance_connect;
mod kms;
mod nodes;
mod query;
mod run_command;
mod settings;
mod ssm;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;

use super::access::Keys;
use super::door::Door;
use super::sigv4::{self, Signed};
use super::state::{Shared, State, wall_clock};
use query::Form;

/// Connections at once.
const CONNECTIONS: usize = 64;
/// The longest request body, in bytes.
const BODY: usize = 256 << 10;
/// How long a request's head may take, and an idle connection may stay.
const IDLE: Duration = Duration::from_secs(30);
/// The account of everything here.
pub(super) const ACCOUNT: &str = "000000000000";

/// Who calls, until a test says otherwise.
pub(super) fn usual_caller() -> String {
    format!("arn:aws:iam::{ACCOUNT}:user/loopback")
}

/// Somebody else.
pub(super) fn other_caller() -> String {
    format!("arn:aws:sts::{ACCOUNT}:assumed-role/Operations/alice")
}

pub(super) use self::run_command::Sent;

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
    let door = Door::new(listener, CONNECTIONS);
    while let Some((stream, slot)) = door.next().await {
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
        Ok(Ok(body)) => {
            let body = body.to_bytes();
            match Form::of(&parts, &body) {
                Some(form) => query::handle(shared, &parts, &body, &form),
                None => handle(shared, &parts, &body),
            }
        }
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
    wait_while_held(shared, &parts).await;
    let is_xml = body.starts_with('<');
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let content_type = match is_xml {
        true => "text/xml",
        false => "application/x-amz-json-1.1",
    };
    response.headers_mut().insert(
        hyper::header::CONTENT_TYPE,
        hyper::header::HeaderValue::from_static(content_type),
    );
    if let Some(date) = date(shared) {
        response.headers_mut().insert(hyper::header::DATE, date);
    }
    response.headers_mut().insert(
        "x-amzn-requestid",
        uuid::Uuid::new_v4()
            .to_string()
            .parse()
            .unwrap_or(hyper::header::HeaderValue::from_static("-")),
    );
    Ok(response)
}

/// The time, as far as this service is concerned.
pub(super) fn now(shared: &Shared) -> SystemTime {
    let ahead = shared.options.clock_ahead;
    let off = Duration::from_secs(ahead.unsigned_abs());
    let now = wall_clock();
    match ahead < 0 {
        true => now.checked_sub(off),
        false => now.checked_add(off),
    }
    .unwrap_or(now)
}

/// The header for it, where it is not the time of this machine.
fn date(shared: &Shared) -> Option<hyper::header::HeaderValue> {
    if shared.options.clock_ahead == 0 {
        return None;
    }
    let date = aws_smithy_types::DateTime::from(now(shared));
    let date = aws_smithy_types::DateTime::from_secs(date.secs());
    let text = date.fmt(aws_smithy_types::date_time::Format::HttpDate);
    text.ok()?.parse().ok()
}

/// Waits while a test holds the answers of this operation back.
async fn wait_while_held(shared: &Shared, head: &hyper::http::request::Parts) {
    let target = head.headers.get("x-amz-target");
    let operation = target
        .and_then(|value| value.to_str().ok()?.split_once('.'))
        .map_or("", |(_, operation)| operation);
    let held = |state: &State| state.held.as_deref() == Some(operation);
    shared.wait_while(held).await;
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
        "AWSEC2InstanceConnectService" => "ec2-instance-connect",
        _ => "",
    };
    if head.method != Method::POST || signing_name.is_empty() {
        return error_body(Refusal {
            status: StatusCode::BAD_REQUEST,
            code: "UnknownOperationException",
            message: String::new(),
        });
    }
    let signed = signed(head, body);
    let region = region(shared, head);
    let keys = Keys::of(shared, &head.headers);
    let signer = keys.signer(region);
    if let Err(error) = sigv4::verify(&signer, signing_name, &signed, now(shared)) {
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
        ("ssm", "StartSession") => ssm::start_session(shared, &keys, region, &input),
        ("ssm", "StartAccessRequest") => access::start_access_request(shared, &input),
        ("ssm", "GetAccessToken") => access::get_access_token(shared, &input),
        ("ssm", "ResumeSession") => ssm::resume_session(shared, &input),
        ("ssm", "TerminateSession") => ssm::terminate_session(shared, &input),
        ("ssm", "DescribeSessions") => ssm::describe_sessions(shared, &input),
        ("ssm", "GetConnectionStatus") => ssm::connection_status(shared, region, &input),
        ("ssm", "DescribeInstanceProperties") => nodes::describe_properties(shared, region, &input),
        ("ssm", "DescribeInstanceInformation") => {
            nodes::describe_information(shared, region, &input)
        }
        ("ssm", "SendCommand") => run_command::send_command(shared, region, &input),
        ("ssm", "ListCommands") => run_command::list_commands(shared, &input),
        ("ssm", "ListCommandInvocations") => run_command::list_command_invocations(shared, &input),
        ("ssm", "GetCommandInvocation") => run_command::get_command_invocation(shared, &input),
        ("ssm", "CancelCommand") => run_command::cancel_command(shared, &input),
        ("ssm", "GetDocument") => settings::get_document(shared, &input),
        ("ssm", "GetServiceSetting") => settings::get_service_setting(shared, region, &input),
        ("kms", "GenerateDataKey") => kms::generate_data_key(shared, &input),
        ("ec2-instance-connect", "SendSSHPublicKey") => {
            instance_connect::send_ssh_public_key(shared, &input)
        }
        ("ecs", "ListClusters") => ecs::list_clusters(shared, &input),
        ("ecs", "ListServices") => ecs::list_services(shared, &input),
        ("ecs", "ListTasks") => ecs::list_tasks(shared, &input),
        ("ecs", "DescribeTasks") => ecs::describe_tasks(shared, &input),
        ("ecs", "ExecuteCommand") => ecs::execute_command(shared, &input),
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

fn signed<'a>(head: &'a hyper::http::request::Parts, body: &'a [u8]) -> Signed<'a> {
    Signed {
        method: head.method.as_str(),
        path: head.uri.path(),
        query: head.uri.query().unwrap_or(""),
        headers: &head.headers,
        body,
    }
}

/// The region that is asked, if it is one of the peer's.
fn region<'a>(shared: &'a Shared, head: &hyper::http::request::Parts) -> &'a str {
    let options = &shared.options;
    let asked = sigv4::region(&head.headers);
    let other = options.other_regions.iter();
    let mut other = other.filter(|region| asked == Some(region.as_str()));
    other.next().unwrap_or(&options.region)
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
        if state.denied.contains(operation) {
            return Some(error_body(Refusal {
                status: StatusCode::BAD_REQUEST,
                code: "AccessDeniedException",
                message: format!(
                    "User: arn:aws:iam::{ACCOUNT}:user/loopback is not authorized to perform: ssm:{operation} because no identity-based policy allows the action"
                ),
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
