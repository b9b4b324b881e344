//! Whether the process at the other end of a local TCP connection has closed it for good.
//!
//! TCP has but one sign for "I send no more" and "I am gone". Agents have no such difference
//! either, so it matters: one who is gone needs no answer. The kernel tells who still holds the
//! socket at the other end.

use std::io;
use std::net::{IpAddr, SocketAddr};

use rustix::net::netlink::{SOCK_DIAG, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with,
};

/// `nlmsghdr`, in bytes.
const HEADER: usize = 16;
/// The type of a request and its answer, and that of a refusal.
const BY_FAMILY: u16 = 20;
const ERROR: u16 = 2;
const IS_REQUEST: u16 = 1;
const TCP: u8 = 6;
/// Where an answer (`inet_diag_msg`) has the inode: 0 for a socket that no process holds.
const INODE: usize = HEADER + 68;
const NO_SUCH_SOCKET: i32 = -2;

/// Whether no process holds the socket at `peer` any more that is connected to ours at `local`;
/// `None` if nobody can tell.
pub fn is_abandoned(local: SocketAddr, peer: SocketAddr) -> Option<bool> {
    // The kernel knows of its own sockets, and of those in its own network only.
    if !peer.ip().to_canonical().is_loopback() {
        return None;
    }
    let answer = ask(&request(peer, local)).ok()?;
    let number = |at: usize| answer.get(at..at + 4)?.first_chunk().copied();
    let kind = u16::from_ne_bytes(*answer.get(4..6)?.first_chunk()?);
    match kind {
        ERROR => (i32::from_ne_bytes(number(HEADER)?) == NO_SUCH_SOCKET).then_some(true),
        BY_FAMILY => Some(u32::from_ne_bytes(number(INODE)?) == 0),
        _ => None,
    }
}

/// Asks for the one TCP socket that is at `source` and connected to `destination`.
fn request(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let family = match source {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let mut body = vec![u8::try_from(family.as_raw()).unwrap_or_default(), TCP, 0, 0];
    body.extend_from_slice(&u32::MAX.to_ne_bytes()); // in any state
    body.extend_from_slice(&source.port().to_be_bytes());
    body.extend_from_slice(&destination.port().to_be_bytes());
    for address in [source.ip(), destination.ip()] {
        let mut bytes = [0; 16];
        match address {
            IpAddr::V4(address) => bytes[..4].copy_from_slice(&address.octets()),
            IpAddr::V6(address) => bytes = address.octets(),
        }
        body.extend_from_slice(&bytes);
    }
    body.extend_from_slice(&0_u32.to_ne_bytes()); // on any interface
    body.extend_from_slice(&[0xff; 8]); // with any cookie
    let length = u32::try_from(HEADER + body.len()).unwrap_or_default();
    let mut message = length.to_ne_bytes().to_vec();
    message.extend_from_slice(&BY_FAMILY.to_ne_bytes());
    message.extend_from_slice(&IS_REQUEST.to_ne_bytes());
    message.extend_from_slice(&[0; 8]); // sequence number and port
    message.extend_from_slice(&body);
    message
}

fn ask(request: &[u8]) -> io::Result<Vec<u8>> {
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        Some(SOCK_DIAG),
    )?;
    sendto(
        &socket,
        request,
        SendFlags::empty(),
        &SocketAddrNetlink::new(0, 0),
    )?;
    // The answer is there by the time that the request is sent.
    let mut answer = vec![0; 1024];
    let (length, _) = recv(&socket, &mut answer[..], RecvFlags::empty())?;
    answer.truncate(length);
    Ok(answer)
}
