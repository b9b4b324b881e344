//! The list of nodes, or other things, what is typed to narrow it, and how it looks.

use std::cmp::Reverse;

use nucleo_matcher::pattern::{CaseMatching, Normalization, Pattern};
use nucleo_matcher::{Config, Matcher, Utf32Str};

use super::super::output::{fit, pad, plain, width};
use super::keys::Key;
use crate::aws::Node;

/// The longest text to look for, in characters.
const LONGEST: usize = 200;

/// What a key led to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Draw it again.
    Draw,
    /// This one it is.
    Chosen(Box<Row>),
    /// None of them.
    Cancelled,
}

/// Something to pick.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// What it is called.
    pub name: Option<String>,
    /// What it is known by.
    pub id: String,
    /// How it is.
    pub status: String,
    /// What else there is to see.
    pub more: String,
    /// Whether it is of no use at present.
    pub idle: bool,
}

impl From<&Node> for Row {
    fn from(node: &Node) -> Self {
        Self {
            name: node.known_as().map(str::to_owned),
            id: node.id.clone(),
            status: node.ping.clone(),
            more: node.any_address().unwrap_or_default(),
            idle: !node.is_online(),
        }
    }
}

/// The list.
pub(super) struct List {
    /// What stands before the text that is typed.
    prompt: &'static str,
    nodes: Vec<Entry>,
    query: String,
    /// Those that match, by their places in `nodes`, the best first.
    shown: Vec<usize>,
    selected: usize,
    /// The first line that is on the screen.
    top: usize,
    /// How many lines there are for nodes.
    room: usize,
    complete: bool,
    matcher: Matcher,
}

struct Entry {
    row: Row,
    /// What is looked through.
    text: String,
}

impl List {
    pub(super) fn new(prompt: &'static str) -> Self {
        Self {
            prompt,
            nodes: Vec::new(),
            query: String::new(),
            shown: Vec::new(),
            selected: 0,
            top: 0,
            room: 10,
            complete: false,
            matcher: Matcher::new(Config::DEFAULT),
        }
    }

    /// Takes in more nodes; what is selected stays so.
    pub(super) fn add(&mut self, nodes: Vec<Node>) {
        let entries = nodes.into_iter().map(|node| {
            let parts = [
                node.known_as(),
                Some(node.id.as_str()),
                node.address.as_deref(),
                node.platform_name.as_deref(),
            ];
            let text: Vec<&str> = parts.into_iter().flatten().collect();
            Entry {
                text: plain(&text.join(" ")),
                row: Row::from(&node),
            }
        });
        self.take_in(entries.collect());
    }

    /// Takes in more of other things.
    pub(super) fn add_rows(&mut self, rows: Vec<Row>) {
        let entries = rows.into_iter().map(|row| {
            let parts = [row.name.as_deref(), Some(&row.id), Some(&row.more)];
            let text: Vec<&str> = parts.into_iter().flatten().collect();
            Entry {
                text: plain(&text.join(" ")),
                row,
            }
        });
        self.take_in(entries.collect());
    }

    fn take_in(&mut self, entries: Vec<Entry>) {
        let selected = self.shown.get(self.selected).copied();
        let moved = self.selected > 0;
        self.nodes.extend(entries);
        self.rank();
        if moved {
            let is = |&at: &usize| Some(at) == selected;
            self.selected = self.shown.iter().position(is).unwrap_or(0);
        }
    }

    /// There are no more nodes.
    pub(super) fn complete(&mut self) {
        self.complete = true;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    pub(super) fn press(&mut self, key: Key) -> Step {
        let last = self.shown.len().saturating_sub(1);
        match key {
            Key::Char(c) if self.query.chars().count() < LONGEST => self.edit(|it| it.push(c)),
            Key::Char(_) => {}
            Key::Backspace => self.edit(|query| {
                query.pop();
            }),
            Key::Clear => self.edit(String::clear),
            Key::ClearWord => self.edit(|query| {
                let end = query.trim_end().rfind(' ').map_or(0, |at| at + 1);
                query.truncate(end);
            }),
            Key::Up => self.selected = self.selected.saturating_sub(1),
            Key::Down => self.selected = (self.selected + 1).min(last),
            Key::PageUp => self.selected = self.selected.saturating_sub(self.room),
            Key::PageDown => self.selected = (self.selected + self.room).min(last),
            Key::First => self.selected = 0,
            Key::Last => self.selected = last,
            Key::Enter => {
                if let Some(entry) = self.at(self.selected) {
                    return Step::Chosen(Box::new(entry.row.clone()));
                }
            }
            Key::Cancel => return Step::Cancelled,
        }
        Step::Draw
    }

    fn edit(&mut self, change: impl FnOnce(&mut String)) {
        change(&mut self.query);
        self.selected = 0;
        self.rank();
    }

    fn at(&self, line: usize) -> Option<&Entry> {
        self.nodes.get(*self.shown.get(line)?)
    }

    /// Those that are online go first, the better match before that.
    fn rank(&mut self) {
        let pattern = Pattern::parse(&self.query, CaseMatching::Smart, Normalization::Smart);
        let mut buffer = Vec::new();
        let mut ranked = Vec::new();
        for (at, entry) in self.nodes.iter().enumerate() {
            let text = Utf32Str::new(&entry.text, &mut buffer);
            if let Some(score) = pattern.score(text, &mut self.matcher) {
                let key = (Reverse(score), entry.row.idle, entry.text.as_str());
                ranked.push((key, at));
            }
        }
        ranked.sort_unstable();
        self.shown = ranked.into_iter().map(|(_, at)| at).collect();
    }

    /// Lines for a terminal of this size, none wider than it; the first has what is typed, and the
    /// cursor belongs behind that.
    pub(super) fn lines(&mut self, cols: usize, rows: usize, styled: bool) -> (Vec<String>, usize) {
        // The last column is left alone, since terminals differ in what they do behind it.
        let cols = cols.saturating_sub(1);
        self.room = rows.saturating_sub(3).clamp(1, 15);
        self.selected = self.selected.min(self.shown.len().saturating_sub(1));
        self.top = self
            .top
            .clamp((self.selected + 1).saturating_sub(self.room), self.selected);
        let prompt = format!("{}> {}", self.prompt, self.query);
        let cursor = width(&prompt).min(cols);
        let more = if self.complete { "" } else { "…" };
        let count = format!("{}/{}{more}", self.shown.len(), self.nodes.len());
        let mut lines = vec![fit(&format!("{prompt}  {count}"), cols)];
        let on_screen: Vec<&Entry> = (self.top..self.top + self.room)
            .filter_map(|line| self.at(line))
            .collect();
        let names = on_screen.iter().map(|entry| width(&name(&entry.row)));
        let ids = on_screen.iter().map(|entry| width(&entry.row.id));
        let (names, ids) = (names.max().unwrap_or(0).min(40), ids.max().unwrap_or(0));
        for (line, entry) in on_screen.iter().enumerate() {
            let selected = self.top + line == self.selected;
            let row = &entry.row;
            let text = format!(
                "{} {}  {}  {}  {}",
                if selected { ">" } else { " " },
                pad(&fit(&name(row), names), names),
                pad(&plain(&row.id), ids),
                pad(&plain(&row.status), 6),
                plain(&row.more),
            );
            let text = fit(text.trim_end(), cols);
            lines.push(match (styled, selected, row.idle) {
                (true, true, _) => format!("\x1b[7m{text}\x1b[27m"),
                (true, false, true) => format!("\x1b[2m{text}\x1b[22m"),
                _ => text,
            });
        }
        (lines, cursor)
    }
}

fn name(row: &Row) -> String {
    plain(row.name.as_deref().unwrap_or("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: &str, name: &str, ping: &str) -> Node {
        Node {
            id: id.to_owned(),
            name: Some(name.to_owned()),
            ping: ping.to_owned(),
            ..Node::default()
        }
    }

    fn list() -> List {
        let mut list = List::new("node");
        list.add(vec![
            node("i-3", "web-2", "Online"),
            node("i-1", "alpha", "ConnectionLost"),
            node("i-2", "web-1", "Online"),
        ]);
        list
    }

    fn type_in(list: &mut List, text: &str) {
        for c in text.chars() {
            assert_eq!(list.press(Key::Char(c)), Step::Draw);
        }
    }

    fn chosen(list: &mut List) -> Option<String> {
        match list.press(Key::Enter) {
            Step::Chosen(row) => Some(row.id),
            _ => None,
        }
    }

    #[test]
    fn typing_narrows_the_list() {
        let mut list = list();
        assert_eq!(chosen(&mut list).as_deref(), Some("i-2"));
        type_in(&mut list, "wb2");
        assert_eq!(chosen(&mut list).as_deref(), Some("i-3"));
        list.press(Key::Clear);
        type_in(&mut list, "alp");
        assert_eq!(chosen(&mut list).as_deref(), Some("i-1"));
        type_in(&mut list, "xx");
        assert_eq!(chosen(&mut list), None);
        list.press(Key::ClearWord);
        list.press(Key::Down);
        assert_eq!(chosen(&mut list).as_deref(), Some("i-3"));
        assert_eq!(list.press(Key::Cancel), Step::Cancelled);
    }

    #[test]
    fn what_is_selected_stays_when_more_comes() {
        let mut list = list();
        list.press(Key::Down);
        list.add(vec![node("i-0", "aaa", "Online")]);
        assert_eq!(chosen(&mut list).as_deref(), Some("i-3"));
        list.press(Key::Last);
        assert_eq!(chosen(&mut list).as_deref(), Some("i-1"));
    }

    #[test]
    fn lines_fit_and_follow_the_selection() {
        let mut list = List::new("node");
        let many = (0..100).map(|n| node(&format!("i-{n:03}"), "日本語のサーバー", "Online"));
        list.add(many.collect());
        for (cols, rows) in [(80, 24), (20, 5), (1, 1), (300, 100)] {
            for key in [Key::First, Key::PageDown, Key::Last, Key::Up] {
                list.press(key);
                let (lines, cursor) = list.lines(cols, rows, false);
                assert!(lines.len() <= rows.max(2), "{rows}");
                assert!(lines.iter().all(|line| width(line) < cols.max(2)), "{cols}");
                assert!(cursor <= cols);
                assert_eq!(
                    lines.iter().filter(|it| it.starts_with('>')).count(),
                    usize::from(cols > 1)
                );
            }
        }
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let mut list = List::new("node");
        list.add(vec![node("i-1", "a\u{1b}[2Jb", "Online")]);
        let (lines, _) = list.lines(80, 24, false);
        assert!(!lines.concat().contains('\u{1b}'));
    }
}
