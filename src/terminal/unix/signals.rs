//! The signals that ssmx acts on, as a stream.

use std::future::poll_fn;
use std::io;
use std::sync::OnceLock;
use std::task::Poll;

use rustix::process::Signal as Number;
use tokio::signal::unix::{self, SignalKind};

use crate::terminal::{Ignored, Signal};

/// The signals that the process gets, each kind at most once until it is taken.
///
/// To be installed once and kept: from then on these signals have no other effect, even
/// after this is dropped. Ends and suspensions are for whoever holds this to bring about.
/// Of those that the parent had ignored, hangups stay so: that is what `nohup` is for.
pub struct Signals {
    streams: Vec<(Signal, unix::Signal)>,
}

impl Signals {
    /// Installs the handlers, even of what the keyboard sends if the parent had that
    /// ignored. Needs a tokio runtime with its I/O driver.
    pub fn install() -> io::Result<Signals> {
        Signals::install_for(Ignored::Heeded)
    }

    /// Installs the handlers. Needs a tokio runtime with its I/O driver.
    pub fn install_for(keys: Ignored) -> io::Result<Signals> {
        let at_first = ignored_at_first();
        // The order is that of delivery, when several kinds wait: to end comes before all
        // else, and to be running again comes before the size of the terminal.
        let streams = [
            (Signal::Hangup, SignalKind::hangup()),
            (Signal::Terminate, SignalKind::terminate()),
            (Signal::Interrupt, SignalKind::interrupt()),
            (Signal::Quit, SignalKind::quit()),
            (
                Signal::Continue,
                SignalKind::from_raw(Number::CONT.as_raw()),
            ),
            (Signal::Suspend, SignalKind::from_raw(Number::TSTP.as_raw())),
            (Signal::Resize, SignalKind::window_change()),
        ]
        .into_iter()
        .filter(|(signal, _)| match (signal, keys) {
            (Signal::Hangup, _) => !at_first.hangup,
            (Signal::Interrupt, Ignored::LeftAlone) => !at_first.interrupt,
            (Signal::Quit, Ignored::LeftAlone) => !at_first.quit,
            _ => true,
        })
        .map(|(signal, kind)| Ok((signal, unix::signal(kind)?)))
        .collect::<io::Result<_>>()?;
        Ok(Signals { streams })
    }

    /// From now on, what the keyboard sends has no effect at all if the parent had it
    /// ignored.
    pub fn leave_ignored_alone(&mut self) {
        let at_first = ignored_at_first();
        self.streams.retain(|(signal, _)| match signal {
            Signal::Interrupt => !at_first.interrupt,
            Signal::Quit => !at_first.quit,
            _ => true,
        });
    }

    /// The next signal. Safe to cancel.
    pub async fn next(&mut self) -> Signal {
        poll_fn(|context| {
            for (signal, stream) in &mut self.streams {
                if let Poll::Ready(Some(())) = stream.poll_recv(context) {
                    return Poll::Ready(*signal);
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// What the parent had ignored.
struct AtFirst {
    hangup: bool,
    interrupt: bool,
    quit: bool,
}

/// Asked before there are any handlers, and remembered.
fn ignored_at_first() -> &'static AtFirst {
    static AT_FIRST: OnceLock<AtFirst> = OnceLock::new();
    AT_FIRST.get_or_init(|| AtFirst {
        hangup: is_ignored(libc::SIGHUP),
        interrupt: is_ignored(libc::SIGINT),
        quit: is_ignored(libc::SIGQUIT),
    })
}

fn is_ignored(signal: libc::c_int) -> bool {
    #[expect(unsafe_code, reason = "the only way to ask for a disposition")]
    // SAFETY: all zeros are a valid sigaction; with a null pointer it is only read into.
    unsafe {
        let mut now: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &raw mut now) == 0
            && now.sa_sigaction == libc::SIG_IGN
    }
}
