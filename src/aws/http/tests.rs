//! API calls over real sockets: trust, proxies, time limits, refusals.

use std::path::Path;

use hyper_util::client::proxy::matcher::Matcher;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tower_service::Service;

use super::super::{Aws, Error, Kind, Options};
use super::*;

const STATUS: &str = r#"{"Target":"i-1","Status":"connected"}"#;

/// Certificates for `localhost`, by a CA whose PEM is at the path.
struct Authority {
    config: Arc<ServerConfig>,
    _dir: tempfile::TempDir,
    bundle: std::path::PathBuf,
}

fn authority() -> Authority {
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let ca = rcgen::CertifiedIssuer::self_signed(params, key).unwrap();
    let names = vec!["localhost".to_owned(), "ssm.test".to_owned()];
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(names)
        .unwrap()
        .signed_by(&key, &ca)
        .unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        )
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let bundle = dir.path().join("ca.pem");
    std::fs::write(&bundle, ca.pem()).unwrap();
    Authority {
        config: Arc::new(config),
        _dir: dir,
        bundle,
    }
}

/// Reads a request with its body; the head.
async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).await.unwrap_or(0) == 0 {
            return head;
        }
    }
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).await.unwrap();
    head
}

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    read_request(&mut stream).await;
    let text = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{STATUS}",
        STATUS.len()
    );
    // The client may have gone away: that is its test's business.
    let _ = stream.write_all(text.as_bytes()).await;
}

/// A server that answers every connection once, over TLS; its port.
async fn tls_server(config: Arc<ServerConfig>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(stream) = TlsAcceptor::from(Arc::clone(&config)).accept(stream).await {
                answer(stream).await;
            }
        }
    });
    port
}

async fn status_at(endpoint: &str, bundle: Option<&Path>, verify_ssl: bool) -> Result<(), Error> {
    let variables = [
        ("AWS_ACCESS_KEY_ID", "a"),
        ("AWS_SECRET_ACCESS_KEY", "s"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ENDPOINT_URL_SSM", endpoint),
    ];
    let aws = Aws::load(Options {
        ca_bundle: bundle.map(Path::to_owned),
        verify_ssl,
        read_timeout: Some(Duration::from_millis(100)),
        connect_timeout: Some(Duration::from_secs(5)),
        environment: Some(
            variables
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        ),
        ..Options::default()
    })
    .await?;
    let status = aws.connection_status("i-1").await?;
    assert_eq!(status.status, "connected");
    Ok(())
}

#[tokio::test]
async fn certificates_are_trusted_by_bundle_or_not_verified_at_all() {
    let authority = authority();
    let endpoint = format!("https://localhost:{}", tls_server(authority.config).await);
    status_at(&endpoint, Some(&authority.bundle), true)
        .await
        .expect("the bundle has the CA");
    status_at(&endpoint, None, false)
        .await
        .expect("not verified");
    // A bundle with another CA in it, so that no root of this machine is needed.
    let other = self::authority();
    let error = status_at(&endpoint, Some(&other.bundle), true)
        .await
        .expect_err("unknown CA");
    assert_eq!(error.kind(), Kind::Unreachable);
    assert!(error.to_string().contains("TLS with localhost"), "{error}");
    assert!(error.hint().unwrap().contains("AWS_CA_BUNDLE"));
}

#[tokio::test]
async fn certificates_must_be_for_the_host() {
    let authority = authority();
    let port = tls_server(authority.config).await;
    let endpoint = format!("https://127.0.0.1:{port}");
    let error = status_at(&endpoint, Some(&authority.bundle), true)
        .await
        .expect_err("another name");
    assert!(error.hint().unwrap().contains("another host"), "{error:?}");
}

#[tokio::test]
async fn a_refused_connection_is_told_without_trying_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let error = status_at(&format!("http://127.0.0.1:{port}"), None, true)
        .await
        .expect_err("nobody listens");
    assert_eq!(error.kind(), Kind::Unreachable);
    assert!(error.is_transient());
    let expected = format!("cannot connect to 127.0.0.1:{port}: ");
    assert!(error.to_string().contains(&expected), "{error}");
}

#[tokio::test]
async fn silence_ends_in_a_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let http = Http::new(
        Arc::new(Trust::new(None, true)),
        Arc::new(Proxies::from_env()),
        Some(Duration::from_millis(20)),
        Some(Duration::from_millis(30)),
    );
    let connector = Connector {
        pool: http.pool(http.0.connect_timeout),
        connect: http.0.connect_timeout,
        read: http.0.read_timeout,
        http,
    };
    let request = HttpRequest::get(format!("http://127.0.0.1:{port}/")).unwrap();
    let error = connector.call(request).await.expect_err("silence");
    assert!(error.is_timeout());
    let dial = error::find::<DialError>(&error).expect("ours");
    assert_eq!(dial.to_string(), "127.0.0.1 did not answer within 0.03 s");
}

/// A proxy that lets one CONNECT with the password through, to the port of a TLS server.
async fn proxy(target: u16) -> (u16, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let head = read_request(&mut client).await;
        if !head.contains("dTpw") {
            let refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n";
            client.write_all(refusal).await.unwrap();
            return head;
        }
        let mut server = tokio::net::TcpStream::connect(("127.0.0.1", target))
            .await
            .unwrap();
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
        head
    });
    (port, seen)
}

#[tokio::test]
async fn https_goes_through_the_proxy_with_its_password() {
    let authority = authority();
    let server = tls_server(authority.config).await;
    for (user, let_through) in [("u:p@", true), ("", false)] {
        let (port, seen) = proxy(server).await;
        let matcher = Matcher::builder()
            .https(format!("http://{user}127.0.0.1:{port}"))
            .build();
        let mut dial = Dial::new(
            Arc::new(Trust::new(Some(authority.bundle.clone()), true)),
            Arc::new(Proxies::of(matcher)),
            None,
        );
        let outcome = dial.call("https://ssm.test/".parse().unwrap()).await;
        match outcome {
            // The proxy's task ends with the connection.
            Ok(wire) => {
                drop(wire);
                assert!(let_through);
            }
            Err(error) => {
                assert!(!let_through, "{error}");
                let error = error.to_error();
                assert!(error.to_string().contains("127.0.0.1"), "{error}");
                assert!(error.hint().unwrap().contains("HTTPS_PROXY"));
            }
        }
        let head = seen.await.unwrap();
        assert!(head.starts_with("CONNECT ssm.test:443 "), "{head}");
    }
}
