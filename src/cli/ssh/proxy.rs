//! The ProxyCommand: how ssh gets to a node through ssmx.

use std::ffi::OsString;
use std::path::Path;

use super::super::report::Failure;

/// What ssh puts the host's name for.
pub(in crate::cli) const HOST: &str = "%h";

/// What else has to be so in ssh's configuration.
pub(in crate::cli) const SETTINGS: [(&str, &str); 2] = [
    // ssmx passes bytes, no descriptor.
    ("ProxyUseFdpass", "no"),
    // A node's id is no name of DNS.
    ("CanonicalizeHostname", "no"),
];

/// The ProxyCommand that runs this `program` with `globals` and connects to `target`: [`HOST`],
/// or a node. A shell of the user's reads it, and before that ssh replaces its `%`.
///
/// Fails for what is no text, or does not fit on a line.
pub(in crate::cli) fn command(
    program: &Path,
    globals: &[OsString],
    target: &str,
) -> Result<String, Failure> {
    let mut line = literal(program.as_os_str().to_str(), "the path of ssmx")?;
    for word in globals {
        line.push(' ');
        line.push_str(&literal(word.to_str(), "an option")?);
    }
    line.push_str(" start-session --target ");
    line.push_str(&match target {
        HOST => HOST.to_owned(),
        target => literal(Some(target), "the target")?,
    });
    line.push_str(" --document-name AWS-StartSSHSession --parameters portNumber=%p");
    Ok(line)
}

/// A word that shell and ssh leave as it is.
fn literal(word: Option<&str>, what: &str) -> Result<String, Failure> {
    match word {
        Some(word) if !word.contains(char::is_control) => Ok(quoted(word).replace('%', "%%")),
        _ => Err(Failure::usage(format!(
            "{what} cannot be a part of ssh's configuration: it is not one line of text"
        ))),
    }
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_-+=:,./@%".contains(c)
}

/// As all shells of Unix read it, fish and csh among them.
#[cfg(not(windows))]
fn quoted(word: &str) -> String {
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// As programs of Windows read their command line.
#[cfg(windows)]
fn quoted(word: &str) -> String {
    if !word.is_empty() && word.chars().all(|c| is_plain(c) || c == '\\') {
        return word.to_owned();
    }
    format!("\"{}\"", word.replace('"', "\\\""))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_that_of_the_documentation() {
        let made = command(Path::new("/usr/bin/ssmx"), &[], HOST).ok();
        let expected = "/usr/bin/ssmx start-session --target %h \
            --document-name AWS-StartSSHSession --parameters portNumber=%p";
        assert_eq!(made.as_deref(), Some(expected));
    }

    #[test]
    fn shell_and_ssh_leave_words_as_they_are() {
        let globals = ["--profile", "50% o'clock"].map(OsString::from);
        let made = command(Path::new("/a b/ssmx"), &globals, "ecs:C_t%_r").ok();
        let expected =
            r"'/a b/ssmx' --profile '50%% o'\''clock' start-session --target ecs:C_t%%_r ";
        assert!(made.is_some_and(|made| made.starts_with(expected)));
    }

    #[test]
    fn lines_do_not_break() {
        for globals in [["--region", "a\nHost *"], ["--profile", "\u{1b}"]] {
            let made = command(Path::new("/ssmx"), &globals.map(OsString::from), HOST);
            assert!(made.is_err());
        }
    }
}
