//! A list to pick a node (or something else) from, for those who name none: fuzzy, drawn below the cursor on stderr,
//! and gone afterwards.

mod keys;
mod list;

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::report::Failure;
use super::target::tell_what_is_lacking;
use crate::aws::{self, Aws, Node};
use crate::terminal::{self, Input, RawMode, Signal, Signals};

use keys::{Key, Keys};
use list::{List, Step};

pub use list::Row;

/// Nodes as they come.
type Pages = mpsc::Receiver<Result<Vec<Node>, aws::Error>>;

/// How long a key's bytes may come apart, so that the escape key can be told from the others.
const APART: Duration = Duration::from_millis(50);

/// Whether there is someone to pick, who can see what.
pub fn is_possible() -> bool {
    terminal::stdin_is_terminal() && io::stderr().is_terminal()
}

/// Lets the user pick a node; its id. What is typed behind the choice is lost.
///
/// Fails if there are no nodes, and silently, with 128 + n, if the user does not want to (130) or
/// a signal ends it. Signals have no other effect from then on: see [`Signals`].
pub async fn pick(aws: &Aws) -> anyhow::Result<String> {
    // This may ask the user for a code.
    aws.prepare("cannot list the nodes").await?;
    terminal::install_panic_hook();
    let pages = aws.nodes(Vec::new()).spawn();
    let node = Picker::open("node")?.run(pages).await?;
    tell_what_is_lacking(aws);
    Ok(picked(node))
}

/// Lets the user pick one of these nodes; its id. Fails as [`pick`] does.
pub async fn among(nodes: &[Node]) -> anyhow::Result<String> {
    let rows = nodes.iter().map(Row::from).collect();
    Ok(picked(choose("node", rows).await?))
}

/// Says which one it is, for the list is gone.
fn picked(node: Row) -> String {
    match &node.name {
        Some(name) => terminal::notice(&format!("{name}: {}", node.id)),
        None => terminal::notice(&node.id),
    }
    node.id
}

/// Lets the user pick one of other things, if there is someone to pick; `what` they are, in one
/// word.
///
/// Fails as [`pick`] does.
pub async fn choose(what: &'static str, rows: Vec<Row>) -> anyhow::Result<Row> {
    terminal::install_panic_hook();
    let mut picker = Picker::open(what)?;
    picker.list.add_rows(rows);
    // Nothing more will come.
    let (_, none) = mpsc::channel(1);
    picker.run(none).await
}

/// The terminal, as long as the list is on it.
struct Picker {
    signals: Signals,
    input: Input,
    keys: Keys,
    list: List,
    /// How many lines there are below the one with the cursor.
    below: usize,
    _raw: Option<RawMode>,
}

impl Picker {
    fn open(what: &'static str) -> anyhow::Result<Self> {
        let signals = Signals::install().context("cannot listen for signals")?;
        let raw = RawMode::enter().context("cannot use the terminal")?;
        let input = Input::spawn().context("cannot read the terminal")?;
        Ok(Self {
            signals,
            input,
            keys: Keys::default(),
            list: List::new(what),
            below: 0,
            _raw: raw,
        })
    }

    async fn run(mut self, mut pages: Pages) -> anyhow::Result<Row> {
        let mut complete = false;
        self.draw();
        loop {
            let step = tokio::select! {
                keys = next_keys(&mut self.input, &mut self.keys) => self.press(keys),
                signal = self.signals.next() => self.heed(signal)?,
                page = pages.recv(), if !complete => match page {
                    Some(page) => {
                        self.list.add(page?);
                        Step::Draw
                    }
                    None if self.list.is_empty() => {
                        return Err(Failure::other("there are no managed nodes to pick from")
                            .hint("is this the right --region and --profile?")
                            .into());
                    }
                    None => {
                        complete = true;
                        self.list.complete();
                        Step::Draw
                    }
                },
            };
            match step {
                Step::Draw => self.draw(),
                Step::Chosen(row) => return Ok(*row),
                Step::Cancelled => return Err(Failure::silent(130).into()),
            }
        }
    }

    fn press(&mut self, keys: Vec<Key>) -> Step {
        for key in keys {
            match self.list.press(key) {
                Step::Draw => {}
                step => return step,
            }
        }
        Step::Draw
    }

    fn heed(&mut self, signal: Signal) -> anyhow::Result<Step> {
        match signal {
            Signal::Suspend => {
                self.erase();
                terminal::suspend()?;
            }
            Signal::Continue => terminal::resume()?,
            Signal::Resize => {}
            ending => {
                let number = ending.number().unwrap_or(2);
                return Err(Failure::silent(128 + number).into());
            }
        }
        Ok(Step::Draw)
    }

    fn draw(&mut self) {
        let (cols, rows) = match terminal::size() {
            Some(size) => (size.cols.into(), size.rows.into()),
            None => (80, 24),
        };
        let (lines, cursor) = self.list.lines(cols, rows, terminal::color_allowed());
        self.below = lines.len().saturating_sub(1);
        let mut text = format!("\r\x1b[J{}\r", lines.join("\r\n"));
        if self.below > 0 {
            text.push_str(&format!("\x1b[{}A", self.below));
        }
        if cursor > 0 {
            text.push_str(&format!("\x1b[{cursor}C"));
        }
        put(&text);
    }

    fn erase(&self) {
        put("\r\x1b[J");
    }
}

impl Drop for Picker {
    fn drop(&mut self) {
        self.erase();
    }
}

/// Writes to the terminal; if it is gone, its end is about to be read.
fn put(text: &str) {
    drop(io::stderr().write_all(text.as_bytes()));
}

/// The next keys, perhaps none. At the end of the input, the one that cancels. Safe to cancel.
async fn next_keys(input: &mut Input, keys: &mut Keys) -> Vec<Key> {
    let read = if keys.is_waiting() {
        match timeout(APART, input.next()).await {
            Ok(read) => read,
            Err(_) => return keys.give_up().into_iter().collect(),
        }
    } else {
        input.next().await
    };
    match read {
        Some(Ok(bytes)) => keys.feed(&bytes),
        Some(Err(_)) | None => vec![Key::Cancel],
    }
}
