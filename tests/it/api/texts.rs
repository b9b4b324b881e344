//! Names and reasons that would move the cursor, ring, or turn the line around.

use serde_json::json;

use super::{Answer, Api};
use crate::support::run_without_input;

/// Two that control a terminal, in seven bits and in eight; two that turn lines around; an end of
/// a line, a bell and a deletion.
const EVIL: &str = "a\u{1b}]0;x\u{7}b\u{9b}2Jc\u{202e}d\u{2067}e\r\nf\u{2028}g\u{7f}h";

#[track_caller]
fn is_harmless(text: &str) {
    let bad = |c: char| {
        (c.is_control() && c != '\n' && c != '\t')
            || matches!(c, '\u{202e}' | '\u{2067}' | '\u{2028}')
    };
    assert!(!text.contains(bad), "{text:?}");
}

#[test]
fn names_of_nodes_do_nothing_to_a_terminal() {
    let api = Api::start(|call| {
        let node = |id: &str| {
            json!({
                "InstanceId": format!("{id}{EVIL}"), "Name": EVIL, "ComputerName": EVIL,
                "PingStatus": "Online", "PlatformName": EVIL, "PlatformVersion": EVIL,
                "AgentVersion": EVIL, "IPAddress": EVIL, "InstanceState": EVIL,
            })
        };
        match call.operation.as_str() {
            "DescribeInstanceProperties" => {
                Answer::ok(json!({ "InstanceProperties": [node("i-1"), node("i-2")] }))
            }
            _ => Answer::new(400, json!({ "__type": EVIL, "message": EVIL })),
        }
    });
    let calls: [(&[&str], i32); 5] = [
        (&["ls"], 0),
        (&["ls", "--output", "json"], 0),
        (&["start-session", "--target", "tag:Name=x"], 252),
        (&["start-session", "--target", "i-1"], 254),
        (&["get-connection-status", "--target", "i-1"], 254),
    ];
    for (call, status) in calls {
        let done = run_without_input(api.ssmx(1, call));
        assert_eq!(done.code(), Some(status), "{call:?} {}", done.stderr);
        is_harmless(&done.text());
        is_harmless(&done.stderr);
        if status == 0 {
            assert!(done.text().contains("i-1a"), "{}", done.text());
        }
    }
    let json = run_without_input(api.ssmx(1, &["ls", "--output", "json"]));
    let value: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(value["Nodes"][0]["Name"], EVIL);
}

#[test]
fn reasons_of_sessions_do_nothing_to_a_terminal() {
    let api = Api::start(|_| {
        let session = json!({
            "SessionId": EVIL, "Target": EVIL, "Status": EVIL, "Owner": format!("arn:aws:{EVIL}"),
            "Reason": EVIL, "DocumentName": EVIL, "StartDate": 1_795_552_680, "Details": EVIL,
            "OutputUrl": { "S3OutputUrl": EVIL, "CloudWatchOutputUrl": EVIL },
        });
        Answer::ok(json!({ "Sessions": [session] }))
    });
    for words in [
        &["history"][..],
        &["history", "--output", "text"],
        &["history", "--output", "json"],
        &["describe-sessions", "--state", "Active"],
        &["describe-sessions", "--state", "Active", "--output", "json"],
    ] {
        let done = run_without_input(api.ssmx(1, words));
        assert_eq!(done.code(), Some(0), "{words:?} {}", done.stderr);
        is_harmless(&done.text());
        is_harmless(&done.stderr);
    }
}
