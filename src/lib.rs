//! AWS Systems Manager sessions: shells, commands and tunnels, in one binary.
//!
//! The modules, from the command line down, and who may use whom:
//!
//! - `cli`: the subcommands and how their outcome is reported. Uses all others.
//! - `config`: the configuration files.
//! - `session`: what a channel is used for. Uses `channel`, `mux`, `aws`, `terminal`,
//!   `protocol`.
//! - `channel`: one data channel on tokio. Uses `aws`, `protocol`.
//! - `mux`: many connections over one byte stream, on tokio. Uses `protocol`.
//! - `loopback`: a gateway and an agent on 127.0.0.1, to try and to test with. Uses `mux`,
//!   `protocol`.
//! - `aws`: calls of the control plane, credentials, TLS and proxies.
//! - `terminal`: raw mode, size, input, output, signals.
//! - `protocol`: the wire format and its state machines; no I/O, clock or randomness.
//! - `text`: what of others' texts a terminal may see; all but `protocol` use it.
//!
//! `tests/it/layers.rs` holds the sources against this list.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::disallowed_methods,
        reason = "what a test does not expect is its failure; tests may look at the clock"
    )
)]

pub mod aws;
pub mod channel;
pub mod cli;
pub mod config;
pub mod loopback;
pub mod mux;
pub mod protocol;
pub mod session;
pub mod terminal;
pub mod text;
