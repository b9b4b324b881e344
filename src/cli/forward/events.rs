//! What happens on the tunnels, as lines for people on stderr and as JSON for programs on stdout.

mod objects;

use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::time::timeout;

use crate::session::forward::listener::Place;
use crate::session::forward::proxy::ProxyNotice;
use crate::session::forward::repeats::{self, Repeats};
use crate::session::forward::report::{Gone, Notice, Report, Reports};
use crate::terminal::{self, Output};

/// How long stdout may take for what is told last.
const LAST: Duration = Duration::from_secs(1);

/// What one tunnel is called.
#[derive(Debug)]
pub struct Label {
    /// The option as it was given.
    pub text: String,
    /// Where it listens.
    pub place: Place,
    /// Where it leads; nowhere in particular for proxies.
    pub destination: Option<Destination>,
}

/// A destination for people and for programs.
#[derive(Debug)]
pub struct Destination {
    /// Such as `db.internal:5432`, or `i-…:5432` for the node itself.
    pub shown: String,
    /// The host as the node sees it.
    pub host: String,
    /// The port there.
    pub port: u16,
}

impl std::fmt::Display for Label {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.destination {
            Some(destination) => write!(f, "{} -> {}", self.place, destination.shown),
            None => write!(f, "{} (proxy)", self.place),
        }
    }
}

/// Tells what happens.
pub struct Teller {
    tunnels: Vec<Tunnel>,
    json: Option<Output>,
}

struct Tunnel {
    label: Label,
    /// There has been a session.
    was_ready: bool,
    repeats: Repeats,
}

impl Teller {
    /// For the tunnels in the order of their numbers.
    pub fn new(labels: Vec<Label>, json: bool) -> Self {
        let tunnel = |label| Tunnel {
            label,
            was_ready: false,
            repeats: Repeats::default(),
        };
        Self {
            tunnels: labels.into_iter().map(tunnel).collect(),
            json: json.then(Output::stdout),
        }
    }

    /// Tells everything until nobody reports any more.
    pub async fn run(mut self, mut reports: Reports) -> Self {
        self.written().await;
        while let Some(Report { tunnel, notice }) = reports.next().await {
            self.notice(tunnel, &notice);
            let missed = reports.missed();
            if missed > 0 {
                self.event("missed", None, json!({ "events": missed }));
            }
            self.written().await;
        }
        self
    }

    /// A tunnel that has no session yet listens.
    pub fn listens(&mut self, tunnel: usize) {
        if let Some(Tunnel { label, .. }) = self.tunnels.get(tunnel) {
            let how = match label.destination {
                Some(_) => "ready; the first connection opens the session",
                None => "ready for SOCKS5 and HTTP CONNECT",
            };
            terminal::notice(&format!("{label} {how}"));
            self.ready(tunnel, None);
        }
    }

    /// The last event: the exit status, and why if it is not as it should be.
    pub async fn exit(mut self, status: u8, reason: Option<&str>) {
        self.event("exit", None, json!({ "status": status, "reason": reason }));
        if let Some(stdout) = &mut self.json {
            // A reader that is gone needs no telling.
            let _ = timeout(LAST, stdout.flush()).await;
        }
    }

    /// Keeps what waits for stdout bounded. Whoever does not read misses events, and delays
    /// nothing else.
    async fn written(&mut self) {
        if let Some(stdout) = &mut self.json
            && stdout.ready().await.is_err()
        {
            self.json = None;
        }
    }

    fn notice(&mut self, number: usize, notice: &Notice) {
        if let Some(tunnel) = self.tunnels.get_mut(number)
            && let Some((text, hint)) = tunnel.line(notice)
        {
            terminal::notice(&text);
            if let Some(hint) = hint {
                terminal::notice(&format!("hint: {hint}"));
            }
        }
        match notice {
            Notice::Ready { session_id } => self.ready(number, Some(session_id)),
            notice => {
                for (event, fields) in objects::of(notice) {
                    self.event(event, Some(number), fields);
                }
            }
        }
    }

    fn ready(&mut self, number: usize, session_id: Option<&str>) {
        let Some(Tunnel { label, .. }) = self.tunnels.get(number) else {
            return;
        };
        let mut fields = match &label.place {
            Place::Tcp(address) => {
                json!({ "address": address.ip().to_string(), "port": address.port() })
            }
            Place::Unix(path) => json!({ "socket": path.to_string_lossy() }),
        };
        if let Some(Destination { host, port, .. }) = &label.destination {
            fields["host"] = json!(host);
            fields["remote_port"] = json!(port);
        }
        fields["session_id"] = json!(session_id);
        self.event("ready", Some(number), fields);
    }

    fn event(&mut self, event: &str, tunnel: Option<usize>, fields: Value) {
        let Some(stdout) = &mut self.json else {
            return;
        };
        let mut object = Map::new();
        object.insert("event".to_owned(), json!(event));
        if let Some(tunnel) = tunnel {
            object.insert("forward".to_owned(), json!(tunnel + 1));
            let spec = self.tunnels.get(tunnel).map(|tunnel| &tunnel.label.text);
            object.insert("spec".to_owned(), json!(spec));
        }
        if let Value::Object(fields) = fields {
            object.extend(fields);
        }
        stdout.push(format!("{}\n", Value::Object(object)).into());
    }
}

impl Tunnel {
    /// What people are to read, and what they could do.
    fn line(&mut self, notice: &Notice) -> Option<(String, Option<String>)> {
        let label = &self.label;
        let mut what_to_do = None;
        // What programs that never stop trying bring about is not told each time.
        let mut alike = None;
        let text = match notice {
            Notice::Ready { session_id } => {
                let again = if self.was_ready { " again" } else { "" };
                self.was_ready = true;
                format!("{label} ready{again} (session {session_id})")
            }
            Notice::Message(text) => format!("{label}: {text}"),
            Notice::Moved(id) => format!("{label}: the node is {id} now"),
            Notice::Disconnected {
                peer,
                how: Gone::Refused,
                ..
            } => {
                alike = Some(format!("refused {}", destination(peer)));
                format!(
                    "{label}: the node cannot connect there; the connection of {peer} is closed"
                )
            }
            Notice::Disconnected {
                peer,
                how: Gone::TooSlow,
                ..
            } => {
                alike = Some(format!("too slow {}", destination(peer)));
                format!(
                    "{label}: the connection of {peer} is closed, as it read nothing while others \
                     waited"
                )
            }
            Notice::Loss(text) | Notice::Slow(text) => format!("{label}: {text}"),
            Notice::Over { why, restarts, .. } => {
                let next = match restarts {
                    true => "; the next connection starts another",
                    false => "",
                };
                format!("{label}: the session is over: {why}{next}")
            }
            Notice::Restarting { after, why, hint } => {
                what_to_do = hint.clone();
                format!("{label}: {why}; trying again in {} s", after.as_secs())
            }
            Notice::GivenUp {
                connections,
                why,
                hint,
            } => {
                what_to_do = hint.clone();
                alike = Some(repeats::alike(why));
                let whom = match connections {
                    1 => "the connection that waited is".to_owned(),
                    many => format!("the {many} connections that waited are"),
                };
                format!("{label}: {why}; {whom} closed")
            }
            Notice::Proxy(notice) => {
                what_to_do = notice.hint().map(str::to_owned);
                alike = match notice {
                    ProxyNotice::Failed {
                        destination, why, ..
                    } => Some(format!("{destination} {}", repeats::alike(why))),
                    ProxyNotice::Rejected { why, .. } => Some(format!("refused: {why}")),
                    ProxyNotice::Opened { .. } | ProxyNotice::Closed { .. } => None,
                };
                format!("{label}: {notice}")
            }
            Notice::Connected { .. }
            | Notice::Disconnected { .. }
            | Notice::Lost(_)
            | Notice::Resumed => return None,
        };
        let text = match alike {
            Some(key) => self.repeats.line(&key, text)?,
            None => text,
        };
        Some((text, what_to_do))
    }
}

/// Where a client of a proxy was connected to; nothing for others.
fn destination(peer: &str) -> &str {
    peer.split_once(" to ").map_or("", |(_, to)| to)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tunnel() -> Tunnel {
        Tunnel {
            label: Label {
                text: "0:db:5432".into(),
                place: Place::Tcp("127.0.0.1:15432".parse().unwrap()),
                destination: Some(Destination {
                    shown: "db:5432".into(),
                    host: "db".into(),
                    port: 5432,
                }),
            },
            was_ready: false,
            repeats: Repeats::default(),
        }
    }

    fn refused(connection: u64) -> Notice {
        Notice::Disconnected {
            connection,
            peer: format!("127.0.0.1:{connection}"),
            how: Gone::Refused,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn people_read_a_line_for_each_thing_that_matters() {
        let mut tunnel = tunnel();
        let mut line = |notice| tunnel.line(&notice).map(|(text, _)| text);
        let ready = || Notice::Ready {
            session_id: "s".into(),
        };
        let text = "127.0.0.1:15432 -> db:5432 ready (session s)";
        assert_eq!(line(ready()).as_deref(), Some(text));
        let text = "127.0.0.1:15432 -> db:5432 ready again (session s)";
        assert_eq!(line(ready()).as_deref(), Some(text));
        assert!(line(refused(1)).unwrap().contains("cannot connect"));
        assert_eq!(line(refused(2)), None);
        tokio::time::advance(Duration::from_secs(10)).await;
        let text = line(refused(3)).unwrap();
        assert!(text.ends_with("127.0.0.1:3 is closed (and 1 more like it since)"));
        assert_eq!(line(Notice::Resumed), None);
        let over = |restarts| Notice::Over {
            session_id: "s".into(),
            why: "idle".into(),
            restarts,
        };
        let text = "127.0.0.1:15432 -> db:5432: the session is over: idle; the next connection \
            starts another";
        assert_eq!(line(over(true)).as_deref(), Some(text));
        let text = "127.0.0.1:15432 -> db:5432: the session is over: idle";
        assert_eq!(line(over(false)).as_deref(), Some(text));
    }

    #[tokio::test(start_paused = true)]
    async fn what_never_stops_trying_does_not_flood_the_terminal() {
        let mut tunnel = tunnel();
        let mut line = |notice| tunnel.line(&notice).map(|(text, _)| text);
        let failed = |destination: &str, port: u16| {
            Notice::Proxy(ProxyNotice::Failed {
                destination: destination.into(),
                why: format!("read udp 10.0.0.9:{port}->10.0.0.2:53: i/o timeout"),
                hint: None,
            })
        };
        let rejected = |peer: &str, why: &str| {
            Notice::Proxy(ProxyNotice::Rejected {
                peer: peer.into(),
                why: why.into(),
            })
        };
        let gave_up = |why: &str| Notice::GivenUp {
            connections: 1,
            why: why.into(),
            hint: None,
        };
        let slow = |peer: &str| Notice::Disconnected {
            connection: 1,
            peer: peer.into(),
            how: Gone::TooSlow,
        };
        for (first, same, other) in [
            (failed("a:1", 8), failed("a:1", 9), failed("a:2", 8)),
            (rejected("p", "x"), rejected("q", "x"), rejected("p", "y")),
            (gave_up("x"), gave_up("x"), gave_up("y")),
            (slow("p to a:1"), slow("q to a:1"), slow("p to b:1")),
        ] {
            assert!(line(first).is_some());
            assert_eq!(line(same), None);
            assert!(line(other).is_some());
        }
    }
}
