//! Single files, and standard streams.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::PathBuf;

use ssmx::loopback::Options;
use ssmx::loopback::fault::{Cut, Direction, Faults};

use super::{Node, node, noise};
use crate::support::pty::Terminal;
use crate::support::{run, run_without_input};

/// Contents that are hard to carry.
pub(super) fn contents() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("empty", Vec::new()),
        ("one", b"x".to_vec()),
        ("newline", b"\n".to_vec()),
        ("block", noise(256 * 1024, 1)),
        ("large", noise((1 << 20) + 13, 2)),
        // Agents lose bytes of these.
        ("replaced", "a\u{fffd}".repeat(200_000).into_bytes()),
        (
            "swapped",
            [&b"\xef\xbf\xbd\x01\xbf\xbd\x02\xbf\xbd"[..]]
                .concat()
                .repeat(100_000),
        ),
        ("cut", b"\xe2\x82".to_vec()),
        ("keys", (0..=255).cycle().take(5000).collect()),
    ]
}

fn there_and_back(node: &Node, encoding: &str) {
    let encoding: [&OsStr; 2] = ["--encoding".as_ref(), encoding.as_ref()];
    for (name, content) in contents() {
        let (here, back) = (node.here(name), node.here(format!("{name}.back")));
        fs::write(&here, &content).unwrap();
        let _ = fs::remove_file(&back);
        node.copy(&[&encoding[..], &[here.as_ref(), &node.remote(name)]].concat());
        assert!(
            fs::read(node.home(name)).unwrap() == content,
            "{name} there"
        );
        node.copy(&[&encoding[..], &[&node.remote(name), back.as_ref()]].concat());
        assert!(fs::read(back).unwrap() == content, "{name} back");
    }
    node.assert_clean();
}

#[test]
fn all_bytes_pass_in_all_shells() {
    for (shell, node) in Node::all() {
        eprintln!("{shell:?}");
        there_and_back(&node, "auto");
    }
}

#[test]
fn all_bytes_pass_in_base64() {
    for (shell, node) in Node::all() {
        eprintln!("{shell:?}");
        there_and_back(&node, "base64");
    }
}

#[test]
fn a_copy_is_one_session_that_is_gone_afterwards() {
    let node = node();
    fs::write(node.here("a"), "content").unwrap();
    node.copy(&[node.here("a").as_ref(), &node.remote("")]);
    let stats = node.loopback.stats();
    assert_eq!((stats.started, stats.api_calls), (1, 1), "{stats:?}");
    assert!(
        node.loopback
            .wait_for(|stats| stats.ended == 1, crate::support::DEADLINE)
    );
    assert_eq!(fs::read(node.home("a")).unwrap(), b"content");
}

#[test]
fn streams_pass_both_ways() {
    let node = node();
    for (name, content) in contents() {
        let done = run(node.cp(&["-".as_ref(), &node.remote(name)]), &content);
        assert_eq!((done.code(), done.stderr.as_str()), (Some(0), ""), "{name}");
        assert!(
            fs::read(node.home(name)).unwrap() == content,
            "{name} there"
        );
        let done = node.copy(&[&node.remote(name), "-".as_ref()]);
        assert!(done.stdout == content, "{name} back");
    }
    node.assert_clean();
}

#[test]
fn several_files_go_into_a_directory() {
    let node = node();
    let names = ["a", "b b", "-c"];
    for name in names {
        fs::write(node.here(name), name).unwrap();
    }
    fs::create_dir(node.home("d")).unwrap();
    let sources = names.map(|name| node.here(name));
    let mut arguments: Vec<&OsStr> = sources.iter().map(AsRef::as_ref).collect();
    let to = node.remote("d");
    arguments.push(&to);
    node.copy(&arguments);
    fs::create_dir(node.here("back")).unwrap();
    let sources = names.map(|name| node.remote(format!("~/d/{name}")));
    let mut arguments: Vec<&OsStr> = sources.iter().map(AsRef::as_ref).collect();
    let to: PathBuf = node.here("back/");
    arguments.push(to.as_ref());
    node.copy(&arguments);
    for name in names {
        assert_eq!(
            fs::read(node.home("d").join(name)).unwrap(),
            name.as_bytes()
        );
        assert_eq!(
            fs::read(node.here("back").join(name)).unwrap(),
            name.as_bytes()
        );
    }
}

#[test]
fn what_is_replaced_keeps_its_mode_and_links_lead_on() {
    let node = node();
    for directory in ["home", "here"] {
        let at = |name| node.directory.path().join(directory).join(name);
        fs::write(at("old"), "old").unwrap();
        fs::set_permissions(at("old"), fs::Permissions::from_mode(0o640)).unwrap();
        symlink("old", at("link")).unwrap();
        symlink("not there", at("dangling")).unwrap();
        fs::write(at("new"), "new").unwrap();
        fs::set_permissions(at("new"), fs::Permissions::from_mode(0o755)).unwrap();
    }
    node.copy(&[node.here("new").as_ref(), &node.remote("link")]);
    node.copy(&[&node.remote("new"), node.here("link").as_ref()]);
    node.copy(&[node.here("new").as_ref(), &node.remote("dangling")]);
    node.copy(&[&node.remote("new"), node.here("dangling").as_ref()]);
    node.copy(&[node.here("new").as_ref(), &node.remote("fresh")]);
    node.copy(&[&node.remote("new"), node.here("fresh").as_ref()]);
    for directory in ["home", "here"] {
        let at = |name| node.directory.path().join(directory).join(name);
        assert!(at("link").is_symlink() && at("dangling").is_symlink());
        assert_eq!(fs::read(at("not there")).unwrap(), b"new");
        assert_eq!(fs::read(at("old")).unwrap(), b"new");
        assert_eq!(fs::metadata(at("old")).unwrap().mode() & 0o777, 0o640);
        assert_eq!(fs::metadata(at("fresh")).unwrap().mode() & 0o100, 0o100);
    }
}

#[test]
fn devices_stay_devices() {
    let node = node();
    fs::write(node.here("a"), noise(600_000, 3)).unwrap();
    node.copy(&[node.here("a").as_ref(), &node.remote("/dev/null")]);
    fs::write(node.home("a"), noise(600_000, 3)).unwrap();
    node.copy(&[&node.remote("a"), "/dev/null".as_ref()]);
    assert!(
        fs::metadata("/dev/null")
            .unwrap()
            .file_type()
            .is_char_device()
    );
}

#[test]
fn connections_that_fail_do_no_harm() {
    let faults = Faults {
        cuts: vec![
            Cut::AfterBytes(300_000),
            Cut::AfterBytes(500_000),
            Cut::AfterMessages(400),
        ],
        ..Faults::both(
            7,
            Direction {
                drop: 0.001,
                duplicate: 0.01,
                ..Direction::default()
            },
        )
    };
    let node = Node::new(
        None,
        "exec",
        Options {
            faults,
            ..Options::default()
        },
    );
    let content = noise(2_000_000, 4);
    fs::write(node.here("a"), &content).unwrap();
    let done = run_without_input(node.cp(&[node.here("a").as_ref(), &node.remote("b")]));
    assert_eq!(done.code(), Some(0), "{}", done.stderr);
    assert!(fs::read(node.home("b")).unwrap() == content);
    let done = run_without_input(node.cp(&[&node.remote("b"), node.here("c").as_ref()]));
    assert_eq!(done.code(), Some(0), "{}", done.stderr);
    assert!(fs::read(node.here("c")).unwrap() == content);
    assert!(node.loopback.stats().resumes >= 4);
    node.assert_clean();
}

#[test]
fn a_terminal_sees_progress() {
    let node = node();
    fs::write(node.here("file"), noise(3_000_000, 5)).unwrap();
    let terminal = Terminal::spawn(&node.cp(&[node.here("file").as_ref(), &node.remote("f")]));
    terminal.wait_for("100%  3.0 MB of 3.0 MB");
    assert!(
        terminal.screen().starts_with("file "),
        "{}",
        terminal.screen()
    );
    assert_eq!(terminal.finish(), 0);
    let (from, to) = (node.here("file"), node.remote("f"));
    let quiet = ["-q".as_ref(), from.as_ref(), &*to];
    let terminal = Terminal::spawn(&node.cp(&quiet));
    terminal.wait_until("the end", |_, all| {
        assert!(!all.contains(&b'%'));
        node.loopback.stats().ended == 2
    });
    assert_eq!(terminal.finish(), 0);
}

#[test]
fn each_of_many_files_has_a_line_of_its_own() {
    let node = node();
    for (index, name) in ["one", "two", "three"].into_iter().enumerate() {
        fs::create_dir_all(node.here("tree")).unwrap();
        fs::write(node.here("tree").join(name), noise(1000 * (index + 1), 5)).unwrap();
    }
    let ways = [
        (node.here("tree").into_os_string(), node.remote("copy")),
        (node.remote("copy"), node.here("back").into_os_string()),
    ];
    for (from, to) in ways {
        let terminal = Terminal::spawn(&node.cp(&["-r".as_ref(), &from, &to]));
        terminal.wait_until("a line for each", |screen, _| {
            let shows = |name, size| {
                screen.lines().any(|line| {
                    let words: Vec<&str> = line.split_whitespace().collect();
                    words.first() == Some(&name)
                        && line.contains(&format!("100%  {size} kB of {size} kB"))
                })
            };
            shows("one", "1.0") && shows("two", "2.0") && shows("three", "3.0")
        });
        assert_eq!(terminal.finish(), 0);
    }
}
