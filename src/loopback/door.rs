//! Where connections come in, a bounded number of them at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The pause behind a failed accept: as a rule there are no descriptors left, which takes time.
const BACK_OFF: Duration = Duration::from_millis(50);

/// A listener that takes no more than so many connections.
pub(super) struct Door {
    listener: TcpListener,
    slots: Arc<Semaphore>,
}

impl Door {
    /// Connections from `listener`, at most `most` at once.
    pub(super) fn new(listener: TcpListener, most: usize) -> Self {
        Self {
            listener,
            slots: Arc::new(Semaphore::new(most)),
        }
    }

    /// The next connection, and its slot, to be dropped with it. `None`: there will be no other.
    pub(super) async fn next(&self) -> Option<(TcpStream, OwnedSemaphorePermit)> {
        let slot = self.slots.clone().acquire_owned().await.ok()?;
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => return Some((stream, slot)),
                Err(_) => tokio::time::sleep(BACK_OFF).await,
            }
        }
    }
}
