//! ECS: commands in containers, which here are programs on this machine.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::super::document::Program;
use super::super::state::Shared;
use super::{ACCOUNT, Answer, refuse, text};

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

pub(super) fn execute_command(shared: &Arc<Shared>, input: &Map<String, Value>) -> Answer {
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

pub(super) fn describe_tasks(shared: &Shared, input: &Map<String, Value>) -> Answer {
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
