//! How the remote side of a port session is ended by us.

use std::time::Duration;

use tokio::time::timeout;
use tracing::debug;

use crate::aws::Aws;
use crate::channel::{Channel, Event};
use crate::protocol::payload::Flag;
use crate::protocol::version::AgentFeatures;
use crate::session::TERMINATE_TIMEOUT;

/// How long an end may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For the agent to take the flag.
    agent: Duration,
    /// For the service to be asked instead, and to answer.
    service: Duration,
}

impl Patience {
    /// Somebody waits who wants it done well.
    pub const ORDERLY: Self = Self {
        agent: Duration::from_secs(2),
        service: TERMINATE_TIMEOUT,
    };
    /// Whoever started us is gone, or kills what does not go soon.
    pub const HASTY: Self = Self {
        agent: Duration::from_millis(750),
        service: Duration::from_millis(1250),
    };
}

/// Ends the remote side: by a flag, once, where the agent knows it and takes it in time, or by
/// asking the service. Output that comes meanwhile is thrown away.
pub async fn terminate(
    aws: &Aws,
    session_id: &str,
    channel: &mut Channel,
    features: AgentFeatures,
    patience: Patience,
) {
    if features.terminate_session_flag
        && timeout(patience.agent, send_flag(channel)).await == Ok(true)
    {
        debug!("the agent was told to end the session");
        return;
    }
    let asked = async {
        if let Err(error) = aws.terminate_session(session_id).await {
            debug!(%error, "the session could not be terminated");
        } else if !features.terminate_session_flag {
            // Such agents may still be at work: it is over when the gateway says so.
            while channel.next().await.is_some() {}
        }
    };
    if timeout(patience.service, asked).await.is_err() {
        debug!("the session could not be terminated in time");
    }
}

/// Tells the agent to end the session; whether it knows, or the session has ended.
async fn send_flag(channel: &mut Channel) -> bool {
    let sender = channel.sender();
    let told = async {
        let sent = sender.send_flag(Flag::TerminateSession).await;
        sent.is_ok() && sender.flush().await
    };
    tokio::pin!(told);
    let mut telling = true;
    loop {
        tokio::select! {
            known = &mut told, if telling => match known {
                true => return true,
                // The channel's last event is on its way.
                false => telling = false,
            },
            event = channel.next() => match event {
                Some(Event::End(end)) => return !end.wants_termination(),
                Some(_) => {}
                None => return false,
            },
        }
    }
}
