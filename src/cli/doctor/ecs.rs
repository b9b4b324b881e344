//! Containers: whether commands can be executed in a task.

use serde_json::Value;

use super::super::report::REFUSED;
use super::check::Check;
use super::facts::{Answer, Verdict, verdict};

/// Cluster, task and runtime id of a target. The cluster's name may have underscores.
pub fn parts(target: &str) -> Option<(&str, &str, &str)> {
    let rest = target.strip_prefix("ecs:")?;
    let (rest, runtime) = rest.rsplit_once('_')?;
    let (cluster, task) = rest.rsplit_once('_')?;
    let all = [cluster, task, runtime];
    all.iter()
        .all(|part| !part.is_empty())
        .then_some((cluster, task, runtime))
}

/// The checks of a task.
pub fn checks(answer: &Answer, target: &str, region: &str) -> Vec<Check> {
    const TASK: &str = "target.ecs-task";
    const EXEC: &str = "target.ecs-exec";
    let Some((cluster, id, runtime)) = parts(target) else {
        return Vec::new();
    };
    let reply = match (verdict(answer, &[]), answer) {
        (Verdict::Allowed, Ok(reply)) => reply,
        (Verdict::Unknown(why), Ok(_)) => {
            let check = Check::failed(TASK, REFUSED, format!("cannot find the task {id}: {why}"));
            return vec![
                check.fix("check cluster, --region and --profile: `aws ecs list-clusters`"),
            ];
        }
        (
            Verdict::Denied(why)
            | Verdict::Unknown(why)
            | Verdict::Credentials(why)
            | Verdict::Time(why),
            _,
        ) => {
            let text = format!("the task's state is not known: {why}");
            return vec![
                Check::skipped(TASK, text).fix("allow ecs:DescribeTasks to the caller to find out"),
            ];
        }
        (Verdict::Allowed, Err(_)) => return Vec::new(),
    };
    let Some(task) = reply.json.pointer("/tasks/0") else {
        let text = format!("there is no task {id} in the cluster {cluster} in {region}");
        return vec![Check::failed(TASK, REFUSED, text).fix(format!(
            "tasks come and go: `aws ecs list-tasks --cluster {cluster} --region {region}` lists those that run"
        ))];
    };
    let text = |key: &str| task.get(key).and_then(Value::as_str).unwrap_or_default();
    let state = text("lastStatus");
    if state != "RUNNING" {
        let check = Check::failed(
            TASK,
            REFUSED,
            format!("the task {id} is {}", state.to_lowercase()),
        );
        return vec![check.fix("choose a task that runs").detail("State", state)];
    }
    let mut checks = vec![Check::ok(TASK, format!("the task {id} runs")).detail("State", state)];
    if task.get("enableExecuteCommand").and_then(Value::as_bool) != Some(true) {
        let service = text("group").strip_prefix("service:").unwrap_or("SERVICE");
        checks.push(
            Check::failed(EXEC, REFUSED, "ECS Exec is not enabled for the task").fix(format!(
                "aws ecs update-service --cluster {cluster} --service {service} --enable-execute-command --force-new-deployment --region {region} \
                 (the task's role needs ssmmessages:CreateControlChannel, CreateDataChannel, OpenControlChannel and OpenDataChannel)"
            )),
        );
        return checks;
    }
    checks.push(exec(task, runtime).unwrap_or_else(|| {
        Check::failed(
            EXEC,
            REFUSED,
            format!("the task has no container with the runtime id {runtime}"),
        )
        .fix("the container was restarted: ask ECS for its runtime id again")
    }));
    checks
}

/// The agent in the container that is meant.
fn exec(task: &Value, runtime: &str) -> Option<Check> {
    const EXEC: &str = "target.ecs-exec";
    let containers = task.get("containers")?.as_array()?;
    let container = containers
        .iter()
        .find(|container| container.get("runtimeId").and_then(Value::as_str) == Some(runtime))?;
    let name = container
        .get("name")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let agents = container.get("managedAgents").and_then(Value::as_array);
    let agent = agents
        .into_iter()
        .flatten()
        .find(|agent| agent.get("name").and_then(Value::as_str) == Some("ExecuteCommandAgent"));
    let part = |key: &str| {
        agent
            .and_then(|agent| agent.get(key)?.as_str())
            .unwrap_or_default()
    };
    let state = part("lastStatus");
    let check = match state {
        "RUNNING" => Check::ok(
            EXEC,
            format!("ECS Exec is enabled, and its agent runs in {name}"),
        ),
        _ => {
            let reason = match part("reason") {
                "" => String::new(),
                reason => format!(": {reason}"),
            };
            let state = match state {
                "" => "not there".to_owned(),
                state => state.to_lowercase(),
            };
            Check::failed(EXEC, REFUSED, format!("the agent of ECS Exec in {name} is {state}{reason}"))
                .fix("give the task's role ssmmessages:CreateControlChannel, CreateDataChannel, OpenControlChannel and OpenDataChannel, a way to ssmmessages, and a writable root file system, then start the task anew")
        }
    };
    Some(check.detail("Container", name).detail("Agent", state))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_may_have_underscores() {
        assert_eq!(parts("ecs:a_b_t_t-1"), Some(("a_b", "t", "t-1")));
        for bad in ["i-1", "ecs:", "ecs:a", "ecs:a_b", "ecs:_t_r", "ecs:__"] {
            assert_eq!(parts(bad), None, "{bad}");
        }
    }
}
