//! ECS: what runs, and commands in containers, which here are programs on this machine.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::super::document::Program;
use super::super::state::Shared;
use super::super::task::Task;
use super::{ACCOUNT, Answer, Refusal, refuse, text};

/// The most names in a page.
const LARGEST: usize = 100;
/// The names in a page if nobody says how many.
const USUAL: usize = 10;

pub(super) fn list_clusters(shared: &Shared, input: &Map<String, Value>) -> Answer {
    let mut arns: Vec<String> = Vec::new();
    for task in &shared.options.tasks {
        let arn = arn(shared, &format!("cluster/{}", task.cluster));
        if !arns.contains(&arn) {
            arns.push(arn);
        }
    }
    page(input, "clusterArns", arns)
}

pub(super) fn list_services(shared: &Shared, input: &Map<String, Value>) -> Answer {
    let cluster = cluster(shared, input)?;
    let mut arns = Vec::new();
    for task in &shared.options.tasks {
        let Some(service) = task.service.as_ref().filter(|_| task.cluster == cluster) else {
            continue;
        };
        let arn = arn(shared, &format!("service/{cluster}/{service}"));
        if !arns.contains(&arn) {
            arns.push(arn);
        }
    }
    page(input, "serviceArns", arns)
}

pub(super) fn list_tasks(shared: &Shared, input: &Map<String, Value>) -> Answer {
    let cluster = cluster(shared, input)?;
    let service = text(input, "serviceName").map(last);
    let tasks = shared.options.tasks.iter();
    let of_cluster: Vec<&Task> = tasks.filter(|task| task.cluster == cluster).collect();
    let is_of = |task: &Task| service.is_none() || task.service.as_deref() == service;
    if service.is_some() && !of_cluster.iter().any(|task| is_of(task)) {
        return refuse("ServiceNotFoundException", "Service not found.");
    }
    let of_service = of_cluster.iter().filter(|task| is_of(task));
    page(
        input,
        "taskArns",
        of_service.map(|task| task_arn(shared, task)).collect(),
    )
}

pub(super) fn describe_tasks(shared: &Shared, input: &Map<String, Value>) -> Answer {
    let cluster = cluster(shared, input)?;
    let asked = input.get("tasks").and_then(Value::as_array);
    let Some(asked) = asked.filter(|asked| (1..=100).contains(&asked.len())) else {
        return refuse("InvalidParameterException", "Tasks cannot be empty.");
    };
    let (mut tasks, mut failures) = (Vec::new(), Vec::new());
    for name in asked.iter().filter_map(Value::as_str) {
        match find(shared, cluster, name) {
            Some(task) => tasks.push(described(shared, task)),
            None => failures.push(json!({
                "arn": arn(shared, &format!("task/{cluster}/{}", last(name))),
                "reason": "MISSING",
            })),
        }
    }
    Ok(json!({ "tasks": tasks, "failures": failures }))
}

pub(super) fn execute_command(shared: &Arc<Shared>, input: &Map<String, Value>) -> Answer {
    let invalid = |message: &str| refuse("InvalidParameterException", message);
    let cluster = cluster(shared, input)?;
    let Some(name) = text(input, "task") else {
        return invalid("Task cannot be null or empty.");
    };
    let Some(command) = text(input, "command").filter(|text| !text.trim().is_empty()) else {
        return invalid("Command cannot be empty.");
    };
    if input.get("interactive").and_then(Value::as_bool) != Some(true) {
        return invalid("Interactive is the only mode supported currently.");
    }
    let Some(task) = find(shared, cluster, name) else {
        return invalid("The referenced task was not found.");
    };
    let container = match (text(input, "container"), task.containers.as_slice()) {
        (Some(name), containers) => containers.iter().find(|container| container.name == name),
        (None, [only]) => Some(only),
        (None, _) => {
            return invalid(
                "Container cannot be empty. There are multiple containers in the task.",
            );
        }
    };
    let Some(container) = container else {
        return invalid("The referenced container was not found in the task.");
    };
    if !task.takes_sessions(container) {
        return invalid(
            "The execute command failed because execute command was not enabled when the task was \
             run or the execute command agent isn't running. Wait and try again or run a new task \
             with execute command enabled and try again.",
        );
    }
    let Ok(argv) = shell_words::split(command) else {
        return invalid("Command has an open quote.");
    };
    let target = task.target(&container.name);
    let program = Program::Container(argv);
    let grant = shared.open_session("ecs-execute-command", &target, None, None, program);
    let Some(grant) = grant else {
        return refuse("ThrottlingException", "There are too many sessions.");
    };
    Ok(json!({
        "clusterArn": arn(shared, &format!("cluster/{cluster}")),
        "taskArn": task_arn(shared, task),
        "containerArn": container_arn(shared, task, &container.name),
        "containerName": container.name,
        "interactive": true,
        "session": {
            "sessionId": grant.session_id,
            "streamUrl": grant.stream_url,
            "tokenValue": grant.token,
        },
    }))
}

/// Whether a session can be started on an `ecs:` target. Those of tasks that nobody has listed
/// are good, too.
pub(super) fn is_online(shared: &Shared, target: &str) -> bool {
    let tasks = shared.options.tasks.iter();
    let mut known = tasks.flat_map(|task| task.containers.iter().map(move |c| (task, c)));
    let known = known.find(|(task, container)| task.target(&container.name) == target);
    known.is_none_or(|(task, container)| task.takes_sessions(container))
}

fn described(shared: &Shared, task: &Task) -> Value {
    let cluster_arn = arn(shared, &format!("cluster/{}", task.cluster));
    let containers = task.containers.iter().map(|container| {
        let agents = container.agent.iter();
        let agents =
            agents.map(|status| json!({ "name": "ExecuteCommandAgent", "lastStatus": status }));
        let mut value = json!({
            "containerArn": container_arn(shared, task, &container.name),
            "taskArn": task_arn(shared, task),
            "name": container.name,
            "lastStatus": task.status,
            "managedAgents": agents.collect::<Vec<_>>(),
        });
        // The service leaves out what there is not.
        if task.started.is_some() {
            value["runtimeId"] = task.runtime_id(&container.name).into();
        }
        value
    });
    let mut value = json!({
        "taskArn": task_arn(shared, task),
        "clusterArn": cluster_arn,
        "group": match &task.service {
            Some(service) => format!("service:{service}"),
            None => "family:one-off".to_owned(),
        },
        "lastStatus": task.status,
        "desiredStatus": "RUNNING",
        "launchType": "FARGATE",
        "platformVersion": "1.4.0",
        "startedAt": task.started.map(|seconds| seconds as f64),
        "enableExecuteCommand": task.exec_enabled,
        "containers": containers.collect::<Vec<_>>(),
    });
    if let Value::Object(map) = &mut value {
        map.retain(|_, value| !value.is_null());
    }
    value
}

fn find<'a>(shared: &'a Shared, cluster: &str, task: &str) -> Option<&'a Task> {
    let mut tasks = shared.options.tasks.iter();
    tasks.find(|known| known.cluster == cluster && known.id == last(task))
}

/// The name of the cluster that the caller means.
fn cluster<'a>(shared: &Shared, input: &'a Map<String, Value>) -> Result<&'a str, Refusal> {
    let name = last(text(input, "cluster").unwrap_or("default"));
    let known = shared.options.tasks.iter().any(|task| task.cluster == name);
    match known || name == "default" {
        true => Ok(name),
        false => refuse("ClusterNotFoundException", "Cluster not found."),
    }
}

fn last(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

fn arn(shared: &Shared, rest: &str) -> String {
    format!("arn:aws:ecs:{}:{ACCOUNT}:{rest}", shared.options.region)
}

fn task_arn(shared: &Shared, task: &Task) -> String {
    arn(shared, &format!("task/{}/{}", task.cluster, task.id))
}

fn container_arn(shared: &Shared, task: &Task, container: &str) -> String {
    let rest = format!("container/{}/{}/{container}", task.cluster, task.id);
    arn(shared, &rest)
}

fn page(input: &Map<String, Value>, key: &str, names: Vec<String>) -> Answer {
    let size = match input.get("maxResults").and_then(Value::as_u64) {
        None => USUAL,
        Some(size) => match usize::try_from(size) {
            Ok(size) if (1..=LARGEST).contains(&size) => size,
            _ => {
                return refuse(
                    "InvalidParameterException",
                    "maxResults must be within 1 and 100.",
                );
            }
        },
    };
    let from = match text(input, "nextToken").map(str::parse::<usize>) {
        None => 0,
        Some(Ok(from)) => from,
        Some(Err(_)) => return refuse("InvalidParameterException", "Invalid token."),
    };
    let mut rest = names.into_iter().skip(from);
    let names: Vec<String> = rest.by_ref().take(size).collect();
    let mut output = Map::new();
    output.insert(key.to_owned(), json!(names));
    if rest.next().is_some() {
        output.insert("nextToken".to_owned(), json!((from + size).to_string()));
    }
    Ok(Value::Object(output))
}
