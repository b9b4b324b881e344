//! Real OpenSSH through Session Manager, where there is one.

mod forwards;
mod push_key;
mod server;
mod subcommands;
mod terminal;
mod transfers;

use std::ffi::OsStr;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ssmx::aws::{Aws, Options as AwsOptions, StartSession};
use ssmx::loopback::{Loopback, Node, Options as Peer};

use self::server::{Server, find};
use crate::plugin::{Plugin, assert_short, response};
use crate::support::{DEADLINE, SSMX, command, kill, run_without_input, spawn};

/// What the documentation gives for `~/.ssh/config`, with `ssmx` on PATH.
const PROXY: &str = "ssmx start-session --target %h --document-name AWS-StartSSHSession \
    --parameters portNumber=%p";
/// A container.
const CONTAINER: &str = "ecs:MyCluster_0123456789abcdef_0123456789abcdef-1";

/// An sshd, and a Session Manager that leads to it.
struct Scene {
    server: Server,
    loopback: Loopback,
    config: PathBuf,
}

impl Scene {
    fn set() -> Option<Self> {
        Self::set_with(|_| {})
    }

    fn set_with(change: impl FnOnce(&mut Peer)) -> Option<Self> {
        let server = Server::start()?;
        let mut peer = Peer {
            paced: false,
            authorized_keys: Some(server.file("pushed_keys")),
            ..Peer::default()
        };
        peer.nodes.push(Node::online(CONTAINER));
        change(&mut peer);
        Some(Self {
            config: server.client_config("config", &format!("ProxyCommand {PROXY}")),
            loopback: Loopback::start(peer).expect("loopback starts"),
            server,
        })
    }

    /// A program with the environment that leads here: `ssmx` is on PATH, and home is nowhere.
    fn program(&self, name: impl AsRef<OsStr>) -> Command {
        let mut command = command(name, &self.loopback);
        let before = std::env::var_os("PATH").unwrap_or_default();
        let own = Path::new(SSMX).parent().expect("a directory").to_owned();
        let parts = std::iter::once(own).chain(std::env::split_paths(&before));
        command.env("PATH", std::env::join_paths(parts).expect("a search path"));
        command
            .env("HOME", "/nonexistent")
            .env("SHELL", "/bin/sh")
            .env_remove("SSH_AUTH_SOCK")
            .env_remove("SSH_ASKPASS");
        command
    }

    /// `PROGRAM -F CONFIG …`
    fn configured(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = self.program(name);
        command.arg("-F").arg(&self.config).args(arguments);
        command
    }

    /// `ssh -F CONFIG … TARGET COMMAND`
    fn ssh(&self, options: &[&str], remote: &str) -> Command {
        let mut ssh = self.configured("ssh", options);
        ssh.args([self.loopback.target(), remote]);
        ssh
    }

    /// Waits for the end of all sessions, of which there were `started`.
    #[track_caller]
    fn assert_ended(&self, started: u64) {
        let ended = self.loopback.wait_for(
            |stats| stats.ended == started && stats.attached == 0,
            DEADLINE,
        );
        let stats = self.loopback.stats();
        assert!(ended && stats.started == started, "{stats:?}");
    }
}

/// Tries until it works out, for a while.
#[track_caller]
fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(done) = attempt() {
            return done;
        }
        assert!(start.elapsed() < DEADLINE, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A port that nobody listens on.
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("an address").port()
}

/// `ssmx start-session` to a port of the node, without ssh.
fn start(scene: &Scene, port: u16) -> Command {
    let mut command = scene.program(SSMX);
    command
        .args(["start-session", "--target", scene.loopback.target()])
        .args(["--document-name", "AWS-StartSSHSession", "--parameters"])
        .arg(format!("portNumber={port}"));
    command
}

#[test]
fn a_command_with_its_output_and_its_status() {
    let Some(scene) = Scene::set() else { return };
    let done = run_without_input(scene.ssh(&[], "echo out; echo err >&2; exit 7"));
    assert_eq!(done.text(), "out\n", "{done:?}");
    assert_eq!((done.stderr.as_str(), done.code()), ("err\n", Some(7)));
    scene.assert_ended(1);
}

#[test]
fn the_line_works_as_an_option_too() {
    let Some(scene) = Scene::set() else { return };
    let config = scene.server.client_config("plain", "");
    let mut ssh = scene.program("ssh");
    ssh.arg("-F").arg(config);
    ssh.args(["-o", &format!("ProxyCommand={PROXY}")]);
    ssh.args([scene.loopback.target(), "exit 3"]);
    let done = run_without_input(ssh);
    assert_eq!((done.stderr.as_str(), done.code()), ("", Some(3)));
    scene.assert_ended(1);
}

#[test]
fn nothing_but_the_bytes_of_the_server_is_on_stdout() {
    let Some(scene) = Scene::set() else { return };
    let mut child = start(&scene, scene.server.port())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut banner = [0; 8];
    let stdout = child.stdout.as_mut().expect("piped");
    stdout.read_exact(&mut banner).expect("a banner");
    assert_eq!(&banner, b"SSH-2.0-");
    // Both sides say hello; then ours has nothing more to say.
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(b"SSH-2.0-test\r\n").expect("taken");
    drop(stdin);
    let done = child.wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8_lossy(&done.stderr), "");
    assert_eq!(done.status.code(), Some(0));
    scene.assert_ended(1);
}

#[test]
fn nobody_listening_is_one_line() {
    let Some(scene) = Scene::set() else { return };
    let done = run_without_input(start(&scene, free_port()));
    assert_eq!(done.text(), "");
    assert_short(&done.stderr);
    assert_eq!(done.code(), Some(255), "{done:?}");
    let port = free_port().to_string();
    let done = run_without_input(scene.ssh(&["-p", &port], "true"));
    assert_eq!((done.text().as_str(), done.code()), ("", Some(255)));
    let ours = done
        .stderr
        .lines()
        .filter(|line| line.starts_with("ssmx: "));
    assert!((1..=2).contains(&ours.count()), "{done:?}");
    scene.assert_ended(2);
}

#[test]
fn an_unknown_target_is_one_line() {
    let Some(scene) = Scene::set() else { return };
    let target = scene.loopback.offline_target();
    let done = run_without_input(scene.configured("ssh", &[target, "true"]));
    assert_eq!((done.text().as_str(), done.code()), ("", Some(255)));
    let errors = done.stderr.matches("ssmx: error: ").count();
    assert_eq!(errors, 1, "{done:?}");
    assert!(done.stderr.contains("TargetNotConnected"), "{done:?}");
}

/// Nothing tells ssmx but its standard input and output.
#[test]
fn nothing_is_left_of_a_killed_ssh() {
    let Some(scene) = Scene::set() else { return };
    let id = scene.server.file("ssmx.pid");
    let proxy = format!("sh -c 'echo $$ > {}; exec {PROXY}'", id.display());
    let ready = scene.server.file("ready");
    for signal in ["-KILL", "-TERM"] {
        let remote = until_removed(&ready);
        let mut ssh = scene.ssh(&["-o", &format!("ProxyCommand={proxy}")], &remote);
        ssh.stdin(Stdio::null());
        let ssh = spawn(ssh);
        eventually("the command runs", || ready.exists().then_some(()));
        let started = scene.loopback.stats().started;
        kill(ssh.id(), signal);
        assert!(!ssh.finish().status.success());
        let ssmx = std::fs::read_to_string(&id).expect("written");
        eventually("ssmx ends", || (!is_running(ssmx.trim())).then_some(()));
        scene.assert_ended(started);
        std::fs::remove_file(&ready).expect("there");
    }
}

/// A command that makes a file and runs until that is gone: an sshd whose connection is lost does
/// not end its commands.
fn until_removed(file: &Path) -> String {
    let file = file.display();
    format!("touch {file}; while test -e {file}; do sleep 0.1; done")
}

/// Zombies do not run: who starts containers does not always clear them away.
fn is_running(id: &str) -> bool {
    let state = Command::new("ps").args(["-o", "stat=", "-p", id]).output();
    let state = state.expect("ps runs").stdout;
    !state.is_empty() && !state.starts_with(b"Z")
}

#[test]
fn the_end_of_the_node_ends_ssh() {
    let Some(scene) = Scene::set() else { return };
    let ready = scene.server.file("ready");
    let remote = until_removed(&ready);
    let mut ssh = scene.ssh(&[], &remote);
    ssh.stdin(Stdio::null());
    let ssh = spawn(ssh);
    eventually("the command runs", || ready.exists().then_some(()));
    scene.loopback.end_sessions("Session timed out");
    let done = ssh.finish();
    assert_eq!(done.code(), Some(255), "{done:?}");
    assert!(done.stderr.contains("Session timed out"), "{done:?}");
    scene.assert_ended(1);
}

#[test]
fn one_session_for_many_with_a_control_master() {
    let Some(scene) = Scene::set() else { return };
    let socket = scene.server.file("control");
    let socket = format!("ControlPath={}", socket.display());
    let options = [
        "-o",
        socket.as_str(),
        "-o",
        "ControlMaster=auto",
        "-o",
        "ControlPersist=60",
    ];
    for n in ["1", "2", "3"] {
        let done = run_without_input(scene.ssh(&options, &format!("exit {n}")));
        assert_eq!(
            done.code().map(|n| n.to_string()).as_deref(),
            Some(n),
            "{done:?}"
        );
    }
    assert_eq!(scene.loopback.stats().started, 1);
    let mut end = scene.configured("ssh", &["-O", "exit", "-o", &socket]);
    end.arg(scene.loopback.target());
    assert_eq!(run_without_input(end).code(), Some(0));
    scene.assert_ended(1);
}

/// As the AWS CLI would run it, but without one.
#[test]
fn the_plugin_serves_ssh() {
    let Some(scene) = Scene::set() else { return };
    let plugin = Plugin::install();
    let environment = scene.loopback.environment().into_iter();
    let options = AwsOptions {
        environment: Some(environment.map(|(k, v)| (k.to_owned(), v)).collect()),
        may_prompt: false,
        ..AwsOptions::default()
    };
    let request = StartSession {
        target: scene.loopback.target().to_owned(),
        document_name: Some("AWS-StartSSHSession".to_owned()),
        parameters: vec![(
            "portNumber".to_owned(),
            vec![scene.server.port().to_string()],
        )],
        reason: None,
    };
    let grant = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(async { Aws::load(options).await?.start_session(&request).await })
        .expect("a session");
    let script = scene.server.file("proxy.sh");
    let words = [
        plugin.path().display().to_string(),
        response(&grant).to_string(),
        scene.loopback.region().to_owned(),
        "StartSession".to_owned(),
        String::new(),
        format!(r#"{{"Target":"{}"}}"#, scene.loopback.target()),
        scene.loopback.endpoint_url().to_owned(),
    ];
    let words = shell_words::join(words);
    std::fs::write(&script, format!("exec {words}\n")).expect("writable");
    let proxy = format!("ProxyCommand=sh {}", script.display());
    let done = run_without_input(scene.ssh(&["-o", &proxy], "echo out; exit 9"));
    assert_eq!(
        (done.text().as_str(), done.code()),
        ("out\n", Some(9)),
        "{done:?}"
    );
    scene.assert_ended(1);
}

/// The line that people have in their configuration for years.
#[test]
fn the_aws_cli_serves_ssh_with_this_plugin() {
    let Some(scene) = Scene::set() else { return };
    let works = Command::new("aws").arg("--version").output();
    if !works.is_ok_and(|done| done.status.success()) {
        println!("skipped: no aws on PATH");
        return;
    }
    let plugin = Plugin::install();
    let proxy = "sh -c \"aws ssm start-session --target %h \
        --document-name AWS-StartSSHSession --parameters 'portNumber=%p'\"";
    let mut ssh = scene.ssh(&["-o", &format!("ProxyCommand={proxy}")], "cat; exit 4");
    let before = std::env::var_os("PATH").unwrap_or_default();
    let parts =
        std::iter::once(plugin.directory().to_owned()).chain(std::env::split_paths(&before));
    ssh.env("PATH", std::env::join_paths(parts).expect("a search path"));
    let done = crate::support::run(ssh, b"through the plugin");
    assert_eq!(done.text(), "through the plugin", "{done:?}");
    assert_eq!(done.code(), Some(4), "{done:?}");
    scene.assert_ended(1);
}
