//! A route's next session: on which node, how it is asked for, and when it is one.

use std::time::Duration;

use tokio::time::timeout;
use tracing::debug;

use super::super::report::Notice;
use super::super::{Mode, Over, Stop, ready};
use super::{Route, Settings, conclude, mode, name, within_patience};
use crate::aws::{SessionGrant, StartSession};
use crate::channel::ConnectError;
use crate::session::SessionFailure;
use crate::session::leave::terminate_session;
use crate::session::opening::{Opened, Opening, Progress};

/// How long an interrupted StartSession may take to be undone.
const CLEAN_UP: Duration = Duration::from_secs(5);

impl Route {
    /// Starts a session that carries connections.
    ///
    /// # Errors
    ///
    /// Why there is none, as a failure unless we were told to stop; nothing is left behind then.
    pub async fn open(&self, stop: &mut Stop) -> Result<Opened, Over> {
        let request = self.request(stop).await?;
        let opened = self.open_to(request, stop).await;
        if let Err(Over::Failed(_)) = &opened {
            self.doubt().await;
        }
        opened
    }

    /// What to ask for: a session on the node that is meant by now.
    async fn request(&self, stop: &mut Stop) -> Result<StartSession, Over> {
        let mut request = self.request.clone();
        if let Some(aim) = &self.settings.aim {
            let (target, is_new) = tokio::select! {
                () = stop.wanted() => return Err(Over::Stopped),
                target = aim.target() => target.map_err(Over::Failed)?,
            };
            if is_new {
                debug!(target, "the node is another by now");
                self.report.report(Notice::Moved(target.clone()));
            }
            request.target = target;
        }
        Ok(request)
    }

    /// Has the node looked up before the next session.
    pub(super) async fn doubt(&self) {
        if let Some(aim) = &self.settings.aim {
            aim.doubt().await;
        }
    }

    async fn open_to(&self, request: StartSession, stop: &mut Stop) -> Result<Opened, Over> {
        let Settings { aws, channel, .. } = &self.settings;
        let grant = self.start(&request, stop).await?;
        let target = request.target;
        let opening = Opening::begin(aws.clone(), grant, target, channel.clone());
        let mut opening = opening.map_err(Over::Failed)?;
        let opened = loop {
            let progress = tokio::select! {
                () = stop.wanted() => {
                    within_patience(opening.terminate(), stop).await;
                    return Err(Over::Stopped);
                }
                progress = opening.next() => progress,
            };
            match progress {
                Progress::Quiet(text) => self.report.report(Notice::Slow(text)),
                Progress::Started(kind, features) => break opening.finish(kind, features),
                Progress::Over(end) => {
                    if end.wants_termination() {
                        within_patience(opening.terminate(), stop).await;
                    }
                    return Err(Over::Failed(SessionFailure::of(end)));
                }
            }
        };
        self.confirm(opened, stop).await
    }

    /// Waits until a session that has been opened carries connections.
    ///
    /// # Errors
    ///
    /// Why it never will, as with [`open`](Self::open).
    pub async fn confirm(&self, mut opened: Opened, stop: &mut Stop) -> Result<Opened, Over> {
        let over = match mode(&opened) {
            Mode::Stdio => Over::Failed(SessionFailure::NotForwarding(name(&opened.kind))),
            // There is nothing that such an agent takes and does nothing with.
            Mode::Basic => return Ok(opened),
            Mode::Mux => tokio::select! {
                () = stop.wanted() => Over::Stopped,
                ready = ready::takes_connections(&mut opened, &self.report) => match ready {
                    Ok(()) => return Ok(opened),
                    Err(over) => over,
                }
            },
        };
        conclude(opened, &over, stop).await;
        Err(over.before_use())
    }

    /// Starts a session; asks for access to the node first, if that is what it takes.
    async fn start(&self, request: &StartSession, stop: &mut Stop) -> Result<SessionGrant, Over> {
        let aws = &self.settings.aws;
        let denied = |failure: &SessionFailure| {
            let error = failure.aws();
            error.is_some_and(|error| aws.may_ask_for_access(error))
        };
        match self.ask(request, stop).await {
            Err(Over::Failed(failure)) if denied(&failure) => {}
            outcome => return outcome,
        }
        tokio::select! {
            () = stop.wanted() => return Err(Over::Stopped),
            gained = aws.gain_access(&request.target) => {
                gained.map_err(|error| Over::Failed(ConnectError::from(error).into()))?;
            }
        }
        self.ask(request, stop).await
    }

    /// Asks the service for a session. Once it is asked, its answer is waited for, lest a session
    /// be left behind.
    async fn ask(&self, request: &StartSession, stop: &mut Stop) -> Result<SessionGrant, Over> {
        let aws = &self.settings.aws;
        let asked = aws.start_session(request);
        tokio::pin!(asked);
        tokio::select! {
            biased;
            () = stop.wanted() => {}
            grant = &mut asked => {
                return grant.map_err(|error| {
                    Over::Failed(ConnectError::from(error).into())
                });
            }
        }
        let undo = async {
            if let Ok(grant) = asked.await {
                terminate_session(aws, &grant.session_id).await;
            }
        };
        within_patience(async { drop(timeout(CLEAN_UP, undo).await) }, stop).await;
        Err(Over::Stopped)
    }
}
