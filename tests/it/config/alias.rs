//! Aliases in the place of targets.

use ssmx::loopback::Loopback;

use super::Home;
use crate::support::run_without_input;

fn home(loopback: &Loopback) -> Home {
    let target = loopback.target();
    Home::new(&format!(
        "[alias.node]\ntarget = \"{target}\"\nregion = \"us-east-1\"\n\n\
         [alias.hello]\ntarget = \"{target}\"\ndocument = \"AWS-StartNonInteractiveCommand\"\n\
         parameters = {{ command = \"echo hello, you\" }}\nreason = \"greeting\"\n\n\
         [alias.far]\ntarget = \"{target}\"\nregion = \"eu-north-1\"\n"
    ))
}

#[test]
fn an_alias_is_a_target_with_all_that_belongs_to_it() {
    let loopback = Loopback::start(Default::default()).unwrap();
    let home = home(&loopback);
    let run = |arguments: &[&str]| run_without_input(home.loopback(&loopback, arguments));

    let done = run(&["get-connection-status", "--target", "node"]);
    assert_eq!(
        (done.text().as_str(), done.code()),
        ("connected\n", Some(0))
    );
    let done = run(&["start-session", "--target", "hello"]);
    assert_eq!(
        (done.text().as_str(), done.code()),
        ("hello, you\n", Some(0)),
        "{done:?}"
    );
    // Options go before it.
    let done = run(&[
        "start-session",
        "--target",
        "hello",
        "--parameters",
        "command=echo other",
    ]);
    assert_eq!(done.text(), "other\n", "{done:?}");
    // Its region counts although the environment has another, which is the only one served here.
    let done = run(&["get-connection-status", "--target", "far"]);
    assert_ne!(done.code(), Some(0), "{done:?}");
    let done = run(&[
        "get-connection-status",
        "--target",
        "far",
        "--region",
        "us-east-1",
    ]);
    assert_eq!(done.code(), Some(0), "{done:?}");
    let done = run(&["--debug", "get-connection-status", "--target", "far"]);
    assert!(
        done.stderr.contains("region = eu-north-1 (alias far, "),
        "{done:?}"
    );
}

#[test]
fn ssh_is_led_by_an_alias() {
    let loopback = Loopback::start(Default::default()).unwrap();
    let home = home(&loopback);
    let echo = home.write("bin/ssh", "#!/bin/sh\nprintf '%s\\n' \"$@\"\n");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&echo, mode).unwrap();
    let ssh = echo.to_str().unwrap();
    let done = run_without_input(home.loopback(&loopback, &["ssh", "--ssh", ssh, "u@far", "ls"]));
    let words = done.text();
    let proxy = words.lines().find(|word| word.starts_with("ProxyCommand="));
    let proxy = proxy.unwrap_or_default();
    assert!(proxy.contains(" --region eu-north-1 "), "{done:?}");
    assert!(proxy.contains(" --target far "), "{done:?}");
    assert!(words.ends_with("u@far\nls\n"), "{done:?}");
}

#[test]
fn an_alias_may_be_a_container() {
    let loopback = Loopback::start(ssmx::loopback::Options {
        paced: false,
        ..Default::default()
    })
    .unwrap();
    let home = Home::new(
        "[alias.web]\ncluster = \"shop\"\nservice = \"web\"\nforwards = [\"0:80\"]\n\
         [alias.batch]\ncluster = \"batch\"\n",
    );
    let run = |arguments: &[&str]| run_without_input(home.loopback(&loopback, arguments));
    // The newest task of the service that runs.
    let task = format!("ecs:shop_{:032x}_", 0x12);
    let done = run(&[
        "get-connection-status",
        "--target",
        "web",
        "--output",
        "json",
    ]);
    assert!(done.text().contains(&task), "{done:?}");
    for words in [
        &["exec", "-n", "web", "--", "echo", "here"][..],
        &["run", "web", "--", "echo", "here"],
        &["forward", "web", "-L", "0:80", "--", "echo", "here"],
    ] {
        let done = run(words);
        assert_eq!(
            (done.text().as_str(), done.code()),
            ("here\n", Some(0)),
            "{done:?}"
        );
    }
    let done = run(&["up", "batch"]);
    assert!(
        done.stderr.contains("the alias batch has no forwards"),
        "{done:?}"
    );
    let done = run(&["doctor", "web"]);
    let text = done.text();
    assert!(
        text.contains("ECS Exec is enabled, and its agent runs in app"),
        "{text}"
    );
    let shown = run(&["config", "show"]).text();
    assert!(
        shown.contains("]  # ") && shown.contains("\ncluster = \"shop\"\nservice = \"web\"\n"),
        "{shown}"
    );
    assert!(!shown.contains("target ="), "{shown}");
}
