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
mod tests {
    use super::super::super::listener::LocalSocket;
    use super::*;
    use futures_util::FutureExt as _;
    use std::time::Duration;
    use tokio::time::advance;

    fn to(host: &str) -> Destination {
        Destination::new(host, 80).expect("good")
    }

    /// What counts the connections of a link, and the link's end of that.
    fn count() -> (watch::Sender<usize>, watch::Receiver<usize>) {
        watch::channel(0)
    }

    fn new(links: &mut Links, host: &str) -> (Claim, Arc<Link>, watch::Sender<usize>) {
        let (open, counted) = count();
        let claimed = links.claim(&to(host), counted).expect("room");
        let (link, _) = claimed.new.expect("a new link");
        (claimed.claim, link, open)
    }

    fn known(links: &mut Links, host: &str) -> Option<Claim> {
        let claimed = links.claim(&to(host), count().1).expect("room");
        claimed.new.is_none().then_some(claimed.claim)
    }

    #[tokio::test]
    async fn those_who_want_the_same_share_a_link() {
        let mut links = Links::new(2);
        let (first, link, _open) = new(&mut links, "a");
        let second = known(&mut links, "A").expect("the same");
        assert!(Arc::ptr_eq(&first.0, &second.0));
        let mut waiting = Box::pin(second.up());
        assert!(waiting.as_mut().now_or_never().is_none());
        link.set(State::Up);
        assert_eq!(waiting.await, Ok(true));
        assert_eq!(first.up().await, Ok(true));
        let refusal = Refusal::new(Why::General, "no");
        link.set(State::Failed(refusal.clone()));
        assert_eq!(first.up().await, Err(refusal));
        link.set(State::Over);
        assert_eq!(first.up().await, Ok(false));
    }

    #[tokio::test]
    async fn a_link_is_in_use_from_the_claim_to_the_end_of_the_connection() {
        let mut links = Links::new(1);
        let (claim, link, open) = new(&mut links, "a");
        let mut users = link.users();
        assert!(!links.retire(&link));
        open.send_modify(|open| *open += 1);
        users.changed().await;
        drop(claim);
        users.changed().await;
        assert!(!link.is_idle() && !links.retire(&link));
        open.send_modify(|open| *open -= 1);
        users.changed().await;
        assert!(link.is_idle() && links.retire(&link));
        assert!(users.changed().now_or_never().is_none());
        drop(open);
        assert!(users.changed().now_or_never().is_none());
        assert!(known(&mut links, "a").is_none(), "it was forgotten");
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_link_is_in_use_while_a_connection_waits_to_be_carried() {
        let mut links = Links::new(1);
        let (_open, counted) = count();
        let claimed = links.claim(&to("a"), counted).expect("room");
        let (link, mut queue) = claimed.new.expect("a new link");
        let (socket, _other) = tokio::net::UnixStream::pair().unwrap();
        let accepted = Accepted::new(LocalSocket::Unix(socket), String::new());
        claimed.claim.carry(accepted).await.expect("there is room");
        assert!(!links.retire(&link));
        // The session was over before, and there is none yet that could carry it.
        let taken = queue.recv().await.expect("it waits");
        assert!(!links.retire(&link));
        drop(taken);
        assert!(links.retire(&link));
    }

    #[tokio::test]
    async fn so_many_wait_and_no_more() {
        let mut links = Links::new(2);
        let (claim, link, _open) = new(&mut links, "a");
        let mut claims = vec![claim];
        for most in [WAITING, QUEUE] {
            while claims.len() < most {
                claims.push(known(&mut links, "a").expect("room"));
            }
            let refused = links.claim(&to("a"), count().1).expect_err("full");
            assert_eq!(refused.why, Why::Busy);
            link.set(State::Up);
        }
        claims.pop();
        assert!(known(&mut links, "a").is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn the_idle_one_used_longest_ago_makes_room() {
        let mut links = Links::new(3);
        let second = Duration::from_secs(1);
        let (busy, _, _busy) = new(&mut links, "busy");
        advance(second).await;
        let (_, first, _first) = new(&mut links, "first");
        advance(second).await;
        let (_, other, _other) = new(&mut links, "other");
        advance(second).await;
        links.touch(&first);
        let (claim, ..) = new(&mut links, "new");
        assert!(other.stop().is_wanted());
        assert!(other.farewell().is_some());
        assert!(!first.stop().is_wanted());
        let again = known(&mut links, "first").expect("still there");
        let refused = links.claim(&to("other"), count().1).expect_err("full");
        assert_eq!(refused.why, Why::Busy);
        assert!(refused.text.contains(" 3 "), "{}", refused.text);
        assert_eq!(links.iter().count(), 3);
        drop((busy, claim, again));
        assert!(known(&mut links, "other").is_none(), "a place was free");
        assert_eq!(links.iter().count(), 3);
    }

    #[tokio::test]
    async fn a_link_forgets_itself_alone() {
        let mut links = Links::new(1);
        let (_, old, _old) = new(&mut links, "a");
        links.forget(&old);
        let (claim, ..) = new(&mut links, "a");
        links.forget(&old);
        links.touch(&old);
        assert!(links.retire(&old), "it is idle, and nobody gets it");
        drop(claim);
        assert!(known(&mut links, "a").is_some());
    }
}
