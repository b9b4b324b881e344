//! What `--help` says, of every subcommand there is.

use std::process::Command;

use crate::support::{SSMX, clean, run_without_input};

fn help(words: &[String], option: &str) -> String {
    let mut command = Command::new(SSMX);
    clean(&mut command);
    command.args(words).arg(option).env("COLUMNS", "100");
    let done = run_without_input(command);
    assert_eq!(
        (done.stderr.as_str(), done.code()),
        ("", Some(0)),
        "{words:?} {option}"
    );
    done.text()
}

/// The subcommands that a help lists.
fn subcommands(help: &str) -> Vec<String> {
    let commands = help.split("\nCommands:\n").nth(1).unwrap_or_default();
    let lines = commands.lines().take_while(|line| !line.is_empty());
    lines
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

fn walk(words: &[String], seen: &mut usize) {
    *seen += 1;
    for option in ["--help", "-h"] {
        let text = help(words, option);
        assert!(text.contains("Example"), "{words:?} {option}: {text}");
        for line in text.lines() {
            assert!(line.chars().count() <= 100, "{words:?} {option}: {line}");
        }
    }
    for name in subcommands(&help(words, "-h")) {
        walk(&[words, &[name]].concat(), seen);
    }
}

#[test]
fn every_subcommand_has_a_help_with_examples() {
    let mut seen = 0;
    walk(&[], &mut seen);
    assert!(seen > 15, "{seen}");
}
