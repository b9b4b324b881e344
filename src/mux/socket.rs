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
}

impl Socket for TcpStream {
    fn reset(&self) {
        // It may be gone already.
        let _ = SockRef::from(self).set_linger(Some(Duration::ZERO));
    }
}

#[cfg(unix)]
impl Socket for tokio::net::UnixStream {
    fn reset(&self) {}
}
