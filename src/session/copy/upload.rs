//! From this machine to the node.

use std::collections::VecDeque;
use std::fs::{self, File, Metadata};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use tracing::debug;

use super::frame::Reply;
use super::link::Link;
use super::local::{Kept, bytes_of, fill, sum_of};
use super::sum::Sum;
use super::{BLOCK, CopyFailure, Encoding, Manner, RemotePath, local};
use crate::terminal::Input;

/// Commands without an answer so far, at most.
const PENDING: usize = 96;
/// Bytes in a line of base64, before and after.
const LINE: (usize, usize) = (57, 76);
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
    Begin,
    Append(usize),
    Finish,
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
    file: u64,
    /// The latest file of which nothing more is wanted.
    broken: Option<u64>,
    failed: usize,
}

impl<'a> Upload<'a> {
    /// By this link.
    pub fn new(link: &'a mut Link, manner: Manner) -> Self {
        Self {
            link,
            manner,
            pending: VecDeque::new(),
            file: 0,
            broken: None,
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
        for source in sources {
            let copied = match source {
                Source::Stdin if is_directory => Err(CopyFailure::Unfit {
                    path: to.to_string(),
                    why: "is a directory; standard input needs a file's name",
                }),
                Source::Stdin => self.stdin(&to).await,
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

    async fn tree(
        &mut self,
        path: &Path,
        metadata: Metadata,
        to: RemotePath,
    ) -> Result<(), CopyFailure> {
        let mut directories = Vec::new();
        let mut left = vec![(path.to_owned(), Kept::of(&metadata), to)];
        while let Some((path, kept, to)) = left.pop() {
            self.order(&to, &[to.bytes()], |id| format!("md {id} \"$a\""))
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
        // What is in a directory changes its time, so the innermost go first.
        while let Some((to, kept)) = directories.pop() {
            let (mode, stamp) = (kept.mode, kept.stamp().unwrap_or_default());
            self.order(&to, &[to.bytes()], |id| {
                format!("at {id} \"$a\" {mode:o} {stamp}")
            })
            .await?;
        }
        Ok(())
    }

    async fn symlink(&mut self, path: &Path, to: &RemotePath) -> Result<(), CopyFailure> {
        let text = fs::read_link(path).map_err(local(path))?;
        let text = bytes_of(text.as_os_str());
        self.order(to, &[&text, to.bytes()], |id| {
            format!("li {id} \"$a\" \"$b\"")
        })
        .await
    }

    async fn copy(
        &mut self,
        path: &Path,
        metadata: &Metadata,
        to: &RemotePath,
    ) -> Result<(), CopyFailure> {
        if !metadata.is_file() {
            return Err(CopyFailure::Unfit {
                path: path.display().to_string(),
                why: "is not a regular file",
            });
        }
        let mut file = File::open(path).map_err(local(path))?;
        let (size, kept) = (metadata.len(), Kept::of(metadata));
        let shown: Arc<str> = to.to_string().into();
        self.file += 1;
        let name = path
            .file_name()
            .unwrap_or(path.as_os_str())
            .to_string_lossy();
        let mut sum = Sum::new(self.link.sums);
        if size > BLOCK as u64 {
            self.settle(0).await?;
            let Some(there) = self.begin_large(path, size, to).await? else {
                self.link.watch.begin(&name, Some(size), size);
                self.link.watch.done();
                if self.manner.preserve {
                    let (mode, stamp) = (kept.mode, kept.stamp().unwrap_or_default());
                    self.order(to, &[to.bytes()], |id| {
                        format!("at {id} \"$a\" {mode:o} {stamp}")
                    })
                    .await?;
                }
                return Ok(());
            };
            // What is there already has its checksum; the file now stands behind it.
            if there > 0 {
                debug!(there, "goes on behind what is there");
                (sum, _) = sum_of(&mut file, there, self.link.sums)
                    .await
                    .map_err(local(path))?;
            }
            self.link.watch.begin(&name, Some(size), there);
        } else {
            self.send(
                &shown,
                Step::Begin,
                &[to.bytes()],
                |id| format!("wb {id} \"$a\" ''"),
                None,
            )
            .await?;
            self.link.watch.begin(&name, Some(size), 0);
        }
        let mut block = vec![0; BLOCK.min(usize::try_from(size).unwrap_or(BLOCK) + 1)];
        while self.broken != Some(self.file) {
            let length = match fill(&mut file, &mut block) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) => {
                    self.send(&shown, Step::Other, &[], |id| format!("wx {id}"), None)
                        .await?;
                    return Err(local(path)(error));
                }
            };
            let data = block.get(..length).unwrap_or_default();
            sum.update(data);
            self.append(&shown, data).await?;
        }
        self.finish(&shown, &sum, kept).await
    }

    /// Begins a file of which a part may be there: how much is; `None` if all is.
    async fn begin_large(
        &mut self,
        path: &Path,
        size: u64,
        to: &RemotePath,
    ) -> Result<Option<u64>, CopyFailure> {
        let command = |id| format!("wb {id} \"$a\" {size}");
        let text = match self.link.call(&[to.bytes()], command, None).await? {
            Reply::Ok(text) => text,
            Reply::Err(why) => return Err(remote(to, why)),
            _ => return Err(CopyFailure::Garbled("it does not begin a file")),
        };
        let mut words = text.split(' ');
        let length = words.next().and_then(|word| word.parse().ok());
        let length: u64 = length.ok_or(CopyFailure::Garbled("it has no length"))?;
        let [part, whole] = [words.next(), words.next()].map(Option::unwrap_or_default);
        let sum = async |length| {
            let mut file = File::open(path).map_err(local(path))?;
            let sum = sum_of(&mut file, length, self.link.sums).await;
            Ok::<_, CopyFailure>(sum.map_err(local(path))?.0.text())
        };
        if whole != "-" && sum(size).await? == whole {
            let reply = self.link.call(&[], |id| format!("wx {id}"), None).await?;
            return match reply {
                Reply::Ok(_) => Ok(None),
                _ => Err(CopyFailure::Garbled("it does not forget a file")),
            };
        }
        if length == 0 || (length <= size && sum(length).await? == part) {
            return Ok(Some(length));
        }
        match self.link.call(&[], |id| format!("wt {id}"), None).await? {
            Reply::Ok(_) => Ok(Some(0)),
            Reply::Err(why) => Err(remote(to, why)),
            _ => Err(CopyFailure::Garbled("it does not begin again")),
        }
    }

    async fn stdin(&mut self, to: &RemotePath) -> Result<(), CopyFailure> {
        let mut input = Input::spawn().map_err(local("standard input"))?;
        let shown: Arc<str> = to.to_string().into();
        self.file += 1;
        let mut sum = Sum::new(self.link.sums);
        self.send(
            &shown,
            Step::Begin,
            &[to.bytes()],
            |id| format!("wb {id} \"$a\" ''"),
            None,
        )
        .await?;
        self.link.watch.begin("standard input", None, 0);
        while self.broken != Some(self.file) {
            let chunk = tokio::select! {
                chunk = input.next() => chunk,
                stepped = self.link.step() => {
                    stepped?;
                    continue;
                }
            };
            match chunk {
                Some(Ok(chunk)) => {
                    sum.update(&chunk);
                    self.append(&shown, &chunk).await?;
                }
                Some(Err(error)) => {
                    self.send(&shown, Step::Other, &[], |id| format!("wx {id}"), None)
                        .await?;
                    return Err(local("standard input")(error));
                }
                None => break,
            }
        }
        let kept = Kept {
            mode: 0o666,
            time: None,
        };
        self.finish(&shown, &sum, kept).await
    }

    async fn append(&mut self, shown: &Arc<str>, data: &[u8]) -> Result<(), CopyFailure> {
        let (body, decoder): (Bytes, _) = match self.link.up {
            Encoding::Raw => (Bytes::copy_from_slice(data), "cat"),
            Encoding::Base64 => (lines(data), "de"),
        };
        let length = body.len();
        let command = |id| format!("wa {id} {length} {decoder}");
        self.send(shown, Step::Append(data.len()), &[], command, Some(body))
            .await
    }

    async fn finish(&mut self, shown: &Arc<str>, sum: &Sum, kept: Kept) -> Result<(), CopyFailure> {
        let stamp = kept.stamp();
        let preserve = u8::from(self.manner.preserve && stamp.is_some());
        let (sum, mode, stamp) = (sum.text(), kept.mode & 0o7777, stamp.unwrap_or_default());
        let mode = if preserve == 1 { mode } else { mode & 0o777 };
        let command = |id| format!("wf {id} {sum} {mode:o} {preserve} {stamp}");
        self.send(shown, Step::Finish, &[], command, None).await
    }

    /// A command that is about a path and none of a file's.
    async fn order(
        &mut self,
        to: &RemotePath,
        words: &[&[u8]],
        command: impl FnOnce(u64) -> String,
    ) -> Result<(), CopyFailure> {
        self.file += 1;
        self.send(&to.to_string().into(), Step::Other, words, command, None)
            .await
    }

    async fn send(
        &mut self,
        path: &Arc<str>,
        step: Step,
        words: &[&[u8]],
        command: impl FnOnce(u64) -> String,
        body: Option<Bytes>,
    ) -> Result<(), CopyFailure> {
        let id = self.link.ask(words, command, body).await?;
        self.pending.push_back(Pending {
            id,
            file: self.file,
            path: Arc::clone(path),
            step,
        });
        self.settle(PENDING).await
    }

    /// Waits until at most `left` commands have no answer, and takes the answers that are there.
    async fn settle(&mut self, left: usize) -> Result<(), CopyFailure> {
        while self.pending.len() > left || (self.link.has_answer() && !self.pending.is_empty()) {
            let (id, reply) = self.link.answer().await?;
            let Some(pending) = self.pending.pop_front().filter(|pending| pending.id == id) else {
                return Err(CopyFailure::Garbled("it belongs to another command"));
            };
            let failure = match (reply, pending.step) {
                (Reply::Ok(_), Step::Append(length)) => {
                    self.link.watch.advance(length as u64);
                    continue;
                }
                (Reply::Ok(_), Step::Finish) => {
                    self.link.watch.done();
                    continue;
                }
                (Reply::Ok(_) | Reply::Skip, _) => continue,
                (Reply::Err(why), _) => CopyFailure::Remote {
                    path: pending.path.to_string(),
                    why,
                },
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

fn remote(path: &RemotePath, why: String) -> CopyFailure {
    CopyFailure::Remote {
        path: path.to_string(),
        why,
    }
}

/// Whether a status is that of a directory.
pub(super) fn is_directory(status: &str) -> bool {
    super::download::Status::read(status)
        .is_some_and(|status| status.kind == super::download::Kind::Directory)
}

/// In lines of base64.
fn lines(data: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(data.len().div_ceil(LINE.0) * (LINE.1 + 1));
    let mut line = [0; LINE.1];
    for part in data.chunks(LINE.0) {
        // A line has room for what goes into one.
        let length = STANDARD.encode_slice(part, &mut line).unwrap_or_default();
        out.extend_from_slice(line.get(..length).unwrap_or_default());
        out.extend_from_slice(b"\n");
    }
    out.freeze()
}
