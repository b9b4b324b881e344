//! `ssmx loopback`: AWS in miniature on this machine, to try ssmx with and to run things against.

use std::ffi::OsString;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;

use super::PLUGIN_NAME;
use super::child;
use super::global::Global;
use super::output;
use super::report::Failure;
use super::start_session;
use crate::aws::{self, Aws, StartSession};
use crate::loopback::{Loopback, Node, Options, UNSET};
use crate::session;
use crate::terminal::{self, Signals};

/// After this time, requests for access are approved.
const APPROVAL: Duration = Duration::from_secs(3);

/// `ssmx loopback`
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    ssmx loopback                                     a shell on this machine\n  \
    ssmx loopback -- sh -c 'ssmx start-session --target $SSMX_LOOPBACK_TARGET'\n  \
    ssmx loopback --serve                             for other shells\n\n\
    The node is i-10000000000000001 ($SSMX_LOOPBACK_TARGET for COMMAND), \
    i-1000000000000000f is one that is offline, i-1000000000000000a one that takes \
    --request-access (which is approved after 3 s). ECS has the clusters shop and batch. Shells, commands, ports, SSH (to an sshd of this \
    machine) and pushed keys are served as by AWS.")]
pub struct Args {
    /// Do not pause between reads as the real agent does: for benchmarks
    #[arg(long)]
    no_pacing: bool,
    /// Encrypt the sessions with a KMS key
    #[arg(long)]
    kms: bool,
    /// An operation that the caller may not do, such as DescribeInstanceProperties; may be repeated
    #[arg(long, value_name = "OPERATION")]
    deny: Vec<String>,
    /// So many further nodes, named node-0 and so on
    #[arg(long, value_name = "N", default_value_t = 0, hide_short_help = true)]
    #[arg(value_parser = clap::value_parser!(u32).range(..=100_000))]
    fleet: u32,
    /// The version that the agent announces
    #[arg(long, value_name = "VERSION", default_value = "3.3.0.0")]
    agent_version: String,
    /// The shell of the node [default: sh]
    #[arg(long, value_name = "PATH")]
    shell: Option<PathBuf>,
    /// A name that the node resolves so, for forwards to remote hosts; may be repeated
    #[arg(long, value_name = "NAME=ADDRESS", value_parser = host)]
    host: Vec<(String, IpAddr)>,
    /// Where keys pushed by EC2 Instance Connect stand for a minute, for an sshd
    #[arg(long, value_name = "FILE")]
    authorized_keys: Option<PathBuf>,
    /// Print the environment that leads here, and stay until interrupted
    #[arg(long, conflicts_with = "command")]
    serve: bool,
    /// Run this with that environment instead of opening a shell
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Reads `db.internal=127.0.0.1`.
fn host(text: &str) -> Result<(String, IpAddr), String> {
    let (name, address) = text
        .split_once('=')
        .filter(|(name, _)| !name.is_empty())
        .ok_or("give a name and an address, as in db.internal=127.0.0.1")?;
    let address = address
        .parse()
        .map_err(|_| format!("{address} is not an IP address"))?;
    Ok((name.to_owned(), address))
}

/// Runs the subcommand; the exit status: that of the session or the command.
pub async fn run(global: &Global, args: Args) -> anyhow::Result<u8> {
    let mut options = Options::default();
    let guarded = Node::online("i-1000000000000000a").named("guarded");
    options.nodes.push(guarded.guarded());
    let elsewhere = Node::online("i-1000000000000000e").named("far");
    options.nodes.push(Node {
        region: Some("eu-west-1".to_owned()),
        ..elsewhere
    });
    options.other_regions = aws::regions_beside(&options.region)
        .into_iter()
        .map(str::to_owned)
        .collect();
    options.nodes.extend(Node::fleet(args.fleet));
    let loopback = Loopback::start(Options {
        paced: !args.no_pacing,
        kms: args.kms,
        agent_version: args.agent_version,
        shell: args.shell,
        hosts: args.host,
        authorized_keys: args.authorized_keys,
        approve_after: Some(APPROVAL),
        ..options
    })
    .map_err(|error| Failure::other(format!("loopback cannot start: {error}")))?;
    for operation in &args.deny {
        loopback.deny(operation, true);
    }
    if args.serve {
        return serve(&loopback).await;
    }
    if args.command.is_empty() {
        return shell(&loopback, global).await;
    }
    run_command(&loopback, &args.command).await
}

/// Opens a shell through everything there is, in this process.
async fn shell(loopback: &Loopback, global: &Global) -> anyhow::Result<u8> {
    terminal::notice(
        "a shell on this machine through an embedded Session Manager; exit or ~. ends it",
    );
    let environment = loopback.environment().into_iter();
    let aws = Aws::load(aws::Options {
        profile: None,
        region: None,
        last_region: None,
        endpoint_url: None,
        environment: Some(
            environment
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
        ),
        ..global.options()
    })
    .await?;
    let request = StartSession {
        target: loopback.target().to_owned(),
        document_name: None,
        parameters: Vec::new(),
        reason: None,
    };
    let grant = aws.start_session(&request).await?;
    start_session::attach(aws, grant, request.target, session::Options::default()).await
}

/// Runs a command to its end. Keys that interrupt it reach it by themselves, and not this process.
async fn run_command(loopback: &Loopback, command: &[OsString]) -> anyhow::Result<u8> {
    let mut signals = Signals::install()?;
    let (program, arguments) = command
        .split_first()
        .ok_or_else(|| Failure::usage("there is no command"))?;
    let mut child = Command::new(program);
    let programs = Programs::new()?;
    child.args(arguments).envs(loopback.environment());
    child.env("PATH", programs.path()?);
    for name in UNSET {
        child.env_remove(name);
    }
    child::run(&mut child, &mut signals).await
}

/// A directory in which this program is found under its names, as a command and as the plugin of
/// the AWS CLI; gone when dropped.
struct Programs(tempfile::TempDir);

impl Programs {
    fn new() -> anyhow::Result<Self> {
        let failed =
            |error| Failure::other(format!("cannot make a directory of programs: {error}"));
        let program = std::env::current_exe().map_err(failed)?;
        let directory = tempfile::Builder::new()
            .prefix("ssmx-loopback-")
            .tempdir()
            .map_err(failed)?;
        for name in ["ssmx", PLUGIN_NAME] {
            let name = format!("{name}{}", std::env::consts::EXE_SUFFIX);
            link(&program, &directory.path().join(name)).map_err(failed)?;
        }
        Ok(Self(directory))
    }

    /// The search path with the directory in front.
    fn path(&self) -> anyhow::Result<OsString> {
        let before = std::env::var_os("PATH").unwrap_or_default();
        let parts = std::iter::once(self.0.path().to_owned()).chain(std::env::split_paths(&before));
        std::env::join_paths(parts)
            .map_err(|error| Failure::other(format!("PATH cannot be extended: {error}")).into())
    }
}

#[cfg(unix)]
fn link(program: &Path, name: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(program, name)
}

#[cfg(not(unix))]
fn link(program: &Path, name: &Path) -> io::Result<()> {
    std::fs::copy(program, name).map(drop)
}

/// Prints the environment and waits for a signal.
async fn serve(loopback: &Loopback) -> anyhow::Result<u8> {
    let mut signals = Signals::install()?;
    let mut exports = format!("unset {}\n", UNSET.join(" "));
    for (name, value) in loopback.environment() {
        exports.push_str(&format!("export {name}={}\n", shell_words::quote(&value)));
    }
    output::text(&exports)?;
    terminal::notice(&format!(
        "AWS in miniature at {}; with the lines above in a shell: \
         ssmx start-session --target {} (and, for aws, ssmx install-plugin); Ctrl-C ends it",
        loopback.endpoint_url(),
        loopback.target(),
    ));
    Ok(match child::ending(&mut signals).await {
        // From the keyboard, as is said above.
        2 | 3 => 0,
        number => 128 + number,
    })
}
