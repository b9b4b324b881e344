//! Local ports and sockets, and the connections that come in there.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tracing::debug;

use super::bind::{Bind, BindError, Host, plain};
use super::descriptors::Reserve;
use super::proxy::Claim;
use super::repeats::Repeats;
pub use super::socket::LocalSocket;
#[cfg(unix)]
use super::unix_socket::UnixSocket;
use crate::terminal;

/// Connections that the system keeps for us until they are accepted.
const BACKLOG: i32 = 1024;
/// Accepted connections that may wait for a session; more stay in the backlog.
const QUEUE: usize = 64;
/// Ports that are tried until one is free at all addresses.
const ATTEMPTS: usize = 16;
/// Pauses after failures to accept, such as for want of file descriptors.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Pauses until somebody is gone, where there are too many.
#[cfg(unix)]
const CROWDED: Duration = Duration::from_millis(250);

/// A place that accepts connections, on all its addresses. Dropping it ends that.
#[derive(Debug)]
pub struct Listener {
    sockets: Vec<Acceptor>,
    place: Place,
}

/// Where a listener listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// At this address, and perhaps others of the same port.
    Tcp(SocketAddr),
    /// At this path.
    Unix(PathBuf),
}

#[derive(Debug)]
enum Acceptor {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixSocket),
}

/// A local connection that waits to be carried.
#[derive(Debug)]
pub struct Accepted {
    /// The connection.
    pub socket: LocalSocket,
    /// Who it is, for messages.
    pub peer: String,
    /// When it came.
    pub since: Instant,
    /// What keeps its session from being taken for unused until it is carried.
    pub(super) claim: Option<Claim>,
}

impl Accepted {
    /// A connection that came just now.
    pub fn new(socket: LocalSocket, peer: String) -> Self {
        Self {
            socket,
            peer,
            since: Instant::now(),
            claim: None,
        }
    }
}

impl Listener {
    /// Starts to listen. Must be called within a tokio runtime.
    ///
    /// Localhost is 127.0.0.1 and ::1, where there is IPv6, on the same port.
    ///
    /// # Errors
    ///
    /// The place cannot be had: it is in use, privileged, or no place of this machine.
    pub async fn bind(bind: &Bind) -> Result<Self, BindError> {
        match bind {
            Bind::Tcp { host, port } => Self::bind_tcp(host, *port).await,
            #[cfg(unix)]
            Bind::Unix(path) => {
                let socket = UnixSocket::bind(path)?;
                Ok(Self {
                    sockets: vec![Acceptor::Unix(socket)],
                    place: Place::Unix(path.clone()),
                })
            }
            #[cfg(not(unix))]
            Bind::Unix(path) => {
                let error = io::ErrorKind::Unsupported.into();
                Err(BindError::new(path.display(), &error)
                    .why("there are no Unix sockets on this system")
                    .with_hint("give a port instead"))
            }
        }
    }

    async fn bind_tcp(host: &Host, port: u16) -> Result<Self, BindError> {
        let addresses = host.addresses(port).await?;
        let mut attempt = 1;
        loop {
            match bind_all(&addresses) {
                // Another's at one of the addresses: another port may be free at all of them.
                Err(error)
                    if port == 0
                        && attempt < ATTEMPTS
                        && error.kind() == io::ErrorKind::AddrInUse =>
                {
                    attempt += 1;
                }
                bound => return bound,
            }
        }
    }

    /// Where it listens.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Whether other machines may connect.
    pub fn is_exposed(&self) -> bool {
        self.sockets.iter().any(|socket| match socket {
            Acceptor::Tcp(listener) => listener
                .local_addr()
                .is_ok_and(|address| !address.ip().to_canonical().is_loopback()),
            #[cfg(unix)]
            Acceptor::Unix(_) => false,
        })
    }

    /// Accepts connections from now on; they come out of the queue.
    pub fn start(self) -> (mpsc::Receiver<Accepted>, Accepting) {
        let (queue, accepted) = mpsc::channel(QUEUE);
        (accepted, Accepting::start(self, queue))
    }

    /// Accepts connections into `queue`, without an end unless nobody takes them any more.
    /// Failures to accept are told once in a while and waited out, as is a want of descriptors
    /// before it is one.
    pub async fn accept_into(self, queue: mpsc::Sender<Accepted>) {
        let reserve = Reserve::of_process();
        let mut next = 0;
        let mut pause = FIRST_PAUSE;
        let mut repeats = Repeats::default();
        while let Ok(permit) = queue.reserve().await {
            let accepted = tokio::select! {
                accepted = self.accept(&mut next) => accepted,
                () = queue.closed() => return,
            };
            let mut tell = |why: String| {
                let place = &self.place;
                let line = format!("cannot accept a connection on {place}: {why}; it waits");
                if let Some(line) = repeats.line(&why, line) {
                    terminal::notice(&line);
                }
            };
            match accepted {
                Ok(accepted) => {
                    debug!(peer = accepted.peer, "accepted");
                    pause = FIRST_PAUSE;
                    let crowded = accepted.socket.touches(reserve);
                    permit.send(accepted);
                    if crowded {
                        tell("nearly as many files are open as may be (ulimit -n)".to_owned());
                        self.room(reserve, &queue).await;
                    }
                }
                // The client was quicker to go than we to accept.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    tell(plain(&error));
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// Waits until the descriptors in reserve are free, or nobody takes connections any more.
    #[cfg(unix)]
    async fn room(&self, reserve: Reserve, queue: &mpsc::Sender<Accepted>) {
        let Some(socket) = self.sockets.first() else {
            return;
        };
        while !reserve.is_whole(socket) && !queue.is_closed() {
            sleep(CROWDED).await;
        }
    }

    #[cfg(not(unix))]
    async fn room(&self, _: Reserve, _: &mpsc::Sender<Accepted>) {}

    /// The next connection; `next` is whose turn it is among the sockets. Safe to cancel.
    pub async fn accept(&self, next: &mut usize) -> io::Result<Accepted> {
        std::future::poll_fn(|context| {
            for turn in 0..self.sockets.len() {
                let at = (*next + turn) % self.sockets.len();
                if let Some(socket) = self.sockets.get(at)
                    && let Poll::Ready(accepted) = socket.poll_accept(context)
                {
                    *next = at + 1;
                    return Poll::Ready(accepted);
                }
            }
            Poll::Pending
        })
        .await
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

impl Place {
    /// What there is to know if other machines may connect.
    pub fn warning(&self) -> String {
        format!("warning: {self} is open to the network without authentication")
    }

    /// The port, if it is one.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Tcp(address) => Some(address.port()),
            Self::Unix(_) => None,
        }
    }
}

/// A task that accepts connections; dropping it ends that, and closes the port.
#[derive(Debug)]
pub struct Accepting(tokio::task::JoinHandle<()>);

impl Accepting {
    /// Accepts into `queue`.
    pub fn start(listener: Listener, queue: mpsc::Sender<Accepted>) -> Self {
        Self(tokio::spawn(listener.accept_into(queue)))
    }

    /// Ends it, and returns when the place is free again.
    pub async fn end(mut self) {
        self.0.abort();
        // It was cancelled, or had ended before.
        let _ = (&mut self.0).await;
    }
}

impl Drop for Accepting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Listens at all the addresses on one port: that of the first if it is to be picked. Families
/// that the machine does not have are left out, as long as one is left.
fn bind_all(addresses: &[SocketAddr]) -> Result<Listener, BindError> {
    let mut sockets = Vec::new();
    let mut place = None;
    let mut refused = None;
    for address in addresses {
        let mut address = *address;
        if let Some(Place::Tcp(first)) = &place {
            address.set_port(first.port());
        }
        let bound = bind_one(address).and_then(|socket| Ok((socket.local_addr()?, socket)));
        match bound {
            Ok((local, socket)) => {
                sockets.push(Acceptor::Tcp(socket));
                place.get_or_insert(Place::Tcp(local));
            }
            Err(error) if is_missing_family(&error) && addresses.len() > 1 => {
                debug!(%address, %error, "left out");
                refused.get_or_insert_with(|| BindError::tcp(address, &error));
            }
            Err(error) => return Err(BindError::tcp(address, &error)),
        }
    }
    match (place, refused) {
        (Some(place), _) => Ok(Listener { sockets, place }),
        (None, Some(refused)) => Err(refused),
        (None, None) => {
            let error = io::ErrorKind::AddrNotAvailable.into();
            Err(BindError::new("localhost", &error).why("the name stands for no address"))
        }
    }
}

/// Whether there is no such address here, rather than somebody else at it.
fn is_missing_family(error: &io::Error) -> bool {
    #[cfg(unix)]
    let unsupported = error.raw_os_error() == Some(libc::EAFNOSUPPORT);
    #[cfg(not(unix))]
    let unsupported = false;
    unsupported
        || matches!(
            error.kind(),
            io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported
        )
}

fn bind_one(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // On Windows it would let others take the port over.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

#[cfg(unix)]
impl std::os::fd::AsFd for Acceptor {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
        }
    }
}

impl Acceptor {
    fn poll_accept(&self, context: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        match self {
            Self::Tcp(listener) => listener.poll_accept(context).map_ok(|(stream, peer)| {
                // Where it cannot be set, small writes are late and nothing else.
                let _ = stream.set_nodelay(true);
                Accepted::new(LocalSocket::Tcp(stream), peer.to_string())
            }),
            #[cfg(unix)]
            Self::Unix(socket) => socket.poll_accept(context).map_ok(|stream| {
                let process = stream.peer_cred().ok().and_then(|peer| peer.pid());
                let peer = process.map_or_else(
                    || "a local process".to_owned(),
                    |process| format!("process {process}"),
                );
                Accepted::new(LocalSocket::Unix(stream), peer)
            }),
        }
    }
}

#[cfg(test)]
#[path = "listener_tests.rs"]
mod tests;
