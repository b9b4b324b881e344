//! A local SOCKS5 and HTTP CONNECT proxy, without any server on the node.

mod destination;
mod front;
mod refusal;
