//! What a command did on each of many nodes, as it is printed.

use std::io::{self, ErrorKind, IsTerminal as _, Write};

use serde_json::{Value, json};

use super::super::output;
use super::super::report::Failure;
use crate::aws::{CommandResult, KEPT_ERRORS, KEPT_OUTPUT};
use crate::terminal;
use crate::text::is_harmful;

/// The status if the command failed on a node.
const SOME_FAILED: u8 = 1;

/// What it did on one node.
pub struct NodeResult {
    /// The node.
    pub id: String,
    /// Its name, if the service tells one.
    pub name: Option<String>,
    /// What it did.
    pub outcome: CommandResult,
}

/// The exit status for all of them.
pub fn status_of(results: &[NodeResult]) -> u8 {
    match results.iter().all(NodeResult::succeeded) {
        true => 0,
        false => SOME_FAILED,
    }
}

impl NodeResult {
    /// Whether all is well.
    pub fn succeeded(&self) -> bool {
        self.outcome.status == "Success"
    }

    /// For the summary.
    pub fn row(&self) -> Vec<String> {
        let details = match self.outcome.details.as_str() {
            "" => &self.outcome.status,
            details => details,
        };
        vec![
            output::plain(&self.id),
            output::plain(self.name.as_deref().unwrap_or("-")),
            output::plain(details),
            match self.outcome.code {
                code if code < 0 => "-".to_owned(),
                code => code.to_string(),
            },
        ]
    }

    /// With the AWS CLI's keys, and whether anything is missing.
    pub fn to_json(&self) -> Value {
        json!({
            "InstanceId": self.id,
            "InstanceName": self.name,
            "Status": self.outcome.status,
            "StatusDetails": self.outcome.details,
            "ResponseCode": self.outcome.code,
            "StandardOutputContent": self.outcome.stdout,
            "StandardErrorContent": self.outcome.stderr,
            "OutputTruncated": self.is_cut(),
        })
    }

    fn is_cut(&self) -> bool {
        let long = |text: &str, kept: usize| text.chars().count() >= kept;
        long(&self.outcome.stdout, KEPT_OUTPUT) || long(&self.outcome.stderr, KEPT_ERRORS)
    }
}

/// Prints results as they come.
pub struct Printer {
    json: bool,
}

impl Printer {
    /// `json`: they are printed all at once, by somebody else.
    pub fn new(json: bool) -> Self {
        Self { json }
    }

    /// Prints one, stdout to stdout and stderr to stderr; false if nobody reads any more.
    pub fn print(&self, result: &NodeResult) -> Result<bool, Failure> {
        if self.json {
            return Ok(true);
        }
        let id = &output::plain(&result.id);
        let is_terminal = io::stdout().is_terminal();
        let text = prefixed(id, &result.outcome.stdout, is_terminal);
        let written = io::stdout()
            .lock()
            .write_all(text.as_bytes())
            .and_then(|()| io::stdout().flush());
        match written {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(false),
            Err(error) => {
                return Err(Failure::other(format!("cannot write to stdout: {error}")));
            }
        }
        // If stderr is gone there is nobody to tell.
        let is_terminal = io::stderr().is_terminal();
        let errors = prefixed(id, &result.outcome.stderr, is_terminal);
        let _ = io::stderr().lock().write_all(errors.as_bytes());
        if result.is_cut() {
            terminal::notice(&format!(
                "{id}: there may be more; the service keeps {KEPT_OUTPUT} characters of stdout and \
                 {KEPT_ERRORS} of stderr"
            ));
        }
        Ok(true)
    }
}

/// Tells how it went, on stderr.
pub fn summary(table: &str) {
    let _ = io::stderr().lock().write_all(table.as_bytes());
}

/// Each line behind the node's id. A terminal gets nothing that could write over the lines of
/// other nodes; it is none for the programs that printed it either.
fn prefixed(id: &str, text: &str, is_terminal: bool) -> String {
    let mut out = String::new();
    for line in text.lines() {
        match is_terminal {
            true => out.push_str(&format!("{id} | {}\n", shown(line))),
            false => out.push_str(&format!("{id} | {line}\n")),
        }
    }
    out
}

fn shown(line: &str) -> String {
    line.chars()
        .map(|c| match c {
            '\t' => c,
            c if is_harmful(c) => char::REPLACEMENT_CHARACTER,
            c => c,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_stand_behind_their_node() {
        for is_terminal in [false, true] {
            let lines = prefixed("i-1", "a\tä\n\nb\r\n", is_terminal);
            assert_eq!(lines, "i-1 | a\tä\ni-1 | \ni-1 | b\n");
            assert_eq!(prefixed("i-1", "", is_terminal), "");
        }
    }

    #[test]
    fn no_node_writes_over_another_one_on_a_terminal() {
        let text = "\x1b[1A\ri-2 | ok\u{9b}2J";
        assert_eq!(prefixed("i-1", text, false), format!("i-1 | {text}\n"));
        let lines = prefixed("i-1", text, true);
        assert_eq!(lines, "i-1 | �[1A�i-2 | ok�2J\n");
    }
}
