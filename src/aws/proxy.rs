//! Which proxy a URL goes through: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`, with the
//! same rules for API calls and for the WebSocket.

use http::Uri;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use std::net::IpAddr;
use url::{Host, Url};

use super::error::Error;

/// The proxies of the environment.
#[derive(Debug)]
pub(super) struct Proxies(Matcher);

impl Proxies {
    /// Reads the environment of the process.
    pub(super) fn from_env() -> Self {
        Self(Matcher::from_env())
    }

    /// Made-up ones.
    #[cfg(test)]
    pub(super) fn of(matcher: Matcher) -> Self {
        Self(matcher)
    }

    /// The proxy for a URL; `wss` asks as `https` does, `ws` as `http`. Plain HTTP to loopback and
    /// link-local addresses (credentials of instances and containers) never goes through one: no
    /// proxy could reach them.
    pub(super) fn for_url(&self, url: &Url) -> Result<Option<Intercept>, Error> {
        let scheme = match url.scheme() {
            "wss" | "https" => "https",
            _ => "http",
        };
        let local = match url.host() {
            Some(Host::Ipv4(address)) => is_local(address.into()),
            Some(Host::Ipv6(address)) => is_local(address.into()),
            Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
            None => true,
        };
        if local && scheme == "http" {
            return Ok(None);
        }
        let host = url.host_str().unwrap_or_default();
        let authority = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        let Ok(uri) = Uri::builder()
            .scheme(scheme)
            .authority(authority)
            .path_and_query("/")
            .build()
        else {
            return Ok(None);
        };
        let Some(proxy) = self.0.intercept(&uri) else {
            return Ok(None);
        };
        let scheme = proxy.uri().scheme_str().unwrap_or("http");
        if !matches!(scheme, "http" | "https") {
            return Err(Error::configuration(
                format!("cannot use the proxy for {host}"),
                format!("{scheme} proxies are not supported"),
            )
            .with_hint(
                "set HTTPS_PROXY to an http:// or https:// proxy, or list the host in NO_PROXY",
            ));
        }
        Ok(Some(proxy))
    }
}

fn is_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_link_local(),
        // fd00:ec2::254 is instance metadata over IPv6.
        IpAddr::V6(v6) => v6.is_loopback() || v6.segments()[..2] == [0xfd00, 0x0ec2],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies() -> Proxies {
        Proxies(
            Matcher::builder()
                .https("http://user:pass@proxy.example:3128")
                .http("socks5://socks.example:1080")
                .no("internal.example")
                .build(),
        )
    }

    fn ask(url: &str) -> Result<Option<String>, Error> {
        let url = Url::parse(url).expect("a URL of this test");
        let answer = proxies().for_url(&url)?;
        Ok(answer.map(|proxy| proxy.uri().to_string()))
    }

    #[test]
    fn websockets_ask_as_https() {
        for url in [
            "wss://ssmmessages.us-east-1.amazonaws.com/x?y=z",
            "https://a.example:8443",
            "wss://localhost:8443",
        ] {
            let proxy = ask(url).expect("http proxy").expect("one is set");
            assert!(proxy.starts_with("http://proxy.example:3128"), "{proxy}");
        }
        let url = Url::parse("wss://a.example").expect("a URL of this test");
        let proxy = proxies().for_url(&url).expect("http").expect("one is set");
        assert!(proxy.basic_auth().is_some());
    }

    #[test]
    fn exceptions_and_local_addresses_go_direct() {
        for url in [
            "wss://x.internal.example/",
            "ws://127.0.0.1:8080/",
            "http://localhost:1/",
            "http://[::1]:1/",
            "http://169.254.169.254/latest",
            "http://[fd00:ec2::254]/latest",
        ] {
            assert_eq!(ask(url).expect("no proxy"), None, "{url}");
        }
    }

    #[test]
    fn socks_is_refused_with_advice() {
        let error = ask("http://a.example/").expect_err("socks");
        assert!(error.to_string().contains("socks5"), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("NO_PROXY")));
    }
}
