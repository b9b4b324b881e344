//! One file, or standard input, to the node.

use std::fs::{File, Metadata};
use std::path::Path;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tracing::debug;

use super::{PENDING, Step, Upload};
use crate::session::copy::command::Command;
use crate::session::copy::frame::Reply;
use crate::session::copy::kept::Kept;
use crate::session::copy::local::{fill, sum_of};
use crate::session::copy::sum::Sum;
use crate::session::copy::{BLOCK, CopyFailure, Encoding, RemotePath, encoding, local, remote};
use crate::terminal::Input;

/// What is gathered of standard input at most, in bytes.
const GATHERED: usize = 4 * BLOCK;

impl Upload<'_> {
    pub(super) async fn copy(
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
        let mut at = 0;
        if size > BLOCK as u64 {
            self.settle(0).await?;
            let Some(there) = self.begin_large(path, size, to).await? else {
                self.link.watch.begin(&name, Some(size), size);
                self.link.watch.done();
                if self.manner.preserve {
                    self.order(to, Step::Other, Command::Give(to, kept)).await?;
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
            at = there;
        } else {
            let step = Step::Begin {
                name: name.into_owned(),
                size: Some(size),
            };
            self.send(&shown, step, Command::Begin(to, None)).await?;
        }
        // What it grows by meanwhile is not waited for. What seems empty may be as in /proc.
        let end = if size > 0 { size } else { u64::MAX };
        while at < end && self.broken != Some(self.file) {
            let stride = match self.link.up {
                Encoding::Raw => self.stride.bytes(),
                Encoding::Base64 => BLOCK,
            };
            let length = usize::try_from(end - at).map_or(stride, |left| left.min(stride));
            let read = match size > 0 {
                true => self.stretch(&shown, &mut file, length, &mut sum).await,
                false => self.unsized_block(&shown, &mut file, &mut sum).await,
            };
            match read {
                Ok(0) => break,
                Ok(length) => at += length as u64,
                Err(Unread::Copy(failure)) => return Err(failure),
                Err(Unread::File(error)) => {
                    self.send(&shown, Step::Other, Command::Abandon).await?;
                    return Err(match error {
                        Some(error) => local(path)(error),
                        None => CopyFailure::Unfit {
                            path: path.display().to_string(),
                            why: "became shorter while it was read",
                        },
                    });
                }
            }
        }
        self.finish(&shown, &sum, kept).await
    }

    /// Sends so many bytes of a file by one command.
    async fn stretch(
        &mut self,
        shown: &Arc<str>,
        file: &mut File,
        length: usize,
        sum: &mut Sum,
    ) -> Result<usize, Unread> {
        let mut unread = None;
        let mut block = vec![0; BLOCK.min(length)];
        let mut left = length;
        while left > 0 {
            let want = left.min(block.len());
            block.truncate(want);
            // Once some is promised it is sent, whatever it is.
            let read = match unread {
                None => fill(file, &mut block),
                Some(_) => Ok(want),
            };
            match read {
                Ok(read) if read == want => {}
                Ok(_) => unread = Some(None),
                Err(error) => unread = Some(Some(error)),
            }
            if unread.is_some() && left == length {
                break;
            }
            sum.update(&block);
            if left == length {
                self.append(shown, length).await?;
            }
            self.feed(&block).await?;
            left -= want;
        }
        match unread {
            None => Ok(length),
            Some(error) => Err(Unread::File(error)),
        }
    }

    /// Sends what there is of a file whose size is not known, up to a block.
    async fn unsized_block(
        &mut self,
        shown: &Arc<str>,
        file: &mut File,
        sum: &mut Sum,
    ) -> Result<usize, Unread> {
        let mut block = vec![0; BLOCK];
        let length = fill(file, &mut block).map_err(|error| Unread::File(Some(error)))?;
        block.truncate(length);
        if length > 0 {
            sum.update(&block);
            self.append(shown, length).await?;
            self.feed(&block).await?;
        }
        Ok(length)
    }

    /// Begins a file of which a part may be there: how much is; `None` if all is.
    async fn begin_large(
        &mut self,
        path: &Path,
        size: u64,
        to: &RemotePath,
    ) -> Result<Option<u64>, CopyFailure> {
        let command = Command::Begin(to, Some(size));
        let text = match self.link.call(command, None).await? {
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
            let reply = self.link.call(Command::Abandon, None).await?;
            return match reply {
                Reply::Ok(_) => Ok(None),
                _ => Err(CopyFailure::Garbled("it does not forget a file")),
            };
        }
        if length == 0 || (length <= size && sum(length).await? == part) {
            return Ok(Some(length));
        }
        match self.link.call(Command::Restart, None).await? {
            Reply::Ok(_) => Ok(Some(0)),
            Reply::Err(why) => Err(remote(to, why)),
            _ => Err(CopyFailure::Garbled("it does not begin again")),
        }
    }

    pub(super) async fn stdin(&mut self, to: &RemotePath) -> Result<(), CopyFailure> {
        let mut input = Input::spawn().map_err(local("standard input"))?;
        let shown: Arc<str> = to.to_string().into();
        self.file += 1;
        let mut sum = Sum::new(self.link.sums);
        let step = Step::Begin {
            name: "standard input".to_owned(),
            size: None,
        };
        self.send(&shown, step, Command::Begin(to, None)).await?;
        // While the node is busy, what comes is gathered.
        let mut gathered = BytesMut::new();
        let mut more = true;
        while self.broken != Some(self.file) && (more || !gathered.is_empty()) {
            self.settle(PENDING).await?;
            let enough = gathered.len() >= self.stride.bytes().min(GATHERED);
            if enough || (!gathered.is_empty() && (self.pending.is_empty() || !more)) {
                let data = gathered.split().freeze();
                sum.update(&data);
                self.append(&shown, data.len()).await?;
                self.feed(&data).await?;
                continue;
            }
            let chunk = tokio::select! {
                chunk = input.next() => chunk,
                stepped = self.link.step() => {
                    stepped?;
                    continue;
                }
            };
            match chunk {
                Some(Ok(chunk)) => gathered.extend_from_slice(&chunk),
                Some(Err(error)) => {
                    self.send(&shown, Step::Other, Command::Abandon).await?;
                    return Err(local("standard input")(error));
                }
                None => more = false,
            }
        }
        let kept = Kept {
            mode: 0o666,
            time: None,
        };
        self.finish(&shown, &sum, kept).await
    }

    /// Has the node append so many bytes, which are to be [fed](Self::feed).
    async fn append(&mut self, shown: &Arc<str>, length: usize) -> Result<(), CopyFailure> {
        let encoded = match self.link.up {
            Encoding::Raw => length,
            Encoding::Base64 => encoding::lines_length(length),
        };
        let command = Command::Append(encoded, self.link.up);
        self.send(shown, Step::Append(length), command).await
    }

    /// In base64 it must be all that was promised, since lines are.
    async fn feed(&mut self, data: &[u8]) -> Result<(), CopyFailure> {
        let body = match self.link.up {
            Encoding::Raw => Bytes::copy_from_slice(data),
            Encoding::Base64 => encoding::lines(data),
        };
        self.link.feed(body).await
    }

    async fn finish(&mut self, shown: &Arc<str>, sum: &Sum, kept: Kept) -> Result<(), CopyFailure> {
        let (sum, preserve) = (&sum.text(), self.manner.preserve);
        let command = Command::Finish {
            sum,
            kept,
            preserve,
        };
        self.send(shown, Step::Finish, command).await
    }
}

/// Why a file was not read as far as it should be.
enum Unread {
    /// The copy cannot go on.
    Copy(CopyFailure),
    /// The system says why; or there is no more of it.
    File(Option<std::io::Error>),
}

impl From<CopyFailure> for Unread {
    fn from(failure: CopyFailure) -> Self {
        Self::Copy(failure)
    }
}
