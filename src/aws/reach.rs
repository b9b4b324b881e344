//! The way to a host, step by step: name, TCP, proxy, TLS, and who vouches for the other end.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::future::select_ok;
use http::Uri;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::rustls;
use url::{Host, Url};

use super::Aws;
use super::certificate::Issuer;
use super::dial::{Dial, DialError, start_tls};
use super::error::{self, Error, plain};
use super::tls::Trust;

/// Addresses that are tried.
const TRIED: usize = 8;
/// How long IPv6 may take, where there is IPv4 too.
const IPV6: Duration = Duration::from_secs(2);

/// A step on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Settings of this machine.
    Setup,
    /// Looking up the name.
    Dns,
    /// A TCP connection.
    Tcp,
    /// The proxy.
    Proxy,
    /// TLS.
    Tls,
}

/// How far one gets to a host.
#[derive(Clone, Debug)]
pub struct Reach {
    /// The host.
    pub host: String,
    /// Host and port of the proxy on the way.
    pub proxy: Option<String>,
    /// A proxy is set, and does not count for this host.
    pub is_exempt: bool,
    /// What the name stands for; none behind a proxy, which looks it up itself.
    pub addresses: Vec<IpAddr>,
    /// Whether one of its IPv6 addresses answers; none if it has none.
    pub ipv6: Option<bool>,
    /// Who issued the certificate, if there is one.
    pub issuer: Option<Issuer>,
    /// Where it ends, and why.
    pub failure: Option<(Stage, Error)>,
}

impl Aws {
    /// Goes to the host of a URL, within `limit`, and says how far it came.
    pub async fn reach(&self, url: &Url, limit: Duration) -> Reach {
        let mut reach = Reach {
            host: url.host_str().unwrap_or_default().to_owned(),
            proxy: None,
            is_exempt: false,
            addresses: Vec::new(),
            ipv6: None,
            issuer: None,
            failure: None,
        };
        let way = self.go(url, limit, &mut reach).await;
        reach.failure = way.err().map(|(stage, error)| (stage, error.to_error()));
        reach
    }

    async fn go(
        &self,
        url: &Url,
        limit: Duration,
        reach: &mut Reach,
    ) -> Result<(), (Stage, DialError)> {
        let deadline = Instant::now() + limit;
        let late = |what| DialError::Timeout {
            host: url.host_str().unwrap_or_default().to_owned(),
            what,
            limit,
        };
        let proxy = self.0.proxies.for_url(url);
        let proxy = proxy.map_err(|error| (Stage::Setup, DialError::Setup(error)))?;
        let uri: Uri = url.as_str().parse().map_err(|_| {
            let error =
                Error::configuration(format!("cannot use the URL {url}"), "it is malformed");
            (Stage::Setup, DialError::Setup(error))
        })?;
        let secure = matches!(url.scheme(), "https" | "wss");
        let config = match secure {
            true => Some(
                self.0
                    .trust
                    .config()
                    .map_err(|error| (Stage::Setup, DialError::Setup(error)))?,
            ),
            false => None,
        };
        let addresses = match &proxy {
            Some(proxy) => {
                reach.proxy = proxy.uri().authority().map(|name| {
                    // User and password are nobody's business.
                    let name = name.as_str();
                    name.rsplit('@').next().unwrap_or(name).to_owned()
                });
                Vec::new()
            }
            None => {
                reach.is_exempt = is_exempt(secure);
                let found = timeout_at(deadline, look_up(url)).await;
                let found = found.unwrap_or_else(|_| Err(late("resolve")));
                found.map_err(|error| (Stage::Dns, error))?
            }
        };
        reach.addresses = addresses.iter().map(SocketAddr::ip).collect();
        let open = async || match &proxy {
            Some(proxy) => {
                let (trust, proxies) = (self.0.trust.clone(), self.0.proxies.clone());
                let wire = Dial::new(trust, proxies, None).through(&uri, proxy).await;
                let wire = wire.map_err(|error| (Stage::Proxy, error))?;
                Ok::<_, (Stage, DialError)>(Box::new(wire) as Box<dyn Pipe>)
            }
            None => {
                let stream = connect(url, &addresses).await;
                let stream = stream.map_err(|error| (Stage::Tcp, error))?;
                Ok(Box::new(stream) as Box<dyn Pipe>)
            }
        };
        let stage = if proxy.is_some() {
            Stage::Proxy
        } else {
            Stage::Tcp
        };
        let (stream, ipv6) = tokio::join!(timeout_at(deadline, open()), ipv6(&addresses));
        reach.ipv6 = ipv6;
        let stream = stream.unwrap_or_else(|_| Err((stage, late("let us connect"))))?;
        let Some(config) = config else {
            return Ok(());
        };
        let shaken = timeout_at(deadline, start_tls(config, &uri, stream)).await;
        let shaken = shaken.unwrap_or_else(|_| Err(late("finish the TLS handshake")));
        match shaken {
            Ok(stream) => {
                reach.issuer = issuer(stream.get_ref().1);
                Ok(())
            }
            Err(error) => {
                if is_about_certificates(&error) {
                    reach.issuer = timeout_at(deadline, async {
                        let anyone = Trust::new(None, false).config().ok()?;
                        let stream = start_tls(anyone, &uri, open().await.ok()?).await.ok()?;
                        issuer(stream.get_ref().1)
                    })
                    .await
                    .unwrap_or_default();
                }
                Err((Stage::Tls, error))
            }
        }
    }

    /// Whether certificates of servers are verified.
    pub fn verifies_tls(&self) -> bool {
        self.0.trust.verifies()
    }
}

/// Any stream of bytes.
trait Pipe: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Pipe for T {}

/// Whether there is a proxy that was not asked.
fn is_exempt(secure: bool) -> bool {
    let own: &[&str] = match secure {
        true => &["HTTPS_PROXY", "https_proxy"],
        false => &["HTTP_PROXY", "http_proxy"],
    };
    let set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    own.iter().chain(&["ALL_PROXY", "all_proxy"]).any(set)
}

async fn look_up(url: &Url) -> Result<Vec<SocketAddr>, DialError> {
    let port = url.port_or_known_default().unwrap_or(443);
    let name = match url.host() {
        Some(Host::Ipv4(address)) => return Ok(vec![(address, port).into()]),
        Some(Host::Ipv6(address)) => return Ok(vec![(address, port).into()]),
        Some(Host::Domain(name)) => name,
        None => "",
    };
    let fail = |why: String| DialError::Resolve {
        host: name.to_owned(),
        why,
    };
    let found = tokio::net::lookup_host((name, port))
        .await
        .map_err(|error| {
            let why = plain(&error);
            let prefix = "failed to lookup address information: ";
            fail(why.strip_prefix(prefix).unwrap_or(&why).to_owned())
        })?;
    let mut addresses: Vec<SocketAddr> = found.collect();
    addresses.dedup();
    addresses.truncate(TRIED);
    match addresses.is_empty() {
        true => Err(fail("it has no address".to_owned())),
        false => Ok(addresses),
    }
}

/// The first address that answers; which one that is does not matter here.
async fn connect(url: &Url, addresses: &[SocketAddr]) -> Result<TcpStream, DialError> {
    let dials = addresses
        .iter()
        .map(|address| Box::pin(TcpStream::connect(*address)));
    match select_ok(dials).await {
        Ok((stream, _)) => Ok(stream),
        Err(source) => {
            let host = url.host_str().unwrap_or_default();
            let port = url.port_or_known_default().unwrap_or(443);
            Err(DialError::Connect {
                host: format!("{host}:{port}"),
                source,
            })
        }
    }
}

/// Whether IPv6 works, where there are addresses of it.
async fn ipv6(addresses: &[SocketAddr]) -> Option<bool> {
    let address = addresses.iter().find(|address| address.is_ipv6())?;
    let connected = timeout(IPV6, TcpStream::connect(*address)).await;
    Some(matches!(connected, Ok(Ok(_))))
}

fn issuer(connection: &rustls::ClientConnection) -> Option<Issuer> {
    let first = connection.peer_certificates()?.first()?;
    Some(Issuer::of(first))
}

fn is_about_certificates(error: &DialError) -> bool {
    let DialError::Tls { source, .. } = error else {
        return false;
    };
    matches!(
        error::find::<rustls::Error>(source),
        Some(rustls::Error::InvalidCertificate(_))
    )
}
