//! Paths on nodes: bytes, with slashes between their parts.

use std::fmt;

use crate::text::is_harmful;

/// A path on a node, never empty, and never one that a program takes for an option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemotePath(Vec<u8>);

impl RemotePath {
    /// As the user gives it: relative ones are in the home directory.
    pub fn new(path: &[u8]) -> Self {
        let path = match path {
            b"" | b"~" => b".",
            path => path.strip_prefix(b"~/").unwrap_or(path),
        };
        match path.first() {
            None => Self(b".".to_vec()),
            Some(b'-') => Self([b"./", path].concat()),
            Some(_) => Self(path.to_vec()),
        }
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// One in it.
    pub fn join(&self, name: &[u8]) -> Self {
        match self.0.ends_with(b"/") {
            true => Self([self.0.as_slice(), name].concat()),
            false => Self([self.0.as_slice(), b"/", name].concat()),
        }
    }

    /// Whether it says that it is a directory.
    pub fn has_slash(&self) -> bool {
        self.0.ends_with(b"/")
    }

    /// Its last part; `None` where that is no name (`/`, `.`, `..`).
    pub fn name(&self) -> Option<&[u8]> {
        let end = self.0.iter().rposition(|&byte| byte != b'/')?;
        let path = self.0.get(..=end)?;
        let name = path.rsplit(|&byte| byte == b'/').next()?;
        (!matches!(name, b"." | b"..")).then_some(name)
    }
}

impl fmt::Display for RemotePath {
    /// For people, on one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in String::from_utf8_lossy(&self.0).chars() {
            match is_harmful(c) {
                true => write!(f, "{}", c.escape_default())?,
                false => write!(f, "{c}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_home_directory_or_absolute() {
        let cases: [(&str, &str, Option<&str>); 9] = [
            ("", ".", None),
            ("~", ".", None),
            ("~/a", "a", Some("a")),
            ("~/", ".", None),
            ("-r", "./-r", Some("-r")),
            ("/", "/", None),
            ("/a/b//", "/a/b//", Some("b")),
            ("a/..", "a/..", None),
            ("/a b\n", "/a b\n", Some("a b\n")),
        ];
        for (given, bytes, name) in cases {
            let path = RemotePath::new(given.as_bytes());
            assert_eq!(path.bytes(), bytes.as_bytes(), "{given}");
            assert_eq!(path.name(), name.map(str::as_bytes), "{given}");
        }
        assert_eq!(RemotePath::new(b"/").join(b"-a").bytes(), b"/-a");
        assert_eq!(RemotePath::new(b"a\nb").to_string(), "a\\nb");
    }
}
