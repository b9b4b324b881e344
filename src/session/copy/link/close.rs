//! The end of a link.

use std::time::Duration;

use tokio::time::timeout;
use tracing::debug;

use super::Link;
use crate::session::copy::command::Command;
use crate::session::leave::{enough, terminate_session};

/// How long the node's shell may take to end when it is told to.
const END_TIMEOUT: Duration = Duration::from_secs(3);

impl Link {
    /// Ends the session: by the shell's own end if all went well (`orderly`), else from outside.
    pub async fn close(mut self, orderly: bool) {
        let mut ended = self.ended;
        if let Some(carrier) = self.carrier.take() {
            // The node's program ends with its connection.
            self.out.clear();
            tokio::select! {
                () = carrier.close() => {}
                () = enough(&mut self.signals) => debug!("told to leave at once"),
            }
        } else if orderly && !ended {
            self.push(Command::Bye.line(0).into());
        }
        if orderly && !ended {
            let end = async {
                while self.step().await.is_ok() {}
                self.ended
            };
            ended = timeout(END_TIMEOUT, end).await.unwrap_or_default();
        }
        let Self {
            aws,
            session_id,
            channel,
            mut signals,
            ..
        } = self;
        let last = async {
            if !ended {
                terminate_session(&aws, &session_id).await;
            }
            channel.close().await;
        };
        tokio::select! {
            () = last => {}
            () = enough(&mut signals) => debug!("told to leave at once"),
        }
    }
}
