//! Sessions by destination: started when somebody wants to go there, shared by all who do, ended
//! when nobody does.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;

use super::super::Stop;
use super::super::report::{Notice, Reporter};
use super::super::route::{Route, Settings};
use super::ProxyNotice;
use super::carrier::{Carrier, Teller};
use super::destination::Destination;
use super::link::{Claim, Claimed, Link, Links};
use super::refusal::{Refusal, Why};

/// How long attempts to have a session are repeated while clients wait. They can be told that
/// there is none, and may know better what to do than wait.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often a client is sent from a link that is over to another. Each time is a session that
/// began and ended at once.
const ATTEMPTS: usize = 3;

/// Where sessions lead through, and how they are kept.
#[derive(Debug, Clone)]
pub struct Options {
    /// The managed node's id, as the service knows it.
    pub target: String,
    /// For the history of the sessions.
    pub reason: Option<String>,
    /// How they behave.
    pub settings: Settings,
    /// How long a session is kept that nobody uses; `None` for as long as it lasts.
    pub idle: Option<Duration>,
    /// The most sessions at once.
    pub sessions: usize,
}

impl Options {
    /// The usual ones.
    pub fn new(target: String, settings: Settings) -> Self {
        Self {
            target,
            reason: None,
            settings,
            idle: Some(Duration::from_secs(60)),
            sessions: 32,
        }
    }
}

/// All sessions of a proxy.
pub struct Pool {
    options: Options,
    patience: Duration,
    report: Reporter,
    state: Mutex<State>,
}

struct State {
    links: Links,
    carriers: JoinSet<()>,
}

impl Pool {
    /// One without sessions.
    pub fn new(options: Options, report: Reporter) -> Self {
        let links = Links::new(options.sessions);
        let carriers = JoinSet::new();
        Self {
            options,
            patience: PATIENCE,
            report,
            state: Mutex::new(State { links, carriers }),
        }
    }

    /// The same, with other limits to attempts to have a session.
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Waits until there is a session to a destination.
    ///
    /// # Errors
    ///
    /// There is none to be had.
    pub async fn connect(self: &Arc<Self>, destination: &Destination) -> Result<Claim, Refusal> {
        for _ in 0..ATTEMPTS {
            let claim = self.claim(destination)?;
            if claim.up().await? {
                return Ok(claim);
            }
        }
        let text = format!("sessions to {destination} end as soon as they have begun");
        Err(Refusal::new(Why::General, text))
    }

    fn claim(self: &Arc<Self>, destination: &Destination) -> Result<Claim, Refusal> {
        let mut state = self.state();
        // Those that have ended meanwhile are nobody's business any more.
        while state.carriers.try_join_next().is_some() {}
        let (report, reports) = self.report.apart();
        let Claimed { claim, new } = state.links.claim(destination, report.open())?;
        if let Some((link, queue)) = new {
            let Options {
                target,
                reason,
                settings,
                ..
            } = &self.options;
            let route = Route {
                request: destination.request(target, reason.as_deref()),
                settings: settings.clone(),
                report,
            };
            let carrier = Carrier {
                teller: Teller::new(self, &link),
                link,
                route,
                reports,
                queue,
            };
            state.carriers.spawn(carrier.run());
        }
        Ok(claim)
    }

    /// Notes that a link is in use.
    pub fn touch(&self, link: &Arc<Link>) {
        self.state().links.touch(link);
    }

    /// Forgets a link unless it is in use; whether nobody will get it any more.
    pub fn retire(&self, link: &Arc<Link>) -> bool {
        self.state().links.retire(link)
    }

    /// Forgets a link: the next who wants to go there gets another.
    pub fn forget(&self, link: &Arc<Link>) {
        self.state().links.forget(link);
    }

    /// How long a session is kept that nobody uses; `None` for as long as it lasts.
    pub fn idle(&self) -> Option<Duration> {
        self.options.idle
    }

    /// How long attempts to have a session are repeated.
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// Where everything is told.
    pub fn report(&self) -> &Reporter {
        &self.report
    }

    /// Tells what only proxies have to tell.
    pub fn tell(&self, notice: ProxyNotice) {
        self.report.report(Notice::Proxy(notice));
    }

    /// Ends all sessions in good order, unless somebody insists. Nobody is to come any more.
    pub async fn close(&self, stop: &mut Stop) {
        let (links, mut carriers) = {
            let mut state = self.state();
            let links: Vec<_> = state.links.iter().cloned().collect();
            (links, std::mem::take(&mut state.carriers))
        };
        for link in &links {
            link.leave(None);
        }
        let ended = async { while carriers.join_next().await.is_some() {} };
        tokio::pin!(ended);
        tokio::select! {
            () = &mut ended => return,
            () = stop.insisted() => {}
        }
        for link in &links {
            link.leave_at_once();
        }
        ended.await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What a panic left is in order: no step in between is ever seen.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
