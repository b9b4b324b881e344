//! What was found, and how it is told.

use serde_json::{Map, Value, json};

use super::super::output;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// All is well.
    Ok,
    /// Sessions work, but not as well as they could.
    Warning,
    /// Sessions do not work.
    Failed,
    /// It says nothing about sessions, or could not be found out.
    Skipped,
}

/// One finding.
#[derive(Clone, Debug)]
pub struct Check {
    /// Its name for programs, which stays: `GROUP.NAME`.
    pub id: &'static str,
    /// How it ended.
    pub status: Status,
    /// What was found, in one line.
    text: String,
    /// What to do about it.
    fix: Option<String>,
    /// What was found, for programs.
    details: Map<String, Value>,
    /// The exit status if it failed.
    pub exit: u8,
}

impl Check {
    fn new(id: &'static str, status: Status, text: impl Into<String>) -> Self {
        Self {
            id,
            status,
            text: output::plain(&text.into()),
            fix: None,
            details: Map::new(),
            exit: 0,
        }
    }

    /// All is well.
    pub fn ok(id: &'static str, text: impl Into<String>) -> Self {
        Self::new(id, Status::Ok, text)
    }

    /// It could be better.
    pub fn warning(id: &'static str, text: impl Into<String>) -> Self {
        Self::new(id, Status::Warning, text)
    }

    /// It does not work; `exit` is the exit status that goes with it.
    pub fn failed(id: &'static str, exit: u8, text: impl Into<String>) -> Self {
        Self {
            exit,
            ..Self::new(id, Status::Failed, text)
        }
    }

    /// It does not matter, or nobody knows.
    pub fn skipped(id: &'static str, text: impl Into<String>) -> Self {
        Self::new(id, Status::Skipped, text)
    }

    /// The same with what to do.
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(output::plain(&fix.into()));
        self
    }

    /// The same with what to do, if that is known.
    pub fn maybe_fix(self, fix: Option<String>) -> Self {
        match fix {
            Some(fix) => self.fix(fix),
            None => self,
        }
    }

    /// The same with something for programs.
    pub fn detail(mut self, key: &str, value: impl Into<Value>) -> Self {
        let value = value.into();
        if !value.is_null() {
            self.details.insert(key.to_owned(), value);
        }
        self
    }

    fn group(&self) -> &'static str {
        self.id.split('.').next().unwrap_or_default()
    }
}

/// How to print.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// With escape sequences for colours.
    pub color: bool,
    /// With signs outside of ASCII.
    pub signs: bool,
}

/// Everything, for people: a line for each check, what to do below it.
pub fn text(checks: &[Check], look: Look) -> String {
    let mut text = String::new();
    let mut group = "";
    for check in checks {
        if check.group() != group {
            group = check.group();
            text.push_str(title(group));
            text.push('\n');
        }
        text.push_str(&format!("  {} {}\n", sign(check.status, look), check.text));
        if let Some(fix) = &check.fix {
            text.push_str(&format!("      fix: {fix}\n"));
        }
    }
    let (good, warnings, failures) = (
        count(checks, Status::Ok),
        count(checks, Status::Warning),
        count(checks, Status::Failed),
    );
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    text.push_str(&format!(
        "{good} well, {warnings} warning{}, {failures} failure{}\n",
        plural(warnings),
        plural(failures)
    ));
    text
}

fn title(group: &str) -> &'static str {
    match group {
        "settings" => "Settings",
        "credentials" => "Credentials",
        "network" => "Network",
        "iam" => "Permissions",
        "target" => "Target",
        "deep" => "Session",
        _ => "This machine",
    }
}

fn sign(status: Status, look: Look) -> String {
    let (sign, plain, color) = match status {
        Status::Ok => ("✓", "ok  ", "32"),
        Status::Warning => ("!", "warn", "33"),
        Status::Failed => ("✗", "FAIL", "31"),
        Status::Skipped => ("-", "-   ", "2"),
    };
    let sign = if look.signs { sign } else { plain };
    match look.color {
        true => format!("\u{1b}[{color}m{sign}\u{1b}[0m"),
        false => sign.to_owned(),
    }
}

fn count(checks: &[Check], status: Status) -> usize {
    checks.iter().filter(|check| check.status == status).count()
}

/// Everything, for programs.
pub fn json(checks: &[Check]) -> Value {
    let list: Vec<Value> = checks
        .iter()
        .map(|check| {
            let status = match check.status {
                Status::Ok => "ok",
                Status::Warning => "warning",
                Status::Failed => "failed",
                Status::Skipped => "skipped",
            };
            let mut object = json!({ "Id": check.id, "Status": status, "Text": check.text });
            if let Some(object) = object.as_object_mut() {
                if let Some(fix) = &check.fix {
                    object.insert("Fix".to_owned(), fix.clone().into());
                }
                if !check.details.is_empty() {
                    object.insert("Details".to_owned(), check.details.clone().into());
                }
            }
            object
        })
        .collect();
    json!({
        "Ok": count(checks, Status::Failed) == 0,
        "Warnings": count(checks, Status::Warning),
        "Failures": count(checks, Status::Failed),
        "Checks": list,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> [Check; 3] {
        [
            Check::ok("settings.region", "region r").detail("Region", "r"),
            Check::failed("network.ssm", 255, "no\u{1b}[2J way").fix("make one"),
            Check::warning("network.ipv6", "slow"),
        ]
    }

    #[test]
    fn findings_are_lines_under_titles() {
        let plain = Look {
            color: false,
            signs: false,
        };
        assert_eq!(
            text(&some(), plain),
            "Settings\n  ok   region r\nNetwork\n  FAIL no [2J way\n      fix: make one\n  warn slow\n\
             1 well, 1 warning, 1 failure\n"
        );
        let fancy = Look {
            color: true,
            signs: true,
        };
        assert!(text(&some(), fancy).contains("\u{1b}[31m✗\u{1b}[0m no [2J way"));
    }

    #[test]
    fn programs_get_ids() {
        assert_eq!(
            json(&some()).to_string(),
            r#"{"Ok":false,"Warnings":1,"Failures":1,"Checks":[{"Id":"settings.region","Status":"ok","Text":"region r","Details":{"Region":"r"}},{"Id":"network.ssm","Status":"failed","Text":"no [2J way","Fix":"make one"},{"Id":"network.ipv6","Status":"warning","Text":"slow"}]}"#
        );
    }
}
