//! Directories, to the node.

use std::fs::{self, Metadata};
use std::path::Path;

use super::{Step, Upload};
use crate::session::copy::command::Command;
use crate::session::copy::kept::Kept;
use crate::session::copy::local::bytes_of;
use crate::session::copy::{CopyFailure, RemotePath, local};

impl Upload<'_> {
    pub(super) async fn tree(
        &mut self,
        path: &Path,
        metadata: Metadata,
        to: RemotePath,
    ) -> Result<(), CopyFailure> {
        let mut directories = Vec::new();
        let mut left = vec![(path.to_owned(), Kept::of(&metadata), to)];
        while let Some((path, kept, to)) = left.pop() {
            if self.is_lacking(&to.to_string()) {
                continue;
            }
            self.order(&to, Step::MakeDirectory, Command::MakeDirectory(&to))
                .await?;
            if self.manner.preserve {
                directories.push((to.clone(), kept));
            }
            let entries = match fs::read_dir(&path) {
                Ok(entries) => entries,
                Err(error) => {
                    self.note(Err(local(path)(error)))?;
                    continue;
                }
            };
            for entry in entries {
                let entry = match entry {
                    Ok(entry) => entry,
                    Err(error) => {
                        self.note(Err(local(&path)(error)))?;
                        break;
                    }
                };
                let path = entry.path();
                let to = to.join(&bytes_of(&entry.file_name()));
                if self.is_lacking(&to.to_string()) {
                    break;
                }
                let metadata = match entry.metadata() {
                    Ok(metadata) => metadata,
                    Err(error) => {
                        self.note(Err(local(path)(error)))?;
                        continue;
                    }
                };
                if metadata.is_dir() {
                    left.push((path, Kept::of(&metadata), to));
                } else if metadata.is_symlink() {
                    let linked = self.symlink(&path, &to).await;
                    self.note(linked)?;
                } else {
                    let copied = self.copy(&path, &metadata, &to).await;
                    self.note(copied)?;
                }
            }
        }
        self.settle(0).await?;
        // What is in a directory changes its time, so the innermost go first.
        while let Some((to, kept)) = directories.pop() {
            let inside = to.join(b"");
            if self.is_lacking(&inside.to_string()) {
                continue;
            }
            self.order(&to, Step::Other, Command::Give(&to, kept))
                .await?;
        }
        Ok(())
    }

    async fn symlink(&mut self, path: &Path, to: &RemotePath) -> Result<(), CopyFailure> {
        let text = fs::read_link(path).map_err(local(path))?;
        let text = bytes_of(text.as_os_str());
        let text = &text;
        let command = Command::MakeLink { text, path: to };
        self.order(to, Step::Other, command).await
    }
}
