//! `ssmx completion`: completes what is being typed, in any of the usual shells.
//!
//! The scripts are few lines, and ask this program, for what can follow depends on files and on
//! AWS: `ssmx __complete SHELL …` answers a candidate a line, behind a tab what it is. It never
//! fails, says nothing else, and asks nobody for anything.

mod cache;
mod line;
mod nodes;
mod sessions;
mod values;

use std::ffi::OsString;
use std::path::Path;

use clap::ValueEnum;
use clap_complete::engine::CompletionCandidate;

use super::output;

/// Asks for candidates instead of running anything; the word of the scripts.
const ASK: &str = "__complete";

/// `ssmx completion`
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples, for the shell's own start-up file:\n  \
    source <(ssmx completion bash)                   ~/.bashrc\n  \
    source <(ssmx completion zsh)                    ~/.zshrc, behind compinit\n  \
    ssmx completion fish | source                    ~/.config/fish/config.fish\n  \
    ssmx completion powershell | Out-String | Invoke-Expression\n  \
    eval (ssmx completion elvish | slurp)            ~/.config/elvish/rc.elv\n\n\
    Targets, profiles, regions, aliases and living sessions are completed too. The ids and names of \
    nodes are asked for with the profile and region of the line, and kept for a minute in \
    ~/.cache/ssmx.")]
pub struct Args {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
    #[value(alias = "pwsh")]
    Powershell,
    Elvish,
}

/// Prints the shell's script; the exit status.
pub fn run(args: &Args) -> anyhow::Result<u8> {
    output::text(match args.shell {
        Shell::Bash => include_str!("ssmx.bash"),
        Shell::Zsh => include_str!("ssmx.zsh"),
        Shell::Fish => include_str!("ssmx.fish"),
        Shell::Powershell => include_str!("ssmx.ps1"),
        Shell::Elvish => include_str!("ssmx.elv"),
    })?;
    Ok(0)
}

/// What a script asks: the words up to the cursor, and which of them is to be completed.
struct Question {
    shell: Shell,
    words: Vec<OsString>,
    index: usize,
    /// How much of the word stays, for the shell replaces only what follows.
    kept: String,
    /// The quotation mark that the word is behind.
    quote: Option<char>,
}

/// Answers a script, if one asks.
pub(super) fn answer(args: &[OsString]) -> Option<u8> {
    let [_, ask, rest @ ..] = args else {
        return None;
    };
    if ask != ASK {
        return None;
    }
    if let Some(question) = Question::read(rest) {
        let candidates = question.candidates();
        // There is nobody to tell that they could not be told.
        let _ = output::text(&question.show(&candidates));
    }
    Some(0)
}

impl Question {
    fn read(args: &[OsString]) -> Option<Self> {
        let (shell, rest) = args.split_first()?;
        let shell = Shell::from_str(shell.to_str()?, true).ok()?;
        if shell == Shell::Bash {
            let [text, part] = rest else { return None };
            let (words, quote) = line::parse(text.to_str()?);
            let current = words.last().map_or("", String::as_str);
            let kept = current.strip_suffix(part.to_str()?).unwrap_or_default();
            return Some(Self {
                shell,
                index: words.len().saturating_sub(1),
                kept: kept.to_owned(),
                words: words.into_iter().map(OsString::from).collect(),
                quote,
            });
        }
        let (index, words) = rest.split_first()?;
        let index: usize = index.to_str()?.parse().ok()?;
        let mut words = words.to_vec();
        words.truncate(index.checked_add(1)?);
        if words.len() == index {
            // Shells leave out what is empty.
            words.push(OsString::new());
        }
        if let Some(word) = words.last_mut()
            && let Some(text) = word.to_str()
            // What is being typed is as it stands there in fish, and behind a quote that is not
            // closed yet in all.
            && (shell == Shell::Fish || text.starts_with(['\'', '"']))
        {
            *word = line::words(text).pop()?.into();
        }
        (words.len() == index + 1).then_some(Self {
            shell,
            words,
            index,
            kept: String::new(),
            quote: None,
        })
    }

    fn candidates(&self) -> Vec<CompletionCandidate> {
        if self.index == 0 {
            return Vec::new();
        }
        let mut definition = values::definition(&self.words);
        let directory = std::env::current_dir().ok();
        let words = self.words.clone();
        let found = clap_complete::engine::complete(
            &mut definition,
            words,
            self.index,
            directory.as_deref().or(Some(Path::new("."))),
        );
        let mut found = found.unwrap_or_default();
        // Options are many: they are for those who begin one, unless there is nothing else.
        let is_option = |candidate: &CompletionCandidate| {
            candidate.get_value().to_string_lossy().starts_with('-')
        };
        let begins_one = self
            .words
            .last()
            .is_some_and(|word| word.to_string_lossy().starts_with('-'));
        if !begins_one && found.iter().any(|candidate| !is_option(candidate)) {
            found.retain(|candidate| !is_option(candidate));
        }
        found
    }

    fn show(&self, candidates: &[CompletionCandidate]) -> String {
        let mut text = String::new();
        for candidate in candidates {
            let value = candidate.get_value().to_string_lossy();
            let Some(value) = value.strip_prefix(self.kept.as_str()) else {
                continue;
            };
            let value = match self.shell {
                Shell::Bash => line::quoted(value, self.quote),
                Shell::Powershell => line::quoted_for_powershell(value),
                _ => value.to_owned(),
            };
            // A line is a candidate, whatever files are called.
            if value.contains(char::is_control) {
                continue;
            }
            text.push_str(&value);
            let help = candidate.get_help().map(ToString::to_string);
            let help = help.as_deref().and_then(|help| help.lines().next());
            if let Some(help) = help.filter(|help| self.shell != Shell::Bash && !help.is_empty()) {
                text.push('\t');
                text.push_str(&output::plain(help));
            }
            text.push('\n');
        }
        text
    }
}
