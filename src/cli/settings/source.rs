//! Where settings come from.

use std::path::PathBuf;

use crate::config::At;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// An option.
    Option,
    /// A variable of the environment.
    Environment(&'static str),
    /// An alias in a file.
    Alias { name: String, path: PathBuf, at: At },
    /// A file.
    File { path: PathBuf, at: At },
    /// Nobody said anything.
    Default,
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Option => f.write_str("the command line"),
            Self::Environment(name) => f.write_str(name),
            Self::Alias { name, path, at } => {
                write!(f, "alias {name}, {}:{}", path.display(), at.line)
            }
            Self::File { path, at } => write!(f, "{}:{}", path.display(), at.line),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A setting and where it comes from.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Its name in files.
    pub key: &'static str,
    /// Its value; none if nobody said anything.
    pub value: Option<String>,
    /// Who said so.
    pub source: Source,
}
