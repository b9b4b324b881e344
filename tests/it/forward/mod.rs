//! Forwarded ports.

#[cfg(unix)]
mod basic;
#[cfg(unix)]
mod inherited;
#[cfg(unix)]
mod listener;
#[cfg(unix)]
mod moving;
#[cfg(unix)]
mod plugin;
#[cfg(unix)]
mod ports;
#[cfg(unix)]
mod program;
mod proxy;
#[cfg(unix)]
mod restart;
#[cfg(unix)]
mod soak;
#[cfg(unix)]
mod stdio;
