//! Which container of which task is meant.

use super::super::picker::{self, Row};
use super::super::report::{self, Failure};
use crate::aws::{self, Aws, Container, Task};
use crate::config::{Alias, nearest};
use crate::session::forward::aim::{Aim, Astray};
use crate::terminal;

/// Names in a hint, at most.
const SHOWN: usize = 8;

/// A container by what people know of it.
#[derive(Clone, Debug, Default, clap::Args)]
#[group(skip)]
pub struct Wanted {
    /// ECS cluster, by name or ARN; may be left out if there is only one
    #[arg(long, value_name = "CLUSTER")]
    pub cluster: Option<String>,
    /// ECS service, whose newest running task is meant
    #[arg(long, value_name = "SERVICE", conflicts_with = "task")]
    pub service: Option<String>,
    /// ECS task, by id or ARN
    #[arg(long, value_name = "TASK")]
    pub task: Option<String>,
    /// Container of the task; may be left out if sessions can be had in only one
    #[arg(long, value_name = "NAME")]
    pub container: Option<String>,
}

/// A container of a task.
pub struct Found {
    /// The task.
    pub task: Task,
    /// The container's name.
    pub container: String,
    /// `ecs:CLUSTER_TASK_RUNTIME`; empty if nothing may be asked about the task.
    pub target: String,
}

impl Wanted {
    /// Whether something is wanted.
    pub fn is_given(&self) -> bool {
        self.cluster.is_some() || self.service.is_some() || self.task.is_some()
    }

    /// What an alias names, if that is a container.
    pub fn of(alias: &Alias) -> Option<Self> {
        alias.is_container().then(|| Self {
            cluster: alias.cluster.clone(),
            service: alias.service.clone(),
            task: alias.task.clone(),
            container: alias.container.clone(),
        })
    }

    /// The target of the container, with what tells later where it is by then.
    pub async fn aim(&self, aws: &Aws) -> anyhow::Result<(String, Option<Aim>)> {
        let found = self.find(aws).await?;
        let later = self.later(&found);
        let id = found.into_target()?;
        let aim = later.map(|wanted| {
            let aws = aws.clone();
            Aim::new(id.clone(), move || {
                let (aws, wanted) = (aws.clone(), wanted.clone());
                Box::pin(async move { wanted.find_again(&aws).await })
            })
        });
        Ok((id, aim))
    }

    /// The same without anything that somebody would have to pick again; nothing if there will
    /// not be another.
    fn later(&self, found: &Found) -> Option<Self> {
        let service = match self.task {
            Some(_) => None,
            None => self.service.clone().or(found.task.service.clone()),
        };
        let wanted = Self {
            cluster: Some(found.task.cluster.clone()),
            service,
            task: self.task.clone(),
            container: Some(found.container.clone()),
        };
        (wanted.service.is_some() || wanted.task.is_some()).then_some(wanted)
    }

    async fn find_again(&self, aws: &Aws) -> Result<String, Astray> {
        let found = self.find(aws).await;
        let target = found.and_then(|found| Ok(found.into_target()?));
        target.map_err(|error| match error.downcast::<aws::Error>() {
            Ok(error) => error.into(),
            Err(error) => Astray::Nowhere {
                hint: error
                    .downcast_ref::<Failure>()
                    .and_then(|failure| failure.hint.clone()),
                what: format!("{error:#}"),
                // A service starts tasks in the place of others.
                passes: self.service.is_some(),
            },
        })
    }

    /// The container, if a session can be had in it.
    pub async fn find(&self, aws: &Aws) -> anyhow::Result<Found> {
        let cluster = self.cluster(aws).await?;
        let task = match (&self.task, &self.service) {
            (Some(task), _) => match aws.task(Some(&cluster), task).await {
                Ok(task) => task,
                Err(error) if error.is_access_denied() => return self.unseen(&cluster, error),
                Err(error) => return Err(error.into()),
            },
            (None, Some(service)) => newest(aws, &cluster, service).await?,
            (None, None) => only(aws.tasks(&cluster, None).await?, &cluster).await?,
        };
        let container = container(&task, self.container.as_deref()).await?;
        Ok(Found {
            target: task.target(container)?,
            container: container.name.clone(),
            task,
        })
    }

    /// The cluster's name or ARN.
    async fn cluster(&self, aws: &Aws) -> anyhow::Result<String> {
        if let Some(cluster) = self.cluster.as_ref().filter(|cluster| !cluster.is_empty()) {
            return Ok(cluster.clone());
        }
        if let Some(cluster) = self.task.as_deref().and_then(cluster_of) {
            return Ok(cluster.to_owned());
        }
        let clusters = match aws.clusters().await {
            Ok(clusters) => clusters,
            Err(error) if error.is_access_denied() => {
                terminal::notice(&format!(
                    "{error}; taking the cluster default, see --cluster"
                ));
                return Ok("default".to_owned());
            }
            Err(error) => return Err(error.into()),
        };
        match clusters.as_slice() {
            [] => Err(
                refused("there is no ECS cluster in this region and account")
                    .hint("see --region and --profile")
                    .into(),
            ),
            [only] => Ok(only.clone()),
            many if picker::is_possible() => {
                let rows = many.iter().map(|name| named(name, ""));
                let row = picker::choose("cluster", rows.collect()).await?;
                Ok(row.name.unwrap_or_default())
            }
            many => Err(Failure::usage("there are several ECS clusters")
                .hint(format!("give one with --cluster: {}", names(many)))
                .into()),
        }
    }

    /// What can be had without a look at the task: ExecuteCommand itself may be allowed.
    fn unseen(&self, cluster: &str, error: aws::Error) -> anyhow::Result<Found> {
        let (Some(task), Some(container)) = (&self.task, &self.container) else {
            return Err(error.into());
        };
        let last = |name: &str| name.rsplit('/').next().unwrap_or(name).to_owned();
        terminal::notice(&format!("{error}; trying without a look at it"));
        Ok(Found {
            task: Task {
                arn: task.clone(),
                id: last(task),
                cluster: cluster.to_owned(),
                ..Task::default()
            },
            container: container.clone(),
            target: String::new(),
        })
    }
}

impl Found {
    /// The target, for sessions that ECS does not start.
    pub fn into_target(self) -> Result<String, Failure> {
        match self.target.is_empty() {
            false => Ok(self.target),
            true => Err(refused(
                "without ecs:DescribeTasks, nobody knows the task's target",
            )),
        }
    }
}

/// The newest running task of a service.
async fn newest(aws: &Aws, cluster: &str, service: &str) -> anyhow::Result<Task> {
    let tasks = match aws.tasks(cluster, Some(service)).await {
        Ok(tasks) => tasks,
        Err(error) if error.code() == Some("ServiceNotFoundException") => {
            let Ok(services) = aws.services(cluster).await else {
                return Err(error.into());
            };
            let what = format!("there is no service {service} in the ECS cluster {cluster}");
            let hint = match nearest(service, services.iter().map(String::as_str)) {
                Some(near) => format!("did you mean {near}?"),
                None if services.is_empty() => "there are no services in it".to_owned(),
                None => format!("the services are: {}", names(&services)),
            };
            return Err(refused(what).hint(hint).into());
        }
        Err(error) => return Err(error.into()),
    };
    let statuses: Vec<String> = tasks.iter().map(|task| task.status.clone()).collect();
    match tasks.into_iter().find(Task::is_running) {
        Some(task) => {
            tracing::debug!(task = task.id, service, "the newest task that runs");
            Ok(task)
        }
        None => {
            let what = format!("no task of the service {service} is running");
            let hint = match statuses.is_empty() {
                true => format!(
                    "it has none; `aws ecs describe-services --cluster {cluster} --services {service}` tells why"
                ),
                false => format!("its tasks are {}: wait a moment", names(&statuses)),
            };
            Err(refused(what).hint(hint).into())
        }
    }
}

/// The one task that runs in a cluster, or the one that is picked.
async fn only(tasks: Vec<Task>, cluster: &str) -> anyhow::Result<Task> {
    let mut running: Vec<Task> = tasks.into_iter().filter(Task::is_running).collect();
    match running.len() {
        0 => Err(refused(format!("no task is running in the ECS cluster {cluster}")).into()),
        1 => Ok(running.remove(0)),
        _ if picker::is_possible() => {
            let rows = running.iter().map(|task| Row {
                name: task.service.clone(),
                id: task.id.clone(),
                status: task.status.clone(),
                more: containers_of(task).join(", "),
                idle: !task.exec_enabled,
            });
            let row = picker::choose("task", rows.collect()).await?;
            terminal::notice(&format!("task {}", row.id));
            let picked = running.into_iter().find(|task| task.id == row.id);
            picked.ok_or_else(|| refused("the task is gone").into())
        }
        count => {
            let mut choices: Vec<String> = Vec::new();
            for task in &running {
                let choice = match &task.service {
                    Some(service) => format!("--service {service}"),
                    None => format!("--task {}", task.id),
                };
                if !choices.contains(&choice) {
                    choices.push(choice);
                }
            }
            Err(Failure::usage(format!(
                "{count} tasks are running in the ECS cluster {cluster}"
            ))
            .hint(format!("choose with {}", names(&choices)))
            .into())
        }
    }
}

/// The container of this name, or else the only one with an agent, or the one that is picked.
async fn container<'a>(task: &'a Task, name: Option<&str>) -> anyhow::Result<&'a Container> {
    let known = containers_of(task);
    let picked;
    let name = match (name, known.as_slice()) {
        (Some(name), _) => name,
        (None, [only]) => only,
        (None, []) => {
            return Err(refused(format!("the task {} has no containers", task.id)).into());
        }
        (None, many) if picker::is_possible() => {
            let rows = many.iter().map(|name| named(name, "RUNNING"));
            let row = picker::choose("container", rows.collect()).await?;
            picked = row.name.unwrap_or_default();
            &picked
        }
        (None, many) => {
            let several = Failure::usage(format!("the task {} has several containers", task.id));
            let hint = format!("give one with --container: {}", names(many));
            return Err(several.hint(hint).into());
        }
    };
    let mut containers = task.containers.iter();
    let found = containers.find(|container| container.name == name);
    found.ok_or_else(|| {
        refused(format!("the task {} has no container {name}", task.id))
            .hint(format!("its containers are: {}", names(&known)))
            .into()
    })
}

/// The names of the containers that sessions can be had in.
fn containers_of(task: &Task) -> Vec<String> {
    let candidates = task.candidates().into_iter();
    candidates.map(|container| container.name.clone()).collect()
}

fn named(name: &str, status: &str) -> Row {
    Row {
        name: Some(name.to_owned()),
        status: status.to_owned(),
        ..Row::default()
    }
}

/// The cluster in the ARN of a task; old ones have none.
fn cluster_of(task: &str) -> Option<&str> {
    let (_, rest) = task.split_once(":task/")?;
    Some(rest.split_once('/')?.0)
}

fn names(all: &[String]) -> String {
    let shown = all.get(..SHOWN).unwrap_or(all).join(", ");
    match all.len().checked_sub(SHOWN) {
        Some(more) if more > 0 => format!("{shown} and {more} more"),
        _ => shown,
    }
}

fn refused(what: impl Into<String>) -> Failure {
    Failure {
        status: report::REFUSED,
        ..Failure::other(what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arns_of_tasks_name_their_cluster() {
        let arn = "arn:aws:ecs:us-east-1:1:task/shop/0123";
        assert_eq!(cluster_of(arn), Some("shop"));
        assert_eq!(cluster_of("arn:aws:ecs:us-east-1:1:task/0123"), None);
        assert_eq!(cluster_of("0123"), None);
    }

    #[test]
    fn long_lists_are_cut() {
        let many: Vec<String> = (0..10).map(|n| n.to_string()).collect();
        assert_eq!(names(&many), "0, 1, 2, 3, 4, 5, 6, 7 and 2 more");
        assert_eq!(names(&many[..2]), "0, 1");
    }
}
