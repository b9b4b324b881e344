//! A terminal emulator around a program, to assert on what a user would see.

use std::io::{Read as _, Write};
use std::num::NonZero;
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Instant;

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

use super::DEADLINE;

/// A program on a pseudo-terminal, and the screen that it paints.
pub struct Terminal {
    master: Box<dyn MasterPty + Send>,
    writer: Box<dyn Write + Send>,
    child: Box<dyn Child + Send + Sync>,
    shared: Arc<(Mutex<Painted>, Condvar)>,
}

struct Painted {
    parser: vt100::Parser,
    all: Vec<u8>,
    closed: bool,
}

fn size(cols: u16, rows: u16) -> PtySize {
    PtySize {
        rows,
        cols,
        pixel_width: 0,
        pixel_height: 0,
    }
}

fn cells(count: u16) -> NonZero<u16> {
    NonZero::new(count).expect("terminals have cells")
}

impl Terminal {
    /// Starts `command` (its program, arguments and environment) on a terminal of 80 × 24.
    pub fn spawn(command: &Command) -> Self {
        Self::of_size(command, 80, 24)
    }

    /// The same on a terminal of another size.
    pub fn of_size(command: &Command, cols: u16, rows: u16) -> Self {
        let pair = native_pty_system()
            .openpty(size(cols, rows))
            .expect("a pseudo-terminal");
        let mut builder = CommandBuilder::new(command.get_program());
        builder.args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => builder.env(name, value),
                None => builder.env_remove(name),
            }
        }
        let child = pair
            .slave
            .spawn_command(builder)
            .expect("the program starts");
        drop(pair.slave);
        let mut reader = pair.master.try_clone_reader().expect("a reader");
        let writer = pair.master.take_writer().expect("a writer");
        let shared = Arc::new((
            Mutex::new(Painted {
                parser: vt100::Parser::new(cells(rows), cells(cols), 1000),
                all: Vec::new(),
                closed: false,
            }),
            Condvar::new(),
        ));
        let painter = Arc::clone(&shared);
        thread::spawn(move || {
            let mut buffer = [0; 8192];
            loop {
                let read = reader.read(&mut buffer).unwrap_or(0);
                let mut painted = painter.0.lock().expect("no test panics with the lock held");
                painted.parser.process(&buffer[..read]);
                painted.all.extend_from_slice(&buffer[..read]);
                painted.closed = read == 0;
                painter.1.notify_all();
                if read == 0 {
                    return;
                }
            }
        });
        Self {
            master: pair.master,
            writer,
            child,
            shared,
        }
    }

    /// The process id of the program.
    pub fn id(&self) -> u32 {
        self.child.process_id().expect("the program runs")
    }

    /// Types bytes.
    pub fn type_in(&mut self, bytes: &[u8]) {
        self.writer
            .write_all(bytes)
            .expect("the terminal takes input");
        self.writer.flush().expect("the terminal takes input");
    }

    /// Changes the size, as a user does who drags the window.
    pub fn resize(&self, cols: u16, rows: u16) {
        self.master
            .resize(size(cols, rows))
            .expect("the terminal can be resized");
        let mut painted = self
            .shared
            .0
            .lock()
            .expect("no test panics with the lock held");
        painted
            .parser
            .screen_mut()
            .set_size(cells(rows), cells(cols));
    }

    /// Waits until `text` stands on the screen.
    pub fn wait_for(&self, text: &str) {
        self.wait_until(text, |screen, _| screen.contains(text));
    }

    /// Waits until the screen's text, or all bytes since the start, are as they should be.
    pub fn wait_until(&self, what: &str, mut is_so: impl FnMut(&str, &[u8]) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        let mut painted = self
            .shared
            .0
            .lock()
            .expect("no test panics with the lock held");
        loop {
            let screen = painted.parser.screen().contents();
            if is_so(&screen, &painted.all) {
                return;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if painted.closed || left.is_zero() {
                drop(painted);
                panic!("not on the screen: {what:?}; the screen:\n{screen}");
            }
            painted = self
                .shared
                .1
                .wait_timeout(painted, left)
                .expect("no panics")
                .0;
        }
    }

    /// The text on the screen.
    pub fn screen(&self) -> String {
        let painted = self
            .shared
            .0
            .lock()
            .expect("no test panics with the lock held");
        painted.parser.screen().contents()
    }

    /// Waits for the end; the last screen and the exit status.
    pub fn last_screen(self) -> (String, u32) {
        let shared = Arc::clone(&self.shared);
        let status = self.finish();
        let painted = shared.0.lock().expect("no test panics with the lock held");
        let painted = shared
            .1
            .wait_timeout_while(painted, DEADLINE, |painted| !painted.closed);
        let (painted, late) = painted.expect("no panics");
        assert!(!late.timed_out(), "the terminal stays open");
        (painted.parser.screen().contents(), status)
    }

    /// Waits for the end; the exit status.
    pub fn finish(mut self) -> u32 {
        let (sender, receiver) = std::sync::mpsc::channel();
        let mut killer = self.child.clone_killer();
        let shared = Arc::clone(&self.shared);
        thread::spawn(move || {
            let _ = sender.send(self.child.wait());
            // The terminal must stay open until the program is gone.
            drop((self.master, self.writer));
        });
        match receiver.recv_timeout(DEADLINE) {
            Ok(status) => status.expect("the program can be waited for").exit_code(),
            Err(_) => {
                let _ = killer.kill();
                let screen = shared.0.lock().map(|p| p.parser.screen().contents());
                panic!(
                    "the program does not end; the screen:\n{}",
                    screen.unwrap_or_default()
                );
            }
        }
    }
}
