//! Copies that were interrupted.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::process::Command;

use ssmx::loopback::Stats;

use super::{Node, node, noise};
use crate::support::{DEADLINE, Finished, kill, run_without_input, spawn};

pub(super) const SIZE: usize = 8 << 20;

/// Messages both ways so far.
fn messages(node: &Node) -> u64 {
    all_messages(&node.loopback.stats())
}

fn all_messages(stats: &Stats) -> u64 {
    stats.messages_to_agent + stats.messages_to_client
}

/// Ends a copy in the middle.
fn halfway(node: &Node, command: Command, signal: &str) -> Finished {
    let before = messages(node);
    let running = spawn(command);
    // A KiB is a message and its acknowledgement.
    let half = |stats: &Stats| all_messages(stats) - before > SIZE as u64 / 1024;
    assert!(node.loopback.wait_for(half, DEADLINE), "nothing comes");
    kill(running.id(), signal);
    running.finish()
}

/// The same, quietly; how much there is then.
pub(super) fn interrupt(
    node: &Node,
    command: Command,
    part: &std::path::Path,
    signal: &str,
) -> u64 {
    let done = halfway(node, command, signal);
    assert_eq!(done.stderr, "");
    match signal {
        "-KILL" => assert_eq!(done.code(), None),
        _ => {
            assert_eq!(done.code(), Some(130));
            let ended = |stats: &Stats| stats.ended == stats.started;
            assert!(node.loopback.wait_for(ended, DEADLINE), "a session is left");
        }
    }
    node.loopback.end_sessions("");
    node.wait_for_processes();
    fs::metadata(part).expect("the part is left").len()
}

/// Copies again, which must begin behind what is there.
pub(super) fn go_on(node: &Node, arguments: &[&OsStr], there: u64) {
    let done = run_without_input(node.cp(&[&["--debug".as_ref()], arguments].concat()));
    assert_eq!(done.code(), Some(0), "{}", done.stderr);
    let told = format!("goes on behind what is there there={there}\n");
    assert!(done.stderr.contains(&told), "{there}: {}", done.stderr);
}

#[test]
fn an_upload_goes_on_where_it_was_killed() {
    for signal in ["-KILL", "-INT"] {
        let node = node();
        let content = noise(SIZE, 1);
        fs::write(node.here("a"), &content).unwrap();
        let (from, to) = (node.here("a"), node.remote("b"));
        let arguments = [from.as_ref(), &*to];
        let part = node.home("b.ssmx-part");
        let there = interrupt(&node, node.cp(&arguments), &part, signal);
        assert!(there < SIZE as u64, "it was too fast");
        assert!(!node.home("b").exists());
        go_on(&node, &arguments, there);
        assert!(fs::read(node.home("b")).unwrap() == content);
        node.assert_clean();
    }
}

#[test]
fn a_download_goes_on_where_it_was_killed() {
    for signal in ["-KILL", "-INT"] {
        let node = node();
        let content = noise(SIZE, 2);
        fs::write(node.home("a"), &content).unwrap();
        let (from, to) = (node.remote("a"), node.here("b"));
        let arguments = [&*from, to.as_ref()];
        let part = node.here("b.ssmx-part");
        let there = interrupt(&node, node.cp(&arguments), &part, signal);
        assert!(there < SIZE as u64, "it was too fast");
        go_on(&node, &arguments, there / 65_536 * 65_536);
        assert!(fs::read(node.here("b")).unwrap() == content);
        node.assert_clean();
    }
}

#[test]
fn a_part_of_something_else_is_not_gone_on_with() {
    let node = node();
    let content = noise(900_000, 3);
    for length in [1, 65_536, 500_000, 900_000, 2_000_000] {
        for name in ["home", "here"] {
            let at = |file| node.directory.path().join(name).join(file);
            fs::write(at("a"), &content).unwrap();
            fs::write(at("b.ssmx-part"), noise(length, 4)).unwrap();
            let _ = fs::remove_file(at("b"));
        }
        node.copy(&[node.here("a").as_ref(), &node.remote("b")]);
        assert!(
            fs::read(node.home("b")).unwrap() == content,
            "{length} there"
        );
        node.copy(&[&node.remote("a"), node.here("b").as_ref()]);
        assert!(
            fs::read(node.here("b")).unwrap() == content,
            "{length} back"
        );
        node.assert_clean();
    }
}

#[test]
fn what_is_whole_already_is_not_sent_again() {
    let node = node();
    let content = noise(SIZE, 5);
    fs::write(node.here("a"), &content).unwrap();
    fs::write(node.home("a"), &content).unwrap();
    let before = messages(&node);
    node.copy(&[node.here("a").as_ref(), &node.remote("a")]);
    node.copy(&[&node.remote("a"), node.here("a").as_ref()]);
    assert!(messages(&node) - before < 200);
    node.assert_clean();
}

#[test]
fn a_directory_goes_on_in_the_one_that_was_made_for_it() {
    let node = node();
    let content = noise(SIZE, 7);
    fs::create_dir(node.here("tree")).unwrap();
    fs::write(node.here("tree/a"), &content).unwrap();
    let (here, there, back) = (node.here("tree"), node.remote("there"), node.here("back"));
    for (from, to) in [(here.as_os_str(), &*there), (&there, back.as_os_str())] {
        let done = halfway(&node, node.cp(&["-r".as_ref(), from, to]), "-INT");
        assert_eq!(done.code(), Some(130), "{done:?}");
        let path = |text: &OsStr| {
            let text = text.to_str().unwrap();
            text.split_once(':')
                .map_or(text, |(_, path)| path)
                .to_owned()
        };
        let told = format!(
            "{} is there now: copy {}/. to it to go on\n",
            path(to),
            path(from)
        );
        assert!(done.stderr.ends_with(&told), "{told}: {}", done.stderr);
        let rest = OsString::from_iter([from, "/.".as_ref()]);
        node.copy(&["-r".as_ref(), &rest, to]);
    }
    for place in [node.home("there"), back] {
        let names: Vec<_> = fs::read_dir(&place)
            .unwrap()
            .map(|one| one.unwrap().file_name())
            .collect();
        assert_eq!(names, ["a"]);
        assert!(fs::read(place.join("a")).unwrap() == content);
    }
}
