//! Reads of the console that can be ended, reads of other handles, and writes.
#![allow(
    unsafe_code,
    reason = "the console has no safe interface; every call here passes a handle that it \
              borrows or owns, and buffers with their true lengths"
)]

use std::fs::File;
use std::io::{self, IoSlice, Read as _, Write as _};
use std::os::windows::io::{AsHandle as _, AsRawHandle as _, OwnedHandle};

use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::System::Console::{
    INPUT_RECORD, INPUT_RECORD_0, KEY_EVENT, KEY_EVENT_RECORD, KEY_EVENT_RECORD_0, ReadConsoleW,
    WriteConsoleInputW,
};

use super::{check, mode_of};

/// What the input thread reads.
pub enum Source {
    Console(Console),
    /// A pipe, a file or a device. Reading cannot be interrupted.
    File(File),
}

/// The console's input. Its bytes are read as UTF-16 and converted here, since reading
/// them in a code page turns all but ASCII into NUL on many releases of Windows.
pub struct Console {
    handle: OwnedHandle,
    units: Vec<u16>,
    /// The first half of a pair whose second half has not come yet.
    half: Option<u16>,
}

/// Ends a read of its [`Source`] where that is possible.
pub struct Waker(Option<OwnedHandle>);

impl Source {
    pub fn stdin() -> io::Result<(Source, Waker)> {
        let handle = io::stdin().as_handle().try_clone_to_owned()?;
        if mode_of(&handle).is_none() {
            return Ok((Source::File(File::from(handle)), Waker(None)));
        }
        let waker = Waker(Some(handle.try_clone()?));
        let console = Console {
            handle,
            units: vec![0; 8 * 1024],
            half: None,
        };
        Ok((Source::Console(console), waker))
    }

    /// There is nothing to wait with; the read waits.
    pub fn wait(&mut self) -> io::Result<bool> {
        Ok(true)
    }

    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Source::File(file) => match file.read(buffer) {
                // How a pipe whose writers are gone ends here.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(0),
                read => read,
            },
            Source::Console(console) => console.read(buffer),
        }
    }
}

impl Console {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // A unit becomes at most three bytes, and one may be left over from before.
        let most = self.units.len().min((buffer.len() / 3).saturating_sub(1));
        let mut length = 0;
        // SAFETY: the handle is open, and `units` has room for `most` units.
        check(unsafe {
            ReadConsoleW(
                self.handle.as_raw_handle() as HANDLE,
                self.units.as_mut_ptr().cast(),
                u32::try_from(most).unwrap_or(u32::MAX),
                &mut length,
                std::ptr::null(),
            )
        })?;
        let mut units = &self.units[..(length as usize).min(most)];
        let half = self.half.take();
        if let Some((&last, before)) = units.split_last()
            && (0xd800..0xdc00).contains(&last)
        {
            self.half = Some(last);
            units = before;
        }
        let mut used = 0;
        for c in char::decode_utf16(half.into_iter().chain(units.iter().copied())) {
            let c = c.unwrap_or(char::REPLACEMENT_CHARACTER);
            used += c.encode_utf8(&mut buffer[used..]).len();
        }
        // Nothing yet, which is not the end: a console has none.
        if used == 0 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        Ok(used)
    }
}

impl Waker {
    /// Ends a read of the console that is under way by a key press, which that read
    /// takes. Reads of anything else end with the process.
    pub fn wake(self, reading: bool) {
        let Some(handle) = self.0.filter(|_| reading) else {
            return;
        };
        let record = INPUT_RECORD {
            EventType: KEY_EVENT as u16,
            Event: INPUT_RECORD_0 {
                KeyEvent: KEY_EVENT_RECORD {
                    bKeyDown: 1,
                    wRepeatCount: 1,
                    wVirtualKeyCode: 0,
                    wVirtualScanCode: 0,
                    uChar: KEY_EVENT_RECORD_0 {
                        UnicodeChar: u16::from(b' '),
                    },
                    dwControlKeyState: 0,
                },
            },
        };
        let mut written = 0;
        // SAFETY: the handle is open; one record is passed, and its number. Should it
        // fail, the read ends with the process.
        unsafe { WriteConsoleInputW(handle.as_raw_handle() as HANDLE, &record, 1, &mut written) };
    }
}

/// What an output thread writes to.
pub struct Sink {
    file: File,
    buffer: Vec<u8>,
}

impl Sink {
    pub fn stdout() -> io::Result<Sink> {
        Ok(Sink::new(io::stdout().as_handle().try_clone_to_owned()?))
    }

    pub fn stderr() -> io::Result<Sink> {
        Ok(Sink::new(io::stderr().as_handle().try_clone_to_owned()?))
    }

    /// Writes go to the handle itself: the standard library's own output accepts only
    /// whole UTF-8 on a console.
    fn new(handle: OwnedHandle) -> Sink {
        Sink {
            file: File::from(handle),
            buffer: Vec::new(),
        }
    }

    /// Writes some of the pieces, waiting until at least one byte went.
    pub fn write(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        if let [piece] = pieces {
            return self.file.write(piece);
        }
        self.buffer.clear();
        for piece in pieces {
            self.buffer.extend_from_slice(piece);
        }
        self.file.write(&self.buffer)
    }
}
