//! Nodes that mean no good.

use super::*;

/// Puts a program before those of the node.
fn program(node: &Node, name: &str, script: &str) {
    let path = node.directory.path().join("programs").join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn cp<const N: usize>(node: &Node, arguments: [OsString; N]) -> Finished {
    let arguments: Vec<&OsStr> = arguments.iter().map(OsString::as_os_str).collect();
    run_without_input(node.cp(&arguments))
}

#[test]
fn a_link_of_an_earlier_copy_leads_no_file_elsewhere() {
    let node = node();
    fs::write(node.here("victim"), "mine").unwrap();
    fs::create_dir_all(node.home("tree/sub")).unwrap();
    fs::create_dir(node.here("outside")).unwrap();
    symlink(node.here("victim"), node.home("tree/file")).unwrap();
    symlink(node.here("outside"), node.home("tree/sub/directory")).unwrap();
    let copy = || {
        cp(
            &node,
            ["-r".into(), node.remote("tree/."), node.here("copy").into()],
        )
    };
    assert_eq!(copy().code(), Some(0));
    assert!(node.here("copy/file").is_symlink());
    for name in ["file", "sub/directory"] {
        fs::remove_file(node.home("tree").join(name)).unwrap();
    }
    fs::write(node.home("tree/file"), "theirs").unwrap();
    fs::create_dir(node.home("tree/sub/directory")).unwrap();
    fs::write(node.home("tree/sub/directory/planted"), "theirs").unwrap();
    let done = copy();
    assert_eq!(done.code(), Some(255), "a directory in place of a link");
    assert_eq!(fs::read(node.here("victim")).unwrap(), b"mine");
    assert_eq!(fs::read(node.here("copy/file")).unwrap(), b"theirs");
    assert!(!node.here("copy/file").is_symlink());
    assert!(everything_in(&node.here("outside")).is_empty());
    node.assert_clean();
}

#[test]
fn names_and_figures_that_no_node_has_stay_where_they_belong() {
    let node = node();
    fs::create_dir(node.home("tree")).unwrap();
    fs::write(node.home("tree/evil"), "12345").unwrap();
    let hex = |text: &str| -> String { text.bytes().map(|byte| format!("{byte:02x}")).collect() };
    let outside = node.here("outside").display().to_string();
    let mut lines = String::new();
    for name in [
        "..",
        ".",
        "",
        "../outside",
        "sub/../../outside",
        &outside,
        "a\0b",
    ] {
        for kind in ["81a4", "41ed", "a1ff"] {
            lines.push_str(&format!("{kind} 5 0 x{} n/etc\\n", hex(name)));
        }
    }
    for line in [
        "81a4 -1 0 nnegative",
        "81a4 99999999999999999999999 0 nlarge",
        "81a4 18446744073709551615 0 nendless",
        "81a4 5 9223372036854775807 nfuture",
        "81a4 5 -9223372036854775808 npast",
        "a1ff 5 0 nboth n/",
        "41ed 5 0 nboth",
        "21b6 5 0 ndevice",
        "ffffffffff 5 0 nmode",
        "\\033]0;title\\007 5 0 n",
    ] {
        lines.push_str(&format!("{line}\\n"));
    }
    program(
        &node,
        "stat",
        &format!("case $* in */evil) printf '{lines}' ;; esac\nexec /usr/bin/stat \"$@\"",),
    );
    let done = cp(
        &node,
        ["-rp".into(), node.remote("tree"), node.here("copy").into()],
    );
    assert_eq!(done.code(), Some(255), "{}", done.stderr);
    assert!(!done.stderr.contains(|c: char| c.is_control() && c != '\n'));
    assert_eq!(fs::read(node.here("copy/evil")).unwrap(), b"12345");
    let copied = everything_in(&node.here(""));
    let names: Vec<_> = copied
        .iter()
        .map(|path| {
            path.strip_prefix(node.here(""))
                .unwrap()
                .display()
                .to_string()
        })
        .collect();
    assert_eq!(names, ["copy", "copy/both", "copy/evil"]);
    assert!(node.here("copy/both").is_dir() && !node.here("copy/both").is_symlink());
}

#[test]
fn nobody_gets_to_act_as_the_owner() {
    let node = node();
    fs::write(node.home("program"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(node.home("program"), fs::Permissions::from_mode(0o6755)).unwrap();
    let done = cp(
        &node,
        ["-p".into(), node.remote("program"), node.here("").into()],
    );
    assert_eq!(done.code(), Some(0), "{}", done.stderr);
    let mode = fs::metadata(node.here("program")).unwrap().permissions();
    assert_eq!(mode.mode() & 0o7777, 0o755);
}

#[test]
fn what_others_left_on_the_node_as_a_part_is_not_written_to() {
    for (shell, node) in Node::all() {
        let large = noise(300_000, 20);
        fs::write(node.here("large"), &large).unwrap();
        fs::write(node.here("small"), "small").unwrap();
        fs::write(node.home("victim"), "theirs").unwrap();
        for name in ["large", "small"] {
            fs::hard_link(node.home("victim"), node.home(format!("{name}.ssmx-part"))).unwrap();
            node.copy(&[node.here(name).as_ref(), &node.remote("")]);
            let copied = fs::read(node.home(name)).unwrap();
            assert!(copied == fs::read(node.here(name)).unwrap(), "{shell:?}");
            assert_eq!(
                fs::read(node.home("victim")).unwrap(),
                b"theirs",
                "{shell:?}"
            );
        }
        node.assert_clean();
    }
}

#[test]
fn few_open_files_are_enough() {
    let node = node();
    fs::create_dir(node.home("tree")).unwrap();
    for index in 0..60 {
        fs::write(node.home(format!("tree/{index}")), index.to_string()).unwrap();
    }
    let copy = node.cp(&[
        "-r".as_ref(),
        &node.remote("tree"),
        node.here("copy").as_ref(),
    ]);
    let mut few = Command::new("sh");
    few.args(["-c", "ulimit -n 24; exec \"$@\"", "sh"]);
    few.arg(copy.get_program()).args(copy.get_args());
    for (name, value) in copy.get_envs() {
        match value {
            Some(value) => few.env(name, value),
            None => few.env_remove(name),
        };
    }
    let done = run_without_input(few);
    assert_eq!((done.stderr.as_str(), done.code()), ("", Some(0)));
    assert_eq!(everything_in(&node.here("copy")).len(), 60);
}

/// A node whose shell does nothing but this, once it has told that it is ready.
fn answering(script: &str) -> (TempDir, Loopback) {
    let directory = tempfile::tempdir().unwrap();
    let shell = directory.path().join("shell");
    let script = format!(
        "#!/bin/sh\nm=$(printf %s \"$*\" | sed -n 's/.*N=\\([0-9a-f]*\\);.*/\\1/p')\n\
         stty raw -echo\nprintf '\\n@%s ready\\n' $m\n{script}\n"
    );
    fs::write(&shell, script).unwrap();
    fs::set_permissions(&shell, fs::Permissions::from_mode(0o755)).unwrap();
    let loopback = Loopback::start(Options {
        paced: false,
        shell: Some(shell),
        ..Options::default()
    });
    (directory, loopback.expect("loopback starts"))
}

#[test]
fn answers_without_an_end_or_a_question_end_the_copy() {
    for (script, why) in [
        ("yes \"@$m 1 ok x\"", "belongs to another command"),
        ("yes \"@$m 2 ok x\"", "belongs to another command"),
        ("printf '@%s 1 data\\n' $m; yes", "has no end"),
        (
            "printf '@%s 1 data\\n' $m; tr '\\0' x </dev/zero",
            "has no end",
        ),
        ("printf '@%s 1 ok ' $m; tr '\\0' x </dev/zero", "has no end"),
        ("tr '\\0' x </dev/zero", "has no end"),
        ("yes \"@$m 1 what\"", "of no known kind"),
    ] {
        let (directory, loopback) = answering(script);
        let mut copy = command(SSMX, &loopback);
        copy.arg("cp").arg(format!("{}:file", loopback.target()));
        copy.arg(directory.path().join("copy"));
        let done = run_without_input(copy);
        assert_eq!(done.code(), Some(255), "{script}");
        assert!(done.stderr.contains(why), "{script}: {}", done.stderr);
        assert!(!directory.path().join("copy").exists());
    }
}
