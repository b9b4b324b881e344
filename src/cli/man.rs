//! `ssmx man`: manual pages.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Command;

use super::output;
use super::report::Failure;

/// `ssmx man`
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    ssmx man | man -l -                       read it\n  \
    ssmx man ~/.local/share/man/man1          for `man ssmx`, `man ssmx-forward` …")]
pub struct Args {
    /// Write a page for each subcommand into this directory, instead of the first to stdout
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
}

/// Runs the subcommand; the exit status.
pub fn run(args: &Args) -> anyhow::Result<u8> {
    let mut definition = with_all(super::definition()).disable_help_subcommand(true);
    definition.build();
    let Some(directory) = &args.directory else {
        output::text(&page(&definition)?)?;
        return Ok(0);
    };
    let failed = |error| {
        Failure::other(format!(
            "cannot write the pages to {}: {error}",
            directory.display()
        ))
    };
    fs::create_dir_all(directory).map_err(failed)?;
    write(&definition, directory).map_err(failed)?;
    Ok(0)
}

/// A page is for all options, as --help is.
fn with_all(command: Command) -> Command {
    command
        .mut_args(|option| option.hide_short_help(false))
        .mut_subcommands(with_all)
}

/// Writes the pages of a command and of its subcommands.
fn write(command: &Command, directory: &Path) -> std::io::Result<()> {
    for subcommand in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        write(subcommand, directory)?;
    }
    let file = directory.join(format!("{}.1", title(command)));
    fs::write(file, page(command)?)
}

/// `ssmx-config-check`
fn title(command: &Command) -> String {
    let name = command.get_display_name();
    name.unwrap_or_else(|| command.get_name()).to_owned()
}

/// A page in roff. What stands behind the options of a help is set by lines where it is meant so.
fn page(command: &Command) -> std::io::Result<String> {
    let help = command.get_after_long_help().or(command.get_after_help());
    let help = help.map(ToString::to_string).unwrap_or_default();
    let man = clap_mangen::Man::new(command.clone())
        .title(title(command))
        .source(concat!("ssmx ", env!("CARGO_PKG_VERSION")))
        .manual("ssmx manual");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.get_subcommands().any(|sub| !sub.is_hide_set()) {
        man.render_subcommands_section(&mut page)?;
    }
    Ok(String::from_utf8_lossy(&page).into_owned() + &behind(&help))
}

/// The examples of a help and its other paragraphs, as sections.
fn behind(help: &str) -> String {
    let paragraphs = help
        .trim_end()
        .split("\n\n")
        .filter(|text| !text.is_empty());
    let (mut examples, mut notes) = (String::new(), String::new());
    let mut is_example = false;
    for paragraph in paragraphs {
        let begins = paragraph.starts_with("Example") && paragraph.contains(":\n");
        // An example may have empty lines in it.
        is_example = begins || (is_example && paragraph.starts_with("  "));
        match is_example {
            true => {
                let lines = match begins {
                    true => paragraph.split_once('\n').map_or("", |(_, lines)| lines),
                    false => paragraph,
                };
                examples.push_str(&set(lines));
            }
            false => notes.push_str(&set(paragraph)),
        }
    }
    let section = |name: &str, text: &str| match text {
        "" => String::new(),
        text => format!(".SH {name}\n{text}"),
    };
    section("EXAMPLES", &examples) + &section("NOTES", &notes)
}

/// A paragraph, whose indented lines stay as they are.
fn set(paragraph: &str) -> String {
    let mut text = String::from(".PP\n");
    let mut verbatim = false;
    for line in paragraph.lines() {
        let indented = line.starts_with("  ");
        if indented != verbatim {
            text.push_str(if indented { ".nf\n" } else { ".fi\n" });
            verbatim = indented;
        }
        text.push_str(&escaped(line));
        text.push('\n');
    }
    if verbatim {
        text.push_str(".fi\n");
    }
    text
}

/// A line that roff takes for text alone, with signs that can be copied.
fn escaped(line: &str) -> String {
    let mut text = String::with_capacity(line.len() + 8);
    if line.starts_with(['.', '\'']) {
        text.push_str("\\&");
    }
    for c in line.chars() {
        match c {
            '\\' => text.push_str("\\e"),
            '-' => text.push_str("\\-"),
            '\'' => text.push_str("\\(aq"),
            '`' => text.push_str("\\(ga"),
            '~' => text.push_str("\\(ti"),
            '^' => text.push_str("\\(ha"),
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_keep_their_lines_and_signs() {
        let help = "First.\n\nExamples:\n  a -b 'c' \\\n      d\n\n  e ~f\n\n.Then: x\n  y";
        assert_eq!(
            behind(help),
            ".SH EXAMPLES\n\
             .PP\n.nf\n  a \\-b \\(aqc\\(aq \\e\n      d\n.fi\n\
             .PP\n.nf\n  e \\(tif\n.fi\n\
             .SH NOTES\n.PP\nFirst.\n\
             .PP\n\\&.Then: x\n.nf\n  y\n.fi\n"
        );
        assert_eq!(behind(""), "");
    }

    #[test]
    fn pages_tell_of_every_option() {
        fn walk(command: &Command) {
            let text = page(command).expect("in memory");
            for option in command
                .get_arguments()
                .filter(|option| !option.is_hide_set())
            {
                let Some(long) = option.get_long() else {
                    continue;
                };
                let shown = format!("\\-\\-{}\\fR", long.replace('-', "\\-"));
                let lines: Vec<&str> = text.lines().collect();
                // What it is stands on the line behind it.
                let about = lines.windows(3).find_map(|lines| match lines {
                    [".TP", option, about] if option.contains(&shown) => Some(*about),
                    _ => None,
                });
                let about = about.unwrap_or_default();
                assert!(
                    !about.is_empty() && !about.starts_with(".TP"),
                    "{} --{long}: {text}",
                    title(command)
                );
            }
            assert!(text.contains("\n.SH EXAMPLES\n"), "{}", title(command));
            command.get_subcommands().for_each(walk);
        }
        let mut definition = with_all(super::super::definition()).disable_help_subcommand(true);
        definition.build();
        walk(&definition);
    }
}
