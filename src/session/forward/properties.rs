//! What a port session is for, as its agent says.

use serde_json::Value;

use crate::protocol::payload::find;
use crate::protocol::version::AgentFeatures;

/// How a port session carries its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// One connection, from standard input to standard output.
    Stdio,
    /// Local connections one after another.
    Basic,
    /// Many local connections at once.
    Mux,
}

/// The properties of a port session. Texts that the agent did not name are empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties {
    /// The destination's port.
    pub port: String,
    /// The destination, as seen from the node; empty for the node itself.
    pub host: String,
    /// Whether local connections are to be carried, rather than the standard streams.
    pub forwards: bool,
    /// The port to listen on; empty or `0` for any.
    pub local_port: String,
    /// The path of the Unix socket to listen on instead.
    pub local_socket: Option<String>,
}

impl Properties {
    /// Reads what the handshake brought: texts or numbers, keys in any case, unknown keys ignored.
    pub fn read(properties: &Value) -> Self {
        let text = |key: &str| match properties {
            Value::Object(map) => match find(map, key) {
                Some(Value::String(text)) => text.clone(),
                Some(Value::Number(number)) => number.to_string(),
                _ => String::new(),
            },
            _ => String::new(),
        };
        let local_socket = (text("localConnectionType") == "unix").then(|| text("localUnixSocket"));
        Self {
            port: text("portNumber"),
            host: text("host"),
            forwards: text("type") == "LocalPortForwarding",
            local_port: text("localPortNumber"),
            local_socket,
        }
    }

    /// How a session with these properties carries its data.
    pub fn mode(&self, features: AgentFeatures) -> Mode {
        match (self.forwards, features.mux) {
            (false, _) => Mode::Stdio,
            (true, false) => Mode::Basic,
            (true, true) => Mode::Mux,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn texts_and_numbers_in_any_case() {
        let read = Properties::read(&json!({
            "PortNumber": 5432, "TYPE": "LocalPortForwarding", "localportnumber": "0",
            "host": "db", "more": [1],
        }));
        let expected = Properties {
            port: "5432".into(),
            host: "db".into(),
            forwards: true,
            local_port: "0".into(),
            local_socket: None,
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn the_mode_follows_type_and_version() {
        let forward = Properties::read(&json!({"type": "LocalPortForwarding"}));
        assert_eq!(forward.mode(AgentFeatures::of("3.0.196.0")), Mode::Basic);
        assert_eq!(forward.mode(AgentFeatures::of("3.0.197.0")), Mode::Mux);
        for other in [
            json!(null),
            json!({"portNumber": "22"}),
            json!({"type": "x"}),
        ] {
            let mode = Properties::read(&other).mode(AgentFeatures::of("3.3.0.0"));
            assert_eq!(mode, Mode::Stdio, "{other}");
        }
    }

    #[test]
    fn sockets_only_where_they_are_asked_for() {
        let path = json!({"localUnixSocket": "/s"});
        assert_eq!(Properties::read(&path).local_socket, None);
        let unix = json!({"localUnixSocket": "/s", "localConnectionType": "unix"});
        assert_eq!(Properties::read(&unix).local_socket.as_deref(), Some("/s"));
    }
}
