//! From the node to this machine.

mod answers;
mod file;
mod flow;
mod tree;

use std::collections::VecDeque;
use std::path::PathBuf;

use super::link::Link;
use super::local::name_of;
use super::status::{Kind, Status};
use super::stride::Stride;
use super::{BLOCK, CopyFailure, Manner, RemotePath, how_to_go_on, remote};

use flow::{Flow, Pending, To};

/// Bytes asked for and not written yet, at most.
const AHEAD: usize = 4 * BLOCK;
/// Commands without an answer so far, at most.
const PENDING: usize = 64;
/// The most that goes by one command, in bytes: what comes short by what agents lose of U+FFFD is
/// asked for again as a whole, and a random file has one in 16 MiB.
const STRIDE: usize = 2 * BLOCK;

/// Where a copy goes.
pub enum Destination {
    /// A file, or a directory.
    Path(PathBuf),
    /// Standard output.
    Stdout,
}

/// A copy from a node.
pub struct Download<'a> {
    link: &'a mut Link,
    manner: Manner,
    flows: VecDeque<Flow>,
    /// The number of the first one.
    first: u64,
    pending: VecDeque<Pending>,
    /// Bytes of all slots.
    ahead: usize,
    stride: Stride,
    /// What EF is swapped with at first.
    swap: Option<u8>,
    failed: usize,
}

impl<'a> Download<'a> {
    /// By this link.
    pub fn new(link: &'a mut Link, manner: Manner) -> Self {
        Self {
            link,
            manner,
            flows: VecDeque::new(),
            first: 0,
            pending: VecDeque::new(),
            ahead: 0,
            stride: Stride::new(STRIDE),
            swap: None,
            failed: 0,
        }
    }

    /// Copies all; the number of those that failed, which were told.
    ///
    /// # Errors
    ///
    /// What made it impossible to go on.
    pub async fn run(
        mut self,
        sources: Vec<RemotePath>,
        to: Destination,
    ) -> Result<usize, CopyFailure> {
        let several = sources.len() > 1;
        let is_directory = match &to {
            Destination::Path(path) => {
                let slash = path.as_os_str().to_string_lossy().ends_with('/');
                let is_directory = path.is_dir();
                if !is_directory && (several || (slash && !self.manner.recursive)) {
                    return Err(CopyFailure::Unfit {
                        path: path.display().to_string(),
                        why: "is not a directory",
                    });
                }
                is_directory
            }
            Destination::Stdout => false,
        };
        let first = sources.first().cloned();
        let copied = self.all(sources, &to, is_directory).await;
        if let (Err(_), Destination::Path(to), Some(first)) = (&copied, &to, first)
            && !is_directory
            && to.is_dir()
        {
            let told = how_to_go_on(&to.display().to_string(), &first.to_string());
            self.link.watch.notice(&told);
        }
        copied
    }

    async fn all(
        &mut self,
        sources: Vec<RemotePath>,
        to: &Destination,
        is_directory: bool,
    ) -> Result<usize, CopyFailure> {
        for source in sources {
            let copied = self.source(source, to, is_directory).await;
            self.note(copied)?;
        }
        self.settle(0).await?;
        Ok(self.failed)
    }

    fn note(&mut self, result: Result<(), CopyFailure>) -> Result<(), CopyFailure> {
        match result {
            Err(CopyFailure::Local { path, error })
                if error.kind() == std::io::ErrorKind::StorageFull
                    || error.kind() == std::io::ErrorKind::QuotaExceeded =>
            {
                // The next file would find no room either.
                Err(CopyFailure::Local { path, error })
            }
            Err(failure) if failure.is_of_one() => {
                self.failed += 1;
                self.link.watch.failed(&failure);
                Ok(())
            }
            result => result,
        }
    }

    async fn source(
        &mut self,
        source: RemotePath,
        to: &Destination,
        is_directory: bool,
    ) -> Result<(), CopyFailure> {
        self.settle(0).await?;
        let text = match self.link.look(&source).await? {
            Ok(text) => text,
            Err(why) => return Err(remote(&source, why)),
        };
        let status = Status::read(&text).ok_or(CopyFailure::Garbled("it is no status"))?;
        let to = match to {
            Destination::Path(to) => to,
            Destination::Stdout if status.kind == Kind::Directory => {
                return Err(unfit(&source, "is a directory of the node"));
            }
            Destination::Stdout => {
                return self.file(source, status, To::Stdout).await;
            }
        };
        let name = source.name().filter(|_| is_directory).and_then(name_of);
        let place = match name {
            Some(name) => to.join(name),
            None => to.clone(),
        };
        match status.kind {
            Kind::Directory if self.manner.recursive => self.tree(source, status, place).await,
            Kind::Directory => Err(unfit(&source, "is a directory of the node (-r copies it)")),
            _ => self.file(source, status, To::Named(place)).await,
        }
    }
}

fn unfit(path: &RemotePath, why: &'static str) -> CopyFailure {
    CopyFailure::Unfit {
        path: path.to_string(),
        why,
    }
}
