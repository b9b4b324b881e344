//! From a session that is granted to one that the agent has said the nature of.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tracing::debug;

use super::ending::SessionFailure;
use super::leave::terminate_session;
use super::notices::LossNotice;
use crate::aws::{Aws, SessionGrant};
use crate::channel::{self, Channel, End, Event};
use crate::protocol::SessionType;
use crate::protocol::payload::Size;
use crate::protocol::version::AgentFeatures;

/// Silence of the agent after which the user is told why nothing happens.
const QUIET_START: Duration = Duration::from_secs(15);

/// A session in force.
#[derive(Debug)]
pub struct Opened {
    /// Credentials, region and endpoints.
    pub aws: Aws,
    /// The service's name of it.
    pub session_id: String,
    /// Carries it.
    pub channel: Channel,
    /// What it is for.
    pub kind: SessionType,
    /// What its agent can do.
    pub features: AgentFeatures,
    /// Texts of the service for the user.
    pub messages: Vec<String>,
}

/// A session that is being opened. Dropping it leaves the remote side as it is: see
/// [`terminate`](Self::terminate).
#[derive(Debug)]
pub struct Opening {
    aws: Aws,
    session_id: String,
    channel: Channel,
    messages: Vec<String>,
    loss: LossNotice,
    quiet_start: Option<Instant>,
}

/// How an opening comes on.
#[derive(Debug)]
pub enum Progress {
    /// Nothing has come for long: why.
    Quiet(String),
    /// The agent has said what the session is.
    Started(SessionType, AgentFeatures),
    /// It never began.
    Over(End),
}

impl Opening {
    /// Begins to open the channel of a session that was granted on `target`. Must be called
    /// within a tokio runtime.
    ///
    /// # Errors
    ///
    /// The system has no randomness.
    pub fn begin(
        aws: Aws,
        grant: SessionGrant,
        target: String,
        options: channel::Options,
    ) -> Result<Self, SessionFailure> {
        let session_id = grant.session_id.clone();
        let channel = Channel::open(aws.clone(), grant, target, options)
            .map_err(SessionFailure::local("cannot open the data channel"))?;
        Ok(Self {
            aws,
            session_id,
            channel,
            messages: Vec::new(),
            loss: LossNotice::default(),
            quiet_start: Some(Instant::now() + QUIET_START),
        })
    }

    /// Tells the terminal's size, for the case that it is a shell.
    pub fn set_size(&self, size: Size) {
        self.channel.set_size(size);
    }

    /// Waits for news. Safe to cancel; not to be called again once it is over.
    pub async fn next(&mut self) -> Progress {
        loop {
            let quiet_start = self.quiet_start;
            tokio::select! {
                event = self.channel.next() => match event {
                    Some(Event::Started(kind, features)) => {
                        return Progress::Started(kind, features);
                    }
                    Some(Event::End(end)) => return Progress::Over(end),
                    // The channel's task ends only after its last event.
                    None => return Progress::Over(End::Closed(String::new())),
                    Some(event) => self.handle(event),
                },
                () = until(quiet_start) => {
                    self.quiet_start = None;
                    let lost = self.loss.deadline().and_then(|_| self.loss.tell());
                    return Progress::Quiet(lost.unwrap_or_else(|| {
                        "the agent has not answered yet, still waiting".to_owned()
                    }));
                }
            }
        }
    }

    /// Losses are told by the start or the failure, unless that takes long.
    fn handle(&mut self, event: Event) {
        match event {
            Event::CustomerMessage(text) => self.messages.push(text),
            Event::Lost(reason) => self.loss.lost(reason),
            Event::Hindered(reason) => drop(self.loss.hindered(reason)),
            Event::Resumed => drop(self.loss.resumed()),
            Event::Connected => debug!("connected, waiting for the agent"),
            event => debug!(?event, "ignored before the start"),
        }
    }

    /// The session that has [started](Progress::Started).
    pub fn finish(self, kind: SessionType, features: AgentFeatures) -> Opened {
        Opened {
            aws: self.aws,
            session_id: self.session_id,
            channel: self.channel,
            kind,
            features,
            messages: self.messages,
        }
    }

    /// What there is to be left.
    pub fn into_parts(self) -> (Aws, String, Channel) {
        (self.aws, self.session_id, self.channel)
    }

    /// Ends the remote side and closes the connection, within some seconds.
    pub async fn terminate(self) {
        terminate_session(&self.aws, &self.session_id).await;
        self.channel.close().await;
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
