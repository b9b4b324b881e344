//! `--push-key`: lets in the key that ssh will offer, for whom and where ssh itself says.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tracing::debug;

use super::super::global::Global;
use super::super::report::Failure;
use super::key::{self, PublicKey};
use super::{Line, Ssh, companion, literal};

/// Lets a public key in on the instance that ssh is about to connect to: that of `file`, or the
/// one that ssh will offer. `id` is the instance, if that is known. Returns what ssh needs to know to offer it, if it does not know, and
/// the instance.
pub(super) async fn push_key(
    global: &Global,
    ssh: &Ssh,
    line: &Line,
    id: Option<&str>,
    file: Option<&Path>,
) -> anyhow::Result<(Vec<OsString>, String)> {
    let settings = Settings::of(ssh)?;
    let target = id
        .or_else(|| literal(global, line))
        .unwrap_or(&settings.host);
    only_instances(target)?;
    let (key, options) = match file {
        Some(file) => key::given(file)?,
        None => (settings.key(ssh)?, Vec::new()),
    };
    let user = &settings.user;
    let aws = global.aws().await?;
    let instance = global.target(&aws, Some(target)).await?;
    only_instances(&instance)?;
    debug!(instance, user, kind = key.kind, "pushing a key");
    aws.send_ssh_public_key(&instance, user, &key.text())
        .await?;
    Ok((options, instance))
}

/// Others have no such service.
fn only_instances(target: &str) -> Result<(), Failure> {
    if target.starts_with("mi-") || target.starts_with("ecs:") {
        return Err(Failure::usage(format!(
            "--push-key is for EC2 instances (i-…), which {target} is not"
        ))
        .hint("without --push-key, a key that the node's authorized_keys have lets you in"));
    }
    Ok(())
}

/// What ssh makes of its command line and configuration.
#[derive(Debug, Default, PartialEq, Eq)]
struct Settings {
    host: String,
    user: String,
    identity_files: Vec<String>,
    identity_agent: Option<String>,
    identities_only: bool,
}

impl Settings {
    /// Asks ssh itself.
    fn of(ssh: &Ssh) -> Result<Self, Failure> {
        let asked = ssh.command(&["-G"]).stdin(Stdio::null()).output();
        let answer = asked.map_err(|error| ssh.not_run(&error))?;
        let settings = Self::parse(&String::from_utf8_lossy(&answer.stdout));
        if !answer.status.success() || settings.host.is_empty() || settings.user.is_empty() {
            let said = String::from_utf8_lossy(&answer.stderr);
            // Under -v there is more.
            let is_why = |line: &&str| !line.starts_with("debug") && !line.starts_with("OpenSSH");
            let why = said.lines().find(is_why).unwrap_or("`ssh -G` fails");
            return Err(Failure::other(format!(
                "ssh cannot say where it would connect to: {why}"
            )));
        }
        Ok(settings)
    }

    fn parse(text: &str) -> Self {
        let mut settings = Self::default();
        for (key, value) in text.lines().filter_map(|line| line.split_once(' ')) {
            match key {
                "hostname" => settings.host = value.to_owned(),
                "user" => settings.user = value.to_owned(),
                "identityfile" => settings.identity_files.push(value.to_owned()),
                "identityagent" => settings.identity_agent = Some(value.to_owned()),
                "identitiesonly" => settings.identities_only = value == "yes",
                _ => {}
            }
        }
        settings
    }

    /// The key that ssh will offer: of an identity file that somebody named, or of the agent, or
    /// of a usual identity file.
    fn key(&self, ssh: &Ssh) -> Result<PublicKey, Failure> {
        let (usual, named): (Vec<PathBuf>, Vec<PathBuf>) = self
            .identity_files
            .iter()
            .filter_map(|file| self.expanded(file))
            .partition(|file| is_usual(file));
        let key = named
            .iter()
            .find_map(|file| key::of_identity(file))
            .or_else(|| {
                (!self.identities_only)
                    .then(|| key::best(self.agent_keys(ssh)))
                    .flatten()
            })
            .or_else(|| {
                key::best(
                    usual
                        .iter()
                        .filter(|file| file.is_file())
                        .filter_map(|file| key::of_identity(file)),
                )
            });
        key.ok_or_else(|| match named.first().filter(|file| file.is_file()) {
            Some(file) => {
                let file = file.display();
                Failure::other(format!("there is no {file}.pub to push"))
                    .hint(format!("make it: ssh-keygen -y -f {file} > {file}.pub"))
            }
            None => Failure::other(
                "there is no key to push: neither ssh's agent nor its identity files have one",
            )
            .hint("make one with `ssh-keygen -t ed25519`, or name its file: --push-key=FILE.pub"),
        })
    }

    fn agent_keys(&self, ssh: &Ssh) -> Vec<PublicKey> {
        let socket = match self.identity_agent.as_deref() {
            Some("none") => return Vec::new(),
            None | Some("SSH_AUTH_SOCK") => std::env::var_os("SSH_AUTH_SOCK"),
            Some(text) => match text.strip_prefix('$') {
                Some(name) if !name.starts_with('{') => std::env::var_os(name),
                _ => self.expanded(text).map(PathBuf::into_os_string),
            },
        };
        let socket = socket.filter(|path| !path.is_empty());
        // Windows has a usual one, which ssh-add knows.
        if socket.is_none() && cfg!(unix) {
            return Vec::new();
        }
        let mut list = Command::new(companion(&ssh.program, "ssh-add"));
        list.arg("-L").stdin(Stdio::null());
        if let Some(socket) = socket {
            list.env("SSH_AUTH_SOCK", socket);
        }
        match list.output() {
            Ok(answer) => String::from_utf8_lossy(&answer.stdout)
                .lines()
                .filter_map(PublicKey::parse)
                .collect(),
            Err(error) => {
                debug!(%error, "the agent cannot be asked");
                Vec::new()
            }
        }
    }

    /// A path of ssh's configuration with its tokens replaced; none for one that needs more than
    /// is known here.
    fn expanded(&self, text: &str) -> Option<PathBuf> {
        let home = || Some(std::env::home_dir()?.to_str()?.to_owned());
        let mut path = String::new();
        let mut rest = text;
        if rest == "~" || rest.starts_with("~/") {
            path = home()?;
            rest = &rest[1..];
        }
        while let Some(at) = rest.find(['%', '$']) {
            let (before, token) = rest.split_at(at);
            path.push_str(before);
            if let Some(variable) = token.strip_prefix("${") {
                let (name, after) = variable.split_once('}')?;
                path.push_str(&std::env::var(name).ok()?);
                rest = after;
                continue;
            }
            let mut letters = token.chars();
            match (letters.next()?, letters.next()) {
                ('%', Some('%')) => path.push('%'),
                ('%', Some('d')) => path.push_str(&home()?),
                ('%', Some('h' | 'n')) => path.push_str(&self.host),
                ('%', Some('r')) => path.push_str(&self.user),
                ('%', _) => return None,
                (other, Some(next)) => path.extend([other, next]),
                (other, None) => path.push(other),
            }
            rest = letters.as_str();
        }
        path.push_str(rest);
        Some(path.into())
    }
}

/// One of those that ssh tries when nobody named any.
fn is_usual(file: &Path) -> bool {
    let name = file.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let kinds = [
        "rsa",
        "ecdsa",
        "ecdsa_sk",
        "ed25519",
        "ed25519_sk",
        "xmss",
        "dsa",
    ];
    let is_kind = name
        .strip_prefix("id_")
        .is_some_and(|kind| kinds.contains(&kind));
    is_kind && file.parent().is_some_and(|dir| dir.ends_with(".ssh"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_those_that_ssh_prints() {
        let text = "host web\nuser ubuntu\nhostname i-1\nidentitiesonly yes\n\
            identityfile ~/.ssh/a b\nidentityfile /k\nidentityagent none\nport 22\n";
        let expected = Settings {
            host: "i-1".to_owned(),
            user: "ubuntu".to_owned(),
            identity_files: vec!["~/.ssh/a b".to_owned(), "/k".to_owned()],
            identity_agent: Some("none".to_owned()),
            identities_only: true,
        };
        assert_eq!(Settings::parse(text), expected);
        assert_eq!(Settings::parse("nonsense\n\n"), Settings::default());
    }

    #[test]
    fn paths_have_their_tokens_replaced() {
        let settings = Settings {
            host: "i-1".to_owned(),
            user: "me".to_owned(),
            ..Settings::default()
        };
        let expand = |text: &str| settings.expanded(text);
        assert_eq!(expand("/k/%h_%r%%"), Some("/k/i-1_me%".into()));
        assert_eq!(expand("/a$b"), Some("/a$b".into()));
        assert_eq!(expand("/x$"), Some("/x$".into()));
        for text in ["/%C", "/x%", "/${NO_SUCH_VARIABLE}", "/${PATH"] {
            assert_eq!(expand(text), None, "{text}");
        }
        let home = std::env::home_dir().expect("a home");
        assert_eq!(expand("~/.ssh/id_rsa"), Some(home.join(".ssh/id_rsa")));
        assert_eq!(expand("%d/k"), Some(home.join("k")));
        if let Ok(path) = std::env::var("PATH") {
            assert_eq!(expand("${PATH}/k"), Some(PathBuf::from(path + "/k")));
        }
    }

    #[test]
    fn usual_identity_files_are_those_of_ssh() {
        for (file, expected) in [
            ("/h/.ssh/id_ed25519", true),
            ("/h/.ssh/id_rsa", true),
            ("/h/.ssh/id_work", false),
            ("/h/.ssh/key", false),
            ("/h/id_rsa", false),
        ] {
            assert_eq!(is_usual(Path::new(file)), expected, "{file}");
        }
    }
}
