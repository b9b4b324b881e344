//! `--push-key`: which public key, for whom and where, as ssh itself will see it. Private keys are
//! never opened.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tracing::debug;

use super::super::global::Global;
use super::super::report::Failure;
use super::{Ssh, companion};

/// The longest file that is taken for one of public keys, in bytes.
const LONGEST: u64 = 64 << 10;
/// What EC2 Instance Connect is known to take.
const TAKEN: [&str; 2] = ["ssh-ed25519", "ssh-rsa"];

/// Lets a public key in on the instance that ssh is about to connect to: that of `file`, or the
/// one that ssh will offer. Returns what ssh needs to know to offer it, if it does not know.
pub(super) async fn push(
    global: &Global,
    ssh: &Ssh,
    file: Option<&Path>,
) -> anyhow::Result<Vec<OsString>> {
    let settings = Settings::of(ssh)?;
    let instance = &settings.host;
    if !instance.starts_with("i-") {
        return Err(Failure::usage(format!(
            "--push-key is for EC2 instances (i-…), which {instance} is not"
        ))
        .hint("without --push-key, a key that the node's authorized_keys have lets you in")
        .into());
    }
    let (key, options) = match file {
        Some(file) => given(file)?,
        None => (settings.key(ssh)?, Vec::new()),
    };
    let user = &settings.user;
    debug!(instance, user, kind = key.kind, "pushing a key");
    let aws = global.aws().await?;
    aws.send_ssh_public_key(instance, user, &key.text()).await?;
    Ok(options)
}

/// A public key without its comment, which is nobody's business.
#[derive(Clone, Debug, PartialEq, Eq)]
struct PublicKey {
    kind: String,
    blob: String,
}

impl PublicKey {
    /// The first key in a file of public keys, or in the agent's list.
    fn first(text: &str) -> Option<Self> {
        text.lines().find_map(Self::parse)
    }

    /// `TYPE BASE64 COMMENT`; no certificates, whose key alone opens nothing.
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let (kind, blob) = (words.next()?, words.next()?);
        let bytes = STANDARD.decode(blob).ok()?;
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        if rest.get(..length)? != kind.as_bytes() || kind.contains("-cert-v0") {
            return None;
        }
        Some(Self {
            kind: kind.to_owned(),
            blob: blob.to_owned(),
        })
    }

    fn text(&self) -> String {
        format!("{} {}", self.kind, self.blob)
    }

    fn is_taken(&self) -> bool {
        TAKEN.contains(&self.kind.as_str())
    }
}

/// The first of a kind that the service takes, or else just the first.
fn best(keys: impl IntoIterator<Item = PublicKey>) -> Option<PublicKey> {
    let keys: Vec<PublicKey> = keys.into_iter().collect();
    let taken = keys.iter().find(|key| key.is_taken());
    taken.or(keys.first()).cloned()
}

/// The key of `--push-key=FILE`, and how ssh is told of it.
fn given(file: &Path) -> Result<(PublicKey, Vec<OsString>), Failure> {
    let file = match file.strip_prefix("~") {
        Ok(rest) => std::env::home_dir().unwrap_or_default().join(rest),
        Err(_) => file.to_owned(),
    };
    let public = public_half(&file);
    // The private half may be meant, as ssh's -i has it.
    let public = if public.is_file() { public } else { file };
    let shown = public.display();
    let text = read(&public)
        .map_err(|error| Failure::other(format!("cannot read the public key {shown}: {error}")))?;
    let key = PublicKey::first(&text).ok_or_else(|| {
        Failure::other(format!("{shown} is no public key of SSH"))
            .hint("it has to be the .pub file; `ssh-keygen -y -f KEY > KEY.pub` makes it from a private key")
    })?;
    let private = public.with_extension("");
    let is_public = public.extension().is_some_and(|end| end == "pub");
    // With the public half ssh still finds the private one in the agent.
    let identity = if is_public && private.is_file() {
        private
    } else {
        public
    };
    Ok((key, vec!["-i".into(), identity.into_os_string()]))
}

/// The file that ssh-keygen puts beside a private key.
fn public_half(identity: &Path) -> PathBuf {
    if identity.extension().is_some_and(|end| end == "pub") {
        return identity.to_owned();
    }
    let mut name = identity.as_os_str().to_owned();
    name.push(".pub");
    name.into()
}

fn read(file: &Path) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    File::open(file)?.take(LONGEST).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
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
            let why = said.lines().next().unwrap_or("`ssh -G` fails").to_owned();
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
        let of_file = |file: &PathBuf| PublicKey::first(&read(&public_half(file)).ok()?);
        let key = named
            .iter()
            .find_map(of_file)
            .or_else(|| {
                (!self.identities_only)
                    .then(|| best(self.agent_keys(ssh)))
                    .flatten()
            })
            .or_else(|| {
                best(
                    usual
                        .iter()
                        .filter(|file| file.is_file())
                        .filter_map(of_file),
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

    const ED25519: &str = "ssh-ed25519 \
        AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    fn key_of(kind: &str) -> String {
        let mut blob = u32::try_from(kind.len())
            .expect("short")
            .to_be_bytes()
            .to_vec();
        blob.extend(kind.as_bytes());
        blob.extend([7; 40]);
        format!("{kind} {}", STANDARD.encode(blob))
    }

    #[test]
    fn public_keys_lose_their_comment_and_nothing_else_is_one() {
        let key = PublicKey::first(&format!("# mine\n\n{ED25519} me@home\n")).expect("a key");
        assert_eq!(key.text(), ED25519);
        for text in [
            "",
            "ssh-ed25519",
            "ssh-ed25519 AAAA",
            "ssh-ed25519 ////////",
            "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmU\n",
            &ED25519.replace("ssh-ed25519", "ssh-rsa"),
            &key_of("ssh-ed25519-cert-v01@openssh.com"),
        ] {
            assert_eq!(PublicKey::first(text), None, "{text}");
        }
    }

    #[test]
    fn kinds_that_the_service_takes_go_first() {
        let keys = |kinds: &[&str]| {
            let keys: Vec<_> = kinds
                .iter()
                .map(|kind| PublicKey::parse(&key_of(kind)).expect("a key"))
                .collect();
            best(keys).map(|key| key.kind)
        };
        let ecdsa = "ecdsa-sha2-nistp256";
        assert_eq!(
            keys(&[ecdsa, "ssh-rsa", "ssh-ed25519"]).as_deref(),
            Some("ssh-rsa")
        );
        assert_eq!(keys(&[ecdsa]).as_deref(), Some(ecdsa));
        assert_eq!(keys(&[]), None);
    }

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

    #[test]
    fn a_given_file_is_public_or_has_a_public_half() {
        let dir = tempfile::tempdir().expect("a directory for this test");
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).expect("writable");
            path
        };
        let public = file("key.pub", &format!("{ED25519} me\n"));
        // Only the agent has the private half.
        let (key, options) = given(&public).expect("good");
        assert_eq!(key.text(), ED25519);
        assert_eq!(options, [OsStr::new("-i"), public.as_os_str()]);
        let private = file("key", "-----BEGIN OPENSSH PRIVATE KEY-----\n");
        for named in [&public, &private] {
            let (key, options) = given(named).expect("good");
            assert_eq!(key.text(), ED25519);
            assert_eq!(options, [OsStr::new("-i"), private.as_os_str()]);
        }
        let alone = file("alone", "-----BEGIN OPENSSH PRIVATE KEY-----\n");
        let failure = given(&alone).expect_err("no public key");
        assert!(
            failure
                .hint
                .is_some_and(|hint| hint.contains("ssh-keygen -y"))
        );
        assert!(given(&dir.path().join("none")).is_err());
    }
}
