//! Session documents: what a StartSession request makes the agent run.

use serde_json::{Map, Value};

use super::agent::SessionType;

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
        }
    }

    /// The program of a document.
    ///
    /// # Errors
    ///
    /// Name and message of the service's refusal.
    pub(super) fn of_document(
        name: Option<&str>,
        parameters: &Map<String, Value>,
    ) -> Result<Self, (&'static str, String)> {
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
            unknown => Err((
                "InvalidDocument",
                format!("Document with name {unknown} does not exist."),
            )),
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

fn prefix(text: Option<String>) -> Result<String, (&'static str, String)> {
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
