//! `ssmx up` and `ssmx run`: the tunnels of aliases, all in one process, and a command that uses
//! them.

use std::ffi::OsString;

use super::aliases;
use super::ecs::Wanted;
use super::forward::{self, Manners, Wish};
use super::global::Global;
use super::picker::{self, Row};
use super::report::Failure;
use super::settings::{self, Source};
use crate::config::{Alias, Config, File, nearest};
use crate::terminal;

/// Names in a hint, at most.
const SHOWN: usize = 12;

/// `ssmx up`
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    ssmx up db                    the forwards of [alias.db], until Ctrl-C\n  \
    ssmx up db web --json         those of both, telling a program when they are ready\n\n\
    Aliases are in ~/.config/ssmx/config.toml, and a project's .ssmx.toml: see `ssmx config --help`. \
    Each goes by its own profile and region.")]
pub struct Args {
    /// Aliases; at a terminal there is a list to pick one from
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Tell what happens on stdout, an object a line: ready, connect, reconnect, exit …
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    manners: Manners,
}

/// `ssmx run`
#[derive(Clone, Debug, clap::Args)]
#[command(
    override_usage = "ssmx run [OPTIONS] NAME… [-- COMMAND …]",
    after_help = "Examples:\n  \
    ssmx run db -- sh -c 'psql -h localhost -p $SSMX_PORT'\n  \
    ssmx run db                   the command of [alias.db]: command = [\"psql\", \"-h\", \"localhost\"]\n\n\
    COMMAND gets SSMX_PORT and SSMX_PORT_1, SSMX_PORT_2 … (of each forward, in the order of the \
    aliases), SSMX_SOCKET_1 … and SSMX_SOCKS_PORT. Its exit status is that of ssmx."
)]
pub struct RunArgs {
    /// Aliases whose forwards are to be up meanwhile; at a terminal there is a list to pick one from
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    manners: Manners,
    /// What to run; by default the alias's own command
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Runs `ssmx up`; the exit status.
pub async fn run(global: &Global, args: Args) -> anyhow::Result<u8> {
    let names = named(&global.settings().config, args.names).await?;
    let aliases = find(&global.settings().config, &names)?;
    let wishes = wishes(global, &aliases)?;
    forward::bring_up(&wishes, &args.manners, args.json, &[]).await
}

/// Runs `ssmx run`; the exit status: that of the command.
pub async fn run_command(global: &Global, args: RunArgs) -> anyhow::Result<u8> {
    let names = named(&global.settings().config, args.names).await?;
    let aliases = find(&global.settings().config, &names)?;
    let command = match args.command.is_empty() {
        true => own_command(&aliases)?,
        false => args.command,
    };
    let wishes = wishes(global, &aliases)?;
    forward::bring_up(&wishes, &args.manners, false, &command).await
}

/// The names that are given, or the one that is picked of those with forwards.
async fn named(config: &Config, names: Vec<String>) -> anyhow::Result<Vec<String>> {
    if !names.is_empty() {
        return Ok(names);
    }
    let aliases = config.aliases().map(|(alias, _)| alias);
    let aliases = aliases.filter(|alias| !alias.forwards.is_empty() || !alias.dynamic.is_empty());
    let rows: Vec<Row> = aliases.map(row).collect();
    if rows.is_empty() || !picker::is_possible() {
        let known: Vec<_> = rows.iter().filter_map(|row| row.name.as_deref()).collect();
        return Err(Failure::usage("no alias")
            .hint(match known.as_slice() {
                [] => "there are none with forwards yet: see `ssmx config --help`".to_owned(),
                few if few.len() <= SHOWN => {
                    format!("the aliases with forwards are: {}", known.join(", "))
                }
                _ => "`ssmx config show` prints the aliases".to_owned(),
            })
            .into());
    }
    let row = picker::choose("alias", rows).await?;
    let name = row.name.unwrap_or_default();
    terminal::notice(&name);
    Ok(vec![name])
}

fn row(alias: &Alias) -> Row {
    let what = alias.description.clone();
    Row {
        name: Some(alias.name.clone()),
        id: what.unwrap_or_else(|| match Wanted::of(alias) {
            Some(_) => "container".to_owned(),
            None => alias.target.clone(),
        }),
        ..Row::default()
    }
}

type Found<'a> = (&'a Alias, &'a File);

/// The aliases of these names.
fn find<'a>(config: &'a Config, names: &[String]) -> Result<Vec<Found<'a>>, Failure> {
    let find = |name: &String| {
        config.alias(name).ok_or_else(|| {
            let known: Vec<_> = config.aliases().map(|(alias, _)| &*alias.name).collect();
            let hint = match (nearest(name, known.iter().copied()), known.len()) {
                (_, 0) => "there are no aliases yet: see `ssmx config --help`".to_owned(),
                (Some(near), _) => format!("did you mean {near}?"),
                (None, n) if n <= SHOWN => format!("the aliases are: {}", known.join(", ")),
                (None, _) => "`ssmx config show` prints the aliases".to_owned(),
            };
            Failure::usage(format!("there is no alias {name:?}")).hint(hint)
        })
    };
    let mut found: Vec<Found<'a>> = Vec::new();
    for name in names {
        let alias = find(name)?;
        // Twice the same ports would only be in their own way.
        if !found.iter().any(|(known, _)| known.name == alias.0.name) {
            found.push(alias);
        }
    }
    Ok(found)
}

fn wishes(global: &Global, aliases: &[Found<'_>]) -> Result<Vec<Wish>, Failure> {
    let reason_is_given = *global.settings().source("reason") == Source::Option;
    let texts = |list: &[(String, _)]| list.iter().map(|(text, _)| text.clone()).collect();
    let wish = |&(alias, file): &Found<'_>| {
        let problems = aliases::check(alias, file);
        if !problems.is_empty() {
            return Err(settings::failure(&problems));
        }
        if alias.forwards.is_empty() && alias.dynamic.is_empty() {
            let place = format!("{}:{}", file.path.display(), alias.at.line);
            return Err(Failure {
                hint: Some(format!(
                    "give it some at {place}, as in: forwards = [\"15432:db.internal:5432\"]"
                )),
                ..Failure::configuration(format!("the alias {} has no forwards", alias.name))
            });
        }
        Ok(Wish {
            global: global.for_alias(alias),
            target: alias.target.clone(),
            container: Wanted::of(alias).unwrap_or_default(),
            reason: alias.reason.clone().filter(|_| !reason_is_given),
            local: texts(&alias.forwards),
            dynamic: texts(&alias.dynamic),
        })
    };
    aliases.iter().map(wish).collect()
}

/// The command of the one alias that has one.
fn own_command(aliases: &[Found<'_>]) -> Result<Vec<OsString>, Failure> {
    let mut commands = aliases
        .iter()
        .map(|(alias, _)| &alias.command)
        .filter(|command| !command.is_empty());
    let what = match (commands.next(), commands.next()) {
        (Some(command), None) => return Ok(command.iter().map(OsString::from).collect()),
        (None, _) => "there is no command",
        (Some(_), Some(_)) => "several of the aliases have a command",
    };
    Err(Failure::usage(what).hint("give one behind --, as in: ssmx run NAME -- psql -h localhost"))
}
