//! What stands between ssmx and AWS: ends of TLS, and proxies.

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// Serves connections on a thread of its own until it is dropped.
pub struct Server {
    pub address: SocketAddr,
    _stop: oneshot::Sender<()>,
}

impl Server {
    fn start<F>(handle: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener
            .set_nonblocking(true)
            .expect("a listener for tokio");
        let address = listener.local_addr().expect("its address");
        let (stop, stopped) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        thread::spawn(move || {
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).expect("a listener");
                let accept = async {
                    while let Ok((stream, _)) = listener.accept().await {
                        tokio::spawn(handle(stream));
                    }
                };
                tokio::select! {
                    () = accept => {}
                    _ = stopped => {}
                }
            });
        });
        Self {
            address,
            _stop: stop,
        }
    }
}

async fn pass_on(mut stream: impl AsyncRead + AsyncWrite + Unpin, to: &str) {
    if let Ok(mut upstream) = TcpStream::connect(to).await {
        // Either end may go at any time.
        let _ = copy_bidirectional(&mut stream, &mut upstream).await;
    }
}

/// Ends TLS in front of `upstream`.
pub fn tls(acceptor: TlsAcceptor, upstream: SocketAddr) -> Server {
    Server::start(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                pass_on(stream, &upstream.to_string()).await;
            }
        }
    })
}

/// How a proxy treats who asks.
#[derive(Clone, Copy)]
pub enum Manner {
    /// Everybody may pass.
    Open,
    /// Who brings this, as it stands in the header.
    Password(&'static str),
    /// Nobody, since nothing can be reached.
    Unreachable,
    /// Everybody, but all ways lead here.
    Leading(SocketAddr),
}

/// What a proxy was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Host and port of CONNECT, or else the first line.
    pub target: String,
    /// Its `Proxy-Authorization`.
    pub authorization: Option<String>,
}

/// A proxy that knows CONNECT.
pub struct Proxy {
    pub server: Server,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Proxy {
    pub fn start(manner: Manner) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&seen);
        let server = Server::start(move |stream| proxy(stream, manner, Arc::clone(&record)));
        Self { server, seen }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    pub fn url_with(&self, user: &str) -> String {
        format!("http://{user}@{}", self.server.address)
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no panics").clone()
    }
}

async fn proxy(mut stream: TcpStream, manner: Manner, seen: Arc<Mutex<Vec<Seen>>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let first = head.lines().next().unwrap_or_default();
    let target = first
        .strip_prefix("CONNECT ")
        .and_then(|rest| rest.split(' ').next());
    let header = |name: &str| {
        head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name)
                .then(|| value.trim().to_owned())
        })
    };
    let authorization = header("proxy-authorization");
    seen.lock().expect("no panics").push(Seen {
        target: target.unwrap_or(first).to_owned(),
        authorization: authorization.clone(),
    });
    let refusal = match (manner, target) {
        (Manner::Password(wanted), _) if authorization.as_deref() != Some(wanted) => {
            "407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"test\""
        }
        (Manner::Unreachable, _) | (_, None) => "502 Bad Gateway",
        (Manner::Leading(to), Some(_)) => {
            if stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.is_ok() {
                pass_on(stream, &to.to_string()).await;
            }
            return;
        }
        (_, Some(target)) => {
            if stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.is_ok() {
                pass_on(stream, target).await;
            }
            return;
        }
    };
    let answer = format!("HTTP/1.1 {refusal}\r\nContent-Length: 0\r\n\r\n");
    // Who has gone does not want it.
    let _ = stream.write_all(answer.as_bytes()).await;
}

/// Makes an authority, whose certificate goes to `path`, and a certificate of its for a server.
pub fn acceptor(path: &Path, names: &[&str]) -> TlsAcceptor {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let authority = params.self_signed(&key).expect("a certificate");
    std::fs::write(path, authority.pem()).expect("a file");
    let issuer = Issuer::new(params, key);
    let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
    let params = CertificateParams::new(names).expect("good names");
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, &issuer).expect("a certificate");
    let private = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)
        .expect("a good certificate");
    TlsAcceptor::from(Arc::new(config))
}
