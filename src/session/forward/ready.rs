//! Whether the agent of a session takes connections.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use super::Over;
use super::report::{Losses, Reporter};
use crate::channel::Event;
use crate::protocol::error::SessionError;
use crate::protocol::smux::{Command, Header};
use crate::session::ending::printable;
use crate::session::opening::Opened;

/// How long an agent may take to make a session ready for connections.
const SETTING_UP: Duration = Duration::from_secs(30);

/// Waits until the agent of a session that multiplexes takes connections: some time after it has
/// said what the session is, it has looked the host up, and may have found no address, or one that
/// is forbidden. What it acknowledges then is a frame without a meaning.
///
/// # Errors
///
/// How the session ended before, or that the agent has not acknowledged anything in time.
pub async fn takes_connections(opened: &mut Opened, report: &Reporter) -> Result<(), Over> {
    let channel = &mut opened.channel;
    let sender = channel.sender();
    // An error is followed by the channel's last event.
    if let Ok(permit) = sender.reserve().await {
        let nothing = Header::bare(Command::Nop, 0).encode();
        permit.send(Bytes::copy_from_slice(&nothing));
    }
    let flushed = sender.flush();
    tokio::pin!(flushed);
    let mut waiting = true;
    let mut losses = Losses::default();
    // There is none while the connection is lost.
    let mut deadline = Some(Instant::now() + SETTING_UP);
    loop {
        let event = tokio::select! {
            event = channel.next() => event,
            acknowledged = &mut flushed, if waiting => {
                if acknowledged {
                    return Ok(());
                }
                waiting = false;
                continue;
            }
            () = losses.tell(report) => continue,
            () = until(deadline) => {
                let error = SessionError::NoAnswer(SETTING_UP.as_secs());
                return Err(Over::Failed(error.into()));
            }
        };
        // The channel's task ends only after its last event.
        let event = event.ok_or_else(|| Over::Closed(String::new()))?;
        match event {
            Event::Lost(_) => deadline = None,
            Event::Resumed => deadline = Some(Instant::now() + SETTING_UP),
            _ => {}
        }
        match losses.handle(event, report) {
            Some(Event::End(end)) => return Err(Over::of(end)),
            Some(Event::CustomerMessage(text)) => opened.messages.push(printable(&text)),
            Some(event) => debug!(?event, "ignored before the first connection"),
            None => {}
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
