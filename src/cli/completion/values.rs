//! What options take that no definition lists: nodes, profiles, regions, aliases.

use std::ffi::{OsStr, OsString};

use clap::{Arg, Command};
use clap_complete::engine::{
    ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter as _,
};

use super::super::settings;
use crate::aws::regions;

/// Documents of AWS that start sessions.
const DOCUMENTS: [&str; 6] = [
    "AWS-StartInteractiveCommand",
    "AWS-StartNonInteractiveCommand",
    "AWS-StartPortForwardingSession",
    "AWS-StartPortForwardingSessionToRemoteHost",
    "AWS-StartSSHSession",
    "SSM-SessionManagerRunShell",
];

/// A candidate and what it is.
pub(super) type Choice = (String, Option<String>);

/// The definition of the command line, with what the words so far let options take.
pub(super) fn definition(words: &[OsString]) -> Command {
    with_values(super::super::definition(), &Words::of(words))
}

/// What the words so far say that matters for others.
#[derive(Clone, Debug, Default)]
pub(super) struct Words {
    /// Options that lead to a service, with their values.
    pub globals: Vec<OsString>,
}

impl Words {
    fn of(words: &[OsString]) -> Self {
        const GLOBALS: [&str; 4] = ["--profile", "--region", "--endpoint-url", "--ca-bundle"];
        let mut globals = Vec::new();
        // The last word is being typed.
        let words = words.split_last().map_or(&[][..], |(_, before)| before);
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let text = word.to_string_lossy();
            if text == "--" {
                break;
            }
            match text.split_once('=') {
                Some((name, _)) if GLOBALS.contains(&name) => globals.push(word.clone()),
                None if GLOBALS.contains(&text.as_ref()) => {
                    if let Some(value) = words.next() {
                        globals.extend([word.clone(), value.clone()]);
                    }
                }
                _ => {}
            }
        }
        Self { globals }
    }
}

fn with_values(command: Command, words: &Words) -> Command {
    let is_ssh = command.get_name() == "ssh";
    command
        .mut_args(|option| with_value(option, words, is_ssh))
        .mut_subcommands(|sub| with_values(sub, words))
}

fn with_value(option: Arg, words: &Words, is_ssh: bool) -> Arg {
    let words = words.clone();
    let id = option.get_id().as_str().to_owned();
    match id.as_str() {
        "target" | "target_option" | "targets" => {
            let complete = move |typed: &OsStr| matching(typed, targets(&words));
            option.add(ArgValueCompleter::new(complete))
        }
        "words" if is_ssh => {
            let complete = move |typed: &OsStr| {
                let typed = typed.to_string_lossy();
                let (user, host) = match typed.rsplit_once('@') {
                    Some((user, host)) => (format!("{user}@"), host),
                    None => (String::new(), typed.as_ref()),
                };
                let with_user = |(value, help): Choice| (format!("{user}{value}"), help);
                let hosts = targets(&words).into_iter();
                let is_begun = |(value, _): &Choice| value.starts_with(host);
                candidates(hosts.filter(is_begun).map(with_user))
            };
            option.add(ArgValueCompleter::new(complete))
        }
        "paths" => {
            let complete = move |typed: &OsStr| {
                let mut found = PathCompleter::any().complete(typed);
                let with_colon = |(value, help): Choice| (format!("{value}:"), help);
                let hosts = targets(&words).into_iter().map(with_colon);
                found.extend(matching(typed, hosts.collect()));
                found
            };
            option.add(ArgValueCompleter::new(complete))
        }
        "session_id" | "session_ids" => {
            let complete = move |typed: &OsStr| matching(typed, super::sessions::choices(&words));
            option.add(ArgValueCompleter::new(complete))
        }
        "names" => option.add(ArgValueCompleter::new(|typed: &OsStr| {
            matching(typed, aliases())
        })),
        "profile" => option.add(ArgValueCompleter::new(|typed: &OsStr| {
            matching(typed, plain(&profiles()))
        })),
        "region" => option.add(ArgValueCompleter::new(|typed: &OsStr| {
            matching(typed, plain(&regions()))
        })),
        "document_name" => option.add(ArgValueCompleter::new(|typed: &OsStr| {
            matching(typed, plain(&DOCUMENTS))
        })),
        _ => option,
    }
}

fn plain<T: AsRef<str>>(values: &[T]) -> Vec<Choice> {
    let values = values.iter();
    values
        .map(|value| (value.as_ref().to_owned(), None))
        .collect()
}

fn matching(typed: &OsStr, choices: Vec<Choice>) -> Vec<CompletionCandidate> {
    let typed = typed.to_string_lossy();
    let is_begun = |(value, _): &Choice| value.starts_with(typed.as_ref());
    candidates(choices.into_iter().filter(is_begun))
}

fn candidates(choices: impl Iterator<Item = Choice>) -> Vec<CompletionCandidate> {
    let candidate =
        |(value, help): Choice| CompletionCandidate::new(value).help(help.map(Into::into));
    choices.map(candidate).collect()
}

fn targets(words: &Words) -> Vec<Choice> {
    let mut choices = aliases();
    choices.extend(super::nodes::choices(words));
    choices
}

fn aliases() -> Vec<Choice> {
    let settings = settings::load().unwrap_or_default();
    let choice = |(alias, _): (&crate::config::Alias, _)| {
        let about = alias.description.clone();
        let meant = match alias.is_container() {
            true => [
                &alias.cluster,
                &alias.service,
                &alias.task,
                &alias.container,
            ]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join("/"),
            false => alias.target.clone(),
        };
        let about = about.unwrap_or_else(|| format!("alias of {meant}"));
        (alias.name.clone(), Some(about))
    };
    settings.config.aliases().map(choice).collect()
}

fn profiles() -> Vec<String> {
    let Ok(runtime) = super::super::report::runtime() else {
        return Vec::new();
    };
    runtime.block_on(crate::aws::profiles())
}
