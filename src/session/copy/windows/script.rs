//! The texts that run on the node.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest as _, Sha256};

use super::super::script::bare;

/// The server of commands; see there.
const SCRIPT: &str = include_str!("node.ps1");

/// What whoever connects to the node's program has to know.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// A new one.
    pub fn new() -> Self {
        let half = || uuid::Uuid::new_v4().simple().to_string();
        Self(half() + &half())
    }

    /// As it is sent: 64 bytes.
    pub fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// What may be known of it.
    fn hash(&self) -> String {
        BASE64.encode(Sha256::digest(self.bytes()))
    }
}

/// The command of a session on Windows. Agents put it behind `powershell.exe`.
pub fn command(mark: &str, secret: &Secret) -> String {
    let script = format!(
        "$mark = '{mark}'\n$hash = '{}'\n{}",
        secret.hash(),
        bare(SCRIPT)
    );
    let utf16: Vec<u8> = script.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let script = BASE64.encode(utf16);
    format!("-NoProfile -NonInteractive -EncodedCommand {script}")
}

/// A command for `sh` that has PowerShell, if it is what reads it, say that it is there.
///
/// To `sh` the first word is an empty substitution and all behind `#` is a comment. To PowerShell
/// what stands between `<#` and `#>` is one, and the first word is `#`. No double quote is left
/// in what it runs: its command line would lose them.
pub fn either(sh: &str, mark: &str) -> String {
    format!("echo `# <#`>/dev/null;exec {sh} #>|Out-Null;Write-Host ('@'+'{mark} windows;')")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// Most of what Windows takes as a command line, in characters, with the agent's own part.
    const LONGEST: usize = 32_767 - 300;

    #[test]
    fn the_command_fits_and_hides_the_secret() {
        let secret = Secret::new();
        let command = command(&"f".repeat(32), &secret);
        assert!(command.len() < LONGEST, "{}", command.len());
        let plain = |c: char| c.is_ascii_alphanumeric() || " -+/=".contains(c);
        assert!(command.chars().all(plain));
        assert_eq!(secret.bytes().len(), 64);
        let text = command.rsplit(' ').next().expect("a script");
        let utf16: Vec<u16> = BASE64
            .decode(text)
            .expect("base64")
            .chunks(2)
            .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
            .collect();
        let text = String::from_utf16(&utf16).expect("text");
        assert!(text.starts_with("$mark = 'ffffffff"), "{text}");
        assert!(text.contains(&secret.hash()) && !text.contains(&secret.0));
        assert_ne!(secret.0, Secret::new().0);
    }

    #[test]
    fn the_script_is_whole() {
        let script = bare(SCRIPT);
        assert!(script.is_ascii() && !script.contains("# "));
        // What PowerShell 5.1 reserves cannot be called.
        for word in ["begin", "process", "end", "data", "filter", "from", "in"] {
            assert!(!script.contains(&format!("function {word}")), "{word}");
        }
        let mut open = Vec::new();
        let mut quote = None;
        for (number, line) in script.lines().enumerate() {
            for c in line.chars() {
                match (quote, c) {
                    (Some(other), c) if c == other => quote = None,
                    (Some(_), _) => {}
                    (None, '\'' | '"') => quote = Some(c),
                    (None, '(' | '{' | '[') => open.push(c),
                    (None, ')' | '}' | ']') => {
                        let expected = match c {
                            ')' => '(',
                            '}' => '{',
                            _ => '[',
                        };
                        assert_eq!(open.pop(), Some(expected), "{number}: {line}");
                    }
                    _ => {}
                }
            }
            assert_eq!(quote, None, "{number}: {line}");
        }
        assert!(open.is_empty());
        // The service has a meaning for two braces.
        assert!(!script.contains("{{") && !script.contains("}}"));
    }

    #[test]
    fn what_is_for_sh_is_for_sh_alone() {
        let command = either("sh -c 'printf \"%s\\n\" \"$1\" it' sh", "MARK");
        assert!(!command.contains("{{") && !command.contains('\n'));
        let (_, for_powershell) = command.split_once("#>").expect("a comment");
        assert!(!for_powershell.contains('"') && !for_powershell.contains("  "));
        // An error that cites the command announces nothing.
        assert!(!command.contains("@MARK"));
        for shell in ["sh", "dash", "bash", "busybox"] {
            let mut program = Command::new(shell);
            if shell == "busybox" {
                program.arg("sh");
            }
            let Ok(output) = program.arg("-c").arg(&command).output() else {
                continue;
            };
            let text = String::from_utf8_lossy(&output.stdout);
            assert_eq!((&*text, output.stderr.len()), ("\nit\n", 0), "{shell}");
        }
    }
}
