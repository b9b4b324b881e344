//! `TARGET:path`, or a path of this machine.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use crate::session::copy::RemotePath;

/// One side of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// Standard input or output.
    Stream,
    /// A path here.
    Local(PathBuf),
    /// A path of this target.
    Remote(String, RemotePath),
}

impl Place {
    /// Reads it as scp does: with a colon before the first slash it is remote. A target that has a
    /// colon in it stands in brackets, but for `ecs:…`, `asg:…` and `tag:Key=Value`. `:path` is of
    /// a node that nobody names.
    pub(super) fn parse(text: &OsStr) -> Self {
        if text == "-" {
            return Self::Stream;
        }
        let bytes = text.as_encoded_bytes();
        match split(bytes) {
            Some((target, path)) => Self::Remote(
                String::from_utf8_lossy(target).into_owned(),
                RemotePath::new(path),
            ),
            None => Self::Local(OsString::from(text).into()),
        }
    }
}

fn split(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let target = match text.strip_prefix(b"[") {
        Some(inner) => {
            let end = inner.windows(2).position(|pair| pair == b"]:")?;
            return Some((inner.get(..end)?, inner.get(end + 2..)?)).filter(|(t, _)| !t.is_empty());
        }
        None => {
            let prefix = [&b"ecs:"[..], b"tag:", b"asg:"]
                .into_iter()
                .find(|prefix| text.starts_with(prefix));
            let prefix = prefix.map_or(0, <[u8]>::len);
            let rest = text.get(prefix..)?;
            prefix + rest.iter().position(|&byte| byte == b':')?
        }
    };
    let (target, path) = (text.get(..target)?, text.get(target + 1..)?);
    let is_path = target.contains(&b'/') || target.contains(&b'\\');
    // C:\Users, C:/Users and C:file are of this machine, where there are drives.
    let is_drive = cfg!(windows) && matches!(*target, [letter] if letter.is_ascii_alphabetic());
    (!is_path && !is_drive).then_some((target, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(text: &str) -> String {
        match Place::parse(text.as_ref()) {
            Place::Stream => "stream".to_owned(),
            Place::Local(path) => format!("here {}", path.display()),
            Place::Remote(target, path) => format!("{target} {path}"),
        }
    }

    #[test]
    fn a_colon_before_a_slash_makes_it_remote() {
        let cases = [
            ("-", "stream"),
            ("a", "here a"),
            ("./-", "here ./-"),
            ("./a:b", "here ./a:b"),
            ("/a:b", "here /a:b"),
            (":a", " a"),
            (":/a", " /a"),
            ("./:a", "here ./:a"),
            ("i-1:", "i-1 ."),
            ("i-1:a", "i-1 a"),
            ("i-1:/a:b", "i-1 /a:b"),
            ("i-1:~/a", "i-1 a"),
            ("i-1:-r", "i-1 ./-r"),
            (r"i-1:C:\Users", r"i-1 C:\Users"),
            ("ecs:c_t_r:/a", "ecs:c_t_r /a"),
            ("ecs:c_t_r", "here ecs:c_t_r"),
            ("tag:Name=web:/a", "tag:Name=web /a"),
            ("asg:web:/a", "asg:web /a"),
            ("[fd00::1]:/a", "fd00::1 /a"),
            ("[fd00::1]", "here [fd00::1]"),
            ("[]:a", "here []:a"),
            ("10.0.0.1:a", "10.0.0.1 a"),
        ];
        for (text, expected) in cases {
            assert_eq!(show(text), expected, "{text}");
        }
        let drive = show(r"C:\Users");
        assert_eq!(drive == r"here C:\Users", cfg!(windows), "{drive}");
    }
}
