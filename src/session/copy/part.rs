//! A file that grows beside its place.

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::path::{Path, PathBuf};

use super::kept::Kept;
use super::local::{give, part_of};

/// As many as Linux follows.
const MOST_LINKS: usize = 40;

/// A file that is being written: a part of it in its place's directory, or a device itself.
#[derive(Debug)]
pub struct Part {
    /// Open for writing and reading.
    pub file: File,
    place: PathBuf,
    /// `None` for a device.
    part: Option<PathBuf>,
    /// Of the file that is in its place now.
    before: Option<Permissions>,
}

impl Part {
    /// Opens what is to become `place`, with what is there of it. `mode` is what it will have at
    /// most: until then it is for nobody else.
    ///
    /// Where the user has named the place, links lead on and devices are written to. A name that
    /// the node gives has a file of its own: a link there may be the node's from an earlier copy.
    pub fn open(place: &Path, mode: u32, named: bool) -> io::Result<Self> {
        let found = fs::symlink_metadata(place);
        let is_link = found.as_ref().is_ok_and(Metadata::is_symlink);
        let (place, found) = match is_link && named {
            true => {
                let place = fs::canonicalize(place).or_else(|_| led_by_links(place))?;
                let found = fs::metadata(&place);
                (place, found)
            }
            false => (place.to_owned(), found),
        };
        let mut before = None;
        match found {
            Ok(found) if found.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
            Ok(found) if found.is_file() => {
                // Who may not write a file shall not replace it either.
                OpenOptions::new().append(true).open(&place)?;
                before = Some(found.permissions());
            }
            Ok(found) if found.is_symlink() => {}
            Ok(_) if named => {
                let file = open_device(&place)?;
                return Ok(Self {
                    file,
                    place,
                    part: None,
                    before,
                });
            }
            Ok(_) => return Err(io::Error::other("it is there and no regular file")),
            Err(_) => {}
        }
        let part = part_of(&place);
        let mode = if before.is_some() { 0 } else { mode & 0o777 };
        Ok(Self {
            file: open_part(&part, mode | 0o600)?,
            place,
            part: Some(part),
            before,
        })
    }

    /// Whether it has anything to do with what would be written to `place`.
    pub fn touches(&self, place: &Path) -> bool {
        let part = self.part.as_deref();
        self.place == place
            || part == Some(place)
            || part.is_some_and(|part| part_of(place) == part || part_of(place) == self.place)
    }

    /// How much is there already; nothing of a device.
    pub fn there(&self) -> u64 {
        let length = self.file.metadata().map_or(0, |metadata| metadata.len());
        if self.part.is_some() { length } else { 0 }
    }

    /// The file that is in its place now, if it has this size.
    pub fn whole(&self, size: u64) -> Option<File> {
        self.before.as_ref()?;
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
        match &self.before {
            _ if preserve => give(kept, &self.file)?,
            Some(before) => self.file.set_permissions(without_ids(before))?,
            None => {
                // What the umask has left of it at first.
                let mode = kept.mode & Kept::of(&self.file.metadata()?).mode;
                give(Kept { mode, time: None }, &self.file)?;
            }
        }
        drop(self.file);
        fs::rename(part, &self.place)
    }

    /// There is a whole one already.
    pub fn keep_whole(self, kept: Kept, preserve: bool) -> io::Result<()> {
        let place = self.place.clone();
        self.remove();
        match preserve {
            true => give(kept, &File::open(place)?),
            false => Ok(()),
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

/// Where links lead that lead to nothing yet.
fn led_by_links(place: &Path) -> io::Result<PathBuf> {
    let mut place = place.to_owned();
    for _ in 0..MOST_LINKS {
        match fs::read_link(&place) {
            // An absolute one replaces all of it.
            Ok(text) => place.set_file_name(text),
            Err(_) => return Ok(place),
        }
    }
    // As the system calls it.
    fs::metadata(&place).map(|_| place)
}

/// Opens what is no regular file. A pipe that nobody reads is an error: to wait for its reader would
/// hold up everything else, and no signal would be heard.
fn open_device(place: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    let _reader_is_there = {
        let mut at_once = options.clone();
        std::os::unix::fs::OpenOptionsExt::custom_flags(&mut at_once, libc::O_NONBLOCK);
        at_once.open(place)?
    };
    options.open(place)
}

/// Opens a part that an earlier copy left, or a new one; in a directory for all, others may have
/// put something there under its name.
fn open_part(part: &Path, mode: u32) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options
            .mode(mode)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    }
    #[cfg(not(unix))]
    let _ = mode;
    if fs::symlink_metadata(part).is_ok_and(|found| found.is_file())
        && let Ok(file) = options.open(part)
        && is_ours(&file.metadata()?)
    {
        if mode & 0o077 == 0 {
            give(Kept { mode, time: None }, &file)?;
        }
        return Ok(file);
    }
    match fs::remove_file(part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => options.create_new(true).open(part),
    }
}

/// What is written anew acts as nobody else.
#[cfg(unix)]
fn without_ids(before: &Permissions) -> Permissions {
    use std::os::unix::fs::PermissionsExt as _;
    Permissions::from_mode(before.mode() & 0o1777)
}

#[cfg(not(unix))]
fn without_ids(before: &Permissions) -> Permissions {
    before.clone()
}

/// Whether nobody else has it open, or has it under another name.
#[cfg(unix)]
fn is_ours(found: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    found.is_file() && found.nlink() == 1 && found.uid() == rustix::process::geteuid().as_raw()
}

#[cfg(not(unix))]
fn is_ours(found: &Metadata) -> bool {
    found.is_file()
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("there").permissions().mode() & 0o7777
    }

    #[test]
    fn what_others_left_as_a_part_is_not_written_to() {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join(name);
        fs::write(at("victim"), "v").expect("written");
        let plants: [fn(&Path, &Path) -> io::Result<()>; 3] = [
            |victim, part| symlink(victim, part),
            |victim, part| fs::hard_link(victim, part),
            |_, part| {
                let made = std::process::Command::new("mkfifo").arg(part).status();
                made.map(drop)
            },
        ];
        for plant in plants {
            plant(&at("victim"), &at("a.ssmx-part")).expect("planted");
            let mut part = Part::open(&at("a"), 0o644, true).expect("open");
            assert_eq!(part.there(), 0);
            part.file.write_all(b"data").expect("written");
            let kept = Kept {
                mode: 0o600,
                time: None,
            };
            part.finish(kept, false).expect("finished");
            assert_eq!(fs::read(at("a")).expect("there"), b"data");
            assert_eq!(fs::read(at("victim")).expect("there"), b"v");
            fs::remove_file(at("a")).expect("removed");
        }
        // Ours goes on.
        fs::write(at("a.ssmx-part"), "half").expect("written");
        let part = Part::open(&at("a"), 0o644, true).expect("open");
        assert_eq!(part.there(), 4);
    }

    #[test]
    fn a_part_is_no_more_open_than_the_file_will_be() {
        let directory = tempfile::tempdir().expect("a directory");
        let (place, part) = (
            directory.path().join("a"),
            directory.path().join("a.ssmx-part"),
        );
        drop(Part::open(&place, 0o7400, true).expect("open"));
        assert_eq!(mode(&part), 0o600);
        // The file that is there already is private, or what the node says is to be kept.
        fs::set_permissions(&part, Permissions::from_mode(0o644)).expect("set");
        drop(Part::open(&place, 0, true).expect("open"));
        assert_eq!(mode(&part), 0o600);
        fs::write(&place, "secret").expect("written");
        fs::set_permissions(&place, Permissions::from_mode(0o600)).expect("set");
        fs::remove_file(&part).expect("removed");
        let open = Part::open(&place, 0o644, true).expect("open");
        assert_eq!(mode(&part), 0o600);
        let kept = Kept {
            mode: 0o6755,
            time: None,
        };
        open.finish(kept, true).expect("finished");
        assert_eq!(mode(&place), 0o755);
        fs::set_permissions(&place, Permissions::from_mode(0o4711)).expect("set");
        let open = Part::open(&place, 0o644, true).expect("open");
        open.finish(kept, false).expect("finished");
        assert_eq!(mode(&place), 0o711);
    }

    #[test]
    fn names_that_the_node_gives_lead_nowhere_else() {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join(name);
        fs::write(at("victim"), "v").expect("written");
        symlink(at("victim"), at("a")).expect("a link");
        let kept = Kept {
            mode: 0o644,
            time: None,
        };
        let write = |named| {
            let mut part = Part::open(&at("a"), 0o644, named).expect("open");
            assert_eq!(part.whole(1).is_some(), named);
            part.file.write_all(b"data").expect("written");
            part.finish(kept, false).expect("finished");
            fs::read(at("victim")).expect("there")
        };
        assert_eq!(write(true), b"data");
        fs::write(at("victim"), "v").expect("written");
        assert_eq!(write(false), b"v");
        assert!(fs::symlink_metadata(at("a")).expect("there").is_file());
        let made = std::process::Command::new("mkfifo")
            .arg(at("pipe"))
            .status();
        assert!(made.expect("mkfifo").success());
        assert!(Part::open(&at("pipe"), 0o644, false).is_err());
        assert!(
            Part::open(&at("pipe"), 0o644, true).is_err(),
            "nobody reads"
        );
        let mut options = OpenOptions::new();
        // Opened for both, it needs nobody else.
        let reader = options.read(true).write(true).open(at("pipe"));
        let part = Part::open(&at("pipe"), 0o644, true).expect("open");
        assert_eq!(part.there(), 0);
        drop(reader);
    }

    #[test]
    fn files_in_each_others_way_are_known() {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join(name);
        let part = Part::open(&at("a"), 0o644, false).expect("open");
        assert!(part.touches(&at("a")) && part.touches(&at("a.ssmx-part")));
        assert!(!part.touches(&at("b")));
        let part = Part::open(&at("a.ssmx-part"), 0o644, false).expect("open");
        assert!(part.touches(&at("a")));
    }
}
