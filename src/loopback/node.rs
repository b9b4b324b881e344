//! The managed nodes there are, as the service describes them.

use std::net::IpAddr;

/// When the first nodes were launched, in seconds since 1970: 2026-11-01.
const LAUNCHED: u64 = 1_793_491_200;

/// A managed node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its id.
    pub id: String,
    /// Whether its agent is connected.
    pub online: bool,
    /// Its region; none is the peer's own.
    pub region: Option<String>,
    /// Its tags, without `Name`: key and value.
    pub tags: Vec<(String, String)>,
    /// Its Name tag.
    pub name: Option<String>,
    /// Where it is within its network.
    pub private_ip: Option<IpAddr>,
    /// Where it is for the world.
    pub public_ip: Option<IpAddr>,
    /// The full name of the computer.
    pub dns_name: Option<String>,
    /// `Linux`, `Windows` or `MacOS`.
    pub platform_type: String,
    /// Such as `Amazon Linux`.
    pub platform_name: String,
    /// Such as `2023`.
    pub platform_version: String,
    /// Of its agent, as listed.
    pub agent_version: String,
    /// `running` or `stopped`.
    pub state: String,
    /// In seconds since 1970.
    pub launched: u64,
    /// Whether sessions on it take access that somebody has approved.
    pub guarded: bool,
}

impl Node {
    /// A node that sessions can be started on.
    pub fn online(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            online: true,
            region: None,
            tags: Vec::new(),
            name: None,
            private_ip: None,
            public_ip: None,
            dns_name: None,
            platform_type: "Linux".to_owned(),
            platform_name: "Amazon Linux".to_owned(),
            platform_version: "2023".to_owned(),
            agent_version: "3.3.0.0".to_owned(),
            state: "running".to_owned(),
            launched: LAUNCHED,
            guarded: false,
        }
    }

    /// A node that answers `TargetNotConnected`.
    pub fn offline(id: &str) -> Self {
        Self {
            online: false,
            ..Self::online(id)
        }
    }

    /// The same, with sessions only for those whose access was approved.
    pub fn guarded(mut self) -> Self {
        self.guarded = true;
        self
    }

    /// The same with a Name tag.
    pub fn named(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// The same with another tag.
    pub fn tagged(mut self, key: &str, value: &str) -> Self {
        self.tags.push((key.to_owned(), value.to_owned()));
        self
    }

    /// The same in an Auto Scaling group, launched so many hours after the first nodes.
    pub fn in_group(mut self, group: &str, hours: u64) -> Self {
        self.launched = LAUNCHED + hours * 3600;
        self.tagged("aws:autoscaling:groupName", group)
    }

    /// The same at a private address, with the name that EC2 makes of it.
    pub fn at(mut self, address: [u8; 4]) -> Self {
        let [a, b, c, d] = address;
        self.private_ip = Some(address.into());
        self.dns_name = Some(format!("ip-{a}-{b}-{c}-{d}.ec2.internal"));
        self
    }

    /// The same at a public address too.
    pub fn public(mut self, address: [u8; 4]) -> Self {
        self.public_ip = Some(address.into());
        self
    }

    /// So many nodes, every tenth of them offline: `node-0`, `node-1` …
    pub fn fleet(count: u32) -> Vec<Self> {
        let node = |number: u32| {
            let [_, b, c, d] = number.to_be_bytes();
            let id = format!("i-{number:017x}");
            let node = match number % 10 {
                9 => Self::offline(&id),
                _ => Self::online(&id),
            };
            node.named(&format!("node-{number}")).at([10, b, c, d])
        };
        (0..count).map(node).collect()
    }

    /// The value of a tag.
    pub(super) fn tag(&self, key: &str) -> Option<&str> {
        if key == "Name" {
            return self.name.as_deref();
        }
        let tag = self.tags.iter().find(|(name, _)| name == key);
        tag.map(|(_, value)| value.as_str())
    }
}

/// The nodes of a peer if nobody says otherwise.
pub(super) fn usual() -> Vec<Node> {
    let environment = |node: Node, value| node.tagged("Environment", value);
    let web = |node: Node| environment(node.tagged("Role", "web"), "production");
    let db = Node {
        dns_name: Some("db.corp.example".to_owned()),
        private_ip: Some([192, 168, 7, 20].into()),
        platform_name: "Ubuntu".to_owned(),
        platform_version: "24.04".to_owned(),
        ..Node::online("mi-10000000000000003").named("db")
    };
    vec![
        web(Node::online("i-10000000000000001")
            .named("web-1")
            .in_group("web", 1)
            .at([10, 0, 0, 11])
            .public([203, 0, 113, 11])),
        web(Node::online("i-10000000000000002")
            .named("web-2")
            .in_group("web", 2)
            .at([10, 0, 0, 12])
            .public([203, 0, 113, 12])),
        environment(db.tagged("Role", "db"), "production"),
        environment(
            Node::offline("i-1000000000000000f")
                .named("old")
                .at([10, 0, 0, 99]),
            "test",
        ),
    ]
}
