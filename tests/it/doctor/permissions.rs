//! Calls that are denied, and keys that cannot be used.

use ssmx::loopback::Options as Peer;

use super::{doctor, peer, usual};

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
    let before = loopback.stats().api_calls;
    doctor(&loopback, &[loopback.target()]).has("iam.start-session", "ok", &[]);
    let with = loopback.stats().api_calls - before;
    doctor(&loopback, &[loopback.target()]).ends(0);
    let without = loopback.stats().api_calls - before - with;
    assert_eq!(with, without + 1);
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
fn a_node_that_takes_an_approval_is_told_how_to_ask_for_it() {
    let guarded = "i-1000000000000000a";
    let mut nodes = Peer::default().nodes;
    nodes.push(ssmx::loopback::Node::online(guarded).guarded());
    let loopback = peer(Peer {
        nodes,
        ..Peer::default()
    });
    let found = doctor(&loopback, &[guarded]);
    let ask = format!("start-session --target {guarded} --request-access REASON");
    found.has("iam.start-session", "failed", &[&ask]);
    found.ends(254);
    let container = format!("ecs:shop_{:032x}_{:032x}-0000000001", 0x12, 0x12);
    loopback.deny("StartSession", true);
    let found = doctor(&loopback, &[&container]);
    let check = found.check("iam.start-session").to_string();
    assert!(
        check.contains("denied") && !check.contains("--request-access"),
        "{check}"
    );
}
