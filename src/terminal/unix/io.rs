//! Blocking reads that can be ended, and writes, of descriptors that others share.

use std::fs::File;
use std::io::{self, IoSlice, PipeReader, PipeWriter, Read as _, Write as _};
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, poll};

/// What the input thread reads.
pub struct Source {
    /// `None` for a closed descriptor, which reads as empty.
    file: Option<File>,
    /// At its end as soon as the [`Waker`] is gone.
    closed: PipeReader,
}

/// Ends a wait of its [`Source`] or [`Presence`].
#[derive(Debug)]
pub struct Waker(PipeWriter);

impl Source {
    pub fn stdin() -> io::Result<(Source, Waker)> {
        match rustix::stdio::stdin().try_clone_to_owned() {
            Ok(fd) => Source::new(Some(fd)),
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::BADF.raw_os_error()) => {
                Source::new(None)
            }
            Err(error) => Err(error),
        }
    }

    pub fn new(fd: Option<OwnedFd>) -> io::Result<(Source, Waker)> {
        let (closed, waker) = io::pipe()?;
        let file = fd.map(File::from);
        Ok((Source { file, closed }, Waker(waker)))
    }

    /// Waits until a read will not block (true) or the waker is gone (false).
    pub fn wait(&mut self) -> io::Result<bool> {
        let Some(file) = &self.file else {
            return Ok(true);
        };
        let mut fds = [
            PollFd::new(file, PollFlags::IN),
            PollFd::new(&self.closed, PollFlags::IN),
        ];
        rustix::io::retry_on_intr(|| poll(&mut fds, None))?;
        if !fds[1].revents().is_empty() {
            return Ok(false);
        }
        // Poll on Apple's systems knows few devices. Terminals are the ones that block.
        #[cfg(target_vendor = "apple")]
        if fds[0].revents().contains(PollFlags::NVAL) && rustix::termios::isatty(file) {
            use std::os::fd::AsFd as _;
            return apple::select_readable(file.as_fd(), self.closed.as_fd());
        }
        // Whatever else poll reports, reading tells what it means.
        Ok(true)
    }

    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.as_mut().map_or(Ok(0), |file| file.read(buffer))
    }
}

impl Waker {
    /// Ends the wait. Reads that are under way end by themselves here.
    pub fn wake(self, _reading: bool) {
        drop(self.0);
    }
}

/// Who of those at the other ends of two descriptors is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gone {
    Nobody,
    /// Nobody reads what is written.
    Reader,
    /// Nor can anybody write what is read.
    Both,
}

/// Watches the other ends of two descriptors.
pub struct Presence {
    input: OwnedFd,
    output: OwnedFd,
    /// At its end as soon as the [`Waker`] is gone.
    closed: PipeReader,
}

impl Presence {
    pub fn of_stdio() -> io::Result<(Presence, Waker)> {
        Presence::new(
            rustix::stdio::stdin().try_clone_to_owned()?,
            rustix::stdio::stdout().try_clone_to_owned()?,
        )
    }

    pub fn new(input: OwnedFd, output: OwnedFd) -> io::Result<(Presence, Waker)> {
        let (closed, waker) = io::pipe()?;
        let presence = Presence {
            input,
            output,
            closed,
        };
        Ok((presence, Waker(waker)))
    }

    /// Tells who is gone until both are, or the waker is.
    pub fn tell(self, told: impl Fn(Gone)) {
        if self.lasts(&self.output) {
            return;
        }
        told(Gone::Reader);
        if !self.lasts(&self.input) {
            told(Gone::Both);
        }
    }

    /// Waits until the other end of `fd` is gone (false) or the waker is (true).
    fn lasts(&self, fd: &OwnedFd) -> bool {
        // Whoever asks for no events hears only of ends and errors.
        let mut fds = [
            PollFd::new(fd, PollFlags::empty()),
            PollFd::new(&self.closed, PollFlags::IN),
        ];
        rustix::io::retry_on_intr(|| poll(&mut fds, None)).is_err()
            || !fds[1].revents().is_empty()
            || fds[0].revents().contains(PollFlags::NVAL)
    }
}

/// What an output thread writes to.
pub struct Sink {
    file: File,
}

impl Sink {
    pub fn stdout() -> io::Result<Sink> {
        Ok(Sink::new(rustix::stdio::stdout().try_clone_to_owned()?))
    }

    pub fn stderr() -> io::Result<Sink> {
        Ok(Sink::new(rustix::stdio::stderr().try_clone_to_owned()?))
    }

    pub fn new(fd: OwnedFd) -> Sink {
        Sink {
            file: File::from(fd),
        }
    }

    /// Writes some of the pieces, waiting until at least one byte went.
    pub fn write(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        loop {
            match self.file.write_vectored(pieces) {
                // Somebody else made the file non-blocking.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let mut fds = [PollFd::new(&self.file, PollFlags::OUT)];
                    rustix::io::retry_on_intr(|| poll(&mut fds, None))?;
                    if fds[0].revents().contains(PollFlags::NVAL) {
                        return Err(error);
                    }
                }
                written => return written,
            }
        }
    }
}

#[cfg(target_vendor = "apple")]
mod apple {
    use std::io;
    use std::os::fd::{AsRawFd as _, BorrowedFd};

    use rustix::event::{FdSetElement, FdSetIter, fd_set_insert, fd_set_num_elements, select};

    /// Waits for either; true if `closed` is not the one.
    pub fn select_readable(input: BorrowedFd<'_>, closed: BorrowedFd<'_>) -> io::Result<bool> {
        let (input, closed) = (input.as_raw_fd(), closed.as_raw_fd());
        let bound = input.max(closed) + 1;
        let mut readable = vec![FdSetElement::default(); fd_set_num_elements(2, bound)];
        loop {
            readable.fill(FdSetElement::default());
            fd_set_insert(&mut readable, input);
            fd_set_insert(&mut readable, closed);
            #[expect(
                unsafe_code,
                reason = "select takes raw descriptors; both are borrowed here"
            )]
            // SAFETY: the set holds two descriptors, open for as long as the borrows.
            let selected = unsafe { select(bound, Some(&mut readable), None, None, None) };
            match selected {
                Ok(_) => return Ok(!FdSetIter::new(&readable).any(|fd| fd == closed)),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
