//! What `-h` and `--help` say, of every subcommand there is.

use std::collections::BTreeSet;
use std::process::Command;

use crate::support::{SSMX, clean, run_without_input, snapshot};

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

/// Perhaps without the options that all have: once is enough.
fn shown(help: &str, with_globals: bool) -> String {
    let mut is_global = false;
    let kept = help.lines().filter(|line| {
        if !line.is_empty() && !line.starts_with(' ') {
            is_global = *line == "Global options:";
        }
        with_globals || !is_global
    });
    kept.map(|line| format!("{}\n", line.trim_end())).collect()
}

fn walk(words: &[String], seen: &mut BTreeSet<String>) {
    let mut both = String::new();
    for option in ["-h", "--help"] {
        let text = help(words, option);
        let has_examples = text
            .lines()
            .any(|line| line.starts_with("Example") && line.ends_with(':'));
        assert!(has_examples, "{words:?} {option}: {text}");
        for line in text.lines() {
            assert!(line.chars().count() <= 100, "{words:?} {option}: {line}");
        }
        let line = [&["ssmx".to_owned()], words, &[option.to_owned()]].concat();
        let text = shown(&text, words.is_empty());
        both.push_str(&format!("$ {}\n{}\n\n", line.join(" "), text.trim_end()));
    }
    let name = match words {
        [] => "ssmx".to_owned(),
        words => words.join("-"),
    };
    snapshot::check(&format!("help/{name}"), &format!("{}\n", both.trim_end()));
    seen.insert(name);
    for name in subcommands(&help(words, "-h")) {
        walk(&[words, &[name]].concat(), seen);
    }
}

#[test]
fn every_subcommand_has_a_help_with_examples() {
    let mut seen = BTreeSet::new();
    walk(&[], &mut seen);
    assert!(seen.len() > 15, "{seen:?}");
    snapshot::are_all("help", &seen);
}
