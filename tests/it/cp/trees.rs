//! Directories.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use super::{Node, everything_in, node, noise};
use crate::support::run_without_input;

/// Names that shells and programs could misunderstand.
fn names() -> Vec<OsString> {
    let mut names: Vec<OsString> = [
        "plain",
        "two words",
        " lead",
        "trail ",
        "-dash",
        "--help",
        "it's",
        "\"q\"",
        "$HOME",
        "`id`",
        "$(id)",
        "a\nb",
        "end\n",
        "\n",
        "back\\slash",
        "*",
        "?",
        "[a]",
        "~",
        "#c",
        "é",
        "\u{fffd}",
        "%s",
        "{{x}}",
        ".hidden",
        "..two",
        "...",
        "tab\t",
        "=",
        "!",
        "&",
        ";",
        "|",
        "<",
        ">",
    ]
    .map(OsString::from)
    .into();
    // All bytes that a name may have, in several.
    let all: Vec<u8> = (1..=255).filter(|byte| *byte != b'/').collect();
    names.extend(
        all.chunks(100)
            .map(|part| OsString::from_vec(part.to_vec())),
    );
    names.push("n".repeat(255).into());
    names
}

fn grow(root: &Path) {
    fs::create_dir(root).unwrap();
    for (index, name) in names().into_iter().enumerate() {
        fs::write(root.join(&name), format!("{index}")).unwrap();
    }
    for name in ["sub", "sub/in ner\n", "empty", "sub/\u{fffd}d"] {
        fs::create_dir(root.join(name)).unwrap();
    }
    fs::write(root.join("sub/in ner\n/large"), noise(700_000, 6)).unwrap();
    fs::write(root.join("sub/\u{fffd}d/small"), "s").unwrap();
    symlink("../plain", root.join("sub/link")).unwrap();
    symlink("no where\n", root.join("dangling")).unwrap();
    symlink("sub", root.join("to a directory")).unwrap();
}

fn same(one: &Path, other: &Path, preserved: bool) {
    let relative = |root: &Path| -> Vec<OsString> {
        let paths = everything_in(root);
        paths
            .iter()
            .map(|path| path.strip_prefix(root).unwrap().into())
            .collect()
    };
    let paths = relative(one);
    assert_eq!(relative(other), paths);
    for path in paths {
        let (one, other) = (one.join(&path), other.join(&path));
        let metadata = [&one, &other].map(|path| fs::symlink_metadata(path).unwrap());
        let [ours, theirs] = &metadata;
        assert_eq!(ours.file_type(), theirs.file_type(), "{path:?}");
        if ours.is_symlink() {
            assert_eq!(fs::read_link(&one).unwrap(), fs::read_link(&other).unwrap());
        } else {
            if ours.is_file() {
                assert!(
                    fs::read(&one).unwrap() == fs::read(&other).unwrap(),
                    "{path:?}"
                );
            }
            if preserved {
                assert_eq!(ours.mode(), theirs.mode(), "{path:?}");
                assert_eq!(ours.mtime(), theirs.mtime(), "{path:?}");
            }
        }
    }
}

fn arguments<'a>(words: &[&'a str], from: &'a OsStr, to: &'a OsStr) -> Vec<&'a OsStr> {
    let words = words.iter().map(|word| OsStr::new(*word));
    words.chain([from, to]).collect()
}

#[test]
fn trees_with_any_names_go_there_and_back() {
    for (shell, node) in Node::all() {
        eprintln!("{shell:?}");
        let (tree, back) = (node.here("tree"), node.here("back"));
        grow(&tree);
        // A new one, and into one.
        node.copy(&arguments(&["-r"], tree.as_ref(), &node.remote("copy")));
        same(&tree, &node.home("copy"), false);
        fs::create_dir(&back).unwrap();
        node.copy(&arguments(&["-r"], &node.remote("copy"), back.as_ref()));
        same(&tree, &back.join("copy"), false);
        // Once more over what is there.
        node.copy(&arguments(&["-r"], tree.as_ref(), &node.remote("")));
        node.copy(&arguments(&["-r"], tree.as_ref(), &node.remote("")));
        node.copy(&arguments(&["-r"], &node.remote("copy"), back.as_ref()));
        same(&tree, &node.home("tree"), false);
        node.assert_clean();
    }
}

#[test]
fn modes_and_times_are_kept_if_wanted() {
    for (shell, node) in Node::all() {
        eprintln!("{shell:?}");
        let (tree, back) = (node.here("tree"), node.here("back"));
        fs::create_dir_all(tree.join("d/e")).unwrap();
        for (name, size, mode) in [
            ("d/script", 10, 0o755),
            ("d/secret", 10, 0o600),
            ("d/e/read only", 400_000, 0o444),
            ("d/e", 0, 0o750),
            ("d", 0, 0o1777),
        ] {
            let path = tree.join(name);
            if size > 0 {
                fs::write(&path, noise(size, 8)).unwrap();
            }
            let time = UNIX_EPOCH + Duration::from_secs(951_782_461);
            fs::File::open(&path).unwrap().set_modified(time).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        node.copy(&arguments(&["-rp"], tree.as_ref(), &node.remote("copy")));
        same(&tree, &node.home("copy"), true);
        node.copy(&arguments(
            &["-r", "-p"],
            &node.remote("copy"),
            back.as_ref(),
        ));
        same(&tree, &back, true);
        // Of files that are there already too. (Users but root write to none that is read-only.)
        node.copy(&arguments(&["-rp"], tree.as_ref(), &node.remote("")));
        let writable = fs::Permissions::from_mode(0o644);
        fs::set_permissions(node.home("tree/d/e/read only"), writable).unwrap();
        node.copy(&arguments(&["-rp"], tree.as_ref(), &node.remote("")));
        same(&tree, &node.home("tree"), true);
    }
}

#[test]
fn what_cannot_be_copied_is_told_and_the_rest_copied() {
    let node = node();
    for root in [node.here("tree"), node.home("tree")] {
        fs::create_dir_all(root.join("a")).unwrap();
        fs::write(root.join("a/file"), "1").unwrap();
        fs::write(root.join("z"), "2").unwrap();
        let status = std::process::Command::new("mkfifo")
            .arg(root.join("pipe"))
            .status();
        assert!(status.unwrap().success());
    }
    // Where a directory of the tree would have to be, there is something else.
    for place in [node.home("copy"), node.here("copy")] {
        fs::create_dir(&place).unwrap();
        fs::write(place.join("a"), "in the way").unwrap();
    }
    let ways = [
        (node.here("tree/.").into_os_string(), node.remote("copy")),
        (node.remote("tree/."), node.here("copy").into_os_string()),
    ];
    for (from, to) in ways {
        let done = run_without_input(node.cp(&arguments(&["-r"], &from, &to)));
        assert_eq!(done.code(), Some(255), "{}", done.stderr);
        let pipe = done
            .stderr
            .lines()
            .filter(|line| line.ends_with("pipe: is not a regular file"));
        assert_eq!(pipe.count(), 1, "{}", done.stderr);
        // Nothing of what would be in it is told as well.
        let in_the_way = done.stderr.lines().filter(|line| line.contains("copy/a"));
        assert_eq!(in_the_way.count(), 1, "{}", done.stderr);
    }
    for place in [node.home("copy"), node.here("copy")] {
        assert_eq!(fs::read(place.join("a")).unwrap(), b"in the way");
        assert_eq!(fs::read(place.join("z")).unwrap(), b"2");
    }
    node.assert_clean();
}

#[test]
fn many_small_files_do_not_wait_for_one_another() {
    let node = node();
    let tree = node.here("tree");
    fs::create_dir(&tree).unwrap();
    for index in 0..300 {
        fs::write(tree.join(index.to_string()), noise(index * 20, 9)).unwrap();
    }
    node.copy(&arguments(&["-r"], tree.as_ref(), &node.remote("copy")));
    node.copy(&arguments(
        &["-r"],
        &node.remote("copy"),
        node.here("back").as_ref(),
    ));
    same(&tree, &node.here("back"), false);
}
