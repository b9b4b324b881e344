//! The console's events as a stream, in the words of Unix.

use std::future::poll_fn;
use std::io;
use std::task::Poll;
use std::time::Duration;

use tokio::signal::windows as events;
use tokio::time::{Interval, MissedTickBehavior};

use crate::terminal::{Ignored, Signal, Size, size};

/// How often the console is asked for its size: it has no event for a change that could
/// be had without taking the input too.
const SIZE_INTERVAL: Duration = Duration::from_millis(500);

/// The events that the process gets, each kind at most once until it is taken.
///
/// To be installed once and kept: from then on these events have no other effect.
pub struct Signals {
    ctrl_c: events::CtrlC,
    ctrl_break: events::CtrlBreak,
    ctrl_close: events::CtrlClose,
    ctrl_logoff: events::CtrlLogoff,
    ctrl_shutdown: events::CtrlShutdown,
    size: Option<Size>,
    /// `None` without a console, which has no size.
    ticks: Option<Interval>,
}

impl Signals {
    /// Installs the handlers. Needs a tokio runtime with timers.
    pub fn install() -> io::Result<Signals> {
        let size = size();
        let ticks = size.map(|_| {
            let mut ticks = tokio::time::interval(SIZE_INTERVAL);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        });
        Ok(Signals {
            ctrl_c: events::ctrl_c()?,
            ctrl_break: events::ctrl_break()?,
            ctrl_close: events::ctrl_close()?,
            ctrl_logoff: events::ctrl_logoff()?,
            ctrl_shutdown: events::ctrl_shutdown()?,
            size,
            ticks,
        })
    }

    /// The same: nothing is ever ignored.
    pub fn install_for(_: Ignored) -> io::Result<Signals> {
        Signals::install()
    }

    /// Nothing is ever ignored.
    pub fn leave_ignored_alone(&mut self) {}

    /// The next event. Safe to cancel.
    pub async fn next(&mut self) -> Signal {
        poll_fn(|context| {
            let came = |poll| matches!(poll, Poll::Ready(Some(())));
            if came(self.ctrl_close.poll_recv(context)) {
                return Poll::Ready(Signal::Hangup);
            }
            if came(self.ctrl_logoff.poll_recv(context))
                || came(self.ctrl_shutdown.poll_recv(context))
            {
                return Poll::Ready(Signal::Terminate);
            }
            if came(self.ctrl_c.poll_recv(context)) {
                return Poll::Ready(Signal::Interrupt);
            }
            if came(self.ctrl_break.poll_recv(context)) {
                return Poll::Ready(Signal::Quit);
            }
            while let Some(ticks) = &mut self.ticks
                && ticks.poll_tick(context).is_ready()
            {
                let now = size();
                if now.is_some() && now != self.size {
                    self.size = now;
                    return Poll::Ready(Signal::Resize);
                }
            }
            Poll::Pending
        })
        .await
    }
}
