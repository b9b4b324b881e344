//! `ssmx ssh`: the system's ssh, with a ProxyCommand that leads through Session Manager.

mod key;
mod line;
pub(super) mod proxy;
mod push;

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::PathBuf;
use std::process::Command;

use super::global::Global;
use super::report::Failure;
use super::{child, picker};
use crate::terminal::Signals;

use line::Line;
pub(super) use line::{arrange, subcommand};

/// How to get an ssh.
const INSTALL: &str = "install OpenSSH's client (apt install openssh-client, dnf install \
    openssh-clients, or the optional feature of Windows), or name one with --ssh PATH or SSMX_SSH";

/// `ssmx ssh`
#[derive(Clone, Debug, clap::Args)]
#[command(
    override_usage = "ssmx ssh [OPTIONS] [SSH OPTIONS] [USER@]TARGET [SSH OPTIONS] [COMMAND]",
    after_help = "Examples:\n  \
    ssmx ssh ubuntu@i-…\n  \
    ssmx ssh --push-key ec2-user@i-… uptime           EC2 Instance Connect lets the key in\n  \
    ssmx ssh -v -p 2222 ubuntu@i-… -L 8080:localhost:80\n\n\
    Everything but the long options goes to ssh as it is, and ~/.ssh/config counts. The exit status \
    is ssh's. For plain ssh, scp, sftp and rsync see `ssmx ssh-config`."
)]
pub struct Args {
    /// Let a public key in by EC2 Instance Connect first: this one, or else the first of the
    /// agent's or of the identity files'
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    push_key: Option<Option<PathBuf>>,
    /// The ssh to run [env: SSMX_SSH] [default: ssh]
    #[arg(long, value_name = "PATH")]
    ssh: Option<PathBuf>,
    /// [user@]TARGET or ssh://[user@]TARGET[:port], with options of ssh on both sides, and a command
    #[arg(value_name = "SSH ARGUMENTS")]
    words: Vec<OsString>,
}

/// The host that the words of `ssmx ssh` name, without a user.
pub(super) fn host(words: &[OsString]) -> Option<String> {
    let line = Line::parse(words, |_| false);
    line.host().map(str::to_owned)
}

/// Runs the subcommand. Where it can, ssh takes the place of this process; else, the exit status.
pub async fn run(global: &Global, args: Args) -> anyhow::Result<u8> {
    let mut line = Line::parse(&args.words, |_| false);
    let picks = line.destination.is_none() && connects(&line) && picker::is_possible();
    if picks {
        let aws = global.aws().await?;
        line.add_destination(&global.target(&aws, None).await?);
    }
    let id = match literal(global, &line).filter(|host| is_description(host)) {
        Some(host) if connects(&line) => {
            let aws = global.aws().await?;
            Some(global.target(&aws, Some(host)).await?)
        }
        _ => None,
    };
    let mut ssh = Ssh {
        program: program(args.ssh),
        words: words(global, &line, id.as_deref())?,
    };
    if let Some(file) = args.push_key
        && connects(&line)
    {
        let pushed = push::push_key(global, &ssh, &line, id.as_deref(), file.as_deref());
        let (options, id) = if picks {
            // The picker left them without effect.
            let mut signals = Signals::install()?;
            tokio::select! {
                pushed = pushed => pushed?,
                number = child::ending(&mut signals) => return Ok(128 + number),
            }
        } else {
            pushed.await?
        };
        // To the node that has the key, should the name mean another by now.
        ssh.words = words(global, &line, Some(&id))?;
        ssh.words.splice(0..0, options);
    }
    hand_over(&ssh).await
}

/// The program, and all of its words.
struct Ssh {
    program: OsString,
    words: Vec<OsString>,
}

impl Ssh {
    /// The command with further options in front.
    fn command(&self, options: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(options).args(&self.words);
        command
    }

    fn not_run(&self, error: &io::Error) -> Failure {
        let program = self.program.to_string_lossy();
        match error.kind() {
            io::ErrorKind::NotFound => {
                Failure::other(format!("there is no {program} to run")).hint(INSTALL)
            }
            _ => Failure::other(format!("cannot run {program}: {error}")),
        }
    }
}

fn program(option: Option<PathBuf>) -> OsString {
    option.map_or_else(|| "ssh".into(), PathBuf::into_os_string)
}

/// Whether ssh will connect, and not only say or do something here.
fn connects(line: &Line) -> bool {
    !b"GOQV".iter().any(|&letter| line.has(letter))
}

/// What ssh gets: what leads it here goes first, as the first of several settings counts. `id` is
/// the node, if that is known.
fn words(global: &Global, line: &Line, id: Option<&str>) -> anyhow::Result<Vec<OsString>> {
    if line.destination.is_none() {
        // It answers without.
        if line.has(b'V') || line.has(b'Q') {
            return Ok(line.ssh.clone());
        }
        return Err(Failure::usage("no target")
            .hint("give [user@]i-… or a node's name; see `ssmx ssh --help`")
            .into());
    }
    if line.has(b'J') {
        return Err(
            Failure::usage("-J does not go together with the way through Session Manager")
                .hint("to jump from a node to hosts behind it: `ssmx ssh-config`, then `ssh -J i-… HOST`")
                .into(),
        );
    }
    let program = std::env::current_exe()
        .map_err(|error| Failure::other(format!("cannot find this program's file: {error}")))?;
    let globals = [global.lasting_words(), global.passing_words()].concat();
    let target = id.or_else(|| literal(global, line));
    let proxy = proxy::command(&program, &globals, target.unwrap_or(proxy::HOST))?;
    let mut words: Vec<OsString> = Vec::with_capacity(line.ssh.len() + 6);
    for (name, value) in [("ProxyCommand", proxy.as_str())]
        .iter()
        .chain(&proxy::SETTINGS)
    {
        words.extend(["-o".into(), format!("{name}={value}").into()]);
    }
    // The next one may be another, with keys of its own.
    if let Some(id) = id
        && line.host().is_some_and(is_description)
    {
        words.extend(["-o".into(), format!("HostKeyAlias={id}").into()]);
    }
    words.extend_from_slice(&line.ssh);
    Ok(words)
}

/// Whether a target means now this node, now that.
fn is_description(target: &str) -> bool {
    target.starts_with("asg:") || target.starts_with("tag:")
}

/// The target if it is none that ssh leaves alone as the name of a host: it may have capitals, and
/// what ssh's configuration says of hosts is not meant for it, nor for aliases.
fn literal<'a>(global: &Global, line: &'a Line) -> Option<&'a str> {
    let is_alias = |host: &str| global.settings().is_alias(host);
    line.host()
        .filter(|host| host.contains([':', '=']) || is_alias(host))
}

/// Becomes ssh.
#[cfg(unix)]
async fn hand_over(ssh: &Ssh) -> anyhow::Result<u8> {
    use std::os::unix::process::CommandExt;
    Err(ssh.not_run(&ssh.command(&[]).exec()).into())
}

/// Runs ssh to its end. Keys that interrupt it reach it by themselves, and not this process.
#[cfg(not(unix))]
async fn hand_over(ssh: &Ssh) -> anyhow::Result<u8> {
    let mut child = tokio::process::Command::from(ssh.command(&[]))
        .spawn()
        .map_err(|error| ssh.not_run(&error))?;
    loop {
        tokio::select! {
            status = child.wait() => {
                let code = status?.code().and_then(|code| u8::try_from(code).ok());
                return Ok(code.unwrap_or(super::report::FAILURE));
            }
            pressed = tokio::signal::ctrl_c() => pressed?,
        }
    }
}

/// A program that comes with ssh: beside the one that is named by a path, or on PATH.
fn companion(ssh: &OsStr, name: &str) -> OsString {
    let name = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    let beside = std::path::Path::new(ssh)
        .parent()
        .map(|dir| dir.join(&name));
    match beside {
        Some(path) if path.is_file() => path.into_os_string(),
        _ => name.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Cli, Command as Subcommand, report};
    use super::*;
    use clap::Parser;

    fn parse(text: &str) -> (Global, Args) {
        let args = text.split_whitespace().map(OsString::from).collect();
        let cli = Cli::try_parse_from(arrange(args)).expect("good");
        match cli.command {
            Subcommand::Ssh(args) => (cli.global, args),
            _ => panic!("another subcommand"),
        }
    }

    fn ssh_words(text: &str) -> anyhow::Result<Vec<String>> {
        let (global, args) = parse(text);
        let words = words(&global, &Line::parse(&args.words, |_| false), None)?;
        let text = |word: OsString| word.into_string().expect("text");
        Ok(words.into_iter().map(text).collect())
    }

    #[test]
    fn own_options_are_understood_anywhere_before_the_command() {
        let (_, args) = parse("ssmx ssh -v --push-key u@i-1 --ssh=/x -N ls --push-key=k");
        assert_eq!(args.push_key, Some(None));
        assert_eq!(args.ssh, Some("/x".into()));
        assert_eq!(args.words, ["-v", "u@i-1", "-N", "ls", "--push-key=k"]);
        let (global, args) = parse("ssmx ssh --push-key=k.pub i-1 --region r");
        assert_eq!(args.push_key, Some(Some("k.pub".into())));
        assert_eq!(global.options().region.as_deref(), Some("r"));
        let (_, args) = parse("ssmx ssh -- i-1 -- --push-key");
        assert_eq!(args.push_key, None);
        assert_eq!(args.words, ["--", "i-1", "--", "--push-key"]);
    }

    #[test]
    fn unknown_long_options_are_an_error() {
        let args = ["ssmx", "ssh", "i-1", "--pushkey"].map(OsString::from);
        assert!(Cli::try_parse_from(arrange(args.to_vec())).is_err());
    }

    #[test]
    fn ssh_gets_everything_behind_the_way_there() {
        let words =
            ssh_words("ssmx --region r ssh -p 2222 u@i-1 --debug -L 1:h:2 ls -l").expect("good");
        let [o, proxy, rest @ ..] = words.as_slice() else {
            panic!("too short: {words:?}");
        };
        assert_eq!(o, "-o");
        assert!(proxy.starts_with("ProxyCommand="), "{proxy}");
        let end = " --region r --debug start-session --target %h \
            --document-name AWS-StartSSHSession --parameters portNumber=%p";
        assert!(proxy.ends_with(end), "{proxy}");
        let expected =
            "-o ProxyUseFdpass=no -o CanonicalizeHostname=no -p 2222 u@i-1 -L 1:h:2 ls -l";
        assert_eq!(rest.join(" "), expected);
    }

    #[test]
    fn targets_that_are_no_hosts_are_taken_as_they_are() {
        for target in ["ecs:Cluster_t_r", "tag:Role=DB", "asg:web"] {
            let words = ssh_words(&format!("ssmx ssh root@{target}")).expect("good");
            let proxy = format!(" --target {target} ");
            assert!(words[1].contains(&proxy), "{words:?}");
        }
    }

    #[test]
    fn what_cannot_work_is_said() {
        let failure = |text: &str| {
            let error = ssh_words(text).expect_err("no sense");
            assert_eq!(report::status(&error), report::USAGE, "{text}");
            error.to_string()
        };
        assert_eq!(failure("ssmx ssh"), "no target");
        assert_eq!(failure("ssmx ssh -v"), "no target");
        assert!(failure("ssmx ssh -J b i-1").starts_with("-J "));
        assert_eq!(ssh_words("ssmx ssh -V").expect("good"), ["-V"]);
        assert_eq!(ssh_words("ssmx ssh -Q key").expect("good"), ["-Q", "key"]);
    }
}
