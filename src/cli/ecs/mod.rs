//! `ssmx ecs exec` and `ssmx execute-command`: commands in containers, by ECS Exec.

pub mod execute_command;
mod find;

use std::ffi::OsString;
use std::time::Duration;

use super::exec::one;
use super::global::Global;
use super::report::Failure;
use super::start_session::{self, Manners, Started};
use crate::session::exec::{self, script};
use crate::session::{self, forward};
use crate::terminal::{self, Ignored};

pub use find::Wanted;

/// What is run where no command is given.
const SHELL: [&str; 3] = [
    "sh",
    "-c",
    "command -v bash >/dev/null 2>&1 && exec bash; exec sh",
];

/// `ssmx ecs`
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    ssmx ecs exec --cluster shop --service web        a shell in its newest task\n  \
    ssmx ecs exec --service web -- env\n\n\
    Tunnels to and through tasks: `ssmx forward --cluster … --service … -L …`.")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Command {
    /// Run a command, or a shell, in a container of a task
    Exec(Exec),
}

/// `ssmx ecs exec`
#[derive(Clone, Debug, clap::Args)]
#[command(
    override_usage = "ssmx ecs exec [OPTIONS] [--service SERVICE | --task TASK] [-- CMD [ARG …]]",
    after_help = "Examples:\n  \
    ssmx ecs exec --cluster shop --service web                      a shell in its newest task\n  \
    ssmx ecs exec --service web -- env                              if there is only one cluster\n  \
    ssmx ecs exec --task 0123456789abcdef0123456789abcdef --container app -- df -h\n  \
    ssmx ecs exec --service db -- pg_dump shop > shop.sql           any bytes, both ways\n  \
    ssmx ecs exec -t --service web -- rails console                 on a terminal\n\n\
    ARGs reach CMD as they are. The status is CMD's (the shell's), 128 + n if signal n ended it, \
    124 after --timeout, 255 if it is not known.\n\n\
    How: ECS Exec tells no status and knows terminals only. So sh in the container runs CMD and \
    prints the status behind it, where ssmx takes it out; without -t it also keeps stdout and \
    stderr apart, which needs stty, dd, cat and base64 (or od) in there. For containers without \
    sh there is `ssmx execute-command`, which tells no status. Tasks need ECS Exec enabled, the \
    caller ecs:ExecuteCommand, ecs:DescribeTasks and, unless --task and --cluster are given, \
    ecs:ListTasks and ecs:ListClusters. What is not given is picked from a list, at a terminal. Tunnels: `ssmx forward --cluster … --service … -L …`."
)]
pub struct Exec {
    #[command(flatten)]
    wanted: Wanted,
    /// Run CMD on a terminal, with this one's keys and size; shells always have one
    #[arg(short = 't', long)]
    tty: bool,
    /// CMD has no standard input, and ours is not read
    #[arg(short = 'n', long, conflicts_with = "tty")]
    no_stdin: bool,
    /// End CMD after this long, with status 124
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    #[arg(conflicts_with = "tty", requires = "command")]
    timeout: Option<u32>,
    #[command(flatten)]
    manners: Manners,
    /// The program and its arguments; without one, a shell
    #[arg(last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// Runs the subcommand; the exit status.
pub async fn run(global: &Global, args: Args) -> anyhow::Result<u8> {
    match args.command {
        Command::Exec(args) => exec(global, args).await,
    }
}

async fn exec(global: &Global, args: Exec) -> anyhow::Result<u8> {
    let shell = args.command.is_empty();
    let words: Vec<OsString> = match shell {
        true => SHELL.iter().map(OsString::from).collect(),
        false => args.command,
    };
    if words.first().is_none_or(|program| program.is_empty()) {
        return Err(Failure::usage("there is no command").into());
    }
    one::check_name(&words)?;
    let mark = (shell || args.tty).then(one::mark);
    let command = script::in_container(&match &mark {
        Some(mark) => script::marked(&words, mark),
        None => script::framed(&words, !args.no_stdin),
    });
    one::check_length(&command)?;
    let options = session::Options {
        mark: mark.clone(),
        ..args.manners.options()?
    };
    let aws = global.aws().await?;
    let found = args.wanted.find(&aws).await?;
    let asked = aws.execute_command(&found.task, &found.container, &command, true);
    let grant = match start_session::ask(&aws, Ignored::Heeded, asked).await? {
        Started::Session(grant) => grant,
        Started::Signal(number) => return Ok(128 + number),
    };
    terminal::install_panic_hook();
    options.set_title(&found.target);
    let target = found.target;
    if mark.is_none() {
        return one::streams(exec::Setup {
            aws,
            grant,
            target,
            options,
            input: !args.no_stdin,
            timeout: args.timeout.map(|n| Duration::from_secs(n.into())),
        })
        .await;
    }
    let outcome = session::run(session::Setup {
        aws,
        grant,
        target,
        options,
        forward: forward::Given::default(),
    });
    one::marked(outcome.await?)
}
