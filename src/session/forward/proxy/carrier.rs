//! The task behind a link: has a session started, connections carried, and the session ended when
//! nobody has used it for long.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use super::super::backoff::Backoff;
use super::super::listener::Accepted;
use super::super::over::may_pass;
use super::super::report::{Notice, Reports};
use super::super::route::{Begin, Route};
use super::super::{Over, Stop};
use super::ProxyNotice;
use super::link::{Link, State};
use super::pool::Pool;
use super::refusal::Refusal;
use crate::session::SessionFailure;
use crate::session::ending::sentence;
use crate::session::opening::Opened;

/// One destination's session at work.
pub struct Carrier {
    /// What clients see of it.
    pub link: Arc<Link>,
    /// Where it leads.
    pub route: Route,
    /// What the route tells.
    pub reports: Reports,
    /// Those to be carried.
    pub queue: mpsc::Receiver<Accepted>,
    /// Passes on what happens.
    pub teller: Teller,
}

impl Carrier {
    /// Runs until the session is over, nobody uses it, or its link is told to stop.
    pub async fn run(mut self) {
        let mut stop = self.link.stop();
        let state = match self.open(&mut stop).await {
            Ok(opened) => {
                self.link.set(State::Up);
                self.serve(opened, stop).await;
                State::Over
            }
            Err(Some(failure)) => {
                let why = sentence(&failure.to_string());
                self.teller.failed(why, failure.hint());
                State::Failed(Refusal::from(&failure))
            }
            Err(None) => State::Over,
        };
        // In this order: who finds the link over gets another.
        self.teller.pool.forget(&self.link);
        self.link.set(state);
    }

    /// Has a session started, by several attempts where that may help.
    ///
    /// # Errors
    ///
    /// Why there is none; `None` if it is not wanted any more.
    async fn open(&mut self, stop: &mut Stop) -> Result<Opened, Option<SessionFailure>> {
        let mut backoff = Backoff::default();
        let since = Instant::now();
        let patience = self.teller.pool.patience();
        loop {
            tokio::select! {
                () = stop.wanted() => return Err(None),
                () = backoff.wait() => {}
            }
            let attempt = self.route.open(stop);
            tokio::pin!(attempt);
            let outcome = loop {
                tokio::select! {
                    outcome = &mut attempt => break outcome,
                    Some(report) = self.reports.next() => self.teller.pass_on(report.notice),
                }
            };
            let failure = match outcome {
                Ok(opened) => return Ok(opened),
                Err(Over::Failed(failure)) => failure,
                Err(_) => return Err(None),
            };
            let after = backoff.failed();
            if !may_pass(&failure) || since.elapsed() + after > patience {
                return Err(Some(failure));
            }
            self.teller.pass_on(Notice::Restarting {
                after,
                why: sentence(&failure.to_string()),
                hint: failure.hint(),
            });
        }
    }

    /// Has connections carried by the session, and by others that follow it.
    async fn serve(&mut self, opened: Opened, mut stop: Stop) {
        let Self {
            link,
            route,
            reports,
            queue,
            teller,
        } = self;
        let idle = teller.pool.idle();
        let mut users = link.users();
        // If at all, when it is to end unless somebody uses it.
        let deadline = || idle.map(|idle| Instant::now() + idle);
        let mut leaving = false;
        let mut unused = deadline();
        let run = route.run(Begin::With(opened), queue, &mut stop);
        tokio::pin!(run);
        let over = loop {
            tokio::select! {
                over = &mut run => break over,
                Some(report) = reports.next() => teller.pass_on(report.notice),
                () = users.changed(), if !leaving => {
                    teller.pool.touch(link);
                    unused = deadline();
                }
                idle = passed(unused, idle), if !leaving => {
                    // Somebody may use it without a pause.
                    unused = deadline();
                    if teller.pool.retire(link) {
                        link.leave(Some(format!("unused for {} s", idle.as_secs())));
                        leaving = true;
                    }
                }
            }
        };
        debug!(?over, "left a destination");
        while let Some(report) = reports.try_next() {
            teller.pass_on(report.notice);
        }
        if let Some(why) = link.farewell() {
            teller.closed(why);
        }
    }
}

/// Waits until a time has passed by a deadline; for ever if there is none.
async fn passed(deadline: Option<Instant>, time: Option<Duration>) -> Duration {
    match (deadline, time) {
        (Some(deadline), Some(time)) => {
            sleep_until(deadline).await;
            time
        }
        _ => std::future::pending().await,
    }
}

/// Tells of one destination where everything else of the proxy is told.
pub struct Teller {
    pool: Arc<Pool>,
    link: Arc<Link>,
    destination: String,
    /// The session that there is.
    session_id: Option<String>,
}

impl Teller {
    /// One for this link.
    pub fn new(pool: &Arc<Pool>, link: &Arc<Link>) -> Self {
        Self {
            pool: Arc::clone(pool),
            link: Arc::clone(link),
            destination: link.destination().to_string(),
            session_id: None,
        }
    }

    /// Passes on what the route tells, with the name of its destination.
    fn pass_on(&mut self, notice: Notice) {
        let at = |text: String| format!("{}: {text}", self.destination);
        let notice = match notice {
            Notice::Ready { session_id } => {
                self.session_id = Some(session_id.clone());
                Notice::Proxy(ProxyNotice::Opened {
                    destination: self.destination.clone(),
                    session_id,
                })
            }
            Notice::Over { why, .. } => {
                // Those who wait get another session from the route. The next to come hears
                // whether there is one.
                if self.pool.retire(&self.link) {
                    self.link.leave(None);
                }
                return self.closed(why);
            }
            Notice::GivenUp { why, hint, .. } => return self.failed(why, hint),
            Notice::Restarting { after, why, hint } => Notice::Restarting {
                after,
                why: at(why),
                hint,
            },
            Notice::Message(text) => Notice::Message(at(text)),
            Notice::Loss(text) => Notice::Loss(at(text)),
            Notice::Slow(text) => Notice::Slow(at(text)),
            notice => notice,
        };
        self.pool.report().report(notice);
    }

    /// There is no session to be had.
    fn failed(&self, why: String, hint: Option<String>) {
        self.pool.tell(ProxyNotice::Failed {
            destination: self.destination.clone(),
            why,
            hint,
        });
    }

    /// The session is over, if there was one.
    fn closed(&mut self, why: String) {
        if let Some(session_id) = self.session_id.take() {
            self.pool.tell(ProxyNotice::Closed {
                destination: self.destination.clone(),
                session_id,
                why,
            });
        }
    }
}
