//! `ssmx cp` through the loopback, with whatever shells there are.

mod failures;
mod files;
mod hostile;
mod large;
mod resume;
mod trees;
mod windows;

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use ssmx::loopback::{Loopback, Options};
use tempfile::TempDir;

use crate::support::{DEADLINE, Finished, SSMX, command, run_without_input};

/// A node whose sessions have a shell of their own, a home, and perhaps few other programs.
struct Node {
    loopback: Loopback,
    directory: TempDir,
    /// All processes of sessions hold the other end of this pipe.
    processes: File,
}

/// What the node's `sh` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shell {
    Dash,
    Bash,
    /// With no other programs than its own.
    Busybox,
}

impl Shell {
    fn path(self) -> Option<PathBuf> {
        let name = match self {
            Self::Dash => "dash",
            Self::Bash => "bash",
            Self::Busybox => "busybox",
        };
        let found = ["/bin", "/usr/bin", "/usr/local/bin"]
            .iter()
            .map(|directory| Path::new(directory).join(name))
            .find(|path| path.exists());
        if found.is_none() {
            eprintln!("{name} is not here: skipped");
        }
        found
    }
}

fn node() -> Node {
    Node::new(None, "exec", Options::default())
}

impl Node {
    /// With this shell, or that of the system, which `run` runs.
    fn new(shell: Option<&Path>, run: &str, options: Options) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in ["home", "programs", "here"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        let at = |name: &str| directory.path().join(name);
        let mut path = format!("{}:$PATH", at("programs").display());
        match shell {
            Some(shell) if shell.ends_with("busybox") => {
                path = at("programs").display().to_string();
                let list = Command::new(shell).arg("--list").output().unwrap();
                for applet in String::from_utf8(list.stdout).unwrap().lines() {
                    symlink(shell, at("programs").join(applet)).unwrap();
                }
            }
            Some(shell) => symlink(shell, at("programs").join("sh")).unwrap(),
            None => {}
        }
        let made = Command::new("mkfifo").arg(at("processes")).status();
        assert!(made.unwrap().success());
        let processes = File::options()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(at("processes"))
            .unwrap();
        let script = format!(
            "#!/bin/sh\nHOME={}\nPATH={path}\nexport HOME PATH\nexec 9>{}\n{run} sh \"$@\"\n",
            at("home").display(),
            at("processes").display(),
        );
        fs::write(at("shell"), script).unwrap();
        fs::set_permissions(at("shell"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let loopback = Loopback::start(Options {
            paced: false,
            shell: Some(at("shell")),
            ..options
        });
        Self {
            loopback: loopback.expect("loopback starts"),
            directory,
            processes,
        }
    }

    /// Waits until no process of any session so far is left: what they write is written.
    fn wait_for_processes(&self) {
        let mut ends = [rustix::event::PollFd::new(
            &self.processes,
            rustix::event::PollFlags::empty(),
        )];
        let limit = rustix::event::Timespec::try_from(DEADLINE).unwrap();
        let ended = rustix::event::poll(&mut ends, Some(&limit)).unwrap();
        assert_eq!(ended, 1, "a process is left");
    }

    /// One of each shell that is here.
    fn all() -> Vec<(Shell, Self)> {
        [Shell::Dash, Shell::Bash, Shell::Busybox]
            .into_iter()
            .filter_map(|shell| {
                let path = shell.path()?;
                Some((shell, Self::new(Some(&path), "exec", Options::default())))
            })
            .collect()
    }

    /// A path in the node's home.
    fn home(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.directory.path().join("home").join(name.as_ref())
    }

    /// A path here.
    fn here(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.directory.path().join("here").join(name.as_ref())
    }

    /// `TARGET:PATH`
    fn remote(&self, path: impl AsRef<OsStr>) -> OsString {
        let mut text = OsString::from(format!("{}:", self.loopback.target()));
        text.push(path.as_ref());
        text
    }

    fn cp(&self, arguments: &[&OsStr]) -> Command {
        let mut command = command(SSMX, &self.loopback);
        command.arg("cp").args(arguments);
        command
    }

    /// Runs it to its end, which must be good and quiet.
    fn copy(&self, arguments: &[&OsStr]) -> Finished {
        let done = run_without_input(self.cp(arguments));
        assert_eq!(done.stderr, "", "{arguments:?}");
        assert_eq!(done.code(), Some(0), "{arguments:?}");
        done
    }

    /// No file that is there only for a while.
    fn assert_clean(&self) {
        for name in ["home", "here"] {
            for path in everything_in(&self.directory.path().join(name)) {
                let name = path.file_name().unwrap().as_encoded_bytes();
                assert!(!name.ends_with(b".ssmx-part"), "{path:?} is left");
            }
        }
    }
}

/// All paths in a directory, in order.
fn everything_in(directory: &Path) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    let mut left = vec![directory.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                left.push(entry.path());
            }
            paths.push(entry.path());
        }
    }
    paths.sort();
    paths
}

/// Bytes without any order.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; length];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    bytes
}
