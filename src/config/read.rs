//! A text, held against the schema.

use std::env;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::alias::{self, Alias};
use super::problem::{At, Problem};
use super::schema::{ALIAS_KEYS, Key, Kind, SETTINGS, nearest};
use super::{File, Owner, Setting};

/// The table of aliases.
const ALIASES: &str = "alias";

/// Nobody reads more complaints about one file, and each costs a look through it.
const MOST: usize = 100;

/// Reads a file; all that is wrong with it, from top to bottom.
pub(super) fn file(path: PathBuf, owner: Owner, text: &str) -> Result<File, Vec<Problem>> {
    // Some editors put a byte order mark in front.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader {
        path: &path,
        owner,
        text,
        problems: Vec::new(),
    };
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let span = error.span().unwrap_or_default();
        reader.complain(span, error.message().to_owned(), None);
    }
    // What follows a slip of the pen may be nonsense, about which to complain helps nobody.
    let (settings, aliases) = match errors.is_empty() {
        true => reader.top(table.get_ref()),
        false => Default::default(),
    };
    let mut problems = reader.problems;
    if problems.is_empty() {
        return Ok(File {
            path,
            owner,
            settings,
            aliases,
        });
    }
    problems.sort_by_key(|problem| problem.at);
    Err(problems)
}

struct Reader<'a> {
    path: &'a Path,
    owner: Owner,
    text: &'a str,
    problems: Vec<Problem>,
}

/// A value as it stands in the file.
enum Value {
    Text(String),
    Texts(Vec<(String, At)>),
    Parameters(Vec<(String, Vec<String>)>),
}

impl Reader<'_> {
    fn at(&self, span: &Range<usize>) -> At {
        At::of(self.text, span.start)
    }

    fn complain(&mut self, span: Range<usize>, what: String, hint: Option<String>) {
        if self.problems.len() >= MOST {
            return;
        }
        let problem = Problem {
            path: self.path.to_owned(),
            at: Some(self.at(&span)),
            what,
            hint,
        };
        // A slip of the pen may be found on each of several levels.
        if self.problems.last() != Some(&problem) {
            self.problems.push(problem);
        }
    }

    fn top(&mut self, table: &DeTable<'_>) -> (Vec<Setting>, Vec<Alias>) {
        let (mut settings, mut aliases) = (Vec::new(), Vec::new());
        for (name, value) in table {
            if name.get_ref() == ALIASES {
                aliases = self.aliases(value);
                continue;
            }
            let others = [ALIASES];
            let Some(key) = self.key(name, SETTINGS, &others, "there is no setting") else {
                continue;
            };
            if let Some(Value::Text(text)) = self.value(key, value) {
                settings.push(Setting {
                    key: key.name,
                    value: text,
                    at: self.at(&value.span()),
                });
            }
        }
        settings.sort_by_key(|setting| setting.at);
        (settings, aliases)
    }

    fn aliases(&mut self, value: &Spanned<DeValue<'_>>) -> Vec<Alias> {
        let Some(table) = self.table(value, "alias") else {
            return Vec::new();
        };
        let mut aliases = Vec::new();
        for (name, value) in table {
            if let Some(why) = alias::bad_name(name.get_ref()) {
                let what = format!("{} is no name for an alias: {why}", shown(name.get_ref()));
                self.complain(name.span(), what, None);
                continue;
            }
            if let Some(table) = self.table(value, &format!("alias.{}", name.get_ref())) {
                aliases.extend(self.alias(name, table));
            }
        }
        aliases.sort_by_key(|alias| alias.at);
        aliases
    }

    fn alias(
        &mut self,
        name: &Spanned<std::borrow::Cow<'_, str>>,
        table: &DeTable<'_>,
    ) -> Option<Alias> {
        let mut alias = Alias {
            name: name.get_ref().to_string(),
            at: self.at(&name.span()),
            ..Alias::default()
        };
        let before = self.problems.len();
        for (name, value) in table {
            let Some(key) = self.key(name, ALIAS_KEYS, &[], "an alias has no key") else {
                continue;
            };
            let Some(found) = self.value(key, value) else {
                continue;
            };
            match (key.name, found) {
                ("target", Value::Text(text)) => alias.target = text,
                ("cluster", Value::Text(text)) => alias.cluster = Some(text),
                ("service", Value::Text(text)) => alias.service = Some(text),
                ("task", Value::Text(text)) => alias.task = Some(text),
                ("container", Value::Text(text)) => alias.container = Some(text),
                ("description", Value::Text(text)) => alias.description = Some(text),
                ("profile", Value::Text(text)) => alias.profile = Some(text),
                ("region", Value::Text(text)) => alias.region = Some(text),
                ("reason", Value::Text(text)) => alias.reason = Some(text),
                ("document", Value::Text(text)) => alias.document = Some(text),
                ("forwards", Value::Texts(texts)) => alias.forwards = texts,
                ("dynamic", Value::Texts(texts)) => alias.dynamic = texts,
                ("command", Value::Texts(texts)) => {
                    alias.command = texts.into_iter().map(|(text, _)| text).collect();
                }
                ("parameters", Value::Parameters(list)) => alias.parameters = list,
                _ => {}
            }
        }
        if self.problems.len() == before
            && let Some((what, hint)) = alias.lacks()
        {
            self.complain(name.span(), what, Some(hint.to_owned()));
        }
        (self.problems.len() == before).then_some(alias)
    }

    /// The key of this name, if the file may have it.
    fn key(
        &mut self,
        name: &Spanned<std::borrow::Cow<'_, str>>,
        keys: &'static [Key],
        others: &[&str],
        no_such: &str,
    ) -> Option<&'static Key> {
        let Some(key) = keys.iter().find(|key| key.name == name.get_ref()) else {
            let names = || {
                keys.iter()
                    .map(|key| key.name)
                    .chain(others.iter().copied())
            };
            if self.problems.len() >= MOST {
                return None;
            }
            let hint = match nearest(name.get_ref(), names()) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("there are: {}", names().collect::<Vec<_>>().join(", ")),
            };
            self.complain(
                name.span(),
                format!("{no_such} {}", shown(name.get_ref())),
                Some(hint),
            );
            return None;
        };
        if let (Owner::Project, Some(why)) = (self.owner, key.guarded) {
            let what = format!("a project's file must not set {}: {why}", key.name);
            let hint = "put it into your own file, which `ssmx config path` names".to_owned();
            self.complain(name.span(), what, Some(hint));
            return None;
        }
        Some(key)
    }

    fn table<'t, 'd>(
        &mut self,
        value: &'t Spanned<DeValue<'d>>,
        name: &str,
    ) -> Option<&'t DeTable<'d>> {
        match value.get_ref() {
            DeValue::Table(table) => Some(table),
            other => {
                let what = format!("{name} must be a table, not {}", kind_of(other));
                self.complain(value.span(), what, None);
                None
            }
        }
    }

    /// A value of the kind that the key wants.
    fn value(&mut self, key: &Key, value: &Spanned<DeValue<'_>>) -> Option<Value> {
        let text = |text: &str| Some(Value::Text(text.to_owned()));
        let wanted = match (key.kind, value.get_ref()) {
            (Kind::Text, DeValue::String(found)) if !found.is_empty() => return text(found),
            (Kind::Text, _) => "a text".to_owned(),
            (Kind::Number, DeValue::Integer(found)) => {
                match u32::from_str_radix(found.as_str(), found.radix()) {
                    Ok(number) => return text(&number.to_string()),
                    Err(_) => "a whole number from 0 to 4294967295".to_owned(),
                }
            }
            (Kind::Number, _) => "a whole number".to_owned(),
            (Kind::Amount, DeValue::Integer(found)) => {
                match u32::from_str_radix(found.as_str(), found.radix()) {
                    Ok(number) => return text(&number.to_string()),
                    Err(_) => "a whole number from 0 to 4294967295".to_owned(),
                }
            }
            (Kind::Amount, DeValue::String(found)) if is_amount(found) => return text(found),
            (Kind::Amount, _) => "a whole number, or a percentage such as \"10%\"".to_owned(),
            (Kind::Flag, DeValue::Boolean(found)) => return text(&found.to_string()),
            (Kind::Flag, _) => "true or false".to_owned(),
            (Kind::Choice(choices), DeValue::String(found))
                if choices.contains(&found.as_ref()) =>
            {
                return text(found);
            }
            (Kind::Choice(choices), _) => {
                let choices: Vec<_> = choices.iter().map(|one| format!("{one:?}")).collect();
                format!("one of {}", choices.join(", "))
            }
            (Kind::Path, DeValue::String(found)) if !found.is_empty() => {
                return Some(Value::Text(self.resolved(found)));
            }
            (Kind::Path, _) => "the path of a file".to_owned(),
            (Kind::Texts, found) => match self.texts(found, &value.span()) {
                Some(texts) => return Some(Value::Texts(texts)),
                None => "a list of texts".to_owned(),
            },
            (Kind::Parameters, DeValue::Table(table)) => {
                return self.parameters(key, table).map(Value::Parameters);
            }
            (Kind::Parameters, _) => "a table of names with texts".to_owned(),
        };
        let what = format!(
            "{} must be {wanted}, not {}",
            key.name,
            kind_of(value.get_ref())
        );
        self.complain(value.span(), what, None);
        None
    }

    fn texts(&self, value: &DeValue<'_>, span: &Range<usize>) -> Option<Vec<(String, At)>> {
        match value {
            DeValue::String(text) if !text.is_empty() => {
                Some(vec![(text.to_string(), self.at(span))])
            }
            DeValue::Array(values) if !values.is_empty() => values
                .iter()
                .map(|value| match value.get_ref() {
                    DeValue::String(text) => Some((text.to_string(), self.at(&value.span()))),
                    _ => None,
                })
                .collect(),
            _ => None,
        }
    }

    fn parameters(&mut self, key: &Key, table: &DeTable<'_>) -> Option<Vec<(String, Vec<String>)>> {
        let mut parameters = Vec::new();
        for (name, value) in table {
            let Some(texts) = self.texts(value.get_ref(), &value.span()) else {
                let what = format!(
                    "{}.{} must be a text or a list of texts, not {}",
                    key.name,
                    name.get_ref(),
                    kind_of(value.get_ref())
                );
                self.complain(value.span(), what, None);
                return None;
            };
            let texts = texts.into_iter().map(|(text, _)| text).collect();
            parameters.push((name.get_ref().to_string(), texts));
        }
        Some(parameters)
    }

    /// The path as it is meant, from wherever ssmx runs. Names without a slash stay: they are
    /// looked for as the shell does.
    fn resolved(&self, text: &str) -> String {
        let path = match (text.strip_prefix("~/"), env::home_dir()) {
            (Some(rest), Some(home)) => home.join(rest),
            _ if !text.contains(['/', '\\']) => return text.to_owned(),
            _ => {
                let directory = self.path.parent().unwrap_or(Path::new(""));
                std::path::absolute(directory)
                    .unwrap_or_else(|_| directory.to_owned())
                    .join(text)
            }
        };
        // What came from a text and stays one; another home's name is not worth a failure.
        path.to_string_lossy().into_owned()
    }
}

/// Whether it is a whole number, or one with a percent sign.
fn is_amount(text: &str) -> bool {
    let digits = text.strip_suffix('%').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// A text in quotation marks, or the beginning of it.
fn shown(text: &str) -> String {
    let short: String = text.chars().take(40).collect();
    format!("{short:?}")
}

/// What a value is, as complaints have it.
fn kind_of(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) if text.is_empty() => "an empty text".to_owned(),
        DeValue::String(text) => shown(text),
        DeValue::Integer(number) => format!("the number {number}"),
        DeValue::Float(number) => format!("the number {number}"),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(_) => "a time".to_owned(),
        DeValue::Array(values) if values.is_empty() => "an empty list".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}
