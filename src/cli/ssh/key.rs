//! Public keys in files and lists. A private key is opened only if it is passed off as a public one.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::report::Failure;

/// The longest file that is taken for one of public keys, in bytes.
const LONGEST: u64 = 64 << 10;
/// What EC2 Instance Connect is known to take.
const TAKEN: [&str; 2] = ["ssh-ed25519", "ssh-rsa"];

/// A public key without its comment, which is nobody's business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PublicKey {
    pub kind: String,
    blob: String,
}

impl PublicKey {
    /// The first key in a file of public keys, or in the agent's list.
    pub(super) fn first(text: &str) -> Option<Self> {
        text.lines().find_map(Self::parse)
    }

    /// `TYPE BASE64 COMMENT`; no certificates, whose key alone opens nothing.
    pub(super) fn parse(line: &str) -> Option<Self> {
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

    pub(super) fn text(&self) -> String {
        format!("{} {}", self.kind, self.blob)
    }

    fn is_taken(&self) -> bool {
        TAKEN.contains(&self.kind.as_str())
    }
}

/// The first of a kind that the service takes, or else just the first.
pub(super) fn best(keys: impl IntoIterator<Item = PublicKey>) -> Option<PublicKey> {
    let keys: Vec<PublicKey> = keys.into_iter().collect();
    let taken = keys.iter().find(|key| key.is_taken());
    taken.or(keys.first()).cloned()
}

/// The key of `--push-key=FILE`, and how ssh is told of it.
pub(super) fn given(file: &Path) -> Result<(PublicKey, Vec<OsString>), Failure> {
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

/// The key beside an identity file, if there is one.
pub(super) fn of_identity(file: &Path) -> Option<PublicKey> {
    PublicKey::first(&read(&public_half(file)).ok()?)
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

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

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
