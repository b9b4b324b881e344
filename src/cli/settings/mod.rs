//! Settings from the environment and the configuration files, put under the options of the
//! command line as their defaults. An option goes first, then an alias that the command line
//! names, then the environment, then the files.

mod check;
mod matches;
mod source;

use std::ffi::OsString;

use clap::parser::ValueSource;
use clap::{ArgMatches, Command, CommandFactory, FromArgMatches};
use serde_json::Value;

use super::ecs::Wanted;
use super::global::Global;
use super::report::{self, Failure};
use super::{Cli, aliases, output};
use crate::config::{Alias, At, Config, File, Key, Kind, SETTINGS};

use check::check;
pub(super) use check::{check_setting, failure};
use matches::{innermost, target, text_of};
pub use source::{Setting, Source};

/// Subcommands that do without the configuration, so that it can be put right.
const WITHOUT: [&str; 5] = ["completion", "config", "install-plugin", "loopback", "man"];

/// What the environment and the files say.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The files.
    pub config: Config,
    /// What goes below the options.
    below: Vec<Below>,
    /// What came out in the end.
    outcome: Vec<Setting>,
    /// The alias that the command line names.
    alias: Option<Alias>,
}

/// Values for an option that is not given.
#[derive(Clone, Debug)]
struct Below {
    /// The option.
    id: &'static str,
    values: Vec<String>,
    source: Source,
}

impl Settings {
    /// What stands below the options, from the environment and `config`.
    fn new(config: Config) -> Self {
        let below = SETTINGS.iter().filter_map(|key| below(key, &config));
        Self {
            below: below.collect(),
            config,
            ..Self::default()
        }
    }

    /// All settings there are, from here and, as far as options of every subcommand go, `given`.
    pub fn all(&self, given: &Self) -> Vec<Setting> {
        let definition = Cli::command();
        let of = |key: &Key| {
            let option = given.outcome.iter().find(|setting| {
                setting.key == key.name && matches!(setting.source, Source::Option)
            });
            if let Some(option) = option {
                return option.clone();
            }
            let found = self.below.iter().find(|default| default.id == key.name);
            let (value, source) = match found {
                Some(default) => (default.values.first().cloned(), default.source.clone()),
                None => of_aws(key).unwrap_or_else(|| {
                    let option = find(&definition, key.name);
                    let value = option.and_then(|option| option.get_default_values().first());
                    let value = value.map(|value| value.to_string_lossy().into_owned());
                    (value, Source::Default)
                }),
            };
            Setting {
                key: key.name,
                value,
                source,
            }
        };
        SETTINGS.iter().map(of).collect()
    }

    /// Where a setting came from.
    pub fn source(&self, key: &str) -> &Source {
        let found = self.outcome.iter().find(|setting| setting.key == key);
        found.map_or(&Source::Default, |setting| &setting.source)
    }

    /// What an alias of the command line stands for, or else the text itself; also if it stands
    /// for a container.
    pub fn target<'a>(&'a self, text: &'a str) -> &'a str {
        match self.alias(text) {
            Some(alias) if !alias.target.is_empty() => &alias.target,
            _ => text,
        }
    }

    /// The container that an alias of the command line stands for.
    pub fn container(&self, text: &str) -> Option<Wanted> {
        self.alias(text).and_then(Wanted::of)
    }

    /// Whether this is an alias of the command line.
    pub fn is_alias(&self, text: &str) -> bool {
        self.alias(text).is_some()
    }

    fn alias(&self, text: &str) -> Option<&Alias> {
        self.alias.as_ref().filter(|alias| alias.name == text)
    }

    /// Tells where everything came from, and which file does not count.
    pub fn tell(&self) {
        for Setting { key, value, source } in &self.outcome {
            let value = output::plain(value.as_deref().unwrap_or("-"));
            tracing::debug!("{key} = {value} ({})", output::plain(&source.to_string()));
        }
        if let Some(ignored) = &self.config.ignored {
            let path = output::plain(&ignored.path.to_string_lossy());
            crate::terminal::notice(&format!("{path} does not count: {}", ignored.why));
        }
    }

    /// Puts an alias above the environment and the files.
    fn put(&mut self, alias: &Alias, file: &File, given: impl Fn(&str) -> bool) {
        let source = Source::Alias {
            name: alias.name.clone(),
            path: file.path.clone(),
            at: alias.at,
        };
        let one = |value: &Option<String>| value.iter().cloned().collect::<Vec<_>>();
        let texts = |list: &[(String, At)]| {
            list.iter()
                .map(|(text, _)| text.clone())
                .collect::<Vec<_>>()
        };
        let mut put = |id: &'static str, values: Vec<String>| {
            if !values.is_empty() {
                self.below.retain(|default| default.id != id);
                self.below.push(Below {
                    id,
                    values,
                    source: source.clone(),
                });
            }
        };
        put("profile", one(&alias.profile));
        put("region", one(&alias.region));
        put("reason", one(&alias.reason));
        // Options that belong together go together.
        if !given("document_name") {
            put("document_name", one(&alias.document));
            put("parameters", one(&parameters(alias)));
        }
        if !given("local") && !given("dynamic") {
            put("local", texts(&alias.forwards));
            put("dynamic", texts(&alias.dynamic));
        }
        self.alias = Some(alias.clone());
    }

    /// The definition of the command line with all of it as defaults.
    fn under(&self, command: Command) -> Command {
        let mut command = command;
        for default in &self.below {
            command = with_default(command, default);
        }
        command
    }

    /// Notes what came out for the options that the subcommand has.
    fn note(&mut self, matches: &ArgMatches) {
        let innermost = innermost(matches);
        let ids = SETTINGS.iter().map(|key| key.name);
        let more = ["document_name", "parameters", "local", "dynamic"];
        let more = more
            .into_iter()
            .filter(|id| self.below.iter().any(|default| default.id == *id));
        self.outcome = ids
            .chain(more)
            .filter(|id| innermost.try_contains_id(id).is_ok())
            .map(|key| {
                if is_opposed(innermost, key) {
                    return Setting {
                        key,
                        value: Some("false".to_owned()),
                        source: Source::Option,
                    };
                }
                let source = match innermost.value_source(key) {
                    Some(ValueSource::CommandLine) => Source::Option,
                    Some(_) => self.source_below(key),
                    None => Source::Default,
                };
                let value = text_of(innermost, key);
                // Not for us to set, but good to know.
                let aws = || {
                    let key = SETTINGS.iter().find(|known| known.name == key)?;
                    of_aws(key)
                };
                let (value, source) = match source {
                    Source::Default => aws().unwrap_or((value, source)),
                    source => (value, source),
                };
                Setting { key, value, source }
            })
            .collect();
    }

    fn source_below(&self, id: &str) -> Source {
        let found = self.below.iter().find(|default| default.id == id);
        found.map_or(Source::Default, |default| default.source.clone())
    }
}

/// Reads the command line, with everything that stands below it; otherwise, the exit status.
pub(super) fn parse(args: &[OsString]) -> Result<Cli, u8> {
    let (mut settings, wrong) = match load() {
        Ok(settings) => (settings, None),
        Err(failure) => (Settings::default(), Some(failure)),
    };
    let usage = |error: &clap::Error| report::usage(error, args);
    let read = |settings: &Settings| {
        let command = settings.under(Cli::command());
        command.try_get_matches_from(args)
    };
    let mut matches = read(&settings).map_err(|error| usage(&error))?;
    let name = matches.subcommand_name().unwrap_or_default();
    if let Some(failure) = wrong.filter(|_| !WITHOUT.contains(&name)) {
        report::error(&failure.what, failure.hint.as_deref());
        return Err(failure.status);
    }
    if let Some(target) = target(&matches)
        && let Some((alias, file)) = settings.config.alias(&target)
    {
        let (alias, file) = (alias.clone(), file.clone());
        let problems = aliases::check(&alias, &file);
        if !problems.is_empty() {
            let failure = failure(&problems);
            report::error(&failure.what, failure.hint.as_deref());
            return Err(failure.status);
        }
        let given = |id: &str| {
            let innermost = innermost(&matches);
            innermost.try_contains_id(id).is_ok()
                && innermost.value_source(id) == Some(ValueSource::CommandLine)
        };
        settings.put(&alias, &file, given);
        matches = read(&settings).map_err(|error| usage(&error))?;
    }
    settings.note(&matches);
    let mut cli = Cli::from_arg_matches(&matches).map_err(|error| usage(&error))?;
    cli.global.set(settings);
    Ok(cli)
}

/// The global options that these words and everything below them make.
pub(super) fn global(words: &[OsString]) -> Option<Global> {
    let settings = load().unwrap_or_default();
    let line = [&["ssmx".into()], words, &["config".into(), "path".into()]].concat();
    let command = settings.under(Cli::command());
    let matches = command.try_get_matches_from(line).ok()?;
    let mut settings = settings;
    settings.note(&matches);
    let mut cli = Cli::from_arg_matches(&matches).ok()?;
    cli.global.set(settings);
    Some(cli.global)
}

/// What the environment and the files say, checked as the options of these names would be.
pub(super) fn load() -> Result<Settings, Failure> {
    let config = Config::load().map_err(|problems| failure(&problems))?;
    let settings = Settings::new(config);
    if !settings.below.is_empty() {
        let definition = Cli::command();
        for default in &settings.below {
            check(&definition, default)?;
        }
    }
    Ok(settings)
}

/// The environment, or else the files.
fn below(key: &Key, config: &Config) -> Option<Below> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(value) = variable(key.variable) {
        let value = value.to_string_lossy();
        let value = match key.kind {
            Kind::Flag => flag(&value),
            _ => &value,
        };
        return Some(Below {
            id: key.name,
            values: vec![value.to_owned()],
            source: Source::Environment(key.variable),
        });
    }
    if key.aws.iter().any(|name| variable(name).is_some()) {
        return None;
    }
    let (setting, file) = config.setting(key.name)?;
    Some(Below {
        id: key.name,
        values: vec![setting.value.clone()],
        source: Source::File {
            path: file.path.clone(),
            at: setting.at,
        },
    })
}

/// `true` or `false`, however a variable puts it; what is neither stays.
fn flag(value: &str) -> &str {
    match value.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => "true",
        "false" | "0" | "no" | "off" => "false",
        _ => value,
    }
}

/// Whether the command line says no to a setting that an option without a value says yes to.
fn is_opposed(matches: &ArgMatches, key: &str) -> bool {
    let known = SETTINGS.iter().find(|known| known.name == key);
    let opposite = known.map_or("", |known| known.opposite);
    matches.try_contains_id(opposite).is_ok()
        && matches.value_source(opposite) == Some(ValueSource::CommandLine)
}

/// What a variable of AWS says, unless that is a key.
fn of_aws(key: &Key) -> Option<(Option<String>, Source)> {
    key.aws.iter().find_map(|name| {
        let value = std::env::var(name).ok().filter(|value| !value.is_empty())?;
        let shown = (*name != "AWS_ACCESS_KEY_ID").then_some(value);
        Some((shown, Source::Environment(name)))
    })
}

/// The option of this name, of whichever subcommand has it.
fn find<'a>(command: &'a Command, id: &str) -> Option<&'a clap::Arg> {
    command
        .get_arguments()
        .find(|option| option.get_id() == id)
        .or_else(|| {
            let of = |sub: &'a Command| sub.get_arguments().find(|option| option.get_id() == id);
            command.get_subcommands().find_map(of)
        })
}

fn with_default(command: Command, default: &Below) -> Command {
    let mine = |option: clap::Arg| match option.get_id() == default.id {
        true => option.default_values(default.values.clone()),
        false => option,
    };
    command
        .mut_args(mine)
        .mut_subcommands(|sub| with_default(sub, default))
}

/// The parameters of an alias as `--parameters` takes them.
fn parameters(alias: &Alias) -> Option<String> {
    if alias.parameters.is_empty() {
        return None;
    }
    let object = alias
        .parameters
        .iter()
        .map(|(name, values)| (name.clone(), Value::from(values.clone())));
    Some(Value::Object(object.collect()).to_string())
}
