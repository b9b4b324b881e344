//! What the parameters of a port document say before there is a session: where to listen, and
//! what is missing.

use std::path::PathBuf;

use super::report::Failure;
use crate::aws::StartSession;
use crate::session::forward::bind::{Bind, BindError, Host};
use crate::terminal::Ignored;

const SSH: &str = "AWS-StartSSHSession";
const FORWARD: &str = "AWS-StartPortForwardingSession";
const FORWARD_TO_HOST: &str = "AWS-StartPortForwardingSessionToRemoteHost";
const FORWARD_TO_SOCKET: &str = "AWS-StartPortForwardingSessionToSocket";

/// Where the session that is asked for will want to listen; `None` if it does not look like one
/// that listens. Documents of others are asked for as they are.
pub fn bind(request: &StartSession) -> Result<Option<Bind>, Failure> {
    let document = request.document_name.as_deref().unwrap_or_default();
    let parameters = Parameters { request, document };
    match document {
        SSH => {
            parameters.port("portNumber", 1)?;
            return Ok(None);
        }
        FORWARD | FORWARD_TO_SOCKET => parameters.require_port()?,
        FORWARD_TO_HOST => {
            parameters.require("host", "host=db.internal,portNumber=5432")?;
            parameters.require_port()?;
        }
        _ => {}
    }
    let socket = parameters.text("localUnixSocket");
    let is_socket = parameters.text("localConnectionType").map_or(
        document == FORWARD_TO_SOCKET || parameters.text("localPortNumber").is_none(),
        |kind| kind == "unix",
    );
    if let Some(path) = socket.filter(|_| is_socket) {
        return Ok(Some(Bind::Unix(PathBuf::from(path))));
    }
    let port = parameters.port("localPortNumber", 0)?;
    Ok(match (port, document) {
        (Some(port), _) => Some(port),
        (None, FORWARD | FORWARD_TO_HOST) => Some(0),
        // The handshake may still name one.
        (None, _) => None,
    }
    .map(|port| Bind::Tcp {
        host: Host::from_environment(),
        port,
    }))
}

/// What becomes of signals that the parent had ignored: whoever begins a tunnel in the background
/// of a script does not want it to end by the keys that end something else.
pub fn ignored(request: &StartSession) -> Ignored {
    let is_port = matches!(
        request.document_name.as_deref(),
        Some(SSH | FORWARD | FORWARD_TO_HOST | FORWARD_TO_SOCKET)
    );
    match is_port {
        true => Ignored::LeftAlone,
        false => Ignored::Heeded,
    }
}

/// A place where nothing can be accepted, as it is reported.
pub fn failure(error: BindError) -> Failure {
    let failure = Failure::other(error.to_string());
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

struct Parameters<'a> {
    request: &'a StartSession,
    document: &'a str,
}

impl<'a> Parameters<'a> {
    /// A parameter that is given, and not empty.
    fn text(&self, name: &str) -> Option<&'a str> {
        let (_, values) = self
            .request
            .parameters
            .iter()
            .find(|(known, _)| known == name)?;
        values
            .first()
            .map(String::as_str)
            .filter(|text| !text.is_empty())
    }

    fn port(&self, name: &str, least: u16) -> Result<Option<u16>, Failure> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        match text.parse() {
            Ok(port) if port >= least => Ok(Some(port)),
            _ => Err(Failure::usage(format!(
                "--parameters: {name} is {text:?}, which is no port"
            ))
            .hint(format!("a port is a number from {least} to 65535"))),
        }
    }

    fn require(&self, name: &str, example: &str) -> Result<(), Failure> {
        match self.text(name) {
            Some(_) => Ok(()),
            None => Err(
                Failure::usage(format!("{} needs the parameter {name}", self.document))
                    .hint(format!("give --parameters {example}")),
            ),
        }
    }

    fn require_port(&self) -> Result<(), Failure> {
        let example = match self.document {
            FORWARD_TO_HOST => "host=db.internal,portNumber=5432",
            FORWARD_TO_SOCKET => "portNumber=80,localUnixSocket=/tmp/web.sock",
            _ => "portNumber=80,localPortNumber=8080 (the port on the node, and the one here)",
        };
        self.require("portNumber", example)?;
        self.port("portNumber", 1).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Given = &'static [(&'static str, &'static str)];

    fn bound(document: &str, parameters: Given) -> Result<Option<Bind>, Failure> {
        bind(&StartSession {
            target: "i-1".into(),
            document_name: Some(document.to_owned()).filter(|name| !name.is_empty()),
            parameters: parameters
                .iter()
                .map(|(name, value)| ((*name).to_owned(), vec![(*value).to_owned()]))
                .collect(),
            reason: None,
        })
    }

    fn tcp(port: u16) -> Option<Bind> {
        let host = Host::Localhost;
        Some(Bind::Tcp { host, port })
    }

    #[test]
    fn known_documents_say_where_to_listen() {
        let cases: [(&str, Given, Option<Bind>); 9] = [
            ("", &[], None),
            (SSH, &[], None),
            (SSH, &[("portNumber", "2222")], None),
            (FORWARD, &[("portNumber", "80")], tcp(0)),
            (
                FORWARD,
                &[("portNumber", "80"), ("localPortNumber", "8080")],
                tcp(8080),
            ),
            (
                FORWARD_TO_HOST,
                &[
                    ("portNumber", "80"),
                    ("host", "db"),
                    ("localPortNumber", ""),
                ],
                tcp(0),
            ),
            (
                FORWARD_TO_SOCKET,
                &[("portNumber", "80"), ("localUnixSocket", "/s")],
                Some(Bind::Unix("/s".into())),
            ),
            ("Mine", &[("localPortNumber", "9")], tcp(9)),
            ("Mine", &[("portNumber", "none of our concern")], None),
        ];
        for (document, parameters, expected) in cases {
            let bound = bound(document, parameters).expect("good");
            assert_eq!(bound, expected, "{document} {parameters:?}");
        }
    }

    #[test]
    fn what_is_missing_or_out_of_range_is_said() {
        let cases: [(&str, Given, &str); 7] = [
            (FORWARD, &[], "needs the parameter portNumber"),
            (
                FORWARD_TO_HOST,
                &[("portNumber", "80")],
                "needs the parameter host",
            ),
            (
                FORWARD_TO_HOST,
                &[("host", "db")],
                "needs the parameter portNumber",
            ),
            (FORWARD, &[("portNumber", "0")], "portNumber is \"0\""),
            (FORWARD, &[("portNumber", "65536")], "which is no port"),
            (SSH, &[("portNumber", "ssh")], "which is no port"),
            ("Mine", &[("localPortNumber", "-1")], "which is no port"),
        ];
        for (document, parameters, what) in cases {
            let failure = bound(document, parameters).expect_err(document);
            assert_eq!(failure.status, super::super::report::USAGE);
            assert!(failure.what.contains(what), "{}", failure.what);
            assert!(failure.hint.is_some());
        }
    }
}
