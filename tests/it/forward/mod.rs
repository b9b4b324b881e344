//! Forwarded ports.

mod proxy;
