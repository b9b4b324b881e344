//! Where a client of the proxy wants to go.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use thiserror::Error;

use crate::aws::StartSession;

/// The longest name that DNS knows, in its text form.
const MAX_NAME: usize = 253;

/// A host as the node sees it, and a port on it. What it holds is fit for a session's parameters:
/// nothing that a client of the proxy sends gets there unchecked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Destination {
    host: Host,
    port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Host {
    Ip(IpAddr),
    /// In lower case: names that differ in case alone share a session.
    Name(String),
}

/// Why something is no destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BadDestination {
    /// Nothing where the host should be.
    #[error("the host is missing")]
    NoHost,
    /// More than any name has.
    #[error("the host's name is longer than {MAX_NAME} characters")]
    TooLong,
    /// Neither an address nor a name.
    #[error(
        "the host's name has characters that no name has (names beyond ASCII go as xn--…, IPv6 addresses without a zone)"
    )]
    Characters,
    /// 0, none at all, or no number up to 65535.
    #[error("the port is missing or none of 1 to 65535")]
    Port,
}

impl Destination {
    /// A name, which is left to the node to resolve, or an address without brackets.
    ///
    /// # Errors
    ///
    /// What is wrong with one of the two.
    pub fn new(host: &str, port: u16) -> Result<Self, BadDestination> {
        if let Ok(ip) = host.parse() {
            return Self::from_ip(ip, port);
        }
        let edge = |c: char| c == '.' || c == '-';
        match host {
            "" => return Err(BadDestination::NoHost),
            _ if host.len() > MAX_NAME => return Err(BadDestination::TooLong),
            _ if host.starts_with(edge) || !host.bytes().all(is_name) => {
                return Err(BadDestination::Characters);
            }
            _ => {}
        }
        Self::with_port(Host::Name(host.to_ascii_lowercase()), port)
    }

    /// An address.
    ///
    /// # Errors
    ///
    /// The port is 0.
    pub fn from_ip(ip: IpAddr, port: u16) -> Result<Self, BadDestination> {
        Self::with_port(Host::Ip(ip.to_canonical()), port)
    }

    /// `host:port` or `[address]:port`, as URLs have it.
    ///
    /// # Errors
    ///
    /// What is missing or wrong.
    pub fn from_authority(text: &str) -> Result<Self, BadDestination> {
        let (host, port) = text.rsplit_once(':').ok_or(BadDestination::Port)?;
        let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|_| digits);
        let port = port.ok_or(BadDestination::Port)?;
        match host.strip_prefix('[') {
            Some(rest) => {
                let address = rest.strip_suffix(']').ok_or(BadDestination::Characters)?;
                let ip: Ipv6Addr = address.parse().map_err(|_| BadDestination::Characters)?;
                Self::from_ip(ip.into(), port)
            }
            // The last part of a bare IPv6 address is no port.
            None if host.contains(':') => Err(BadDestination::Characters),
            None => Self::new(host, port),
        }
    }

    fn with_port(host: Host, port: u16) -> Result<Self, BadDestination> {
        if port == 0 {
            return Err(BadDestination::Port);
        }
        Ok(Self { host, port })
    }

    /// Whether this is the node itself. Agents refuse it as a remote host.
    pub fn is_the_node(&self) -> bool {
        match &self.host {
            Host::Ip(ip) => ip.is_loopback(),
            Host::Name(name) => matches!(name.as_str(), "localhost" | "localhost."),
        }
    }

    /// The session that leads there through `target`.
    pub fn request(&self, target: &str, reason: Option<&str>) -> StartSession {
        let port = ("portNumber".to_owned(), vec![self.port.to_string()]);
        let (document, parameters) = if self.is_the_node() {
            ("AWS-StartPortForwardingSession", vec![port])
        } else {
            let host = match &self.host {
                Host::Ip(ip) => ip.to_string(),
                Host::Name(name) => name.clone(),
            };
            let host = ("host".to_owned(), vec![host]);
            (
                "AWS-StartPortForwardingSessionToRemoteHost",
                vec![host, port],
            )
        };
        StartSession {
            target: target.to_owned(),
            document_name: Some(document.to_owned()),
            parameters,
            reason: reason.map(str::to_owned),
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]:{}", self.port),
            Host::Ip(IpAddr::V4(ip)) => write!(f, "{ip}:{}", self.port),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

/// What host names are made of, the underscore of service names included.
fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hosts_and_ports_as_urls_have_them() {
        let cases = [
            ("db.internal:5432", Ok("db.internal:5432")),
            ("DB.Internal.:5432", Ok("db.internal.:5432")),
            ("_srv.a-b.example:1", Ok("_srv.a-b.example:1")),
            ("10.0.0.1:65535", Ok("10.0.0.1:65535")),
            ("[2001:DB8::1]:443", Ok("[2001:db8::1]:443")),
            ("[::ffff:10.0.0.1]:443", Ok("10.0.0.1:443")),
            ("", Err(BadDestination::Port)),
            ("example", Err(BadDestination::Port)),
            ("example:", Err(BadDestination::Port)),
            ("example:0", Err(BadDestination::Port)),
            ("example:65536", Err(BadDestination::Port)),
            ("example:+80", Err(BadDestination::Port)),
            ("example:-1", Err(BadDestination::Port)),
            ("example:80/", Err(BadDestination::Port)),
            (":80", Err(BadDestination::NoHost)),
            ("[]:80", Err(BadDestination::Characters)),
            ("[::1:80", Err(BadDestination::Characters)),
            ("[10.0.0.1]:80", Err(BadDestination::Characters)),
            ("[fe80::1%25eth0]:80", Err(BadDestination::Characters)),
            ("::1:80", Err(BadDestination::Characters)),
            ("user@example:80", Err(BadDestination::Characters)),
            ("a b:80", Err(BadDestination::Characters)),
            ("exämple:80", Err(BadDestination::Characters)),
            ("a\0:80", Err(BadDestination::Characters)),
            ("-a:80", Err(BadDestination::Characters)),
            (".:80", Err(BadDestination::Characters)),
            ("$(id):80", Err(BadDestination::Characters)),
        ];
        for (text, expected) in cases {
            let parsed = Destination::from_authority(text).map(|d| d.to_string());
            assert_eq!(parsed, expected.map(str::to_owned), "{text:?}");
        }
        let long = "a".repeat(254);
        assert_eq!(Destination::new(&long, 1), Err(BadDestination::TooLong));
        assert!(Destination::new(&long[1..], 1).is_ok());
    }

    #[test]
    fn the_node_itself_is_no_remote_host() {
        let cases = [
            ("localhost:22", None),
            ("LocalHost.:22", None),
            ("127.0.0.1:22", None),
            ("127.9.9.9:22", None),
            ("[::1]:22", None),
            ("[::ffff:127.0.0.1]:22", None),
            ("10.0.0.1:22", Some("10.0.0.1")),
            ("[2001:db8::1]:22", Some("2001:db8::1")),
            ("localhost.example:22", Some("localhost.example")),
        ];
        for (text, host) in cases {
            let destination = Destination::from_authority(text).expect(text);
            let request = destination.request("i-1", Some("why"));
            let parameter = |name: &str| {
                let found = request.parameters.iter().find(|(key, _)| key == name);
                found.map(|(_, values)| values.join("|"))
            };
            assert_eq!(request.target, "i-1");
            assert_eq!(request.reason.as_deref(), Some("why"));
            assert_eq!(parameter("portNumber").as_deref(), Some("22"), "{text}");
            assert_eq!(parameter("host").as_deref(), host, "{text}");
            let remote = request
                .document_name
                .expect("one")
                .ends_with("ToRemoteHost");
            assert_eq!(remote, host.is_some(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn only_clean_hosts_become_parameters(text in ".{0,300}", port: u16) {
            for parsed in [Destination::new(&text, port), Destination::from_authority(&text)] {
                let Ok(destination) = parsed else { continue };
                for (_, values) in destination.request("i-1", None).parameters {
                    for value in values {
                        let clean = |byte: u8| is_name(byte) || byte == b':';
                        prop_assert!(!value.is_empty() && value.len() <= MAX_NAME);
                        prop_assert!(value.bytes().all(clean), "{value:?}");
                    }
                }
                // What it prints, it reads.
                let again = Destination::from_authority(&destination.to_string());
                prop_assert_eq!(again, Ok(destination));
            }
        }
    }
}
