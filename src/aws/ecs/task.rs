//! Tasks and their containers, and whether sessions can be had in them.

use serde_json::{Map, Value};

use super::super::error::{Error, Kind};

/// What ECS calls the agent in a container.
const AGENT: &str = "ExecuteCommandAgent";
/// What it takes to get into a container.
pub(super) const ENABLE: &str = "ECS Exec takes three things: a task started with it enabled (`aws ecs update-service \
     --cluster CLUSTER --service SERVICE --enable-execute-command --force-new-deployment`); a task role that \
     allows ssmmessages:CreateControlChannel, CreateDataChannel, OpenControlChannel and OpenDataChannel; \
     on Fargate, platform version 1.4.0 or later";
/// What the agent needs to come up.
pub(super) const REACH: &str = "the task role must allow ssmmessages:CreateControlChannel, CreateDataChannel, \
     OpenControlChannel and OpenDataChannel, and the task must reach the endpoint of ssmmessages; a task \
     that has just started needs a moment";

/// A task, as far as sessions need to know it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Task {
    /// Its full name.
    pub arn: String,
    /// The last part of it.
    pub id: String,
    /// The name of its cluster.
    pub cluster: String,
    /// The service that it is of, if any.
    pub service: Option<String>,
    /// `RUNNING` or on the way there or from there.
    pub status: String,
    /// When it started, in milliseconds since 1970.
    pub started: Option<i64>,
    /// Whether it was started with ECS Exec enabled.
    pub exec_enabled: bool,
    /// What runs in it.
    pub containers: Vec<Container>,
}

/// A container of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// Its name in the task definition.
    pub name: String,
    /// `RUNNING`, mostly.
    pub status: String,
    /// Its runtime's id, which is part of its target.
    pub runtime_id: Option<String>,
    /// The agent in it that sessions need; ECS puts none into some of its own containers.
    pub agent: Option<Agent>,
}

/// The agent in a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agent {
    /// `RUNNING`, `PENDING` or `STOPPED`.
    pub status: String,
    /// Why it does not run.
    pub reason: Option<String>,
}

impl Task {
    /// Whether it runs.
    pub fn is_running(&self) -> bool {
        self.status == "RUNNING"
    }

    /// The containers that sessions can be had in, or all if there is none such.
    pub fn candidates(&self) -> Vec<&Container> {
        let with_agent = |container: &&Container| container.agent.is_some();
        let candidates: Vec<_> = self.containers.iter().filter(with_agent).collect();
        match candidates.is_empty() {
            true => self.containers.iter().collect(),
            false => candidates,
        }
    }

    /// The target that stands for one of its containers: `ecs:CLUSTER_TASK_RUNTIME`.
    ///
    /// Fails with advice if no session can be had there, as far as can be told.
    pub fn target(&self, container: &Container) -> Result<String, Error> {
        let what = format!(
            "cannot get into the container {} of the task {}",
            container.name, self.id
        );
        let refuse = |why: String| Error::new(Kind::Refused, what.as_str(), why);
        if !self.is_running() {
            return Err(refuse(format!("the task is {}", self.status))
                .with_hint("choose one that runs, or wait until it does"));
        }
        if !self.exec_enabled {
            return Err(
                refuse("ECS Exec was not enabled when it started".to_owned()).with_hint(ENABLE),
            );
        }
        match &container.agent {
            Some(agent) if agent.status == "RUNNING" => {}
            Some(agent) => {
                let reason = agent.reason.as_deref().unwrap_or_default();
                let colon = if reason.is_empty() { "" } else { ": " };
                let why = format!("its agent is {}{colon}{reason}", agent.status);
                return Err(refuse(why).with_hint(REACH));
            }
            None => {
                return Err(refuse("there is no agent in it".to_owned())
                    .with_hint("choose another container with --container"));
            }
        }
        let Some(runtime) = &container.runtime_id else {
            return Err(refuse(format!("it is {}", container.status)));
        };
        Ok(format!("ecs:{}_{}_{runtime}", self.cluster, self.id))
    }
}

pub(super) fn list<'a>(map: &'a Map<String, Value>, key: &str) -> &'a [Value] {
    map.get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// The last part of a full name.
pub(super) fn last(arn: &str) -> String {
    arn.rsplit('/').next().unwrap_or(arn).to_owned()
}

pub(super) fn task(task: &Value) -> Option<Task> {
    let task = task.as_object()?;
    let text = |key: &str| task.get(key).and_then(Value::as_str);
    let arn = text("taskArn")?;
    let started = task.get("startedAt").and_then(Value::as_f64);
    Some(Task {
        arn: arn.to_owned(),
        id: last(arn),
        cluster: last(text("clusterArn").unwrap_or("default")),
        service: text("group")
            .and_then(|group| group.strip_prefix("service:"))
            .map(str::to_owned),
        status: text("lastStatus").unwrap_or_default().to_owned(),
        // Seconds, as far as a whole number of milliseconds is exact.
        started: started.map(|seconds| (seconds * 1000.0).round() as i64),
        exec_enabled: task.get("enableExecuteCommand").and_then(Value::as_bool) == Some(true),
        containers: list(task, "containers")
            .iter()
            .filter_map(container)
            .collect(),
    })
}

fn container(container: &Value) -> Option<Container> {
    let container = container.as_object()?;
    let text = |map: &Map<String, Value>, key: &str| {
        map.get(key).and_then(Value::as_str).map(str::to_owned)
    };
    let mut agents = list(container, "managedAgents").iter();
    let agent = agents.find_map(|agent| {
        let agent = agent.as_object()?;
        (text(agent, "name")? == AGENT).then(|| Agent {
            status: text(agent, "lastStatus").unwrap_or_default(),
            reason: text(agent, "reason").filter(|reason| !reason.is_empty()),
        })
    });
    Some(Container {
        name: text(container, "name")?,
        status: text(container, "lastStatus").unwrap_or_default(),
        runtime_id: text(container, "runtimeId").filter(|id| !id.is_empty()),
        agent,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn described() -> Task {
        let value = json!({
            "taskArn": "arn:aws:ecs:us-east-1:1:task/shop/abc",
            "clusterArn": "arn:aws:ecs:us-east-1:1:cluster/shop",
            "group": "service:web",
            "lastStatus": "RUNNING",
            "startedAt": 1_793_491_200.25,
            "enableExecuteCommand": true,
            "containers": [
                {
                    "name": "main", "lastStatus": "RUNNING", "runtimeId": "abc-1",
                    "managedAgents": [{ "name": "ExecuteCommandAgent", "lastStatus": "RUNNING" }],
                },
                { "name": "proxy", "lastStatus": "RUNNING", "runtimeId": "abc-2" },
            ],
        });
        task(&value).expect("a task")
    }

    #[test]
    fn targets_are_made_of_cluster_task_and_runtime() {
        let task = described();
        assert_eq!(task.service.as_deref(), Some("web"));
        assert_eq!(task.started, Some(1_793_491_200_250));
        let names: Vec<_> = task.candidates().iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["main"]);
        let target = task.target(&task.containers[0]).expect("all is well");
        assert_eq!(target, "ecs:shop_abc_abc-1");
    }

    #[test]
    fn what_is_wrong_is_said_with_the_way_out() {
        let fine = described();
        let main = &fine.containers[0];
        let broken = Container {
            agent: Some(Agent {
                status: "STOPPED".to_owned(),
                reason: Some("CannotStart".to_owned()),
            }),
            ..main.clone()
        };
        let stopped = Task {
            status: "DEPROVISIONING".to_owned(),
            ..fine.clone()
        };
        let disabled = Task {
            exec_enabled: false,
            ..fine.clone()
        };
        let cases = [
            (&stopped, main, "DEPROVISIONING", "one that runs"),
            (&disabled, main, "not enabled", "--enable-execute-command"),
            (&fine, &broken, "STOPPED: CannotStart", "task role"),
            (&fine, &fine.containers[1], "no agent", "--container"),
        ];
        for (task, container, why, hint) in cases {
            let error = task.target(container).expect_err(why);
            assert!(error.to_string().contains(why), "{error}");
            assert!(error.hint().unwrap_or_default().contains(hint), "{error}");
            assert!(!error.hint().unwrap_or_default().contains('…'));
        }
    }
}
