//! A managed node, as either call tells of it.

use aws_sdk_ssm::types::{InstanceInformation, InstanceProperty};
use aws_smithy_types::DateTime;

/// What `Node::ping` says of a node that sessions can be started on.
const ONLINE: &str = "Online";

/// A managed node as listed; the texts are the service's own. What is empty there is none here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// `i-…` or `mi-…`.
    pub id: String,
    /// The Name tag, or the name it was registered by.
    pub name: Option<String>,
    /// The full name of the computer, such as `ip-10-0-0-1.ec2.internal`.
    pub computer_name: Option<String>,
    /// An IP address: the public one, if Name tags are known too, else the private one.
    pub address: Option<String>,
    /// `Online`, `ConnectionLost` or `Inactive`.
    pub ping: String,
    /// `running`, `stopped` …, if known.
    pub state: Option<String>,
    /// `Linux`, `Windows` or `MacOS`.
    pub platform_type: Option<String>,
    /// Such as `Amazon Linux`.
    pub platform_name: Option<String>,
    /// Such as `2023`.
    pub platform_version: Option<String>,
    /// Of the SSM Agent.
    pub agent_version: Option<String>,
    /// When it was launched or, if that is not known, registered; in seconds since 1970.
    pub launched: Option<i64>,
}

impl Node {
    /// Whether sessions can be started on it.
    pub fn is_online(&self) -> bool {
        self.ping == ONLINE
    }

    /// What people call it: its name, or else that of the computer.
    pub fn known_as(&self) -> Option<&str> {
        self.name.as_deref().or(self.computer_name.as_deref())
    }

    /// An address of it, if only the one that EC2 makes the computer's name of.
    pub fn any_address(&self) -> Option<String> {
        self.address
            .clone()
            .or_else(|| address_in(self.computer_name.as_deref()?))
    }
}

/// `ip-10-0-0-1.ec2.internal` has an address in it.
fn address_in(name: &str) -> Option<String> {
    let label = name.split('.').next()?.strip_prefix("ip-")?;
    let address = label.replace('-', ".");
    address.parse::<std::net::Ipv4Addr>().ok().map(|_| address)
}

fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

fn seconds(time: Option<DateTime>) -> Option<i64> {
    time.map(|time| time.secs())
}

/// Both calls have these under the same names.
macro_rules! node {
    ($node:ident, state: $state:expr, launched: $launched:expr) => {
        Node {
            id: $node.instance_id.unwrap_or_default(),
            name: given($node.name),
            computer_name: given($node.computer_name),
            address: given($node.ip_address),
            ping: $node
                .ping_status
                .map_or_else(String::new, |ping| ping.as_str().to_owned()),
            state: $state,
            platform_type: $node.platform_type.map(|kind| kind.as_str().to_owned()),
            platform_name: given($node.platform_name),
            platform_version: given($node.platform_version),
            agent_version: given($node.agent_version),
            launched: $launched,
        }
    };
}

impl From<InstanceProperty> for Node {
    fn from(node: InstanceProperty) -> Self {
        let launched = seconds(node.launch_time.or(node.registration_date));
        node!(node, state: given(node.instance_state), launched: launched)
    }
}

impl From<InstanceInformation> for Node {
    fn from(node: InstanceInformation) -> Self {
        node!(node, state: None, launched: seconds(node.registration_date))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_ec2_makes_have_an_address() {
        for (name, expected) in [
            ("ip-10-0-0-11.ec2.internal", Some("10.0.0.11")),
            ("ip-10-0-0-11", Some("10.0.0.11")),
            ("ip-10-0-0-311.ec2.internal", None),
            ("ip-10-0-0.x", None),
            ("db.corp.example", None),
            ("", None),
        ] {
            assert_eq!(address_in(name).as_deref(), expected, "{name}");
        }
    }
}
