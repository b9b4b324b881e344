//! Targets that are away, old, stopped, elsewhere, or not managed at all.

use ssmx::loopback::{Node, Options as Peer};

use super::{doctor, peer, usual};

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
