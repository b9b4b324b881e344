//! `ssmx config`: what the configuration files say, whether that makes sense, and where they are.

use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::global::Global;
use super::report;
use super::settings::{self, Setting, Source};
use super::{aliases, output};
use crate::config::{self, Alias, Config, File, Kind, Owner, Place, Problem, SETTINGS};

const EXAMPLE: &str = "The file is ~/.config/ssmx/config.toml; SSMX_CONFIG names another. A project \
    may have a .ssmx.toml, which counts in its directory and below.\n\nExample:\n  \
    region = \"eu-west-1\"\n  \
    keepalive = 15\n\n  \
    [alias.db]\n  \
    target = \"tag:Role=bastion\"\n  \
    profile = \"prod\"\n  \
    forwards = [\"15432:db.internal:5432\"]\n\n\
    Then `ssmx up db`, `ssmx run db -- psql -h localhost -p 15432`, `ssmx ssh db`, `ssmx start-session \
    --target db`.";

/// `ssmx config`
#[derive(Clone, Debug, clap::Args)]
#[command(
    after_help = format!("{EXAMPLE}\n\n`ssmx config --help` lists all keys."),
    after_long_help = format!("{EXAMPLE}\n\n{}", keys()),
    subcommand_required = true,
    arg_required_else_help = true
)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Command {
    /// Check the files, or one: exit status 253 if something is wrong, with all that is
    #[command(after_help = "Examples:\n  \
        ssmx config check\n  \
        ssmx config check deploy/.ssmx.toml       what a project's file must not set is wrong in it")]
    Check {
        /// The file; by default all that count here
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Print the settings that count, each with where it comes from, and the aliases
    #[command(after_help = "Examples:\n  \
        ssmx config show\n  \
        ssmx config show --output json\n\n\
        An option goes before an alias that is named, that before the environment (SSMX_REGION; then \
        AWS_REGION), that before a project's file, and that before the user's. Aliases of the user go \
        before those of a project.")]
    Show,
    /// Print where the user's file is, or would be
    #[command(after_help = "Example:\n  $EDITOR \"$(ssmx config path)\"")]
    Path,
}

/// All keys, and who may use them.
fn keys() -> String {
    let names = |keys: &[config::Key]| {
        let names: Vec<_> = keys.iter().map(|key| key.name).collect();
        names.join(", ")
    };
    let opposites = SETTINGS.iter().filter(|key| !key.opposite.is_empty());
    let opposites: Vec<_> = opposites
        .map(|key| format!("--{}", key.opposite.replace('_', "-")))
        .collect();
    let guarded = |keys: &[config::Key]| {
        let keys = keys.iter().filter(|key| key.guarded.is_some());
        keys.map(|key| key.name).collect::<Vec<_>>().join(", ")
    };
    let mut text = format!(
        "Settings, each with the meaning of the option of that name, and a variable in capitals \
         behind SSMX_, as in SSMX_KEEPALIVE: {}.\n\n\
         Those whose options take no value are true or false; an option says no: {}.\n\n\
         Keys of an alias:\n",
        names(SETTINGS),
        opposites.join(", ")
    );
    for key in config::ALIAS_KEYS {
        text.push_str(&format!("  {:12} {}\n", key.name, key.about));
    }
    text.push_str(&format!(
        "\nA project's file is the work of others. It must not set {}, nor {} of an alias, and its \
         forwards must listen on ports of localhost. Its aliases never take the place of the user's. \
         It does not count if it belongs to another user, or everybody may write to it.\n\n\
         AWS's own variables (AWS_PROFILE, AWS_REGION …) go before the files, and credentials in the \
         environment before a profile of theirs.",
        guarded(SETTINGS),
        guarded(config::ALIAS_KEYS)
    ));
    text
}

/// Runs the subcommand; the exit status.
pub fn run(global: &Global, args: &Args) -> anyhow::Result<u8> {
    match &args.command {
        Command::Check { file } => check(global, file.as_deref()),
        Command::Show => show(global),
        Command::Path => {
            let place = config::user_file()
                .ok_or_else(|| report::Failure::other("there is no home directory"))?;
            output::text(&format!("{}\n", place.path.display()))?;
            Ok(0)
        }
    }
}

fn check(global: &Global, file: Option<&std::path::Path>) -> anyhow::Result<u8> {
    let read = match file {
        Some(path) => one(path).map(|file| Config {
            files: vec![file],
            ignored: None,
        }),
        None => Config::load(),
    };
    let (files, problems) = match read {
        Ok(config) => {
            let problems = config.files.iter().flat_map(closer_look).collect();
            (config.files, problems)
        }
        Err(problems) => (Vec::new(), problems),
    };
    if global.wants_json() {
        let paths: Vec<_> = files
            .iter()
            .map(|file| file.path.to_string_lossy())
            .collect();
        let problems: Vec<_> = problems.iter().map(to_json).collect();
        output::json(&json!({ "Files": paths, "Problems": problems }))?;
    } else {
        for problem in &problems {
            report::error(&problem.to_string(), problem.hint.as_deref());
        }
        if problems.is_empty() {
            let lines = files
                .iter()
                .map(|file| format!("{}: good\n", file.path.display()));
            let lines: String = lines.collect();
            output::text(match lines.as_str() {
                "" => "there is no configuration file\n",
                lines => lines,
            })?;
        }
    }
    Ok(match problems.is_empty() {
        true => 0,
        false => report::CONFIGURATION,
    })
}

/// A file that was named: as a project's if it is called so.
fn one(path: &std::path::Path) -> Result<File, Vec<Problem>> {
    let owner = match path.file_name().is_some_and(|name| name == ".ssmx.toml") {
        true => Owner::Project,
        false => Owner::User,
    };
    let place = Place {
        path: path.to_owned(),
        owner,
        named: true,
    };
    match place.read() {
        Ok(Some(file)) => Ok(file),
        Ok(None) => Err(Vec::new()),
        Err(mut problems) => {
            // It was not SSMX_CONFIG that named it.
            for problem in problems.iter_mut().filter(|problem| problem.at.is_none()) {
                problem.hint = None;
            }
            Err(problems)
        }
    }
}

/// What only the options themselves know to be wrong.
fn closer_look(file: &File) -> Vec<Problem> {
    let settings = file
        .settings
        .iter()
        .filter_map(|setting| settings::check_setting(file, setting).err());
    let aliases = file
        .aliases
        .iter()
        .flat_map(|alias| aliases::check(alias, file));
    let mut problems: Vec<_> = settings.chain(aliases).collect();
    problems.sort_by_key(|problem| problem.at);
    problems
}

fn to_json(problem: &Problem) -> Value {
    let mut object = Map::new();
    let mut put = |key: &str, value: Option<Value>| {
        object.extend(value.map(|value| (key.to_owned(), value)));
    };
    put("File", Some(problem.path.to_string_lossy().into()));
    put("Line", problem.at.map(|at| at.line.into()));
    put("Column", problem.at.map(|at| at.column.into()));
    put("What", Some(problem.what.as_str().into()));
    put("Hint", problem.hint.as_deref().map(Into::into));
    Value::Object(object)
}

fn show(global: &Global) -> anyhow::Result<u8> {
    // Anything wrong with it was let pass until here.
    let settings = settings::load()?;
    let all = settings.all(global.settings());
    if global.wants_json() {
        output::json(&json!({
            "Files": settings.config.files.iter().map(|file| file.path.to_string_lossy())
                .collect::<Vec<_>>(),
            "Settings": all.iter().map(setting_json).collect::<Map<_, _>>(),
            "Aliases": settings.config.aliases().map(|(alias, file)| {
                (alias.name.clone(), alias_json(alias, file))
            }).collect::<Map<_, _>>(),
        }))?;
        return Ok(0);
    }
    output::text(&toml(&all, &settings.config))?;
    Ok(0)
}

fn setting_json(setting: &Setting) -> (String, Value) {
    let mut object = Map::new();
    let value = setting
        .value
        .as_deref()
        .map(|value| json_value(setting.key, value));
    object.insert("Value".to_owned(), value.unwrap_or(Value::Null));
    object.insert("Source".to_owned(), setting.source.to_string().into());
    (setting.key.to_owned(), Value::Object(object))
}

fn json_value(key: &str, value: &str) -> Value {
    let kind = SETTINGS.iter().find(|known| known.name == key);
    match (kind.map(|key| key.kind), value.parse::<u32>(), value) {
        (Some(Kind::Number | Kind::Amount), Ok(number), _) => number.into(),
        (Some(Kind::Flag), _, "true") => true.into(),
        (Some(Kind::Flag), _, "false") => false.into(),
        _ => value.into(),
    }
}

/// An alias with the keys of the file.
fn alias_json(alias: &Alias, file: &File) -> Value {
    let mut object: Map<String, Value> = keys_of(alias)
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
    let source = format!("{}:{}", file.path.display(), alias.at.line);
    object.insert("source".to_owned(), source.into());
    Value::Object(object)
}

fn keys_of(alias: &Alias) -> Vec<(&'static str, Value)> {
    let mut keys: Vec<(&'static str, Value)> = Vec::new();
    if !alias.target.is_empty() {
        keys.push(("target", alias.target.as_str().into()));
    }
    let texts = [
        ("cluster", &alias.cluster),
        ("service", &alias.service),
        ("task", &alias.task),
        ("container", &alias.container),
        ("description", &alias.description),
        ("profile", &alias.profile),
        ("region", &alias.region),
        ("reason", &alias.reason),
        ("document", &alias.document),
    ];
    for (key, value) in texts {
        keys.extend(value.as_deref().map(|value| (key, value.into())));
    }
    let list = |list: &[(String, config::At)]| -> Value {
        list.iter().map(|(text, _)| text.as_str()).collect()
    };
    let lists = [
        ("forwards", list(&alias.forwards)),
        ("dynamic", list(&alias.dynamic)),
        ("command", alias.command.clone().into()),
    ];
    keys.extend(
        lists
            .into_iter()
            .filter(|(_, list)| list.as_array().is_some_and(|list| !list.is_empty())),
    );
    if !alias.parameters.is_empty() {
        let parameters = alias.parameters.iter();
        let object = parameters.map(|(name, values)| (name.clone(), values.clone().into()));
        keys.push(("parameters", Value::Object(object.collect())));
    }
    keys
}

/// As a file of its own; what is not set in any place is in comments.
fn toml(all: &[Setting], config: &Config) -> String {
    let mut lines = Vec::new();
    for setting in all {
        let value = setting
            .value
            .as_deref()
            .map(|value| toml_value(&json_value(setting.key, value)));
        let line = match (value, &setting.source) {
            (Some(value), Source::Default) => format!("# {} = {value}", setting.key),
            (Some(value), _) => format!("{} = {value}", setting.key),
            (None, _) => format!("# {}", setting.key),
        };
        lines.push((line, setting.source.to_string()));
    }
    let width = lines.iter().map(|(line, _)| line.chars().count());
    let width = width.filter(|width| *width < 50).max().unwrap_or(0);
    let mut text = String::new();
    for (line, source) in lines {
        text.push_str(&format!("{line:width$}  # {}\n", output::plain(&source)));
    }
    for (alias, file) in config.aliases() {
        let place = format!("{}:{}", file.path.display(), alias.at.line);
        let name = toml_key(&alias.name);
        text.push_str(&format!("\n[alias.{name}]  # {}\n", output::plain(&place)));
        for (key, value) in keys_of(alias) {
            text.push_str(&format!("{key} = {}\n", toml_value(&value)));
        }
    }
    text
}

fn toml_key(name: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    match name.chars().all(is_bare) {
        true => name.to_owned(),
        false => toml_value(&name.into()),
    }
}

/// A value of JSON as TOML has it: texts are written alike, but for what harms a terminal.
fn toml_value(value: &Value) -> String {
    match value {
        Value::Array(values) => {
            let values: Vec<_> = values.iter().map(toml_value).collect();
            format!("[{}]", values.join(", "))
        }
        Value::Object(object) => {
            let pairs = object.iter();
            let pairs =
                pairs.map(|(key, value)| format!("{} = {}", toml_key(key), toml_value(value)));
            format!("{{ {} }}", pairs.collect::<Vec<_>>().join(", "))
        }
        value => output::escaped(&value.to_string()),
    }
}
