//! Documents of type Port: their parameters, and the properties that the handshake names.

use serde_json::{Map, Value, json};

use super::{Refused, parameter};

/// A port, or what leaves its choice to the client.
const PORT_OR_ZERO: &str = "^([0-9]|[1-9][0-9]{1,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$";
const PORT: &str = "^([1-9]|[1-9][0-9]{1,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$";
const HOST: &str = "^[^,$^&()!;'\"<>`{}\\[\\]|#=\\s]{3,}$";

/// What a session document of type Port says.
pub(super) struct Document {
    parameters: Vec<Parameter>,
    /// Texts may hold `{{ name }}`, which stands for the value of that parameter.
    template: Map<String, Value>,
}

struct Parameter {
    name: String,
    kind: Kind,
    default: Option<&'static str>,
}

/// What values a parameter takes.
#[derive(Clone, Copy)]
enum Kind {
    Port,
    PortOrZero,
    Host,
    Any,
}

impl Document {
    /// AWS's documents, and those of the user.
    pub(super) fn named(name: &str, custom: &[(String, Map<String, Value>)]) -> Option<Self> {
        let port = |default| Parameter::new("portNumber", Kind::Port, Some(default));
        let local = || Parameter::new("localPortNumber", Kind::PortOrZero, Some("0"));
        let (parameters, template) = match name {
            "AWS-StartSSHSession" => {
                let template = json!({ "portNumber": "{{ portNumber }}" });
                (vec![port("22")], template)
            }
            "AWS-StartPortForwardingSession" => {
                let template = json!({
                    "portNumber": "{{ portNumber }}",
                    "type": "LocalPortForwarding",
                    "localPortNumber": "{{ localPortNumber }}",
                });
                (vec![port("80"), local()], template)
            }
            "AWS-StartPortForwardingSessionToRemoteHost" => {
                let host = Parameter::new("host", Kind::Host, None);
                let template = json!({
                    "host": "{{ host }}",
                    "portNumber": "{{ portNumber }}",
                    "type": "LocalPortForwarding",
                    "localPortNumber": "{{ localPortNumber }}",
                });
                (vec![host, port("80"), local()], template)
            }
            "AWS-StartPortForwardingSessionToSocket" => {
                let socket = Parameter::new("localUnixSocket", Kind::Any, None);
                let template = json!({
                    "portNumber": "{{ portNumber }}",
                    "type": "LocalPortForwarding",
                    "localUnixSocket": "{{ localUnixSocket }}",
                    "localConnectionType": "unix",
                });
                (vec![port("80"), socket], template)
            }
            _ => {
                let (_, template) = custom.iter().find(|(known, _)| known == name)?;
                let names = template.values().filter_map(Value::as_str);
                let mut names: Vec<&str> = names.flat_map(placeholders).collect();
                names.sort_unstable();
                names.dedup();
                return Some(Self {
                    parameters: names
                        .into_iter()
                        .map(|name| Parameter::new(name, Kind::Any, None))
                        .collect(),
                    template: template.clone(),
                });
            }
        };
        let Value::Object(template) = template else {
            return None;
        };
        Some(Self {
            parameters,
            template,
        })
    }

    /// The properties that these parameters make.
    pub(super) fn properties(
        &self,
        given: &Map<String, Value>,
    ) -> Result<Map<String, Value>, Refused> {
        let known = |name: &String| self.parameters.iter().any(|known| known.name == *name);
        if let Some(unknown) = given.keys().find(|name| !known(name)) {
            return invalid(format!(
                "Parameter \"{unknown}\" is not defined in this document."
            ));
        }
        let mut values = Vec::new();
        for Parameter {
            name,
            kind,
            default,
        } in &self.parameters
        {
            let value = parameter(given, name).or(default.map(ToOwned::to_owned));
            let Some(value) = value else {
                return invalid(format!(
                    "Parameter \"{name}\" is required by this document."
                ));
            };
            if !kind.takes(&value) {
                return invalid(format!(
                    "Parameter \"{name}\" with value \"{value}\" does not match pattern {}",
                    kind.pattern()
                ));
            }
            values.push((name.as_str(), value));
        }
        let mut properties = self.template.clone();
        for property in properties.values_mut() {
            if let Value::String(text) = property {
                *text = substitute(text, &values);
            }
        }
        Ok(properties)
    }
}

impl Parameter {
    fn new(name: &str, kind: Kind, default: Option<&'static str>) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            default,
        }
    }
}

impl Kind {
    /// As the service's documents have it.
    fn pattern(self) -> &'static str {
        match self {
            Self::Port => PORT,
            Self::PortOrZero => PORT_OR_ZERO,
            Self::Host => HOST,
            Self::Any => "^.+$",
        }
    }

    fn takes(self, value: &str) -> bool {
        let number = || {
            let plain = value == "0" || !value.starts_with(['0', '+']);
            value.parse::<u16>().ok().filter(|_| plain)
        };
        match self {
            Self::Port => number().is_some_and(|port| port > 0),
            Self::PortOrZero => number().is_some(),
            Self::Host => {
                let forbidden = |c: char| c.is_whitespace() || ",$^&()!;'\"<>`{}[]|#=".contains(c);
                value.chars().count() >= 3 && !value.contains(forbidden)
            }
            Self::Any => !value.is_empty(),
        }
    }
}

fn invalid<T>(message: String) -> Result<T, Refused> {
    Err(("InvalidParameters", message))
}

/// The names between double braces.
fn placeholders(text: &str) -> impl Iterator<Item = &str> {
    let parts = text.split("{{").skip(1);
    parts.filter_map(|part| Some(part.split_once("}}")?.0.trim()))
}

/// Puts the values where their names are; never twice, so values may hold anything.
fn substitute(template: &str, values: &[(&str, String)]) -> String {
    let mut parts = template.split("{{");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let found = part.split_once("}}").and_then(|(name, rest)| {
            let (_, value) = values.iter().find(|(known, _)| *known == name.trim())?;
            Some((value, rest))
        });
        match found {
            Some((value, rest)) => {
                text.push_str(value);
                text.push_str(rest);
            }
            None => {
                text.push_str("{{");
                text.push_str(part);
            }
        }
    }
    text
}
