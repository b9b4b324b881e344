//! Who has a port or a socket, where the system tells: on Linux, by its `/proc`.

use std::fmt;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::Path;

/// A process that listens.
#[cfg(target_os = "linux")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Its id and its command; `None` if it belongs to somebody else.
    process: Option<(u32, String)>,
    /// Whose it is.
    user: Option<u32>,
}

#[cfg(target_os = "linux")]
impl Owner {
    /// Whether that is ourselves.
    pub fn is_this_process(&self) -> bool {
        self.process
            .as_ref()
            .is_some_and(|(id, _)| *id == std::process::id())
    }
}

#[cfg(target_os = "linux")]
impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.process, self.user) {
            _ if self.is_this_process() => f.write_str("this command itself"),
            (Some((id, command)), _) => write!(f, "{command} (process {id})"),
            (None, Some(user)) => write!(f, "a process of another user (id {user})"),
            (None, None) => f.write_str("another process"),
        }
    }
}

/// Elsewhere nobody is known.
#[cfg(not(target_os = "linux"))]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {}

#[cfg(not(target_os = "linux"))]
impl Owner {
    /// Whether that is ourselves.
    pub fn is_this_process(&self) -> bool {
        match *self {}
    }
}

#[cfg(not(target_os = "linux"))]
impl fmt::Display for Owner {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

/// Who listens on a TCP port in the way of `address`.
#[cfg(target_os = "linux")]
pub fn of_port(address: SocketAddr) -> Option<Owner> {
    let socket = ["/proc/net/tcp", "/proc/net/tcp6"]
        .into_iter()
        .filter_map(|table| std::fs::read_to_string(table).ok())
        .find_map(|table| linux::listener(&table, address))?;
    Some(Owner {
        process: linux::holder(socket.inode),
        user: Some(socket.user),
    })
}

/// Who listens on a Unix socket.
#[cfg(target_os = "linux")]
pub fn of_path(path: &Path) -> Option<Owner> {
    let table = std::fs::read("/proc/net/unix").ok()?;
    let inode = linux::unix_listener(&table, path)?;
    Some(Owner {
        process: linux::holder(inode),
        user: None,
    })
}

/// Who listens on a TCP port in the way of `address`.
#[cfg(not(target_os = "linux"))]
pub fn of_port(_address: SocketAddr) -> Option<Owner> {
    None
}

/// Who listens on a Unix socket.
#[cfg(all(unix, not(target_os = "linux")))]
pub fn of_path(_path: &Path) -> Option<Owner> {
    None
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs;
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
    use std::os::unix::ffi::OsStrExt as _;
    use std::path::Path;

    /// The state LISTEN in the tables.
    const LISTENING: &str = "0A";

    /// A line of `/proc/net/tcp` or `tcp6`.
    #[derive(Debug, PartialEq, Eq)]
    pub struct Socket {
        pub inode: u64,
        pub user: u32,
    }

    /// The socket in a table that listens in the way of `wanted`.
    pub fn listener(table: &str, wanted: SocketAddr) -> Option<Socket> {
        table.lines().skip(1).find_map(|line| {
            let mut words = line.split_ascii_whitespace().skip(1);
            let (address, port) = words.next()?.split_once(':')?;
            let state = words.nth(1)?;
            let user = words.nth(3)?.parse().ok()?;
            let inode = words.nth(1)?.parse().ok()?;
            let port = u16::from_str_radix(port, 16).ok()?;
            let address = address_of(address)?;
            let in_the_way =
                address == wanted.ip() || address.is_unspecified() || wanted.ip().is_unspecified();
            (state == LISTENING && port == wanted.port() && in_the_way)
                .then_some(Socket { inode, user })
        })
    }

    /// An address as the tables have it: words of 32 bits in hexadecimal, in the machine's order.
    fn address_of(text: &str) -> Option<IpAddr> {
        let mut bytes = Vec::with_capacity(16);
        for at in (0..text.len()).step_by(8) {
            let word = u32::from_str_radix(text.get(at..at + 8)?, 16).ok()?;
            bytes.extend_from_slice(&word.to_ne_bytes());
        }
        match bytes.len() {
            4 => <[u8; 4]>::try_from(bytes)
                .ok()
                .map(|bytes| Ipv4Addr::from(bytes).into()),
            _ => {
                let address = Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?);
                Some(address.to_canonical())
            }
        }
    }

    /// The inode of the socket that listens at `path`, by `/proc/net/unix`.
    pub fn unix_listener(table: &[u8], path: &Path) -> Option<u64> {
        /// The flag of sockets that accept.
        const ACCEPTS: u64 = 0x10000;
        table.split(|byte| *byte == b'\n').skip(1).find_map(|line| {
            let line = line.strip_suffix(path.as_os_str().as_bytes())?;
            let line = std::str::from_utf8(line.strip_suffix(b" ")?).ok()?;
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            let flags = u64::from_str_radix(words.get(3)?, 16).ok()?;
            (flags & ACCEPTS != 0).then(|| words.get(6)?.parse().ok())?
        })
    }

    /// The process that has the socket open, and its command, if we may see that.
    pub fn holder(inode: u64) -> Option<(u32, String)> {
        let wanted = format!("socket:[{inode}]");
        for process in fs::read_dir("/proc").ok()?.flatten() {
            let Some(id) = process.file_name().to_str().and_then(|id| id.parse().ok()) else {
                continue;
            };
            let Ok(descriptors) = fs::read_dir(process.path().join("fd")) else {
                continue;
            };
            let has_it = |target: std::path::PathBuf| target.as_os_str() == wanted.as_str();
            let mut targets = descriptors
                .flatten()
                .filter_map(|descriptor| fs::read_link(descriptor.path()).ok());
            if targets.any(has_it) {
                let command = fs::read_to_string(process.path().join("comm"));
                let command = command.unwrap_or_else(|_| "?".to_owned());
                return Some((id, command.trim_end().to_owned()));
            }
        }
        None
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};

    #[test]
    fn the_owner_of_a_port_is_found_and_is_this_process() {
        for host in ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0"] {
            let Ok(listener) = TcpListener::bind(host) else {
                continue; // There may be no IPv6.
            };
            let address = listener.local_addr().unwrap();
            let owner = of_port(address).expect("somebody listens");
            assert!(owner.is_this_process(), "{owner:?}");
            drop(listener);
            assert_eq!(of_port(address), None);
        }
    }

    #[test]
    fn tables_are_read_by_state_port_and_address() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
           0: 0100007F:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000   104        0 2222 1 0 100 0 0 10 0\n\
           1: 0100007F:1F90 0100007F:1234 01 00000000:00000000 00:00000000 00000000  1000        0 3333 1 0 100 0 0 10 0\n\
           2: broken\n";
        let find = |address: Ipv4Addr, port: u16| linux::listener(table, (address, port).into());
        if cfg!(target_endian = "little") {
            let found = find(Ipv4Addr::LOCALHOST, 5432).expect("it is there");
            assert_eq!((found.inode, found.user), (2222, 104));
            assert!(find(Ipv4Addr::UNSPECIFIED, 5432).is_some());
            assert_eq!(find(Ipv4Addr::new(127, 0, 0, 2), 5432), None);
        }
        assert_eq!(find(Ipv4Addr::LOCALHOST, 8080), None, "it does not listen");
        assert_eq!(linux::listener("", (Ipv6Addr::LOCALHOST, 1).into()), None);
    }

    #[test]
    fn owners_are_named_as_far_as_they_are_known() {
        let owner = |process: Option<(u32, &str)>, user| {
            let process = process.map(|(id, name)| (id, name.to_owned()));
            Owner { process, user }.to_string()
        };
        assert_eq!(owner(Some((1, "init")), Some(0)), "init (process 1)");
        assert_eq!(owner(None, Some(0)), "a process of another user (id 0)");
        assert_eq!(owner(None, None), "another process");
        let own = owner(Some((std::process::id(), "ssmx")), None);
        assert_eq!(own, "this command itself");
    }
}
