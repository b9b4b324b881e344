//! `ssmx install-plugin`: puts ssmx where the AWS CLI looks for its plugin.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::report::Failure;
use super::{PLUGIN_NAME, output};

/// `ssmx install-plugin`
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    sudo ssmx install-plugin                          then `aws ssm start-session` runs ssmx\n  \
    ssmx install-plugin --dir ~/.local/bin --force    in place of the plugin that is there")]
pub struct Args {
    /// Where to put it; without this, the first of the usual directories on PATH
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Replace what is there already, and keep it beside
    #[arg(long)]
    force: bool,
}

/// Runs the subcommand; the exit status.
pub fn run(args: &Args) -> anyhow::Result<u8> {
    let program = env::current_exe()
        .map_err(|error| Failure::other(format!("cannot find this program's file: {error}")))?;
    let path: Vec<PathBuf> = env::var_os("PATH")
        .map(|path| env::split_paths(&path).collect())
        .unwrap_or_default();
    let directories = match &args.dir {
        Some(directory) => vec![directory.clone()],
        None => usual_directories()
            .into_iter()
            .filter(|directory| path.contains(directory))
            .collect(),
    };
    let mut refusal = None;
    for directory in &directories {
        match install(&program, directory, args.force) {
            Ok(installed) => {
                output::text(&installed.told())?;
                warn_if_hidden(&installed.link, &path);
                return Ok(0);
            }
            // The next one may be ours to write to.
            Err(Trouble::Io(error)) if args.dir.is_none() && is_denied(&error) => {
                refusal.get_or_insert(cannot_write(directory, &error));
            }
            Err(Trouble::Io(error)) => return Err(cannot_write(directory, &error).into()),
            Err(Trouble::Foreign(failure)) => return Err(failure.into()),
        }
    }
    Err(refusal
        .unwrap_or_else(|| Failure::other("none of the usual directories is on PATH"))
        .hint("choose a directory of PATH with --dir DIR")
        .into())
}

struct Installed {
    link: PathBuf,
    backup: Option<PathBuf>,
    was_there: bool,
}

impl Installed {
    fn told(&self) -> String {
        let link = self.link.display();
        let remove = if cfg!(windows) { "del" } else { "rm" };
        let done = match self.was_there {
            true => "is in place already",
            false => "now is ssmx",
        };
        let undo = match &self.backup {
            Some(backup) => format!("mv '{}' '{link}'", backup.display()),
            None => format!("{remove} '{link}'"),
        };
        format!("{link} {done}\nundo with: {undo}\n")
    }
}

enum Trouble {
    Io(io::Error),
    Foreign(Failure),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn install(program: &Path, directory: &Path, force: bool) -> Result<Installed, Trouble> {
    let name = format!("{PLUGIN_NAME}{}", env::consts::EXE_SUFFIX);
    let link = std::path::absolute(directory)?.join(name);
    let backup = link.with_extension("before-ssmx");
    let mut installed = Installed {
        link: link.clone(),
        backup: None,
        was_there: false,
    };
    fs::create_dir_all(directory)?;
    if fs::symlink_metadata(&link).is_ok() {
        if is_same(&link, program) {
            installed.was_there = true;
            installed.backup = Some(backup).filter(|backup| backup.exists());
            return Ok(installed);
        }
        if !is_ours(&link) {
            if !force {
                return Err(Trouble::Foreign(
                    Failure::other(format!("there is another {} already", link.display()))
                        .hint("--force moves it aside; --dir DIR leaves it and goes elsewhere"),
                ));
            }
            if backup.exists() {
                return Err(Trouble::Foreign(
                    Failure::other(format!("{} is in the way", backup.display()))
                        .hint("it is an older plugin that was moved aside: move or remove it"),
                ));
            }
            fs::rename(&link, &backup)?;
            installed.backup = Some(backup);
        }
    }
    // Made aside and renamed, so that there is a plugin at any time.
    let aside = directory.join(format!(".{PLUGIN_NAME}.{}", std::process::id()));
    let made = link_to(program, &aside).and_then(|()| fs::rename(&aside, &link));
    if let Err(error) = made {
        // Both are tidying up after the error that is reported.
        let _ = fs::remove_file(&aside);
        if let Some(backup) = &installed.backup {
            let _ = fs::rename(backup, &link);
        }
        return Err(error.into());
    }
    Ok(installed)
}

#[cfg(unix)]
fn link_to(program: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(program, link)
}

/// Links need a privilege on Windows; a copy needs none.
#[cfg(not(unix))]
fn link_to(program: &Path, link: &Path) -> io::Result<()> {
    fs::copy(program, link).map(drop)
}

fn is_same(link: &Path, program: &Path) -> bool {
    match (fs::canonicalize(link), fs::canonicalize(program)) {
        (Ok(link), Ok(program)) => link == program,
        _ => false,
    }
}

/// A link to some ssmx, even one that is gone.
fn is_ours(link: &Path) -> bool {
    fs::read_link(link).is_ok_and(|target| target.file_stem().is_some_and(|stem| stem == "ssmx"))
}

fn is_denied(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
    )
}

fn cannot_write(directory: &Path, error: &io::Error) -> Failure {
    Failure::other(format!("cannot write to {}: {error}", directory.display()))
}

fn usual_directories() -> Vec<PathBuf> {
    let home = env::home_dir();
    let at_home = |part: &str| home.as_ref().map(|home| home.join(part));
    if cfg!(windows) {
        at_home("AppData\\Local\\Microsoft\\WindowsApps")
            .into_iter()
            .collect()
    } else {
        [
            at_home(".local/bin"),
            at_home("bin"),
            Some("/usr/local/bin".into()),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// The AWS CLI takes the first plugin on PATH.
fn warn_if_hidden(link: &Path, path: &[PathBuf]) {
    let Some(name) = link.file_name() else { return };
    let first = path
        .iter()
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.exists());
    match first {
        Some(first) if is_same(&first, link) || first == link => {}
        Some(first) => eprintln!(
            "ssmx: the AWS CLI will still take {}, which is earlier on PATH",
            first.display()
        ),
        None => eprintln!("ssmx: the AWS CLI will not find it: the directory is not on PATH"),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn install_in(directory: &Path, program: &Path, force: bool) -> Result<Installed, String> {
        install(program, directory, force).map_err(|trouble| match trouble {
            Trouble::Io(error) => error.to_string(),
            Trouble::Foreign(failure) => failure.what,
        })
    }

    #[test]
    fn links_are_made_kept_and_renewed() {
        let dir = tempfile::tempdir().expect("a directory for this test");
        let (old, new) = (dir.path().join("old/ssmx"), dir.path().join("new/ssmx"));
        let bin = dir.path().join("bin");
        for program in [&old, &new] {
            fs::create_dir_all(program.parent().expect("it has one")).expect("writable");
            fs::write(program, "").expect("writable");
        }
        let first = install_in(&bin, &old, false).expect("made");
        assert!(!first.was_there);
        assert_eq!(fs::read_link(&first.link).expect("a link"), old);
        assert!(install_in(&bin, &old, false).expect("kept").was_there);
        let renewed = install_in(&bin, &new, false).expect("renewed");
        assert_eq!(fs::read_link(&renewed.link).expect("a link"), new);
        assert!(renewed.told().contains("undo with: rm"));
        fs::remove_file(&new).expect("there");
        assert!(install_in(&bin, &old, false).is_ok(), "a dead link of ours");
        let left = fs::read_dir(&bin).expect("a directory").count();
        assert_eq!(left, 1, "nothing is left behind");
    }

    #[test]
    fn foreign_files_stay_unless_forced_and_then_beside() {
        let dir = tempfile::tempdir().expect("a directory for this test");
        let program = dir.path().join("ssmx");
        fs::write(&program, "").expect("writable");
        let foreign = dir.path().join(PLUGIN_NAME);
        fs::write(&foreign, "foreign").expect("writable");
        let refusal = install_in(dir.path(), &program, false)
            .err()
            .expect("refused");
        assert!(refusal.contains("another"), "{refusal}");
        assert_eq!(fs::read_to_string(&foreign).expect("there"), "foreign");
        let forced = install_in(dir.path(), &program, true).expect("forced");
        let backup = forced.backup.as_ref().expect("kept");
        assert_eq!(fs::read_to_string(backup).expect("there"), "foreign");
        assert!(forced.told().contains("mv"));
    }
}
