//! What `-L` and `-D` say: where to listen, and where that leads.

use std::path::PathBuf;

use super::super::report::Failure;
use crate::session::forward::bind::{Bind, Host};
use crate::session::forward::proxy::Destination;

const FORM: &str = "-L [BIND:]LPORT:[HOST:]RPORT, as in 15432:db.internal:5432; or RPORT alone; or \
    /PATH:[HOST:]RPORT for a Unix socket; IPv6 addresses go in brackets, LPORT 0 is any free port";
const PROXY_FORM: &str =
    "-D [BIND:]PORT, as in 1080; IPv6 addresses go in brackets, PORT 0 is any free one";

/// One `-L`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// As it was given.
    pub text: String,
    /// Where to listen.
    pub bind: Bind,
    /// The host as the node sees it, and the port there.
    pub destination: Destination,
    /// That host; `localhost` for the node itself.
    pub host: String,
    /// That port.
    pub port: u16,
}

impl Forward {
    /// Reads `[bind:]lport:[host:]rport`, `port` or `/path:[host:]rport`; `default` is where to
    /// listen without a bind address.
    pub fn parse(text: &str, default: &Host) -> Result<Self, Failure> {
        let complain = |why: String| Failure::usage(format!("-L {text}: {why}")).hint(FORM);
        let parts = split(text).map_err(complain)?;
        let tcp = |host: Host, port| Ok(Bind::Tcp { host, port });
        let default = || default.clone();
        let (bind, host, port) = match parts.as_slice() {
            [path, rest @ ..] if path.contains('/') => {
                let (host, port) = match rest {
                    [port] => (None, *port),
                    [host, port] => (Some(*host), *port),
                    _ => return Err(complain("a port must follow the socket's path".to_owned())),
                };
                (Ok(Bind::Unix(PathBuf::from(path))), host, port)
            }
            [.., last] if last.contains('/') => {
                return Err(complain(
                    "Session Manager cannot lead to Unix sockets of a node, only to ports"
                        .to_owned(),
                ));
            }
            [port] => (
                remote_port(port).and_then(|port| tcp(default(), port)),
                None,
                *port,
            ),
            [local, port] => (
                local_port(local).and_then(|local| tcp(default(), local)),
                None,
                *port,
            ),
            [local, host, port] if is_number(local) => (
                local_port(local).and_then(|local| tcp(default(), local)),
                Some(*host),
                *port,
            ),
            [bind, local, port] => (listen(bind, local), None, *port),
            [bind, local, host, port] => (listen(bind, local), Some(*host), *port),
            _ => return Err(complain("it has too many parts".to_owned())),
        };
        let bind = bind.map_err(complain)?;
        let port = remote_port(port).map_err(complain)?;
        let host = host.map_or("localhost", unbracketed);
        if is_number(host) {
            return Err(complain(format!("{host} is no host")));
        }
        let destination =
            Destination::new(host, port).map_err(|error| complain(error.to_string()))?;
        Ok(Self {
            text: text.to_owned(),
            bind,
            destination,
            host: host.to_owned(),
            port,
        })
    }
}

/// Reads the `[bind:]port` of `-D`.
pub fn proxy(text: &str, default: &Host) -> Result<Bind, Failure> {
    let complain = |why: String| Failure::usage(format!("-D {text}: {why}")).hint(PROXY_FORM);
    match split(text).map_err(complain)?.as_slice() {
        [port] => local_port(port).map(|port| Bind::Tcp {
            host: default.clone(),
            port,
        }),
        [bind, port] => listen(bind, port),
        _ => Err("it has too many parts".to_owned()),
    }
    .map_err(complain)
}

/// The parts between colons outside of brackets.
fn split(text: &str) -> Result<Vec<&str>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    loop {
        let end = if rest.starts_with('[') {
            let close = rest.find(']').ok_or("a [ is not closed")?;
            let behind = rest.get(close + 1..).unwrap_or_default();
            if !behind.is_empty() && !behind.starts_with(':') {
                return Err("a : must follow the ]".to_owned());
            }
            Some(close + 1).filter(|_| !behind.is_empty())
        } else {
            rest.find(':')
        };
        match end.and_then(|end| rest.split_at_checked(end)) {
            Some((part, behind)) => {
                parts.push(part);
                rest = behind.get(1..).unwrap_or_default();
            }
            None => {
                parts.push(rest);
                return Ok(parts);
            }
        }
    }
}

fn listen(bind: &str, port: &str) -> Result<Bind, String> {
    let host = match bind {
        "" => {
            return Err(
                "the address in front of the first : is missing; * is all there are".to_owned(),
            );
        }
        bind => Host::parse(bind),
    };
    if let Host::Name(name) = &host
        && (is_number(name) || name.starts_with('['))
    {
        return Err(format!("{name} is no address to listen on"));
    }
    local_port(port).map(|port| Bind::Tcp { host, port })
}

fn local_port(text: &str) -> Result<u16, String> {
    number(text).ok_or_else(|| format!("{text:?} is no local port (0 to 65535)"))
}

fn remote_port(text: &str) -> Result<u16, String> {
    number(text)
        .filter(|port| *port > 0)
        .ok_or_else(|| format!("{text:?} is no remote port (1 to 65535)"))
}

fn number(text: &str) -> Option<u16> {
    is_number(text).then(|| text.parse().ok())?
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn unbracketed(host: &str) -> &str {
    let inside = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    inside.unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(text: &str) -> String {
        match Forward::parse(text, &Host::Localhost) {
            Ok(forward) => format!("{} -> {}", forward.bind, forward.destination),
            Err(failure) => {
                assert_eq!(failure.status, super::super::super::report::USAGE);
                assert!(failure.hint.expect("a form").contains("LPORT"));
                assert!(failure.what.starts_with(&format!("-L {text}: ")));
                failure.what[text.len() + 5..].to_owned()
            }
        }
    }

    #[test]
    fn all_forms_are_read() {
        let cases = [
            ("5432", "localhost:5432 -> localhost:5432"),
            ("15432:5432", "localhost:15432 -> localhost:5432"),
            ("0:5432", "localhost:0 -> localhost:5432"),
            ("1:db.internal:2", "localhost:1 -> db.internal:2"),
            ("1:10.0.0.1:65535", "localhost:1 -> 10.0.0.1:65535"),
            ("1:[2001:db8::1]:2", "localhost:1 -> [2001:db8::1]:2"),
            ("127.0.0.1:1:2", "127.0.0.1:1 -> localhost:2"),
            ("*:1:2", "*:1 -> localhost:2"),
            ("localhost:1:2", "localhost:1 -> localhost:2"),
            ("[::1]:1:2", "[::1]:1 -> localhost:2"),
            ("[::]:1:[::1]:2", "[::]:1 -> [::1]:2"),
            ("0.0.0.0:1:db:2", "0.0.0.0:1 -> db:2"),
            ("*:0:LOCALHOST:2", "*:0 -> localhost:2"),
            ("myhost:1:db:2", "myhost:1 -> db:2"),
            ("/run/s:5432", "/run/s -> localhost:5432"),
            ("./s:db:5432", "./s -> db:5432"),
            ("/s:[2001:db8::1]:5", "/s -> [2001:db8::1]:5"),
        ];
        for (text, expected) in cases {
            assert_eq!(show(text), expected, "{text}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        let cases = [
            ("", "\"\" is no remote port"),
            ("http", "\"http\" is no remote port"),
            ("0", "\"0\" is no remote port"),
            ("1:0", "\"0\" is no remote port"),
            ("1:65536", "\"65536\" is no remote port"),
            ("65536:1", "\"65536\" is no local port"),
            ("99999999999999999999:1", "is no local port"),
            ("-1:80", "\"-1\" is no local port"),
            ("+1:80", "\"+1\" is no local port"),
            ("1:", "\"\" is no remote port"),
            ("1::2", "the host is missing"),
            ("1:2:3", "2 is no host"),
            ("1:db:http", "\"http\" is no remote port"),
            ("1:d b:2", "the host's name has characters"),
            ("1:db/x:2", "the host's name has characters"),
            ("1:2001:db8::1:2", "too many parts"),
            ("1:[2001:db8::1:2", "a [ is not closed"),
            ("1:[::1]2:3", "a : must follow"),
            (":1:2", "the address in front"),
            (":1:db:2", "the address in front"),
            ("1:2:db:3", "1 is no address"),
            ("[x]:1:2", "[x] is no address"),
            ("1:db:/var/run/s", "Unix sockets of a node"),
            ("/s", "a port must follow the socket's path"),
            ("/s:", "\"\" is no remote port"),
            ("/s:1:db:2", "a port must follow the socket's path"),
        ];
        for (text, why) in cases {
            let shown = show(text);
            assert!(shown.contains(why), "{text:?}: {shown}");
        }
    }

    #[test]
    fn the_default_address_is_used_where_none_is_given() {
        let any = Host::Any;
        for (text, bind) in [("80", "*:80"), ("1:db:2", "*:1"), ("[::1]:1:2", "[::1]:1")] {
            let forward = Forward::parse(text, &any).expect(text);
            assert_eq!(forward.bind.to_string(), bind, "{text}");
        }
        assert_eq!(proxy("1080", &any).expect("good").to_string(), "*:1080");
    }

    #[test]
    fn proxies_have_an_address_and_a_port() {
        let show = |text: &str| match proxy(text, &Host::Localhost) {
            Ok(bind) => bind.to_string(),
            Err(failure) => failure.what,
        };
        assert_eq!(show("0"), "localhost:0");
        assert_eq!(show("[::1]:1080"), "[::1]:1080");
        assert_eq!(show("*:1080"), "*:1080");
        for (text, why) in [
            ("", "is no local port"),
            ("socks", "is no local port"),
            (":1080", "the address in front"),
            ("a:b:1", "too many parts"),
        ] {
            let shown = show(text);
            assert!(shown.starts_with(&format!("-D {text}: ")), "{shown}");
            assert!(shown.contains(why), "{text}: {shown}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_a_panic(text in ".{0,80}", tight in r"[\[\]:0-9a-z/*.]{0,30}") {
            for text in [text, tight] {
                let _ = Forward::parse(&text, &Host::Localhost);
                let _ = proxy(&text, &Host::Localhost);
            }
        }
    }
}
