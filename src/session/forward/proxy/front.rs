//! What clients say to the proxy before their bytes are the destination's: SOCKS5 or HTTP
//! CONNECT, told apart by the first byte.
//!
//! Whoever is on the other side of the socket, [`greet`] ends within [`PATIENCE`] and holds no
//! more than a request's head ([`http::MAX_HEAD`]). Nothing behind the request is read: it stays
//! in the socket for the destination.

mod http;
mod socks;
#[cfg(test)]
mod tests;

use std::io;
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use super::destination::Destination;
use super::refusal::Refusal;

/// How long a client may take to say what it wants, and to take an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a client that is refused may take to hang up.
const LINGER: Duration = Duration::from_secs(1);
/// The most that it may still send meanwhile, in bytes.
const LINGER_BYTES: u64 = 64 * 1024;

/// The first byte of a TLS connection.
const TLS_HANDSHAKE: u8 = 0x16;

/// A client that said where it wants to go, and waits to hear whether it may.
pub struct Request<'a, S> {
    destination: Destination,
    client: Client<'a, S>,
}

enum Client<'a, S> {
    Socks(socks::Client<'a, S>),
    Http(&'a mut S),
}

/// Why a client never got to ask. It has been told, as far as its protocol has words.
#[derive(Debug, Error)]
pub enum Rejected {
    /// It hung up.
    #[error("the client hung up before it had asked for anything")]
    Gone,
    /// It did not come to the point.
    #[error("the client did not say within {} s where to connect", PATIENCE.as_secs())]
    TooSlow,
    /// SOCKS version 4.
    #[error("the client speaks SOCKS4; use SOCKS5 (socks5h://) or HTTP CONNECT")]
    Socks4,
    /// SOCKS5, and nothing that is offered here.
    #[error("SOCKS5: {0}")]
    Socks(String),
    /// HTTP, and nothing that is offered here.
    #[error("HTTP: {0}")]
    Http(String),
    /// TLS from the first byte, as with `https://` before the address of a proxy.
    #[error("the client begins with TLS; the proxy is http:// or socks5h://, not https://")]
    Tls,
    /// Neither.
    #[error("the client speaks neither SOCKS5 nor HTTP (its first byte is {0:#04x})")]
    Unknown(u8),
    /// The socket broke.
    #[error("the client's connection broke: {0}")]
    Io(#[from] io::Error),
}

impl Rejected {
    /// Whether the user should hear of it: not of clients that simply went away.
    pub fn is_telling(&self) -> bool {
        !matches!(self, Self::Gone | Self::Io(_))
    }
}

/// Hears what the client wants.
///
/// # Errors
///
/// It wants nothing that can be had here. It has been answered; [`linger`] before the socket is
/// dropped.
pub async fn greet<S>(socket: &mut S) -> Result<Request<'_, S>, Rejected>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    timeout(PATIENCE, hear(socket))
        .await
        .unwrap_or(Err(Rejected::TooSlow))
}

async fn hear<S>(socket: &mut S) -> Result<Request<'_, S>, Rejected>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let first = socket.read_u8().await.map_err(lost)?;
    match first {
        socks::VERSION => socks::hear(socket).await,
        socks::VERSION_4 => {
            socks::reject_version_4(socket).await?;
            Err(Rejected::Socks4)
        }
        TLS_HANDSHAKE => Err(Rejected::Tls),
        // Methods are words.
        _ if first.is_ascii_alphabetic() => http::hear(first, socket).await,
        _ => Err(Rejected::Unknown(first)),
    }
}

impl<S> Request<'_, S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    /// Where it wants to go.
    pub fn destination(&self) -> &Destination {
        &self.destination
    }

    /// Tells the client that it is connected: what comes next is the destination's.
    ///
    /// # Errors
    ///
    /// The client is gone, or takes nothing.
    pub async fn accept(self) -> io::Result<()> {
        let answer = async {
            match self.client {
                Client::Socks(client) => client.accept().await,
                Client::Http(socket) => http::accept(socket).await,
            }
        };
        timeout(PATIENCE, answer).await?
    }

    /// Tells the client that it cannot be connected; [`linger`] before the socket is dropped.
    ///
    /// # Errors
    ///
    /// The client is gone, or takes nothing.
    pub async fn refuse(self, refusal: &Refusal) -> io::Result<()> {
        let answer = async {
            match self.client {
                Client::Socks(client) => client.refuse(refusal).await,
                Client::Http(socket) => http::refuse(socket, refusal).await,
            }
        };
        timeout(PATIENCE, answer).await?
    }
}

/// Says that there is no more to come, and lets the client hang up first: a socket dropped with
/// unread bytes in it is reset, and the answer before may be lost with it.
pub async fn linger<S>(socket: &mut S)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let drain = async {
        socket.shutdown().await?;
        let mut rest = socket.take(LINGER_BYTES);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
    };
    // Nobody is left to be told that it did not work.
    let _ = timeout(LINGER, drain).await;
}

/// What an error of reading means.
fn lost(error: io::Error) -> Rejected {
    match error.kind() {
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::BrokenPipe => Rejected::Gone,
        _ => Rejected::Io(error),
    }
}
