//! What people read: help, tables and messages, each kept in a file of `tests/snapshots`.

#[cfg(unix)]
mod errors;
mod help;
#[cfg(unix)]
mod pipes;
#[cfg(unix)]
mod tables;
#[cfg(unix)]
mod transcript;
