//! `ssmx ssh-config`: what ssh, scp, sftp and rsync need to know to reach nodes by themselves.

use std::path::{Path, PathBuf};

use super::global::Global;
use super::output;
use super::report::Failure;
use super::ssh::proxy;

/// Which hosts are nodes, if nobody says.
const NODES: [&str; 2] = ["i-*", "mi-*"];

/// `ssmx ssh-config`
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    ssmx ssh-config >> ~/.ssh/config\n  \
    scp file ec2-user@i-…:\n  \
    ssmx ssh-config web=i-… --user ubuntu >> ~/.ssh/config\n  \
    ssmx ssh-config db=tag:Role=db app=asg:web >> ~/.ssh/config\n  \
    ssh web\n\n\
    Nodes are hosts like any other then, under a name if you like. --profile, --region and the like go into it; it needs no credentials. A `Host *` with a \
    ProxyCommand above it would win: then print it into a file of its own, and put `Include FILE` \
    at the top of ~/.ssh/config.")]
pub struct Args {
    /// A pattern of ssh's (i-*), or NAME=TARGET for a node under a name [default: i-* mi-*]
    #[arg(value_name = "HOST")]
    hosts: Vec<String>,
    /// The user to log in as, if ssh is not told
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// The private key to log in with
    #[arg(long, value_name = "FILE")]
    identity_file: Option<PathBuf>,
}

/// Runs the subcommand; the exit status.
pub fn run(global: &Global, args: &Args) -> anyhow::Result<u8> {
    let program = std::env::current_exe()
        .map_err(|error| Failure::other(format!("cannot find this program's file: {error}")))?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let program = lasting(program, &directories, &std::env::temp_dir());
    output::text(&config(global, args, &program)?)?;
    Ok(0)
}

/// The name under which a search finds this program: where packages are upgraded, the file itself
/// has its version in its path. Not the names that `ssmx loopback` makes for a while.
fn lasting(program: PathBuf, directories: &[PathBuf], temporary: &Path) -> PathBuf {
    let is_this = |candidate: &PathBuf| {
        candidate.is_absolute()
            && !candidate.starts_with(temporary)
            && candidate
                .canonicalize()
                .is_ok_and(|found| program.canonicalize().is_ok_and(|program| program == found))
    };
    let name = format!("ssmx{}", std::env::consts::EXE_SUFFIX);
    let mut found = directories.iter().map(|directory| directory.join(&name));
    found.find(is_this).unwrap_or(program)
}

fn config(global: &Global, args: &Args, program: &Path) -> Result<String, Failure> {
    let given: Vec<&str> = args.hosts.iter().map(String::as_str).collect();
    let (named, mut patterns): (Vec<&str>, Vec<&str>) =
        given.into_iter().partition(|host| host.contains('='));
    if args.hosts.is_empty() {
        patterns.extend(NODES);
    }
    let mut text = String::from(
        // What it is appended to may lack its last line's end.
        "\n# Nodes of AWS Systems Manager, through ssmx. Of several values ssh takes the first.\n",
    );
    if global.options().profile.is_none() || global.options().region.is_none() {
        text.push_str("# Profile and region that are not named are those of the environment.\n");
    }
    for host in named {
        let (name, target) = host.split_once('=').unwrap_or((host, ""));
        let name = checked(name, "name")?;
        let target = checked_target(target)?;
        if name.contains(['*', '?', '!', ',']) || target.contains(['*', '?', '%']) {
            return Err(
                Failure::usage(format!("{host} is a pattern, and not NAME=TARGET"))
                    .hint("a pattern stands alone, as in: ssmx ssh-config 'i-*'"),
            );
        }
        text.push_str(&format!("Host {name}\n"));
        // Capitals and colons of a container's target are safer outside of a host's name. What may
        // mean one node now and another later has no key of its own: NAME has.
        let is_host = !target.contains(|c: char| c.is_ascii_uppercase() || " :=".contains(c));
        match () {
            () if is_host => text.push_str(&format!("    HostName {target}\n")),
            () if target.starts_with("ecs:") => {
                text.push_str(&format!("    HostKeyAlias {target}\n"));
            }
            () => {}
        }
        let target = if is_host { proxy::HOST } else { target };
        text.push_str(&settings(global, args, program, target)?);
    }
    if !patterns.is_empty() {
        for pattern in &patterns {
            checked(pattern, "pattern")?;
        }
        text.push_str(&format!("Host {}\n", patterns.join(" ")));
        text.push_str(&settings(global, args, program, proxy::HOST)?);
    }
    Ok(text)
}

/// The lines below `Host`.
fn settings(global: &Global, args: &Args, program: &Path, target: &str) -> Result<String, Failure> {
    let mut text = String::new();
    let mut add = |name: &str, value: &str| text.push_str(&format!("    {name} {value}\n"));
    add(
        "ProxyCommand",
        &proxy::command(program, &global.lasting_words(), target)?,
    );
    for (name, value) in proxy::SETTINGS {
        add(name, value);
    }
    if let Some(user) = &args.user {
        add("User", checked(user, "user")?);
    }
    if let Some(file) = &args.identity_file {
        let file = match file.starts_with("~") {
            true => Ok(file.clone()),
            false => std::path::absolute(file),
        };
        let file = file
            .ok()
            .filter(|file| file.to_str().is_some_and(is_quotable));
        let file = file.ok_or_else(|| Failure::usage("--identity-file is no path for ssh"))?;
        add("IdentityFile", &format!("\"{}\"", file.display()));
    }
    Ok(text)
}

fn is_quotable(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_control() || c == '"')
}

/// A target that a ProxyCommand takes: a tag may have an equals sign and spaces.
fn checked_target(target: &str) -> Result<&str, Failure> {
    match target
        .strip_prefix("tag:")
        .and_then(|tag| tag.split_once('='))
    {
        Some((key, value)) => {
            let words = [key].into_iter().chain(value.split([' ', '=']));
            for word in words.filter(|word| !word.is_empty()) {
                checked(word, "tag")?;
            }
            Ok(target)
        }
        None => checked(target, "target"),
    }
}

/// A word that ssh's configuration takes as one.
fn checked<'a>(word: &'a str, what: &str) -> Result<&'a str, Failure> {
    let is_odd = |c: char| c.is_whitespace() || c.is_control() || "\"'#\\=".contains(c);
    if word.is_empty() || word.starts_with('-') || word.contains(is_odd) {
        return Err(Failure::usage(format!(
            "{word:?} is no {what} for ssh's configuration"
        )));
    }
    Ok(word)
}

#[cfg(all(test, unix))]
mod tests {
    use super::super::{Cli, Command, report};
    use super::*;
    use clap::Parser;

    fn made(words: &[&str]) -> Result<String, Failure> {
        let cli = Cli::try_parse_from(["ssmx", "ssh-config"].iter().chain(words)).expect("good");
        let Command::SshConfig(args) = cli.command else {
            panic!("another subcommand");
        };
        config(&cli.global, &args, Path::new("/opt/my tools/ssmx"))
    }

    /// Without comments.
    fn lines(words: &[&str]) -> Vec<String> {
        let text = made(words).expect("good");
        let lines = text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.map(|line| line.trim().to_owned()).collect()
    }

    const REST: &str = "--document-name AWS-StartSSHSession --parameters portNumber=%p";

    #[test]
    fn all_nodes_by_default() {
        let expected = [
            "Host i-* mi-*",
            &format!("ProxyCommand '/opt/my tools/ssmx' start-session --target %h {REST}"),
            "ProxyUseFdpass no",
            "CanonicalizeHostname no",
        ];
        assert_eq!(lines(&[]), expected);
    }

    #[test]
    fn names_patterns_user_and_options_go_into_it() {
        let all = lines(&[
            "web=i-1",
            "i-2*",
            "--region",
            "r",
            "--profile",
            "my profile",
            "--user",
            "ubuntu",
            "task=ecs:C_t_r",
            "db=tag:Role=my db=1",
            "app=asg:web",
            "--debug",
        ]);
        let proxy = |target: &str| {
            format!(
                "ProxyCommand '/opt/my tools/ssmx' --profile 'my profile' --region r \
                 start-session --target {target} {REST}"
            )
        };
        let block = |first: &[&str], target: &str| {
            let mut lines: Vec<String> = first.iter().map(|&line| line.to_owned()).collect();
            lines.push(proxy(target));
            lines.extend(
                [
                    "ProxyUseFdpass no",
                    "CanonicalizeHostname no",
                    "User ubuntu",
                ]
                .map(String::from),
            );
            lines
        };
        let expected = [
            block(&["Host web", "HostName i-1"], "%h"),
            block(&["Host task", "HostKeyAlias ecs:C_t_r"], "ecs:C_t_r"),
            block(&["Host db"], "'tag:Role=my db=1'"),
            block(&["Host app"], "asg:web"),
            block(&["Host i-2*"], "%h"),
        ];
        assert_eq!(all, expected.concat());
    }

    #[test]
    fn nothing_breaks_out_of_its_line() {
        for words in [
            &["a\nb"][..],
            &["a b"],
            &["=i-1"],
            &["a="],
            &["a=b=c"],
            &["a=tag:K=b\nc"],
            &["a=tag:K=b \"c"],
            &["a=tag:K b=c"],
            &["a=tag:K=*"],
            &["i-*=i-1"],
            &["a=i-*"],
            &[""],
            &["--user", "a b"],
            &["--user=-x"],
            &["--identity-file", "a\"b"],
            &["--region", "a\nb"],
        ] {
            let failure = made(words).expect_err("no configuration");
            assert_eq!(failure.status, report::USAGE, "{words:?}");
        }
    }

    #[test]
    fn the_name_on_the_path_outlives_an_upgrade() {
        let dir = tempfile::tempdir().expect("made");
        let temporary = dir.path().join("tmp");
        let (bin, versioned) = (dir.path().join("bin"), dir.path().join("1.0/ssmx"));
        std::fs::create_dir_all(&bin).expect("made");
        std::fs::create_dir_all(dir.path().join("1.0")).expect("made");
        std::fs::write(&versioned, "").expect("writable");
        assert_eq!(
            lasting(versioned.clone(), std::slice::from_ref(&bin), &temporary),
            versioned
        );
        std::os::unix::fs::symlink(&versioned, bin.join("ssmx")).expect("made");
        let path = ["relative".into(), dir.path().join("none"), bin.clone()];
        let found = lasting(versioned.clone(), &path, &temporary);
        assert_eq!(found, bin.join("ssmx"));
        // Those of `ssmx loopback` do not last.
        assert_eq!(lasting(versioned.clone(), &path, &bin), versioned);
    }
}
