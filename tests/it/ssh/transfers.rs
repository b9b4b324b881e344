//! Files through ssh, and what happens to their bytes.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::{Scene, find};
use crate::support::{DEADLINE, Finished, run, run_without_input};

/// Bytes of a size and a seed, without any pattern.
fn bytes(size: usize, seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut bytes = vec![0; size];
    random.fill(&mut bytes);
    bytes
}

fn hash(bytes: &[u8]) -> Vec<u8> {
    Sha256::digest(bytes).to_vec()
}

#[track_caller]
fn assert_quiet(done: &Finished) {
    assert_eq!((done.stderr.as_str(), done.code()), ("", Some(0)));
}

#[test]
fn twenty_megabytes_both_ways_at_once() {
    let Some(scene) = Scene::set() else { return };
    let data = bytes(20 << 20, 1);
    let done = run(scene.ssh(&[], "cat"), &data);
    assert_quiet(&done);
    assert_eq!(done.stdout.len(), data.len());
    assert_eq!(hash(&done.stdout), hash(&data));
    scene.assert_ended(1);
}

#[test]
fn no_byte_is_lost_with_a_lost_connection() {
    let scene = Scene::set_with(|peer| {
        // A thousand messages are lost at once, and agents repeat one a tick.
        peer.resend_tick = Duration::from_millis(2);
    });
    let Some(scene) = scene else { return };
    let data = bytes(20 << 20, 2);
    let ssh = scene.ssh(&[], "cat");
    let done = std::thread::scope(|scope| {
        let copy = scope.spawn(|| run(ssh, &data));
        for n in 0..4 {
            let so_far = scene.loopback.stats();
            let goes_on = scene.loopback.wait_for(
                |stats| {
                    stats.connections == n + 1
                        && stats.messages_to_agent > so_far.messages_to_agent + 300
                        && stats.messages_to_client > so_far.messages_to_client + 300
                },
                DEADLINE,
            );
            assert!(goes_on, "{:?}", scene.loopback.stats());
            match n {
                // As the gateway does every hour.
                2 => scene.loopback.close(1000, "Bye"),
                _ => scene.loopback.cut(),
            }
        }
        copy.join().expect("no panic")
    });
    assert_eq!(done.code(), Some(0), "{}", done.stderr);
    assert_eq!(done.stdout.len(), data.len());
    assert_eq!(hash(&done.stdout), hash(&data));
    let stats = scene.loopback.stats();
    assert_eq!((stats.started, stats.resumes), (1, 4), "{stats:?}");
    scene.assert_ended(1);
}

/// A file here, and a name for it there: both on this machine.
fn files(scene: &Scene, size: usize, seed: u64) -> (PathBuf, Vec<u8>) {
    let data = bytes(size, seed);
    let file = scene.server.file("data");
    fs::write(&file, &data).expect("writable");
    (file, data)
}

#[track_caller]
fn assert_same(file: &Path, data: &[u8]) {
    assert_eq!(hash(&fs::read(file).expect("there")), hash(data));
}

#[test]
fn scp_both_ways() {
    let Some(scene) = Scene::set() else { return };
    let (file, data) = files(&scene, 3 << 20, 3);
    let (there, back) = (scene.server.file("there"), scene.server.file("back"));
    let remote = format!("{}:{}", scene.loopback.target(), there.display());
    let [file, back_text] = [&file, &back].map(|path| path.display().to_string());
    for pair in [[file.as_str(), &remote], [&remote, &back_text]] {
        let mut scp = scene.configured("scp", &["-q"]);
        scp.args(pair);
        assert_quiet(&run_without_input(scp));
    }
    assert_same(&there, &data);
    assert_same(&back, &data);
    scene.assert_ended(2);
}

#[test]
fn sftp_both_ways() {
    let Some(scene) = Scene::set() else { return };
    let (file, data) = files(&scene, 3 << 20, 4);
    let (there, back) = (scene.server.file("there"), scene.server.file("back"));
    let batch = format!(
        "put {} {there}\nget {there} {}\n",
        file.display(),
        back.display(),
        there = there.display(),
    );
    let mut sftp = scene.configured("sftp", &["-q", "-b", "-"]);
    sftp.arg(scene.loopback.target());
    let done = run(sftp, batch.as_bytes());
    assert_quiet(&done);
    assert_same(&there, &data);
    assert_same(&back, &data);
    scene.assert_ended(1);
}

#[test]
fn rsync_both_ways() {
    let Some(scene) = Scene::set() else { return };
    if find("rsync").is_none() {
        println!("skipped: no rsync on PATH");
        return;
    }
    let from = scene.server.file("from");
    fs::create_dir_all(from.join("deeper")).expect("made");
    let contents = [
        ("a", bytes(1 << 20, 5)),
        ("deeper/b", bytes(70_000, 6)),
        ("c", Vec::new()),
    ];
    for (name, data) in &contents {
        fs::write(from.join(name), data).expect("writable");
    }
    let (there, back) = (scene.server.file("there"), scene.server.file("back"));
    let remote = format!("{}:{}/", scene.loopback.target(), there.display());
    let [from, back_text] = [&from, &back].map(|path| format!("{}/", path.display()));
    let shell = format!("ssh -F {}", scene.config.display());
    for pair in [[from.as_str(), &remote], [&remote, &back_text]] {
        let mut rsync = scene.program("rsync");
        rsync.args(["-a", "--checksum", "-e", &shell]).args(pair);
        assert_quiet(&run_without_input(rsync));
    }
    for (name, data) in &contents {
        assert_same(&back.join(name), data);
    }
    scene.assert_ended(2);
}
