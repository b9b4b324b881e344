//! What the README and the helps show must be what the command line takes.

use clap::CommandFactory;

use super::Cli;

const README: &str = include_str!("../../README.md");

/// Runs `check` on each command of ssmx in a text with examples, without what stands before it and
/// what a shell would do with it; how many there were.
fn each_example(text: &str, mut check: impl FnMut(&[String])) -> usize {
    let mut continued = text.split("\\\n").map(str::to_owned);
    let first = continued.next().unwrap_or_default();
    let text = continued.fold(first, |text, rest| text + rest.trim_start());
    let mut count = 0;
    for line in text.lines() {
        let Some(indented) = line.strip_prefix("  ") else {
            continue;
        };
        // Explanations come behind a number sign or a gap.
        let line = indented.trim_start();
        let line = line.split(" #").next().unwrap_or(line);
        let line = line.split("   ").next().unwrap_or(line);
        let line = match line.strip_prefix("source <(") {
            Some(line) => line.trim_end_matches(')'),
            None => line,
        };
        if !line.contains("ssmx ") {
            continue;
        }
        let words = shell_words::split(line).unwrap_or_else(|why| panic!("{line}: {why}"));
        for command in words.split(|word| matches!(word.as_str(), "|" | ">" | ">>" | "<")) {
            if command.first().is_some_and(|program| program == "ssmx") {
                check(command);
                count += 1;
            }
        }
    }
    count
}

fn is_taken(words: &[String]) {
    if let Err(error) = Cli::command()
        .try_get_matches_from(super::ssh::arrange(words.iter().map(Into::into).collect()))
    {
        panic!("{words:?}: {error}");
    }
}

#[test]
fn what_the_readme_shows_is_taken() {
    let count = each_example(README, is_taken);
    assert!(count > 30, "{count}");
}

#[test]
fn what_the_helps_show_is_taken() {
    fn walk(command: &mut clap::Command, count: &mut usize) {
        for help in [command.render_help(), command.render_long_help()] {
            let help = help.to_string();
            let examples = help.split("Examples").nth(1).unwrap_or_default();
            *count += each_example(examples, is_taken);
        }
        for command in command.get_subcommands_mut() {
            walk(command, count);
        }
    }
    let mut count = 0;
    walk(&mut Cli::command(), &mut count);
    assert!(count > 100, "{count}");
}
