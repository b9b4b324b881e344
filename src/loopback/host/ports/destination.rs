//! Where the connections of a port session go.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpStream;

use super::super::super::state::Shared;

/// Addresses that agents do not forward to: of AWS's own services on a node.
const FORBIDDEN: [IpAddr; 9] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 253)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 123)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 250)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 251)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x253)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x123)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x240)),
];

/// A port of one host, whose name was resolved once.
pub(super) struct Destination {
    shared: Arc<Shared>,
    addresses: Vec<IpAddr>,
    port: String,
}

impl Destination {
    /// Resolves `host`; an empty one is the node itself.
    ///
    /// # Errors
    ///
    /// Why the session fails: nobody may connect there.
    pub(super) async fn resolve(
        shared: Arc<Shared>,
        host: &str,
        port: &str,
    ) -> Result<Self, String> {
        let known = &shared.options.hosts;
        let own: Vec<IpAddr> = known
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case(host))
            .map(|(_, address)| *address)
            .collect();
        let addresses = if host.is_empty() {
            vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
        } else if own.is_empty() {
            let found = tokio::net::lookup_host((host, 0)).await;
            let found = found.map(|found| found.map(|address| address.ip().to_canonical()));
            let addresses: Vec<IpAddr> = found.map(Iterator::collect).unwrap_or_default();
            if addresses.is_empty() && !shared.options.late_lookup {
                return Err(format!("lookup {host}: no such host"));
            }
            if addresses.iter().any(|address| FORBIDDEN.contains(address)) {
                return Err(format!("Forwarding to IP address {host} is forbidden."));
            }
            addresses
        } else {
            own
        };
        Ok(Self {
            port: port.to_owned(),
            shared,
            addresses,
        })
    }

    /// Connects to the first address that answers.
    ///
    /// # Errors
    ///
    /// What became of the first address, as agents word it.
    pub(super) async fn dial(&self) -> Result<TcpStream, String> {
        self.shared.wait_while(|state| state.hang_dials).await;
        let outcome = self.connect().await;
        self.shared.change(|state| match outcome {
            Ok(_) => state.stats.dialled += 1,
            Err(_) => state.stats.dial_failures += 1,
        });
        outcome
    }

    async fn connect(&self) -> Result<TcpStream, String> {
        let Ok(port) = self.port.parse() else {
            return Err(format!("dial tcp: address {}: invalid port", self.port));
        };
        let mut first = None;
        for address in &self.addresses {
            let address = SocketAddr::new(*address, port);
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    // Small messages must not wait for each other; if it fails they just do.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Err(error) => {
                    first.get_or_insert_with(|| {
                        format!("dial tcp {address}: connect: {}", reason(&error))
                    });
                }
            }
        }
        Err(first.unwrap_or_else(|| "missing address".to_owned()))
    }
}

/// The system's words, without its number: `connection refused`.
fn reason(error: &io::Error) -> String {
    let text = error.to_string().to_lowercase();
    match text.split_once(" (os error") {
        Some((text, _)) => text.to_owned(),
        None => text,
    }
}
