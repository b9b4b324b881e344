//! Where the files are.

use std::env;
use std::fs::{self, Metadata};
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use super::problem::{At, Problem};
use super::{File, Owner};

/// Names the user's file.
const VARIABLE: &str = "SSMX_CONFIG";
/// A project's file.
const PROJECT: &str = ".ssmx.toml";
/// No configuration is longer.
const LONGEST: u64 = 1 << 20;

/// Where a file is, or may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The path.
    pub path: PathBuf,
    /// Whose it is.
    pub owner: Owner,
    /// It was named, so that it has to be there.
    pub named: bool,
}

/// A project's file that does not count, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ignored {
    /// The path.
    pub path: PathBuf,
    /// Why, as in "it belongs to another user".
    pub why: &'static str,
}

impl Place {
    /// Reads and checks the file; `None` if there is none, and need not be.
    pub fn read(&self) -> Result<Option<File>, Vec<Problem>> {
        let complain = |what: String, hint: Option<&str>| {
            vec![Problem {
                path: self.path.clone(),
                at: None,
                what,
                hint: hint.map(str::to_owned),
            }]
        };
        let named = self.named.then_some("SSMX_CONFIG names it");
        match fs::metadata(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound && !self.named => return Ok(None),
            Err(error) if error.kind() == ErrorKind::NotADirectory && !self.named => {
                return Ok(None);
            }
            Ok(found) if found.is_dir() => {
                return Err(complain("it is a directory".to_owned(), named));
            }
            Ok(found) if found.len() > LONGEST => {
                return Err(complain("it is longer than 1 MiB".to_owned(), named));
            }
            _ => {}
        }
        match read(&self.path) {
            Ok(bytes) if bytes.len() as u64 > LONGEST => {
                Err(complain("it is longer than 1 MiB".to_owned(), named))
            }
            Ok(bytes) => match str::from_utf8(&bytes) {
                Ok(text) => File::parse(self.path.clone(), self.owner, text).map(Some),
                Err(error) => {
                    let good = bytes.get(..error.valid_up_to()).unwrap_or_default();
                    let good = String::from_utf8_lossy(good);
                    let mut problems = complain("it is no UTF-8 text".to_owned(), None);
                    for problem in &mut problems {
                        problem.at = Some(At::of(&good, good.len()));
                    }
                    Err(problems)
                }
            },
            Err(error) => Err(complain(format!("cannot read it: {error}"), named)),
        }
    }
}

/// The bytes of a file, or more than it may have: devices have no end.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?
        .take(LONGEST + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The places to look at, the ones that go first in front, and a project's that does not count.
pub(super) fn places() -> (Vec<Place>, Option<Ignored>) {
    let user = user_file();
    let mut places = Vec::new();
    let mut ignored = None;
    if let Some(path) = env::current_dir().ok().and_then(|dir| project_file(&dir))
        && user.as_ref().is_none_or(|user| user.path != path)
    {
        match fs::metadata(&path).ok().and_then(|found| distrust(&found)) {
            Some(why) => ignored = Some(Ignored { path, why }),
            None => places.push(Place {
                path,
                owner: Owner::Project,
                named: false,
            }),
        }
    }
    places.extend(user);
    (places, ignored)
}

/// Where the user's file is, or would be; nowhere if nothing says where home is.
pub fn user_file() -> Option<Place> {
    let variable = |name| env::var_os(name).filter(|value| !value.is_empty());
    let place = |path, named| Place {
        path,
        owner: Owner::User,
        named,
    };
    if let Some(path) = variable(VARIABLE) {
        return Some(place(PathBuf::from(path), true));
    }
    let directory = variable("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    #[cfg(windows)]
    let directory = directory.or_else(|| variable("APPDATA").map(PathBuf::from));
    let directory = directory.or_else(|| Some(env::home_dir()?.join(".config")))?;
    Some(place(directory.join("ssmx").join("config.toml"), false))
}

/// The nearest file of a project, in this directory or above it.
fn project_file(directory: &Path) -> Option<PathBuf> {
    let mut candidates = directory.ancestors().map(|above| above.join(PROJECT));
    candidates.find(|path| path.is_file())
}

/// Why a file is not to be heeded: others than the user may have written it here.
#[cfg(unix)]
fn distrust(found: &Metadata) -> Option<&'static str> {
    use std::os::unix::fs::MetadataExt;
    let user = rustix::process::geteuid().as_raw();
    match () {
        () if found.uid() != user && found.uid() != 0 => Some("it belongs to another user"),
        () if found.mode() & 0o002 != 0 => Some("everybody may write to it"),
        () => None,
    }
}

#[cfg(not(unix))]
fn distrust(_: &Metadata) -> Option<&'static str> {
    None
}
