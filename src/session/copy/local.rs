//! Files of this machine.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::BLOCK;
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

/// Mode and time of a file.
#[derive(Debug, Clone, Copy)]
pub struct Kept {
    /// The lowest twelve bits.
    pub mode: u32,
    /// Seconds since 1970, if known.
    pub time: Option<i64>,
}

impl Kept {
    /// Those of a file here.
    pub fn of(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        let mode = std::os::unix::fs::MetadataExt::mode(metadata) & 0o7777;
        #[cfg(not(unix))]
        let mode = match metadata.permissions().readonly() {
            true => 0o444,
            false => 0o644,
        };
        let time = metadata.modified().ok().map(|time| {
            let seconds =
                |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
            match time.duration_since(UNIX_EPOCH) {
                Ok(after) => seconds(after),
                Err(before) => -seconds(before.duration()),
            }
        });
        Self { mode, time }
    }

    fn system_time(self) -> Option<SystemTime> {
        let time = self.time?;
        let distance = Duration::from_secs(time.unsigned_abs());
        match time < 0 {
            true => UNIX_EPOCH.checked_sub(distance),
            false => UNIX_EPOCH.checked_add(distance),
        }
    }

    /// The time as `touch -t` takes it, in UTC: `202611251200.59`.
    pub fn stamp(self) -> Option<String> {
        let time = self.time?;
        let (days, second) = (time.div_euclid(86_400), time.rem_euclid(86_400));
        // The Gregorian calendar, counted in eras of 400 years that begin on 1 March.
        let days = days + 719_468;
        let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        let year = year + era * 400 + i64::from(month <= 2);
        (0..=9999).contains(&year).then(|| {
            let (hour, minute) = (second / 3600, second / 60 % 60);
            let second = second % 60;
            format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}.{second:02}")
        })
    }

    /// Gives a directory or file these, where the system has such.
    pub fn give(self, path: &Path) -> io::Result<()> {
        // It need not be readable afterwards.
        if let Some(time) = self.system_time() {
            let times = fs::FileTimes::new().set_modified(time).set_accessed(time);
            File::open(path)?.set_times(times)?;
        }
        set_mode(path, self.mode)
    }
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
            true => kept.give(&place),
            false => Ok(()),
        }
    }

    fn permit(&self, part: &Path, kept: Kept, preserve: bool) -> io::Result<()> {
        if preserve {
            return kept.give(part);
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
    fn stamps_are_those_of_touch() {
        let stamp = |time| Kept { mode: 0, time }.stamp();
        assert_eq!(stamp(Some(0)).as_deref(), Some("197001010000.00"));
        assert_eq!(stamp(Some(951_782_461)).as_deref(), Some("200002290001.01"));
        assert_eq!(stamp(Some(-1)).as_deref(), Some("196912312359.59"));
        assert_eq!(stamp(Some(i64::MAX / 2)), None);
        assert_eq!(stamp(None), None);
    }

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
