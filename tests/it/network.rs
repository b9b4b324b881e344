//! TLS and proxies for real, in front of loopback: API and WebSocket take the same ways.

mod servers;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use ssmx::loopback::{Loopback, Options as Peer};
use tokio_rustls::TlsAcceptor;

pub use servers::{Manner, Proxy, acceptor, tls};

use self::servers::{Seen, Server};
use crate::plugin::{assert_short, grant, response};
use crate::support::{Finished, SSMX, command, run_without_input};

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
