//! The texts that run on the node.

/// The server of commands; see there.
const SCRIPT: &str = include_str!("node.sh");

/// The command of the session: makes the terminal raw, tells, reads the script from its input and
/// runs it. A second shell, as agents in containers do not give the command to one.
pub fn command(mark: &str) -> String {
    let length = script().len();
    format!(
        "sh -c 'LC_ALL=C;export LC_ALL;N={mark};\
         stty raw -echo||{{ printf \"\\n@$N nostty\\n\";exit;}};\
         printf \"\\n@$N ready\\n\";eval \"$(dd bs=1 count={length} 2>/dev/null)\"'"
    )
}

/// The script as it is sent.
pub fn script() -> String {
    bare(SCRIPT)
}

/// A script without its comments and its indentation, for shells in which `#` begins a comment.
pub fn bare(script: &str) -> String {
    let mut text = String::new();
    for line in script.lines().map(str::trim_start) {
        if !line.is_empty() && !line.starts_with('#') {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

/// Assigns words to the variables a, b, c … whatever bytes they hold: a line of a script, to go
/// before one that uses them.
pub fn assign(words: &[&[u8]]) -> String {
    let mut line = String::new();
    for (name, word) in ('a'..='z').zip(words) {
        let plain = word.iter().all(|byte| matches!(byte, b' '..=b'~'));
        if plain {
            let word = String::from_utf8_lossy(word).replace('\'', "'\\''");
            line.push_str(&format!("{name}='{word}';"));
        } else {
            // The dot keeps line feeds at the end.
            line.push_str(&format!(
                "{name}=$(printf '{}.');{name}=${{{name}%.}};",
                format(word)
            ));
        }
    }
    line
}

/// Bytes as a format of printf.
pub fn format(word: &[u8]) -> String {
    let mut format = String::new();
    for &byte in word {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'/' | b'.' | b'_' => format.push(char::from(byte)),
            byte => format.push_str(&format!("\\{byte:03o}")),
        }
    }
    format
}

/// A word as `hex` of the script writes it.
pub fn unhex(word: &str) -> Option<Vec<u8>> {
    if let Some(plain) = word.strip_prefix('n') {
        return Some(plain.as_bytes().to_vec());
    }
    let digits = word.strip_prefix('x')?.as_bytes();
    let digit = |byte: u8| char::from(byte).to_digit(16);
    digits
        .chunks(2)
        .map(|pair| match *pair {
            [high, low] => u8::try_from(digit(high)? * 16 + digit(low)?).ok(),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_short_and_has_no_quotes_inside() {
        let command = command("0123456789abcdef");
        assert!(command.len() < 400, "{command}");
        assert_eq!(command.matches('\'').count(), 2);
        assert!(!command.contains("{{") && !command.contains('\n'));
    }

    #[test]
    fn the_script_is_small() {
        assert!(!script().contains("# "));
        assert!(script().len() < 8000 && script().is_ascii());
    }

    #[test]
    fn words_are_quoted() {
        assert_eq!(assign(&[b"a b", b"it's"]), r"a='a b';b='it'\''s';");
        assert_eq!(assign(&[b"\n%"]), r"a=$(printf '\012\045.');a=${a%.};");
    }

    #[test]
    fn names_come_plain_or_in_hex() {
        assert_eq!(unhex("nabc").as_deref(), Some(&b"abc"[..]));
        assert_eq!(unhex("x00ff0a").as_deref(), Some(&[0, 255, 10][..]));
        for bad in ["", "abc", "x0", "xzz", "x0g", "x+1"] {
            assert_eq!(unhex(bad), None, "{bad}");
        }
    }
}
