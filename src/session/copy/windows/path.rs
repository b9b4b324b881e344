//! Paths of Windows.

use super::super::RemotePath;

/// What stands for a device, whatever ending it has.
const DEVICES: [&str; 6] = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"];

/// Whether a path says that it is one of Windows: it begins with a drive, `C:\…`, `C:/…`, `/C:/…`.
pub fn begins_with_drive(path: &RemotePath) -> bool {
    let path = path.bytes();
    let path = path.strip_prefix(b"/").unwrap_or(path);
    matches!(*path, [letter, b':', b'/' | b'\\', ..] if letter.is_ascii_alphabetic())
}

/// The path with slashes between its parts, and none before a drive.
pub fn normal(path: &RemotePath) -> RemotePath {
    let mut bytes = path.bytes().to_vec();
    for byte in &mut bytes {
        if *byte == b'\\' {
            *byte = b'/';
        }
    }
    let drive = |bytes: &[u8]| matches!(*bytes, [letter, b':'] | [letter, b':', b'/', ..] if letter.is_ascii_alphabetic());
    if let Some(rest) = bytes.strip_prefix(b"/").filter(|rest| drive(rest)) {
        bytes = rest.to_vec();
    }
    if drive(&bytes) && bytes.len() == 2 {
        bytes.push(b'/');
    }
    // What begins with ~\ begins with ~/ now.
    RemotePath::new(&bytes)
}

/// Why a normal path can be none of Windows.
pub fn fault(path: &[u8]) -> Option<&'static str> {
    let Ok(path) = std::str::from_utf8(path) else {
        return Some("Windows has no such name: it is not UTF-8");
    };
    let path = match path.as_bytes() {
        [letter, b':', ..] if letter.is_ascii_alphabetic() => match path.get(2..) {
            Some(rest) if rest.starts_with('/') => rest,
            _ => return Some("A drive is followed by a slash: C:/NAME"),
        },
        _ => path,
    };
    path.split('/').find_map(|name| match name {
        "" | "." | ".." => None,
        name if name.contains(|c: char| c.is_control() || r#"<>:"|?*\"#.contains(c)) => {
            Some(r#"Windows allows none of < > : " | ? * \ in a name"#)
        }
        name if name.ends_with(['.', ' ']) => {
            Some("Windows allows no full stop or space at the end of a name")
        }
        name if is_device(name) => Some("Windows keeps this name for a device"),
        _ => None,
    })
}

/// Whether Windows takes a name for a device, in whichever directory.
pub fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end();
    let stem = stem.to_uppercase();
    let numbered = || {
        let number = stem.strip_prefix("COM").or(stem.strip_prefix("LPT"))?;
        let digits = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "¹", "²", "³"];
        Some(digits.contains(&number))
    };
    DEVICES.contains(&stem.as_str()) || numbered().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_written_with_slashes() {
        let cases = [
            (r"C:\Users\a b", "C:/Users/a b", true),
            ("/C:/x", "C:/x", true),
            (r"\\server\share\x", "//server/share/x", false),
            ("C:", "C:/", false),
            ("/d:", "d:/", false),
            (r"~\x", "x", false),
            (r"dir\-x", "dir/-x", false),
            ("/x/C:/y", "/x/C:/y", false),
            ("", ".", false),
            ("é:/x", "é:/x", false),
            ("C:x", "C:x", false),
        ];
        for (given, expected, drive) in cases {
            let path = RemotePath::new(given.as_bytes());
            assert_eq!(normal(&path).to_string(), expected, "{given}");
            assert_eq!(begins_with_drive(&path), drive, "{given}");
        }
    }

    #[test]
    fn what_windows_has_no_name_for_is_told() {
        for good in [
            "C:/Users/a b.txt",
            "//server/share",
            "./-r",
            "../x",
            "conx",
            "com0",
            "lpt10",
            "a.con",
            "näme",
            "C:/",
            ".ssh/..x",
        ] {
            assert_eq!(fault(good.as_bytes()), None, "{good}");
        }
        let cases: [(&[u8], &str); 12] = [
            (b"ab:c", "allows none"),
            (b"x/a?", "allows none"),
            (b"a\nb", "allows none"),
            (b"C:/a\\b", "allows none"),
            (b"C:x", "followed by a slash"),
            (b"a.", "full stop"),
            (b"a /b", "full stop"),
            (b"C:/con", "device"),
            (b"nul.txt", "device"),
            (b"Aux .x", "device"),
            ("com².a".as_bytes(), "device"),
            (b"\xff", "UTF-8"),
        ];
        for (bad, part) in cases {
            let why = fault(bad).unwrap_or_default();
            assert!(why.contains(part), "{bad:?}: {why}");
        }
    }
}
