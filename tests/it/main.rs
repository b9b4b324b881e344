//! One binary for all the integration tests, so that they link once.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "what a test does not expect is its failure; tests may look at the clock"
)]

mod agent;
mod channel;
mod layers;
mod loopback;
mod peer;
mod plugin;
#[cfg(unix)]
mod shell;
mod simulation;
mod support;
mod vectors;
