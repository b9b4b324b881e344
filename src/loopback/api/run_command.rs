//! Systems Manager: Run Command. Scripts run on this machine, once for each node.

mod worker;

use std::sync::Arc;
use std::sync::mpsc as blocking;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::super::state::{Shared, State, wall_clock};
use super::{Answer, Refusal, refuse, required, text};

use worker::{Happening, Worker};

/// Commands that are remembered.
const HISTORY: usize = 100;
/// The most invocations in one page.
const PAGE: usize = 50;
/// How long a script may take if nobody says.
const EXECUTION_TIMEOUT: u64 = 3600;

/// A command that was sent.
pub(in super::super) struct Sent {
    id: String,
    document: String,
    comment: String,
    at: SystemTime,
    concurrency: String,
    errors: String,
    invocations: Vec<Invocation>,
}

/// What becomes of it on one node.
struct Invocation {
    node: String,
    name: String,
    status: &'static str,
    details: &'static str,
    code: i32,
    stdout: String,
    stderr: String,
    /// Ends the script.
    end: Option<blocking::Sender<Happening>>,
}

impl Drop for Invocation {
    fn drop(&mut self) {
        self.cancel();
    }
}

impl Invocation {
    fn settle(&mut self, status: &'static str, details: &'static str) {
        (self.status, self.details) = (status, details);
    }

    fn is_over(&self) -> bool {
        !matches!(self.status, "Pending" | "InProgress")
    }

    fn cancel(&mut self) {
        if let Some(end) = self.end.take() {
            // Nobody hears it whose script is over.
            let _ = end.send(Happening::Cancelled);
        } else if !self.is_over() {
            self.settle("Cancelled", "Cancelled");
        }
    }
}

pub(super) fn send_command(
    shared: &Arc<Shared>,
    region: &str,
    input: &Map<String, Value>,
) -> Answer {
    let document = required(input, "DocumentName")?.to_owned();
    let program = match document.as_str() {
        "AWS-RunShellScript" => ["sh", "-c"],
        "AWS-RunPowerShellScript" => ["powershell", "-Command"],
        _ => return refuse("InvalidDocument", format!("{document} does not exist.")),
    };
    let parameters = input.get("Parameters").and_then(Value::as_object);
    let values = |name: &str| -> Vec<&str> {
        let values = parameters.and_then(|parameters| parameters.get(name)?.as_array());
        let values = values.into_iter().flatten();
        values.filter_map(Value::as_str).collect()
    };
    let script = values("commands").join("\n");
    if script.trim().is_empty() {
        return refuse("InvalidParameters", "Parameter \"commands\" is required.");
    }
    let limit = match values("executionTimeout").first() {
        None => EXECUTION_TIMEOUT,
        Some(text) => match text.parse() {
            Ok(seconds) if (1..=172_800).contains(&seconds) => seconds,
            _ => {
                return refuse(
                    "InvalidParameters",
                    "executionTimeout is no number of seconds.",
                );
            }
        },
    };
    let invocations = nodes(shared, region, input)?;
    let number = |name: &str, usual: &str| text(input, name).unwrap_or(usual).to_owned();
    let (concurrency, errors) = (number("MaxConcurrency", "50"), number("MaxErrors", "0"));
    let count = invocations.len();
    let (Some(workers), Some(most_errors)) = (share(&concurrency, count), share(&errors, count))
    else {
        return refuse(
            "ValidationException",
            "MaxConcurrency or MaxErrors is no number.",
        );
    };
    let sent = Sent {
        id: uuid::Uuid::new_v4().to_string(),
        document,
        comment: text(input, "Comment").unwrap_or("").to_owned(),
        at: wall_clock(),
        concurrency,
        errors,
        invocations,
    };
    let (id, answer) = (sent.id.clone(), described(&sent));
    let remains = shared.change(|state| {
        if state.commands.len() >= HISTORY {
            state.commands.remove(0);
        }
        state.commands.push(sent);
        state.remains.clone()
    });
    for _ in 0..workers.clamp(1, count.max(1)) {
        let worker = Worker {
            shared: Arc::downgrade(shared),
            id: id.clone(),
            program,
            script: script.clone(),
            limit: Duration::from_secs(limit),
            most_errors,
            _remains: remains.clone(),
        };
        let started = thread::Builder::new()
            .name("loopback-run".into())
            .spawn(move || worker.run());
        if started.is_err() {
            return refuse("InternalServerError", "There are no threads left.");
        }
    }
    Ok(json!({ "Command": answer }))
}

/// A number, or a percentage of `all`.
fn share(text: &str, all: usize) -> Option<usize> {
    match text.strip_suffix('%') {
        None => text.parse().ok(),
        Some(percent) => Some((percent.parse::<usize>().ok()?.min(100) * all).div_ceil(100)),
    }
}

/// The nodes that are meant.
fn nodes(
    shared: &Shared,
    region: &str,
    input: &Map<String, Value>,
) -> Result<Vec<Invocation>, Refusal> {
    let list = |value: Option<&Value>| -> Vec<String> {
        let values = value.and_then(Value::as_array).into_iter().flatten();
        let texts = values.filter_map(Value::as_str);
        texts.map(str::to_owned).collect()
    };
    let mut ids = list(input.get("InstanceIds"));
    let mut tags = Vec::new();
    let targets = input.get("Targets").and_then(Value::as_array);
    for target in targets.into_iter().flatten() {
        let key = target.get("Key").and_then(Value::as_str).unwrap_or("");
        let values = list(target.get("Values"));
        match key.strip_prefix("tag:") {
            _ if key.eq_ignore_ascii_case("InstanceIds") => ids.extend(values),
            Some(tag) => tags.push((tag.to_owned(), values)),
            None => return refuse("InvalidTarget", format!("{key} is no key of a target.")),
        }
    }
    if ids.is_empty() && tags.is_empty() {
        return refuse("InvalidTarget", "There are no targets.");
    }
    let state = shared.state();
    let here = state.nodes.iter().filter(|node| {
        let own = node.region.as_deref().unwrap_or(&shared.options.region);
        own == region
    });
    let here: Vec<_> = here.collect();
    for id in &ids {
        if !here.iter().any(|node| node.id == *id) {
            return refuse(
                "InvalidInstanceId",
                format!("Instances [[{id}]] not in a valid state for account"),
            );
        }
    }
    let meant = here.into_iter().filter(|node| {
        (ids.is_empty() || ids.contains(&node.id))
            && tags.iter().all(|(key, values)| {
                node.tag(key)
                    .is_some_and(|value| values.iter().any(|wanted| wanted == value))
            })
    });
    Ok(meant
        .map(|node| Invocation {
            node: node.id.clone(),
            name: node.dns_name.clone().unwrap_or_default(),
            status: if node.online { "Pending" } else { "TimedOut" },
            details: if node.online {
                "Pending"
            } else {
                "DeliveryTimedOut"
            },
            code: -1,
            stdout: String::new(),
            stderr: String::new(),
            end: None,
        })
        .collect())
}

pub(super) fn cancel_command(shared: &Shared, input: &Map<String, Value>) -> Answer {
    let id = required(input, "CommandId")?;
    shared.change(|state| {
        let Some(sent) = state.commands.iter_mut().find(|sent| sent.id == id) else {
            return refuse("InvalidCommandId", "");
        };
        sent.invocations.iter_mut().for_each(Invocation::cancel);
        Ok(json!({}))
    })
}

fn found<'a>(state: &'a State, input: &Map<String, Value>) -> Result<&'a Sent, Refusal> {
    let id = required(input, "CommandId")?;
    match state.commands.iter().find(|sent| sent.id == id) {
        Some(sent) => Ok(sent),
        None => refuse("InvalidCommandId", ""),
    }
}

pub(super) fn list_commands(shared: &Shared, input: &Map<String, Value>) -> Answer {
    let state = shared.state();
    let commands: Vec<Value> = match text(input, "CommandId") {
        Some(_) => vec![described(found(&state, input)?)],
        None => state
            .commands
            .iter()
            .rev()
            .take(PAGE)
            .map(described)
            .collect(),
    };
    Ok(json!({ "Commands": commands }))
}

fn described(sent: &Sent) -> Value {
    let count = |is: &dyn Fn(&&Invocation) -> bool| sent.invocations.iter().filter(is).count();
    let all = sent.invocations.len();
    let over = count(&|one| one.is_over());
    let failed = count(&|one| one.is_over() && one.status != "Success");
    let cancelled = count(&|one| one.status == "Cancelled");
    let (status, details) = match () {
        () if all == 0 => ("Success", "NoInstancesInTag"),
        () if over < all && over + count(&|one| one.status == "InProgress") == 0 => {
            ("Pending", "Pending")
        }
        () if over < all => ("InProgress", "InProgress"),
        () if failed == 0 => ("Success", "Success"),
        () if cancelled == all => ("Cancelled", "Cancelled"),
        () => ("Failed", "Failed"),
    };
    json!({
        "CommandId": sent.id,
        "DocumentName": sent.document,
        "Comment": sent.comment,
        "RequestedDateTime": seconds(sent.at),
        "Status": status,
        "StatusDetails": details,
        "MaxConcurrency": sent.concurrency,
        "MaxErrors": sent.errors,
        "TargetCount": all,
        "CompletedCount": over,
        "ErrorCount": failed,
        "DeliveryTimedOutCount": count(&|one| one.details == "DeliveryTimedOut"),
    })
}

fn seconds(time: SystemTime) -> f64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    (since.as_secs_f64() * 1e3).round() / 1e3
}

pub(super) fn list_command_invocations(shared: &Shared, input: &Map<String, Value>) -> Answer {
    let state = shared.state();
    let sent = found(&state, input)?;
    let size = input.get("MaxResults").and_then(Value::as_u64);
    let size = size.and_then(|size| usize::try_from(size).ok());
    let size = size.unwrap_or(PAGE).clamp(1, PAGE);
    let from = match text(input, "NextToken").map(str::parse::<usize>) {
        None => 0,
        Some(Ok(from)) => from,
        Some(Err(_)) => return refuse("InvalidNextToken", "The token is not valid."),
    };
    let page: Vec<Value> = sent
        .invocations
        .iter()
        .skip(from)
        .take(size)
        .map(|one| {
            json!({
                "CommandId": sent.id,
                "InstanceId": one.node,
                "InstanceName": one.name,
                "Comment": sent.comment,
                "DocumentName": sent.document,
                "RequestedDateTime": seconds(sent.at),
                "Status": one.status,
                "StatusDetails": one.details,
                "CommandPlugins": [],
            })
        })
        .collect();
    let mut output = json!({ "CommandInvocations": page });
    if let (true, Value::Object(map)) = (sent.invocations.len() > from + size, &mut output) {
        map.insert("NextToken".to_owned(), json!((from + size).to_string()));
    }
    Ok(output)
}

pub(super) fn get_command_invocation(shared: &Shared, input: &Map<String, Value>) -> Answer {
    let node = required(input, "InstanceId")?;
    let state = shared.state();
    let sent = found(&state, input)?;
    let Some(one) = sent.invocations.iter().find(|one| one.node == node) else {
        return refuse("InvocationDoesNotExist", "");
    };
    Ok(json!({
        "CommandId": sent.id,
        "InstanceId": one.node,
        "Comment": sent.comment,
        "DocumentName": sent.document,
        "ResponseCode": one.code,
        "Status": one.status,
        "StatusDetails": one.details,
        "StandardOutputContent": one.stdout,
        "StandardErrorContent": one.stderr,
    }))
}
