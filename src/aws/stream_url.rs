//! Where token and signature may go: StreamUrl must point to a message gateway of AWS.

use url::{Host, Url};

use super::error::{Error, Kind};

/// DNS suffixes of AWS: the commercial partitions, China, dual stack, the European sovereign
/// cloud and the isolated partitions. All of them belong to AWS.
const SUFFIXES: [&str; 7] = [
    "amazonaws.com",
    "amazonaws.com.cn",
    "api.aws",
    "api.amazonwebservices.com.cn",
    "amazonaws.eu",
    "c2s.ic.gov",
    "sc2s.sgov.gov",
];

/// Checks a StreamUrl before the token goes there.
///
/// Accepted are `wss` to `ssmmessages` hosts of AWS (also their FIPS, dual-stack and VPC forms)
/// and anything to a loopback address; any host, and plain `ws`, if the user chose an endpoint
/// of their own (`overridden`).
pub(super) fn check_stream_url(url: &str, overridden: bool) -> Result<Url, Error> {
    // Parsers disagree about these; a URL of AWS has none.
    if url.contains(|c: char| c == '\\' || c.is_whitespace() || c.is_control()) {
        return Err(refuse("it is no clean URL"));
    }
    let parsed = Url::parse(url).map_err(|error| refuse(&error.to_string()))?;
    let Some(host) = parsed.host() else {
        return Err(refuse("it names no host"));
    };
    if !matches!(parsed.scheme(), "wss" | "ws") {
        return Err(refuse(&format!("{} is no WebSocket", parsed.scheme())));
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(refuse("it carries a user name"));
    }
    if overridden || is_loopback(&host) {
        return Ok(parsed);
    }
    if parsed.scheme() == "ws" {
        return Err(refuse(&format!("the way to {host} would not be encrypted")));
    }
    match &host {
        Host::Domain(name) if is_gateway(name) => Ok(parsed),
        _ => Err(refuse(&format!(
            "{host} is not a Session Manager host of AWS"
        ))),
    }
}

fn refuse(why: &str) -> Error {
    Error::new(Kind::Other, "refused the StreamUrl of the answer", why).with_hint(
        "the session's token stays here; if the endpoint is your own, name it with --endpoint-url",
    )
}

pub(super) fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
        Host::Domain(name) => name.eq_ignore_ascii_case("localhost"),
    }
}

/// Whether a host lies under one of AWS's own suffixes; `url` has it in lower case already.
pub(super) fn is_aws(host: &str) -> bool {
    below_suffix(host).is_some()
}

/// The labels before the suffix.
fn below_suffix(host: &str) -> Option<Vec<&str>> {
    SUFFIXES.iter().find_map(|suffix| {
        let rest = host.strip_suffix(suffix)?.strip_suffix('.')?;
        Some(rest.split('.').collect())
    })
}

/// `ssmmessages.REGION.SUFFIX`, `ssmmessages-fips.…`, `vpce-ID.ssmmessages.REGION.vpce.SUFFIX`.
fn is_gateway(host: &str) -> bool {
    let service = |label: &str| matches!(label, "ssmmessages" | "ssmmessages-fips");
    match below_suffix(host).as_deref() {
        Some([name, region]) => service(name) && is_label(region),
        Some([endpoint, name, region, "vpce"]) => {
            endpoint.starts_with("vpce-") && is_label(endpoint) && service(name) && is_label(region)
        }
        _ => false,
    }
}

/// A part of a host name as AWS has them, such as a region.
pub(super) fn is_label(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 63
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    const AWS: [&str; 11] = [
        "wss://ssmmessages.us-east-1.amazonaws.com/v1/data-channel/s?role=publish_subscribe&cell-number=A+B",
        "wss://ssmmessages.us-east-1.amazonaws.com:443/v1/data-channel/s",
        "WSS://SSMMESSAGES.us-east-1.AMAZONAWS.com/v1",
        "wss://ssmmessages-fips.us-gov-west-1.amazonaws.com/",
        "wss://ssmmessages.cn-north-1.amazonaws.com.cn/",
        "wss://ssmmessages.eu-west-1.api.aws/",
        "wss://ssmmessages-fips.us-east-2.api.aws/",
        "wss://ssmmessages.cn-north-1.api.amazonwebservices.com.cn/",
        "wss://ssmmessages.eusc-de-east-1.amazonaws.eu/",
        "wss://vpce-0abc123-x1y2z3.ssmmessages.us-east-1.vpce.amazonaws.com/v1",
        "wss://vpce-0abc123-x1y2z3-us-east-1a.ssmmessages.us-east-1.vpce.amazonaws.com/v1",
    ];

    const LOOPBACK: [&str; 5] = [
        "ws://127.0.0.1:8080/v1",
        "ws://127.9.9.9/v1",
        "wss://127.0.0.1:1/v1",
        "ws://[::1]:8080/v1",
        "ws://localhost:8080/v1",
    ];

    /// Only good when the user named the endpoint.
    const FOREIGN: [&str; 23] = [
        "wss:///ssmmessages.us-east-1.amazonaws.com.evil.com/",
        "wss://ssmmessages.evil.com/",
        "wss://ssmmessages.us-east-1.amazonaws.com.evil.com/",
        "wss://amazonaws.com.evil.com/",
        "wss://evilamazonaws.com/",
        "wss://ssmmessages.us-east-1.evilamazonaws.com/",
        "wss://ssmmessages.us-east-1.amazonaws.com./",
        "wss://ssmmessages.amazonaws.com/",
        "wss://ssmmessages.a.b.amazonaws.com/",
        "wss://mybucket.s3.amazonaws.com/",
        "wss://ssmmessages.s3.us-east-1.amazonaws.com/",
        "wss://ssmmessages.execute-api.us-east-1.amazonaws.com/",
        "wss://x.ssmmessages.us-east-1.vpce.amazonaws.com/",
        "wss://vpce-1.ec2.us-east-1.vpce.amazonaws.com/",
        "wss://ec2messages.us-east-1.amazonaws.com/",
        "wss://ssmmessages.us_east_1.amazonaws.com/",
        "wss://ssmmessages..amazonaws.com/",
        "wss://169.254.169.254/",
        "wss://10.0.0.1/",
        "wss://[fe80::1]/",
        "ws://ssmmessages.us-east-1.amazonaws.com/v1",
        "wss://localhost.evil.com/",
        "wss://127.0.0.1.evil.com/",
    ];

    /// Never good.
    const BAD: [&str; 9] = [
        "",
        "ssmmessages.us-east-1.amazonaws.com",
        "https://ssmmessages.us-east-1.amazonaws.com/",
        "wss://",
        "wss://ssmmessages.us-east-1.amazonaws.com\\@evil.com/",
        "wss://ssmmessages.us-east-1.amazonaws.com\n.evil.com/",
        "wss://user@ssmmessages.us-east-1.amazonaws.com/",
        "wss://ssmmessages.us-east-1.amazonaws.com@evil.com/",
        "wss://u:p@127.0.0.1/",
    ];

    #[test]
    fn hosts_are_told_apart() {
        for url in AWS.iter().chain(&LOOPBACK) {
            assert!(check_stream_url(url, false).is_ok(), "{url}");
            assert!(check_stream_url(url, true).is_ok(), "{url}");
        }
        for url in FOREIGN {
            assert!(check_stream_url(url, false).is_err(), "{url}");
        }
        for url in BAD {
            assert!(check_stream_url(url, false).is_err(), "{url}");
            assert!(check_stream_url(url, true).is_err(), "{url}");
        }
    }

    #[test]
    fn an_overridden_endpoint_may_name_any_host() {
        for url in ["wss://gateway.example:8443/x", "ws://10.0.0.1/x"] {
            assert!(check_stream_url(url, true).is_ok(), "{url}");
        }
    }

    #[test]
    fn refusals_name_the_host_but_not_the_query() {
        let error = check_stream_url("wss://evil.example/x?token=abc", false)
            .expect_err("foreign")
            .to_string();
        assert!(error.contains("evil.example"), "{error}");
        assert!(!error.contains("abc"), "{error}");
    }
}
