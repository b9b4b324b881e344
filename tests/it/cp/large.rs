//! Files that are larger than anything that is kept in memory, over connections that fail.
//!
//! `SSMX_TEST_CP_BYTES=1000000000 cargo test --locked --test it cp::large -- --nocapture`

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use ssmx::loopback::fault::{Cut, Faults};
use ssmx::loopback::{Options, Stats};

use super::Node;
use crate::support::{DEADLINE, kill, spawn};

const MIB: u64 = 1 << 20;
/// What the program may grow by while most of a file passes, in bytes.
const GROWTH: u64 = 6 * MIB;
/// Connections that are cut in each session.
const CUTS: u64 = 4;

fn size() -> u64 {
    let size = std::env::var("SSMX_TEST_CP_BYTES");
    size.map_or(32 * MIB, |text| text.parse().expect("a number of bytes"))
}

/// Anything may take so long: a tenth of a megabyte a second at the least.
fn limit() -> Duration {
    DEADLINE + Duration::from_secs(size() / 100_000)
}

/// A node with a gateway that cuts connections in the middle of files.
fn node() -> Node {
    let faults = Faults {
        cuts: vec![Cut::AfterBytes(size() / 8); CUTS as usize],
        ..Faults::default()
    };
    let options = Options {
        faults,
        ..Options::default()
    };
    Node::new(None, "exec", options)
}

fn make(path: &Path) {
    let mut random = fastrand::Rng::with_seed(11);
    let mut file = File::create(path).unwrap();
    let mut left = size();
    let mut block = vec![0; MIB as usize];
    while left > 0 {
        block.truncate(left.min(MIB) as usize);
        random.fill(&mut block);
        file.write_all(&block).unwrap();
        left -= block.len() as u64;
    }
}

fn digest(path: &Path) -> Vec<u8> {
    let mut file = File::open(path).unwrap();
    let mut block = vec![0; MIB as usize];
    let mut digest = Sha256::new();
    loop {
        match file.read(&mut block).unwrap() {
            0 => return digest.finalize().to_vec(),
            length => digest.update(&block[..length]),
        }
    }
}

/// The most memory that a process has had so far, in bytes, where the system tells.
fn peak(id: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

/// Waits until so many more bytes have passed: a KiB is a message and its acknowledgement.
fn wait(node: &Node, before: &Stats, bytes: u64) {
    let all = |stats: &Stats| stats.messages_to_agent + stats.messages_to_client;
    let (before, more) = (all(before), bytes / 1024 * 2);
    let passed = |stats: &Stats| all(stats) - before >= more;
    assert!(node.loopback.wait_for(passed, limit()), "nothing passes");
}

/// Copies in two runs, the first of which is killed in the middle, and looks at the memory of the
/// second.
fn copy(node: &Node, from: &OsStr, to: &OsStr, part: &Path) {
    let before = node.loopback.stats();
    let first = spawn(node.cp(&[from, to]));
    wait(node, &before, size() / 4);
    kill(first.id(), "-KILL");
    assert_eq!(first.finish().code(), None);
    node.loopback.end_sessions("");
    node.wait_for_processes();
    let there = fs::metadata(part).expect("the part is left").len();
    assert!(there > 0 && there < size() / 2, "{there}");

    let before = node.loopback.stats();
    let second = spawn(node.cp(&["--debug".as_ref(), from, to]));
    let id = second.id();
    wait(node, &before, size() / 8);
    let early = peak(id);
    wait(node, &before, size() / 2);
    let late = peak(id);
    // What was under way at a cut passes twice.
    let done = second.finish_within(limit());
    assert_eq!(done.code(), Some(0), "{}", done.stderr);
    let told = format!(
        "goes on behind what is there there={}",
        there / 65_536 * 65_536
    );
    let told = told.trim_end_matches(char::is_numeric);
    assert!(done.stderr.contains(told), "{}", done.stderr);
    eprintln!(
        "{} bytes, {there} of them there at first; memory: {early:?}, {late:?} bytes",
        size()
    );
    if let (Some(early), Some(late)) = (early, late) {
        assert!(late < early + GROWTH, "{early} {late}");
    }
    let after = node.loopback.stats();
    assert!(after.resumes - before.resumes >= CUTS, "{after:?}");
}

#[test]
fn a_large_file_goes_there_and_back_over_cuts_and_a_kill() {
    let node = node();
    make(&node.here("a"));
    let (here, there, back) = (node.here("a"), node.remote("b"), node.here("c"));
    copy(&node, here.as_ref(), &there, &node.home("b.ssmx-part"));
    copy(&node, &there, back.as_ref(), &node.here("c.ssmx-part"));
    let expected = digest(&here);
    assert_eq!(digest(&node.home("b")), expected);
    assert_eq!(digest(&back), expected);
    node.assert_clean();
}
