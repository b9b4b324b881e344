//! Connections of local programs, over TCP or a Unix socket.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;

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

impl LocalSocket {
    /// Whether the other end has gone, or will send nothing, and has not sent anything.
    pub fn is_gone(&self) -> bool {
        let socket = match self {
            Self::Tcp(stream) => SockRef::from(stream),
            #[cfg(unix)]
            Self::Unix(stream) => SockRef::from(stream),
        };
        let mut byte = [MaybeUninit::uninit()];
        match socket.peek(&mut byte) {
            Ok(length) => length == 0,
            Err(error) => !matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
            ),
        }
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
