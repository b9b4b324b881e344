//! What people read: help, tables and messages, each kept in a file of `tests/snapshots`.

mod help;
