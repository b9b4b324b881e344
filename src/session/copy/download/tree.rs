//! Directories, from the node.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::flow::To;
use super::{Download, unfit};
use crate::session::copy::command::Command;
use crate::session::copy::frame::Reply;
use crate::session::copy::local::{give, name_of};
use crate::session::copy::status::{Entry, Kind, Status};
use crate::session::copy::{CopyFailure, RemotePath, local, remote};

impl Download<'_> {
    pub(super) async fn tree(
        &mut self,
        source: RemotePath,
        status: Status,
        place: PathBuf,
    ) -> Result<(), CopyFailure> {
        // A link that stood before what is in it would lead that elsewhere.
        let mut links = Vec::new();
        let mut directories = Vec::new();
        let mut left = vec![(source, status, place)];
        while let Some((source, status, place)) = left.pop() {
            match make_directory(&place, directories.is_empty()) {
                Ok(()) => directories.push((place.clone(), status.kept)),
                Err(error) => {
                    self.note(Err(local(place)(error)))?;
                    continue;
                }
            }
            self.settle(0).await?;
            let list = match self.link.call(Command::List(&source), None).await? {
                Reply::Data(list) => list,
                Reply::Err(why) => {
                    self.note(Err(remote(&source, why)))?;
                    continue;
                }
                _ => return Err(CopyFailure::Garbled("it is no list")),
            };
            let list = String::from_utf8_lossy(&list);
            for line in list.lines() {
                let Some(entry) = Entry::read(line) else {
                    self.note(Err(remote(&source, line.to_owned())))?;
                    continue;
                };
                let remote = source.join(&entry.name);
                let Some(name) = name_of(&entry.name) else {
                    self.note(Err(unfit(&remote, "this name cannot be had here")))?;
                    continue;
                };
                let place = place.join(name);
                match entry.status.kind {
                    Kind::Directory => left.push((remote, entry.status, place)),
                    Kind::Symlink => links.push((place, entry.link)),
                    Kind::File => {
                        let copied = self.file(remote, entry.status, To::Found(place)).await;
                        self.note(copied)?;
                    }
                    Kind::Other => self.note(Err(unfit(&remote, "is not a regular file")))?,
                }
            }
        }
        self.settle(0).await?;
        for (place, text) in links {
            let made = make_link(&place, &text).map_err(local(place));
            self.note(made)?;
        }
        if self.manner.preserve {
            // What is in a directory changes its time, so the innermost go first.
            while let Some((place, kept)) = directories.pop() {
                let given = File::open(&place).and_then(|directory| give(kept, &directory));
                let given = given.map_err(local(place));
                self.note(given)?;
            }
        }
        Ok(())
    }
}

/// `first` may be a link to a directory, as the user named it.
fn make_directory(place: &Path, first: bool) -> std::io::Result<()> {
    let there = match first {
        true => fs::metadata(place),
        false => fs::symlink_metadata(place),
    };
    match there {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(std::io::ErrorKind::NotADirectory.into()),
        Err(_) => fs::create_dir(place),
    }
}

#[cfg(unix)]
fn make_link(place: &Path, text: &[u8]) -> std::io::Result<()> {
    if fs::symlink_metadata(place).is_ok_and(|metadata| metadata.is_symlink()) {
        fs::remove_file(place)?;
    }
    let text: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(text);
    std::os::unix::fs::symlink(text, place)
}

#[cfg(not(unix))]
fn make_link(_: &Path, _: &[u8]) -> std::io::Result<()> {
    Err(std::io::Error::other("symbolic links are left out here"))
}
