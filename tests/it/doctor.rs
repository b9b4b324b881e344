//! `ssmx doctor`: each finding, by a service, a node or a network that is as it should not be.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use ssmx::loopback::{Loopback, Node, Options as Peer};

use crate::network::{Manner, Proxy, acceptor, tls};
use crate::support::{Finished, SSMX, clean, command, run_without_input};

/// What one run found.
struct Found {
    done: Finished,
    answer: Value,
}

impl Found {
    fn check(&self, id: &str) -> &Value {
        let checks = self.answer["Checks"].as_array().expect("a list");
        let check = checks.iter().find(|check| check["Id"] == id);
        check.unwrap_or_else(|| panic!("no {id} in {}", self.answer))
    }

    /// The check has this status, and says all of these words.
    #[track_caller]
    fn has(&self, id: &str, status: &str, words: &[&str]) {
        let check = self.check(id);
        assert_eq!(check["Status"], status, "{check}");
        let text = check.to_string().replace("\\\"", "\"");
        for word in words {
            assert!(text.contains(word), "{word:?} is missing: {text}");
        }
        if status == "failed" {
            assert!(check["Fix"].is_string(), "{check}");
        }
    }

    #[track_caller]
    fn ends(&self, status: i32) {
        assert_eq!(self.done.code(), Some(status), "{}", self.answer);
        assert_eq!(self.answer["Ok"], Value::Bool(status == 0));
    }
}

/// Runs `ssmx doctor --output json` with these options.
fn examine(mut command: Command, arguments: &[&str]) -> Found {
    command.args(["doctor", "--output", "json"]).args(arguments);
    let done = run_without_input(command);
    assert_eq!(done.stderr, "");
    let answer = serde_json::from_slice(&done.stdout).expect("JSON");
    Found { done, answer }
}

fn peer(options: Peer) -> Loopback {
    Loopback::start(Peer {
        paced: false,
        ..options
    })
    .expect("loopback starts")
}

fn usual() -> Loopback {
    peer(Peer::default())
}

fn doctor(loopback: &Loopback, arguments: &[&str]) -> Found {
    examine(command(SSMX, loopback), arguments)
}

#[test]
fn all_is_well() {
    let loopback = usual();
    let found = doctor(&loopback, &[loopback.target(), "--deep"]);
    found.ends(0);
    let ids: Vec<&str> = found.answer["Checks"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|check| check["Id"].as_str().expect("a text"))
        .collect();
    // Programs go by them.
    assert_eq!(
        ids,
        [
            "settings.profile",
            "settings.region",
            "credentials.keys",
            "credentials.identity",
            "credentials.clock",
            "network.ssm",
            "network.ssmmessages",
            "network.kms",
            "network.sts",
            "network.tls",
            "network.ipv6",
            "iam.start-session",
            "iam.open-data-channel",
            "iam.resume-session",
            "iam.terminate-session",
            "iam.get-connection-status",
            "iam.describe-instance-information",
            "iam.describe-instance-properties",
            "iam.preferences",
            "iam.kms",
            "target.state",
            "target.managed",
            "target.connection",
            "target.agent",
            "deep.session",
            "local.version",
            "local.plugin",
            "local.ssh",
        ]
    );
    found.has("settings.region", "ok", &["us-east-1", "AWS_REGION"]);
    found.has("credentials.keys", "ok", &["the environment"]);
    found.has(
        "credentials.identity",
        "ok",
        &["arn:aws:iam::000000000000:user/loopback"],
    );
    found.has("iam.start-session", "ok", &["ssm:StartSession is allowed"]);
    found.has("iam.preferences", "ok", &["idle sessions end after 20 min"]);
    found.has("target.managed", "ok", &["web-1"]);
    found.has("deep.session", "ok", &["RoundTripMilliseconds"]);
    // The one session that there was is over.
    let ended = loopback.wait_for(|stats| stats.terminated == 1, Duration::from_secs(10));
    assert!(ended || loopback.stats().terminated == 0);
}

#[test]
fn nothing_is_changed_and_no_secret_is_told() {
    let loopback = usual();
    let mut command = command(SSMX, &loopback);
    command.args(["doctor", loopback.target(), "--debug"]);
    let done = run_without_input(command);
    assert_eq!(done.code(), Some(0), "{}", done.text());
    let all = format!("{}{}", done.text(), done.stderr);
    assert!(!all.contains(loopback.secret_access_key()));
    assert!(!all.contains(loopback.access_key_id()), "{all}");
    let mut list = command_list(&loopback);
    for state in ["Active", "History"] {
        list.args(["--state", state]);
        let done = run_without_input(list);
        assert!(!done.text().contains("i-"), "{}", done.text());
        list = command_list(&loopback);
    }
}

fn command_list(loopback: &Loopback) -> Command {
    let mut list = command(SSMX, loopback);
    list.arg("describe-sessions");
    list
}

#[test]
fn people_get_lines() {
    let loopback = usual();
    let mut well = command(SSMX, &loopback);
    well.arg("doctor");
    let done = run_without_input(well);
    assert_eq!((done.stderr.as_str(), done.code()), ("", Some(0)));
    let text = done.text();
    assert!(text.is_ascii() && !text.contains('\u{1b}'), "{text}");
    for line in [
        "Settings\n",
        "\n  ok   region us-east-1 (AWS_REGION)\n",
        "\nThis machine\n",
        " 0 failures\n",
    ] {
        assert!(text.contains(line), "{line:?} is missing: {text}");
    }
    loopback.deny("ResumeSession", true);
    let mut worse = command(SSMX, &loopback);
    worse.args(["doctor", "--color", "on"]);
    let text = run_without_input(worse).text();
    assert!(
        text.contains("\u{1b}[33mwarn\u{1b}[0m ssm:ResumeSession is denied"),
        "{text}"
    );
    assert!(
        text.contains("\n      fix: add to the caller's policy: {"),
        "{text}"
    );
}

#[test]
fn help_has_examples() {
    let mut help = Command::new(SSMX);
    help.args(["doctor", "--help"]);
    let text = run_without_input(help).text();
    for word in ["Examples:", "--deep", "--all-regions", "Exit status:"] {
        assert!(text.contains(word), "{word:?} is missing: {text}");
    }
}

#[test]
fn permissions_that_are_missing() {
    let loopback = usual();
    let target = loopback.target().to_owned();
    let cases = [
        (
            "StartSession",
            "iam.start-session",
            "failed",
            "instance/i-10000000000000001",
        ),
        (
            "ResumeSession",
            "iam.resume-session",
            "warning",
            "sessions end when the network changes",
        ),
        (
            "TerminateSession",
            "iam.terminate-session",
            "warning",
            "session/${aws:userid}-*",
        ),
        (
            "GetConnectionStatus",
            "iam.get-connection-status",
            "warning",
            "connected",
        ),
        (
            "DescribeInstanceInformation",
            "iam.describe-instance-information",
            "warning",
            "tags",
        ),
        (
            "DescribeInstanceProperties",
            "iam.describe-instance-properties",
            "warning",
            "by name",
        ),
        ("GetDocument", "iam.preferences", "skipped", "not known"),
        (
            "GetCallerIdentity",
            "credentials.identity",
            "skipped",
            "not authorized",
        ),
        ("DescribeInstances", "target.state", "ok", "running"),
    ];
    for (operation, id, status, word) in cases {
        loopback.deny(operation, true);
        let found = doctor(&loopback, &[&target]);
        loopback.deny(operation, false);
        found.has(id, status, &[word]);
        found.ends(if status == "failed" { 254 } else { 0 });
    }
    // Without a target it may be that only some are allowed.
    loopback.deny("StartSession", true);
    let found = doctor(&loopback, &[]);
    found.has("iam.start-session", "warning", &["ssmx doctor TARGET"]);
    found.ends(0);
    loopback.deny("StartSession", false);
    // A policy that allows some documents.
    let body = r#"{"__type":"AccessDeniedException","message":"User: u is not authorized to perform: ssm:StartSession on resource: arn:aws:ssm:us-east-1::document/AWS-StartPortForwardingSession"}"#;
    loopback.script("StartSession", 400, body);
    let found = doctor(&loopback, &[&target]);
    found.has(
        "iam.start-session",
        "warning",
        &["ports cannot be forwarded", "--deep"],
    );
}

#[test]
fn a_session_that_starts_against_all_odds_is_ended() {
    let loopback = usual();
    let body = r#"{"SessionId":"loopback-1","TokenValue":"t","StreamUrl":"ws://127.0.0.1:1/"}"#;
    loopback.script("StartSession", 200, body);
    // Had the first probe not ended it, the second would see this.
    loopback.script("TerminateSession", 200, "{}");
    let found = doctor(&loopback, &[loopback.target()]);
    found.has("iam.start-session", "ok", &[]);
    found.ends(0);
}

#[test]
fn keys_of_the_account() {
    let loopback = peer(Peer {
        preferred_key: Some("arn:aws:kms:us-east-1:000000000000:key/k".to_owned()),
        ..Peer::default()
    });
    let found = doctor(&loopback, &[]);
    found.has("iam.preferences", "ok", &["encrypted with KMS"]);
    found.has("iam.kms", "ok", &["key/k"]);
    found.ends(0);
    loopback.deny("GenerateDataKey", true);
    let found = doctor(&loopback, &[]);
    found.has("iam.kms", "failed", &["kms:GenerateDataKey", "kms:Decrypt"]);
    found.ends(254);
    loopback.deny("GenerateDataKey", false);
    let body = r#"{"__type":"DisabledException","message":"key/k is disabled."}"#;
    loopback.script("GenerateDataKey", 400, body);
    doctor(&loopback, &[]).has("iam.kms", "failed", &["disabled", "enable the key"]);
}

#[test]
fn nodes_that_are_away() {
    let loopback = usual();
    let found = doctor(&loopback, &[loopback.offline_target()]);
    found.has("target.managed", "ok", &["old"]);
    found.has(
        "target.connection",
        "failed",
        &[
            "ConnectionLost since 2026-11-01",
            "amazon-ssm-agent",
            "AmazonSSMManagedInstanceCore",
        ],
    );
    found.ends(254);
    // Online for Systems Manager, but not for the gateway.
    let body = r#"{"Target":"x","Status":"notconnected"}"#;
    loopback.script("GetConnectionStatus", 200, body);
    let found = doctor(&loopback, &[loopback.target()]);
    found.has(
        "target.connection",
        "failed",
        &["ssmmessages:CreateControlChannel"],
    );
}

#[test]
fn nodes_that_are_no_good() {
    let stopped = Node {
        state: "stopped".to_owned(),
        ..Node::offline("i-10000000000000004")
    };
    let old = Node {
        agent_version: "3.0.100.0".to_owned(),
        ..Node::online("i-10000000000000005")
    };
    let ancient = Node {
        agent_version: "2.2.0.0".to_owned(),
        ..Node::online("i-10000000000000006")
    };
    let abroad = Node {
        region: Some("eu-west-1".to_owned()),
        ..Node::online("i-10000000000000007")
    };
    let loopback = peer(Peer {
        nodes: vec![stopped, old, ancient, abroad],
        other_regions: vec!["eu-west-1".to_owned()],
        ..Peer::default()
    });
    let found = doctor(&loopback, &["i-10000000000000004"]);
    found.has(
        "target.state",
        "failed",
        &["stopped", "aws ec2 start-instances"],
    );
    found.ends(254);
    let found = doctor(&loopback, &["i-10000000000000005"]);
    found.has(
        "target.agent",
        "warning",
        &[
            "3.0.100.0",
            "one connection at a time",
            "other hosts",
            "AWS-UpdateSSMAgent",
        ],
    );
    found.ends(0);
    let found = doctor(&loopback, &["i-10000000000000006"]);
    found.has("target.agent", "failed", &["no sessions at all"]);
    let found = doctor(&loopback, &["i-10000000000000007"]);
    found.has("target.state", "failed", &["no instance", "--all-regions"]);
    let found = doctor(&loopback, &["i-10000000000000007", "--all-regions"]);
    found.has(
        "target.region",
        "failed",
        &["is in eu-west-1", "--region eu-west-1"],
    );
    found.ends(254);
    let found = doctor(&loopback, &["i-10000000000000008", "--all-regions"]);
    found.has("target.region", "warning", &["none of the", "--profile"]);
    found.ends(254);
    let found = doctor(&loopback, &["web"]);
    found.has("target.id", "failed", &["web", "ssmx ls"]);
    found.ends(252);
}

#[test]
fn instances_that_are_not_managed() {
    let loopback = usual();
    let instance = |profile: &str| {
        format!(
            "<DescribeInstancesResponse><instanceState><code>16</code><name>running</name></instanceState>{profile}</DescribeInstancesResponse>"
        )
    };
    let id = "i-0000000000000dead";
    loopback.script("DescribeInstances", 200, &instance(""));
    let found = doctor(&loopback, &[id]);
    found.has("target.state", "ok", &["running"]);
    found.has(
        "target.managed",
        "failed",
        &[
            "no instance profile",
            "associate-iam-instance-profile",
            "AmazonSSMManagedInstanceCore",
        ],
    );
    found.ends(254);
    let profile =
        "<iamInstanceProfile><arn>arn:aws:iam::1:instance-profile/web</arn></iamInstanceProfile>";
    loopback.script("DescribeInstances", 200, &instance(profile));
    let found = doctor(&loopback, &[id]);
    found.has(
        "target.managed",
        "failed",
        &["instance-profile/web", "systemctl status amazon-ssm-agent"],
    );
    loopback.deny("DescribeInstances", true);
    let found = doctor(&loopback, &[id]);
    found.has("target.state", "skipped", &["not authorized"]);
    found.has("target.managed", "failed", &["check --region"]);
    loopback.deny("DescribeInstanceInformation", true);
    loopback.deny("DescribeInstanceProperties", true);
    doctor(&loopback, &[id]).has("target.managed", "skipped", &["not known"]);
}

#[test]
fn machines_outside_of_ec2() {
    let loopback = peer(Peer {
        advanced_tier: false,
        ..Peer::default()
    });
    let found = doctor(&loopback, &["mi-10000000000000003"]);
    found.has("target.tier", "failed", &["standard", "activation-tier"]);
    found.ends(254);
    let loopback = usual();
    let found = doctor(&loopback, &["mi-10000000000000003"]);
    found.has("target.tier", "ok", &["advanced"]);
    found.ends(0);
    doctor(&loopback, &["mi-0"]).has("target.managed", "failed", &["create-activation"]);
}

#[test]
fn containers() {
    let loopback = usual();
    let task = |more: &str| {
        format!(
            r#"{{"tasks":[{{"lastStatus":"RUNNING","group":"service:web",{more}"containers":[{{"name":"app","runtimeId":"t-1","managedAgents":[{{"name":"ExecuteCommandAgent","lastStatus":"STOPPED","reason":"no role"}}]}}]}}]}}"#
        )
    };
    let target = "ecs:my_cluster_t_t-1";
    let cases = [
        (
            task(""),
            "target.ecs-exec",
            &["not enabled", "--service web", "--cluster my_cluster"][..],
        ),
        (
            task(r#""enableExecuteCommand":true,"#),
            "target.ecs-exec",
            &["in app is stopped: no role", "CreateControlChannel"],
        ),
        (
            r#"{"tasks":[],"failures":[{"reason":"MISSING"}]}"#.to_owned(),
            "target.ecs-task",
            &["no task t", "list-tasks"],
        ),
        (
            task("").replace("RUNNING", "STOPPED"),
            "target.ecs-task",
            &["is stopped"],
        ),
    ];
    for (body, id, words) in cases {
        loopback.script("DescribeTasks", 200, &body);
        let found = doctor(&loopback, &[target]);
        found.has(id, "failed", words);
        found.ends(254);
    }
    let good = task(r#""enableExecuteCommand":true,"#).replace("STOPPED", "RUNNING");
    loopback.script("DescribeTasks", 200, &good);
    let found = doctor(&loopback, &[target]);
    found.has("target.ecs-exec", "ok", &["app"]);
    found.ends(0);
}

#[test]
fn clocks_that_are_off() {
    for (ahead, status, exit, word) in [
        (90, "warning", 0, "behind"),
        (-100, "warning", 0, "ahead of"),
        (2000, "failed", 253, "timedatectl"),
    ] {
        let loopback = peer(Peer {
            clock_ahead: ahead,
            ..Peer::default()
        });
        let found = doctor(&loopback, &[]);
        found.has("credentials.clock", status, &[word]);
        found.ends(exit);
    }
}

#[test]
fn credentials_that_are_missing_or_old() {
    let mut none = Command::new(SSMX);
    clean(&mut none);
    none.env("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        .env("AWS_REGION", "us-east-1");
    let found = examine(none, &[]);
    found.has(
        "credentials.keys",
        "failed",
        &["no AWS credentials", "aws configure"],
    );
    found.ends(253);

    let mut none = Command::new(SSMX);
    clean(&mut none);
    let found = examine(none, &[]);
    found.has("settings.aws", "failed", &["no region", "AWS_REGION"]);
    found.has("local.version", "ok", &["ssmx"]);
    found.ends(253);

    let loopback = usual();
    loopback.expire_token(true);
    let found = doctor(&loopback, &[]);
    found.has(
        "credentials.identity",
        "failed",
        &["expired", "AWS_SESSION_TOKEN"],
    );
    found.ends(253);

    let mut wrong = command(SSMX, &loopback);
    wrong.env("AWS_SECRET_ACCESS_KEY", "wrong");
    let found = examine(wrong, &[]);
    found.has("credentials.identity", "failed", &["clock", "secret key"]);
    found.ends(253);
}

#[test]
fn hosts_that_cannot_be_reached() {
    let loopback = usual();
    let closed = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = closed.local_addr().expect("its address");
    drop(closed);
    let mut command_ = command(SSMX, &loopback);
    command_.env("AWS_ENDPOINT_URL_SSM", format!("http://{address}"));
    let found = examine(command_, &[]);
    found.has("network.ssm", "failed", &["cannot connect", "TCP 443"]);
    found.has("network.kms", "ok", &["this machine"]);
    found.has("iam.start-session", "skipped", &["cannot connect"]);
    found.ends(255);
    let mut command_ = command(SSMX, &loopback);
    command_.env("AWS_ENDPOINT_URL_SSM", "http://nowhere.invalid");
    let found = examine(command_, &[]);
    found.has(
        "network.ssm",
        "failed",
        &[
            "cannot resolve nowhere.invalid",
            "com.amazonaws.us-east-1.ssm",
        ],
    );
    found.ends(255);
}

#[test]
fn services_that_never_answer() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let loopback = usual();
    let mut command = command(SSMX, &loopback);
    let url = format!("http://{}", silent.local_addr().expect("its address"));
    for service in ["SSM", "KMS", "STS", "EC2"] {
        command.env(format!("AWS_ENDPOINT_URL_{service}"), &url);
    }
    let begun = Instant::now();
    let found = examine(command, &[loopback.target()]);
    assert!(
        begun.elapsed() < Duration::from_secs(25),
        "{:?}",
        begun.elapsed()
    );
    found.has("iam.start-session", "skipped", &["within 5 s"]);
    found.has("credentials.clock", "skipped", &[]);
}

fn address(loopback: &Loopback) -> SocketAddr {
    let url: url::Url = loopback.endpoint_url().parse().expect("a URL of loopback");
    SocketAddr::from(([127, 0, 0, 1], url.port().expect("a port")))
}

#[test]
fn certificates_of_strangers() {
    let loopback = usual();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let ca = directory.path().join("ca.pem");
    let server = tls(acceptor(&ca, &["localhost"]), address(&loopback));
    let url = format!("https://localhost:{}", server.address.port());
    let with = |bundle: Option<&Path>, arguments: &[&str]| {
        let mut command = command(SSMX, &loopback);
        command.env("AWS_ENDPOINT_URL_SSM", &url);
        if let Some(bundle) = bundle {
            command.env("AWS_CA_BUNDLE", bundle);
        }
        examine(command, arguments)
    };
    let found = with(None, &[]);
    found.has(
        "network.ssm",
        "failed",
        &["rcgen self signed cert", "AWS_CA_BUNDLE"],
    );
    found.ends(255);
    let found = with(Some(&ca), &[]);
    found.has(
        "network.ssm",
        "ok",
        &["certificate by rcgen self signed cert"],
    );
    found.has("network.tls", "ok", &["ca.pem is trusted"]);
    found.ends(0);
    let found = with(None, &["--no-verify-ssl"]);
    found.has("network.tls", "warning", &["not verified"]);
    found.ends(0);
}

/// AWS's own hosts, behind a proxy that opens TLS.
fn behind(proxy: &Proxy, loopback: &Loopback) -> Command {
    let mut command = Command::new(SSMX);
    clean(&mut command);
    command
        .env("AWS_REGION", loopback.region())
        .env("AWS_ACCESS_KEY_ID", loopback.access_key_id())
        .env("AWS_SECRET_ACCESS_KEY", loopback.secret_access_key())
        .env("HTTPS_PROXY", proxy.url_with("user:password"));
    command
}

#[test]
fn proxies_that_inspect() {
    let loopback = usual();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let ca = directory.path().join("ca.pem");
    let server = tls(
        acceptor(&ca, &["*.us-east-1.amazonaws.com"]),
        address(&loopback),
    );
    let proxy = Proxy::start(Manner::Leading(server.address));
    let mut command = behind(&proxy, &loopback);
    command.env("AWS_CA_BUNDLE", &ca);
    let found = examine(command, &[loopback.target()]);
    found.has(
        "network.ssm",
        "ok",
        &["ssm.us-east-1.amazonaws.com through the proxy 127.0.0.1:"],
    );
    found.has(
        "network.ssmmessages",
        "ok",
        &["ssmmessages.us-east-1.amazonaws.com"],
    );
    found.has(
        "network.tls",
        "warning",
        &["TLS is inspected", "rcgen", "WebSockets"],
    );
    found.has("iam.start-session", "ok", &[]);
    found.has("iam.open-data-channel", "skipped", &["--deep"]);
    found.ends(0);
    assert!(!found.done.text().contains("password"));
    let found = examine(behind(&proxy, &loopback), &[]);
    found.has("network.ssm", "failed", &["rcgen", "inspecting proxy"]);
    found.ends(255);
}

#[test]
fn proxies_that_lead_nowhere() {
    let loopback = usual();
    let proxy = Proxy::start(Manner::Unreachable);
    let found = examine(behind(&proxy, &loopback), &[]);
    found.has(
        "network.ssm",
        "failed",
        &["the proxy 127.0.0.1:", "HTTPS_PROXY"],
    );
    found.ends(255);
}

#[test]
fn gateways_that_refuse() {
    let loopback = usual();
    loopback.forbid_upgrades(true);
    let found = doctor(&loopback, &[loopback.target(), "--deep"]);
    found.has(
        "deep.session",
        "failed",
        &["403", "ssmmessages:OpenDataChannel"],
    );
    found.ends(254);
}

#[test]
fn failures_of_others_lead_here() {
    let loopback = usual();
    let start = |target: &str| {
        let mut command = command(SSMX, &loopback);
        command.args(["start-session", "--target", target]);
        command
    };
    let says = |command: Command, word: &str| {
        let done = run_without_input(command);
        let hint = done.stderr.lines().find(|line| line.contains(" hint: "));
        assert!(
            hint.is_some_and(|hint| hint.contains(word)),
            "{}",
            done.stderr
        );
    };
    says(start(loopback.offline_target()), "`ssmx doctor TARGET`");
    loopback.deny("StartSession", true);
    says(start(loopback.target()), "`ssmx doctor`");
    let mut lost = start(loopback.target());
    lost.env("AWS_ENDPOINT_URL_SSM", "http://nowhere.invalid")
        .env("AWS_MAX_ATTEMPTS", "1");
    says(lost, "`ssmx doctor`");
}

#[test]
fn arguments_that_make_no_sense() {
    for option in ["--deep", "--all-regions"] {
        let mut command = Command::new(SSMX);
        clean(&mut command);
        command.args(["doctor", option]);
        let done = run_without_input(command);
        assert_eq!((done.code(), done.text().as_str()), (Some(252), ""));
        assert!(done.stderr.contains("TARGET"), "{}", done.stderr);
    }
}
