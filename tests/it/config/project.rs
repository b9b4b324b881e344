//! Files of projects, which others wrote.

use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use super::{Home, setting};
use crate::support::run_without_input;

const SHOW: [&str; 4] = ["config", "show", "--output", "json"];

#[test]
fn a_projects_file_counts_in_its_directory_and_below() {
    let home = Home::new("region = \"user-1\"\n[alias.a]\ntarget = \"users\"\n");
    let file = home.write(
        "work/.ssmx.toml",
        "region = \"project-1\"\n[alias.a]\ntarget = \"projects\"\n[alias.b]\ntarget = \"projects\"\n",
    );
    home.write("work/deep/er/x", "");
    let shown = |directory: &str| {
        let mut command = home.command(&SHOW);
        command.current_dir(home.path(directory));
        run_without_input(command)
    };
    assert_eq!(setting(&shown(""), "region").0, "user-1");
    for directory in ["work", "work/deep/er"] {
        let done = shown(directory);
        let (value, source) = setting(&done, "region");
        assert_eq!(value, "project-1");
        let canonical = file.canonicalize().unwrap();
        assert_eq!(source, format!("{}:1", canonical.display()));
        // A project may add aliases, but not redirect those of the user.
        let answer: Value = serde_json::from_slice(&done.stdout).unwrap();
        assert_eq!(answer["Aliases"]["a"]["target"], "users");
        assert_eq!(answer["Aliases"]["b"]["target"], "projects");
    }
}

#[test]
fn a_projects_file_may_not_do_harm() {
    for text in [
        "endpoint_url = \"http://127.0.0.1:1\"\n",
        "ca_bundle = \"evil.pem\"\n",
        "ssh = \"./evil\"\n",
        "[alias.x]\ntarget = \"i-1\"\ncommand = [\"./evil\"]\n",
        "[alias.x]\ntarget = \"i-1\"\ndocument = \"Evil\"\n",
        "[alias.x]\ntarget = \"i-1\"\nparameters = { command = \"evil\" }\n",
        "[alias.x]\ntarget = \"i-1\"\nforwards = [\"*:5432:5432\"]\n",
        "[alias.x]\ntarget = \"i-1\"\ndynamic = [\"0.0.0.0:1080\"]\n",
    ] {
        let home = Home::new("");
        home.write(".ssmx.toml", text);
        for arguments in [
            &["config", "check"][..],
            &["config", "check", ".ssmx.toml"],
            &["start-session", "--target", "x"],
        ] {
            let done = home.run(arguments);
            assert!(
                done.stderr.contains("a project's file must not "),
                "{text}: {done:?}"
            );
            assert_eq!(done.code(), Some(253), "{text}");
        }
    }
}

#[test]
fn a_file_that_anybody_may_write_does_not_count() {
    let home = Home::new("");
    let file = home.write(".ssmx.toml", "region = \"evil-1\"\nnonsense = 1\n");
    let mode = std::fs::Permissions::from_mode(0o666);
    std::fs::set_permissions(&file, mode).unwrap();
    let done = home.run(&SHOW);
    assert_ne!(setting(&done, "region").0, "evil-1");
    assert!(
        done.stderr
            .contains(".ssmx.toml does not count: everybody may write to it"),
        "{done:?}"
    );
}

#[test]
fn texts_of_a_project_do_nothing_to_the_terminal() {
    let home = Home::new("");
    let text =
        "[alias.a]\ntarget = \"x\"\ndescription = \"\\u001b]0;t\\u0007\u{202e}a\\u009b2J\"\n";
    home.write(".ssmx.toml", text);
    for words in [&["config", "show"][..], &SHOW, &["up", "b"]] {
        let done = home.run(words);
        let all = done.text() + &done.stderr;
        let is_harmful = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!all.contains(is_harmful), "{all:?}");
    }
    let shown = home.run(&["config", "show"]).text();
    assert!(shown.contains(r"\u202ea\u009b2J"), "{shown}");
}
