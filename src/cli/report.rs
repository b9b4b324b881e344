//! How things end that went wrong: a line that says what and why, perhaps one that says what to
//! do, and the exit status.

use std::error::Error as StdError;
use std::ffi::OsString;
use std::fmt;
use std::io::Write;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::aws;
use crate::session::SessionFailure;
use crate::text::words;

/// The command line makes no sense.
pub const USAGE: u8 = 252;
/// Configuration or credentials are to blame.
pub const CONFIGURATION: u8 = 253;
/// The service refused.
pub const REFUSED: u8 = 254;
/// Everything else that failed or was lost.
pub const FAILURE: u8 = 255;
/// The most of an error that is shown, in bytes.
const LONGEST: usize = 8000;

/// A failure with its own exit status and advice; the way for other layers' errors into reports.
#[derive(Debug)]
pub struct Failure {
    /// What and why, without a full stop.
    pub what: String,
    /// What to do next.
    pub hint: Option<String>,
    /// The exit status.
    pub status: u8,
}

impl Failure {
    /// Options that make no sense.
    pub fn usage(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            hint: None,
            status: USAGE,
        }
    }

    /// A configuration that makes no sense.
    pub fn configuration(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            hint: None,
            status: CONFIGURATION,
        }
    }

    /// Something failed, and nobody else has a status for it.
    pub fn other(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            hint: None,
            status: FAILURE,
        }
    }

    /// An end of which nothing is to be said.
    pub fn silent(status: u8) -> Self {
        Self {
            what: String::new(),
            hint: None,
            status,
        }
    }

    /// The same with advice.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl StdError for Failure {}

/// Prints `ssmx: error: …` and `ssmx: hint: …` to stderr, each on one line.
pub fn error(what: &str, hint: Option<&str>) {
    let mut text = format!("ssmx: error: {}\n", one_line(what));
    if let Some(hint) = hint {
        text.push_str(&format!("ssmx: hint: {}\n", one_line(hint)));
    }
    // If stderr is gone there is nobody to tell.
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// Prints an error with its causes and, if one of them has it, advice.
pub fn anyhow(error: &anyhow::Error) {
    let silent = |failure: &Failure| failure.what.is_empty();
    if error.downcast_ref().is_some_and(silent) {
        return;
    }
    self::error(&chain(error), advice(error).as_deref());
}

/// The exit status for an error.
pub fn status(error: &anyhow::Error) -> u8 {
    for cause in error.chain() {
        if let Some(failure) = cause.downcast_ref::<Failure>() {
            return failure.status;
        }
        if let Some(error) = cause.downcast_ref::<aws::Error>() {
            return aws_status(error);
        }
        if let Some(failure) = cause.downcast_ref::<SessionFailure>() {
            return failure.aws().map_or(FAILURE, aws_status);
        }
    }
    FAILURE
}

/// The exit status for an error of AWS.
pub fn aws_status(error: &aws::Error) -> u8 {
    match error.kind() {
        aws::Kind::Configuration | aws::Kind::Credentials => CONFIGURATION,
        aws::Kind::Refused => REFUSED,
        aws::Kind::Unreachable | aws::Kind::Other => FAILURE,
    }
}

/// A runtime for one command: one thread, as the work is waiting.
pub fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::other(format!("cannot start: {error}")).into())
}

/// Reports what clap has to say; help and version are no errors.
pub(super) fn usage(error: &clap::Error, args: &[OsString]) -> u8 {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            return match error.print() {
                Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                    self::error(&format!("cannot write to stdout: {error}"), None);
                    FAILURE
                }
                _ => 0,
            };
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            return USAGE;
        }
        _ => {}
    }
    let text = error.render().to_string();
    let mut paragraphs = text.split("\n\n");
    let what = paragraphs.next().unwrap_or_default();
    let what = about_numbers(what.strip_prefix("error: ").unwrap_or(what));
    let what = what.as_str();
    let tips: Vec<&str> = paragraphs
        .flat_map(str::lines)
        .filter_map(|line| line.trim().strip_prefix("tip: "))
        .collect();
    let see = format!("see `{} --help`", subcommand(args));
    let is_target = ["'i-", "'mi-", "'ecs:"]
        .iter()
        .any(|start| what.contains(start));
    let lacks_dashes = see.starts_with("see `ssmx exec ") && takes_no_more(error);
    let instead = super::aws_words::instead(error);
    let hint = match tips.first() {
        _ if instead.is_some() => instead.unwrap_or_default().to_owned(),
        _ if lacks_dashes => format!("the command goes behind --: ssmx exec TARGET -- CMD; {see}"),
        _ if is_target => format!("nodes are given as --target NODE; {see}"),
        Some(tip) => format!("{}; {see}", one_line(tip)),
        None => see,
    };
    self::error(what, Some(&hint));
    USAGE
}

/// The same where Rust's parsers speak of digits and types.
pub(super) fn about_numbers(text: &str) -> String {
    const WORDS: [(&str, &str); 4] = [
        ("invalid digit found in string", "it must be a whole number"),
        (
            "cannot parse integer from empty string",
            "it must be a whole number",
        ),
        ("number too large to fit in target type", "it is too large"),
        ("number too small to fit in target type", "it is too small"),
    ];
    let words = WORDS.iter();
    words.fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// Whether it is about a word that is no option, and one too many.
fn takes_no_more(error: &clap::Error) -> bool {
    let word = error.get(ContextKind::InvalidArg);
    error.kind() == ErrorKind::UnknownArgument
        && matches!(word, Some(ContextValue::String(word)) if !word.starts_with('-'))
}

/// `ssmx` with the subcommand that the arguments name.
fn subcommand(args: &[OsString]) -> String {
    let definition = super::definition();
    let named = args
        .iter()
        .skip(1)
        .filter_map(|word| word.to_str())
        .find(|word| definition.find_subcommand(word).is_some());
    match named {
        Some(name) => format!("ssmx {name}"),
        None => "ssmx".to_owned(),
    }
}

/// What to do about an error, if somebody knows.
pub fn advice(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| {
        if let Some(failure) = cause.downcast_ref::<Failure>() {
            return failure.hint.clone();
        }
        if let Some(failure) = cause.downcast_ref::<SessionFailure>() {
            return failure.hint();
        }
        cause.downcast_ref::<aws::Error>()?.hint()
    })
}

/// The causes from the outside in; some errors repeat their cause in their own text.
fn chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let part = cause.to_string();
        if text.contains(&part) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&part);
    }
    text
}

/// One line, without anything that a terminal might obey: texts may come from the network. Nor
/// does it keep the numbers that Rust appends to the system's texts, ` (os error 2)`.
fn one_line(text: &str) -> String {
    let mut line = words(text).collect::<Vec<_>>().join(" ");
    while let Some((before, after)) = line.split_once(" (os error ")
        && let Some((_, after)) = after.split_once(')')
    {
        line = format!("{before}{after}");
    }
    if line.len() > LONGEST {
        line.truncate(line.floor_char_boundary(LONGEST));
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::super::Cli;
    use super::*;
    use anyhow::Context;
    use clap::Parser;

    #[test]
    fn statuses_follow_the_cause() {
        let usage: anyhow::Error = Failure::usage("no").into();
        assert_eq!(status(&usage), USAGE);
        assert_eq!(status(&usage.context("outer")), USAGE);
        assert_eq!(status(&anyhow::anyhow!("plain")), FAILURE);
    }

    #[test]
    fn chains_are_told_once_and_on_one_line() {
        let error = Err::<(), _>(Failure::other("inner\nline").hint("do\tthis"))
            .context("outer")
            .expect_err("made so");
        assert_eq!(one_line(&chain(&error)), "outer: inner line");
        assert_eq!(advice(&error).as_deref(), Some("do\tthis"));
        let twice = Err::<(), _>(Failure::other("inner"))
            .context("outer: inner")
            .expect_err("made so");
        assert_eq!(chain(&twice), "outer: inner");
    }

    #[test]
    fn numbers_of_the_system_are_left_out() {
        let texts = [
            ("a: No such file (os error 2)", "a: No such file"),
            ("a (os error 2): b (os error 13) c", "a: b c"),
            ("broken (os error 2", "broken (os error 2"),
        ];
        for (text, expected) in texts {
            assert_eq!(one_line(text), expected);
        }
        assert!(one_line(&"ä".repeat(1_000_000)).len() < 2 * LONGEST);
    }

    #[test]
    fn usage_errors_have_status_252_and_name_the_subcommand() {
        let cases: [&[&str]; 5] = [
            &["ssmx", "start-session", "--tarket", "i-1"],
            &["ssmx", "start-sesion"],
            &["ssmx", "describe-sessions", "--state", "Dead"],
            &["ssmx", "terminate-session"],
            &["ssmx", "start-session", "--keepalive", "soon"],
        ];
        for words in cases {
            let error = Cli::try_parse_from(words).expect_err("bad");
            let args: Vec<OsString> = words.iter().map(OsString::from).collect();
            assert_eq!(usage(&error, &args), USAGE, "{words:?}");
        }
        let args = ["ssmx", "--region", "r", "start-session", "-x"].map(OsString::from);
        assert_eq!(subcommand(&args), "ssmx start-session");
        assert_eq!(subcommand(&["ssmx".into(), "x".into()]), "ssmx");
    }

    #[test]
    fn help_and_version_are_no_errors() {
        for word in ["--help", "--version", "-h"] {
            let error = Cli::try_parse_from(["ssmx", word]).expect_err("printed");
            assert_eq!(usage(&error, &[]), 0, "{word}");
        }
    }
}
