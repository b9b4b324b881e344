//! Forwarded ports.

#[cfg(unix)]
mod basic;
mod proxy;
#[cfg(unix)]
mod stdio;
#[cfg(unix)]
mod listener;
#[cfg(unix)]
mod ports;
#[cfg(unix)]
mod program;
#[cfg(unix)]
mod restart;
#[cfg(unix)]
mod soak;
