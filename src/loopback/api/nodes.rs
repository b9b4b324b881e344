//! Systems Manager: managed nodes, in the two ways that the service describes them.

use serde_json::{Map, Value, json};

use super::super::node::Node;
use super::super::state::{Shared, wall_millis};
use super::{Answer, Refusal, refuse, text};

/// The fewest nodes in a page that may be asked for.
const SMALLEST: usize = 5;

/// The call that knows Name tags, states and public addresses.
pub(super) fn describe_properties(
    shared: &Shared,
    region: &str,
    input: &Map<String, Value>,
) -> Answer {
    let mut filters = Vec::new();
    for filter in list(input, "FiltersWithOperator") {
        filters.push(Filter::of(filter, "Key", "Values")?);
    }
    for filter in list(input, "InstancePropertyFilterList") {
        filters.push(Filter::of(filter, "key", "valueSet")?);
    }
    let (page, next) = page(shared, region, input, &filters, 1000, 50)?;
    Ok(answer("InstanceProperties", &page, next, property))
}

/// The call that more callers may do; it does not know those that are stopped.
pub(super) fn describe_information(
    shared: &Shared,
    region: &str,
    input: &Map<String, Value>,
) -> Answer {
    let mut filters = Vec::new();
    for filter in list(input, "Filters") {
        filters.push(Filter::of(filter, "Key", "Values")?);
    }
    for filter in list(input, "InstanceInformationFilterList") {
        filters.push(Filter::of(filter, "key", "valueSet")?);
    }
    let tags = filters.iter().filter(|filter| filter.is_tag()).count();
    if tags > 0 && tags < filters.len() {
        return refuse(
            "InvalidFilterKey",
            "Tag filters cannot be combined with other filter types.",
        );
    }
    filters.push(Filter {
        key: "State".to_owned(),
        values: vec!["running".to_owned()],
        operator: Operator::Equal,
    });
    let (page, next) = page(shared, region, input, &filters, 50, 10)?;
    Ok(answer("InstanceInformationList", &page, next, information))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    BeginWith,
}

struct Filter {
    key: String,
    values: Vec<String>,
    operator: Operator,
}

impl Filter {
    fn of(filter: &Value, key: &str, values: &str) -> Result<Self, Refusal> {
        let key = filter.get(key).and_then(Value::as_str).unwrap_or_default();
        let known = [
            "InstanceIds",
            "AgentVersion",
            "PingStatus",
            "PlatformTypes",
            "ResourceType",
            "tag-key",
        ];
        if !known.contains(&key) && !key.starts_with("tag:") {
            return refuse("InvalidFilterKey", format!("{key} is no filter."));
        }
        let values: Vec<String> = list_of(filter.get(values))
            .iter()
            .filter_map(|value| Some(value.as_str()?.to_owned()))
            .collect();
        if values.is_empty() {
            return refuse("ValidationException", "A filter has no values.");
        }
        let operator = match filter.get("Operator").and_then(Value::as_str) {
            None | Some("Equal") => Operator::Equal,
            Some("NotEqual") => Operator::NotEqual,
            Some("BeginWith") => Operator::BeginWith,
            Some(other) => {
                let message = format!("loopback does not know the operator {other}.");
                return refuse("InvalidInstancePropertyFilterValue", message);
            }
        };
        Ok(Self {
            key: key.to_owned(),
            values,
            operator,
        })
    }

    fn is_tag(&self) -> bool {
        self.key.starts_with("tag")
    }

    fn matches(&self, node: &Node) -> bool {
        let value = match self.key.as_str() {
            "InstanceIds" => Some(node.id.as_str()),
            "AgentVersion" => Some(node.agent_version.as_str()),
            "PingStatus" => Some(ping(node)),
            "PlatformTypes" => Some(node.platform_type.as_str()),
            "ResourceType" => Some(resource_type(node)),
            "State" => Some(node.state.as_str()),
            "tag-key" => {
                return self.values.iter().any(|key| node.tag(key).is_some());
            }
            key => node.tag(key.strip_prefix("tag:").unwrap_or(key)),
        };
        let is = |wanted: &String| match self.operator {
            Operator::BeginWith => value.is_some_and(|value| value.starts_with(wanted)),
            Operator::Equal | Operator::NotEqual => value == Some(wanted),
        };
        self.values.iter().any(is) != (self.operator == Operator::NotEqual)
    }
}

fn list<'a>(input: &'a Map<String, Value>, key: &str) -> &'a [Value] {
    list_of(input.get(key))
}

fn list_of(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The nodes of a page, and the token of the next one.
fn page(
    shared: &Shared,
    region: &str,
    input: &Map<String, Value>,
    filters: &[Filter],
    largest: usize,
    usual: usize,
) -> Result<(Vec<Node>, Option<String>), Refusal> {
    let size = match input.get("MaxResults").and_then(Value::as_u64) {
        None => usual,
        Some(size) => match usize::try_from(size) {
            Ok(size) if (SMALLEST..=largest).contains(&size) => size,
            _ => {
                return refuse(
                    "ValidationException",
                    format!(
                        "1 validation error detected: Value '{size}' at 'maxResults' failed to satisfy constraint: Member must have value between {SMALLEST} and {largest}"
                    ),
                );
            }
        },
    };
    let from = match text(input, "NextToken").map(str::parse::<usize>) {
        None => 0,
        Some(Ok(from)) => from,
        Some(Err(_)) => return refuse("InvalidNextToken", "The token is not valid."),
    };
    let state = shared.state();
    for filter in filters.iter().filter(|filter| filter.key == "InstanceIds") {
        let unknown = |id: &&String| !state.nodes.iter().any(|node| node.id == **id);
        if let Some(id) = filter.values.iter().find(unknown) {
            return refuse("InvalidInstanceId", format!("{id} is not a managed node."));
        }
    }
    let mut matching = state.nodes.iter().filter(|node| {
        let its = node.region.as_deref().unwrap_or(&shared.options.region);
        its == region && filters.iter().all(|filter| filter.matches(node))
    });
    let nodes: Vec<Node> = matching.by_ref().skip(from).take(size).cloned().collect();
    let next = matching.next().map(|_| (from + size).to_string());
    Ok((nodes, next))
}

fn answer(key: &str, nodes: &[Node], next: Option<String>, of: fn(&Node) -> Value) -> Value {
    let nodes: Vec<Value> = nodes
        .iter()
        .map(|node| {
            let mut value = of(node);
            if let Value::Object(map) = &mut value {
                map.retain(|_, value| !value.is_null());
            }
            value
        })
        .collect();
    let mut output = Map::new();
    output.insert(key.to_owned(), Value::Array(nodes));
    if let Some(next) = next {
        output.insert("NextToken".to_owned(), Value::String(next));
    }
    Value::Object(output)
}

fn property(node: &Node) -> Value {
    json!({
        "Name": node.name,
        "InstanceId": node.id,
        "InstanceState": node.state,
        "IPAddress": node.public_ip,
        "LaunchTime": node.launched,
        "PingStatus": ping(node),
        "LastPingDateTime": last_ping(node),
        "AgentVersion": node.agent_version,
        "PlatformType": node.platform_type,
        "PlatformName": node.platform_name,
        "PlatformVersion": node.platform_version,
        "ResourceType": resource_type(node),
        "ComputerName": node.dns_name,
        "SourceId": node.id,
    })
}

fn information(node: &Node) -> Value {
    json!({
        // Only of machines outside of EC2, as they were registered.
        "Name": node.name.as_deref().filter(|_| node.id.starts_with("mi-")),
        "InstanceId": node.id,
        "PingStatus": ping(node),
        "LastPingDateTime": last_ping(node),
        "AgentVersion": node.agent_version,
        "IsLatestVersion": false,
        "PlatformType": node.platform_type,
        "PlatformName": node.platform_name,
        "PlatformVersion": node.platform_version,
        "ResourceType": resource_type(node),
        "IPAddress": node.private_ip,
        "ComputerName": node.dns_name,
        "SourceId": node.id,
    })
}

fn ping(node: &Node) -> &'static str {
    if node.online {
        "Online"
    } else {
        "ConnectionLost"
    }
}

/// When its agent was last heard, in seconds since 1970: an hour after the launch, if it is away.
fn last_ping(node: &Node) -> f64 {
    let seconds = match node.online {
        true => wall_millis() / 1000,
        false => node.launched + 3600,
    };
    seconds as f64
}

fn resource_type(node: &Node) -> &'static str {
    if node.id.starts_with("mi-") {
        "ManagedInstance"
    } else {
        "EC2Instance"
    }
}
