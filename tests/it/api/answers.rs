//! Answers without sense, too long, from elsewhere, or at another time.

use std::sync::atomic::Ordering;

use serde_json::json;
use ssmx::aws::Kind;

use super::{Answer, Api};
use crate::plugin::assert_short;
use crate::support::run_without_input;

const MB: usize = 1 << 20;

#[test]
fn what_is_not_the_api_is_an_error_in_a_line() {
    for body in [
        "",
        "null",
        "7",
        "[1]",
        "\"x\"",
        "{",
        "<html>\u{1b}[2J</html>",
        r#"{"InstanceProperties":7}"#,
        r#"{"InstanceProperties":{"a":[]}}"#,
        r#"{"InstanceProperties":[7]}"#,
        r#"{"InstanceProperties":[{"InstanceId":7}]}"#,
        r#"{"InstanceProperties":[{"InstanceId":"i-1","LaunchTime":"yesterday"}]}"#,
        r#"{"InstanceProperties":[],"NextToken":[]}"#,
        r#"{"InstanceProperties":[{"InstanceId":"i-1"}"#,
    ] {
        let api = Api::start(move |_| Answer::ok(body));
        let done = run_without_input(api.ssmx(1, &["ls"]));
        // No text at all is an answer in which everything is missing.
        if body.is_empty() {
            assert_eq!(done.code(), Some(0), "{}", done.stderr);
            continue;
        }
        assert_eq!(done.code(), Some(255), "{body}: {}", done.stderr);
        assert_short(&done.stderr);
        assert!(
            done.stderr.contains("not that of the API"),
            "{}",
            done.stderr
        );
        assert!(!done.stderr.contains('\u{1b}'), "{}", done.stderr);
    }
}

#[test]
fn what_is_missing_is_missed_without_harm() {
    let page = json!({ "InstanceProperties": [{}, { "InstanceId": "i-1" }, { "Name": "web" }] });
    let api = Api::start(move |_| Answer::ok(&page));
    let done = run_without_input(api.ssmx(1, &["ls"]));
    assert_eq!(done.code(), Some(0), "{}", done.stderr);
    let text = done.text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[1].starts_with("i-1  -"), "{text}");
}

#[tokio::test]
async fn a_hundred_megabytes_are_not_read() {
    for ssm in [true, false] {
        let api = Api::start(|_| Answer {
            times: 100,
            ..Answer::ok(" ".repeat(MB))
        });
        let aws = api.aws(1).await;
        let error = match ssm {
            true => aws.nodes(Vec::new()).next().await.map(drop),
            false => aws.clusters().await.map(drop),
        };
        let error = error.expect_err("too long");
        assert!(error.to_string().contains("more than 16 MB"), "{error}");
        assert_eq!(error.kind(), Kind::Other);
        // What the sockets hold comes on top.
        let sent = api.sent.load(Ordering::Relaxed);
        assert!(sent < 60 * MB, "{sent}");
    }
}

#[test]
fn redirects_are_not_followed_but_told() {
    let api = Api::start(|_| Answer::new(302, "").header("location: https://login.example/x"));
    let done = run_without_input(api.ssmx(1, &["ls"]));
    assert_eq!(done.code(), Some(255), "{}", done.stderr);
    assert_short(&done.stderr);
    for word in ["302", "login.example", "proxy"] {
        assert!(done.stderr.contains(word), "{}", done.stderr);
    }
    assert_eq!(api.calls().len(), 1);
}

#[test]
fn errors_inside_the_service_are_tried_again() {
    let api = Api::start(|call| match call.before {
        0 => Answer::new(503, "<html>no</html>"),
        _ => Answer::ok(json!({ "InstanceProperties": [] })),
    });
    let done = run_without_input(api.ssmx(2, &["ls"]));
    assert_eq!(done.code(), Some(0), "{}", done.stderr);
    assert_eq!(api.calls().len(), 2);
    let api = Api::start(|_| Answer::new(502, "<html>no</html>"));
    let done = run_without_input(api.ssmx(1, &["ls"]));
    assert_eq!(done.code(), Some(255), "{}", done.stderr);
    assert_short(&done.stderr);
    assert!(done.stderr.contains("HTTP status 502"), "{}", done.stderr);
}

#[test]
fn a_clock_that_is_off_is_told_with_the_fix() {
    for code in ["RequestTimeTooSkewed", "InvalidSignatureException"] {
        let body = json!({ "__type": code, "message": "Signature expired" });
        let api = Api::start(move |_| {
            Answer::new(403, &body).header("date: Sat, 01 Jan 2000 00:00:00 GMT")
        });
        let calls: [&[&str]; 2] = [
            &["ls"],
            &["ecs", "exec", "--cluster", "c", "--service", "s"],
        ];
        for call in calls {
            let done = run_without_input(api.ssmx(1, call));
            assert_eq!(done.code(), Some(254), "{}", done.stderr);
            assert_short(&done.stderr);
            for word in [code, "days ahead of", "timedatectl"] {
                assert!(done.stderr.contains(word), "{}", done.stderr);
            }
        }
    }
    // With the clock in order it is the key.
    let body = json!({ "__type": "InvalidSignatureException", "message": "No match" });
    let api = Api::start(move |_| Answer::new(403, &body));
    let done = run_without_input(api.ssmx(1, &["ls"]));
    assert!(done.stderr.contains("secret key"), "{}", done.stderr);
}
