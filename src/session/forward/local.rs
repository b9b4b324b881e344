//! A port session that the user started by itself: one local port, and the texts around it.

mod texts;

use std::net::Ipv4Addr;
use std::path::PathBuf;

use super::bind::{Bind, BindError, Host};
use super::leave::{Patience, terminate};
use super::listener::Listener;
use super::report::Reporter;
use super::route::{Begin, Route, Settings};
use super::{Given, Over, Properties, Stopper, descriptors};
use crate::mux::{Config, Role};
use crate::session::Style;
use crate::session::TERMINATE_TIMEOUT;
use crate::session::ending::{Outcome, SessionFailure};
use crate::session::front::{Front, suspend};
use crate::session::notices::plugin;
use crate::session::opening::Opened;
use crate::terminal::{self, Signal};

use self::texts::Teller;

/// Runs the session to its end.
pub async fn run(
    mut front: Front,
    mut opened: Opened,
    given: Given,
    properties: &Properties,
) -> Result<Outcome, SessionFailure> {
    descriptors::raise();
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
    if style == Style::Native && listener.is_exposed() {
        terminal::notice(&listener.place().warning());
    }
    let mode = properties.mode(opened.features);
    let (id, place) = (opened.session_id.clone(), listener.place().clone());
    let mut teller = Teller::new(style, mode, id, place);
    let (report, mut reports) = Reporter::new();
    let route = Route {
        settings: Settings {
            aws: opened.aws.clone(),
            channel: front.options.channel.clone(),
            slow_reader: Config::new(Role::Client, false).slow_reader,
            restart: style == Style::Native && given.again.is_some(),
            aim: given.aim,
        },
        request: given.again.unwrap_or_default(),
        report,
    };
    let stopper = Stopper::new();
    let mut stop = stopper.listen();
    let (mut queue, accepting) = listener.start();
    let mut outcome = Outcome::Ended { exit_code: None };
    let mut writing = true;
    let mut orphaned = false;
    let over = {
        let run = async {
            let begin = match style {
                // Scripts wait for what it says as soon as it is there.
                Style::Plugin => Begin::With(opened),
                Style::Native => match route.confirm(opened, &mut stop).await {
                    Ok(opened) => Begin::With(opened),
                    Err(over) => return over,
                },
            };
            route.run(begin, &mut queue, &mut stop).await
        };
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
                // That stays so: told again and again, it would leave no time for the end.
                () = front.parent.gone(), if !orphaned => {
                    orphaned = true;
                    Signal::Hangup
                }
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
            match signal {
                // The terminal is gone, and soon whatever was in it.
                Signal::Hangup => stopper.leave_soon(),
                _ => stopper.leave(),
            }
        }
    };
    while let Some(report) = reports.try_next() {
        if let Some(text) = teller.tell(&report.notice) {
            front.stdout.push(text.into());
        }
    }
    accepting.end().await;
    if style == Style::Plugin
        && let Some(text) = last_words(&over, teller.session_id())
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

/// What the plugin says at the end.
fn last_words(over: &Over, session_id: &str) -> Option<String> {
    match over {
        Over::Closed(output) => Some(plugin::ended(session_id, output)),
        Over::TimedOut => Some(plugin::timed_out(session_id)),
        Over::Stopped => Some(plugin::ended(session_id, "")),
        Over::Failed(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_end_the_plugin_as_they_end_the_official_one() {
        let ended = Some(Outcome::Ended { exit_code: None });
        for signal in [Signal::Interrupt, Signal::Quit, Signal::Suspend] {
            assert_eq!(left_by(signal, Style::Plugin), ended);
        }
        for style in [Style::Plugin, Style::Native] {
            assert_eq!(left_by(Signal::Terminate, style), Some(Outcome::Signal(15)));
            assert_eq!(left_by(Signal::Resize, style), None);
        }
        assert_eq!(
            left_by(Signal::Interrupt, Style::Native),
            Some(Outcome::Signal(2))
        );
    }
}
