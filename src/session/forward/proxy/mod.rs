//! A local SOCKS5 and HTTP CONNECT proxy, without any server on the node.
//!
//! A port session leads to one host and port, which the agent learns when it starts. So each
//! destination that a client of the proxy names gets a session of its own, when it is first
//! wanted; later clients share it, and it ends when nobody has used it for a while. Names are
//! resolved by the node, never here.
//!
//! ```text
//! listener -> front: what does the client want? -> pool -> link -> carrier: route -> session
//! ```
//!
//! Clients hear of failures in the words of their protocol, as far as these are known
//! before the first byte: agents do not say that a connection is made, only that it is not. Who is
//! refused by the destination itself is reset, as with other forwards.

mod carrier;
mod destination;
mod front;
mod link;
mod notice;
mod pool;
mod refusal;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tracing::debug;

use super::Stop;
use super::listener::Accepted;
use super::report::Reporter;
use crate::mux::Socket as _;

use self::pool::Pool;
use self::refusal::Why;

pub use destination::Destination;
pub(super) use link::Claim;
pub use notice::ProxyNotice;
pub use pool::Options;

/// Clients at once that have not said yet where they want to go; more stay in the backlog.
const CLIENTS: usize = 256;

/// A proxy.
pub struct Proxy {
    pool: Pool,
}

impl Proxy {
    /// A proxy that tells by `report` what happens.
    pub fn new(options: Options, report: Reporter) -> Self {
        Self {
            pool: Pool::new(options, report),
        }
    }

    /// The same, with attempts to have a session that are repeated for so long while clients wait.
    pub fn with_patience(self, patience: Duration) -> Self {
        Self {
            pool: self.pool.with_patience(patience),
        }
    }

    /// Connects the clients of `queue` until it is told to stop, or nobody can come any more; then
    /// ends all sessions.
    pub async fn run(self, queue: &mut mpsc::Receiver<Accepted>, stop: &mut Stop) {
        let pool = Arc::new(self.pool);
        let places = Arc::new(Semaphore::new(CLIENTS));
        let mut clients = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.wanted() => break,
                next = next(&places, queue) => match next {
                    Some((place, accepted)) => {
                        clients.spawn(serve(Arc::clone(&pool), place, accepted));
                    }
                    None => break,
                },
                Some(_) = clients.join_next() => {}
            }
        }
        queue.close();
        // Their sockets go with them.
        clients.shutdown().await;
        pool.close(stop).await;
    }
}

/// The next client, once there is a place for it. Safe to cancel.
async fn next(
    places: &Arc<Semaphore>,
    queue: &mut mpsc::Receiver<Accepted>,
) -> Option<(OwnedSemaphorePermit, Accepted)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    Some((place, queue.recv().await?))
}

/// Hears what a client wants, and has it.
async fn serve(pool: Arc<Pool>, place: OwnedSemaphorePermit, mut accepted: Accepted) {
    let mut socket = accepted.socket.shared();
    let request = match front::greet(&mut socket).await {
        Ok(request) => request,
        Err(rejected) => {
            debug!(peer = accepted.peer, %rejected, "a client was sent away");
            if rejected.is_telling() {
                pool.tell(ProxyNotice::Rejected {
                    peer: accepted.peer.clone(),
                    why: rejected.to_string(),
                });
            }
            return front::linger(&mut accepted.socket).await;
        }
    };
    let destination = request.destination().clone();
    debug!(peer = accepted.peer, %destination, "asked for");
    // Those who wait for one destination are not to keep others out.
    drop(place);
    let connected = tokio::select! {
        connected = pool.connect(&destination) => connected,
        () = accepted.socket.gone() => {
            debug!(peer = accepted.peer, "gone before there was a session");
            return;
        }
    };
    match connected {
        Ok(claim) => {
            if let Err(error) = request.accept().await {
                debug!(peer = accepted.peer, %error, "gone before it was connected");
                return;
            }
            accepted.peer = format!("{} to {destination}", accepted.peer);
            carry(&pool, &destination, claim, accepted).await;
        }
        Err(refusal) => {
            // The others are told of once for all who wait.
            if refusal.why == Why::Busy {
                pool.tell(ProxyNotice::Rejected {
                    peer: accepted.peer.clone(),
                    why: format!("{destination}: {}", refusal.text),
                });
            }
            if let Err(error) = request.refuse(&refusal).await {
                debug!(peer = accepted.peer, %error, "gone before it was refused");
                return;
            }
            front::linger(&mut accepted.socket).await;
        }
    }
}

/// Has a connection carried whose client believes that it is connected.
async fn carry(pool: &Arc<Pool>, destination: &Destination, claim: Claim, accepted: Accepted) {
    let accepted = Accepted::new(accepted.socket, accepted.peer);
    let mut handed = claim.carry(accepted).await;
    while let Err(back) = handed {
        // The session ended just now.
        match pool.connect(destination).await {
            Ok(claim) => handed = claim.carry(back).await,
            Err(refusal) => {
                debug!(
                    peer = back.peer,
                    why = refusal.text,
                    "cannot be connected again"
                );
                return back.socket.reset();
            }
        }
    }
}
