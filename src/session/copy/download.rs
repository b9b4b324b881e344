//! From the node to this machine.

use std::collections::VecDeque;
use std::fs;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use tracing::debug;

use super::frame::Reply;
use super::link::Link;
use super::local::{Kept, Part, name_of, sum_of};
use super::script::unhex;
use super::sum::Sum;
use super::{BLOCK, CopyFailure, Encoding, Manner, RemotePath, UNIT, local};
use crate::terminal::Output;

/// Bytes asked for and not written yet, at most.
const AHEAD: usize = 4 * BLOCK;
/// Commands without an answer so far, at most.
const PENDING: usize = 64;
/// How often a block is asked for: a file may become shorter meanwhile.
const TRIES: u8 = 6;

/// Where a copy goes.
pub enum Destination {
    /// A file, or a directory.
    Path(PathBuf),
    /// Standard output.
    Stdout,
}

/// What kind of file there is on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
    Symlink,
    Other,
}

/// What a node tells of a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Status {
    pub(super) kind: Kind,
    size: u64,
    kept: Kept,
}

impl Status {
    /// Reads `MODE SIZE TIME`, with the mode in hex, or as `ls` writes it.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let mode = words.next()?;
        let size = words.next()?.parse().ok()?;
        let time = words.next()?.parse().ok();
        let (kind, mode) = match u32::from_str_radix(mode, 16) {
            Ok(mode) => {
                let kind = match mode & 0o170_000 {
                    0o100_000 => Kind::File,
                    0o040_000 => Kind::Directory,
                    0o120_000 => Kind::Symlink,
                    _ => Kind::Other,
                };
                (kind, mode & 0o7777)
            }
            Err(_) => {
                let kind = match *mode.as_bytes().first()? {
                    b'-' => Kind::File,
                    b'd' => Kind::Directory,
                    b'l' => Kind::Symlink,
                    _ => Kind::Other,
                };
                let bits = mode.as_bytes().get(1..10)?;
                let mode = bits.iter().fold(0, |mode, &bit| {
                    mode << 1 | u32::from(!matches!(bit, b'-' | b'S' | b'T'))
                });
                (kind, mode)
            }
        };
        let kept = Kept { mode, time };
        Some(Self { kind, size, kept })
    }
}

enum Sink {
    Part(Part),
    Stdout(Output),
    /// It failed, and was told.
    Gone,
}

/// A file that comes.
struct Flow {
    remote: RemotePath,
    place: PathBuf,
    sink: Sink,
    kept: Kept,
    size: u64,
    sum: Sum,
    /// Asked for and not written, in their order.
    slots: VecDeque<Slot>,
    /// How much is asked for.
    asked: u64,
    /// What the node says that the checksum is.
    remote_sum: Option<String>,
}

struct Slot {
    /// Where it is in the file.
    at: u64,
    length: usize,
    tries: u8,
    data: Option<Bytes>,
}

#[derive(Debug, Clone, Copy)]
enum Want {
    /// The block there. The byte is swapped with EF.
    Block {
        at: u64,
        swap: Option<u8>,
    },
    Sum,
}

struct Pending {
    id: u64,
    /// Counts files.
    flow: u64,
    want: Want,
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
        for source in sources {
            let copied = self.source(source, &to, is_directory).await;
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
                let sink = Sink::Stdout(Output::stdout());
                return self.file(source, status, "-".into(), Some(sink)).await;
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
            _ => self.file(source, status, place, None).await,
        }
    }

    async fn tree(
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
            let command = |id| format!("gl {id} \"$a\"");
            let list = match self.link.call(&[source.bytes()], command, None).await? {
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
                        let copied = self.file(remote, entry.status, place, None).await;
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
                let given = kept.give(&place).map_err(local(place));
                self.note(given)?;
            }
        }
        Ok(())
    }

    async fn file(
        &mut self,
        remote: RemotePath,
        status: Status,
        place: PathBuf,
        sink: Option<Sink>,
    ) -> Result<(), CopyFailure> {
        if status.kind != Kind::File {
            return Err(unfit(&remote, "is not a regular file"));
        }
        let Status { size, kept, .. } = status;
        let shown = String::from_utf8_lossy(remote.name().unwrap_or(remote.bytes())).into_owned();
        let mut flow = Flow {
            place: place.clone(),
            sink: Sink::Gone,
            kept,
            size,
            sum: Sum::new(self.link.sums),
            slots: VecDeque::new(),
            asked: 0,
            remote_sum: None,
            remote,
        };
        flow.sink = match sink {
            Some(sink) => sink,
            None => {
                let part = Part::open(&place, kept.mode).map_err(local(&place))?;
                let Some(part) = self.resume(part, &mut flow).await? else {
                    self.link.watch.begin(&shown, Some(size), size);
                    self.link.watch.done();
                    return Ok(());
                };
                Sink::Part(part)
            }
        };
        self.link.watch.begin(&shown, Some(size), flow.asked);
        let number = self.first + self.flows.len() as u64;
        self.flows.push_back(flow);
        loop {
            self.settle(PENDING).await?;
            while self.ahead >= AHEAD {
                self.take_one().await?;
            }
            let Some(flow) = self.flow(number) else {
                return Ok(());
            };
            if flow.asked >= size || matches!(flow.sink, Sink::Gone) {
                break;
            }
            let at = flow.asked;
            let length = usize::try_from(size - at).unwrap_or(BLOCK).min(BLOCK);
            flow.asked += length as u64;
            flow.slots.push_back(Slot {
                at,
                length,
                tries: 0,
                data: None,
            });
            self.ahead += length;
            self.ask_block(number, at).await?;
        }
        let Some(flow) = self.flow(number) else {
            return Ok(());
        };
        let path = flow.remote.bytes().to_vec();
        // Files that seem empty may be such as those in /proc.
        let length = if size > 0 {
            size.to_string()
        } else {
            String::new()
        };
        let command = |id| format!("gs {id} \"$a\" {length}");
        let id = self.link.ask(&[&path], command, None).await?;
        self.pending.push_back(Pending {
            id,
            flow: number,
            want: Want::Sum,
        });
        Ok(())
    }

    /// Looks how much is here already; `None` if all is.
    async fn resume(&mut self, part: Part, flow: &mut Flow) -> Result<Option<Part>, CopyFailure> {
        let (size, sums) = (flow.size, self.link.sums);
        let here = local(&flow.place);
        if size > BLOCK as u64
            && let Some(mut file) = part.whole(size)
        {
            let (sum, length) = sum_of(&mut file, size, sums).await.map_err(here)?;
            let same = self.remote_sum(&flow.remote, size).await?;
            if length == size && same.is_some_and(|same| same == sum.text()) {
                let kept = part.keep_whole(flow.kept, self.manner.preserve);
                kept.map_err(local(&flow.place))?;
                return Ok(None);
            }
        }
        let unit = UNIT as u64;
        let there = part.there().min(size) / unit * unit;
        if there > 0 {
            let here = local(&flow.place);
            let (sum, _) = sum_of(&mut &part.file, there, sums).await.map_err(here)?;
            let same = self.remote_sum(&flow.remote, there).await?;
            if same.is_some_and(|same| same == sum.text()) {
                debug!(there, "goes on behind what is there");
                (flow.asked, flow.sum) = (there, sum);
            }
        }
        let placed = part
            .shorten(flow.asked)
            .and_then(|()| (&part.file).seek(SeekFrom::Start(flow.asked)));
        match placed {
            // A device may have no places.
            Err(error) if part.there() > 0 => Err(local(&flow.place)(error)),
            _ => Ok(Some(part)),
        }
    }

    async fn remote_sum(
        &mut self,
        path: &RemotePath,
        length: u64,
    ) -> Result<Option<String>, CopyFailure> {
        self.settle(0).await?;
        let command = |id| format!("gs {id} \"$a\" {length}");
        match self.link.call(&[path.bytes()], command, None).await? {
            Reply::Ok(sum) => Ok(Some(sum)),
            Reply::Err(_) => Ok(None),
            _ => Err(CopyFailure::Garbled("it is no checksum")),
        }
    }

    fn flow(&mut self, number: u64) -> Option<&mut Flow> {
        let at = number.checked_sub(self.first)?;
        self.flows.get_mut(usize::try_from(at).ok()?)
    }

    async fn ask_block(&mut self, number: u64, at: u64) -> Result<(), CopyFailure> {
        let swap = self.swap.filter(|_| self.link.down == Encoding::Raw);
        let Some(flow) = self.flow(number) else {
            return Ok(());
        };
        let path = flow.remote.bytes().to_vec();
        let (skip, count) = (at / UNIT as u64, BLOCK / UNIT);
        let encoding = match (self.link.down, swap) {
            (Encoding::Base64, _) => "base64".to_owned(),
            (Encoding::Raw, None) => "raw".to_owned(),
            (Encoding::Raw, Some(byte)) => format!("{byte:03o}"),
        };
        let command = |id| format!("gd {id} \"$a\" {skip} {count} {encoding}");
        let id = self.link.ask(&[&path], command, None).await?;
        self.pending.push_back(Pending {
            id,
            flow: number,
            want: Want::Block { at, swap },
        });
        Ok(())
    }

    /// Waits until at most `left` commands have no answer, and takes the answers that are there.
    async fn settle(&mut self, left: usize) -> Result<(), CopyFailure> {
        while self.pending.len() > left || (self.link.has_answer() && !self.pending.is_empty()) {
            self.take_one().await?;
        }
        Ok(())
    }

    async fn take_one(&mut self) -> Result<(), CopyFailure> {
        let (id, reply) = self.link.answer().await?;
        let Some(pending) = self.pending.pop_front().filter(|pending| pending.id == id) else {
            return Err(CopyFailure::Garbled("it belongs to another command"));
        };
        let (number, down) = (pending.flow, self.link.down);
        let Some(flow) = self
            .flow(number)
            .filter(|flow| !matches!(flow.sink, Sink::Gone))
        else {
            return Ok(());
        };
        match (reply, pending.want) {
            (Reply::Ok(sum), Want::Sum) => flow.remote_sum = Some(sum),
            (Reply::Data(data), Want::Block { at, swap }) => {
                let Some(slot) = flow.slots.iter_mut().find(|slot| slot.at == at) else {
                    return Err(CopyFailure::Garbled("it is data that nobody asked for"));
                };
                let data = match down {
                    Encoding::Raw => Some(swapped(data, swap)),
                    Encoding::Base64 => decoded(&data),
                };
                match data.filter(|data| data.len() == slot.length) {
                    Some(data) => slot.data = Some(data),
                    None if slot.tries < TRIES => {
                        slot.tries += 1;
                        // Bytes that are rare beside BF BD.
                        self.swap = Some(swap.map_or(1, |byte| byte % 0x1f + 1));
                        return self.ask_block(number, at).await;
                    }
                    None => {
                        let path = flow.remote.to_string();
                        return self.fail(number, CopyFailure::Differs(path));
                    }
                }
            }
            (Reply::Err(why), _) => {
                let failure = remote(&flow.remote, why);
                return self.fail(number, failure);
            }
            _ => return Err(CopyFailure::Garbled("it answers something else")),
        }
        self.write(number).await
    }

    /// Writes what has come in order, and ends what is whole.
    async fn write(&mut self, number: u64) -> Result<(), CopyFailure> {
        let mut written = Ok(());
        loop {
            let at = usize::try_from(number.saturating_sub(self.first)).unwrap_or(usize::MAX);
            let Some(flow) = self.flows.get_mut(at) else {
                break;
            };
            let Some(data) = flow.slots.front_mut().and_then(|slot| slot.data.take()) else {
                break;
            };
            flow.slots.pop_front();
            self.ahead = self.ahead.saturating_sub(data.len());
            flow.sum.update(&data);
            let length = data.len() as u64;
            match &mut flow.sink {
                Sink::Part(part) => {
                    written = part.file.write_all(&data).map_err(local(&flow.place));
                }
                Sink::Stdout(output) => {
                    output.push(data);
                    written = wait(output, self.link, false).await;
                }
                Sink::Gone => {}
            }
            if written.is_err() {
                break;
            }
            self.link.watch.advance(length);
        }
        if let Err(failure) = written {
            return self.fail(number, failure);
        }
        self.end(number).await
    }

    async fn end(&mut self, number: u64) -> Result<(), CopyFailure> {
        let preserve = self.manner.preserve;
        let Some(flow) = self.flow(number) else {
            return Ok(());
        };
        if flow.asked < flow.size || !flow.slots.is_empty() {
            return Ok(());
        }
        let Some(sum) = flow.remote_sum.take() else {
            return Ok(());
        };
        if sum != flow.sum.text() {
            let failure = CopyFailure::Differs(flow.remote.to_string());
            return self.fail(number, failure);
        }
        let (kept, place) = (flow.kept, flow.place.clone());
        match std::mem::replace(&mut flow.sink, Sink::Gone) {
            Sink::Part(part) => {
                let finished = part.finish(kept, preserve).map_err(local(place));
                self.note(finished)?;
            }
            Sink::Stdout(mut output) => wait(&mut output, self.link, true).await?,
            Sink::Gone => {}
        }
        self.link.watch.done();
        self.forget();
        Ok(())
    }

    fn fail(&mut self, number: u64, failure: CopyFailure) -> Result<(), CopyFailure> {
        if let Some(flow) = self.flow(number) {
            let sink = std::mem::replace(&mut flow.sink, Sink::Gone);
            let length: usize = flow.slots.drain(..).map(|slot| slot.length).sum();
            self.ahead = self.ahead.saturating_sub(length);
            if let Sink::Part(part) = sink {
                part.remove();
            }
        }
        self.forget();
        self.note(Err(failure))
    }

    /// Lets go of the first ones that are over.
    fn forget(&mut self) {
        while self
            .flows
            .front()
            .is_some_and(|flow| matches!(flow.sink, Sink::Gone))
        {
            self.flows.pop_front();
            self.first += 1;
        }
    }
}

struct Entry {
    status: Status,
    name: Vec<u8>,
    link: Vec<u8>,
}

impl Entry {
    /// Reads `MODE SIZE TIME NAME LINK`.
    fn read(line: &str) -> Option<Self> {
        let status = Status::read(line)?;
        let mut words = line.split(' ').skip(3);
        let name = unhex(words.next()?)?;
        let link = match words.next() {
            None | Some("") => Vec::new(),
            Some(link) => unhex(link)?,
        };
        Some(Self { status, name, link })
    }
}

fn swapped(data: Bytes, swap: Option<u8>) -> Bytes {
    let Some(other) = swap else {
        return data;
    };
    let swapped = |&byte: &u8| match byte {
        0xef => other,
        byte if byte == other => 0xef,
        byte => byte,
    };
    data.iter().map(swapped).collect()
}

fn decoded(data: &[u8]) -> Option<Bytes> {
    let digits = data
        .iter()
        .copied()
        .filter(|byte| !byte.is_ascii_whitespace());
    let digits: Vec<u8> = digits.collect();
    STANDARD.decode(digits).ok().map(Bytes::from)
}

/// Waits for room in the output, or until all is written, while the session goes on.
async fn wait(output: &mut Output, link: &mut Link, all: bool) -> Result<(), CopyFailure> {
    loop {
        let ready = async {
            match all {
                true => output.flush().await,
                false => output.ready().await,
            }
        };
        tokio::select! {
            ready = ready => return ready.map_err(CopyFailure::OutputGone),
            stepped = link.step() => stepped?,
        }
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

fn remote(path: &RemotePath, why: String) -> CopyFailure {
    CopyFailure::Remote {
        path: path.to_string(),
        why,
    }
}

fn unfit(path: &RemotePath, why: &'static str) -> CopyFailure {
    CopyFailure::Unfit {
        path: path.to_string(),
        why,
    }
}
