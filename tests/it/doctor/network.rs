//! Hosts that are out of reach, proxies, and certificates of strangers.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use ssmx::loopback::Loopback;

use super::{examine, usual};
use crate::network::{Manner, Proxy, acceptor, tls};
use crate::support::{SSMX, clean, command};

#[test]
fn hosts_that_cannot_be_reached() {
    let loopback = usual();
    let closed = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = closed.local_addr().expect("its address");
    drop(closed);
    let mut command_ = command(SSMX, &loopback);
    command_.env("AWS_ENDPOINT_URL_SSM", format!("http://{address}"));
    let found = examine(command_, &[]);
    found.has("network.ssm", "failed", &["cannot connect", "TCP 443"]);
    found.has("network.kms", "ok", &["this machine"]);
    found.has("iam.start-session", "skipped", &["cannot connect"]);
    found.ends(255);
    let mut command_ = command(SSMX, &loopback);
    command_.env("AWS_ENDPOINT_URL_SSM", "http://nowhere.invalid");
    let found = examine(command_, &[]);
    found.has(
        "network.ssm",
        "failed",
        &[
            "cannot resolve nowhere.invalid",
            "com.amazonaws.us-east-1.ssm",
        ],
    );
    found.ends(255);
}

#[test]
fn services_that_never_answer() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let loopback = usual();
    let mut command = command(SSMX, &loopback);
    let url = format!("http://{}", silent.local_addr().expect("its address"));
    for service in ["SSM", "KMS", "STS", "EC2"] {
        command.env(format!("AWS_ENDPOINT_URL_{service}"), &url);
    }
    let begun = Instant::now();
    let found = examine(command, &[loopback.target()]);
    assert!(
        begun.elapsed() < Duration::from_secs(25),
        "{:?}",
        begun.elapsed()
    );
    found.has("iam.start-session", "skipped", &["within 5 s"]);
    found.has("credentials.clock", "skipped", &[]);
}

fn address(loopback: &Loopback) -> SocketAddr {
    let url: url::Url = loopback.endpoint_url().parse().expect("a URL of loopback");
    SocketAddr::from(([127, 0, 0, 1], url.port().expect("a port")))
}

#[test]
fn certificates_of_strangers() {
    let loopback = usual();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let ca = directory.path().join("ca.pem");
    let server = tls(acceptor(&ca, &["localhost"]), address(&loopback));
    let url = format!("https://localhost:{}", server.address.port());
    let with = |bundle: Option<&Path>, arguments: &[&str]| {
        let mut command = command(SSMX, &loopback);
        command.env("AWS_ENDPOINT_URL_SSM", &url);
        if let Some(bundle) = bundle {
            command.env("AWS_CA_BUNDLE", bundle);
        }
        examine(command, arguments)
    };
    let found = with(None, &[]);
    found.has(
        "network.ssm",
        "failed",
        &["rcgen self signed cert", "AWS_CA_BUNDLE"],
    );
    found.ends(255);
    let found = with(Some(&ca), &[]);
    found.has(
        "network.ssm",
        "ok",
        &["certificate by rcgen self signed cert"],
    );
    found.has("network.tls", "ok", &["ca.pem is trusted"]);
    found.ends(0);
    let found = with(None, &["--no-verify-ssl"]);
    found.has("network.tls", "warning", &["not verified"]);
    found.ends(0);
}

/// AWS's own hosts, behind a proxy that opens TLS.
fn behind(proxy: &Proxy, loopback: &Loopback) -> Command {
    let mut command = Command::new(SSMX);
    clean(&mut command);
    command
        .env("AWS_REGION", loopback.region())
        .env("AWS_ACCESS_KEY_ID", loopback.access_key_id())
        .env("AWS_SECRET_ACCESS_KEY", loopback.secret_access_key())
        .env("HTTPS_PROXY", proxy.url_with("user:password"));
    command
}

#[test]
fn proxies_that_inspect() {
    let loopback = usual();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let ca = directory.path().join("ca.pem");
    let server = tls(
        acceptor(&ca, &["*.us-east-1.amazonaws.com"]),
        address(&loopback),
    );
    let proxy = Proxy::start(Manner::Leading(server.address));
    let mut command = behind(&proxy, &loopback);
    command.env("AWS_CA_BUNDLE", &ca);
    let found = examine(command, &[loopback.target()]);
    found.has(
        "network.ssm",
        "ok",
        &["ssm.us-east-1.amazonaws.com through the proxy 127.0.0.1:"],
    );
    found.has(
        "network.ssmmessages",
        "ok",
        &["ssmmessages.us-east-1.amazonaws.com"],
    );
    found.has(
        "network.tls",
        "warning",
        &["TLS is inspected", "rcgen", "WebSockets"],
    );
    found.has("iam.start-session", "ok", &[]);
    found.has("iam.open-data-channel", "skipped", &["--deep"]);
    found.ends(0);
    assert!(!found.done.text().contains("password"));
    let found = examine(behind(&proxy, &loopback), &[]);
    found.has("network.ssm", "failed", &["rcgen", "inspecting proxy"]);
    found.ends(255);
}

#[test]
fn proxies_that_lead_nowhere() {
    let loopback = usual();
    let proxy = Proxy::start(Manner::Unreachable);
    let found = examine(behind(&proxy, &loopback), &[]);
    found.has(
        "network.ssm",
        "failed",
        &["the proxy 127.0.0.1:", "HTTPS_PROXY"],
    );
    found.ends(255);
}
