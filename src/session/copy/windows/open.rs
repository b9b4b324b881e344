//! How the node's program is reached.

use std::time::Duration;

use tokio::time::timeout;
use tracing::debug;

use super::super::frame::Reply;
use super::super::link::Link;
use super::super::sum::Kind;
use super::super::{CopyFailure, Encoding, RemotePath};
use super::Carrier;
use super::path::normal;
use super::script::Secret;
use crate::aws::{Aws, SessionGrant, StartSession};
use crate::channel::{self, ConnectError};
use crate::session::SessionFailure;
use crate::session::ending::printable;
use crate::session::leave::terminate_session;
use crate::session::opening::{Opened, Opening, Progress};

/// The document of a forwarded port.
const DOCUMENT: &str = "AWS-StartPortForwardingSession";
/// How long an interrupted StartSession may take to be undone.
const CLEAN_UP: Duration = Duration::from_secs(5);
/// How long the program may take to answer who has connected.
const ANSWER: Duration = Duration::from_secs(30);

impl Link {
    /// The path as the node's system has it.
    pub fn path(&self, path: RemotePath) -> RemotePath {
        match self.is_windows() {
            true => normal(&path),
            false => path,
        }
    }

    /// Connects to the program that listens on this port of the node.
    ///
    /// # Errors
    ///
    /// It is not to be had, the session is over, or a signal came.
    pub async fn connect(
        &mut self,
        target: String,
        port: u16,
        secret: &Secret,
        reason: Option<String>,
        options: channel::Options,
    ) -> Result<(), CopyFailure> {
        let aws = self.aws().clone();
        let request = StartSession {
            target: target.clone(),
            document_name: Some(DOCUMENT.to_owned()),
            parameters: vec![
                ("portNumber".to_owned(), vec![port.to_string()]),
                ("localPortNumber".to_owned(), vec!["0".to_owned()]),
            ],
            reason,
        };
        let grant = self.granted(&aws, &request).await?;
        let opening = Opening::begin(aws, grant, target, options)?;
        let opened = self.opened(opening).await?;
        for message in &opened.messages {
            self.watch.notice(&printable(message));
        }
        match Carrier::new(opened) {
            Ok(carrier) => self.carry_by(carrier),
            Err(opened) => {
                terminate_session(&opened.aws, &opened.session_id).await;
                opened.channel.close().await;
                return Err(CopyFailure::Garbled("it forwards no port"));
            }
        }
        self.push(secret.bytes().to_vec().into());
        match timeout(ANSWER, self.answer()).await {
            Ok(Ok((0, Reply::Ok(_)))) => {}
            Ok(Ok(_)) => return Err(CopyFailure::Garbled("it does not greet")),
            Ok(Err(failure)) => return Err(failure),
            Err(_) => return Err(CopyFailure::Garbled("there is none")),
        }
        (self.up, self.down) = (Encoding::Raw, Encoding::Raw);
        self.sums = Kind::Sha256;
        debug!(port, "connected to the node's program");
        Ok(())
    }

    /// Has a session started, while the first one goes on.
    async fn granted(
        &mut self,
        aws: &Aws,
        request: &StartSession,
    ) -> Result<SessionGrant, CopyFailure> {
        let asked = aws.start_session(request);
        tokio::pin!(asked);
        let failure = loop {
            tokio::select! {
                granted = &mut asked => return granted.map_err(|error| {
                    let error = ConnectError::Aws(error);
                    CopyFailure::NoPort(error.into())
                }),
                stepped = self.step() => if let Err(failure) = stepped {
                    break failure;
                },
            }
        };
        let undone = async {
            if let Ok(grant) = asked.await {
                terminate_session(aws, &grant.session_id).await;
            }
        };
        if timeout(CLEAN_UP, undone).await.is_err() {
            debug!("a session may be left");
        }
        Err(failure)
    }

    /// Waits until a session is in force, while the first one goes on.
    async fn opened(&mut self, mut opening: Opening) -> Result<Opened, CopyFailure> {
        let (failure, left) = loop {
            tokio::select! {
                progress = opening.next() => match progress {
                    Progress::Quiet(text) => self.watch.notice(&text),
                    Progress::Started(kind, features) => return Ok(opening.finish(kind, features)),
                    Progress::Over(end) => {
                        let left = end.wants_termination();
                        break (CopyFailure::NoPort(SessionFailure::of(end)), left);
                    }
                },
                stepped = self.step() => if let Err(failure) = stepped {
                    break (failure, true);
                },
            }
        };
        if left {
            opening.terminate().await;
        }
        Err(failure)
    }
}
