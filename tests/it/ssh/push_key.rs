//! `ssmx ssh --push-key`: EC2 Instance Connect.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::{Scene, eventually};
use crate::plugin::assert_short;
use crate::support::{Finished, run_without_input};

impl Scene {
    /// `ssmx ssh --push-key… TARGET COMMAND` with no key in ssh's configuration.
    fn push(&self, option: &str, arguments: &[&str]) -> Command {
        let mut command = self.ssmx_ssh(&[option], "", arguments);
        // A configuration without a key, for a server that knows none of ours.
        let config = std::fs::read_to_string(self.server.file("plain")).expect("there");
        let lines = config.lines().filter(|line| !line.contains("dentit"));
        let config: String = lines.flat_map(|line| [line, "\n"]).collect();
        std::fs::write(self.server.file("plain"), config).expect("writable");
        command.env("SSH_AUTH_SOCK", "");
        command
    }

    #[track_caller]
    fn assert_refused(&self, done: &Finished, status: i32, part: &str) {
        assert_short(&done.stderr);
        assert!(done.stderr.contains(part), "{done:?}");
        assert_eq!(
            (done.text().as_str(), done.code()),
            ("", Some(status)),
            "{done:?}"
        );
        assert_eq!(self.loopback.stats().started, 0);
    }
}

/// An agent of the test's own.
struct Agent {
    child: Child,
    socket: PathBuf,
}

impl Agent {
    /// None, and a line about it, where there is no ssh-agent.
    fn start(scene: &Scene) -> Option<Self> {
        let socket = scene.server.file("agent");
        let child = Command::new("ssh-agent")
            .args(["-D", "-a"])
            .arg(&socket)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(child) = child else {
            println!("skipped: no ssh-agent on PATH");
            return None;
        };
        eventually("the agent listens", || socket.exists().then_some(()));
        Some(Self { child, socket })
    }

    fn add(&self, key: &std::path::Path) {
        let added = Command::new("ssh-add")
            .arg("-q")
            .arg(key)
            .env("SSH_AUTH_SOCK", &self.socket)
            .stdin(Stdio::null())
            .status();
        assert!(added.expect("ssh-add runs").success());
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may be gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_given_key_opens_the_door() {
    let Some(scene) = Scene::set() else { return };
    let key = scene.server.stranger();
    let public = format!("{}.pub", key.display());
    let target = scene.loopback.target();
    let user = scene.server.user().to_owned();
    let alone = ["-i", key.to_str().expect("text"), target, "true"];
    let stranger = scene.push("--debug", &alone);
    assert_eq!(run_without_input(stranger).code(), Some(255), "not without");
    let done = run_without_input(scene.push(&format!("--push-key={public}"), &[target, "exit 4"]));
    assert_eq!((done.stderr.as_str(), done.code()), ("", Some(4)));
    let pushed = scene.loopback.stats().pushed_keys;
    assert_eq!(pushed.len(), 1);
    assert_eq!(
        (pushed[0].instance.as_str(), &pushed[0].user),
        (target, &user)
    );
    let text = std::fs::read_to_string(public).expect("there");
    assert!(text.starts_with(&pushed[0].key), "{pushed:?}");
    assert!(!pushed[0].key.contains("of a test"), "{pushed:?}");
    scene.assert_ended(2);
}

#[test]
fn the_key_that_ssh_will_offer_is_found() {
    let Some(scene) = Scene::set() else { return };
    let Some(agent) = Agent::start(&scene) else {
        return;
    };
    let key = scene.server.stranger();
    agent.add(&key);
    let target = scene.loopback.target();
    // In the agent, by either way to it.
    let mut by_variable = scene.push("--push-key", &[target, "exit 2"]);
    by_variable.env("SSH_AUTH_SOCK", &agent.socket);
    let socket = format!("IdentityAgent={}", agent.socket.display());
    let by_option = scene.push("--push-key", &["-o", &socket, target, "exit 2"]);
    // Beside an identity file.
    let identity = ["-i", key.to_str().expect("text"), target, "exit 2"];
    let by_file = scene.push("--push-key", &identity);
    for command in [by_variable, by_option, by_file] {
        let done = run_without_input(command);
        assert_eq!((done.stderr.as_str(), done.code()), ("", Some(2)));
        // Each has to let itself in.
        std::fs::remove_file(scene.server.file("pushed_keys")).expect("there");
    }
    assert_eq!(scene.loopback.stats().pushed_keys.len(), 3);
    scene.assert_ended(3);
}

#[test]
fn refusals_say_what_to_do() {
    let Some(scene) = Scene::set() else { return };
    let target = scene.loopback.target();
    let done = run_without_input(scene.push("--push-key", &[target]));
    scene.assert_refused(&done, 255, "ssh-keygen -t ed25519");
    let public = format!("--push-key={}", scene.server.file("id.pub").display());
    let done = run_without_input(scene.push(&public, &["mi-10000000000000003"]));
    scene.assert_refused(&done, 252, "EC2 instances");
    let done = run_without_input(scene.push(&public, &["i-10000000000000099"]));
    scene.assert_refused(&done, 254, "EC2InstanceNotFoundException");
    let host = scene.server.file("host");
    std::fs::remove_file(scene.server.file("host.pub")).expect("there");
    let private = format!("--push-key={}", host.display());
    let done = run_without_input(scene.push(&private, &[target]));
    scene.assert_refused(&done, 255, "ssh-keygen -y");
    let body = r#"{"__type":"AccessDeniedException","message":"no"}"#;
    scene.loopback.script("SendSSHPublicKey", 400, body);
    let done = run_without_input(scene.push(&public, &[target]));
    scene.assert_refused(&done, 254, "ec2-instance-connect:SendSSHPublicKey");
    let done = run_without_input(scene.push(&public, &["-vo", "NoSuchOption=1", target]));
    scene.assert_refused(&done, 255, "nosuchoption");
    // Nothing is pushed where nothing connects.
    let done = run_without_input(scene.push(&public, &["-G", target]));
    assert_eq!(done.code(), Some(0), "{done:?}");
    assert!(scene.loopback.stats().pushed_keys.is_empty());
}
