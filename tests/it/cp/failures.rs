//! What cannot be copied, and why.

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Stdio;

use ssmx::loopback::Options;

use super::{Node, Shell, node, noise};
use crate::support::{DEADLINE, run, run_without_input, spawn};

/// Runs it to its end, which must be a failure told on one line, and perhaps advice on another.
fn failing(node: &Node, status: i32, arguments: &[&OsStr]) -> String {
    let done = run_without_input(node.cp(arguments));
    assert_eq!(done.code(), Some(status), "{arguments:?}: {}", done.stderr);
    let mut lines = done.stderr.lines();
    let error = lines.next().unwrap_or_default().to_owned();
    assert!(
        lines.all(|line| line.starts_with("ssmx: hint: ")),
        "{}",
        done.stderr
    );
    let error = error
        .strip_prefix("ssmx: error: ")
        .expect("an error")
        .to_owned();
    let target = node.loopback.target();
    let [home, here] = [node.home(""), node.here("")].map(|path| path.display().to_string());
    error
        .replace(&home, "HOME/")
        .replace(&here, "HERE/")
        .replace(target, "NODE")
}

#[test]
fn the_reason_is_told() {
    for (shell, node) in Node::all() {
        eprintln!("{shell:?}");
        fs::write(node.here("a"), "a").unwrap();
        fs::write(node.home("a"), "a").unwrap();
        fs::create_dir(node.home("d")).unwrap();
        fs::create_dir(node.here("d")).unwrap();
        let (here, remote) = (
            |name| node.here(name).into_os_string(),
            |name| node.remote(name),
        );
        let cases = [
            (
                here("none"),
                remote("x"),
                "HERE/none: No such file or directory",
            ),
            (
                remote("none"),
                here("x"),
                "none on the node: No such file or directory",
            ),
            (
                here("d"),
                remote("x"),
                "HERE/d: is a directory (-r copies it)",
            ),
            (
                remote("d"),
                here("x"),
                "d: is a directory of the node (-r copies it)",
            ),
            (remote("d"), "-".into(), "d: is a directory of the node"),
            (
                remote("a"),
                here("none/x"),
                "HERE/none/x: No such file or directory",
            ),
            (remote("a"), here("none/"), "HERE/none/: is not a directory"),
            (
                here("a"),
                remote("none/"),
                "none/: is not a directory of the node",
            ),
            (here("a"), remote("a/b"), "a/b on the node: Not a directory"),
            (
                here("a"),
                remote("none/x"),
                "none/x on the node: No such file or directory",
            ),
        ];
        for (from, to, expected) in cases {
            let error = failing(&node, 255, &[&from, &to]);
            assert_eq!(error, expected, "{shell:?} {from:?} {to:?}");
        }
        node.assert_clean();
    }
}

#[test]
fn usage_errors_start_no_session() {
    let node = node();
    let remote = node.remote("a");
    let cases: [(&[&OsStr], &str); 4] = [
        (
            &["a".as_ref(), "b".as_ref()],
            "none of the paths is a node's",
        ),
        (
            &[&remote, &remote],
            "source and destination are both of nodes",
        ),
        (
            &["a".as_ref(), &remote, &remote],
            "source and destination are both of nodes",
        ),
        (
            &[&remote, "i-2:b".as_ref(), "c".as_ref()],
            "the sources are of several targets",
        ),
    ];
    for (arguments, expected) in cases {
        assert_eq!(failing(&node, 252, arguments), expected);
    }
    assert_eq!(node.loopback.stats().started, 0);
}

#[test]
fn a_full_disk_is_told_and_nothing_is_left() {
    for (shell, node) in Node::all() {
        eprintln!("{shell:?}");
        for size in [1000, 3_000_000] {
            fs::write(node.here("a"), noise(size, 1)).unwrap();
            let error = failing(
                &node,
                255,
                &[node.here("a").as_ref(), &node.remote("/dev/full")],
            );
            assert_eq!(
                error, "/dev/full on the node: No space left on device",
                "{shell:?}"
            );
            fs::write(node.home("a"), noise(size, 1)).unwrap();
            let error = failing(&node, 255, &[&node.remote("a"), "/dev/full".as_ref()]);
            assert_eq!(error, "/dev/full: No space left on device");
        }
    }
}

#[test]
fn a_file_that_may_not_grow_is_told_and_nothing_is_left() {
    let node = Node::new(None, "ulimit -f 512; exec", Options::default());
    fs::write(node.here("a"), noise(3_000_000, 1)).unwrap();
    fs::write(node.here("b"), noise(3_000, 1)).unwrap();
    let arguments = [node.here("a"), node.here("b")].map(|path| path.into_os_string());
    let [a, b] = &arguments;
    let error = failing(&node, 255, &[a, b, &node.remote("")]);
    assert_eq!(error, "./a on the node: File too large");
    assert!(!node.home("a").exists());
    assert_eq!(fs::read(node.home("b")).unwrap(), noise(3_000, 1));
    node.assert_clean();
}

#[test]
fn permissions_of_the_node_count() {
    // Root may do anything, so the session is somebody else's.
    let is_root = fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0);
    if is_root && !Path::new("/usr/bin/setpriv").exists() {
        return eprintln!("setpriv is not here: skipped");
    }
    let run = match is_root {
        true => "exec setpriv --reuid 65534 --regid 65534 --clear-groups",
        false => "exec",
    };
    let node = Node::new(None, run, Options::default());
    for (name, mode) in [("secret", 0o000), ("shared", 0o444)] {
        fs::write(node.home(name), "x").unwrap();
        fs::set_permissions(node.home(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::create_dir(node.home("closed")).unwrap();
    fs::set_permissions(node.home("closed"), fs::Permissions::from_mode(0o500)).unwrap();
    if !is_root {
        fs::set_permissions(node.home(""), fs::Permissions::from_mode(0o500)).unwrap();
    }
    fs::write(node.here("a"), noise(600_000, 1)).unwrap();
    fs::write(node.here("b"), "b").unwrap();
    let denied = "Permission denied";
    for name in ["a", "b"] {
        let from = node.here(name);
        let error = failing(&node, 255, &[from.as_ref(), &node.remote("new")]);
        assert_eq!(error, format!("new on the node: {denied}"));
        let error = failing(&node, 255, &[from.as_ref(), &node.remote("shared")]);
        assert_eq!(error, format!("shared on the node: {denied}"));
    }
    let error = failing(
        &node,
        255,
        &[&node.remote("secret"), node.here("s").as_ref()],
    );
    assert_eq!(error, format!("secret on the node: {denied}"));
    fs::set_permissions(node.home(""), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(fs::read(node.home("shared")).unwrap(), b"x");
    node.assert_clean();
}

#[test]
fn a_file_that_is_not_what_it_says_is_not_copied() {
    if !Path::new("/proc/version").exists() {
        return;
    }
    let node = node();
    let error = failing(
        &node,
        255,
        &[&node.remote("/proc/version"), node.here("v").as_ref()],
    );
    assert!(
        error.starts_with("/proc/version: the checksums differ"),
        "{error}"
    );
    assert!(!node.here("v").exists());
    node.assert_clean();
}

#[test]
fn a_node_without_a_shell_or_terminal_programs_is_told() {
    let node = node();
    let shell = node.directory.path().join("shell");
    fs::write(&shell, "#!/bin/sh\necho 'The term sh is not recognized.'\n").unwrap();
    fs::write(node.here("a"), "a").unwrap();
    let error = failing(&node, 255, &[node.here("a").as_ref(), &node.remote("b")]);
    assert_eq!(
        error,
        "the node cannot run the commands that copy files: The term sh is not recognized."
    );
    fs::write(
        &shell,
        "#!/bin/sh\nsh=$(command -v sh)\nPATH=/nonexistent\nexec $sh \"$@\"\n",
    )
    .unwrap();
    let error = failing(&node, 255, &[node.here("a").as_ref(), &node.remote("b")]);
    assert!(
        error.starts_with("the node cannot run the commands") || error == "the node has no stty",
        "{error}"
    );
}

#[test]
fn a_reader_that_goes_away_is_a_quiet_end() {
    let node = node();
    fs::write(node.home("a"), noise(3_000_000, 1)).unwrap();
    let mut command = node.cp(&[&node.remote("a"), "-".as_ref()]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let done = child.wait_with_output().unwrap();
    assert_eq!(done.status.code(), Some(141));
    assert_eq!(String::from_utf8_lossy(&done.stderr), "");
    assert_eq!(node.loopback.stats().terminated, 1);
}

#[test]
fn an_interrupt_while_standard_input_is_silent_ends_it() {
    let node = node();
    let mut command = node.cp(&["-".as_ref(), &node.remote("a")]);
    command.stdin(Stdio::piped());
    let running = spawn(command);
    assert!(
        node.loopback
            .wait_for(|stats| stats.attached == 1, DEADLINE)
    );
    crate::support::kill(running.id(), "-INT");
    let done = running.finish();
    assert_eq!((done.code(), done.stderr.as_str()), (Some(130), ""));
    assert_eq!(node.loopback.stats().terminated, 1);
    let done = run(node.cp(&["-".as_ref(), &node.remote("")]), b"x");
    assert_eq!(done.code(), Some(255));
    assert!(
        done.stderr.contains("standard input needs a file's name"),
        "{}",
        done.stderr
    );
}

#[test]
fn a_path_that_is_empty_starts_no_session() {
    let node = node();
    for (from, to) in [("".into(), node.remote("a")), (node.remote("a"), "".into())] {
        assert_eq!(failing(&node, 252, &[&from, &to]), "a path is empty");
    }
    assert_eq!(node.loopback.stats().started, 0);
}

#[test]
fn a_file_that_becomes_shorter_is_told_and_nothing_is_left() {
    let node = node();
    fs::write(node.here("a"), noise(8 << 20, 1)).unwrap();
    let running = spawn(node.cp(&[node.here("a").as_ref(), &node.remote("b")]));
    assert!(
        node.loopback
            .wait_for(|stats| stats.messages_to_agent > 1000, DEADLINE)
    );
    fs::write(node.here("a"), "").unwrap();
    let done = running.finish();
    assert_eq!(done.code(), Some(255));
    assert!(
        done.stderr
            .ends_with("/a: became shorter while it was read\n"),
        "{}",
        done.stderr
    );
    assert!(!node.home("b").exists());
    node.assert_clean();
}

#[test]
fn what_a_file_grows_by_meanwhile_is_left_out() {
    for shell in [None, Shell::Busybox.path()] {
        let node = Node::new(shell.as_deref(), "exec", Options::default());
        let content = noise((6 << 20) + 1, 1);
        let ways = [
            (node.here("a"), node.remote("b"), node.home("b")),
            (node.home("a"), node.here("b").into(), node.here("b")),
        ];
        for (from, to, place) in ways {
            fs::write(&from, &content).unwrap();
            let source = match from == node.here("a") {
                true => from.clone().into_os_string(),
                false => node.remote("a"),
            };
            let before = node.loopback.stats();
            let running = spawn(node.cp(&[&source, &to]));
            assert!(node.loopback.wait_for(
                |stats| stats.messages_to_agent - before.messages_to_agent > 1000,
                DEADLINE
            ));
            let mut file = fs::File::options().append(true).open(&from).unwrap();
            file.write_all(&noise(100_000, 2)).unwrap();
            let done = running.finish();
            assert_eq!((done.code(), done.stderr.as_str()), (Some(0), ""));
            assert!(fs::read(place).unwrap() == content, "{source:?}");
        }
        node.assert_clean();
    }
}

#[test]
fn a_session_that_ends_in_the_middle_is_told_and_the_next_copy_goes_on() {
    let node = node();
    let content = noise(8 << 20, 1);
    fs::write(node.here("a"), &content).unwrap();
    for away in [false, true] {
        let before = node.loopback.stats().messages_to_agent;
        let running = spawn(node.cp(&[node.here("a").as_ref(), &node.remote("b")]));
        assert!(
            node.loopback
                .wait_for(|stats| stats.messages_to_agent - before > 2000, DEADLINE)
        );
        match away {
            true => node.loopback.set_online(node.loopback.target(), false),
            false => node.loopback.end_sessions("the session timed out"),
        }
        let done = running.finish();
        assert_eq!(done.code(), Some(255), "{}", done.stderr);
        assert_eq!(done.stderr.matches("error: ").count(), 1, "{}", done.stderr);
        if !away {
            assert!(
                done.stderr.contains("the session timed out"),
                "{}",
                done.stderr
            );
        }
        node.wait_for_processes();
        assert!(node.home("b.ssmx-part").exists());
    }
    node.loopback.set_online(node.loopback.target(), true);
    node.copy(&[node.here("a").as_ref(), &node.remote("b")]);
    assert!(fs::read(node.home("b")).unwrap() == content);
    node.assert_clean();
}
