//! Forwarded ports.

#[cfg(unix)]
mod basic;
mod proxy;
#[cfg(unix)]
mod stdio;
