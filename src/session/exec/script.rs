//! What is given to the node's shell: words, quoted, and the wrapper around them.

use std::ffi::{OsStr, OsString};

/// What runs a command and carries its streams over one terminal; see [`super`].
const WRAPPER: &str = include_str!("wrapper.sh");
/// How both ways to run a command go to the home directory.
const HOME: &str = "( cd 2>/dev/null; ";
/// The longest text of a command, in bytes: a parameter's value may have 65535.
pub const LONGEST: usize = 60_000;

/// `words` as words of a POSIX shell: each is one word there, and exactly what it is here.
///
/// Words that are not plain text go as octal numbers, for `eval` to read: neither the service,
/// which has a meaning for braces, nor the agent gets to see what they could misunderstand.
pub fn shell_words(words: &[OsString]) -> ShellWords {
    let mut quoted = Vec::new();
    for word in words {
        if !quoted.is_empty() {
            quoted.push(b' ');
        }
        quote(bytes(word), &mut quoted);
    }
    ShellWords(quoted)
}

/// See [`shell_words()`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShellWords(Vec<u8>);

impl ShellWords {
    /// A command that makes them the shell's own parameters, `"$@"`.
    pub fn set(&self) -> String {
        match self.plain() {
            Some(text) => format!("set -- {text}"),
            None => {
                let mut octal = String::new();
                for byte in &self.0 {
                    match byte {
                        b' ' | b'_' | b'=' | b',' | b'.' | b'/' | b':' | b'-' => {
                            octal.push(char::from(*byte));
                        }
                        byte if byte.is_ascii_alphanumeric() => octal.push(char::from(*byte)),
                        byte => octal.push_str(&format!("\\{byte:03o}")),
                    }
                }
                format!("eval \"set -- $(printf '{octal}')\"")
            }
        }
    }

    /// The words as they are, if nothing in them needs care.
    fn plain(&self) -> Option<&str> {
        let text = std::str::from_utf8(&self.0).ok()?;
        let plain = |c: char| c == ' ' || (c.is_ascii_graphic() && !"{}\\`$!%^".contains(c));
        text.chars().all(plain).then_some(text)
    }
}

/// A command for `sh -c` that runs the program, with its streams framed.
pub fn framed(words: &[OsString], input: bool) -> String {
    let wrapper = WRAPPER.replace("@INPUT@", if input { "" } else { "</dev/null" });
    format!("{}\n{wrapper}", shell_words(words).set())
}

/// A command for `sh -c` that runs the program on the terminal as it is, and prints `mark`,
/// its exit status and `;` at the end.
pub fn marked(words: &[OsString], mark: &str) -> String {
    format!(
        "{}\ntrap '' INT QUIT\n( cd 2>/dev/null; trap - INT QUIT; exec \"$@\" )\nprintf '{mark}%d;' $?",
        shell_words(words).set()
    )
}

/// `sh -c` of a command, for agents in containers, which run programs without a shell. What it
/// runs stays in the container's working directory.
pub fn in_container(command: &str) -> String {
    let command = match command.rsplit_once(HOME) {
        Some((before, after)) => format!("{before}( {after}"),
        None => command.to_owned(),
    };
    format!("sh -c {}", shell_words(&[OsString::from(command)]).quoted())
}

impl ShellWords {
    /// The words in quotes; text if all were.
    pub fn quoted(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }
}

fn quote(word: &[u8], out: &mut Vec<u8>) {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-+=:,./@".contains(byte);
    if !word.is_empty() && word.iter().all(plain) {
        return out.extend_from_slice(word);
    }
    out.push(b'\'');
    for byte in word {
        match byte {
            b'\'' => out.extend_from_slice(b"'\\''"),
            byte => out.push(*byte),
        }
    }
    out.push(b'\'');
}

#[cfg(unix)]
fn bytes(word: &OsStr) -> &[u8] {
    use std::os::unix::ffi::OsStrExt as _;
    word.as_bytes()
}

#[cfg(not(unix))]
fn bytes(word: &OsStr) -> &[u8] {
    word.as_encoded_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(words: &[&str]) -> String {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        shell_words(&words).set()
    }

    #[test]
    fn plain_words_stay_readable() {
        assert_eq!(set(&["df", "-h", "/var log"]), "set -- df -h '/var log'");
        assert_eq!(set(&["a", ""]), "set -- a ''");
    }

    #[test]
    fn what_others_could_misunderstand_is_octal() {
        assert_eq!(
            set(&["a{{b", "\n"]),
            r#"eval "set -- $(printf 'a\173\173b \012')""#
                .replace("a\\173\\173b", "\\047a\\173\\173b\\047")
                .replace(" \\012", " \\047\\012\\047")
        );
        for odd in ["{{ssm:x}}", "'", "ä", "$HOME", "\u{1b}[2J", "%s", "\\"] {
            let command = framed(&[odd.into()], true);
            assert!(!command.contains("{{") && !command.contains("}}"), "{odd}");
            let is_text = |c: char| c == '\n' || c == ' ' || c.is_ascii_graphic();
            assert!(command.chars().all(is_text), "{odd}");
        }
    }

    #[test]
    fn containers_keep_their_working_directory() {
        let words = ["echo".into(), "( cd 2>/dev/null; x".into()];
        for command in [framed(&words, true), marked(&words, "m:")] {
            assert!(command.matches(HOME).count() == 2, "{command}");
            let made = shell_words::split(&in_container(&command)).expect("sound");
            assert_eq!(made[..2], ["sh", "-c"]);
            assert_eq!(made[2].matches(HOME).count(), 1, "{command}");
            assert_eq!(
                made[2],
                command.replacen("( cd 2>/dev/null; trap", "( trap", 1)
            );
        }
    }
}
