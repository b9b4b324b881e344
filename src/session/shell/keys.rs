//! What is typed, the end of it, and what the system says to us.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tracing::debug;

use super::super::Style;
use super::super::ending::Outcome;
use super::super::front::{SUSPEND, current_size, suspend};
use super::super::leave::Exit;
use super::Session;
use crate::protocol::SessionType;
use crate::protocol::escape::{Typed, typed_payload};
use crate::terminal::{self, Signal};

/// How long an interrupted command may take to end before the session is ended over it.
const INTERRUPT_GRACE: Duration = Duration::from_secs(3);
/// How many end-of-file characters follow the first ones, each for one more reader.
const END_OF_FILES: u32 = 100;
const INTERRUPT: &[u8] = &[0x03];
const QUIT: &[u8] = &[0x1c];
/// What a terminal takes for the end of its input.
pub(super) const END_OF_FILE: &[u8] = &[0x04];

impl Session {
    pub(super) fn handle_typed(&mut self, typed: Option<std::io::Result<Bytes>>) -> Option<Exit> {
        let bytes = match typed {
            Some(Ok(bytes)) => bytes,
            Some(Err(error)) => {
                debug!(%error, "standard input failed");
                return self.input_ended();
            }
            None => return self.input_ended(),
        };
        for typed in self.escape.feed(&bytes) {
            match typed {
                Typed::Input(input) => self.type_input(input),
                Typed::Disconnect => {
                    return Some(Exit::Leave(Ok(Outcome::Ended { exit_code: None })));
                }
                Typed::Help => terminal::notice(&self.help()),
                Typed::Status => self.figures = Some(Box::pin(self.channel.figures())),
                Typed::Off => terminal::notice("escape keys are off"),
                Typed::Suspend => suspend(),
            }
        }
        None
    }

    fn type_input(&mut self, input: Vec<u8>) {
        let Some(&last) = input.last() else { return };
        self.last_typed = last;
        if let Some(recording) = &self.front.options.recording {
            recording.input(&input);
        }
        self.queue(typed_payload(input));
    }

    fn input_ended(&mut self) -> Option<Exit> {
        self.input = None;
        if self.raw.is_some() {
            debug!("the terminal is gone");
            return Some(Exit::Leave(Ok(Outcome::Signal(1))));
        }
        if let Some(Typed::Input(held)) = self.escape.finish() {
            self.type_input(held);
        }
        if self.front.options.send_eof {
            // Behind a partial line the first one only passes the line on.
            for _ in 0..if self.last_typed == b'\n' { 1 } else { 2 } {
                self.queue(Bytes::from_static(END_OF_FILE));
            }
            self.end_of_files = END_OF_FILES;
        }
        None
    }

    pub(super) fn handle_signal(&mut self, signal: Signal) -> Option<Exit> {
        let plugin = self.front.options.style == Style::Plugin;
        let number = signal.number().map(i32::from);
        match signal {
            Signal::Resize => self.resize(),
            Signal::Continue => {
                if let Err(error) = terminal::resume() {
                    debug!(%error, "the terminal cannot be made raw again");
                }
                self.resize();
            }
            Signal::Suspend if plugin => self.queue(Bytes::from_static(SUSPEND)),
            Signal::Suspend => suspend(),
            Signal::Quit => self.queue(Bytes::from_static(QUIT)),
            Signal::Interrupt if self.passes_interrupts() => {
                self.queue(Bytes::from_static(INTERRUPT));
                if !plugin {
                    self.interrupted = Some(Instant::now() + INTERRUPT_GRACE);
                }
            }
            _ => return number.map(|number| Exit::Leave(Ok(Outcome::Signal(number)))),
        }
        None
    }

    fn resize(&self) {
        let size = current_size();
        self.channel.set_size(size);
        if let Some(recording) = &self.front.options.recording {
            recording.resize(size);
        }
    }

    /// A command hears an interrupt first, so that its own exit status can come back. A second
    /// one is meant for us.
    fn passes_interrupts(&self) -> bool {
        match self.kind {
            // While the connection is lost nobody hears it but us.
            _ if self.front.options.style == Style::Plugin => !self.loss.lasts(),
            SessionType::NonInteractiveCommands => self.interrupted.is_none(),
            _ => false,
        }
    }

    fn help(&self) -> String {
        let e = self.escape_name();
        format!(
            "escape keys, at the start of a line: {e}. ends the session, {e}^Z suspends ssmx, \
             {e}# shows how the session is doing, {e}- means no more escape keys, {e}{e} types the escape character, {e}? is this list"
        )
    }

    /// The escape character as it is written: `~`, or `^]` for a control character.
    pub(super) fn escape_name(&self) -> String {
        match self.front.options.escape {
            Some(byte) if byte < b' ' => format!("^{}", char::from(byte ^ 0x40)),
            Some(byte) => char::from(byte).to_string(),
            None => String::new(),
        }
    }

    pub(super) fn queue(&mut self, data: Bytes) {
        self.to_send_bytes += data.len();
        self.to_send.push_back(data);
    }
}
