//! One WebSocket to the gateway: proxy, TLS, signed upgrade, limits.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt as _;
use http::{HeaderName, HeaderValue, StatusCode, Uri};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::{InvalidDnsNameError, ServerName};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self};
use tower_service::Service;
use tracing::debug;
use url::Url;

use crate::aws::{self, Aws};

/// Dial, proxy, TLS and upgrade together, as the official client allows.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(45);
/// The largest frame and message taken from the network, in bytes.
const MAX_MESSAGE: usize = 4 * 1024 * 1024;
/// What may wait in user space for the socket, in bytes.
const WRITE_BUFFER: usize = 64 * 1024;

/// A connection to the gateway.
pub type Socket = WebSocketStream<Box<dyn Stream>>;

/// What a WebSocket runs over.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Why there is no connection. The gateway's host is named, its query never is.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The address is malformed or not to be trusted, or TLS or proxy cannot be set up.
    #[error(transparent)]
    Aws(#[from] aws::Error),
    /// The address cannot be used.
    #[error("the stream URL of the service cannot be used: {0}")]
    Url(String),
    /// TCP.
    #[error("cannot connect to {host}: {reason}")]
    Tcp {
        /// Host and port.
        host: String,
        /// What the system says.
        reason: String,
    },
    /// The proxy.
    #[error("cannot connect to {host} through the proxy {proxy}: {reason}")]
    Proxy {
        /// Host and port.
        host: String,
        /// The proxy's host and port.
        proxy: String,
        /// What went wrong.
        reason: String,
    },
    /// TLS.
    #[error("TLS to {host} failed: {reason}")]
    Tls {
        /// Host and port.
        host: String,
        /// What went wrong.
        reason: String,
    },
    /// The gateway refused the upgrade.
    #[error("{host} refused the connection with status {status}")]
    Refused {
        /// Host and port.
        host: String,
        /// The HTTP status.
        status: StatusCode,
    },
    /// Not the answer of a WebSocket server.
    #[error("{host} does not answer as the message gateway: {reason}")]
    Upgrade {
        /// Host and port.
        host: String,
        /// What went wrong.
        reason: String,
    },
    /// Nobody answered.
    #[error("{host} did not answer within {} s", CONNECT_TIMEOUT.as_secs())]
    Timeout {
        /// Host and port.
        host: String,
    },
}

impl ConnectError {
    /// Whether trying again can help.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Aws(_) | Self::Url(_) => false,
            Self::Tcp { .. } | Self::Proxy { .. } | Self::Timeout { .. } => true,
            Self::Tls { .. } => false,
            Self::Upgrade { .. } => true,
            Self::Refused { status, .. } => {
                status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS
            }
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Aws(error) => return error.hint(),
            Self::Url(_) => return None,
            Self::Tcp { .. } | Self::Timeout { .. } => {
                "check the network, HTTPS_PROXY and, inside a VPC, the ssmmessages endpoint; \
                 `ssmx doctor` finds out"
                    .into()
            }
            Self::Proxy { .. } => "check HTTPS_PROXY and NO_PROXY".into(),
            Self::Tls { .. } => "behind an inspecting proxy, name its CA certificate with \
                 --ca-bundle or AWS_CA_BUNDLE"
                .into(),
            Self::Refused { status, .. } if *status == StatusCode::FORBIDDEN => {
                "allow ssmmessages:OpenDataChannel to the caller, and check the computer's clock; \
                 `ssmx doctor` finds out"
                    .into()
            }
            Self::Refused { .. } | Self::Upgrade { .. } => {
                "check that no proxy stands in between, then start a new session".into()
            }
        })
    }
}

/// Connects to `url`, which the service gave, as StartSession or ResumeSession answered it.
///
/// # Errors
///
/// See [`ConnectError`].
pub async fn connect(aws: &Aws, url: &str) -> Result<Socket, ConnectError> {
    let checked = aws.check_stream_url(url)?;
    let host = host_and_port(&checked);
    tokio::time::timeout(CONNECT_TIMEOUT, connect_checked(aws, url, &checked, &host))
        .await
        .unwrap_or(Err(ConnectError::Timeout { host }))
}

async fn connect_checked(
    aws: &Aws,
    url: &str,
    checked: &Url,
    host: &str,
) -> Result<Socket, ConnectError> {
    // As it came: the gateway's signature covers `+` in the query, which parsing would change.
    let uri: Uri = url
        .parse()
        .map_err(|reason: http::uri::InvalidUri| ConnectError::Url(reason.to_string()))?;
    let mut request = uri
        .into_client_request()
        .map_err(|reason| ConnectError::Url(reason.to_string()))?;
    for (name, value) in aws.sign_upgrade(checked).await {
        if let (Ok(name), Ok(mut value)) = (
            HeaderName::from_bytes(name.as_bytes()),
            HeaderValue::from_str(&value),
        ) {
            value.set_sensitive(true);
            request.headers_mut().insert(name, value);
        }
    }
    let stream = dial(aws, checked, host).await?;
    let stream: Box<dyn Stream> = match checked.scheme() {
        "wss" => Box::new(start_tls(aws, checked, host, stream).await?),
        _ => stream,
    };
    let (socket, _) = tokio_tungstenite::client_async_with_config(request, stream, Some(limits()))
        .await
        .map_err(|error| match error {
            tungstenite::Error::Http(response) => ConnectError::Refused {
                host: host.to_owned(),
                status: response.status(),
            },
            error => ConnectError::Upgrade {
                host: host.to_owned(),
                reason: error.to_string(),
            },
        })?;
    debug!(host, "connected");
    Ok(socket)
}

async fn dial(aws: &Aws, url: &Url, host: &str) -> Result<Box<dyn Stream>, ConnectError> {
    let Some(proxy) = aws.proxy_for(url)? else {
        let tcp = connect_tcp(host).await.map_err(|error| ConnectError::Tcp {
            host: host.to_owned(),
            reason: error.to_string(),
        })?;
        return Ok(Box::new(tcp));
    };
    let name = proxy.uri().authority().map_or("?", |name| name.as_str());
    // User and password are in the header, not in the name.
    let name = name.rsplit('@').next().unwrap_or("?");
    let failed = |reason: String| ConnectError::Proxy {
        host: host.to_owned(),
        proxy: name.to_owned(),
        reason,
    };
    let tls = match proxy.uri().scheme_str() {
        Some("https") => Some(aws.tls()?),
        _ => None,
    };
    let mut tunnel = Tunnel::new(proxy.uri().clone(), ToProxy(tls));
    if let Some(auth) = proxy.basic_auth() {
        tunnel = tunnel.with_auth(auth.clone());
    }
    let target = format!("https://{host}")
        .parse()
        .map_err(|_| failed("its name is no valid host".into()))?;
    debug!(proxy = name, "connecting through a proxy");
    let through = tunnel.call(target).await;
    Ok(through
        .map_err(|error| failed(error_chain(&error)))?
        .into_inner())
}

/// Connects to `host:port`; where IPv6 does not answer at once, IPv4 is tried beside it.
async fn connect_tcp(host: &str) -> io::Result<TcpStream> {
    let uri = Uri::try_from(format!("http://{host}/")).map_err(io::Error::other)?;
    let mut connector = HttpConnector::new();
    // Keystrokes must not wait for acknowledgements of TCP.
    connector.set_nodelay(true);
    match connector.call(uri).await {
        Ok(stream) => Ok(stream.into_inner()),
        Err(error) => {
            let mut cause: &(dyn std::error::Error + 'static) = &error;
            while let Some(deeper) = cause.source() {
                cause = deeper;
            }
            Err(io::Error::other(cause.to_string()))
        }
    }
}

/// Connects to a proxy, over TLS if there is a configuration for it.
struct ToProxy(Option<Arc<ClientConfig>>);

impl Service<Uri> for ToProxy {
    type Response = TokioIo<Box<dyn Stream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, proxy: Uri) -> Self::Future {
        let tls = self.0.clone();
        Box::pin(async move {
            let name = proxy.host().unwrap_or_default();
            let port = proxy
                .port_u16()
                .unwrap_or(if tls.is_some() { 443 } else { 80 });
            let tcp = connect_tcp(&format!("{name}:{port}")).await?;
            let stream: Box<dyn Stream> = match tls {
                Some(tls) => {
                    let name = server_name(name).map_err(io::Error::other)?;
                    Box::new(TlsConnector::from(tls).connect(name, tcp).await?)
                }
                None => Box::new(tcp),
            };
            Ok(TokioIo::new(stream))
        })
    }
}

async fn start_tls(
    aws: &Aws,
    url: &Url,
    host: &str,
    stream: Box<dyn Stream>,
) -> Result<impl Stream + use<>, ConnectError> {
    let name = server_name(url.host_str().unwrap_or_default())
        .map_err(|reason| ConnectError::Url(reason.to_string()))?;
    TlsConnector::from(aws.tls()?)
        .connect(name, stream)
        .map(|outcome| {
            outcome.map_err(|error| ConnectError::Tls {
                host: host.to_owned(),
                reason: error.to_string(),
            })
        })
        .await
}

fn server_name(host: &str) -> Result<ServerName<'static>, InvalidDnsNameError> {
    let name = host.trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(name.to_owned())
}

fn limits() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(32 * 1024)
        .write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(WRITE_BUFFER + 2 * MAX_MESSAGE)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE))
}

fn host_and_port(url: &Url) -> String {
    let port = url.port_or_known_default().unwrap_or(443);
    format!("{}:{port}", url.host_str().unwrap_or_default())
}

fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// Random bytes of the operating system.
///
/// # Errors
///
/// The system has no randomness to give.
pub fn random<const N: usize>() -> std::io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}
