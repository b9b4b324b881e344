//! Opens connections for API calls: straight or through a proxy, with TLS where the URL wants it.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::proxy::matcher::Intercept;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls;
use tower_service::Service;
use url::Url;

use super::error::{self, Error, Kind};
use super::proxy::Proxies;
use super::tls::Trust;

/// Why no connection could be made. Travels through the HTTP client and the SDK as a cause.
#[derive(Debug)]
pub(super) enum DialError {
    /// Our own side: trust store, proxy settings.
    Setup(Error),
    /// No address for the name.
    Resolve { host: String, why: String },
    /// No TCP connection.
    Connect { host: String, source: io::Error },
    /// TLS was tried and failed.
    Tls { host: String, source: io::Error },
    /// The proxy does not let us through.
    Proxy { proxy: String, why: String },
    /// Connecting, or waiting for the answer, took too long.
    Timeout {
        host: String,
        what: &'static str,
        limit: Duration,
    },
    /// The answer is longer than any of the API's.
    TooLong { host: String, limit: usize },
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setup(error) => error.fmt(f),
            Self::Resolve { host, why } => write!(f, "cannot resolve {host}: {why}"),
            Self::Connect { host, source } => {
                write!(f, "cannot connect to {host}: {}", error::plain(source))
            }
            Self::Tls { host, source } => {
                write!(f, "TLS with {host} failed: {}", error::chain(source))
            }
            Self::Proxy { proxy, why } => write!(f, "the proxy {proxy} {why}"),
            Self::Timeout { host, what, limit } => {
                write!(f, "{host} did not {what} within {}", error::seconds(*limit))
            }
            Self::TooLong { host, limit } => {
                write!(f, "{host} answers with more than {} MB", limit >> 20)
            }
        }
    }
}

impl StdError for DialError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Setup(error) => Some(error),
            Self::Connect { source, .. } | Self::Tls { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl DialError {
    /// Whether trying again within seconds may help.
    pub(super) fn is_worth_retrying(&self) -> bool {
        match self {
            Self::Resolve { .. } | Self::Timeout { .. } => true,
            Self::Connect { source, .. } => source.kind() != io::ErrorKind::ConnectionRefused,
            Self::Tls { source, .. } => error::find::<rustls::Error>(source).is_none(),
            Self::Setup(_) | Self::Proxy { .. } | Self::TooLong { .. } => false,
        }
    }

    /// Whether this is a matter of waiting too long.
    pub(super) fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout { .. })
    }

    /// The same for the user, with advice.
    pub(super) fn to_error(&self) -> Error {
        let text = self.to_string();
        let (what, why) = text.split_once(": ").unwrap_or(("no connection", &text));
        let unreachable = Error::new(Kind::Unreachable, what, why);
        match self {
            Self::Setup(error) => error.clone(),
            Self::Resolve { .. } => unreachable
                .with_hint("check the region, the endpoint, and the network (or HTTPS_PROXY); `ssmx doctor` finds out"),
            Self::Connect { .. } | Self::Timeout { .. } => unreachable
                .with_hint("check the network, HTTPS_PROXY and NO_PROXY, and the endpoint; `ssmx doctor` finds out"),
            Self::Tls { source, .. } => unreachable.with_hint(tls_hint(source)),
            Self::Proxy { .. } => unreachable
                .with_hint("check HTTPS_PROXY (http://USER:PASSWORD@HOST:PORT) and NO_PROXY"),
            Self::TooLong { .. } => Error::new(Kind::Other, "no answer of the API", text)
                .with_hint("is the endpoint really that of AWS? see --endpoint-url, AWS_ENDPOINT_URL and HTTPS_PROXY"),
        }
    }
}

fn tls_hint(error: &io::Error) -> &'static str {
    use rustls::CertificateError::{
        Expired, ExpiredContext, NotValidForName, NotValidForNameContext, NotValidYet,
        NotValidYetContext, UnknownIssuer,
    };
    match error::find::<rustls::Error>(error) {
        Some(rustls::Error::InvalidCertificate(UnknownIssuer)) => {
            "is there an inspecting proxy in between? name its CA certificate (PEM) with AWS_CA_BUNDLE or --ca-bundle"
        }
        Some(rustls::Error::InvalidCertificate(
            Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. },
        )) => "check this machine's clock",
        Some(rustls::Error::InvalidCertificate(
            NotValidForName | NotValidForNameContext { .. },
        )) => "the certificate is for another host: check the endpoint and the proxy",
        Some(rustls::Error::InvalidMessage(_)) => {
            "does the endpoint speak TLS at all? http:// and ws:// do not"
        }
        // The variant that holds this has no name outside rustls.
        Some(error) if error.to_string().contains("CaUsedAsEndEntity") => {
            "the server shows a CA certificate as its own: give it one that the CA has signed, or use --no-verify-ssl"
        }
        _ => {
            "behind an inspecting proxy, name its CA certificate (PEM) with AWS_CA_BUNDLE or --ca-bundle"
        }
    }
}

/// Any byte stream that an HTTP connection can run on.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection to a server, or to a proxy that forwards plain HTTP.
pub(super) struct Wire {
    stream: Box<dyn Stream>,
    forwarded: bool,
}

impl Connection for Wire {
    fn connected(&self) -> Connected {
        // Forwarding proxies get absolute URIs.
        Connected::new().proxy(self.forwarded)
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

type Dialling = Pin<Box<dyn Future<Output = Result<TokioIo<Wire>, DialError>> + Send>>;

/// TCP, and TLS for `https`; knows no proxies.
#[derive(Clone)]
struct Direct {
    tcp: HttpConnector,
    trust: Arc<Trust>,
}

impl Service<Uri> for Direct {
    type Response = TokioIo<Wire>;
    type Error = DialError;
    type Future = Dialling;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        // Each call brings its own copy of the connector; nothing is ever busy.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Dialling {
        let mut tcp = self.tcp.clone();
        let trust = Arc::clone(&self.trust);
        Box::pin(async move {
            // Trust first: it is our own error, and cheaper than a connection for nothing.
            let tls = match uri.scheme_str() {
                Some("https") => Some(trust.config().map_err(DialError::Setup)?),
                _ => None,
            };
            let host = authority(&uri);
            std::future::poll_fn(|cx| tcp.poll_ready(cx))
                .await
                .map_err(|error| connect_error(&host, error))?;
            let stream = tcp
                .call(uri.clone())
                .await
                .map_err(|error| connect_error(&host, error))?
                .into_inner();
            let stream: Box<dyn Stream> = match tls {
                Some(tls) => Box::new(start_tls(tls, &uri, stream).await?),
                None => Box::new(stream),
            };
            Ok(TokioIo::new(Wire {
                stream,
                forwarded: false,
            }))
        })
    }
}

pub(super) async fn start_tls<S: AsyncRead + AsyncWrite + Unpin>(
    config: Arc<rustls::ClientConfig>,
    uri: &Uri,
    stream: S,
) -> Result<tokio_rustls::client::TlsStream<S>, DialError> {
    let name = uri.host().unwrap_or_default();
    let name = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
        .unwrap_or(name);
    let fail = |source| DialError::Tls {
        host: authority(uri),
        source,
    };
    let server =
        ServerName::try_from(name.to_owned()).map_err(|error| fail(io::Error::other(error)))?;
    TlsConnector::from(config)
        .connect(server, stream)
        .await
        .map_err(fail)
}

fn connect_error(host: &str, error: impl StdError + 'static) -> DialError {
    let text = error::chain(&error);
    // The connector tells a failed look-up from a failed connection only by this text.
    if let Some(why) = text.strip_prefix("dns error: ") {
        let why = why
            .strip_prefix("failed to lookup address information: ")
            .unwrap_or(why);
        return DialError::Resolve {
            host: host.to_owned(),
            why: why.to_owned(),
        };
    }
    let source = match error::find::<io::Error>(&error) {
        // An OS error keeps its kind, which decides whether to try again.
        Some(io) => match io.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::new(io.kind(), text),
        },
        None => io::Error::other(text),
    };
    DialError::Connect {
        host: host.to_owned(),
        source,
    }
}

/// `host:port`, for messages.
fn authority(uri: &Uri) -> String {
    match (uri.host(), uri.port_u16()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host.to_owned(),
        _ => uri.to_string(),
    }
}

/// The connector of the HTTP client: direct, forwarding proxy, or CONNECT, as the URL and the
/// environment want it, within a time limit for all of it.
#[derive(Clone)]
pub(super) struct Dial {
    direct: Direct,
    proxies: Arc<Proxies>,
    limit: Option<Duration>,
}

impl Dial {
    /// `limit`: for name resolution, TCP, proxy and TLS together.
    pub(super) fn new(trust: Arc<Trust>, proxies: Arc<Proxies>, limit: Option<Duration>) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        Self {
            direct: Direct { tcp, trust },
            proxies,
            limit,
        }
    }

    async fn open(mut self, uri: Uri) -> Result<TokioIo<Wire>, DialError> {
        let setup = |why: String| {
            DialError::Setup(Error::configuration(
                format!("cannot use the URL {uri}"),
                why,
            ))
        };
        let url = Url::parse(&uri.to_string()).map_err(|error| setup(error.to_string()))?;
        let Some(proxy) = self.proxies.for_url(&url).map_err(DialError::Setup)? else {
            return self.direct.call(uri).await;
        };
        if url.scheme() != "https" {
            let mut wire = self.direct.call(proxy.uri().clone()).await?.into_inner();
            wire.forwarded = true;
            return Ok(TokioIo::new(wire));
        }
        // Trust first: it is our own error, and cheaper than a connection for nothing.
        let tls = self.direct.trust.config().map_err(DialError::Setup)?;
        let wire = self.through(&uri, &proxy).await?;
        let stream = start_tls(tls, &uri, wire).await?;
        Ok(TokioIo::new(Wire {
            stream: Box::new(stream),
            forwarded: false,
        }))
    }
}

impl Dial {
    /// Bytes to the host of a URL, by way of a proxy.
    pub(super) async fn through(self, uri: &Uri, proxy: &Intercept) -> Result<Wire, DialError> {
        let name = authority(proxy.uri());
        let mut tunnel = Tunnel::new(proxy.uri().clone(), self.direct);
        if let Some(auth) = proxy.basic_auth() {
            tunnel = tunnel.with_auth(auth.clone());
        }
        let wire = tunnel.call(uri.clone()).await.map_err(|error| {
            match error::find::<DialError>(&error) {
                Some(inner) => DialError::Proxy {
                    proxy: name.clone(),
                    why: format!("is out of reach: {inner}"),
                },
                None => DialError::Proxy {
                    proxy: name.clone(),
                    why: format!("refuses the way to {}: {error}", authority(uri)),
                },
            }
        })?;
        Ok(wire.into_inner())
    }
}

impl Service<Uri> for Dial {
    type Response = TokioIo<Wire>;
    type Error = DialError;
    type Future = Dialling;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Dialling {
        let dial = self.clone();
        Box::pin(async move {
            let Some(limit) = dial.limit else {
                return dial.open(uri).await;
            };
            let host = authority(&uri);
            match tokio::time::timeout(limit, dial.open(uri)).await {
                Ok(done) => done,
                Err(_) => Err(DialError::Timeout {
                    host,
                    what: "let us connect",
                    limit,
                }),
            }
        })
    }
}
