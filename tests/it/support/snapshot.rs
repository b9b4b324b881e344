//! Texts that are compared with files of `tests/snapshots`, which are the place to read them.
//!
//! With `SSMX_UPDATE_SNAPSHOTS=1` the files are written instead.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Says so, in the environment of the tests.
const UPDATE: &str = "SSMX_UPDATE_SNAPSHOTS";

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots")
}

fn updates() -> bool {
    std::env::var_os(UPDATE).is_some_and(|value| !value.is_empty())
}

/// Compares a text with the file of this name.
#[track_caller]
pub fn check(name: &str, text: &str) {
    let path = directory().join(format!("{name}.txt"));
    if updates() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        return;
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    let kept = kept.replace("\r\n", "\n");
    if kept == text {
        return;
    }
    let differs = |(_, (old, new)): &(usize, (&str, &str))| old != new;
    let ends = std::iter::repeat("(the end)");
    let count = kept.lines().count().max(text.lines().count()) + 1;
    let (old, new) = (kept.lines().chain(ends.clone()), text.lines().chain(ends));
    let mut pairs = old.zip(new).take(count).enumerate();
    let (at, (old, new)) = pairs.find(differs).unwrap_or_default();
    panic!(
        "{} has another text at line {}:\n  - {old}\n  + {new}\nIf that is meant: \
         {UPDATE}=1 cargo test --locked --test it snapshots\nAll of it:\n{text}",
        path.display(),
        at + 1
    );
}

/// Sees to it that a directory of snapshots has these, and no others that nobody compares any
/// more.
#[track_caller]
pub fn are_all(name: &str, names: &BTreeSet<String>) {
    for entry in fs::read_dir(directory().join(name)).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        if names.contains(&stem) {
            continue;
        }
        match updates() {
            true => fs::remove_file(&path).unwrap(),
            false => panic!("{} is of nothing any more", path.display()),
        }
    }
}
