//! The session of one destination, as the clients that want it see it.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::super::listener::Accepted;
use super::super::{Stop, Stopper};
use super::destination::Destination;
use super::refusal::{Refusal, Why};

/// Connections that may wait to be carried by a session that is there.
const QUEUE: usize = 256;
/// Clients that may wait for a session to be there.
const WAITING: usize = 64;

/// How a link does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Its session is being started.
    Starting,
    /// It takes connections.
    Up,
    /// There is no session, and none to come.
    Failed(Refusal),
    /// Its session is over: there may be another link.
    Over,
}

/// A destination's session, from its start to its end.
#[derive(Debug)]
pub struct Link {
    destination: Destination,
    queue: mpsc::Sender<Accepted>,
    state: watch::Sender<State>,
    claims: watch::Sender<usize>,
    open: watch::Receiver<usize>,
    stopper: Stopper,
    farewell: OnceLock<String>,
}

/// A link that somebody is about to use, or whose connection waits to be carried: it is not idle
/// while this lives.
#[derive(Debug)]
pub struct Claim(Arc<Link>);

impl Link {
    /// One that is being started; its connections come out of the queue. `open` counts those that
    /// are carried.
    fn new(
        destination: Destination,
        open: watch::Receiver<usize>,
    ) -> (Arc<Self>, mpsc::Receiver<Accepted>) {
        let (queue, connections) = mpsc::channel(QUEUE);
        let link = Self {
            destination,
            queue,
            state: watch::Sender::new(State::Starting),
            claims: watch::Sender::new(0),
            open,
            stopper: Stopper::new(),
            farewell: OnceLock::new(),
        };
        (Arc::new(link), connections)
    }

    /// Where it leads.
    pub fn destination(&self) -> &Destination {
        &self.destination
    }

    /// Tells whoever waits.
    pub fn set(&self, state: State) {
        self.state.send_replace(state);
    }

    /// Hears that it is to end.
    pub fn stop(&self) -> Stop {
        self.stopper.listen()
    }

    /// Tells it to end, for this reason if that is to be told.
    pub fn leave(&self, why: Option<String>) {
        if let Some(why) = why {
            // The first reason counts.
            let _ = self.farewell.set(why);
        }
        self.stopper.leave();
    }

    /// Tells it to leave everything as it is.
    pub fn leave_at_once(&self) {
        self.stopper.leave_at_once();
    }

    /// Why it was told to end, if that is to be told.
    pub fn farewell(&self) -> Option<String> {
        self.farewell.get().cloned()
    }

    /// Hears of those who come and go, from now on.
    pub fn users(&self) -> Users {
        Users {
            claims: self.claims.subscribe(),
            open: self.open.clone(),
        }
    }

    /// Whether nobody uses it, nor is about to.
    pub fn is_idle(&self) -> bool {
        *self.claims.borrow() == 0 && *self.open.borrow() == 0
    }

    /// Whether as many wait as may.
    fn is_crowded(&self) -> bool {
        let most = match *self.state.borrow() {
            State::Starting => WAITING,
            _ => QUEUE,
        };
        *self.claims.borrow() >= most
    }
}

/// Hears of those who come and go.
#[derive(Debug)]
pub struct Users {
    claims: watch::Receiver<usize>,
    open: watch::Receiver<usize>,
}

impl Users {
    /// Waits until somebody has come or gone. Safe to cancel.
    pub async fn changed(&mut self) {
        let changed = tokio::select! {
            changed = self.claims.changed() => changed,
            changed = self.open.changed() => changed,
        };
        if changed.is_err() {
            // Nobody counts any more.
            std::future::pending::<()>().await;
        }
    }
}

impl Claim {
    fn new(link: &Arc<Link>) -> Self {
        link.claims.send_modify(|claims| *claims += 1);
        Self(Arc::clone(link))
    }

    /// Waits until it takes connections; false if its time is over.
    ///
    /// # Errors
    ///
    /// There is no session to be had.
    pub async fn up(&self) -> Result<bool, Refusal> {
        let mut state = self.0.state.subscribe();
        let state = state.wait_for(|state| *state != State::Starting).await;
        match state.as_deref() {
            Ok(State::Up) => Ok(true),
            Ok(State::Failed(refusal)) => Err(refusal.clone()),
            Ok(State::Starting | State::Over) | Err(_) => Ok(false),
        }
    }

    /// Has it carry a connection.
    ///
    /// # Errors
    ///
    /// The connection is given back: the link is over.
    pub async fn carry(self, mut accepted: Accepted) -> Result<(), Accepted> {
        let link = Arc::clone(&self.0);
        // Whoever takes it counts it among the open ones before this one is gone.
        accepted.claim = Some(self);
        link.queue.send(accepted).await.map_err(|error| error.0)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.claims.send_modify(|claims| *claims -= 1);
    }
}

/// The links that there are, by destination.
#[derive(Debug)]
pub struct Links {
    links: HashMap<Destination, Entry>,
    limit: usize,
}

#[derive(Debug)]
struct Entry {
    link: Arc<Link>,
    used: Instant,
}

/// A link for somebody.
#[derive(Debug)]
pub struct Claimed {
    /// For as long as it is needed.
    pub claim: Claim,
    /// If it is new: what is to be brought to life.
    pub new: Option<(Arc<Link>, mpsc::Receiver<Accepted>)>,
}

impl Links {
    /// None yet, and never more than `limit`.
    pub fn new(limit: usize) -> Self {
        Self {
            links: HashMap::new(),
            limit,
        }
    }

    /// The link to a destination. A new one may cost the idle one that was used longest ago;
    /// `open` counts its connections.
    ///
    /// # Errors
    ///
    /// There are enough links, all of them in use, or enough who wait for this one.
    pub fn claim(
        &mut self,
        destination: &Destination,
        open: watch::Receiver<usize>,
    ) -> Result<Claimed, Refusal> {
        if let Some(entry) = self.links.get_mut(destination) {
            if entry.link.is_crowded() {
                let text = format!("too many wait to be connected to {destination} already");
                return Err(Refusal::new(Why::Busy, text));
            }
            entry.used = Instant::now();
            let claim = Claim::new(&entry.link);
            return Ok(Claimed { claim, new: None });
        }
        if self.links.len() >= self.limit && !self.evict() {
            return Err(Refusal::new(
                Why::Busy,
                format!(
                    "connections to {} destinations are open, more cannot be had",
                    self.limit
                ),
            ));
        }
        let (link, queue) = Link::new(destination.clone(), open);
        let entry = Entry {
            link: Arc::clone(&link),
            used: Instant::now(),
        };
        self.links.insert(destination.clone(), entry);
        Ok(Claimed {
            claim: Claim::new(&link),
            new: Some((link, queue)),
        })
    }

    /// Ends the idle link that was used longest ago, if there is one.
    fn evict(&mut self) -> bool {
        let idle = self.links.values().filter(|entry| entry.link.is_idle());
        let Some(oldest) = idle.min_by_key(|entry| entry.used) else {
            return false;
        };
        let link = Arc::clone(&oldest.link);
        self.forget(&link);
        link.leave(Some("another destination needs its place".to_owned()));
        true
    }

    /// Notes that a link is or was in use just now.
    pub fn touch(&mut self, link: &Arc<Link>) {
        if let Some(entry) = self.entry(link) {
            entry.used = Instant::now();
        }
    }

    /// Forgets a link unless it is in use; whether nobody will get it any more.
    pub fn retire(&mut self, link: &Arc<Link>) -> bool {
        let idle = link.is_idle();
        if idle {
            self.forget(link);
        }
        idle
    }

    /// Forgets a link: the next who wants to go there gets another.
    pub fn forget(&mut self, link: &Arc<Link>) {
        if self.entry(link).is_some() {
            self.links.remove(&link.destination);
        }
    }

    fn entry(&mut self, link: &Arc<Link>) -> Option<&mut Entry> {
        let entry = self.links.get_mut(&link.destination)?;
        Arc::ptr_eq(&entry.link, link).then_some(entry)
    }

    /// All that there are.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Link>> {
        self.links.values().map(|entry| &entry.link)
    }
}

#[cfg(test)]
#[path = "link_tests.rs"]
mod tests;
