//! Files of this machine.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::BLOCK;
use super::kept::Kept;
use super::sum::{Kind, Sum};

/// The bytes of a name.
#[cfg(unix)]
pub fn bytes_of(name: &OsStr) -> Vec<u8> {
    std::os::unix::ffi::OsStrExt::as_bytes(name).to_vec()
}

/// The bytes of a name.
#[cfg(not(unix))]
pub fn bytes_of(name: &OsStr) -> Vec<u8> {
    name.to_string_lossy().into_owned().into_bytes()
}

/// A name of these bytes, if this machine can have it and it is one: a node might say anything.
#[cfg(unix)]
pub fn name_of(bytes: &[u8]) -> Option<PathBuf> {
    let bad = bytes.is_empty() || matches!(bytes, b"." | b"..") || bytes.contains(&b'/');
    let name: &OsStr = std::os::unix::ffi::OsStrExt::from_bytes(bytes);
    (!bad && !bytes.contains(&0)).then(|| name.into())
}

/// A name of these bytes, if this machine can have it and it is one: a node might say anything.
#[cfg(not(unix))]
pub fn name_of(bytes: &[u8]) -> Option<PathBuf> {
    let name = std::str::from_utf8(bytes).ok()?;
    let bad = name.is_empty()
        || name.ends_with(['.', ' '])
        || name.contains(|c: char| c.is_control() || r#"/\:*?"<>|"#.contains(c));
    (!bad).then(|| name.into())
}

/// Gives a directory or file mode and time, where the system has such.
pub fn give(kept: Kept, path: &Path) -> io::Result<()> {
    // It need not be readable afterwards.
    if let Some(time) = kept.system_time() {
        let times = fs::FileTimes::new().set_modified(time).set_accessed(time);
        File::open(path)?.set_times(times)?;
    }
    set_mode(path, kept.mode)
}

#[cfg(unix)]
fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
    fs::set_permissions(path, permissions)
}

#[cfg(not(unix))]
fn set_mode(_: &Path, _: u32) -> io::Result<()> {
    Ok(())
}

/// Reads until the buffer is full or the input at its end.
pub fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// The checksum of the next `length` bytes, or of fewer if there are no more. Others have their
/// turn in between.
pub async fn sum_of(reader: &mut impl Read, length: u64, kind: Kind) -> io::Result<(Sum, u64)> {
    let mut sum = Sum::new(kind);
    let mut buffer = vec![0; BLOCK];
    let mut done = 0;
    while done < length {
        let want = usize::try_from(length - done).unwrap_or(BLOCK).min(BLOCK);
        let Some(part) = buffer.get_mut(..want) else {
            break;
        };
        let read = fill(reader, part)?;
        sum.update(part.get(..read).unwrap_or_default());
        done += read as u64;
        if read < want {
            break;
        }
        tokio::task::yield_now().await;
    }
    Ok((sum, done))
}

/// Where a file grows before it has its name.
pub fn part_of(place: &Path) -> PathBuf {
    let name = place.file_name().map(bytes_of).unwrap_or_default();
    let mut short = name.get(..name.len().min(240)).unwrap_or_default().to_vec();
    short.extend_from_slice(b".ssmx-part");
    place.with_file_name(name_of(&short).unwrap_or_else(|| "ssmx-part".into()))
}

/// A file that is being written: a part of it in its place's directory, or a device itself.
#[derive(Debug)]
pub struct Part {
    /// Open for writing and reading.
    pub file: File,
    place: PathBuf,
    /// `None` for a device.
    part: Option<PathBuf>,
}

impl Part {
    /// Opens what is to become `place` with `mode`, with what is there of it.
    pub fn open(place: &Path, mode: u32) -> io::Result<Self> {
        let place = match fs::symlink_metadata(place) {
            Ok(metadata) if metadata.is_symlink() => {
                fs::canonicalize(place).unwrap_or_else(|_| place.to_owned())
            }
            _ => place.to_owned(),
        };
        let part = match fs::metadata(&place) {
            Ok(metadata) if metadata.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
            Ok(metadata) if !metadata.is_file() => {
                let file = OpenOptions::new().write(true).open(&place)?;
                return Ok(Self {
                    file,
                    place,
                    part: None,
                });
            }
            Ok(_) => {
                // Who may not write a file shall not replace it either.
                OpenOptions::new().append(true).open(&place)?;
                part_of(&place)
            }
            Err(_) => part_of(&place),
        };
        if fs::symlink_metadata(&part).is_ok_and(|metadata| !metadata.is_file()) {
            fs::remove_file(&part)?;
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode & 0o777 | 0o600);
        #[cfg(not(unix))]
        let _ = mode;
        Ok(Self {
            file: options.open(&part)?,
            place,
            part: Some(part),
        })
    }

    /// How much is there already; nothing of a device.
    pub fn there(&self) -> u64 {
        let length = self.file.metadata().map_or(0, |metadata| metadata.len());
        if self.part.is_some() { length } else { 0 }
    }

    /// The file that is in its place now, if it has this size.
    pub fn whole(&self, size: u64) -> Option<File> {
        self.part.as_ref()?;
        let file = File::open(&self.place).ok()?;
        (file.metadata().ok()?.len() == size).then_some(file)
    }

    /// Leaves `length` bytes of what is there.
    pub fn shorten(&self, length: u64) -> io::Result<()> {
        match self.part {
            Some(_) => self.file.set_len(length),
            None => Ok(()),
        }
    }

    /// It is whole: gives it its place.
    pub fn finish(self, kept: Kept, preserve: bool) -> io::Result<()> {
        let Some(part) = &self.part else {
            return Ok(());
        };
        self.permit(part, kept, preserve)?;
        drop(self.file);
        fs::rename(part, &self.place)
    }

    /// There is a whole one already.
    pub fn keep_whole(self, kept: Kept, preserve: bool) -> io::Result<()> {
        let place = self.place.clone();
        self.remove();
        match preserve {
            true => give(kept, &place),
            false => Ok(()),
        }
    }

    fn permit(&self, part: &Path, kept: Kept, preserve: bool) -> io::Result<()> {
        if preserve {
            return give(kept, part);
        }
        match fs::metadata(&self.place) {
            Ok(before) => fs::set_permissions(part, before.permissions()),
            Err(_) => {
                // What the umask has left of it at first.
                let now = Kept::of(&self.file.metadata()?).mode;
                set_mode(part, now & kept.mode)
            }
        }
    }

    /// Takes it away.
    pub fn remove(self) {
        drop(self.file);
        if let Some(part) = &self.part {
            // If it cannot be removed, it is what the next copy begins with.
            let _ = fs::remove_file(part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_are_names() {
        for bad in ["", ".", "..", "a/b", "/", "../x", "a\0"] {
            assert_eq!(name_of(bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(name_of(b"...").is_some(), cfg!(unix));
    }

    #[test]
    fn long_names_have_parts_too() {
        let name = "n".repeat(255);
        let part = part_of(&Path::new("/a").join(&name));
        assert_eq!(part.file_name().map(OsStr::len), Some(250));
        assert_eq!(part_of(Path::new("a")), Path::new("a.ssmx-part"));
    }
}
