//! `~#`: how a session is doing, on a terminal.

use ssmx::loopback::{Loopback, Options as Peer};

use crate::support::pty::Terminal;
use crate::support::{DEADLINE, start_session};

#[test]
fn a_shell_tells_how_it_is_doing() {
    let loopback = Loopback::start(Peer {
        paced: false,
        ..Peer::default()
    })
    .expect("loopback starts");
    let mut terminal = Terminal::spawn(&start_session(&loopback, &[]));
    terminal.type_in(b"PS1='re''mote> '\r");
    terminal.wait_for("remote> ");
    terminal.type_in(b"\r~#");
    terminal.wait_for("never reconnected");
    let id = loopback.stats().session_id.expect("a session");
    terminal.wait_for(&format!("ssmx: session {id}, for "));
    terminal.wait_for("ssmx: round trip ");
    terminal.wait_for("ssmx: received ");
    terminal.wait_for("ssmx: sent ");
    // What was typed before counts; the question itself goes nowhere.
    terminal.type_in(b"echo go''es on\r");
    terminal.wait_for("goes on");
    loopback.cut();
    assert!(loopback.wait_for(|stats| stats.resumes == 1, DEADLINE));
    terminal.wait_for("connection lost");
    terminal.type_in(b"\r~#");
    terminal.wait_for("reconnected once, ");
    terminal.type_in(b"exit\r");
    assert_eq!(terminal.finish(), 0);
}

#[test]
fn it_is_told_while_the_connection_is_lost() {
    let loopback = Loopback::start(Peer {
        paced: false,
        ..Peer::default()
    })
    .expect("loopback starts");
    let mut terminal = Terminal::spawn(&start_session(&loopback, &[]));
    terminal.type_in(b"PS1='re''mote> '\r");
    terminal.wait_for("remote> ");
    loopback.hold(Some("ResumeSession"));
    loopback.cut();
    terminal.wait_for("resuming ...");
    terminal.type_in(b"\r~#");
    terminal.wait_for("; reconnecting");
    terminal.type_in(b"~.");
    assert_eq!(terminal.finish(), 0);
}
