//! A program and its arguments for PowerShell 5.1, which passes them on badly by itself: it takes
//! double quotes out of arguments, and drops empty ones.
//!
//! So programs are started by .NET with a command line that is made here, by the rules that
//! programs of Windows take theirs apart by. What is no program of that kind (cmdlets, functions,
//! scripts, batch files) is called with the words as they are.

use std::ffi::OsString;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// A command for the agent's PowerShell that runs the program on the console as it is, and prints
/// `mark`, its exit status and `;` at the end.
pub fn marked(words: &[OsString], mark: &str) -> String {
    // A line of its own: what the console breaks in two is no mark any more.
    let script = format!(
        "{}\ntry {{ if ([Console]::CursorLeft -gt 0) {{ [Console]::Out.WriteLine() }} }} catch {{ }}\n\
         [Console]::Out.Write('{mark}' + $code + ';')",
        call(words)
    );
    let utf16: Vec<u8> = script.encode_utf16().flat_map(u16::to_le_bytes).collect();
    format!(
        "powershell -NoProfile -NonInteractive -EncodedCommand {}",
        BASE64.encode(utf16)
    )
}

/// A call of a program in PowerShell; `$code` is its exit status.
pub fn call(words: &[OsString]) -> String {
    let words: Vec<String> = words
        .iter()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let (name, arguments) = match words.split_first() {
        Some((name, arguments)) => (quoted(name), arguments),
        None => (quoted(""), &[][..]),
    };
    let line: Vec<String> = arguments.iter().map(|word| argument(word)).collect();
    let line = quoted(&line.join(" "));
    let plain: String = arguments
        .iter()
        .map(|word| format!(" {}", quoted(word)))
        .collect();
    format!(
        "$found = Get-Command -Name {name} -ErrorAction SilentlyContinue | Select-Object -First 1\n\
         if (($found.CommandType -eq 'Application') -and ($found.Path -match '\\.(exe|com)$')) {{\n\
         $start = New-Object Diagnostics.ProcessStartInfo\n\
         $start.FileName = $found.Path\n\
         $start.Arguments = {line}\n\
         $start.WorkingDirectory = (Get-Location -PSProvider FileSystem).ProviderPath\n\
         $start.UseShellExecute = $false\n\
         $program = [Diagnostics.Process]::Start($start)\n\
         $program.WaitForExit()\n\
         $code = $program.ExitCode\n\
         }} else {{\n\
         & {name}{plain}\n\
         $ok = $?\n\
         $code = $LASTEXITCODE\n\
         if ($null -eq $code) {{ $code = if ($ok) {{ 0 }} else {{ 1 }} }}\n\
         }}"
    )
}

/// A word as a text of PowerShell.
fn quoted(word: &str) -> String {
    let mut text = String::from("'");
    for c in word.chars() {
        text.push(c);
        // Typographic quotes end a text there, too.
        if matches!(c, '\'' | '\u{2018}' | '\u{2019}' | '\u{201a}' | '\u{201b}') {
            text.push(c);
        }
    }
    text.push('\'');
    // The service has a meaning for two braces.
    match text.contains("{{") {
        true => {
            let apart = text.replace("{{", "{'+'{").replace("{{", "{'+'{");
            format!("({apart})")
        }
        false => text,
    }
}

/// A word as an argument of a command line of Windows.
fn argument(word: &str) -> String {
    let plain = |c: char| !c.is_whitespace() && c != '"';
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    let mut text = String::from("\"");
    let mut backslashes = 0;
    for c in word.chars() {
        match c {
            '\\' => backslashes += 1,
            '"' => {
                // Those before a quote count double, and the quote takes one.
                text.extend(std::iter::repeat_n('\\', backslashes + 1));
                backslashes = 0;
            }
            _ => backslashes = 0,
        }
        text.push(c);
    }
    text.extend(std::iter::repeat_n('\\', backslashes));
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes a command line apart as programs of Windows do.
    fn apart(line: &str) -> Vec<String> {
        let mut words = Vec::new();
        let mut word: Option<String> = None;
        let (mut inside, mut backslashes) = (false, 0);
        for c in line.chars() {
            if c == '\\' {
                backslashes += 1;
                continue;
            }
            let mut literal = c != '"';
            if backslashes > 0 {
                let (kept, odd) = match c {
                    '"' => (backslashes / 2, backslashes % 2 == 1),
                    _ => (backslashes, false),
                };
                literal |= odd;
                let word = word.get_or_insert_default();
                word.extend(std::iter::repeat_n('\\', kept));
                backslashes = 0;
            }
            match (literal, c) {
                (false, _) => {
                    inside = !inside;
                    word.get_or_insert_default();
                }
                (true, ' ' | '\t') if !inside => words.extend(word.take()),
                (true, c) => word.get_or_insert_default().push(c),
            }
        }
        if backslashes > 0 {
            let word = word.get_or_insert_default();
            word.extend(std::iter::repeat_n('\\', backslashes));
        }
        words.extend(word);
        words
    }

    #[test]
    fn programs_get_each_argument_as_it_is() {
        let words = [
            "a",
            "",
            "a b",
            "\"",
            "a\"b",
            r"C:\",
            r"C:\a b\",
            r#"\""#,
            r#"a\\"b c\"#,
            "\\\\",
            "\t",
            "it's",
            "*.txt",
            "ü\u{2019}",
            r#"{"k": "v w"}"#,
        ];
        let line: Vec<String> = words.iter().map(|word| argument(word)).collect();
        assert_eq!(apart(&line.join(" ")), words, "{line:?}");
        assert_eq!(argument(r"C:\x"), r"C:\x");
        assert_eq!(argument(r"C:\a b\"), r#""C:\a b\\""#);
    }

    #[test]
    fn powershell_reads_no_word_as_anything_else() {
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's"), "'it''s'");
        assert_eq!(quoted("\u{2019}$x"), "'\u{2019}\u{2019}$x'");
        assert_eq!(quoted("{{{a"), "('{'+'{'+'{a')");
        let words = ["a b".into(), "it's".into(), "{{".into()];
        let text = call(&words);
        assert!(text.contains("& 'a b' 'it''s' ('{'+'{')\n"), "{text}");
        assert!(text.contains("Arguments = ('it''s {'+'{')\n"), "{text}");
        assert!(!text.contains("{{") && !text.contains("}}"), "{text}");
        assert!(marked(&words, "mark").is_ascii());
    }
}
