//! The ECS tasks there are, as the service describes them.

/// When the first tasks started, in seconds since 1970: 2026-11-01.
const STARTED: u64 = 1_793_491_200;

/// An ECS task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// The name of its cluster.
    pub cluster: String,
    /// The service that it is of, if any.
    pub service: Option<String>,
    /// Its id.
    pub id: String,
    /// `RUNNING`, or on the way there or from there.
    pub status: String,
    /// In seconds since 1970; none before it runs.
    pub started: Option<u64>,
    /// Whether ECS Exec was enabled when it started.
    pub exec_enabled: bool,
    /// What runs in it.
    pub containers: Vec<Container>,
}

/// A container of a task: programs in it are programs on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Its name in the task definition.
    pub name: String,
    /// The status of its agent; none if there is no agent.
    pub agent: Option<String>,
}

impl Task {
    /// A task that runs, in a container `main`.
    pub fn running(cluster: &str, id: &str) -> Self {
        Self {
            cluster: cluster.to_owned(),
            service: None,
            id: id.to_owned(),
            status: "RUNNING".to_owned(),
            started: Some(STARTED),
            exec_enabled: true,
            containers: vec![Container::with_agent("main", "RUNNING")],
        }
    }

    /// The same of a service.
    pub fn of(mut self, service: &str) -> Self {
        self.service = Some(service.to_owned());
        self
    }

    /// The same, started so many hours after the first.
    pub fn hours_later(mut self, hours: u64) -> Self {
        self.started = Some(STARTED + hours * 3600);
        self
    }

    /// The same with these containers.
    pub fn with(mut self, containers: Vec<Container>) -> Self {
        self.containers = containers;
        self
    }

    /// What ends the target of a container.
    pub(super) fn runtime_id(&self, container: &str) -> String {
        let number = container.bytes().fold(1_u32, |sum, byte| {
            sum.wrapping_mul(31).wrapping_add(u32::from(byte))
        });
        format!("{}-{number:010}", self.id)
    }

    /// The target of a container.
    pub(super) fn target(&self, container: &str) -> String {
        let runtime_id = self.runtime_id(container);
        format!("ecs:{}_{}_{runtime_id}", self.cluster, self.id)
    }

    /// Whether sessions can be started in a container.
    pub(super) fn takes_sessions(&self, container: &Container) -> bool {
        self.exec_enabled
            && self.status == "RUNNING"
            && container.agent.as_deref() == Some("RUNNING")
    }
}

impl Container {
    /// With an agent of this status.
    pub fn with_agent(name: &str, status: &str) -> Self {
        Self {
            name: name.to_owned(),
            agent: Some(status.to_owned()),
        }
    }

    /// One that ECS puts beside those of the user, without an agent.
    pub fn without_agent(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            agent: None,
        }
    }
}

/// The tasks of a peer if nobody says otherwise.
pub(super) fn usual() -> Vec<Task> {
    let id = |number: u32| format!("{number:032x}");
    let shop = |number| Task::running("shop", &id(number));
    let proxied = vec![
        Container::with_agent("app", "RUNNING"),
        Container::without_agent("ecs-service-connect"),
    ];
    vec![
        shop(0x11).of("web").with(proxied.clone()),
        shop(0x12).of("web").with(proxied.clone()).hours_later(2),
        // On its way: newer, but of no use yet.
        Task {
            status: "PENDING".to_owned(),
            started: None,
            ..shop(0x13).of("web").with(proxied)
        },
        shop(0x21).of("worker").hours_later(1).with(vec![
            Container::with_agent("worker", "RUNNING"),
            Container::with_agent("logs", "RUNNING"),
        ]),
        Task {
            exec_enabled: false,
            containers: vec![Container::without_agent("main")],
            ..shop(0x31).of("legacy")
        },
        shop(0x41)
            .of("broken")
            .with(vec![Container::with_agent("main", "STOPPED")]),
        Task::running("batch", &id(0x51)),
    ]
}
