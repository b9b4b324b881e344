//! The few calls of ECS: what runs, and ExecuteCommand. Its SDK would take as long to build as
//! that of SSM.

use serde_json::{Map, Value, json};

use super::Aws;
use super::error::{Call, Error, Kind};
use super::json_call::Service;
use super::model::SessionGrant;

/// Tasks in a page, and in a call of DescribeTasks.
const PAGE: usize = 100;
/// What ECS calls the agent in a container.
const AGENT: &str = "ExecuteCommandAgent";
/// What it takes to get into a container.
const ENABLE: &str = "ECS Exec takes three things: a task started with it enabled (`aws ecs update-service \
     --cluster CLUSTER --service SERVICE --enable-execute-command --force-new-deployment`); a task role that \
     allows ssmmessages:CreateControlChannel, CreateDataChannel, OpenControlChannel and OpenDataChannel; \
     on Fargate, platform version 1.4.0 or later";
/// What the agent needs to come up.
const REACH: &str = "the task role must allow ssmmessages:CreateControlChannel, CreateDataChannel, \
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

impl Aws {
    /// The names of the clusters.
    pub async fn clusters(&self) -> Result<Vec<String>, Error> {
        let call = Call {
            what: "cannot list the ECS clusters",
            action: "ecs:ListClusters",
        };
        let arns = self.list(&call, "ListClusters", "clusterArns", json!({}));
        Ok(arns.await?.iter().map(|arn| last(arn)).collect())
    }

    /// The names of the services of a cluster.
    pub async fn services(&self, cluster: &str) -> Result<Vec<String>, Error> {
        let call = Call {
            what: &format!("cannot list the services of the ECS cluster {cluster}"),
            action: "ecs:ListServices",
        };
        let input = json!({ "cluster": cluster });
        let arns = self.list(&call, "ListServices", "serviceArns", input);
        Ok(arns.await?.iter().map(|arn| last(arn)).collect())
    }

    /// The tasks of a cluster, or of one of its services, that run or are to, newest first.
    pub async fn tasks(&self, cluster: &str, service: Option<&str>) -> Result<Vec<Task>, Error> {
        let of = match service {
            Some(service) => format!("the service {service} in the ECS cluster {cluster}"),
            None => format!("the ECS cluster {cluster}"),
        };
        let call = Call {
            what: &format!("cannot list the tasks of {of}"),
            action: "ecs:ListTasks",
        };
        let mut input = json!({ "cluster": cluster, "desiredStatus": "RUNNING" });
        if let (Some(service), Some(input)) = (service, input.as_object_mut()) {
            input.insert("serviceName".to_owned(), json!(service));
        }
        let arns = self.list(&call, "ListTasks", "taskArns", input).await?;
        let mut tasks = Vec::new();
        for arns in arns.chunks(PAGE) {
            let input = json!({ "cluster": cluster, "tasks": arns });
            tasks.extend(self.describe_tasks(&call, &input).await?);
        }
        tasks.sort_by(|a, b| b.started.cmp(&a.started).then_with(|| a.id.cmp(&b.id)));
        Ok(tasks)
    }

    /// One task, by id or full name; the cluster is `default` unless it is named.
    pub async fn task(&self, cluster: Option<&str>, task: &str) -> Result<Task, Error> {
        let shown = cluster.unwrap_or("default");
        let call = Call {
            what: &format!("cannot find the task {task} in the ECS cluster {shown}"),
            action: "ecs:DescribeTasks",
        };
        let mut input = json!({ "tasks": [task] });
        if let (Some(cluster), Some(input)) = (cluster, input.as_object_mut()) {
            input.insert("cluster".to_owned(), json!(cluster));
        }
        let tasks = self.describe_tasks(&call, &input).await?;
        tasks.into_iter().next().ok_or_else(|| {
            Error::new(Kind::Refused, call.what, "there is none such").with_hint(
                "tasks come and go: is it gone, or in another cluster (--cluster), region or account?",
            )
        })
    }

    /// Starts a session that runs a command in a container. Without a container, the task must
    /// have only one.
    pub async fn execute_command(
        &self,
        task: &Task,
        container: &str,
        command: &str,
        interactive: bool,
    ) -> Result<SessionGrant, Error> {
        let call = Call {
            what: &format!(
                "cannot run a command in the container {container} of the task {}",
                task.id
            ),
            action: "ecs:ExecuteCommand",
        };
        let input = json!({
            "cluster": task.cluster,
            "task": task.arn,
            "container": container,
            "command": command,
            "interactive": interactive,
        });
        let output = self.ecs(&call, "ExecuteCommand", &input).await?;
        let session = output.get("session").and_then(Value::as_object);
        let text = |key: &str| {
            let text = session.and_then(|session| session.get(key)?.as_str());
            let text = text.filter(|text| !text.is_empty()).map(str::to_owned);
            let missing = || Error::new(Kind::Other, call.what, format!("the answer has no {key}"));
            text.ok_or_else(missing)
        };
        Ok(SessionGrant::new(
            text("sessionId")?,
            text("tokenValue")?,
            text("streamUrl")?,
        ))
    }

    async fn describe_tasks(&self, call: &Call<'_>, input: &Value) -> Result<Vec<Task>, Error> {
        let call = Call {
            what: call.what,
            action: "ecs:DescribeTasks",
        };
        let output = self.ecs(&call, "DescribeTasks", input).await?;
        Ok(list(&output, "tasks").iter().filter_map(task).collect())
    }

    /// All pages of a list of names.
    async fn list(
        &self,
        call: &Call<'_>,
        operation: &str,
        key: &str,
        mut input: Value,
    ) -> Result<Vec<String>, Error> {
        let mut all = Vec::new();
        loop {
            if let Some(input) = input.as_object_mut() {
                input.insert("maxResults".to_owned(), json!(PAGE));
            }
            let output = self.ecs(call, operation, &input).await?;
            let names = list(&output, key).iter().filter_map(Value::as_str);
            all.extend(names.map(str::to_owned));
            let next = output.get("nextToken").filter(|next| next.is_string());
            match (next, input.as_object_mut()) {
                (Some(next), Some(input)) => input.insert("nextToken".to_owned(), next.clone()),
                _ => return Ok(all),
            };
        }
    }

    async fn ecs(
        &self,
        call: &Call<'_>,
        operation: &str,
        input: &Value,
    ) -> Result<Map<String, Value>, Error> {
        let service = Service {
            name: "ecs",
            target: "AmazonEC2ContainerServiceV20141113",
            endpoint: self.0.settings.ecs_endpoint.as_deref(),
            variable: "AWS_ENDPOINT_URL_ECS",
        };
        let answer = self.call_json(&service, call, operation, input).await;
        answer.map_err(|error| match advice(&error) {
            Some(advice) => error.with_hint(advice),
            None => error,
        })
    }
}

/// What to do about errors that only this service has.
fn advice(error: &Error) -> Option<&'static str> {
    Some(match error.code()? {
        "ClusterNotFoundException" => {
            "is the cluster in this region and account? see --cluster, --region and --profile"
        }
        "ServiceNotFoundException" => "is the service in this cluster? see --cluster",
        "TargetNotConnectedException" => REACH,
        "InvalidParameterException" if error.reason().contains("not enabled") => ENABLE,
        "InvalidParameterException" if error.reason().contains("Interactive is the only") => {
            "leave out --non-interactive: standard input need not be a terminal"
        }
        _ => return None,
    })
}

fn list<'a>(map: &'a Map<String, Value>, key: &str) -> &'a [Value] {
    map.get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// The last part of a full name.
fn last(arn: &str) -> String {
    arn.rsplit('/').next().unwrap_or(arn).to_owned()
}

fn task(task: &Value) -> Option<Task> {
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
