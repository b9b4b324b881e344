//! Where to listen, and why that may be impossible.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use thiserror::Error;

use super::owner;

/// Names the address to listen on, where nothing else does.
const HOST_VARIABLE: &str = "SSM_PLUGIN_LOCAL_HOST";

/// A place to accept local connections at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bind {
    /// A TCP port; 0 for any that is free.
    Tcp {
        /// On which of this machine's addresses.
        host: Host,
        /// Its number.
        port: u16,
    },
    /// A Unix socket of this path.
    Unix(PathBuf),
}

/// Addresses of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// 127.0.0.1 and ::1.
    Localhost,
    /// All there are.
    Any,
    /// This one.
    Address(IpAddr),
    /// What this name stands for.
    Name(String),
}

impl Host {
    /// What a text such as `localhost`, `*`, `::1`, `[::1]` or a name means; an empty one is
    /// localhost.
    pub fn parse(text: &str) -> Self {
        let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
        match text {
            "" => Self::Localhost,
            "*" => Self::Any,
            _ if text.eq_ignore_ascii_case("localhost") => Self::Localhost,
            _ => match bare.unwrap_or(text).parse() {
                Ok(address) => Self::Address(address),
                Err(_) => Self::Name(text.to_owned()),
            },
        }
    }

    /// Where to listen if the user does not say: as the environment has it, or localhost.
    pub fn from_environment() -> Self {
        Self::parse(&std::env::var(HOST_VARIABLE).unwrap_or_default())
    }

    /// The addresses to listen on. The first must work, or else one of the others.
    pub(super) async fn addresses(&self, port: u16) -> Result<Vec<SocketAddr>, BindError> {
        let both = |v4: Ipv4Addr, v6: Ipv6Addr| vec![(v4, port).into(), (v6, port).into()];
        Ok(match self {
            Self::Localhost => both(Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST),
            Self::Any => both(Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED),
            Self::Address(address) => vec![(*address, port).into()],
            Self::Name(name) => {
                let found = tokio::net::lookup_host((name.as_str(), port)).await;
                let mut addresses: Vec<SocketAddr> = found
                    .map_err(|error| BindError::unknown_host(name, &error))?
                    .collect();
                addresses.dedup();
                addresses
            }
        })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Localhost => f.write_str("localhost"),
            Self::Any => f.write_str("*"),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Self::Address(address) => write!(f, "{address}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// A place where nothing can be accepted, and what to do about it.
#[derive(Debug, Error)]
#[error("cannot listen on {place}: {why}")]
pub struct BindError {
    place: String,
    why: String,
    hint: Option<String>,
    kind: io::ErrorKind,
    /// In the system's words alone.
    system: String,
}

impl BindError {
    /// What to do, in one line.
    pub fn hint(&self) -> Option<String> {
        self.hint.clone()
    }

    /// Why the system refuses, without who has the place.
    pub fn kind(&self) -> io::ErrorKind {
        self.kind
    }

    /// As programs in Go tell it; `network` is `tcp` or `unix`.
    pub(super) fn as_in_go(&self, network: &str) -> String {
        let system = match self.kind {
            io::ErrorKind::AddrInUse => "address already in use".to_owned(),
            _ => self.system.to_lowercase(),
        };
        format!("listen {network} {}: bind: {system}", self.place)
    }

    pub(super) fn new(place: impl fmt::Display, error: &io::Error) -> Self {
        Self {
            place: place.to_string(),
            why: plain(error),
            hint: None,
            kind: error.kind(),
            system: plain(error),
        }
    }

    /// Somebody or something has the place.
    #[cfg(any(unix, test))]
    pub(super) fn taken(self) -> Self {
        Self {
            kind: io::ErrorKind::AddrInUse,
            ..self
        }
    }

    pub(super) fn why(mut self, why: impl Into<String>) -> Self {
        self.why = why.into();
        self
    }

    pub(super) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// What a refusal of the system to bind a TCP port means.
    pub(super) fn tcp(address: SocketAddr, error: &io::Error) -> Self {
        let failed = Self::new(address, error);
        let port = address.port();
        match error.kind() {
            io::ErrorKind::AddrInUse => {
                let owner = owner::of_port(address);
                let hint = match (&owner, cfg!(target_os = "linux")) {
                    (Some(owner), _) if owner.is_this_process() => {
                        "give each forward a local port of its own, or 0 for a free one".to_owned()
                    }
                    (Some(_), _) | (None, true) => {
                        "end that program, or choose another local port (0 for a free one)"
                            .to_owned()
                    }
                    (None, false) => format!(
                        "`lsof -nP -iTCP:{port} -sTCP:LISTEN` shows by whom; \
                         or choose another local port (0 for a free one)"
                    ),
                };
                let by = owner.map_or_else(String::new, |owner| format!(" by {owner}"));
                failed
                    .why(format!("the port is in use{by}"))
                    .with_hint(hint)
            }
            io::ErrorKind::PermissionDenied if port != 0 && port < 1024 => failed
                .why(format!(
                    "port {port} is privileged, as most systems have it for those below 1024"
                ))
                .with_hint(format!(
                    "choose a local port from 1024 up, such as {} (0 for a free one)",
                    10_000 + u32::from(port)
                )),
            io::ErrorKind::AddrNotAvailable => failed
                .why("this machine does not have that address")
                .with_hint("leave the address out for localhost, or give * for all there are"),
            _ => failed,
        }
    }

    fn unknown_host(name: &str, error: &io::Error) -> Self {
        Self::new(name, error)
            .why(format!("the name is not known ({})", plain(error)))
            .with_hint("give localhost, * or an address of this machine")
    }
}

/// The system's words without Rust's number.
pub(super) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((text, _)) => text.to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_what_they_look_like() {
        let v6 = Host::Address(Ipv6Addr::LOCALHOST.into());
        let cases = [
            ("", Host::Localhost, "localhost"),
            ("LocalHost", Host::Localhost, "localhost"),
            ("*", Host::Any, "*"),
            ("::1", v6.clone(), "[::1]"),
            ("[::1]", v6, "[::1]"),
            (
                "0.0.0.0",
                Host::Address(Ipv4Addr::UNSPECIFIED.into()),
                "0.0.0.0",
            ),
            ("db", Host::Name("db".into()), "db"),
        ];
        for (text, host, shown) in cases {
            assert_eq!(Host::parse(text), host, "{text}");
            assert_eq!(host.to_string(), shown);
        }
    }

    #[test]
    fn refusals_say_what_to_do() {
        let error = |kind: io::ErrorKind, port: u16| {
            let error = BindError::tcp((Ipv4Addr::LOCALHOST, port).into(), &kind.into());
            (error.to_string(), error.hint().unwrap_or_default())
        };
        let (what, hint) = error(io::ErrorKind::PermissionDenied, 80);
        assert!(what.starts_with("cannot listen on 127.0.0.1:80: port 80 is privileged"));
        assert!(hint.contains("10080"), "{hint}");
        let (what, hint) = error(io::ErrorKind::AddrNotAvailable, 8080);
        assert!(what.contains("does not have that address"), "{what}");
        assert!(hint.contains("localhost"), "{hint}");
        let (what, hint) = error(io::ErrorKind::PermissionDenied, 8080);
        assert!(what.ends_with("permission denied"), "{what}");
        assert_eq!(hint, "");
    }

    #[test]
    fn scripts_read_what_they_know_from_go() {
        let missing = io::Error::from(io::ErrorKind::NotFound);
        let failed = || BindError::new("/s", &missing);
        let text = failed().taken().as_in_go("unix");
        assert_eq!(text, "listen unix /s: bind: address already in use");
        let text = failed().as_in_go("unix");
        assert!(text.starts_with("listen unix /s: bind: "), "{text}");
        assert!(!text.contains("in use"), "{text}");
    }
}
