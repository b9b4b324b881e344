//! Bytes, many of them, and readers and writers that go away.

use std::path::Path;
use std::process::{Command, Stdio};

use super::{exec, loopback, shells, with_shell};
use crate::support::{DEADLINE, SSMX, command, run, run_without_input, spawn};

/// Bytes of all values without a pattern, the same in each run.
fn noise(length: usize) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(7);
    let mut bytes = vec![0; length];
    rng.fill(&mut bytes);
    bytes
}

#[test]
fn megabytes_pass_both_ways_unchanged() {
    let scratch = tempfile::tempdir().unwrap();
    for shell in shells(&scratch) {
        let loopback = with_shell(&shell);
        let bytes = noise(2_000_001);
        let done = run(exec(&loopback, &[], &["cat"]), &bytes);
        assert!(
            done.stdout == bytes,
            "{shell:?}: {} {}",
            done.stdout.len(),
            done.stderr
        );
        assert_eq!(done.code(), Some(0));
        // Both streams at once.
        let script = "tee /dev/stderr";
        let text = "0123456789abcdef\n".repeat(20_000);
        let done = run(exec(&loopback, &[], &["sh", "-c", script]), text.as_bytes());
        assert!(done.text() == text && done.stderr == text, "{shell:?}");
    }
}

/// A node without base64: numbers instead.
#[test]
fn base64_is_not_needed() {
    let scratch = tempfile::tempdir().unwrap();
    let bare = scratch.path().join("bin");
    std::fs::create_dir(&bare).unwrap();
    for name in ["sh", "stty", "dd", "od", "cat"] {
        let found = ["/usr/bin", "/bin"].map(|directory| Path::new(directory).join(name));
        let program = found
            .iter()
            .find(|file| file.is_file())
            .expect("POSIX has it");
        std::os::unix::fs::symlink(program, bare.join(name)).unwrap();
    }
    for shell in shells(&scratch) {
        let wrapper = scratch.path().join("bare-sh");
        let text = format!(
            "#!/bin/sh\nPATH={} exec {} \"$@\"\n",
            bare.display(),
            // By its name, so that BusyBox knows what it is.
            shell.display()
        );
        std::fs::write(&wrapper, text).unwrap();
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(&wrapper, std::fs::Permissions::from_mode(0o755)).unwrap();
        let loopback = with_shell(&wrapper);
        let bytes = noise(100_003);
        let done = run(exec(&loopback, &[], &["cat"]), &bytes);
        assert!(
            done.stdout == bytes,
            "{shell:?}: {} {}",
            done.stdout.len(),
            done.stderr
        );
        assert_eq!(done.code(), Some(0), "{shell:?}");
    }
}

#[test]
fn input_that_nobody_reads_holds_nothing_up() {
    let loopback = loopback();
    let bytes = noise(5_000_000);
    let done = run(exec(&loopback, &[], &["true"]), &bytes);
    assert_eq!((done.code(), done.stderr.as_str()), (Some(0), ""));
    let done = run(exec(&loopback, &[], &["head", "-c", "70000"]), &bytes);
    assert!(done.stdout == bytes[..70_000]);
    assert_eq!(done.code(), Some(0));
    // It closes its input, and goes on.
    let script = "exec <&-; sleep 0.3; echo on; exit 3";
    let done = run(exec(&loopback, &[], &["sh", "-c", script]), &bytes);
    assert_eq!((done.code(), done.text().as_str()), (Some(3), "on\n"));
    // It takes its time; meanwhile all else works.
    let script = "echo waiting >&2; sleep 0.5; head -c 1000000 /dev/zero; wc -c";
    let done = run(exec(&loopback, &[], &["sh", "-c", script]), &bytes);
    assert!(done.text().ends_with("5000000\n"), "{}", done.stdout.len());
    assert_eq!(done.stdout.len(), 1_000_008);
}

#[test]
fn an_interrupt_is_heard_over_input_that_is_not_read() {
    let loopback = loopback();
    let mut shell = command("/bin/bash", &loopback);
    let target = loopback.target();
    shell.args(["-c", &format!(
        "{SSMX} exec {target} -- sleep 100 < /dev/zero & \
         while [ \"$({SSMX} describe-sessions --output json | grep -c Connected)\" = 0 ]; do :; done; \
         sleep 1; kill -INT $!; wait $!; echo $?"
    )]);
    // Jobs in the background of a shell ignore interrupts, unless it has job control.
    let done = run_without_input({
        let mut monitored = shell;
        monitored.env("SHELLOPTS", "monitor");
        monitored
    });
    assert!(done.text().ends_with("130\n"), "{done:?}");
}

#[test]
fn closed_and_absent_inputs_are_empty() {
    let loopback = loopback();
    let mut shell = command("/bin/sh", &loopback);
    let target = loopback.target();
    shell.args(["-c", &format!("{SSMX} exec {target} -- wc -c <&-")]);
    let done = run_without_input(shell);
    assert_eq!(
        (done.text().trim(), done.code()),
        ("0", Some(0)),
        "{done:?}"
    );
    let done = run(exec(&loopback, &["-n"], &["wc", "-c"]), b"not read");
    assert_eq!(
        (done.text().trim(), done.code()),
        ("0", Some(0)),
        "{done:?}"
    );
}

#[test]
fn output_comes_as_it_is_made_and_input_as_it_is_typed() {
    use std::io::{BufRead as _, BufReader, Write as _};
    let loopback = loopback();
    let mut command = exec(&loopback, &[], &["cat"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    for n in 0..20 {
        writeln!(stdin, "line {n}").unwrap();
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert_eq!(line, format!("line {n}\n"));
    }
    drop(stdin);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_reader_that_goes_away_is_a_quiet_end() {
    let loopback = loopback();
    let mut shell = command("/bin/bash", &loopback);
    let target = loopback.target();
    shell.args([
        "-c",
        &format!("{SSMX} exec {target} -- yes < /dev/null | head -n 1; echo ${{PIPESTATUS[0]}}"),
    ]);
    let done = run_without_input(shell);
    assert_eq!(
        (done.text().as_str(), done.stderr.as_str()),
        ("y\n141\n", "")
    );
    assert!(loopback.wait_for(|stats| stats.ended == 1, DEADLINE));
}

#[test]
fn cuts_in_the_middle_lose_and_repeat_nothing() {
    let loopback = loopback();
    let bytes = noise(3_000_000);
    let copy = bytes.clone();
    let mut command: Command = exec(&loopback, &[], &["cat"]);
    command.stdin(Stdio::piped());
    let (reader, mut writer) = std::io::pipe().unwrap();
    command.stdin(reader);
    let running = spawn(command);
    let feeder = std::thread::spawn(move || {
        use std::io::Write as _;
        drop(writer.write_all(&copy));
    });
    let mut seen = 0;
    for _ in 0..3 {
        let more = move |stats: &ssmx::loopback::Stats| stats.messages_to_client > seen + 400;
        assert!(loopback.wait_for(more, DEADLINE));
        loopback.cut();
        seen = loopback.stats().messages_to_client;
    }
    let done = running.finish();
    feeder.join().unwrap();
    assert!(
        done.stdout == bytes,
        "{} {}",
        done.stdout.len(),
        done.stderr
    );
    assert_eq!(done.code(), Some(0));
    assert!(loopback.stats().resumes >= 1);
}

#[test]
fn what_is_written_to_the_terminal_itself_goes_to_stderr() {
    let loopback = loopback();
    let script = "printf 'Password: ' > /dev/tty; echo out; exit 2";
    let done = run_without_input(exec(&loopback, &[], &["sh", "-c", script]));
    assert_eq!(
        (done.code(), done.text().as_str(), done.stderr.as_str()),
        (Some(2), "out\n", "Password: ")
    );
}
