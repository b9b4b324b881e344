//! The signals that ssmx acts on, as a stream.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use rustix::process::Signal as Number;
use tokio::signal::unix::{self, SignalKind};

use crate::terminal::Signal;

/// The signals that the process gets, each kind at most once until it is taken.
///
/// To be installed once and kept: from then on these signals have no other effect, even
/// if the parent had them ignored, and even after this is dropped. Only hangups stay
/// ignored: that is what `nohup` is for. Ends and suspensions
/// are for whoever holds this to bring about.
pub struct Signals {
    streams: Vec<(Signal, unix::Signal)>,
}

impl Signals {
    /// Installs the handlers. Needs a tokio runtime with its I/O driver.
    pub fn install() -> io::Result<Signals> {
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
        .filter(|(signal, _)| *signal != Signal::Hangup || !hangup_is_ignored())
        .map(|(signal, kind)| Ok((signal, unix::signal(kind)?)))
        .collect::<io::Result<_>>()?;
        Ok(Signals { streams })
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

fn hangup_is_ignored() -> bool {
    #[expect(unsafe_code, reason = "the only way to ask for a disposition")]
    // SAFETY: all zeros are a valid sigaction; with a null pointer it is only read into.
    unsafe {
        let mut now: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGHUP, std::ptr::null(), &raw mut now) == 0
            && now.sa_sigaction == libc::SIG_IGN
    }
}
