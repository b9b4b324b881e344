//! The configuration files: where they are, what may stand in them, and what does. Reads files
//! and the environment; knows nothing of AWS.
//!
//! There are two. The *user's* file is `~/.config/ssmx/config.toml`, or what `XDG_CONFIG_HOME`
//! or `SSMX_CONFIG` makes of that. A *project's* is `.ssmx.toml` in the working directory or the
//! nearest one above it. A project's file is the work of others: it may come with a repository
//! that was merely cloned. So it says which node and which tunnels a project needs, and nothing
//! that runs a program here or there, opens this machine to others or leads credentials
//! elsewhere; and its aliases never take the place of the user's.
//!
//! Everything in a file is checked when it is read, and every complaint has a line and a column.

mod alias;
mod find;
mod problem;
mod read;
mod schema;

use std::path::PathBuf;

pub use alias::Alias;
pub use find::{Ignored, Place, user_file};
pub use problem::{At, Problem};
pub use schema::{ALIAS_KEYS, Key, Kind, SETTINGS, nearest};

/// Whose file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The user's own: may set everything.
    User,
    /// A project's: may set what does no harm.
    Project,
}

/// One file, read and checked.
#[derive(Clone, Debug)]
pub struct File {
    /// Where it is.
    pub path: PathBuf,
    /// Whose it is.
    pub owner: Owner,
    /// The settings in it, each with its place.
    pub settings: Vec<Setting>,
    /// The aliases in it, in their order there.
    pub aliases: Vec<Alias>,
}

/// A setting in a file.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Its key, one of [`SETTINGS`].
    pub key: &'static str,
    /// Its value, as an option of the command line would have it.
    pub value: String,
    /// Where the value stands.
    pub at: At,
}

impl File {
    /// Reads and checks a text; all that is wrong with it, from top to bottom.
    pub fn parse(path: PathBuf, owner: Owner, text: &str) -> Result<Self, Vec<Problem>> {
        read::file(path, owner, text)
    }

    /// A setting of this file.
    pub fn setting(&self, key: &str) -> Option<&Setting> {
        self.settings.iter().find(|setting| setting.key == key)
    }
}

/// All that the files say.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The files there are; for settings, earlier ones go first.
    pub files: Vec<File>,
    /// A project's file that does not count.
    pub ignored: Option<Ignored>,
}

impl Config {
    /// Reads the files there are; no file at all is no error.
    ///
    /// Fails if one cannot be read, or for what is wrong in it.
    pub fn load() -> Result<Self, Vec<Problem>> {
        let mut config = Self::default();
        let mut problems = Vec::new();
        let (places, ignored) = find::places();
        config.ignored = ignored;
        for place in places {
            match place.read() {
                Ok(Some(file)) => config.files.push(file),
                Ok(None) => {}
                Err(more) => problems.extend(more),
            }
        }
        match problems.is_empty() {
            true => Ok(config),
            false => Err(problems),
        }
    }

    /// The setting that counts, and its file.
    pub fn setting(&self, key: &str) -> Option<(&Setting, &File)> {
        self.files
            .iter()
            .find_map(|file| file.setting(key).map(|setting| (setting, file)))
    }

    /// The alias of this name, and its file: the user's goes before a project's.
    pub fn alias(&self, name: &str) -> Option<(&Alias, &File)> {
        self.aliases().find(|(alias, _)| alias.name == name)
    }

    /// All aliases that count, the user's first.
    pub fn aliases(&self) -> impl Iterator<Item = (&Alias, &File)> {
        self.aliases_of(Owner::User).chain(
            self.aliases_of(Owner::Project)
                .filter(|(alias, _)| !self.is_the_users(&alias.name)),
        )
    }

    fn is_the_users(&self, name: &str) -> bool {
        self.aliases_of(Owner::User)
            .any(|(alias, _)| alias.name == name)
    }

    fn aliases_of(&self, owner: Owner) -> impl Iterator<Item = (&Alias, &File)> {
        let files = self.files.iter().filter(move |file| file.owner == owner);
        files.flat_map(|file| file.aliases.iter().map(move |alias| (alias, file)))
    }
}

#[cfg(test)]
mod tests;
