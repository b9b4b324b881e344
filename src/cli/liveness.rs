//! Options of everything that has a data channel: how long silence is borne, and how much goes at
//! a time.

use std::time::Duration;

use crate::channel;

/// How long silence is borne, and how much goes at a time.
#[derive(Clone, Debug, clap::Args)]
pub struct Liveness {
    /// Seconds of silence after which the connection is tested; 0 for never
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 30,
        hide_short_help = true
    )]
    keepalive: u32,
    /// Seconds to wait for the node's agent to answer [default: 60]
    #[arg(long, value_name = "SECONDS", hide_short_help = true,
        value_parser = clap::value_parser!(u32).range(1..))]
    handshake_timeout: Option<u32>,
    /// Most bytes per message to the node, up to 32768; the service is only known to take 1024
    #[arg(long, value_name = "BYTES", default_value_t = 1024, hide_short_help = true,
        value_parser = clap::value_parser!(u16).range(1..=32768))]
    payload_size: u16,
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
            max_payload: self.payload_size.into(),
            ..defaults
        }
    }
}
