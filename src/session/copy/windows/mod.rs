//! Nodes with Windows: PowerShell 5.1 serves the files, and a port session carries the bytes.
//!
//! # How
//!
//! Agents on Windows run a command on a console that they paint anew from what is on its screen:
//! a few letters come through that, the bytes of a file do not. So the command ([`script`]) listens
//! on a port of 127.0.0.1 that it announces on the console ([`greeting`]), and a second session,
//! of `AWS-StartPortForwardingSession`, leads there ([`carrier`]). Whoever connects has to know a
//! secret of which only the SHA-256 stands in the command, as commands are kept in the account's
//! history. The program ends with the connection, or if nobody comes within a minute.
//!
//! # Commands and answers
//!
//! They are those of [`Command`](super::command::Command), written as [`command`] says and answered
//! as [`answers`] reads. All bytes pass as they are, each behind its length.
//!
//! # Which nodes
//!
//! Commands go to `sh` or to PowerShell, and nothing tells beforehand which one a node has. The
//! command for `sh` is written so that PowerShell announces itself instead ([`script::either`]).
//! That costs a session, which those save who say that it is Windows, or whose path begins with a
//! drive.

mod answers;
mod carrier;
mod command;
mod greeting;
mod open;
mod path;
pub(super) mod script;
mod stir;

pub(super) use answers::Answers;
pub(super) use carrier::{Carried, Carrier, carried};
pub(super) use command::frame;
pub(super) use greeting::{Greeting, Greetings};
pub use path::begins_with_drive;
#[cfg(not(unix))]
pub use path::is_device;
pub(super) use stir::Stir;
