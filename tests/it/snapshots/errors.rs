//! What is said of bad input: one line of what and why, one of what to do, and the exit status.

use std::collections::BTreeSet;
use std::process::Command;

use ssmx::loopback::{Loopback, Node, Options};

use super::transcript::{Snapshot, Transcript};
use crate::config::Home;
use crate::support::{SSMX, clean, command, snapshot};

/// Options that make no sense.
fn usage() -> Transcript {
    let lines: [&[&str]; 33] = [
        &["start-sesion"],
        &["start-session", "--tarket", "i-1"],
        &["start-session", "i-1"],
        &["start-session"],
        &["start-session", "--target", ""],
        &["start-session", "--target", "i-1", "--escape-char", "ab"],
        &["start-session", "--target", "i-1", "--keepalive", "soon"],
        &["start-session", "--target", "i-1", "--payload-size", "0"],
        &["start-session", "--target", "i-1", "--service", "web"],
        &["exec"],
        &["exec", "i-1"],
        &["exec", "i-1", "df"],
        &["exec", "--", "df"],
        &["exec", "--targets", "Role=web", "--", "df"],
        &["exec", "--targets", "tag:Role=web", "i-1", "--", "df"],
        &["exec", "-t", "--timeout", "3", "i-1", "--", "df"],
        &["cp"],
        &["cp", "a"],
        &["cp", "a", "b"],
        &["cp", "i-1:a", "i-2:b"],
        &["cp", "i-1:a", "i-1:a"],
        &["forward", "-L", "80"],
        &["forward", "i-1"],
        &["forward", "i-1", "-L", "http"],
        &["forward", "i-1", "-L", "99999:80"],
        &["ssh"],
        &["up"],
        &["up", "db"],
        &["terminate"],
        &["terminate", "--all"],
        &["history", "--since", "yesterday"],
        &["ls", "colour=red"],
        &["describe-sessions", "--state", "Dead"],
    ];
    let mut made = Transcript::new();
    for words in lines {
        let mut command = Command::new(SSMX);
        clean(&mut command);
        made.run({
            command.args(words);
            command
        });
    }
    made
}

/// Settings that are missing or make no sense.
fn settings() -> Transcript {
    let mut made = Transcript::new();
    let start = ["start-session", "--target", "i-1"];
    let more: [&[&str]; 6] = [
        &[],
        &["--region", "Mars/1"],
        &["--region", "us-east-1"],
        &["--region", "us-east-1", "--profile", "nobody"],
        &["--region", "us-east-1", "--endpoint-url", "ssm.local"],
        &["--region", "us-east-1", "--ca-bundle", "/nonexistent.pem"],
    ];
    for words in more {
        let mut command = Command::new(SSMX);
        clean(&mut command);
        command.args(start).args(words);
        made.run(command);
    }
    made
}

/// Nodes that are none, or several.
fn targets() -> Transcript {
    let mut nodes = Options::default().nodes;
    nodes.extend((1..10).map(|number| Node::online(&format!("i-{number}")).named("many")));
    let loopback = Loopback::start(Options {
        paced: false,
        nodes,
        ..Options::default()
    })
    .expect("loopback starts");
    let mut made = Transcript::new();
    for target in [
        "tag:Environment=production",
        "many",
        "web",
        "wbe-1",
        "nothing-like-it",
        "10.9.9.9",
        "tag:Role=x",
        "tag:Role",
        "asg:nope",
        "i-0123",
        "old",
    ] {
        let mut start = command(SSMX, &loopback);
        start.args(["start-session", "--target", target]);
        made.run(start);
    }
    for words in [
        &["exec", "many", "--", "true"][..],
        &["forward", "many", "-L", "0:80"],
        &["cp", "many:/etc/hosts", "-"],
        &["history", "--target", "many"],
    ] {
        let mut command = command(SSMX, &loopback);
        command.args(words);
        made.run(command);
    }
    loopback.deny("StartSession", true);
    let mut start = command(SSMX, &loopback);
    start.args(["start-session", "--target", "web-1"]);
    made.run(start);
    made
}

/// Files that say what they must not.
fn files() -> Transcript {
    let home = Home::new(
        "# Settings\nregoin = \"eu-west-1\"\nkeepalive = \"soon\"\ncolor = \"blue\"\n\
         handshake_timeout = 0\n\n[alias.db]\ntarget = \"i-1\"\nforward = \"80\"\n\n\
         [alias.\"a b\"]\ntarget = \"i-1\"\n\n[alias.none]\n",
    );
    let mut made = Transcript::new();
    made.replace(home.path("").to_string_lossy().into_owned(), "~/");
    made.run(home.command(&["ls"]));
    made.run(home.command(&["config", "check"]));
    made.run(home.command(&["config", "check", "--output", "json"]));
    made.run(home.command(&["config", "show"]));

    home.write("broken.toml", "region = \"eu-west-1\nprofile = x\n");
    home.write("twice.toml", "region = \"a\"\nregion = \"b\"\n");
    let project = "endpoint_url = \"https://x\"\n[alias.db]\ntarget = \"i-1\"\n\
        document = \"X\"\nforwards = [\"*:80:80\", \"x\"]\n";
    home.write("project/.ssmx.toml", project);
    for file in [
        "broken.toml",
        "twice.toml",
        "project/.ssmx.toml",
        "none.toml",
    ] {
        made.run(home.command(&["config", "check", file]));
    }

    let good = "region = \"eu-west-1\"\nkeepalive = 7\n\n[alias.db]\ntarget = \"tag:Role=db\"\n\
        description = \"the database\"\nforwards = [\"15432:db.internal:5432\"]\n";
    home.write("config/ssmx/config.toml", good);
    made.run(home.command(&["config", "check"]));
    made.run(home.command(&["config", "show"]));
    made.run(home.command(&["config", "show", "--output", "json"]));
    made.run(home.command(&["up", "bd"]));
    let mut variable = home.command(&["ls"]);
    variable.env("SSMX_KEEPALIVE", "soon");
    made.run_as("SSMX_KEEPALIVE=soon ssmx ls", variable);
    made
}

#[test]
fn errors_are_told_as_they_are_kept() {
    let made: [Snapshot; 4] = [
        ("usage", usage),
        ("settings", settings),
        ("targets", targets),
        ("config", files),
    ];
    let mut names = BTreeSet::new();
    for (name, make) in made {
        make().check(&format!("errors/{name}"));
        names.insert(name.to_owned());
    }
    snapshot::are_all("errors", &names);
}
