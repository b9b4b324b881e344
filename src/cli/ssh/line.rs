//! The command line of ssh, as far as its grammar goes: which words are options, where the
//! destination is, and where the remote command begins.
//!
//! ssh has no long options, so that all of them are ours, wherever an option may stand.

use std::ffi::{OsStr, OsString};

/// The options of ssh that take an argument, in the same word or the next.
const WITH_ARGUMENT: &[u8] = b"BbcDEeFIiJLlmOoPpQRSWw";

/// The words behind `ssmx ssh`, told apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    /// Our own options, with their values.
    pub own: Vec<OsString>,
    /// Everything else in its order: what ssh gets.
    pub ssh: Vec<OsString>,
    /// The first word that is no option.
    pub destination: Option<OsString>,
    /// The letters of ssh's options.
    letters: Vec<u8>,
}

impl Line {
    /// Reads the words; `takes_value` says whether the long option of this name (without dashes)
    /// takes a value from the next word.
    pub(super) fn parse(words: &[OsString], takes_value: impl Fn(&str) -> bool) -> Self {
        let mut line = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.as_encoded_bytes() {
                // No options from here on.
                b"--" => {
                    line.ssh.push(word.clone());
                    if line.destination.is_none() {
                        line.destination = words.as_slice().first().cloned();
                    }
                    break;
                }
                b"-h" => line.own.push(word.clone()),
                [b'-', b'-', name @ ..] => {
                    line.own.push(word.clone());
                    let takes_value = std::str::from_utf8(name).is_ok_and(&takes_value);
                    line.own
                        .extend(takes_value.then(|| words.next().cloned()).flatten());
                }
                [b'-', letters @ ..] if !letters.is_empty() => {
                    line.ssh.push(word.clone());
                    if line.takes_next(letters) {
                        line.ssh.extend(words.next().cloned());
                    }
                }
                _ if line.destination.is_none() => {
                    line.ssh.push(word.clone());
                    line.destination = Some(word.clone());
                }
                // The remote command.
                _ => {
                    line.ssh.push(word.clone());
                    break;
                }
            }
        }
        line.ssh.extend(words.cloned());
        line
    }

    /// Notes a word's letters; whether the last one's argument is the next word.
    fn takes_next(&mut self, letters: &[u8]) -> bool {
        let with_argument = letters
            .iter()
            .position(|letter| WITH_ARGUMENT.contains(letter));
        let end = with_argument.map_or(letters.len(), |at| at + 1);
        self.letters.extend(letters.iter().take(end));
        with_argument.is_some() && end == letters.len()
    }

    /// Takes a destination where there is none.
    pub(super) fn add_destination(&mut self, host: &str) {
        self.ssh.push(host.into());
        self.destination = Some(host.into());
    }

    /// Whether ssh's option of this letter is given.
    pub(super) fn has(&self, letter: u8) -> bool {
        self.letters.contains(&letter)
    }

    /// The destination without a user in front, unless it is a `ssh://` one.
    pub(super) fn host(&self) -> Option<&str> {
        let destination = self.destination.as_deref().and_then(OsStr::to_str)?;
        if destination.starts_with("ssh://") {
            return None;
        }
        let host = destination.rsplit_once('@').map(|(_, host)| host);
        Some(host.unwrap_or(destination))
    }
}

/// Sorts a command line of `ssmx … ssh …` so that ours and ssh's options are apart, with `--`
/// between them. Others stay as they are.
pub(in crate::cli) fn arrange(args: Vec<OsString>) -> Vec<OsString> {
    if !args.iter().any(|word| word == "ssh") {
        return args;
    }
    let mut definition = super::super::definition();
    // Lets subcommands have the global options.
    definition.build();
    let Some(ssh) = definition.find_subcommand("ssh") else {
        return args;
    };
    let takes_value = |name: &str| {
        ssh.get_arguments().any(|option| {
            option.get_long() == Some(name)
                && option.get_action().takes_values()
                && option.get_num_args().is_none_or(|n| n.min_values() > 0)
        })
    };
    let Some(at) = subcommand(&args, takes_value).filter(|&at| args[at] == "ssh") else {
        return args;
    };
    let (before, words) = args.split_at(at + 1);
    let line = Line::parse(words, takes_value);
    let parts = [before, &line.own, &["--".into()], &line.ssh];
    parts.concat()
}

/// Where the subcommand is.
pub(in crate::cli) fn subcommand(
    args: &[OsString],
    takes_value: impl Fn(&str) -> bool,
) -> Option<usize> {
    let mut at = 1;
    loop {
        let word = args.get(at)?.as_encoded_bytes();
        at += match word {
            b"--" => return None,
            [b'-', b'-', name @ ..] if std::str::from_utf8(name).is_ok_and(&takes_value) => 2,
            [b'-', ..] => 1,
            _ => return Some(at),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        text.split_whitespace().map(OsString::from).collect()
    }

    fn parse(text: &str) -> Line {
        Line::parse(&words(text), |name| name == "region")
    }

    #[test]
    fn the_destination_is_found_by_the_grammar_of_ssh() {
        for (text, expected) in [
            ("i-1", "i-1"),
            (
                "-v -p 2222 ubuntu@i-1 -L 80:localhost:80 uptime",
                "ubuntu@i-1",
            ),
            ("-p2222 i-1", "i-1"),
            ("-vvp 22 i-1", "i-1"),
            ("-vNL 80:x:80 i-1", "i-1"),
            ("-o User=u -oPort=1 i-1", "i-1"),
            ("-tt i-1 -o", "i-1"),
            ("-- i-1 -v", "i-1"),
            ("-v -- i-1", "i-1"),
            ("-o -- i-1", "i-1"),
            ("-l -v i-1", "i-1"),
            ("--region r i-1", "i-1"),
            ("--region=r --push-key i-1", "i-1"),
            ("- i-1", "-"),
            ("ssh://u@i-1:22 x", "ssh://u@i-1:22"),
        ] {
            let line = parse(text);
            assert_eq!(line.destination, Some(expected.into()), "{text}");
            let again = Line::parse(&line.ssh, |_| false);
            assert_eq!(again.destination, line.destination, "{text}");
            assert_eq!(again.ssh, line.ssh, "{text}");
            assert!(again.own.is_empty(), "{text}");
        }
        for text in [
            "",
            "-v",
            "-p",
            "-L i-1",
            "--region i-1",
            "--",
            "-V",
            "-Q key",
        ] {
            assert_eq!(parse(text).destination, None, "{text}");
        }
    }

    #[test]
    fn our_options_are_taken_out_and_commands_left_alone() {
        for (text, own, ssh) in [
            ("--push-key -v i-1", "--push-key", "-v i-1"),
            ("-v i-1 --push-key -N", "--push-key", "-v i-1 -N"),
            ("i-1 --region r ls --all", "--region r", "i-1 ls --all"),
            ("i-1 ls --region r -h", "", "i-1 ls --region r -h"),
            ("i-1 -- ls --push-key", "", "i-1 -- ls --push-key"),
            ("-- i-1 --push-key", "", "-- i-1 --push-key"),
            ("-p --push-key i-1", "", "-p --push-key i-1"),
            ("-h", "-h", ""),
            ("-v i-1 --region", "--region", "-v i-1"),
        ] {
            let line = parse(text);
            assert_eq!((line.own, line.ssh), (words(own), words(ssh)), "{text}");
        }
    }

    #[test]
    fn options_without_a_connection_are_seen() {
        assert!(parse("-V").has(b'V'));
        assert!(parse("-vO check i-1").has(b'O'));
        assert!(!parse("-p O i-1").has(b'O'));
        assert!(!parse("-pV i-1").has(b'V'));
        assert!(!parse("i-1 ls -V").has(b'V'));
    }

    #[test]
    fn hosts_have_no_user() {
        assert_eq!(parse("u@i-1").host(), Some("i-1"));
        assert_eq!(parse("u@x@ecs:C_t_r").host(), Some("ecs:C_t_r"));
        assert_eq!(parse("i-1").host(), Some("i-1"));
        assert_eq!(parse("ssh://u@i-1").host(), None);
        assert_eq!(parse("").host(), None);
    }

    #[test]
    fn only_command_lines_of_ssh_are_arranged() {
        let cases = [
            (
                "ssmx ssh -v u@i-1 --push-key -N",
                "ssmx ssh --push-key -- -v u@i-1 -N",
            ),
            (
                "ssmx --profile ssh --debug ssh i-1 --region r ls",
                "ssmx --profile ssh --debug ssh --region r -- i-1 ls",
            ),
            ("ssmx ssh -- i-1", "ssmx ssh -- -- i-1"),
            ("ssmx ssh --ssh /x i-1", "ssmx ssh --ssh /x -- i-1"),
            (
                "ssmx loopback -- ssmx ssh i-1",
                "ssmx loopback -- ssmx ssh i-1",
            ),
            ("ssmx help ssh", "ssmx help ssh"),
            ("ssmx --profile ssh", "ssmx --profile ssh"),
            ("ssmx -- ssh i-1", "ssmx -- ssh i-1"),
        ];
        for (text, expected) in cases {
            assert_eq!(arrange(words(text)), words(expected), "{text}");
        }
    }
}
