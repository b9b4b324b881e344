//! Files of this machine.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::BLOCK;
use super::kept::Kept;
use super::sum::{Kind, Sum};

/// The longest name that something can be put behind, in bytes.
const LONGEST_NAME: usize = 240;

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
        || super::windows::is_device(name)
        || name.contains(|c: char| c.is_control() || r#"/\:*?"<>|"#.contains(c));
    (!bad).then(|| name.into())
}

/// Gives a directory or file mode and time, where the system has such. Whose it is is not kept, and
/// so nothing that lets others act as its owner is.
pub fn give(kept: Kept, file: &File) -> io::Result<()> {
    if let Some(time) = kept.system_time() {
        let times = fs::FileTimes::new().set_modified(time).set_accessed(time);
        file.set_times(times)?;
    }
    set_mode(file, kept.mode & 0o1777)
}

#[cfg(unix)]
fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))
}

#[cfg(not(unix))]
fn set_mode(_: &File, _: u32) -> io::Result<()> {
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
    let mut name = place.file_name().map(bytes_of).unwrap_or_default();
    if name.len() > LONGEST_NAME {
        // What tells long names apart may be at their end.
        let sum: String = Sha256::digest(&name)
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let end = LONGEST_NAME - sum.len();
        let end = std::str::from_utf8(&name).map_or(end, |name| name.floor_char_boundary(end));
        name.truncate(end);
        name.extend_from_slice(sum.as_bytes());
    }
    name.extend_from_slice(b".ssmx-part");
    place.with_file_name(name_of(&name).unwrap_or_else(|| "ssmx-part".into()))
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
        let part = |name: &str| {
            let part = part_of(&Path::new("/a").join(name));
            assert_eq!(part.parent(), Some(Path::new("/a")));
            part.file_name().map(OsStr::to_owned).expect("a name")
        };
        let long = "n".repeat(254);
        assert_eq!(part(&(long.clone() + "a")).len(), 250);
        assert_ne!(part(&(long.clone() + "a")), part(&(long + "b")));
        let wide = part(&"€".repeat(85));
        assert!(wide.to_str().is_some() && wide.len() <= 250, "{wide:?}");
        assert_eq!(part_of(Path::new("a")), Path::new("a.ssmx-part"));
    }
}
