//! The few calls of ECS: what runs, and ExecuteCommand. Its SDK would take as long to build as
//! that of SSM.

mod task;

use serde_json::{Map, Value, json};

use super::Aws;
use super::error::{Call, Error, Kind};
use super::json_call::Service;
use super::model::SessionGrant;
use super::pages::Pages;
use task::{ENABLE, REACH, last, list, task};

pub use task::{Agent, Container, Task};

/// Tasks in a page, and in a call of DescribeTasks.
const PAGE: usize = 100;
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
        let mut pages = Pages::new();
        loop {
            if let Some(input) = input.as_object_mut() {
                input.insert("maxResults".to_owned(), json!(PAGE));
                if let Some(token) = pages.token() {
                    input.insert("nextToken".to_owned(), json!(token));
                }
            }
            let output = self.ecs(call, operation, &input).await?;
            let names = list(&output, key).iter().filter_map(Value::as_str);
            all.extend(names.map(str::to_owned));
            let next = output.get("nextToken").and_then(Value::as_str);
            pages.turn(call.what, next.map(str::to_owned))?;
            if pages.is_over() {
                return Ok(all);
            }
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
