//! SOCKS5 without authentication, CONNECT only; SOCKS4 as far as to say no.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use fast_socks5::server::{Socks5ServerProtocol, SocksServerError, states};
use fast_socks5::util::target_addr::TargetAddr;
use fast_socks5::{ReplyError, Socks5Command};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};

use super::super::destination::Destination;
use super::super::refusal::{Refusal, Why};
use super::{Rejected, Request, lost};

/// The first byte of SOCKS5.
pub const VERSION: u8 = 5;
/// The first byte of SOCKS4.
pub const VERSION_4: u8 = 4;

/// SOCKS4's "rejected or failed", with the fields that clients are to ignore.
const NO_4: [u8; 8] = [0, 91, 0, 0, 0, 0, 0, 0];

/// A client that has asked for a connection.
pub struct Client<'a, S>(Socks5ServerProtocol<Replay<'a, S>, states::CommandRead>);

/// Hears a client whose first byte was [`VERSION`].
pub async fn hear<S>(socket: &mut S) -> Result<Request<'_, S>, Rejected>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let socket = Replay {
        first: Some(VERSION),
        socket,
    };
    let greeted = Socks5ServerProtocol::accept_no_auth(socket).await;
    let (client, command, address) = greeted
        .map_err(rejected)?
        .read_command()
        .await
        .map_err(rejected)?;
    let destination = match address {
        _ if command != Socks5Command::TCPConnect => {
            client
                .reply_error(&ReplyError::CommandNotSupported)
                .await
                .map_err(rejected)?;
            let command = match command {
                Socks5Command::TCPBind => "BIND",
                _ => "UDP ASSOCIATE",
            };
            return Err(Rejected::Socks(format!(
                "{command} is not to be had here, only CONNECT"
            )));
        }
        TargetAddr::Ip(address) => Destination::from_ip(address.ip(), address.port()),
        TargetAddr::Domain(name, port) => Destination::new(&name, port),
    };
    match destination {
        Ok(destination) => Ok(Request {
            destination,
            client: super::Client::Socks(Client(client)),
        }),
        Err(error) => {
            let refusal = Refusal::new(Why::BadRequest, error.to_string());
            client
                .reply_error(&refusal.socks())
                .await
                .map_err(rejected)?;
            Err(Rejected::Socks(refusal.text))
        }
    }
}

impl<S> Client<'_, S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    /// Tells it that it is connected. The address that the node uses is not known here.
    pub async fn accept(self) -> io::Result<()> {
        let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let told = self.0.reply_success(nowhere).await;
        told.map(drop).map_err(io::Error::other)
    }

    /// Tells it that it is not.
    pub async fn refuse(self, refusal: &Refusal) -> io::Result<()> {
        let told = self.0.reply_error(&refusal.socks()).await;
        told.map_err(io::Error::other)
    }
}

/// Says no to a client of the older version.
pub async fn reject_version_4<S: AsyncWrite + Unpin>(socket: &mut S) -> io::Result<()> {
    socket.write_all(&NO_4).await?;
    socket.flush().await
}

fn rejected(error: SocksServerError) -> Rejected {
    match error {
        SocksServerError::Io { source, .. } => lost(source),
        SocksServerError::AuthMethodUnacceptable(_) => Rejected::Socks(
            "the client insists on a password, which the proxy does not ask for".into(),
        ),
        error => Rejected::Socks(error.to_string()),
    }
}

/// A socket of which the first byte was read already.
struct Replay<'a, S> {
    first: Option<u8>,
    socket: &'a mut S,
}

impl<S: AsyncRead + Unpin> AsyncRead for Replay<'_, S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buf.remaining() > 0
            && let Some(first) = self.first.take()
        {
            buf.put_slice(&[first]);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut *self.socket).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Replay<'_, S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.socket).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.socket).poll_shutdown(cx)
    }
}
