//! From this machine to the node.

mod file;
mod tree;

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::time::Instant;

use super::command::Command;
use super::frame::Reply;
use super::link::Link;
use super::local::bytes_of;
use super::status::{Kind, Status};
use super::stride::Stride;
use super::{BLOCK, CopyFailure, Manner, RemotePath, how_to_go_on, local};

/// Commands without an answer so far, at most.
const PENDING: usize = 96;
/// The most that goes by one command, in bytes.
const STRIDE: usize = 16 * BLOCK;
/// What nodes say when there is no room: the next file would find none either.
const FULL: [&str; 2] = ["No space left on device", "Disk quota exceeded"];

/// What is to be copied.
#[derive(Debug)]
pub enum Source {
    /// A file or a directory.
    Path(PathBuf),
    /// Standard input.
    Stdin,
}

/// What an answer is to.
#[derive(Debug)]
enum Step {
    Begin { name: String, size: Option<u64> },
    Append(usize),
    Finish,
    MakeDirectory,
    Other,
}

#[derive(Debug)]
struct Pending {
    id: u64,
    /// Counts files.
    file: u64,
    path: Arc<str>,
    step: Step,
}

/// A copy to a node.
pub struct Upload<'a> {
    link: &'a mut Link,
    manner: Manner,
    pending: VecDeque<Pending>,
    stride: Stride,
    file: u64,
    /// The latest file of which nothing more is wanted.
    broken: Option<u64>,
    /// What the paths begin with that are in directories which could not be made.
    lacking: Vec<String>,
    failed: usize,
}

impl<'a> Upload<'a> {
    /// By this link.
    pub fn new(link: &'a mut Link, manner: Manner) -> Self {
        Self {
            link,
            manner,
            pending: VecDeque::new(),
            stride: Stride::new(STRIDE),
            file: 0,
            broken: None,
            lacking: Vec::new(),
            failed: 0,
        }
    }

    /// Copies all; the number of those that failed, which were told.
    ///
    /// # Errors
    ///
    /// What made it impossible to go on.
    pub async fn run(mut self, sources: Vec<Source>, to: RemotePath) -> Result<usize, CopyFailure> {
        let is_directory = match self.link.look(&to).await? {
            Ok(text) => is_directory(&text),
            Err(_) => false,
        };
        if !is_directory && (sources.len() > 1 || (to.has_slash() && !self.manner.recursive)) {
            return Err(CopyFailure::Unfit {
                path: to.to_string(),
                why: "is not a directory of the node",
            });
        }
        let first = match sources.first() {
            Some(Source::Path(path)) if path.is_dir() => Some(path.display().to_string()),
            _ => None,
        };
        let copied = self.all(sources, &to, is_directory).await;
        if let (Err(_), Some(first)) = (&copied, first)
            && !is_directory
            && self.file > 0
        {
            let told = how_to_go_on(&to.to_string(), &first);
            self.link.watch.notice(&told);
        }
        copied
    }

    async fn all(
        &mut self,
        sources: Vec<Source>,
        to: &RemotePath,
        is_directory: bool,
    ) -> Result<usize, CopyFailure> {
        for source in sources {
            let copied = match source {
                Source::Stdin if is_directory => Err(CopyFailure::Unfit {
                    path: to.to_string(),
                    why: "is a directory; standard input needs a file's name",
                }),
                Source::Stdin => self.stdin(to).await,
                Source::Path(path) => {
                    // What ends in a dot is what is in it.
                    let text = path.as_os_str().as_encoded_bytes();
                    let dot = text == b"." || text.ends_with(b"/.");
                    let name = path.file_name().filter(|_| is_directory && !dot);
                    let name = name.map(bytes_of);
                    let to = name.map_or_else(|| to.clone(), |name| to.join(&name));
                    self.path(&path, to).await
                }
            };
            self.note(copied)?;
        }
        self.settle(0).await?;
        Ok(self.failed)
    }

    fn note(&mut self, result: Result<(), CopyFailure>) -> Result<(), CopyFailure> {
        match result {
            Err(failure) if failure.is_of_one() => {
                self.failed += 1;
                self.link.watch.failed(&failure);
                Ok(())
            }
            result => result,
        }
    }

    async fn path(&mut self, path: &Path, to: RemotePath) -> Result<(), CopyFailure> {
        let metadata = fs::metadata(path).map_err(local(path))?;
        if !metadata.is_dir() {
            return self.copy(path, &metadata, &to).await;
        }
        if !self.manner.recursive {
            return Err(CopyFailure::Unfit {
                path: path.display().to_string(),
                why: "is a directory (-r copies it)",
            });
        }
        self.tree(path, metadata, to).await
    }

    /// A command that is about a path and none of a file's.
    async fn order(
        &mut self,
        to: &RemotePath,
        step: Step,
        command: Command<'_>,
    ) -> Result<(), CopyFailure> {
        self.file += 1;
        self.send(&to.to_string().into(), step, command).await
    }

    /// Sends a command; its body, if it has one, is yet to be fed to the link.
    async fn send(
        &mut self,
        path: &Arc<str>,
        step: Step,
        command: Command<'_>,
    ) -> Result<(), CopyFailure> {
        self.settle(PENDING).await?;
        let id = self.link.ask(command, None).await?;
        self.pending.push_back(Pending {
            id,
            file: self.file,
            path: Arc::clone(path),
            step,
        });
        Ok(())
    }

    /// Whether it is in a directory that could not be made, which was told.
    fn is_lacking(&self, path: &str) -> bool {
        let lacks = |directory: &String| path.starts_with(directory.as_str());
        self.lacking.iter().any(lacks)
    }

    /// Waits until at most `left` commands have no answer, and takes the answers that are there.
    async fn settle(&mut self, left: usize) -> Result<(), CopyFailure> {
        while self.pending.len() > left || (self.link.has_answer() && !self.pending.is_empty()) {
            let (id, reply) = self.link.answer().await?;
            let Some(pending) = self.pending.pop_front().filter(|pending| pending.id == id) else {
                return Err(CopyFailure::Garbled("it belongs to another command"));
            };
            let failure = match (reply, pending.step) {
                (Reply::Ok(_), Step::Begin { name, size }) => {
                    self.link.watch.begin(&name, size, 0);
                    continue;
                }
                (Reply::Ok(_), Step::Append(length)) => {
                    self.stride.took(length, Instant::now());
                    self.link.watch.advance(length as u64);
                    continue;
                }
                (Reply::Ok(_), Step::Finish) => {
                    self.link.watch.done();
                    continue;
                }
                (Reply::Ok(_) | Reply::Skip, _) => continue,
                (Reply::Err(_), _) if self.is_lacking(&pending.path) => continue,
                (Reply::Err(why), step) => {
                    if let Step::MakeDirectory = step {
                        let path = pending.path.trim_end_matches('/');
                        self.lacking.push(format!("{path}/"));
                    }
                    CopyFailure::Remote {
                        path: pending.path.to_string(),
                        why,
                    }
                }
                (Reply::Sum, _) => CopyFailure::Differs(pending.path.to_string()),
                (Reply::Data(_), _) => return Err(CopyFailure::Garbled("it is data")),
            };
            self.broken = Some(pending.file);
            match &failure {
                CopyFailure::Remote { why, .. } if FULL.contains(&why.as_str()) => {
                    return Err(failure);
                }
                _ => self.note(Err(failure))?,
            }
        }
        Ok(())
    }
}

/// Whether a status is that of a directory.
fn is_directory(status: &str) -> bool {
    Status::read(status).is_some_and(|status| status.kind == Kind::Directory)
}
