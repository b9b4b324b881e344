//! ssh at a terminal.

use super::Scene;
use crate::support::pty::Terminal;

impl Scene {
    /// `ssmx ssh -F CONFIG …` on a terminal.
    fn terminal(&self, arguments: &[&str]) -> Terminal {
        let mut command = self.ssmx_ssh(&[], "", arguments);
        // Terminals begin at home.
        command.env("HOME", "/");
        Terminal::spawn(&command)
    }
}

#[test]
fn a_shell_is_as_ssh_has_it() {
    let Some(scene) = Scene::set() else { return };
    let arguments = ["-t", scene.loopback.target(), "exec sh -i"];
    let mut terminal = scene.terminal(&arguments);
    terminal.type_in(b"PS1='re''mote> '\r");
    terminal.wait_for("remote> ");
    terminal.resize(101, 33);
    terminal.type_in(b"sh -c 'echo re''ady; exec cat'\r");
    terminal.wait_for("ready");
    // A key, and no signal to anybody here.
    terminal.type_in(b"\x03");
    // It throws away what is typed before the prompt.
    terminal.wait_until("the prompt again", |screen, _| {
        screen.contains("^C") && screen.trim_end().ends_with("remote>")
    });
    terminal.type_in(b"echo sta''tus $?; stty size\r");
    terminal.wait_for("status 130");
    terminal.wait_for("33 101");
    terminal.type_in(b"exit 3\r");
    assert_eq!(terminal.finish(), 3);
    scene.assert_ended(1);
}

#[test]
fn an_interrupt_ends_ssh_and_the_session() {
    let Some(scene) = Scene::set() else { return };
    let arguments = ["-N", "-v", scene.loopback.target()];
    let mut terminal = scene.terminal(&arguments);
    terminal.wait_for("pledge: ");
    // The whole process group has the signal: ssh and its helper.
    terminal.type_in(b"\x03");
    assert_ne!(terminal.finish(), 0);
    scene.assert_ended(1);
}
