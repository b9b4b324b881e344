//! The commands of the node's program, as they are written for it: their length as four bytes, the
//! lowest first, then words with a space between. Bytes of a file follow the command.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;

use super::super::command::Command;
use super::super::kept::Kept;
use super::super::{RemotePath, UNIT};
use super::path::fault;

/// The command with its length. The answer bears `id`.
pub fn frame(command: Command<'_>, id: u64) -> Bytes {
    let text = text(command, id);
    // Paths have no more than some thousand bytes.
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    [&length.to_le_bytes()[..], text.as_bytes()].concat().into()
}

fn text(command: Command<'_>, id: u64) -> String {
    let unit = UNIT as u64;
    match command {
        // Nothing is tried, and it ends with the connection.
        Command::Try(_) | Command::Bye => no(id, "There is no such command"),
        Command::Look(path) => about("look", id, path, format_args!("")),
        Command::Begin(path, Some(size)) => about("begin", id, path, format_args!(" {size}")),
        Command::Begin(path, None) => about("begin", id, path, format_args!(" -")),
        Command::Append(length, _) => format!("append {id} {length}"),
        Command::Restart => format!("restart {id}"),
        Command::Abandon => format!("abandon {id}"),
        Command::Finish {
            sum,
            kept,
            preserve,
        } => {
            let (preserve, kept) = (u8::from(preserve), words(kept));
            format!("finish {id} {sum} {preserve} {kept}")
        }
        Command::MakeDirectory(path) => about("make", id, path, format_args!("")),
        Command::Give(path, kept) => about("give", id, path, format_args!(" {}", words(kept))),
        Command::MakeLink { .. } => no(id, "Symbolic links are not made on Windows"),
        Command::Read {
            path,
            skip,
            count,
            length,
            ..
        } => {
            let at = skip.saturating_mul(unit);
            let most = length.unwrap_or(count.saturating_mul(UNIT));
            about("read", id, path, format_args!(" {at} {most}"))
        }
        Command::Sum(path, Some(length)) => about("sum", id, path, format_args!(" {length}")),
        Command::Sum(path, None) => about("sum", id, path, format_args!(" -")),
        Command::List(path) => about("list", id, path, format_args!("")),
    }
}

/// A command about a path; if Windows can have none such, one that fails in its place.
fn about(verb: &str, id: u64, path: &RemotePath, rest: std::fmt::Arguments<'_>) -> String {
    match fault(path.bytes()) {
        Some(why) => no(id, why),
        None => format!("{verb} {id} {}{rest}", BASE64.encode(path.bytes())),
    }
}

/// A command that fails: so the answer comes in its turn.
fn no(id: u64, why: &str) -> String {
    format!("no {id} {}", BASE64.encode(why))
}

/// Whether it is read-only, and its time.
fn words(kept: Kept) -> String {
    let read_only = u8::from(kept.mode & 0o222 == 0);
    let time = kept.time.map_or("-".to_owned(), |time| time.to_string());
    format!("{read_only} {time}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::copy::Encoding;

    #[test]
    fn each_is_words_behind_their_length() {
        let path = &RemotePath::new("C:/é b".as_bytes());
        let kept = |mode, time| Kept { mode, time };
        let read = Command::Read {
            path,
            skip: 3,
            count: 4,
            length: Some(196_609),
            encoding: Encoding::Raw,
            swap: None,
        };
        let finish = Command::Finish {
            sum: "0af",
            kept: kept(0o644, Some(-5)),
            preserve: true,
        };
        let at = "QzovyakgYg==".replace("yak", "w6k");
        let bad = &RemotePath::new(b"a:b/c");
        let cases = [
            (Command::Look(path), format!("look 7 {at}")),
            (Command::Begin(path, Some(9)), format!("begin 7 {at} 9")),
            (Command::Begin(path, None), format!("begin 7 {at} -")),
            (Command::Append(5, Encoding::Raw), "append 7 5".to_owned()),
            (Command::Restart, "restart 7".to_owned()),
            (Command::Abandon, "abandon 7".to_owned()),
            (finish, "finish 7 0af 1 0 -5".to_owned()),
            (Command::MakeDirectory(path), format!("make 7 {at}")),
            (
                Command::Give(path, kept(0o444, None)),
                format!("give 7 {at} 1 -"),
            ),
            (read, format!("read 7 {at} 196608 196609")),
            (Command::Sum(path, Some(8)), format!("sum 7 {at} 8")),
            (Command::Sum(path, None), format!("sum 7 {at} -")),
            (Command::List(path), format!("list 7 {at}")),
        ];
        for (command, expected) in cases {
            let frame = frame(command, 7);
            let (length, text) = frame.split_at(4);
            assert_eq!(text, expected.as_bytes(), "{command:?}");
            assert_eq!(length, (expected.len() as u32).to_le_bytes());
        }
        for command in [
            Command::Begin(bad, None),
            Command::MakeLink {
                text: b"x",
                path: bad,
            },
        ] {
            assert!(text(command, 7).starts_with("no 7 "), "{command:?}");
        }
    }
}
