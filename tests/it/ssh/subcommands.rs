//! `ssmx ssh` and `ssmx ssh-config`.

use std::fs;
use std::process::Command;

use super::{CONTAINER, Scene};
use crate::plugin::assert_short;
use crate::support::{SSMX, clean, run, run_without_input};

impl Scene {
    /// `ssmx ssh OPTIONS -F CONFIG …`, with a configuration that does not know of ssmx.
    pub(super) fn ssmx_ssh(&self, options: &[&str], more: &str, arguments: &[&str]) -> Command {
        let config = self.server.client_config("plain", more);
        let mut command = self.program(SSMX);
        command.arg("ssh").args(options).arg("-F").arg(config);
        command.args(arguments);
        command
    }
}

#[test]
fn ssh_runs_with_its_options_on_both_sides() {
    let Some(scene) = Scene::set() else { return };
    let target = scene.loopback.target();
    let user = format!("{}@{target}", scene.server.user());
    let url = format!(
        "ssh://{}@{target}:{}",
        scene.server.user(),
        scene.server.port()
    );
    let port = scene.server.port().to_string();
    let cases: [&[&str]; 6] = [
        &[target, "cat; exit 5"],
        &["-p", &port, &user, "-T", "cat; exit 5"],
        &["-o", "Port=1", "-oUser=nobody", &url, "-4", "cat; exit 5"],
        &["--", &user, "cat; exit 5"],
        &[&user, "--", "cat; exit 5"],
        &[
            "-l",
            scene.server.user(),
            target,
            "--color",
            "off",
            "cat; exit 5",
        ],
    ];
    for (n, arguments) in cases.iter().enumerate() {
        // The port that the address gives goes before the one of the option.
        let arguments: Vec<&str> = match n {
            2 => arguments[3..].to_vec(),
            _ => arguments.to_vec(),
        };
        let done = run(scene.ssmx_ssh(&[], "", &arguments), b"hello");
        assert_eq!(done.text(), "hello", "{arguments:?} {done:?}");
        assert_eq!(
            (done.stderr.as_str(), done.code()),
            ("", Some(5)),
            "{arguments:?}"
        );
    }
    scene.assert_ended(6);
}

#[test]
fn containers_are_reached_by_their_target() {
    let Some(scene) = Scene::set() else { return };
    let user = format!("{}@{CONTAINER}", scene.server.user());
    let done = run_without_input(scene.ssmx_ssh(&[], "", &[&user, "echo here"]));
    assert_eq!(
        (done.text().as_str(), done.code()),
        ("here\n", Some(0)),
        "{done:?}"
    );
}

#[test]
fn settings_of_the_user_do_not_stand_in_the_way() {
    let Some(scene) = Scene::set() else { return };
    let settings = "ProxyJump elsewhere\nProxyUseFdpass yes\nCanonicalizeHostname always\n\
        CanonicalDomains example.invalid\nCanonicalizeFallbackLocal no";
    let target = scene.loopback.target();
    let done = run_without_input(scene.ssmx_ssh(&[], settings, &[target, "exit 6"]));
    assert_eq!((done.stderr.as_str(), done.code()), ("", Some(6)));
    // Names of the user's own count.
    let settings = format!("Host web\nHostName {target}");
    let done = run_without_input(scene.ssmx_ssh(&[], &settings, &["web", "exit 8"]));
    assert_eq!((done.stderr.as_str(), done.code()), ("", Some(8)));
    scene.assert_ended(2);
}

#[test]
fn global_options_reach_the_session() {
    let Some(scene) = Scene::set() else { return };
    let arguments = [scene.loopback.target(), "true"];
    let mut command = scene.ssmx_ssh(
        &[
            "--region",
            "us-east-1",
            "--endpoint-url",
            scene.loopback.endpoint_url(),
        ],
        "",
        &arguments,
    );
    for name in ["AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL_SSM"] {
        command.env_remove(name);
    }
    let done = run_without_input(command);
    assert_eq!((done.stderr.as_str(), done.code()), ("", Some(0)));
    scene.assert_ended(1);
}

#[test]
fn a_missing_ssh_is_said() {
    for choose in [
        |command: &mut Command| {
            command.args(["--ssh", "/nonexistent/ssh"]);
        },
        |command: &mut Command| {
            command.env("SSMX_SSH", "/nonexistent/ssh");
        },
        |command: &mut Command| {
            command.env("PATH", "/nonexistent");
        },
    ] {
        let mut command = Command::new(SSMX);
        clean(&mut command);
        command.arg("ssh");
        choose(&mut command);
        command.arg("i-1");
        let done = run_without_input(command);
        assert_short(&done.stderr);
        assert!(done.stderr.contains("install OpenSSH"), "{done:?}");
        assert_eq!((done.text().as_str(), done.code()), ("", Some(255)));
    }
}

#[test]
fn the_configuration_is_one_that_ssh_takes() {
    let Some(scene) = Scene::set() else { return };
    // It needs no settings of AWS.
    let mut command = Command::new(SSMX);
    clean(&mut command);
    command.args([
        "ssh-config",
        "i-*",
        "mi-*",
        "web=i-1",
        "task=ecs:C_t_r",
        "--user",
        "ubuntu",
    ]);
    command.args(["--profile", "o'clock 50%", "--region", "eu-west-1"]);
    command.args(["--identity-file", "/keys/my key"]);
    let done = run_without_input(command);
    assert_eq!((done.stderr.as_str(), done.code()), ("", Some(0)));
    let file = scene.server.file("made");
    fs::write(&file, &done.stdout).expect("writable");
    let resolved = |host: &str| {
        let mut ssh = scene.program("ssh");
        ssh.arg("-F").arg(&file).args(["-TG", host]);
        let done = run_without_input(ssh);
        assert_eq!((done.stderr.as_str(), done.code()), ("", Some(0)));
        done.text().to_lowercase()
    };
    for (host, hostname, target) in [
        ("i-2", "i-2", " --target %h "),
        ("mi-2", "mi-2", " --target %h "),
        ("web", "i-1", " --target %h "),
        ("task", "task", " --target ecs:c_t_r "),
    ] {
        let text = resolved(host);
        for part in [
            &format!("\nhostname {hostname}\n"),
            "\nuser ubuntu\n",
            "\nidentityfile /keys/my key\n",
            "\nproxyusefdpass no\n",
            " --profile 'o'\\''clock 50%%' --region eu-west-1 start-session ",
            target,
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
    assert!(!resolved("example.com").contains("proxycommand"));
}

#[test]
fn the_configuration_leads_to_nodes() {
    let Some(scene) = Scene::set() else { return };
    let mut command = scene.program(SSMX);
    let web = format!("web={}", scene.loopback.target());
    let task = format!("task={CONTAINER}");
    command.args(["ssh-config", "i-*", &web, &task]);
    let done = run_without_input(command);
    let config = scene.server.client_config("made", &done.text());
    for host in [scene.loopback.target(), "web", "task"] {
        let mut ssh = scene.program("ssh");
        ssh.arg("-F").arg(&config).args([host, "echo through"]);
        let done = run_without_input(ssh);
        assert_eq!(
            (done.text().as_str(), done.code()),
            ("through\n", Some(0)),
            "{done:?}"
        );
        assert_eq!(done.stderr, "");
    }
    scene.assert_ended(3);
}
