//! One file, or standard input, to the node.

use std::fs::{File, Metadata};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use tracing::debug;

use super::{Step, Upload};
use crate::session::copy::command::Command;
use crate::session::copy::frame::Reply;
use crate::session::copy::kept::Kept;
use crate::session::copy::local::{fill, sum_of};
use crate::session::copy::sum::Sum;
use crate::session::copy::{BLOCK, CopyFailure, Encoding, RemotePath, encoding, local, remote};
use crate::terminal::Input;

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
        if size > BLOCK as u64 {
            self.settle(0).await?;
            let Some(there) = self.begin_large(path, size, to).await? else {
                self.link.watch.begin(&name, Some(size), size);
                self.link.watch.done();
                if self.manner.preserve {
                    self.order(to, Command::Give(to, kept)).await?;
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
            self.send(&shown, Step::Begin, Command::Begin(to, None), None)
                .await?;
            self.link.watch.begin(&name, Some(size), 0);
        }
        let mut block = vec![0; BLOCK.min(usize::try_from(size).unwrap_or(BLOCK) + 1)];
        while self.broken != Some(self.file) {
            let length = match fill(&mut file, &mut block) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) => {
                    self.send(&shown, Step::Other, Command::Abandon, None)
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
        self.send(&shown, Step::Begin, Command::Begin(to, None), None)
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
                    self.send(&shown, Step::Other, Command::Abandon, None)
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
        let body = match self.link.up {
            Encoding::Raw => Bytes::copy_from_slice(data),
            Encoding::Base64 => encoding::lines(data),
        };
        let command = Command::Append(body.len(), self.link.up);
        self.send(shown, Step::Append(data.len()), command, Some(body))
            .await
    }

    async fn finish(&mut self, shown: &Arc<str>, sum: &Sum, kept: Kept) -> Result<(), CopyFailure> {
        let (sum, preserve) = (&sum.text(), self.manner.preserve);
        let command = Command::Finish {
            sum,
            kept,
            preserve,
        };
        self.send(shown, Step::Finish, command, None).await
    }
}
