//! Connections of local programs, over TCP or a Unix socket.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;

use super::descriptors::Reserve;
use crate::mux::Socket;

/// A connection of a local program.
#[derive(Debug)]
pub enum LocalSocket {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a Unix socket.
    #[cfg(unix)]
    Unix(UnixStream),
}

/// A connection that others look at, too.
#[derive(Debug)]
pub struct Shared<'a>(&'a LocalSocket);

/// Calls a method of the stream inside.
macro_rules! delegate {
    ($self:ident, $method:ident, $($argument:ident),*) => {
        match $self.get_mut() {
            LocalSocket::Tcp(stream) => Pin::new(stream).$method($($argument),*),
            #[cfg(unix)]
            LocalSocket::Unix(stream) => Pin::new(stream).$method($($argument),*),
        }
    };
}

impl AsyncRead for LocalSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        delegate!(self, poll_read, context, buffer)
    }
}

impl AsyncWrite for LocalSocket {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        delegate!(self, poll_write, context, data)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        delegate!(self, poll_write_vectored, context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, poll_flush, context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, poll_shutdown, context)
    }
}

/// Calls a method of the stream that is shared.
macro_rules! of_shared {
    ($self:ident, $method:ident, $($argument:expr),*) => {
        match $self.0 {
            LocalSocket::Tcp(stream) => stream.$method($($argument),*),
            #[cfg(unix)]
            LocalSocket::Unix(stream) => stream.$method($($argument),*),
        }
    };
}

impl AsyncRead for Shared<'_> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(of_shared!(self, poll_read_ready, context))?;
            match of_shared!(self, try_read, buffer.initialize_unfilled()) {
                Ok(length) => {
                    buffer.advance(length);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Shared<'_> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(of_shared!(self, poll_write_ready, context))?;
            match of_shared!(self, try_write, data) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                wrote => return Poll::Ready(wrote),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// The connection is to be shut down by its owner.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl LocalSocket {
    /// The same, to be read and written while others look at it.
    pub fn shared(&self) -> Shared<'_> {
        Shared(self)
    }

    /// Whether the other end has gone, or will send nothing, and has not sent anything.
    pub fn is_gone(&self) -> bool {
        match self.peek() {
            Ok(length) => length == 0,
            Err(error) => !matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
            ),
        }
    }

    /// Waits until it [`is_gone`](Self::is_gone): for ever, once the other end has sent something.
    /// Safe to cancel.
    pub async fn gone(&self) {
        loop {
            let peeked = match self {
                Self::Tcp(stream) => stream.async_io(Interest::READABLE, || self.peek()).await,
                #[cfg(unix)]
                Self::Unix(stream) => stream.async_io(Interest::READABLE, || self.peek()).await,
            };
            match peeked {
                Ok(1..) => std::future::pending().await,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => return,
            }
        }
    }

    /// The number of bytes that can be read, up to 1.
    fn peek(&self) -> io::Result<usize> {
        let socket = match self {
            Self::Tcp(stream) => SockRef::from(stream),
            #[cfg(unix)]
            Self::Unix(stream) => SockRef::from(stream),
        };
        socket.peek(&mut [MaybeUninit::uninit()])
    }

    /// Whether its descriptor is one of those that are to stay free.
    #[cfg(unix)]
    pub fn touches(&self, reserve: Reserve) -> bool {
        match self {
            Self::Tcp(stream) => reserve.is_touched_by(stream),
            Self::Unix(stream) => reserve.is_touched_by(stream),
        }
    }

    /// There is no limit.
    #[cfg(not(unix))]
    pub fn touches(&self, _: Reserve) -> bool {
        false
    }
}

impl Socket for LocalSocket {
    fn reset(&self) {
        match self {
            Self::Tcp(stream) => stream.reset(),
            #[cfg(unix)]
            Self::Unix(stream) => stream.reset(),
        }
    }

    fn is_abandoned(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_abandoned(),
            #[cfg(unix)]
            Self::Unix(stream) => stream.is_abandoned(),
        }
    }
}
