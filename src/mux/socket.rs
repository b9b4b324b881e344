//! What [`relay`](super::relay) can move bytes to and from.

use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// A connection of a stream kind.
pub trait Socket: AsyncRead + AsyncWrite + Unpin {
    /// Makes dropping it an abrupt end, where there is such a thing: its other end is not to take
    /// what it has got for all that there is.
    fn reset(&self);

    /// Whether its other end is closed both ways, so that nobody awaits an answer. Asked at the
    /// end of its input; false if the system does not tell.
    fn is_abandoned(&self) -> bool;
}

impl Socket for TcpStream {
    fn reset(&self) {
        // It may be gone already.
        let _ = SockRef::from(self).set_linger(Some(Duration::ZERO));
    }

    #[cfg(target_os = "linux")]
    fn is_abandoned(&self) -> bool {
        match (self.local_addr(), self.peer_addr()) {
            (Ok(local), Ok(peer)) => super::linux::is_abandoned(local, peer).unwrap_or(false),
            _ => false,
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn is_abandoned(&self) -> bool {
        false
    }
}

#[cfg(unix)]
impl Socket for tokio::net::UnixStream {
    fn reset(&self) {}

    fn is_abandoned(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        // Half closed is no hang-up.
        let mut fds = [PollFd::new(self, PollFlags::IN)];
        let now = Timespec::default();
        poll(&mut fds, Some(&now)).is_ok() && fds[0].revents().contains(PollFlags::HUP)
    }
}
