//! How a list of nodes looks: a table that fits the terminal, or JSON; either is printed as it
//! comes, so that no more of it than a screenful of pages is in memory.

use std::io::{self, IsTerminal as _};

use serde_json::{Map, Value};

use super::super::output::{self, fit, plain};
use super::super::report::Failure;
use crate::aws::Node;
use crate::terminal;

/// Rows that decide how wide the columns are; later ones may be wider.
const DECIDING: usize = 1000;
/// No column is cut to less than this, in cells.
const NARROWEST: usize = 8;

/// Where nodes are, as far as that has to be told.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    pub profile: Option<String>,
    pub region: Option<String>,
}

/// Prints nodes.
pub(super) enum Printer {
    Table(Table),
    Json { some: bool },
}

impl Printer {
    pub(super) fn new(json: bool, places: bool) -> Self {
        match json {
            true => Self::Json { some: false },
            false => Self::Table(Table::new(places)),
        }
    }

    /// Prints some nodes, or keeps them for later; whether anyone still reads.
    pub(super) fn print(&mut self, place: &Place, nodes: &[Node]) -> Result<bool, Failure> {
        match self {
            Self::Table(table) => table.print(place, nodes),
            Self::Json { some } => {
                let mut text = String::new();
                for node in nodes {
                    text.push_str(if *some { "," } else { "{\n    \"Nodes\": [" });
                    *some = true;
                    let object = output::pretty(&to_json(place, node))?;
                    text.push_str("\n        ");
                    text.push_str(&object.replace('\n', "\n        "));
                }
                output::part(&text)
            }
        }
    }

    /// Prints the rest.
    pub(super) fn finish(&mut self) -> Result<(), Failure> {
        match self {
            Self::Table(table) => table.flush().map(drop),
            Self::Json { some: true } => output::text("\n    ]\n}\n"),
            Self::Json { some: false } => output::text("{\n    \"Nodes\": []\n}\n"),
        }
    }
}

/// Rows as they come, under titles.
pub(super) struct Table {
    places: bool,
    /// Cells of a line of the terminal, if there is one.
    cols: Option<usize>,
    /// Rows before the widths are known.
    waiting: Vec<Vec<String>>,
    widths: Option<Vec<usize>>,
}

impl Table {
    fn new(places: bool) -> Self {
        let terminal = io::stdout().is_terminal().then(terminal::size).flatten();
        Self {
            places,
            cols: terminal.map(|size| size.cols.into()),
            waiting: Vec::new(),
            widths: None,
        }
    }

    fn titles(&self) -> Vec<&'static str> {
        let places: &[&str] = if self.places {
            &["PROFILE", "REGION"]
        } else {
            &[]
        };
        [
            places,
            &["ID", "NAME", "PING", "PLATFORM", "AGENT", "ADDRESS"],
        ]
        .concat()
    }

    fn print(&mut self, place: &Place, nodes: &[Node]) -> Result<bool, Failure> {
        let places = self.places;
        let rows = nodes.iter().map(|node| row(places.then_some(place), node));
        self.waiting.extend(rows);
        match self.widths.is_some() || self.waiting.len() >= DECIDING {
            true => self.flush(),
            false => Ok(true),
        }
    }

    fn flush(&mut self) -> Result<bool, Failure> {
        let titles = self.titles();
        let rows = std::mem::take(&mut self.waiting);
        let mut text = String::new();
        let widths = match self.widths.take() {
            Some(widths) => widths,
            None => {
                let mut widths = output::widths(&titles, &rows);
                if let Some(cols) = self.cols {
                    narrow(&mut widths, cols, usize::from(self.places) * 2 + 1);
                }
                let titles: Vec<String> = titles.iter().map(ToString::to_string).collect();
                text.push_str(&output::line(&titles, &widths));
                widths
            }
        };
        for mut row in rows {
            // What a program reads is never cut.
            if self.cols.is_some() {
                for (cell, width) in row.iter_mut().zip(&widths) {
                    *cell = fit(cell, *width);
                }
            }
            text.push_str(&output::line(&row, &widths));
        }
        self.widths = Some(widths);
        output::part(&text)
    }
}

/// Takes what does not fit from the names (the column `name`) and the platforms behind them.
fn narrow(widths: &mut [usize], cols: usize, name: usize) {
    for column in [name, name + 2] {
        let all = widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1);
        if let Some(width) = widths.get_mut(column) {
            let least = NARROWEST.min(*width);
            *width = width.saturating_sub(all.saturating_sub(cols)).max(least);
        }
    }
}

fn row(place: Option<&Place>, node: &Node) -> Vec<String> {
    let text = |text: Option<&str>| plain(text.unwrap_or("-"));
    let mut row = Vec::with_capacity(8);
    if let Some(place) = place {
        row.push(text(place.profile.as_deref()));
        row.push(text(place.region.as_deref()));
    }
    row.extend([
        plain(&node.id),
        text(node.known_as()),
        plain(&node.ping),
        plain(&platform(node)),
        text(node.agent_version.as_deref()),
        text(node.any_address().as_deref()),
    ]);
    row
}

fn platform(node: &Node) -> String {
    let name = node.platform_name.as_ref().or(node.platform_type.as_ref());
    match (name, &node.platform_version) {
        (Some(name), Some(version)) => format!("{name} {version}"),
        (Some(name), None) => name.clone(),
        (None, _) => "-".to_owned(),
    }
}

/// A node with the service's keys; what is not known is not there.
fn to_json(place: &Place, node: &Node) -> Value {
    let mut object = Map::new();
    let mut put = |key: &str, value: Option<&str>| {
        if let Some(value) = value {
            object.insert(key.to_owned(), value.into());
        }
    };
    put("Profile", place.profile.as_deref());
    put("Region", place.region.as_deref());
    put("InstanceId", Some(&node.id));
    put("Name", node.name.as_deref());
    put("PingStatus", Some(&node.ping));
    put("InstanceState", node.state.as_deref());
    put("PlatformType", node.platform_type.as_deref());
    put("PlatformName", node.platform_name.as_deref());
    put("PlatformVersion", node.platform_version.as_deref());
    put("AgentVersion", node.agent_version.as_deref());
    put("IPAddress", node.any_address().as_deref());
    put("ComputerName", node.computer_name.as_deref());
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_give_way_first_and_then_platforms() {
        let narrowed = |cols| {
            let mut widths = [19, 30, 6, 20, 7, 12];
            narrow(&mut widths, cols, 1);
            widths
        };
        assert_eq!(narrowed(200), [19, 30, 6, 20, 7, 12]);
        assert_eq!(narrowed(90), [19, 16, 6, 20, 7, 12]);
        assert_eq!(narrowed(80), [19, 8, 6, 18, 7, 12]);
        assert_eq!(narrowed(10), [19, 8, 6, 8, 7, 12]);
    }

    #[test]
    fn nodes_have_the_keys_of_the_service() {
        let node = Node {
            id: "i-1".to_owned(),
            ping: "Online".to_owned(),
            address: Some("10.0.0.1".to_owned()),
            ..Node::default()
        };
        let place = Place {
            profile: Some("p".to_owned()),
            region: None,
        };
        assert_eq!(
            to_json(&place, &node).to_string(),
            r#"{"Profile":"p","InstanceId":"i-1","PingStatus":"Online","IPAddress":"10.0.0.1"}"#
        );
    }
}
