//! Options of everything that has a data channel: how long silence is borne.

use std::time::Duration;

use crate::channel;

/// How long silence is borne.
#[derive(Clone, Debug, clap::Args)]
pub struct Liveness {
    /// Seconds of silence after which the connection is tested; 0 for never
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    keepalive: u32,
    /// Seconds to wait for the node's agent to answer [default: 60]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    handshake_timeout: Option<u32>,
}

impl Liveness {
    /// The same for the channel.
    pub fn options(&self) -> channel::Options {
        let seconds = |n: u32| Duration::from_secs(n.into());
        let defaults = channel::Options::default();
        channel::Options {
            keepalive: (self.keepalive > 0).then(|| seconds(self.keepalive)),
            answer_timeout: self
                .handshake_timeout
                .map_or(defaults.answer_timeout, seconds),
            ..defaults
        }
    }
}
