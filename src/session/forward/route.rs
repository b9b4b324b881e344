//! A destination, and the sessions that lead to it, one after another.
//!
//! A session that is over leaves the local port as it is: the next connection begins another.
//! Connections wait for it as long as there is hope.

mod opening;

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::debug;

use super::aim::Aim;
use super::backoff::Backoff;
use super::leave::{self, Patience};
use super::listener::Accepted;
use super::over::may_pass;
use super::report::{Notice, Reporter};
use super::{Mode, Over, Properties, Stop, basic, tunnel};
use crate::aws::{Aws, StartSession};
use crate::channel;
use crate::mux::Socket as _;
use crate::protocol::SessionType;
use crate::session::SessionFailure;
use crate::session::ending::{printable, sentence};
use crate::session::leave::terminate_session;
use crate::session::opening::Opened;

/// How long a connection waits for a session that cannot be had.
const PATIENCE: Duration = Duration::from_secs(60);
/// A connection that waits for no longer than this is not told of.
const NOTABLE: Duration = Duration::from_secs(1);

/// What all routes of a process have in common.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Credentials, region and endpoints.
    pub aws: Aws,
    /// For the data channels.
    pub channel: channel::Options,
    /// How long a connection that takes nothing may keep others waiting; `None` for ever.
    pub slow_reader: Option<Duration>,
    /// Whether a session that is over is followed by another.
    pub restart: bool,
    /// The node that is meant, if that may become another than the request has.
    pub aim: Option<Aim>,
}

/// How a route begins.
#[derive(Debug)]
pub enum Begin {
    /// With this session.
    With(Opened),
    /// Without one, until somebody connects.
    Lazy,
}

/// When there may be another session, and why there is none.
#[derive(Default)]
struct Pause {
    backoff: Backoff,
    why: String,
    hint: Option<String>,
}

/// A destination.
#[derive(Debug)]
pub struct Route {
    /// What to ask the service for.
    pub request: StartSession,
    /// How to behave.
    pub settings: Settings,
    /// Hears what happens.
    pub report: Reporter,
}

impl Route {
    /// Carries the connections of `queue` until it is told to stop, or until there is no more hope
    /// of a session. Whoever waits then is reset, the remote side has ended.
    pub async fn run(
        &self,
        begin: Begin,
        queue: &mut mpsc::Receiver<Accepted>,
        stop: &mut Stop,
    ) -> Over {
        let over = self.go_on(begin, queue, stop).await;
        queue.close();
        reset_all(queue);
        over
    }

    async fn go_on(
        &self,
        begin: Begin,
        queue: &mut mpsc::Receiver<Accepted>,
        stop: &mut Stop,
    ) -> Over {
        let mut pause = Pause::default();
        let (mut session, mut first) = match begin {
            Begin::With(opened) => (Some(opened), None),
            Begin::Lazy => (None, None),
        };
        loop {
            let opened = match session.take() {
                Some(opened) => opened,
                None => match self.bring(queue, stop, &mut pause).await {
                    Ok(Some((opened, accepted))) => {
                        first = Some(accepted);
                        opened
                    }
                    Ok(None) => continue,
                    Err(over) => return over,
                },
            };
            let since = Instant::now();
            let session_id = opened.session_id.clone();
            let over = self.serve(opened, first.take(), queue, stop).await;
            if matches!(over, Over::Stopped) {
                return over;
            }
            let why = over.reason();
            debug!(session_id, why, "the session is over");
            let restarts = self.settings.restart && over.can_restart();
            self.report.report(Notice::Over {
                session_id,
                why: why.clone(),
                restarts,
            });
            if !restarts {
                return over;
            }
            let ended = matches!(&over, Over::Closed(reason) if !reason.is_empty());
            self.doubt().await;
            pause.backoff.served(since, ended);
            (pause.why, pause.hint) = (format!("the session is over: {why}"), None);
        }
    }

    /// Has the session carry connections to its end.
    async fn serve(
        &self,
        mut opened: Opened,
        first: Option<Accepted>,
        queue: &mut mpsc::Receiver<Accepted>,
        stop: &mut Stop,
    ) -> Over {
        self.report.report(Notice::Ready {
            session_id: opened.session_id.clone(),
        });
        for message in std::mem::take(&mut opened.messages) {
            self.report.report(Notice::Message(printable(&message)));
        }
        let over = match mode(&opened) {
            Mode::Mux => {
                let slow_reader = self.settings.slow_reader;
                tunnel::serve(&mut opened, first, queue, &self.report, stop, slow_reader).await
            }
            Mode::Basic | Mode::Stdio => {
                basic::serve(&mut opened, first, queue, &self.report, stop).await
            }
        };
        conclude(opened, &over, stop).await;
        over
    }

    /// Waits for somebody who needs a session, and gets one; `None` if that came to nothing.
    ///
    /// # Errors
    ///
    /// We are to end.
    async fn bring(
        &self,
        queue: &mut mpsc::Receiver<Accepted>,
        stop: &mut Stop,
        pause: &mut Pause,
    ) -> Result<Option<(Opened, Accepted)>, Over> {
        let first = tokio::select! {
            () = stop.wanted() => return Err(Over::Stopped),
            first = queue.recv() => match first {
                Some(first) => first,
                // Nobody listens any more.
                None => return Err(Over::Stopped),
            },
        };
        let mut attempts = 0;
        let after = pause.backoff.remaining();
        if after > NOTABLE {
            self.report.report(pause.notice(after));
        }
        loop {
            tokio::select! {
                () = stop.wanted() => {
                    first.socket.reset();
                    return Err(Over::Stopped);
                }
                () = pause.backoff.wait() => {}
            }
            attempts += 1;
            // At first it may be somebody who has only questions, and has asked them all.
            if attempts > 1 && first.socket.is_gone() {
                debug!(peer = first.peer, "gone before there was a session");
                return Ok(None);
            }
            let failure = match self.open(stop).await {
                Ok(opened) => return Ok(Some((opened, first))),
                Err(Over::Failed(failure)) => failure,
                Err(over) => {
                    first.socket.reset();
                    return Err(over);
                }
            };
            (pause.why, pause.hint) = (sentence(&failure.to_string()), failure.hint());
            debug!(why = pause.why, "no session");
            if !may_pass(&failure) {
                // The next may find that somebody has set it right.
                pause.backoff = Backoff::default();
                self.give_up(first, Some(queue), pause);
                return Ok(None);
            }
            let after = pause.backoff.failed();
            if first.since.elapsed() + after > PATIENCE {
                self.give_up(first, None, pause);
                return Ok(None);
            }
            self.report.report(pause.notice(after));
        }
    }

    /// Resets a connection, and those behind it.
    fn give_up(
        &self,
        first: Accepted,
        behind: Option<&mut mpsc::Receiver<Accepted>>,
        pause: &Pause,
    ) {
        first.socket.reset();
        let others = behind.map_or(0, reset_all);
        self.report.report(Notice::GivenUp {
            connections: others + 1,
            why: pause.why.clone(),
            hint: pause.hint.clone(),
        });
    }
}

impl Pause {
    /// It lasts so long yet.
    fn notice(&self, after: Duration) -> Notice {
        // To the nearest second.
        let after = Duration::from_secs((after + NOTABLE / 2).as_secs());
        Notice::Restarting {
            after,
            why: self.why.clone(),
            hint: self.hint.clone(),
        }
    }
}

/// Resets the connections that wait; how many there were.
fn reset_all(queue: &mut mpsc::Receiver<Accepted>) -> usize {
    let waiting = std::iter::from_fn(|| queue.try_recv().ok());
    waiting.map(|left| left.socket.reset()).count()
}

/// Does something that takes its time, unless somebody insists on an end.
async fn within_patience(work: impl Future<Output = ()>, stop: &mut Stop) {
    tokio::select! {
        () = work => {}
        () = stop.insisted() => debug!("told to leave at once"),
    }
}

/// Ends what is left of a session.
async fn conclude(mut opened: Opened, over: &Over, stop: &mut Stop) {
    let patience = match stop.is_hasty() {
        true => Patience::HASTY,
        false => Patience::ORDERLY,
    };
    let end = async {
        match over {
            Over::Closed(_) | Over::TimedOut => {}
            // The channel has ended, the session perhaps not.
            Over::Failed(
                SessionFailure::LostForGood(_)
                | SessionFailure::Useless(_)
                | SessionFailure::NotConnected(_)
                | SessionFailure::Protocol(_),
            ) => terminate_session(&opened.aws, &opened.session_id).await,
            Over::Failed(_) | Over::Stopped => {
                let Opened {
                    aws,
                    session_id,
                    channel,
                    features,
                    ..
                } = &mut opened;
                leave::terminate(aws, session_id, channel, *features, patience).await;
            }
        }
        opened.channel.close().await;
    };
    within_patience(end, stop).await;
}

/// How a session carries its data.
fn mode(opened: &Opened) -> Mode {
    match &opened.kind {
        SessionType::Port(properties) => Properties::read(properties).mode(opened.features),
        _ => Mode::Stdio,
    }
}

/// What documents call a kind of session.
fn name(kind: &SessionType) -> &'static str {
    match kind {
        SessionType::StandardStream => "Standard_Stream",
        SessionType::InteractiveCommands => "InteractiveCommands",
        SessionType::NonInteractiveCommands => "NonInteractiveCommands",
        SessionType::Port(_) => "Port (for ssh)",
    }
}
