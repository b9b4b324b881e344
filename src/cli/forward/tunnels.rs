//! All tunnels of a command: brought up together, watched, and taken down together.

use std::ffi::OsString;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::future::{join_all, try_join_all};
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use super::super::child::{self, ending};
use super::super::report::Failure;
use super::events::{Label, Teller};
use crate::aws::{Aws, StartSession};
use crate::session::forward::listener::{Listener, Place};
use crate::session::forward::proxy::{self, Proxy};
use crate::session::forward::report::Reporter;
use crate::session::forward::route::{Begin, Route, Settings};
use crate::session::forward::{Over, Stop, Stopper};
use crate::terminal::{Ignored, Signals};

/// How long connections of a command that has ended may take to end too.
const SETTLE: Duration = Duration::from_secs(2);
/// How long what is still to be told may take.
const TELL: Duration = Duration::from_secs(1);

/// The exit status of what a hangup has ended.
const HUNG_UP: u8 = 128 + 1;

/// A place that accepts, and where it leads.
pub struct Bound {
    pub listener: Listener,
    pub label: Label,
    pub leads: Leads,
    pub settings: Settings,
}

/// Where a tunnel leads.
pub enum Leads {
    /// To one destination.
    To(StartSession),
    /// Wherever clients of a proxy say.
    Anywhere {
        target: String,
        reason: Option<String>,
        idle: Option<Duration>,
    },
}

/// Tunnels at work.
pub struct Tunnels {
    aws: Vec<Aws>,
    names: Vec<String>,
    /// For the command.
    environment: Vec<(String, String)>,
    work: JoinSet<(usize, Over)>,
    /// Tell when each is ready; dropped by those that never are.
    ready: Vec<oneshot::Receiver<()>>,
    /// Open connections of each.
    open: Vec<watch::Receiver<usize>>,
    stopper: Stopper,
    signals: Signals,
    telling: JoinHandle<Teller>,
}

impl Tunnels {
    /// Begins to bring them up. Must be called within a tokio runtime.
    pub fn start(bound: Vec<Bound>, lazy: bool, json: bool) -> anyhow::Result<Self> {
        let signals = Signals::install_for(Ignored::LeftAlone);
        let signals = signals.context("cannot listen for signals")?;
        let (reporter, reports) = Reporter::new();
        let stopper = Stopper::new();
        let mut work = JoinSet::new();
        let (mut labels, mut readies, mut open) = (Vec::new(), Vec::new(), Vec::new());
        let (mut listen_only, mut aws) = (Vec::new(), Vec::new());
        for (number, bound) in bound.into_iter().enumerate() {
            let Bound {
                listener,
                label,
                leads,
                settings,
            } = bound;
            labels.push(label);
            aws.push(settings.aws.clone());
            let report = reporter.of_tunnel(number);
            open.push(report.open());
            let (told, ready) = oneshot::channel();
            readies.push(ready);
            if lazy || matches!(leads, Leads::Anywhere { .. }) {
                listen_only.push(number);
            }
            let tunnel = Tunnel {
                listener,
                lazy,
                settings,
                report,
                stop: stopper.listen(),
                ready: told,
            };
            work.spawn(async move { (number, tunnel.run(leads).await) });
        }
        let names = labels.iter().map(Label::to_string).collect();
        let environment = environment(&labels);
        let mut teller = Teller::new(labels, json);
        for number in listen_only {
            teller.listens(number);
        }
        Ok(Self {
            aws,
            names,
            environment,
            work,
            ready: readies,
            open,
            stopper,
            signals,
            telling: tokio::spawn(teller.run(reports)),
        })
    }

    /// Runs `command`, or else stays until a signal or a session ends it, then takes the tunnels
    /// down. The exit status, and who tells it unless stdout is stuck.
    pub async fn run(mut self, command: &[OsString]) -> (anyhow::Result<u8>, Option<Teller>) {
        let result = self.live(command).await;
        match result {
            // The terminal is gone, and soon whatever was in it.
            Ok(HUNG_UP) => self.stopper.leave_soon(),
            _ => self.stopper.leave(),
        }
        self.take_down().await;
        let told = timeout(TELL, &mut self.telling).await;
        (result, told.ok().and_then(Result::ok))
    }

    async fn live(&mut self, command: &[OsString]) -> anyhow::Result<u8> {
        if let Some(number) = self.come_up().await? {
            return Ok(128 + number);
        }
        match command.split_first() {
            Some((program, arguments)) => self.run_command(program, arguments).await,
            None => tokio::select! {
                number = ending(&mut self.signals) => Ok(128 + number),
                Some(ended) = self.work.join_next() => Err(failure(&self.names, ended)),
            },
        }
    }

    /// Waits until all are ready; the number of a signal that comes first.
    async fn come_up(&mut self) -> anyhow::Result<Option<u8>> {
        let mut ready = try_join_all(self.ready.drain(..));
        tokio::select! {
            // A failure is to be told as such, whatever else has happened.
            biased;
            Some(ended) = self.work.join_next() => Err(failure(&self.names, ended)),
            number = ending(&mut self.signals) => Ok(Some(number)),
            Ok(_) = &mut ready => Ok(None),
        }
    }

    /// Runs a command to its end. Should a tunnel end meanwhile, that is told, and the command
    /// finds out by itself.
    async fn run_command(
        &mut self,
        program: &OsString,
        arguments: &[OsString],
    ) -> anyhow::Result<u8> {
        // The terminal is the command's.
        for aws in &self.aws {
            aws.stop_prompting();
        }
        let mut command = tokio::process::Command::new(program);
        command
            .args(arguments)
            .envs(self.environment.iter().cloned());
        let status = child::run(&mut command, &mut self.signals).await?;
        let closed = self
            .open
            .iter_mut()
            .map(|open| open.wait_for(|open| *open == 0));
        tokio::select! {
            _ = timeout(SETTLE, join_all(closed)) => {}
            _ = ending(&mut self.signals) => {}
        }
        Ok(status)
    }

    /// Waits until all sessions have ended; they do at once if a signal insists.
    async fn take_down(&mut self) {
        loop {
            tokio::select! {
                ended = self.work.join_next() => {
                    if ended.is_none() {
                        return;
                    }
                }
                _ = ending(&mut self.signals) => self.stopper.leave_at_once(),
            }
        }
    }
}

/// One tunnel.
struct Tunnel {
    listener: Listener,
    lazy: bool,
    settings: Settings,
    report: Reporter,
    stop: Stop,
    ready: oneshot::Sender<()>,
}

impl Tunnel {
    async fn run(self, leads: Leads) -> Over {
        let Self {
            listener,
            lazy,
            settings,
            report,
            mut stop,
            ready,
        } = self;
        let (mut queue, accepting) = listener.start();
        let over = match leads {
            Leads::To(request) => {
                let route = Route {
                    request,
                    settings,
                    report,
                };
                let begin = match lazy {
                    true => Ok(Begin::Lazy),
                    false => route.open(&mut stop).await.map(Begin::With),
                };
                match begin {
                    Ok(begin) => {
                        // Whoever waits for that may have given up.
                        let _ = ready.send(());
                        route.run(begin, &mut queue, &mut stop).await
                    }
                    Err(over) => over,
                }
            }
            Leads::Anywhere {
                target,
                reason,
                idle,
            } => {
                let options = proxy::Options {
                    reason,
                    idle,
                    ..proxy::Options::new(target, settings)
                };
                let _ = ready.send(());
                Proxy::new(options, report).run(&mut queue, &mut stop).await;
                Over::Stopped
            }
        };
        accepting.end().await;
        over
    }
}

/// What a tunnel that ended by itself is for the whole.
fn failure(
    names: &[String],
    ended: Result<(usize, Over), tokio::task::JoinError>,
) -> anyhow::Error {
    let (number, over) = match ended {
        Ok(ended) => ended,
        Err(error) => return Failure::other(format!("a tunnel broke: {error}")).into(),
    };
    let name = names.get(number).map_or("a tunnel", String::as_str);
    match over {
        Over::Failed(failure) => {
            let error = anyhow::Error::from(failure);
            match names.len() {
                1 => error,
                _ => error.context(name.to_owned()),
            }
        }
        over => {
            let ended = Failure::other(format!("{name}: the session is over: {}", over.reason()));
            match over.can_restart() {
                true => ended.hint("without --no-restart, the next connection starts another"),
                false => ended,
            }
            .into()
        }
    }
}

/// What a command is to know: the ports and sockets, numbered in the order of the options.
fn environment(labels: &[Label]) -> Vec<(String, String)> {
    let mut variables: Vec<(String, String)> = Vec::new();
    let mut set = |name: String, value: &str| {
        if !variables.iter().any(|(known, _)| *known == name) {
            variables.push((name, value.to_owned()));
        }
    };
    let (forwards, proxies): (Vec<&Label>, Vec<&Label>) =
        labels.iter().partition(|label| label.destination.is_some());
    for (at, label) in forwards.iter().enumerate() {
        let (name, value) = match &label.place {
            Place::Tcp(address) => ("SSMX_PORT", address.port().to_string()),
            Place::Unix(path) => ("SSMX_SOCKET", path.to_string_lossy().into_owned()),
        };
        if at == 0 {
            set(name.to_owned(), &value);
        }
        set(format!("{name}_{}", at + 1), &value);
    }
    for port in proxies.iter().filter_map(|label| label.place.port()) {
        set("SSMX_SOCKS_PORT".to_owned(), &port.to_string());
        if forwards.is_empty() {
            set("SSMX_PORT".to_owned(), &port.to_string());
        }
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::super::events::Destination;
    use super::*;

    fn label(place: Place, leads: bool) -> Label {
        Label {
            text: String::new(),
            place,
            destination: leads.then(|| Destination {
                shown: String::new(),
                host: String::new(),
                port: 1,
            }),
        }
    }

    fn tcp(port: u16) -> Place {
        Place::Tcp(([127, 0, 0, 1], port).into())
    }

    #[test]
    fn commands_learn_all_ports_and_sockets() {
        let show = |labels: &[Label]| {
            let variables = environment(labels).into_iter();
            let words: Vec<String> = variables
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            words.join(" ")
        };
        let labels = [
            label(tcp(5), true),
            label(Place::Unix("/s".into()), true),
            label(tcp(6), true),
            label(tcp(7), false),
        ];
        assert_eq!(
            show(&labels),
            "SSMX_PORT=5 SSMX_PORT_1=5 SSMX_SOCKET_2=/s SSMX_PORT_3=6 SSMX_SOCKS_PORT=7"
        );
        assert_eq!(
            show(&[label(tcp(7), false)]),
            "SSMX_SOCKS_PORT=7 SSMX_PORT=7"
        );
    }
}
