//! `ssmx exec`: a command on one node, as ssh runs it, or on many.

mod fleet;
pub(super) mod one;
mod results;
mod targets;

use std::ffi::OsString;

use super::global::Global;
use super::liveness::Liveness;
use super::record::Recorder;
use super::report::Failure;

/// `ssmx exec`
#[derive(Clone, Debug, clap::Args)]
#[command(
    override_usage = "ssmx exec [OPTIONS] [TARGET] -- CMD [ARG …]\n       \
    ssmx exec [OPTIONS] --targets tag:KEY=VALUE … -- CMD [ARG …]",
    after_help = "Examples:\n  \
    ssmx exec i-… -- df -h\n  \
    ssmx exec i-… -- sh -c 'journalctl -u web | tail -n 20'     a shell, where one is wanted\n  \
    tar cz . | ssmx exec i-… -- tar xz -C /srv/web              stdin and stdout are for any bytes\n  \
    ssmx exec -t i-… -- sudo vim /etc/fstab                     on a terminal\n  \
    ssmx exec --targets tag:Role=web -- uptime                  on many nodes\n\n\
    Each ARG reaches CMD as it is, no shell reads it. The status is CMD's, 128 + n if signal n \
    ended it there, 124 after --timeout, 255 if it is not known. SIGINT, SIGQUIT and SIGTERM are \
    passed on; a second one ends the session.",
    after_long_help = "Examples:\n  \
    ssmx exec i-… -- df -h\n  \
    ssmx exec i-… -- sh -c 'journalctl -u web | tail -n 20'     a shell, where one is wanted\n  \
    tar cz . | ssmx exec i-… -- tar xz -C /srv/web              stdin and stdout are for any bytes\n  \
    ssmx exec -t i-… -- sudo vim /etc/fstab                     on a terminal\n  \
    ssmx exec --targets tag:Role=web -- uptime                  on many nodes\n\n\
    Each ARG reaches CMD as it is, no shell reads it. The status is CMD's, 128 + n if signal n \
    ended it there, 124 after --timeout, 255 if it is not known. SIGINT, SIGQUIT and SIGTERM are \
    passed on; a second one ends the session.\n\n\
    How: one session of AWS-StartInteractiveCommand. Agents give it a terminal and nothing else, \
    so a small sh script on the node carries the three streams over that as text; it needs sh, \
    stty, dd, cat and base64 (or od). CMD and its arguments, up to 60,000 bytes, are part of the \
    request, so CloudTrail and the session's logs hold them; what the streams carry is in \
    the logs as base64. CMD starts in the home directory of the session's user. A terminal is in \
    its reach as /dev/tty, where it should ask nothing: use -t for that. With -t there is one \
    stream out, stderr is in it. What CMD leaves running is hung up on, unless by nohup or setsid. \
    The account's idle timeout and maximum duration of sessions count for commands, too. Agents \
    wait a second before they send the first output.\n\n\
    Windows nodes need --powershell: one stream out, as the console paints it, and no standard \
    input. It follows the documentation of PowerShell 5.1 and has not been tried on Windows yet. With \
    --document NAME, a document of your own of type NonInteractiveCommands runs CMD, without \
    shell and standard input; only where it sets separateOutputStream is there a status.\n\n\
    --targets is for many nodes: the service's Run Command (AWS-RunShellScript, with --powershell \
    AWS-RunPowerShellScript) runs CMD there as root, without standard input. What it prints comes \
    when it is over on a node, each line behind the node's id, a summary on stderr, all of it as \
    JSON with --output json. The service keeps the first 24,000 characters of stdout and 8,000 of \
    stderr. --timeout counts on each node. Ctrl-C cancels. The status is 0 if CMD succeeded on \
    all nodes, else 1. Several tags must all be there; of several values one."
)]
pub struct Args {
    /// Node: id, name, tag:KEY=VALUE, asg:NAME, IP address, DNS name, or ecs:CLUSTER_TASK_RUNTIME;
    /// at a terminal there is a list to pick one from
    #[arg(value_name = "TARGET")]
    target: Option<String>,
    /// The same
    #[arg(
        long = "target",
        value_name = "TARGET",
        conflicts_with = "target",
        hide = true
    )]
    target_option: Option<String>,
    /// Run CMD on all nodes with this tag (tag:KEY=VALUE) or of this group (asg:NAME), or on these
    /// (i-…,web-1), by Run Command; may be repeated
    #[arg(long, value_name = "TARGETS", conflicts_with_all = ["target", "target_option"])]
    #[arg(conflicts_with_all = ["tty", "document", "record"])]
    targets: Vec<String>,
    /// Nodes at once: a number, or a percentage [default: 50]
    #[arg(long, value_name = "N", requires = "targets")]
    max_concurrency: Option<String>,
    /// Failures after which no further node begins: a number, or a percentage [default: 0]
    #[arg(long, value_name = "N", requires = "targets")]
    max_errors: Option<String>,
    /// Run CMD on a terminal, with this one's keys and size
    #[arg(short = 't', long, conflicts_with = "document")]
    tty: bool,
    /// CMD has no standard input, and ours is not read
    #[arg(short = 'n', long)]
    no_stdin: bool,
    /// End CMD after this long, with status 124
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    #[arg(conflicts_with_all = ["tty", "document"])]
    timeout: Option<u32>,
    /// The node runs Windows
    #[arg(long, conflicts_with = "document")]
    powershell: bool,
    /// Have this document of type NonInteractiveCommands run CMD, as its parameter command
    #[arg(long, value_name = "NAME")]
    document: Option<String>,
    /// Further parameters of that document: separateOutputStream=true
    #[arg(long, num_args = 1.., value_name = "NAME=VALUE", requires = "document")]
    parameters: Vec<String>,
    /// Why; goes into the history of sessions or commands
    #[arg(long, visible_alias = "comment")]
    reason: Option<String>,
    #[command(flatten)]
    recorder: Recorder,
    #[command(flatten)]
    liveness: Liveness,
    /// The program and its arguments
    #[arg(last = true, value_name = "CMD", required = true)]
    command: Vec<OsString>,
}

/// Runs the subcommand; the exit status.
pub async fn run(global: &Global, args: Args) -> anyhow::Result<u8> {
    if args
        .command
        .first()
        .is_none_or(|program| program.is_empty())
    {
        return Err(Failure::usage("there is no command").into());
    }
    one::check_name(&args.command)?;
    if args.targets.is_empty() {
        return one::run(global, args).await;
    }
    if !args.no_stdin && !one::has_no_input() {
        return Err(
            Failure::usage("Run Command has no standard input, and there is some")
                .hint("give -n, or < /dev/null, if it is not for the command")
                .into(),
        );
    }
    fleet::run(global, &args).await
}
