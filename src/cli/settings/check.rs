//! Settings, held against the options that they stand below.

use clap::{Arg, Command, CommandFactory};

use super::super::Cli;
use super::super::report::{Failure, about_numbers};
use super::{Below, Source, find};
use crate::config::{File, Problem};

/// The first of several problems, for those who did not ask for the files to be checked.
pub(in crate::cli) fn failure(problems: &[Problem]) -> Failure {
    match problems {
        [] => Failure::configuration("the configuration is wrong"),
        [one] => Failure {
            hint: one.hint.clone(),
            ..Failure::configuration(one.to_string())
        },
        [first, rest @ ..] => Failure::configuration(format!("{first} (and {} more)", rest.len()))
            .hint("`ssmx config check` tells all"),
    }
}

/// Whether a file's setting is a value for its option.
pub(in crate::cli) fn check_setting(
    file: &File,
    setting: &crate::config::Setting,
) -> Result<(), Problem> {
    let default = Below {
        id: setting.key,
        values: vec![setting.value.clone()],
        source: Source::Default,
    };
    let Some(why) = refusal(&Cli::command(), &default) else {
        return Ok(());
    };
    Err(Problem {
        path: file.path.clone(),
        at: Some(setting.at),
        what: format!("{}: {why}", setting.key),
        hint: None,
    })
}

pub(super) fn check(definition: &Command, default: &Below) -> Result<(), Failure> {
    let Some(why) = refusal(definition, default) else {
        return Ok(());
    };
    let what = match &default.source {
        Source::Environment(name) => format!("{name}: {why}"),
        Source::File { path, at } => format!("{}:{at}: {}: {why}", path.display(), default.id),
        source => format!("{source}: {}: {why}", default.id),
    };
    Err(Failure::configuration(what))
}

/// Why the option does not take the value, in its own words.
fn refusal(definition: &Command, default: &Below) -> Option<String> {
    let option = find(definition, default.id)?;
    if !option.get_action().takes_values() {
        let value = default.values.first().map_or("", String::as_str);
        let is_flag = matches!(value, "true" | "false");
        return (!is_flag).then(|| format!("{value:?} cannot be used: it must be true or false"));
    }
    let words = default
        .values
        .iter()
        .map(|value| format!("--{}={value}", option.get_long().unwrap_or(default.id)));
    let words: Vec<String> = std::iter::once("ssmx".to_owned()).chain(words).collect();
    // By itself: it may require others, and exclude some.
    let alone = Arg::new(default.id)
        .long(option.get_long().unwrap_or(default.id).to_owned())
        .value_parser(option.get_value_parser().clone());
    let alone = Command::new("ssmx").arg(alone);
    let error = alone.try_get_matches_from(words).err()?;
    let text = error.render().to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    let first = first.strip_prefix("error: ").unwrap_or(first);
    // invalid value 'x' for '--y <Z>': why
    Some(match first.split_once("': ") {
        Some((_, why)) => format!(
            "{:?} cannot be used: {}",
            default.values.first().map_or("", String::as_str),
            about_numbers(why)
        ),
        None => first.split_whitespace().collect::<Vec<_>>().join(" "),
    })
}
