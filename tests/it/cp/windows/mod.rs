//! Nodes with Windows. What runs there is a stand-in: these tests show that ssmx does its part.

mod program;
mod standin;

use std::ffi::OsStr;
use std::fs::{self, File, FileTimes};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use ssmx::loopback::fault::{Cut, Faults};
use ssmx::loopback::{Loopback, Options};

use self::standin::Standin;
use super::files::contents;
use super::resume::{go_on, interrupt};
use super::{Node, noise};
use crate::support::{DEADLINE, run, run_without_input};

fn windows(room: u64, language: &'static str, options: Options) -> Node {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("here")).unwrap();
    let at = directory.path().join("processes");
    standin::make_fifo(&at);
    let processes = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(at)
        .unwrap();
    let shell = Standin::start(directory.path(), room, language);
    // Where the other nodes have their home.
    symlink("drive/Users/me", directory.path().join("home")).unwrap();
    let loopback = Loopback::start(Options {
        // An agent that does not pause loses much with a connection, and sends it again one message
        // after the other.
        paced: !options.faults.cuts.is_empty(),
        shell: Some(shell),
        ..options
    });
    Node {
        loopback: loopback.expect("loopback starts"),
        directory,
        processes,
    }
}

fn node() -> Node {
    windows(u64::MAX, "FullLanguage", Options::default())
}

fn drive(node: &Node, name: &str) -> PathBuf {
    node.directory.path().join("drive").join(name)
}

/// The error of a copy that fails.
fn failing(node: &Node, arguments: &[&OsStr]) -> String {
    let done = run_without_input(node.cp(arguments));
    assert_eq!(done.code(), Some(255), "{arguments:?}: {}", done.stderr);
    done.stderr
}

#[test]
fn all_bytes_pass_through_a_second_session() {
    for version in ["3.3.0.0", "3.1.1000.0", "3.0.100.0"] {
        let node = windows(
            u64::MAX,
            "FullLanguage",
            Options {
                agent_version: version.to_owned(),
                ..Options::default()
            },
        );
        for (name, content) in contents() {
            let (here, back) = (node.here(name), node.here(format!("{name}.back")));
            fs::write(&here, &content).unwrap();
            let to = node.remote(format!(r"C:\Users\me\{name}"));
            node.copy(&[here.as_ref(), &to]);
            assert!(fs::read(node.home(name)).unwrap() == content, "{name}");
            node.copy(&[&to, back.as_ref()]);
            assert!(fs::read(back).unwrap() == content, "{name} back");
        }
        let stats = node.loopback.stats();
        let copies = 2 * contents().len() as u64;
        assert_eq!(stats.started, 2 * copies, "{version}");
        assert!(
            node.loopback
                .wait_for(|stats| stats.ended == 2 * copies, DEADLINE)
        );
        node.assert_clean();
    }
}

#[test]
fn a_node_is_found_to_have_windows_or_said_to() {
    let cases: [(&[&str], &str, u64); 5] = [
        (&[], "x", 3),
        (&[], r"~\x", 3),
        (&["--windows"], "x", 2),
        (&[], r"C:\Users\me\x", 2),
        (&[], "/c:/Users/me/x", 2),
    ];
    for (options, path, sessions) in cases {
        let node = node();
        fs::write(node.here("a"), path).unwrap();
        let (here, there) = (node.here("a"), node.remote(path));
        let mut arguments: Vec<&OsStr> = options.iter().map(OsStr::new).collect();
        arguments.extend([here.as_ref(), &*there]);
        node.copy(&arguments);
        assert_eq!(fs::read_to_string(node.home("x")).unwrap(), path);
        let stats = node.loopback.stats();
        assert_eq!(stats.started, sessions, "{path}: {stats:?}");
        assert!(
            node.loopback
                .wait_for(|stats| stats.ended == sessions, DEADLINE)
        );
    }
}

#[test]
fn streams_and_names_are_as_ever() {
    let node = node();
    let content = noise(700_000, 3);
    let done = run(
        node.cp(&["-".as_ref(), &node.remote(r"C:\a b.bin")]),
        &content,
    );
    assert_eq!((done.code(), done.stderr.as_str()), (Some(0), ""));
    assert!(fs::read(drive(&node, "a b.bin")).unwrap() == content);
    let done = node.copy(&[&node.remote("C:/a b.bin"), "-".as_ref()]);
    assert!(done.stdout == content);
    // The last part of a path of Windows is a name here.
    node.copy(&[&node.remote(r"C:\a b.bin"), node.here("").as_ref()]);
    assert!(fs::read(node.here("a b.bin")).unwrap() == content);
    node.copy(&[node.here("a b.bin").as_ref(), &node.remote(r"C:\Users\me\")]);
    assert!(fs::read(node.home("a b.bin")).unwrap() == content);
    node.assert_clean();
}

#[test]
fn directories_keep_times_and_what_is_read_only() {
    let node = node();
    let tree = node.here("tree");
    fs::create_dir_all(tree.join("in/empty")).unwrap();
    let time = UNIX_EPOCH + Duration::from_secs(1_234_567_890);
    for (name, mode) in [("one", 0o644), ("in/two é", 0o444)] {
        fs::write(tree.join(name), name).unwrap();
        let file = File::open(tree.join(name)).unwrap();
        file.set_times(FileTimes::new().set_modified(time)).unwrap();
        fs::set_permissions(tree.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    let there = node.remote(r"C:\tree");
    node.copy(&["-rp".as_ref(), tree.as_ref(), &there]);
    node.copy(&["-rp".as_ref(), &there, node.here("back").as_ref()]);
    for root in [drive(&node, "tree"), node.here("back")] {
        for (name, mode) in [("one", 0o644), ("in/two é", 0o444)] {
            let metadata = fs::metadata(root.join(name)).unwrap();
            assert_eq!(metadata.modified().unwrap(), time, "{root:?} {name}");
            assert_eq!(metadata.mode() & 0o777, mode, "{root:?} {name}");
            assert_eq!(fs::read_to_string(root.join(name)).unwrap(), name);
        }
        assert!(root.join("in/empty").is_dir());
    }
    node.assert_clean();
}

#[test]
fn what_windows_cannot_have_is_told_and_the_rest_copied() {
    let node = node();
    let tree = node.here("tree");
    fs::create_dir(&tree).unwrap();
    for name in ["good", "a:b", "con.txt", "end."] {
        fs::write(tree.join(name), name).unwrap();
    }
    symlink("good", tree.join("link")).unwrap();
    let error = failing(
        &node,
        &["-r".as_ref(), tree.as_ref(), &node.remote("C:/tree")],
    );
    let mut lines: Vec<&str> = error.lines().collect();
    lines.sort_unstable();
    let expected = [
        r#"ssmx: error: C:/tree/a:b on the node: Windows allows none of < > : " | ? * \ in a name"#,
        "ssmx: error: C:/tree/con.txt on the node: Windows keeps this name for a device",
        "ssmx: error: C:/tree/end. on the node: Windows allows no full stop or space at the end of \
         a name",
        "ssmx: error: C:/tree/link on the node: Symbolic links are not made on Windows",
    ];
    assert_eq!(lines, expected);
    assert_eq!(fs::read(drive(&node, "tree/good")).unwrap(), b"good");
    assert_eq!(fs::read_dir(drive(&node, "tree")).unwrap().count(), 1);
    // Junctions are not followed.
    symlink(".", drive(&node, "tree/junction")).unwrap();
    let error = failing(
        &node,
        &[
            "-r".as_ref(),
            &node.remote("C:/tree"),
            node.here("b").as_ref(),
        ],
    );
    assert_eq!(
        error,
        "ssmx: error: C:/tree/junction: is not a regular file\n"
    );
    assert_eq!(fs::read(node.here("b/good")).unwrap(), b"good");
}

#[test]
fn the_reason_is_told() {
    let node = windows(500_000, "FullLanguage", Options::default());
    fs::write(node.here("a"), noise(900_000, 1)).unwrap();
    fs::write(node.here("s"), "s").unwrap();
    fs::write(drive(&node, "ro"), "x").unwrap();
    fs::set_permissions(drive(&node, "ro"), fs::Permissions::from_mode(0o444)).unwrap();
    fs::create_dir(drive(&node, "d")).unwrap();
    let (a, s) = (node.here("a"), node.here("s"));
    let cases = [
        (
            a.clone().into_os_string(),
            node.remote("C:/x"),
            "C:/x on the node: No space left on device",
        ),
        (
            s.clone().into_os_string(),
            node.remote("C:/none/x"),
            "C:/none/x on the node: No such file or directory",
        ),
        (
            s.clone().into_os_string(),
            node.remote("Z:/x"),
            "Z:/x on the node: No such file or directory",
        ),
        (
            s.clone().into_os_string(),
            node.remote("C:/ro"),
            "C:/ro on the node: Permission denied",
        ),
        (
            s.into_os_string(),
            node.remote("C:/none/"),
            "C:/none/: is not a directory of the node",
        ),
        (
            node.remote(r"C:\none"),
            a.into_os_string(),
            "C:/none on the node: No such file or directory",
        ),
        (
            node.remote(r"C:\d"),
            node.here("d").into_os_string(),
            "C:/d: is a directory of the node (-r copies it)",
        ),
    ];
    for (from, to, expected) in cases {
        let error = failing(&node, &[&from, &to]);
        assert_eq!(error, format!("ssmx: error: {expected}\n"));
    }
    assert!(!drive(&node, "x.ssmx-part").exists());
    node.assert_clean();
}

#[test]
fn a_powershell_that_may_not_is_told() {
    let node = windows(0, "ConstrainedLanguage", Options::default());
    let error = failing(&node, &[&node.remote("C:/x"), node.here("x").as_ref()]);
    assert!(
        error.starts_with("ssmx: error: the node's PowerShell runs in a limited language mode"),
        "{error}"
    );
}

#[test]
fn a_posix_node_that_was_taken_for_windows_says_so() {
    let node = super::node();
    let error = failing(&node, &[&node.remote("C:/x"), node.here("x").as_ref()]);
    assert!(
        error.starts_with("ssmx: error: the node cannot run the commands that copy files: "),
        "{error}"
    );
    assert!(error.contains("./C:"), "{error}");
    fs::create_dir(node.home("C:")).unwrap();
    fs::write(node.home("C:/x"), "posix").unwrap();
    node.copy(&[&node.remote("./C:/x"), node.here("x").as_ref()]);
    assert_eq!(fs::read(node.here("x")).unwrap(), b"posix");
}

#[test]
fn an_interrupted_copy_goes_on() {
    for signal in ["-KILL", "-INT"] {
        let node = node();
        let content = noise(super::resume::SIZE, 1);
        fs::write(node.here("a"), &content).unwrap();
        let (from, to) = (node.here("a"), node.remote("C:/Users/me/b"));
        let arguments = [from.as_ref(), &*to];
        let part = node.home("b.ssmx-part");
        let there = interrupt(&node, node.cp(&arguments), &part, signal);
        go_on(&node, &arguments, there);
        assert!(fs::read(node.home("b")).unwrap() == content);
        let (from, to) = (node.remote("C:/Users/me/b"), node.here("c"));
        let arguments = [&*from, to.as_ref()];
        node.copy(&arguments);
        assert!(fs::read(node.here("c")).unwrap() == content);
        node.assert_clean();
    }
}

#[test]
fn lost_connections_are_replaced() {
    let node = windows(
        u64::MAX,
        "FullLanguage",
        Options {
            faults: Faults {
                cuts: vec![
                    Cut::AfterBytes(300_000),
                    Cut::AfterBytes(500_000),
                    Cut::AfterMessages(400),
                ],
                ..Faults::default()
            },
            ..Options::default()
        },
    );
    let content = noise(2_000_000, 5);
    fs::write(node.here("a"), &content).unwrap();
    let to = node.remote("C:/Users/me/a");
    for arguments in [
        [node.here("a").as_ref(), &*to],
        [&*to, node.here("b").as_ref()],
    ] {
        let done = run_without_input(node.cp(&arguments));
        assert_eq!(done.code(), Some(0), "{}", done.stderr);
    }
    assert!(fs::read(node.here("b")).unwrap() == content);
    assert!(node.loopback.stats().lost >= 2);
    node.assert_clean();
}
