//! Sessions as they come: a table that fits the terminal, JSON, or fields between tabs.

use serde_json::{Value, json};

use super::{logs, name, started};
use crate::aws::Session;
use crate::cli::describe_sessions;
use crate::cli::global::Global;
use crate::cli::output::{self, fit, plain};
use crate::cli::report::Failure;
use crate::terminal;

const TITLES: [&str; 6] = ["STARTED", "LASTED", "STATUS", "OWNER", "TARGET", "SESSION"];
/// Columns that may be cut, first to last, and to what width.
const CUT: [(usize, usize); 2] = [(3, 8), (4, 19)];
/// The column that moves below where it does not fit: sessions are to be copied whole.
const SESSION: usize = 5;

/// Prints sessions, page by page.
pub struct Printer {
    form: Form,
    region: String,
    /// Milliseconds since 1970.
    now: i64,
    count: usize,
}

enum Form {
    Table {
        /// The width of the terminal, if stdout is one.
        cols: Option<usize>,
        /// Those of the columns, once the first page was seen.
        widths: Option<Vec<usize>>,
    },
    Text,
    Json,
}

impl Printer {
    pub fn new(global: &Global, region: &str, now: i64) -> Self {
        use std::io::IsTerminal as _;
        let cols = || {
            let size = terminal::size().filter(|_| std::io::stdout().is_terminal());
            size.map(|size| size.cols.into())
        };
        let form = match () {
            () if global.wants_json() => Form::Json,
            () if global.wants_text() => Form::Text,
            () => Form::Table {
                cols: cols(),
                widths: None,
            },
        };
        Self {
            form,
            region: region.to_owned(),
            now,
            count: 0,
        }
    }

    /// Whether it is for people.
    pub fn is_table(&self) -> bool {
        matches!(self.form, Form::Table { .. })
    }

    /// Whether nothing was printed yet.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Prints a page; whether there is still a reader.
    pub fn print(&mut self, sessions: &[Session]) -> Result<bool, Failure> {
        if sessions.is_empty() {
            return Ok(true);
        }
        let text = match &self.form {
            Form::Table { .. } => self.table(sessions),
            Form::Text => sessions
                .iter()
                .map(|session| self.fields(session))
                .collect(),
            Form::Json => self.json(sessions)?,
        };
        self.count += sessions.len();
        output::part(&text)
    }

    /// Prints what comes behind the last page.
    pub fn finish(&self) -> Result<(), Failure> {
        match (&self.form, self.count) {
            (Form::Json, 0) => output::text("{\n    \"Sessions\": []\n}\n"),
            (Form::Json, _) => output::text("\n    ]\n}\n"),
            _ => Ok(()),
        }
    }

    fn table(&mut self, sessions: &[Session]) -> String {
        let rows: Vec<Vec<String>> = sessions.iter().map(|session| self.row(session)).collect();
        let mut text = String::new();
        let Form::Table { cols, widths } = &mut self.form else {
            return text;
        };
        let cols = *cols;
        let widths = widths.get_or_insert_with(|| {
            let widths = fitted(output::widths(&TITLES, &rows), cols);
            let titles: Vec<String> = TITLES.iter().map(ToString::to_string).collect();
            text.push_str(&output::line(&titles, &widths));
            widths
        });
        for (mut row, session) in rows.into_iter().zip(sessions) {
            if cols.is_some() {
                for (at, _) in CUT {
                    if let (Some(cell), Some(&width)) = (row.get_mut(at), widths.get(at)) {
                        *cell = fit(cell, width);
                    }
                }
            }
            text.push_str(&output::line(&row, widths));
            let mut below = |name: &str, value: &str| {
                text.push_str(&format!("    {name}: {value}\n"));
            };
            if widths.len() <= SESSION
                && let Some(id) = row.get(SESSION)
            {
                below("session", id);
            }
            if let Some(reason) = session.reason.as_deref().filter(|text| !text.is_empty()) {
                let reason = plain(reason);
                let room = cols.map_or(usize::MAX, |cols| cols.saturating_sub(12));
                below("reason", &fit(&reason, room));
            }
            for link in logs::links(session.output_url.as_ref(), &self.region) {
                below("log", &link);
            }
        }
        text
    }

    fn row(&self, session: &Session) -> Vec<String> {
        let text = |text: &Option<String>| plain(text.as_deref().unwrap_or("-"));
        vec![
            started(session.start),
            self.seconds(session).map_or_else(|| "-".to_owned(), short),
            text(&session.status),
            name(session.owner.as_deref()),
            text(&session.target),
            text(&session.session_id),
        ]
    }

    /// How long it lasted, or has lasted.
    fn seconds(&self, session: &Session) -> Option<u64> {
        let lives = matches!(
            session.status.as_deref(),
            Some("Connected" | "Connecting" | "Disconnected")
        );
        let end = session.end.or(lives.then_some(self.now))?;
        let millis = end.checked_sub(session.start?)?;
        u64::try_from(millis).ok().map(|millis| millis / 1000)
    }

    fn fields(&self, session: &Session) -> String {
        let text = |text: Option<&String>| match text {
            Some(text) if !text.is_empty() => plain(text),
            _ => "-".to_owned(),
        };
        let time = |millis: Option<i64>| millis.map_or_else(|| "-".to_owned(), output::iso_time);
        let urls = session.output_url.as_ref();
        let seconds = self.seconds(session);
        let fields = [
            time(session.start),
            time(session.end),
            seconds.map_or_else(|| "-".to_owned(), |seconds| seconds.to_string()),
            text(session.status.as_ref()),
            text(session.owner.as_ref()),
            text(session.target.as_ref()),
            text(session.session_id.as_ref()),
            text(session.document_name.as_ref()),
            text(session.reason.as_ref()),
            text(urls.and_then(|urls| urls.s3.as_ref())),
            text(urls.and_then(|urls| urls.cloud_watch.as_ref())),
        ];
        fields.join("\t") + "\n"
    }

    /// Objects of the one list, which begins with the first page.
    fn json(&self, sessions: &[Session]) -> Result<String, Failure> {
        let mut text = String::new();
        for (n, session) in sessions.iter().enumerate() {
            text.push_str(match self.count + n {
                0 => "{\n    \"Sessions\": [\n",
                _ => ",\n",
            });
            let mut object = describe_sessions::to_json(session);
            if let Value::Object(object) = &mut object {
                if let Some(seconds) = self.seconds(session) {
                    object.insert("DurationSeconds".to_owned(), json!(seconds));
                }
                let links = logs::links(session.output_url.as_ref(), &self.region);
                object.insert("Logs".to_owned(), json!(links));
            }
            let lines = output::pretty(&object)?;
            let lines: Vec<String> = lines
                .lines()
                .map(|line| format!("        {line}"))
                .collect();
            text.push_str(&lines.join("\n"));
        }
        Ok(text)
    }
}

/// The widths of the columns on a terminal of so many; without the last one where it has no room.
fn fitted(mut widths: Vec<usize>, cols: Option<usize>) -> Vec<usize> {
    let Some(cols) = cols else { return widths };
    let all = |widths: &[usize]| widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1);
    let cut = |widths: &mut Vec<usize>| {
        for (at, least) in CUT {
            let over = all(widths).saturating_sub(cols);
            if let Some(width) = widths.get_mut(at) {
                *width = (*width).min(width.saturating_sub(over).max(least));
            }
        }
    };
    let mut narrow = widths.clone();
    cut(&mut narrow);
    if all(&narrow) <= cols {
        return narrow;
    }
    widths.truncate(SESSION);
    cut(&mut widths);
    widths
}

/// A span in a few characters: `42s`, `12m03s`, `2h05m`, `3d04h`.
fn short(seconds: u64) -> String {
    let two = |large, name, small| format!("{large}{name}{small:02}");
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => two(seconds / 60, "m", seconds % 60) + "s",
        3600..86_400 => two(seconds / 3600, "h", seconds / 60 % 60) + "m",
        _ => two(seconds / 86_400, "d", seconds / 3600 % 24) + "h",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::OutputUrl;

    fn printer(form: Form) -> Printer {
        Printer {
            form,
            region: "eu-west-1".to_owned(),
            now: 10_000,
            count: 0,
        }
    }

    fn session(id: &str) -> Session {
        Session {
            session_id: Some(id.to_owned()),
            target: Some("i-0123456789abcdef0".to_owned()),
            status: Some("Terminated".to_owned()),
            start: Some(1_000),
            end: Some(62_000),
            owner: Some("arn:aws:sts::1:assumed-role/Operations/somebody@example.org".to_owned()),
            reason: Some("TICKET-1\x1b[2J".to_owned()),
            output_url: Some(OutputUrl {
                s3: Some("s3://b/k".to_owned()),
                cloud_watch: None,
            }),
            ..Session::default()
        }
    }

    #[test]
    fn spans_are_short() {
        let cases = [
            (0, "0s"),
            (59, "59s"),
            (63, "1m03s"),
            (3_600, "1h00m"),
            (7_500, "2h05m"),
            (273_600, "3d04h"),
        ];
        for (seconds, text) in cases {
            assert_eq!(short(seconds), text);
        }
    }

    #[test]
    fn tables_fit_and_keep_sessions_whole() {
        let id = "somebody@example.org-0123456789abcdef0";
        for cols in [60_usize, 80, 100, 120, 200] {
            let mut printer = printer(Form::Table {
                cols: Some(cols),
                widths: None,
            });
            let text = printer.table(&[session(id)]);
            assert!(text.contains(id), "{text}");
            assert!(!text.contains('\x1b'));
            assert!(text.contains("    reason: TICKET-1 [2J\n"), "{text}");
            assert!(
                text.contains("    log: https://eu-west-1.console"),
                "{text}"
            );
            let wide = text.lines().filter(|line| output::width(line) > cols);
            let wide: Vec<_> = wide.filter(|line| !line.contains("log: ")).collect();
            assert!(wide.is_empty() || cols == 60, "{cols}: {wide:?}");
            // Later pages have no titles.
            assert!(!printer.table(&[session(id)]).contains("STARTED"));
        }
    }

    #[test]
    fn living_sessions_have_lasted_until_now() {
        let printer = printer(Form::Text);
        let mut living = session("s");
        living.end = None;
        assert_eq!(printer.seconds(&living), None, "it ended somehow");
        living.status = Some("Connected".to_owned());
        assert_eq!(printer.seconds(&living), Some(9));
        assert_eq!(printer.seconds(&session("s")), Some(61));
    }

    #[test]
    fn text_has_a_field_for_everything() {
        let fields = printer(Form::Text).fields(&session("s-1"));
        assert_eq!(
            fields,
            "1970-01-01T00:00:01+00:00\t1970-01-01T00:01:02+00:00\t61\tTerminated\t\
             arn:aws:sts::1:assumed-role/Operations/somebody@example.org\ti-0123456789abcdef0\t\
             s-1\t-\tTICKET-1 [2J\ts3://b/k\t-\n"
        );
    }

    #[test]
    fn pages_of_json_are_one_list() {
        let mut printer = printer(Form::Json);
        let mut text = printer.json(&[session("s-1")]).unwrap();
        printer.count = 1;
        text += &printer.json(&[session("s-2"), session("s-3")]).unwrap();
        text += "\n    ]\n}\n";
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["Sessions"][2]["SessionId"], "s-3");
        assert_eq!(value["Sessions"][0]["DurationSeconds"], 61);
        // As the printer of everything else would have it.
        assert_eq!(text, output::pretty(&value).unwrap() + "\n");
    }
}
