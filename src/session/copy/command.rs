//! The commands of the node's script, and how they are written for a POSIX shell: a line each.

use super::kept::Kept;
use super::script::{self, assign};
use super::{Encoding, RemotePath, UNIT};

/// What the node is told to do.
#[derive(Debug, Clone, Copy)]
pub enum Command<'a> {
    /// Say what becomes of all bytes on their way, and which programs there are. The bytes follow.
    Try(&'a [u8]),
    /// Tell what is there, links followed.
    Look(&'a RemotePath),
    /// Begin to write a file. With a size it may go on with what is there of it.
    Begin(&'a RemotePath, Option<u64>),
    /// Append what follows, so many bytes on the wire.
    Append(usize, Encoding),
    /// Begin the file again: what is there of it is of no use.
    Restart,
    /// Forget the file: nothing more is to come.
    Abandon,
    /// The file is whole if it has this checksum.
    Finish {
        /// As the node's program writes it.
        sum: &'a str,
        /// Its mode and time.
        kept: Kept,
        /// Whether it gets just these.
        preserve: bool,
    },
    /// Make a directory, or have one.
    MakeDirectory(&'a RemotePath),
    /// Give it mode and time.
    Give(&'a RemotePath, Kept),
    /// Make a symbolic link.
    MakeLink {
        /// Where it leads.
        text: &'a [u8],
        /// Where it is.
        path: &'a RemotePath,
    },
    /// Send some of a file.
    Read {
        /// Which.
        path: &'a RemotePath,
        /// How many units to skip.
        skip: u64,
        /// How many to send.
        count: usize,
        /// How many bytes to send at most, if that is no whole number of units.
        length: Option<usize>,
        /// How to send them.
        encoding: Encoding,
        /// What EF is swapped with, if they are raw.
        swap: Option<u8>,
    },
    /// Tell the checksum of so many bytes of a file, or of all.
    Sum(&'a RemotePath, Option<u64>),
    /// Tell what is in a directory.
    List(&'a RemotePath),
    /// End. There is no answer.
    Bye,
}

impl Command<'_> {
    /// More than any sound answer has, in bytes.
    pub fn most(&self) -> usize {
        match self {
            // As lines of base64 it is larger.
            Self::Read { count, .. } => count * UNIT * 3 / 2 + 1024,
            Self::List(_) => 64 << 20,
            _ => 64 << 10,
        }
    }

    /// The line for a POSIX shell. The answer bears `id`.
    pub fn line(&self, id: u64) -> String {
        match *self {
            Self::Try(bytes) => format!("pr {id} {} '{}'\n", bytes.len(), script::format(bytes)),
            Self::Look(path) => about(path, format_args!("st {id} \"$a\"")),
            Self::Begin(path, Some(size)) => about(path, format_args!("wb {id} \"$a\" {size}")),
            Self::Begin(path, None) => about(path, format_args!("wb {id} \"$a\" ''")),
            Self::Append(length, Encoding::Raw) => format!("wa {id} {length} cat\n"),
            Self::Append(length, Encoding::Base64) => format!("wa {id} {length} de\n"),
            Self::Restart => format!("wt {id}\n"),
            Self::Abandon => format!("wx {id}\n"),
            Self::Finish {
                sum,
                kept,
                preserve,
            } => {
                let stamp = kept.stamp().filter(|_| preserve);
                // Set-ID bits are for those who ask to keep them.
                let mode = kept.mode & if stamp.is_some() { 0o7777 } else { 0o777 };
                let preserve = u8::from(stamp.is_some());
                let stamp = stamp.unwrap_or_default();
                format!("wf {id} {sum} {mode:o} {preserve} {stamp}\n")
            }
            Self::MakeDirectory(path) => about(path, format_args!("md {id} \"$a\"")),
            Self::Give(path, kept) => {
                let (mode, stamp) = (kept.mode, kept.stamp().unwrap_or_default());
                about(path, format_args!("at {id} \"$a\" {mode:o} {stamp}"))
            }
            Self::MakeLink { text, path } => {
                let words = assign(&[text, path.bytes()]);
                format!("{words}li {id} \"$a\" \"$b\"\n")
            }
            Self::Read {
                path,
                skip,
                count,
                length,
                encoding,
                swap,
            } => {
                let encoding = match (encoding, swap) {
                    (Encoding::Base64, _) => "base64".to_owned(),
                    (Encoding::Raw, None) => "raw".to_owned(),
                    (Encoding::Raw, Some(byte)) => format!("{byte:03o}"),
                };
                let length = length.map_or_else(String::new, |length| format!(" {length}"));
                about(
                    path,
                    format_args!("gd {id} \"$a\" {skip} {count} {encoding}{length}"),
                )
            }
            Self::Sum(path, Some(length)) => about(path, format_args!("gs {id} \"$a\" {length}")),
            Self::Sum(path, None) => about(path, format_args!("gs {id} \"$a\" ''")),
            Self::List(path) => about(path, format_args!("gl {id} \"$a\"")),
            Self::Bye => "bye\n".to_owned(),
        }
    }
}

/// A line of which `path` is the word a.
fn about(path: &RemotePath, command: std::fmt::Arguments<'_>) -> String {
    format!("{}{command}\n", assign(&[path.bytes()]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_one_line_with_its_number() {
        let path = &RemotePath::new(b"it's\n");
        let kept = Kept {
            mode: 0o4755,
            time: Some(0),
        };
        let read = |encoding, swap| Command::Read {
            path,
            skip: 4,
            count: 2,
            length: (encoding == Encoding::Base64).then_some(70_000),
            encoding,
            swap,
        };
        let finish = |preserve| Command::Finish {
            sum: "0af",
            kept,
            preserve,
        };
        let a = r"a=$(printf 'it\047s\012.');a=${a%.};";
        let cases = [
            (Command::Try(b"a\0"), r"pr 7 2 'a\000'".to_owned()),
            (Command::Look(path), format!("{a}st 7 \"$a\"")),
            (Command::Begin(path, None), format!("{a}wb 7 \"$a\" ''")),
            (Command::Begin(path, Some(9)), format!("{a}wb 7 \"$a\" 9")),
            (Command::Append(5, Encoding::Raw), "wa 7 5 cat".to_owned()),
            (Command::Append(5, Encoding::Base64), "wa 7 5 de".to_owned()),
            (Command::Restart, "wt 7".to_owned()),
            (Command::Abandon, "wx 7".to_owned()),
            (finish(false), "wf 7 0af 755 0 ".to_owned()),
            (finish(true), "wf 7 0af 4755 1 197001010000.00".to_owned()),
            (Command::MakeDirectory(path), format!("{a}md 7 \"$a\"")),
            (
                Command::Give(path, kept),
                format!("{a}at 7 \"$a\" 4755 197001010000.00"),
            ),
            (
                Command::MakeLink { text: b"to", path },
                format!(
                    "a='to';{}li 7 \"$a\" \"$b\"",
                    a.replace("a=", "b=").replace("{a%", "{b%")
                ),
            ),
            (read(Encoding::Raw, None), format!("{a}gd 7 \"$a\" 4 2 raw")),
            (
                read(Encoding::Raw, Some(1)),
                format!("{a}gd 7 \"$a\" 4 2 001"),
            ),
            (
                read(Encoding::Base64, Some(1)),
                format!("{a}gd 7 \"$a\" 4 2 base64 70000"),
            ),
            (Command::Sum(path, None), format!("{a}gs 7 \"$a\" ''")),
            (Command::Sum(path, Some(1)), format!("{a}gs 7 \"$a\" 1")),
            (Command::List(path), format!("{a}gl 7 \"$a\"")),
            (Command::Bye, "bye".to_owned()),
        ];
        for (command, expected) in cases {
            assert_eq!(command.line(7), format!("{expected}\n"), "{command:?}");
        }
    }
}
