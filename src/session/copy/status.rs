//! What a node tells of its files.

use super::kept::Kept;
use super::script::unhex;

/// What kind of file there is on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Regular.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A device, a pipe or the like.
    Other,
}

/// What a node tells of a file.
#[derive(Debug, Clone, Copy)]
pub struct Status {
    /// What it is.
    pub kind: Kind,
    /// In bytes.
    pub size: u64,
    /// Its mode and time.
    pub kept: Kept,
}

impl Status {
    /// Reads `MODE SIZE TIME`, with the mode in hex, or as `ls` writes it.
    pub fn read(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let mode = words.next()?;
        let size = words.next()?.parse().ok()?;
        let time = words.next()?.parse().ok();
        let (kind, mode) = match u32::from_str_radix(mode, 16) {
            Ok(mode) => {
                let kind = match mode & 0o170_000 {
                    0o100_000 => Kind::File,
                    0o040_000 => Kind::Directory,
                    0o120_000 => Kind::Symlink,
                    _ => Kind::Other,
                };
                (kind, mode & 0o7777)
            }
            Err(_) => {
                let kind = match *mode.as_bytes().first()? {
                    b'-' => Kind::File,
                    b'd' => Kind::Directory,
                    b'l' => Kind::Symlink,
                    _ => Kind::Other,
                };
                let bits = mode.as_bytes().get(1..10)?;
                let mode = bits.iter().fold(0, |mode, &bit| {
                    mode << 1 | u32::from(!matches!(bit, b'-' | b'S' | b'T'))
                });
                (kind, mode)
            }
        };
        let kept = Kept { mode, time };
        Some(Self { kind, size, kept })
    }
}

/// What is in a directory.
#[derive(Debug)]
pub struct Entry {
    /// What it is.
    pub status: Status,
    /// Its name: whatever the node says.
    pub name: Vec<u8>,
    /// Where it leads, if it is a symbolic link.
    pub link: Vec<u8>,
}

impl Entry {
    /// Reads `MODE SIZE TIME NAME LINK`.
    pub fn read(line: &str) -> Option<Self> {
        let status = Status::read(line)?;
        let mut words = line.split(' ').skip(3);
        let name = unhex(words.next()?)?;
        let link = match words.next() {
            None | Some("") => Vec::new(),
            Some(link) => unhex(link)?,
        };
        Some(Self { status, name, link })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_hex_or_as_ls_writes_them() {
        let cases = [
            ("81a4 5 9", Kind::File, 5, 0o644, Some(9)),
            ("41ed 4096 -1", Kind::Directory, 4096, 0o755, Some(-1)),
            ("a1ff 3 0", Kind::Symlink, 3, 0o777, Some(0)),
            ("2190 0 0", Kind::Other, 0, 0o620, Some(0)),
            ("-rwsr-x--T 7 -", Kind::File, 7, 0o750, None),
            ("drwxr-xr-x. 1 -", Kind::Directory, 1, 0o755, None),
            ("lrwxrwxrwx 1 -", Kind::Symlink, 1, 0o777, None),
            ("prw------- 0 -", Kind::Other, 0, 0o600, None),
        ];
        for (text, kind, size, mode, time) in cases {
            let status = Status::read(text).expect(text);
            let kept = status.kept;
            assert_eq!(
                (status.kind, status.size, kept.mode, kept.time),
                (kind, size, mode, time),
                "{text}"
            );
        }
        for bad in [
            "",
            "81a4",
            "81a4 x 0",
            "81a4 -1 0",
            "- 1 0",
            "drwx 1 0",
            " 1 1",
        ] {
            assert!(Status::read(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn entries_have_names_and_links() {
        let entry = Entry::read("a1ff 3 0 x0a nto").expect("an entry");
        assert_eq!((&*entry.name, &*entry.link), (&b"\n"[..], &b"to"[..]));
        let entry = Entry::read("81a4 3 0 na ").expect("an entry");
        assert_eq!((&*entry.name, &*entry.link), (&b"a"[..], &b""[..]));
        for bad in ["", "81a4 3 0", "81a4 3 0 a", "81a4 3 0 na x0", "ls: cannot"] {
            assert!(Entry::read(bad).is_none(), "{bad}");
        }
    }
}
