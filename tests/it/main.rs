//! One binary for all the integration tests, so that they link once.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "what a test does not expect is its failure; tests may look at the clock"
)]

#[cfg(unix)]
mod access;
mod agent;
#[cfg(unix)]
mod api;
#[cfg(unix)]
mod aws_cli;
mod channel;
#[cfg(unix)]
mod clock;
#[cfg(unix)]
mod completion;
#[cfg(unix)]
mod config;
#[cfg(unix)]
mod cp;
#[cfg(unix)]
mod doctor;
#[cfg(unix)]
mod ecs;
#[cfg(unix)]
mod errors;
#[cfg(unix)]
mod exec;
mod forward;
#[cfg(unix)]
mod history;
mod hostile;
mod layers;
#[cfg(unix)]
mod leaving;
mod loopback;
#[cfg(unix)]
mod ls;
#[cfg(unix)]
mod network;
mod peer;
mod plugin;
#[cfg(unix)]
mod record;
#[cfg(unix)]
mod secrets;
#[cfg(unix)]
mod shell;
mod simulation;
mod snapshots;
#[cfg(unix)]
mod ssh;
#[cfg(unix)]
mod status;
mod support;
#[cfg(unix)]
mod targets;
mod vectors;
