//! The command line: subcommands, global options, and how their outcome is reported.
//!
//! Names and meanings are those of `aws ssm` where it has them. stdout is only data; everything
//! else goes to stderr.

mod aliases;
mod aws_words;
mod child;
mod completion;
mod config;
mod cp;
mod describe_sessions;
mod doctor;
mod ecs;
mod exec;
mod forward;
mod get_connection_status;
mod global;
mod history;
mod input;
mod install_plugin;
mod liveness;
mod log;
mod loopback;
mod ls;
mod man;
mod output;
mod parameters;
mod picker;
mod play;
mod plugin;
mod port_document;
mod record;
pub mod report;
mod resume_session;
mod settings;
mod shorthand;
mod ssh;
mod ssh_config;
pub mod start_session;
mod target;
mod terminate;
mod terminate_session;
mod up;

use std::ffi::OsString;
use std::path::Path;

use clap::{CommandFactory, Parser, Subcommand};

pub use global::Global;

use crate::terminal::{self, ColorChoice};

/// The name under which the AWS CLI looks for its plugin.
pub(crate) const PLUGIN_NAME: &str = "session-manager-plugin";

/// What --version prints.
const VERSION: &str = concat!("ssmx ", env!("CARGO_PKG_VERSION"), "\n");

macro_rules! examples {
    () => {
        "Examples:\n  \
        ssmx loopback                                try it without AWS\n  \
        ssmx ls web                                  the nodes with web in id, name or address\n  \
        ssmx start-session --target web-1            a shell; without --target, a list to pick from\n  \
        ssmx exec i-… -- df -h                       a command, and its exit status\n  \
        ssmx cp app.tar.gz i-…:/opt/app/             files and directories, both ways\n  \
        ssmx ecs exec --service web                  a container of ECS\n  \
        ssmx forward i-… -L 15432:db.internal:5432   tunnels\n  \
        ssmx ssh ubuntu@i-…                          the system's ssh, through Session Manager\n  \
        ssmx doctor i-…                              why it does not work"
    };
}

/// Sessions on AWS Systems Manager nodes: shells and commands, with or without the AWS CLI.
#[derive(Debug, Parser)]
#[command(name = "ssmx", version, max_term_width = 100)]
// As in the AWS CLI, the last of several wins.
#[command(args_override_self = true)]
#[command(
    after_help = concat!(examples!(), "\n\n`ssmx --help` tells the exit statuses, `ssmx config --help` how \
    to set defaults and aliases."),
    after_long_help = concat!(examples!(), "\n\n\
    Options are those of `aws ssm` where it has them. Most of them can also be set in a file or by \
    a variable, as SSMX_REGION: `ssmx config --help`.\n\n\
    stdout is for data alone: what a session prints, tables, JSON. Everything else goes to stderr, \
    errors as `ssmx: error: WHAT: WHY` and perhaps a line with a hint.\n\n\
    Exit status: the remote one where there is one; else 0 after a normal end, 252 usage, 253 \
    configuration or credentials, 254 the service refused, 255 failed or lost, 128 + n ended by \
    signal n.")
)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List nodes
    Ls(ls::Args),
    /// Start a session on a node: a shell, or what the document says
    StartSession(start_session::Args),
    /// Run a command on a node, as ssh does, but without sshd
    Exec(exec::Args),
    /// Copy files to or from a node
    Cp(cp::Args),
    /// Run commands and shells in containers of ECS
    Ecs(ecs::Args),
    /// Run a command in a container, by the options of `aws ecs execute-command`
    #[command(name = "execute-command")]
    EcsExec(ecs::execute_command::Args),
    /// Lead local ports to a node, or through it to other hosts
    Forward(forward::Args),
    /// Bring up the tunnels of aliases
    Up(up::Args),
    /// Run a command that uses the tunnels of aliases
    Run(up::RunArgs),
    /// Attach to a session whose client is gone
    ///
    /// A client that still runs would take it back.
    ResumeSession(resume_session::Args),
    /// End a session for good
    TerminateSession(terminate_session::Args),
    /// End sessions for good: some, one's own, or all
    Terminate(terminate::Args),
    /// Who was on which node, when, how long and why, and where the log is
    History(history::Args),
    /// List sessions, living or ended
    DescribeSessions(describe_sessions::Args),
    /// Play what --record has recorded
    Play(play::Args),
    /// Ask whether a node can be reached
    GetConnectionStatus(get_connection_status::Args),
    /// Find out why sessions do not work, and what to do about it
    Doctor(doctor::Args),
    /// Run ssh on a node, through Session Manager
    Ssh(ssh::Args),
    /// Print what leads plain ssh, scp, sftp and rsync through Session Manager
    SshConfig(ssh_config::Args),
    /// Try it all without AWS, through an embedded Session Manager
    Loopback(loopback::Args),
    /// Show and check settings and aliases
    Config(config::Args),
    /// Print what makes a shell complete targets, options and the rest
    Completion(completion::Args),
    /// Print the manual, or write its pages
    Man(man::Args),
    /// Make `aws ssm start-session` and `aws ecs execute-command` use ssmx
    InstallPlugin(install_plugin::Args),
}

/// Runs ssmx, or the plugin if it is called as such; `args` begins with the program's name.
///
/// Returns the exit status: the remote one where there is one, 0 after a normal end, 252 usage,
/// 253 configuration or credentials, 254 the service refused, 255 anything else, 128 + n signal n.
pub fn main(args: Vec<OsString>) -> u8 {
    if is_plugin(&args) {
        return plugin::main(args.into_iter().skip(1).collect());
    }
    if let Some(status) = completion::answer(&args) {
        return status;
    }
    if is_about_version(&args) {
        return told(output::text(VERSION).map(|()| 0).map_err(Into::into));
    }
    let args = ssh::arrange(aws_words::arrange(args));
    let cli = match settings::parse(&args) {
        Ok(cli) => cli,
        Err(status) => return status,
    };
    told(run(cli))
}

/// The exit status of an outcome, of which errors are told.
fn told(outcome: anyhow::Result<u8>) -> u8 {
    outcome.unwrap_or_else(|error| {
        report::anyhow(&error);
        report::status(&error)
    })
}

fn run(cli: Cli) -> anyhow::Result<u8> {
    let Cli { global, command } = cli;
    terminal::set_color(match global.color() {
        true => ColorChoice::Always,
        false => ColorChoice::Never,
    });
    log::start(global.debug(), global.color())?;
    global.settings().tell();
    // What needs no runtime.
    match &command {
        Command::InstallPlugin(args) => return install_plugin::run(args),
        Command::Config(args) => return config::run(&global, args),
        Command::Completion(args) => return completion::run(args),
        Command::Man(args) => return man::run(args),
        _ => {}
    }
    let runtime = report::runtime()?;
    let status = runtime.block_on(async {
        match command {
            Command::Ls(args) => ls::run(&global, args).await,
            Command::StartSession(args) => start_session::run(&global, args).await,
            Command::Exec(args) => exec::run(&global, args).await,
            Command::Ecs(args) => ecs::run(&global, args).await,
            Command::EcsExec(args) => ecs::execute_command::run(&global, args).await,
            Command::Forward(args) => forward::run(&global, args).await,
            Command::Cp(args) => cp::run(&global, args).await,
            Command::Up(args) => up::run(&global, args).await,
            Command::Run(args) => up::run_command(&global, args).await,
            Command::ResumeSession(args) => resume_session::run(&global, args).await,
            Command::TerminateSession(args) => terminate_session::run(&global, args).await,
            Command::Terminate(args) => terminate::run(&global, args).await,
            Command::History(args) => history::run(&global, args).await,
            Command::DescribeSessions(args) => describe_sessions::run(&global, args).await,
            Command::Play(args) => play::run(args).await,
            Command::GetConnectionStatus(args) => get_connection_status::run(&global, args).await,
            Command::Doctor(args) => doctor::run(&global, args).await,
            Command::Ssh(args) => ssh::run(&global, args).await,
            Command::SshConfig(args) => ssh_config::run(&global, &args),
            Command::Loopback(args) => loopback::run(&global, args).await,
            Command::Config(args) => config::run(&global, &args),
            Command::Completion(args) => completion::run(&args),
            Command::Man(args) => man::run(&args),
            Command::InstallPlugin(args) => install_plugin::run(&args),
        }
    });
    // A name look-up that nobody awaits any more must not hold up the end.
    runtime.shutdown_background();
    status
}

/// Called as the plugin: under its name, or under another with its arguments, which no subcommand
/// looks like.
fn is_plugin(args: &[OsString]) -> bool {
    let named = args.first().is_some_and(|program| {
        Path::new(program)
            .file_stem()
            .is_some_and(|stem| stem.eq_ignore_ascii_case(PLUGIN_NAME))
    });
    let has_its_arguments = || {
        let response = args.get(1).map(|response| response.to_string_lossy());
        args.len() > 3
            && response.is_some_and(|response| {
                response.trim_start().starts_with('{')
                    || response.starts_with("AWS_SSM_START_SESSION_RESPONSE")
            })
    };
    named || has_its_arguments()
}

/// Asked for nothing but the version, which takes neither settings nor a definition: scripts ask
/// often.
fn is_about_version(args: &[OsString]) -> bool {
    matches!(args, [_, word] if word == "--version" || word == "-V")
}

/// The definition of the command line, for messages about it.
fn definition() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
mod examples_tests;

#[cfg(test)]
mod tests {
    use super::*;

    fn args(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    #[test]
    fn the_definition_is_sound() {
        definition().debug_assert();
    }

    #[test]
    fn the_version_is_told_as_the_definition_has_it() {
        assert_eq!(VERSION, definition().render_version());
        for (words, expected) in [
            (&["ssmx", "--version"][..], true),
            (&["ssmx", "-V"], true),
            (&["ssmx"], false),
            (&["ssmx", "ls", "--version"], false),
            (&["ssmx", "--version", "x"], false),
        ] {
            assert_eq!(is_about_version(&args(words)), expected, "{words:?}");
        }
    }

    #[test]
    fn the_plugin_is_known_by_name_or_arguments() {
        let yes: [&[&str]; 7] = [
            &["session-manager-plugin"],
            &["/usr/local/bin/session-manager-plugin", "--version"],
            &["Session-Manager-Plugin.EXE"],
            &["./session-manager-plugin.exe", "x"],
            &["ssmx", "{}", "us-east-1", "StartSession", "", "{}", ""],
            &["ssmx", " {\"SessionId\":\"s\"}", "us-east-1", "Other"],
            &[
                "ssmx",
                "AWS_SSM_START_SESSION_RESPONSE_1",
                "r",
                "StartSession",
            ],
        ];
        let no: [&[&str]; 7] = [
            &[],
            &["ssmx"],
            &["ssmx", "--version"],
            &["ssmx", "start-session", "--target", "i-1"],
            &["ssmx", "{}", "us-east-1"],
            &["/session-manager-plugin/ssmx"],
            &["session-manager-plugin2"],
        ];
        for words in yes {
            assert!(is_plugin(&args(words)), "{words:?}");
        }
        for words in no {
            assert!(!is_plugin(&args(words)), "{words:?}");
        }
    }

    #[test]
    fn globals_go_before_and_behind_the_subcommand() {
        for words in [
            [
                "ssmx",
                "--region",
                "r",
                "get-connection-status",
                "--target",
                "i-1",
            ],
            [
                "ssmx",
                "get-connection-status",
                "--target",
                "i-1",
                "--region",
                "r",
            ],
        ] {
            let cli = Cli::try_parse_from(words).expect("good");
            assert_eq!(cli.global.options().region.as_deref(), Some("r"));
        }
    }

    #[cfg(unix)]
    #[test]
    fn bytes_that_are_no_text_are_an_error_not_a_panic() {
        use std::os::unix::ffi::OsStringExt;
        let odd = OsString::from_vec(vec![b'i', 0xff]);
        for words in [
            vec!["ssmx".into(), odd.clone()],
            vec![
                "ssmx".into(),
                "start-session".into(),
                "--target".into(),
                odd.clone(),
            ],
            vec![odd.clone(), odd.clone(), odd.clone(), odd],
        ] {
            assert!(!is_plugin(&words));
            assert!(Cli::try_parse_from(words).is_err());
        }
    }
}
