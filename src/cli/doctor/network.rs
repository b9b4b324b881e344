//! The way to AWS: names, TCP, proxies, TLS.

use std::net::IpAddr;

use futures_util::future::join_all;

use super::super::global::Global;
use super::super::report;
use super::check::Check;
use super::{LIMIT, advice};
use crate::aws::{Aws, Reach, Service, Stage};

/// Who issues AWS's own certificates.
const ISSUERS: [&str; 4] = ["Amazon", "DigiCert", "Starfield", "GlobalSign"];

/// What there is to reach, and whether sessions do without it.
const HOSTS: [(&str, Service, bool); 4] = [
    ("network.ssm", Service::Ssm, false),
    ("network.ssmmessages", Service::SsmMessages, false),
    ("network.kms", Service::Kms, true),
    ("network.sts", Service::Sts, true),
];

/// All checks of the network.
pub async fn checks(global: &Global, aws: &Aws) -> Vec<Check> {
    let ways = HOSTS.map(|(id, service, dispensable)| async move {
        let Some(endpoint) = aws.endpoint(service, aws.region()).await else {
            return (id, None);
        };
        let reach = aws.reach(&endpoint.url, LIMIT).await;
        (id, Some((service, dispensable, endpoint, reach)))
    });
    let ways = join_all(ways).await;
    let mut checks: Vec<Check> = Vec::new();
    let mut inspected = None;
    let mut ipv6 = Vec::new();
    for (id, way) in ways {
        let Some((service, dispensable, endpoint, reach)) = way else {
            let text = "the message gateway's host is known from a session only, since the endpoint of SSM is not AWS's";
            checks.push(Check::skipped(id, text));
            continue;
        };
        ipv6.extend(reach.ipv6);
        if !endpoint.is_custom && reach.failure.is_none() && inspected.is_none() {
            inspected = inspector(&reach);
        }
        checks.push(check(id, service, dispensable, aws.region(), &reach));
    }
    checks.push(trust(global, aws, inspected));
    checks.push(match ipv6.as_slice() {
        [] => Check::skipped("network.ipv6", "IPv6 is not in use: the hosts have no addresses of it"),
        all if all.iter().all(|works| *works) => Check::ok("network.ipv6", "IPv6 works"),
        _ => Check::warning(
            "network.ipv6",
            "the hosts have IPv6 addresses, which cannot be reached: connections begin later, over IPv4",
        )
        .fix("repair IPv6 on this network, or unset AWS_USE_DUALSTACK_ENDPOINT and use_dualstack_endpoint"),
    });
    checks
}

fn check(
    id: &'static str,
    service: Service,
    dispensable: bool,
    region: &str,
    reach: &Reach,
) -> Check {
    let addresses: Vec<String> = reach.addresses.iter().map(ToString::to_string).collect();
    let way = way(reach);
    let check = match &reach.failure {
        None => {
            let issuer = reach.issuer.as_ref();
            let issuer =
                issuer.map_or(String::new(), |issuer| format!(", certificate by {issuer}"));
            Check::ok(id, format!("{}: {way}{issuer}", service.name()))
        }
        Some((stage, error)) => {
            let issuer = match (stage, &reach.issuer) {
                (Stage::Tls, Some(issuer)) => format!("; its certificate is by {issuer}"),
                _ => String::new(),
            };
            let text = format!("{error}{issuer}");
            let status = report::aws_status(error);
            let check = match dispensable {
                true => Check::warning(id, text),
                false => Check::failed(id, status.max(1), text),
            };
            check.maybe_fix(fix(service, region, reach, *stage, error.hint()))
        }
    };
    let issuer = reach.issuer.as_ref().map(ToString::to_string);
    check
        .detail("Host", reach.host.as_str())
        .detail("Addresses", addresses)
        .detail("Proxy", reach.proxy.clone())
        .detail("Issuer", issuer)
}

/// By which way a host is reached.
fn way(reach: &Reach) -> String {
    if let Some(proxy) = &reach.proxy {
        return format!("{} through the proxy {proxy}", reach.host);
    }
    let first = reach
        .addresses
        .first()
        .map_or(String::new(), ToString::to_string);
    let more = match reach.addresses.len() {
        0 | 1 => String::new(),
        count => format!(" and {} more", count - 1),
    };
    let kind = match reach.addresses.as_slice() {
        [] => "",
        all if all.iter().all(IpAddr::is_loopback) => " (this machine)",
        all if all.iter().all(is_private) => " (private: a VPC endpoint)",
        _ => " (public)",
    };
    let exempt = match reach.is_exempt {
        true => ", past the proxy (NO_PROXY)",
        false => "",
    };
    let host = match reach.host == first {
        true => String::new(),
        false => format!("{} at ", reach.host),
    };
    format!("{host}{first}{more}{kind}{exempt}")
}

fn is_private(address: &IpAddr) -> bool {
    match address {
        // Carriers' and VPCs' shared addresses too.
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_private() || v4.is_link_local() || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

fn fix(
    service: Service,
    region: &str,
    reach: &Reach,
    stage: Stage,
    hint: Option<String>,
) -> Option<String> {
    let name = service.name();
    let host = &reach.host;
    let private = reach.addresses.iter().any(is_private);
    Some(match stage {
        Stage::Dns => format!(
            "check --region and this machine's DNS; in a VPC without the internet, make an interface endpoint com.amazonaws.{region}.{name} with private DNS"
        ),
        Stage::Tcp if private => format!(
            "let the security group of the VPC endpoint for {name} take TCP 443 from this machine, and check the route to it"
        ),
        Stage::Tcp => format!(
            "allow TCP 443 to {host} in the firewall, or set HTTPS_PROXY to the proxy of this network"
        ),
        Stage::Proxy | Stage::Setup | Stage::Tls => return advice(hint),
    })
}

/// Who stands in between with certificates of its own.
fn inspector(reach: &Reach) -> Option<(String, String)> {
    let issuer = reach.issuer.as_ref()?;
    let organization = issuer.organization.as_deref().unwrap_or_default();
    let known = ISSUERS.iter().any(|name| organization.starts_with(name));
    (!known).then(|| (reach.host.clone(), issuer.to_string()))
}

fn trust(global: &Global, aws: &Aws, inspected: Option<(String, String)>) -> Check {
    const ID: &str = "network.tls";
    if !aws.verifies_tls() {
        return Check::warning(ID, "certificates are not verified: anybody may listen in")
            .fix("leave --no-verify-ssl out, and name the CA certificate with AWS_CA_BUNDLE or --ca-bundle");
    }
    let bundle = aws.ca_bundle().map(|path| path.display().to_string());
    let source = match global.options().ca_bundle {
        Some(_) => "--ca-bundle",
        None => "AWS_CA_BUNDLE or the profile",
    };
    let trusted = match &bundle {
        Some(bundle) => format!("{bundle} is trusted beside the system's certificates ({source})"),
        None => "the system's certificates are trusted".to_owned(),
    };
    let check = match inspected {
        Some((host, issuer)) => Check::warning(
            ID,
            format!("TLS is inspected: {issuer} vouches for {host}; {trusted}"),
        )
        .fix("sessions work if the inspecting proxy lets WebSockets through; else have it leave ssmmessages.*.amazonaws.com alone")
        .detail("Inspector", issuer),
        None => Check::ok(ID, trusted),
    };
    check.detail("CaBundle", bundle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_are_those_of_vpcs() {
        for (text, private) in [
            ("10.0.1.7", true),
            ("172.31.0.1", true),
            ("100.64.3.2", true),
            ("fd00::1", true),
            ("52.94.1.2", false),
            ("2600:1f18::1", false),
        ] {
            let address: IpAddr = text.parse().expect("an address of this test");
            assert_eq!(is_private(&address), private, "{text}");
        }
    }
}
