//! Session documents: what a StartSession request makes the agent run.

mod ports;

use serde_json::{Map, Value};

use super::agent::SessionType;

/// Name and message of the service's refusal.
pub(super) type Refused = (&'static str, String);

/// What runs at the agent's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Program {
    /// The shell, on a terminal.
    Shell,
    /// `sh -c` of a command line, on a terminal.
    Interactive(String),
    /// A program with its arguments, on a terminal (as in containers).
    Container(Vec<String>),
    /// A program with its arguments, without terminal and input.
    NonInteractive {
        /// Split as a shell would; no shell is involved.
        command: String,
        /// Outputs apart, each with a prefix; `None` sends both together at the end.
        separate: Option<Prefixes>,
    },
    /// Forwarded connections, with the properties that the handshake names.
    Ports(Map<String, Value>),
}

/// What goes before lines of separate outputs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Prefixes {
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Program {
    pub(super) fn session_type(&self) -> SessionType {
        match self {
            Self::Shell => SessionType::StandardStream,
            Self::Interactive(_) | Self::Container(_) => SessionType::InteractiveCommands,
            Self::NonInteractive { .. } => SessionType::NonInteractiveCommands,
            Self::Ports(_) => SessionType::Port,
        }
    }

    /// The same in a container, where the agent gives a command to no shell.
    pub(super) fn in_container(self) -> Self {
        match self {
            Self::Interactive(command) => match shell_words::split(&command) {
                Ok(argv) if !argv.is_empty() => Self::Container(argv),
                // It fails there by itself.
                _ => Self::Container(vec![command]),
            },
            other => other,
        }
    }

    /// Whether outputs go apart.
    pub(super) fn separates(&self) -> bool {
        let Self::NonInteractive { separate, .. } = self else {
            return false;
        };
        separate.is_some()
    }

    /// The program of a document. The user's own, `custom`, are of type Port: name and properties.
    pub(super) fn of_document(
        name: Option<&str>,
        parameters: &Map<String, Value>,
        custom: &[(String, Map<String, Value>)],
    ) -> Result<Self, Refused> {
        let text = |key: &str| parameter(parameters, key);
        let command = || {
            text("command")
                .filter(|command| !command.trim().is_empty())
                .ok_or((
                    "InvalidParameters",
                    "Parameter \"command\" is required by this document.".to_owned(),
                ))
        };
        match name.unwrap_or("SSM-SessionManagerRunShell") {
            "SSM-SessionManagerRunShell" => Ok(Self::Shell),
            "AWS-StartInteractiveCommand" => Ok(Self::Interactive(command()?)),
            "AWS-StartNonInteractiveCommand" => {
                let prefixes = Prefixes {
                    stdout: prefix(text("stdOutSeparatorPrefix"))?,
                    stderr: prefix(text("stdErrSeparatorPrefix"))?,
                };
                let separate = text("separateOutputStream")
                    .is_some_and(|text| text.eq_ignore_ascii_case("true"));
                Ok(Self::NonInteractive {
                    command: command()?,
                    separate: separate.then_some(prefixes),
                })
            }
            name => match ports::Document::named(name, custom) {
                Some(document) => document.properties(parameters).map(Self::Ports),
                None => Err((
                    "InvalidDocument",
                    format!("Document with name {name} does not exist."),
                )),
            },
        }
    }
}

/// The values of a parameter, which come as a list, joined.
fn parameter(parameters: &Map<String, Value>, key: &str) -> Option<String> {
    match parameters.get(key)? {
        Value::String(text) => Some(text.clone()),
        Value::Array(values) => {
            let texts: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
            Some(texts.join(" "))
        }
        _ => None,
    }
}

fn prefix(text: Option<String>) -> Result<String, Refused> {
    let text = text.unwrap_or_default();
    let allowed = |c: char| c.is_ascii_alphanumeric() || "\r\n_:-".contains(c);
    if text.len() <= 30 && text.chars().all(allowed) {
        Ok(text)
    } else {
        Err((
            "InvalidParameters",
            "An output prefix has at most 30 of the characters 0-9a-zA-Z\\r\\n_:-".to_owned(),
        ))
    }
}
