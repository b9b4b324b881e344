//! TLS and proxies for real, in front of loopback: API and WebSocket take the same ways.

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use ssmx::loopback::{Loopback, Options as Peer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::plugin::{assert_short, grant, response};
use crate::support::{Finished, SSMX, command, run_without_input};

/// Serves connections on a thread of its own until it is dropped.
struct Server {
    address: SocketAddr,
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
fn tls(acceptor: TlsAcceptor, upstream: SocketAddr) -> Server {
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
    server: Server,
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

    fn url_with(&self, user: &str) -> String {
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

/// Loopback behind TLS, with a certificate for `localhost` of an authority that nobody knows.
struct Scene {
    loopback: Loopback,
    directory: tempfile::TempDir,
    acceptor: TlsAcceptor,
    api: Server,
    gateway: Server,
}

impl Scene {
    fn set() -> Self {
        let loopback = Loopback::start(Peer {
            paced: false,
            require_signature: true,
            ..Peer::default()
        })
        .expect("loopback starts");
        let directory = tempfile::tempdir().expect("a temporary directory");
        let acceptor = acceptor(&directory.path().join("ca.pem"), &["localhost"]);
        let address = |url: &str| -> SocketAddr {
            let url: url::Url = url.parse().expect("a URL of loopback");
            let port = url.port().expect("a port");
            SocketAddr::from(([127, 0, 0, 1], port))
        };
        let api = tls(acceptor.clone(), address(loopback.endpoint_url()));
        let stream_url = grant(&loopback, None, None).stream_url;
        let gateway = tls(acceptor.clone(), address(&stream_url));
        Self {
            loopback,
            directory,
            acceptor,
            api,
            gateway,
        }
    }

    fn authority(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    fn api_host(&self) -> String {
        format!("localhost:{}", self.api.address.port())
    }

    fn gateway_host(&self) -> String {
        format!("localhost:{}", self.gateway.address.port())
    }

    /// A session that ssmx starts and opens over TLS.
    fn session(&self) -> Command {
        let mut command = self.session_by_plain_api();
        command.env(
            "AWS_ENDPOINT_URL_SSM",
            format!("https://{}", self.api_host()),
        );
        command
    }

    /// The same, but only the WebSocket is over TLS.
    fn session_by_plain_api(&self) -> Command {
        let document = "AWS-StartNonInteractiveCommand";
        let mut grant = grant(&self.loopback, Some(document), Some("echo through"));
        // As text: the query must not change.
        let (_, rest) = grant.stream_url.split_once("/v1/").expect("a path");
        grant.stream_url = format!("wss://{}/v1/{rest}", self.gateway_host());
        self.loopback
            .script("StartSession", 200, &response(&grant).to_string());
        let mut command = command(SSMX, &self.loopback);
        command.env_remove("NO_PROXY").env_remove("no_proxy");
        command.args(["start-session", "--target", self.loopback.target()]);
        command
    }

    fn trusting(&self, mut command: Command) -> Command {
        command.env("AWS_CA_BUNDLE", self.authority());
        command
    }
}

/// Makes an authority, whose certificate goes to `path`, and a certificate of its for a server.
fn acceptor(path: &Path, names: &[&str]) -> TlsAcceptor {
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

#[track_caller]
fn assert_through(done: &Finished) {
    let all = (done.text(), done.stderr.as_str(), done.code());
    assert_eq!(all, ("through\n".to_owned(), "", Some(0)));
}

#[track_caller]
fn assert_fails(done: &Finished, words: &[&str]) {
    assert_eq!(
        (done.text().as_str(), done.code()),
        ("", Some(255)),
        "{done:?}"
    );
    assert_short(&done.stderr);
    for word in words {
        assert!(
            done.stderr.contains(word),
            "{word:?} is missing: {}",
            done.stderr
        );
    }
}

#[test]
fn an_unknown_authority_is_told_with_the_remedy() {
    let scene = Scene::set();
    let words = ["TLS", "--ca-bundle", "AWS_CA_BUNDLE"];
    let done = run_without_input(scene.session());
    assert_fails(&done, &words);
    assert!(done.stderr.contains(&scene.api_host()), "{done:?}");
    let before = scene.loopback.stats().terminated;
    let done = run_without_input(scene.session_by_plain_api());
    assert_fails(&done, &words);
    assert!(done.stderr.contains(&scene.gateway_host()), "{done:?}");
    assert_eq!(scene.loopback.stats().terminated, before + 1);
}

#[test]
fn an_authority_that_is_named_is_trusted_by_api_and_websocket() {
    let scene = Scene::set();
    assert_through(&run_without_input(scene.trusting(scene.session())));

    let mut by_option = scene.session();
    by_option.arg("--ca-bundle").arg(scene.authority());
    assert_through(&run_without_input(by_option));

    let mut by_profile = scene.session();
    let config = scene.directory.path().join("config");
    let text = format!("[default]\nca_bundle = {}\n", scene.authority().display());
    std::fs::write(&config, text).unwrap();
    by_profile.env("AWS_CONFIG_FILE", config);
    assert_through(&run_without_input(by_profile));

    let mut unverified = scene.session();
    unverified.arg("--no-verify-ssl");
    assert_through(&run_without_input(unverified));
    assert_eq!(scene.loopback.stats().upgrades_signed, 4);
}

#[test]
fn a_certificate_for_another_host_is_refused() {
    let scene = Scene::set();
    let authority = scene.directory.path().join("other.pem");
    let acceptor = acceptor(&authority, &["other.example"]);
    let api = tls(acceptor, scene.api.address);
    let mut command = scene.session();
    command.env("AWS_CA_BUNDLE", authority);
    let url = format!("https://localhost:{}", api.address.port());
    command.env("AWS_ENDPOINT_URL_SSM", url);
    assert_fails(&run_without_input(command), &["TLS", "another host"]);
}

#[test]
fn api_and_websocket_go_through_the_proxy_with_its_password() {
    let scene = Scene::set();
    // user:p@ss
    let proxy = Proxy::start(Manner::Password("Basic dXNlcjpwQHNz"));
    let mut command = scene.trusting(scene.session());
    command.env("HTTPS_PROXY", proxy.url_with("user:p%40ss"));
    assert_through(&run_without_input(command));
    let authorization = Some("Basic dXNlcjpwQHNz".to_owned());
    let expected = [scene.api_host(), scene.gateway_host()].map(|target| Seen {
        target,
        authorization: authorization.clone(),
    });
    assert_eq!(proxy.seen(), expected);
}

#[test]
fn a_proxy_without_password_and_in_lower_case_is_taken() {
    let scene = Scene::set();
    let proxy = Proxy::start(Manner::Open);
    let mut command = scene.trusting(scene.session());
    command.env("https_proxy", proxy.url());
    assert_through(&run_without_input(command));
    let targets: Vec<_> = proxy.seen().into_iter().map(|seen| seen.target).collect();
    assert_eq!(targets, [scene.api_host(), scene.gateway_host()]);
}

/// The way to the proxy may be encrypted, too.
#[test]
fn a_proxy_behind_tls_serves_api_and_websocket() {
    let scene = Scene::set();
    let proxy = Proxy::start(Manner::Open);
    let front = tls(scene.acceptor.clone(), proxy.server.address);
    let mut command = scene.trusting(scene.session());
    command.env(
        "HTTPS_PROXY",
        format!("https://localhost:{}", front.address.port()),
    );
    assert_through(&run_without_input(command));
    assert_eq!(proxy.seen().len(), 2);
}

#[test]
fn exceptions_and_plain_loopback_go_past_the_proxy() {
    let scene = Scene::set();
    let proxy = Proxy::start(Manner::Unreachable);
    for no_proxy in ["localhost", "*", ".example, localhost"] {
        let mut command = scene.trusting(scene.session());
        command
            .env("HTTPS_PROXY", proxy.url())
            .env("NO_PROXY", no_proxy);
        assert_through(&run_without_input(command));
    }
    let mut plain = crate::support::start_session(
        &scene.loopback,
        &[
            "--document-name",
            "AWS-StartInteractiveCommand",
            "--parameters",
            "command=echo plain",
        ],
    );
    plain.env_remove("NO_PROXY").env_remove("no_proxy");
    for name in ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"] {
        plain.env(name, proxy.url());
    }
    assert_eq!(run_without_input(plain).text(), "plain\r\n");
    assert_eq!(proxy.seen(), []);
}

#[test]
fn a_proxy_that_refuses_is_told() {
    let scene = Scene::set();
    let proxy = Proxy::start(Manner::Password("Basic other"));
    let host = proxy.server.address.to_string();
    for build in [Scene::session, Scene::session_by_plain_api] {
        let mut command = scene.trusting(build(&scene));
        command.env("HTTPS_PROXY", proxy.url_with("user:hunter2"));
        let done = run_without_input(command);
        assert_fails(&done, &["proxy", &host, "authoriz", "HTTPS_PROXY"]);
        assert!(
            !done.stderr.contains("hunter2") && !done.stderr.contains("Basic"),
            "{done:?}"
        );
    }
}

/// The time limit is the user's, not one of the libraries underneath.
#[test]
fn a_proxy_that_never_answers_is_left_in_time() {
    let scene = Scene::set();
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = scene.trusting(scene.session());
    command.env(
        "HTTPS_PROXY",
        format!("http://{}", mute.local_addr().unwrap()),
    );
    command
        .env("AWS_MAX_ATTEMPTS", "1")
        .args(["--cli-connect-timeout", "7"]);
    assert_fails(&run_without_input(command), &["within 7 s", "HTTPS_PROXY"]);
}

#[test]
fn a_proxy_out_of_reach_or_of_another_kind_is_told() {
    let scene = Scene::set();
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .unwrap()
        .to_string();
    let proxy = Proxy::start(Manner::Unreachable);
    let cases = [
        (
            format!("http://user:hunter2@{closed}"),
            255,
            closed.as_str(),
        ),
        (proxy.url(), 255, "proxy"),
        (format!("socks5://user:hunter2@{closed}"), 253, "socks5"),
    ];
    for (url, status, word) in cases {
        for build in [Scene::session, Scene::session_by_plain_api] {
            let mut command = scene.trusting(build(&scene));
            command
                .env("HTTPS_PROXY", &url)
                .env("AWS_MAX_ATTEMPTS", "1");
            let done = run_without_input(command);
            assert_eq!(
                (done.text().as_str(), done.code()),
                ("", Some(status)),
                "{done:?}"
            );
            assert_short(&done.stderr);
            assert!(
                done.stderr.contains(word) && done.stderr.contains("HTTPS_PROXY"),
                "{done:?}"
            );
            assert!(!done.stderr.contains("hunter2"), "{done:?}");
        }
    }
}
