//! `ssmx exec` as a program, through loopback.

mod fleet;
mod one;
mod recording;
mod streams;
mod terminal;

use std::path::{Path, PathBuf};
use std::process::Command;

use ssmx::loopback::{Loopback, Options as Peer};

use crate::support::{SSMX, command};

fn loopback() -> Loopback {
    Loopback::start(Peer {
        paced: false,
        ..Peer::default()
    })
    .expect("loopback starts")
}

/// With a node whose shell is this.
fn with_shell(shell: &Path) -> Loopback {
    Loopback::start(Peer {
        paced: false,
        shell: Some(shell.to_owned()),
        ..Peer::default()
    })
    .expect("loopback starts")
}

/// `ssmx exec OPTIONS TARGET -- WORDS`.
fn exec(loopback: &Loopback, options: &[&str], words: &[&str]) -> Command {
    let mut command = command(SSMX, loopback);
    command
        .arg("exec")
        .args(options)
        .args([loopback.target(), "--"])
        .args(words);
    command
}

/// Shells that the node may have, as programs that are called with `-c`.
fn shells(scratch: &tempfile::TempDir) -> Vec<PathBuf> {
    let mut shells = Vec::new();
    for name in ["dash", "bash", "busybox"] {
        let found = std::env::var_os("PATH").and_then(|path| {
            std::env::split_paths(&path)
                .map(|directory| directory.join(name))
                .find(|file| file.is_file())
        });
        match found {
            None => println!("skipped: no {name} on PATH"),
            // It is what it is called.
            Some(file) if name == "busybox" => {
                let link = scratch.path().join("sh");
                std::os::unix::fs::symlink(file, &link).expect("a link");
                shells.push(link);
            }
            Some(file) => shells.push(file),
        }
    }
    shells
}
