//! The protocol alone: it uses nothing else of ssmx, and the rest would take minutes to build.

#[allow(dead_code, reason = "the targets use a part of it")]
#[path = "../../../src/protocol/mod.rs"]
pub mod protocol;
