//! A port session that the user started by itself: one local port, and the texts around it.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use super::bind::{Bind, BindError, Host};
use super::leave::{Patience, terminate};
use super::listener::{Listener, Place};
use super::report::{Gone, Notice, Reporter};
use super::route::{Begin, Route, Settings};
use super::{Given, Mode, Over, Properties, Stopper};
use crate::mux::{Config, Role};
use crate::session::Style;
use crate::session::TERMINATE_TIMEOUT;
use crate::session::ending::{Outcome, SessionFailure};
use crate::session::front::{Front, suspend};
use crate::session::notices::plugin;
use crate::session::opening::Opened;
use crate::terminal::{self, Signal};

/// The session's texts.
struct Teller {
    style: Style,
    mode: Mode,
    session_id: String,
    place: Place,
    /// Whether a session has been announced, and a connection.
    ready: bool,
    connected: bool,
    restarts: bool,
}

/// Runs the session to its end.
pub async fn run(
    mut front: Front,
    mut opened: Opened,
    given: Given,
    properties: &Properties,
) -> Result<Outcome, SessionFailure> {
    front.announce();
    front.show_messages(std::mem::take(&mut opened.messages));
    let style = front.options.style;
    let listener = match given.listener {
        Some(listener) => Ok(listener),
        None => listen(properties, style).await,
    };
    let listener = match listener {
        Ok(listener) => listener,
        Err(error) => return refuse(front, opened, properties, error).await,
    };
    let mut teller = Teller {
        style,
        mode: properties.mode(opened.features),
        session_id: opened.session_id.clone(),
        place: listener.place().clone(),
        ready: false,
        connected: false,
        restarts: style == Style::Native && given.again.is_some(),
    };
    let (report, mut reports) = Reporter::new();
    let route = Route {
        settings: Settings {
            aws: opened.aws.clone(),
            channel: front.options.channel.clone(),
            slow_reader: Config::new(Role::Client, false).slow_reader,
            restart: teller.restarts,
        },
        request: given.again.unwrap_or_default(),
        report,
    };
    let stopper = Stopper::new();
    let mut stop = stopper.listen();
    let (mut queue, accepting) = listener.start();
    let mut outcome = Outcome::Ended { exit_code: None };
    let mut writing = true;
    let over = {
        let run = route.run(Begin::With(opened), &mut queue, &mut stop);
        tokio::pin!(run);
        loop {
            let signal = tokio::select! {
                over = &mut run => break over,
                Some(report) = reports.next() => {
                    if let Some(text) = teller.tell(&report.notice) {
                        front.stdout.push(text.into());
                        writing = true;
                    }
                    continue;
                }
                // Who does not read what the plugin says misses that and nothing else.
                _ = front.stdout.ready(), if writing => {
                    writing = false;
                    continue;
                }
                signal = front.signals.next() => signal,
                () = front.parent.gone() => Signal::Hangup,
            };
            let Some(left) = left_by(signal, style) else {
                continue;
            };
            if stop_is_wanted(&stopper) {
                stopper.leave_at_once();
                continue;
            }
            outcome = left;
            if style == Style::Plugin {
                front.stdout.push(plugin::INTERRUPTED.into());
                writing = true;
            }
            stopper.leave();
        }
    };
    while let Some(report) = reports.try_next() {
        if let Some(text) = teller.tell(&report.notice) {
            front.stdout.push(text.into());
        }
    }
    accepting.end().await;
    if style == Style::Plugin
        && let Some(text) = last_words(&over, &teller.session_id)
    {
        front.stdout.push(text.into());
    }
    let _ = tokio::time::timeout(TERMINATE_TIMEOUT, front.stdout.flush()).await;
    match (over, style) {
        (Over::Closed(_) | Over::TimedOut, Style::Plugin) => Ok(outcome),
        (over, _) => match over.into_failure() {
            Some(failure) => Err(failure),
            None => Ok(outcome),
        },
    }
}

fn stop_is_wanted(stopper: &Stopper) -> bool {
    stopper.listen().is_wanted()
}

/// What a signal makes of us; `None` if we stay.
fn left_by(signal: Signal, style: Style) -> Option<Outcome> {
    match (signal, style) {
        // As the official plugin has it.
        (Signal::Interrupt | Signal::Quit | Signal::Suspend, Style::Plugin) => {
            Some(Outcome::Ended { exit_code: None })
        }
        (Signal::Suspend, Style::Native) => {
            suspend();
            None
        }
        _ => Some(Outcome::Signal(signal.number()?.into())),
    }
}

/// Listens where the document says.
async fn listen(properties: &Properties, style: Style) -> Result<Listener, BindError> {
    if let Some(path) = &properties.local_socket {
        return Listener::bind(&Bind::Unix(PathBuf::from(path))).await;
    }
    let host = Host::from_environment();
    let port = match properties.local_port.as_str() {
        "" => Ok(0),
        port => port.parse().map_err(|_| port),
    };
    let port = port.map_err(|port| {
        let error = std::io::ErrorKind::InvalidInput.into();
        BindError::new(format!("port {port:?}"), &error)
            .why("that is no port (0 to 65535)")
            .with_hint("set localPortNumber among the document's parameters")
    })?;
    let bound = Listener::bind(&Bind::Tcp {
        host: host.clone(),
        port,
    })
    .await;
    match bound {
        // The official plugin listens on 127.0.0.1 alone, whoever has ::1.
        Err(error)
            if style == Style::Plugin
                && host == Host::Localhost
                && error.kind() == std::io::ErrorKind::AddrInUse =>
        {
            let host = Host::Address(Ipv4Addr::LOCALHOST.into());
            Listener::bind(&Bind::Tcp { host, port }).await
        }
        bound => bound,
    }
}

/// There is nowhere to listen: the session ends before it was of use.
async fn refuse(
    mut front: Front,
    mut opened: Opened,
    properties: &Properties,
    error: BindError,
) -> Result<Outcome, SessionFailure> {
    if front.options.style == Style::Plugin {
        let network = match properties.local_socket {
            Some(_) => "unix",
            None => "tcp",
        };
        let text = plugin::failed(&error.as_in_go(network));
        front.stdout.push(text.into());
    }
    let Opened {
        aws,
        session_id,
        channel,
        features,
        ..
    } = &mut opened;
    terminate(aws, session_id, channel, *features, Patience::ORDERLY).await;
    opened.channel.close().await;
    let _ = tokio::time::timeout(TERMINATE_TIMEOUT, front.stdout.flush()).await;
    Err(error.into())
}

/// What texts call the place.
fn name(place: &Place) -> String {
    match place {
        Place::Tcp(address) => format!("Port {}", address.port()),
        Place::Unix(path) => format!("Unix socket {}", path.display()),
    }
}

/// What the plugin says at the end.
fn last_words(over: &Over, session_id: &str) -> Option<String> {
    match over {
        Over::Closed(output) => Some(plugin::ended(session_id, output)),
        Over::TimedOut => Some(plugin::timed_out(session_id)),
        Over::Stopped => Some(plugin::ended(session_id, "")),
        Over::Failed(_) => None,
    }
}

impl Teller {
    /// Tells of something: on stderr by itself, or by the text for stdout that it returns.
    fn tell(&mut self, notice: &Notice) -> Option<String> {
        match self.style {
            Style::Plugin => self.plugin(notice),
            Style::Native => {
                if let Some(text) = self.native(notice) {
                    terminal::notice(&text);
                }
                None
            }
        }
    }

    fn plugin(&mut self, notice: &Notice) -> Option<String> {
        let mux = self.mode == Mode::Mux;
        match notice {
            Notice::Ready { session_id } => {
                Some(plugin::listening(&name(&self.place), session_id, mux))
            }
            Notice::Connected { .. } if !self.connected => {
                self.connected = true;
                Some(plugin::accepted(&self.session_id, mux))
            }
            Notice::Disconnected {
                how: Gone::Refused, ..
            } if mux => Some(plugin::REFUSED.to_owned()),
            Notice::Message(text) => Some(format!("{text}\n")),
            // What is not of the contract goes to stderr.
            Notice::Loss(text) | Notice::Slow(text) => {
                terminal::notice(text);
                None
            }
            _ => None,
        }
    }

    fn native(&mut self, notice: &Notice) -> Option<String> {
        let place = name(&self.place);
        Some(match notice {
            Notice::Ready { session_id } => {
                self.session_id.clone_from(session_id);
                let again = if self.ready { " again" } else { "" };
                self.ready = true;
                format!(
                    "{place} opened{again} for sessionId {session_id}. Waiting for connections..."
                )
            }
            Notice::Connected { .. } if !self.connected => {
                self.connected = true;
                format!("Connection accepted for session {}", self.session_id)
            }
            Notice::Disconnected { peer, how, .. } => match how {
                Gone::Refused => format!(
                    "{place}: the node cannot connect to the destination; the connection of {peer} is closed"
                ),
                Gone::TooSlow => format!(
                    "{place}: the connection of {peer} is closed, as it read nothing while others waited"
                ),
                _ => return None,
            },
            Notice::Message(text) | Notice::Loss(text) | Notice::Slow(text) => text.clone(),
            Notice::Over { why, .. } if self.restarts => {
                format!("the session is over: {why}; the next connection starts another")
            }
            Notice::Restarting { after, why, .. } => {
                format!("{why}; trying again in {} s", after.as_secs())
            }
            Notice::GivenUp { why, hint, .. } => {
                let hint = hint
                    .as_ref()
                    .map_or(String::new(), |hint| format!(" ({hint})"));
                format!("{why}{hint}; connections that waited are closed")
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
#[path = "local_tests.rs"]
mod tests;
