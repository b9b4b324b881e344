//! The program of `node.ps1`, verb by verb, in another language and on another file system.

use std::fs::{self, File, FileTimes, Metadata};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest as _, Sha256};

use super::standin::Standin;

pub(super) struct Program<'a> {
    computer: &'a Standin,
    stream: TcpStream,
    /// Open, its part, its place.
    now: Option<(File, PathBuf, PathBuf)>,
}

/// What an answer says, and bytes behind it.
type Answer = Result<(String, Vec<u8>), String>;

impl<'a> Program<'a> {
    pub(super) fn new(computer: &'a Standin, stream: TcpStream) -> Self {
        Self {
            computer,
            stream,
            now: None,
        }
    }

    /// Until the connection is gone.
    pub(super) fn serve(&mut self) -> io::Result<()> {
        self.answer("0 ok", &[])?;
        loop {
            let mut length = [0; 4];
            self.stream.read_exact(&mut length)?;
            let text = self.read(u32::from_le_bytes(length) as usize)?;
            let text = String::from_utf8(text).map_err(io::Error::other)?;
            let words: Vec<&str> = text.split(' ').collect();
            let (verb, id) = (words[0], words[1]);
            let obeyed = match verb {
                "append" => self.take(words[2].parse().map_err(io::Error::other)?)?,
                _ => self.obey(verb, &words[2..]),
            };
            match obeyed {
                Ok((said, data)) => self.answer(&format!("{id} {said}"), &data)?,
                Err(why) => {
                    if ["begin", "restart", "finish", "no"].contains(&verb) {
                        self.drop_part();
                    }
                    self.answer(&format!("{id} err {why}"), &[])?;
                }
            }
        }
    }

    fn read(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn answer(&mut self, text: &str, data: &[u8]) -> io::Result<()> {
        let length = u32::try_from(text.len()).unwrap();
        let all = [&length.to_le_bytes(), text.as_bytes(), data].concat();
        self.stream.write_all(&all)
    }

    fn obey(&mut self, verb: &str, words: &[&str]) -> Answer {
        let ok = |said: &str| Ok((said.to_owned(), Vec::new()));
        match verb {
            "look" => {
                let metadata = fs::metadata(self.place(words[0])?).map_err(why)?;
                ok(&format!("ok {}", status(&metadata)))
            }
            "begin" => self.begin(words[0], words[1]),
            "restart" | "finish" if self.now.is_none() => ok("skip"),
            "restart" => {
                let (file, ..) = self.now.as_mut().unwrap();
                file.set_len(0).map_err(why)?;
                ok("ok")
            }
            "finish" => self.finish(words),
            "abandon" => {
                self.drop_part();
                ok("ok")
            }
            "make" => {
                let path = self.place(words[0])?;
                if path.is_file() {
                    return Err("File exists".to_owned());
                }
                if !path.is_dir() {
                    fs::create_dir(path).map_err(why)?;
                }
                ok("ok")
            }
            "give" => {
                give(&self.place(words[0])?, words[1], words[2]).map_err(why)?;
                ok("ok")
            }
            "read" => {
                let mut file = File::open(self.place(words[0])?).map_err(why)?;
                let [at, most] = [1, 2].map(|n: usize| words[n].parse::<u64>().unwrap());
                file.seek(SeekFrom::Start(at)).map_err(why)?;
                let mut data = Vec::new();
                file.take(most).read_to_end(&mut data).map_err(why)?;
                Ok((format!("data {}", data.len()), data))
            }
            "sum" => {
                let file = File::open(self.place(words[0])?).map_err(why)?;
                let most = words[1].parse().unwrap_or(u64::MAX);
                ok(&format!("ok {}", digest(file, most).map_err(why)?))
            }
            "list" => {
                let mut lines = String::new();
                for entry in fs::read_dir(self.place(words[0])?).map_err(why)? {
                    let entry = entry.map_err(why)?;
                    let metadata = fs::symlink_metadata(entry.path()).map_err(why)?;
                    let known = status(&metadata);
                    let name = entry.file_name();
                    let name: String = name
                        .as_encoded_bytes()
                        .iter()
                        .map(|byte| format!("{byte:02X}"))
                        .collect();
                    lines.push_str(&format!("{known} x{name}\n"));
                }
                Ok((format!("data {}", lines.len()), lines.into_bytes()))
            }
            "no" => Err(text(words[0])?),
            _ => Err("Unknown command".to_owned()),
        }
    }

    fn begin(&mut self, path: &str, size: &str) -> Answer {
        self.now = None;
        let path = self.place(path)?;
        let there = fs::metadata(&path).ok();
        if there.as_ref().is_some_and(Metadata::is_dir) {
            return Err("Is a directory".to_owned());
        }
        if there.is_some_and(|metadata| metadata.permissions().readonly()) {
            return Err("Permission denied".to_owned());
        }
        let part = path.with_file_name(format!(
            "{}.ssmx-part",
            path.file_name().unwrap().to_str().unwrap()
        ));
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(&part).map_err(why)?;
        let (mut length, mut sum, mut whole) = (0, "-".to_owned(), "-".to_owned());
        if size == "-" {
            file.set_len(0).map_err(why)?;
        } else {
            length = file.metadata().map_err(why)?.len();
            if length > 0 {
                sum = digest(File::open(&part).map_err(why)?, length).map_err(why)?;
            }
            if let Ok(old) = File::open(&path)
                && old.metadata().map_err(why)?.len() == size.parse::<u64>().unwrap()
            {
                whole = digest(old, u64::MAX).map_err(why)?;
            }
        }
        file.seek(SeekFrom::End(0)).map_err(why)?;
        self.now = Some((file, part, path));
        Ok((format!("ok {length} {sum} {whole}"), Vec::new()))
    }

    fn take(&mut self, length: usize) -> io::Result<Answer> {
        let ok = |said: &str| Ok((said.to_owned(), Vec::new()));
        let mut said = ok(if self.now.is_some() { "ok" } else { "skip" });
        let mut left = length;
        while left > 0 {
            // No more than a program gets at once: what came before the end is written.
            let mut body = vec![0; left.min(10_000)];
            let got = self.stream.read(&mut body)?;
            if got == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some((file, ..)) = &mut self.now {
                let at = file.stream_position()?;
                if at + got as u64 > self.computer.room {
                    said = Err("No space left on device".to_owned());
                    self.drop_part();
                } else {
                    file.write_all(&body[..got])?;
                }
            }
            left -= got;
        }
        Ok(said)
    }

    fn finish(&mut self, words: &[&str]) -> Answer {
        let (_, part, place) = self.now.as_ref().unwrap();
        let (part, place) = (part.clone(), place.clone());
        let sum = digest(File::open(&part).map_err(why)?, u64::MAX).map_err(why)?;
        if sum != words[0] {
            self.drop_part();
            return Ok(("sum".to_owned(), Vec::new()));
        }
        fs::rename(part, &place).map_err(why)?;
        self.now = None;
        if words[1] == "1" {
            give(&place, words[2], words[3]).map_err(why)?;
        }
        Ok(("ok".to_owned(), Vec::new()))
    }

    fn drop_part(&mut self) {
        if let Some((_, part, _)) = self.now.take() {
            fs::remove_file(part).unwrap();
        }
    }

    /// What is there of a file stays.
    pub(super) fn shut(&mut self) {
        self.now = None;
    }

    fn place(&self, word: &str) -> Result<PathBuf, String> {
        let path = text(word)?;
        assert!(!path.contains('\\'), "{path}");
        let (drive, rest) = match path.split_once(':') {
            Some((drive, rest)) => (drive, rest),
            None if path.starts_with('/') => ("C", &*path),
            None => return Ok(self.computer.home().join(path)),
        };
        match drive {
            "C" | "c" => Ok(self.computer.drive.join(rest.trim_start_matches('/'))),
            _ => Err("No such file or directory".to_owned()),
        }
    }
}

fn text(word: &str) -> Result<String, String> {
    let bytes = BASE64.decode(word).map_err(|error| error.to_string())?;
    String::from_utf8(bytes).map_err(|error| error.to_string())
}

fn status(metadata: &Metadata) -> String {
    let time = metadata.mtime();
    if metadata.is_symlink() {
        return format!("0 0 {time}");
    }
    match (metadata.is_dir(), metadata.permissions().readonly()) {
        (true, _) => format!("41ed 0 {time}"),
        (false, true) => format!("8124 {} {time}", metadata.len()),
        (false, false) => format!("81a4 {} {time}", metadata.len()),
    }
}

fn digest(file: File, most: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    let digest = Sha256::digest(bytes);
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn give(path: &std::path::Path, read_only: &str, time: &str) -> io::Result<()> {
    if let Ok(time) = time.parse() {
        let time = UNIX_EPOCH + Duration::from_secs(time);
        File::open(path)?.set_times(FileTimes::new().set_modified(time))?;
    }
    if path.is_file() {
        let mode = if read_only == "1" { 0o444 } else { 0o644 };
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}

fn why(error: io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => "No such file or directory",
        io::ErrorKind::PermissionDenied => "Permission denied",
        io::ErrorKind::StorageFull => "No space left on device",
        _ => return error.to_string(),
    }
    .to_owned()
}
