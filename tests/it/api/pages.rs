//! Listings that lead nowhere, and pages that come late.

use serde_json::{Value, json};
use ssmx::aws::{SessionQuery, SessionState};

use super::{Answer, Api};
use crate::plugin::assert_short;
use crate::support::run_without_input;

fn nodes(next: &str) -> Value {
    let mut page = json!({ "InstanceProperties": [{ "InstanceId": "i-1", "Name": "web" }] });
    if !next.is_empty() {
        page["NextToken"] = next.into();
    }
    page
}

#[test]
fn a_token_that_comes_again_ends_the_list() {
    // The same page for ever, and three in a circle.
    for length in [1, 3] {
        let api = Api::start(move |call| {
            let page: usize = call.token().parse().unwrap_or(0);
            Answer::ok(nodes(&((page + 1) % length + 10).to_string()))
        });
        let done = run_without_input(api.ssmx(1, &["ls"]));
        assert_eq!(done.code(), Some(255), "{}", done.stderr);
        assert!(done.stderr.contains("here already"), "{}", done.stderr);
        assert_short(&done.stderr);
        // What came is shown.
        assert!(done.text().contains("i-1"), "{}", done.text());
        assert!(api.calls().len() <= length + 2, "{:?}", api.calls());
    }
}

#[tokio::test]
async fn no_listing_goes_in_circles() {
    let api = Api::start(|call| {
        Answer::ok(match call.operation.as_str() {
            "DescribeSessions" => json!({ "Sessions": [], "NextToken": "a" }),
            "ListClusters" => json!({ "clusterArns": [], "nextToken": "a" }),
            "ListCommandInvocations" => json!({ "CommandInvocations": [], "NextToken": "a" }),
            other => panic!("{other}"),
        })
    });
    let aws = api.aws(1).await;
    let mut sessions = aws.sessions(
        SessionQuery {
            state: SessionState::Active,
            filters: Vec::new(),
            page_size: None,
        },
        None,
    );
    assert!(sessions.next().await.expect("a page").is_some());
    let errors = [
        sessions.next().await.expect_err("a circle"),
        aws.clusters().await.expect_err("a circle"),
        aws.command_invocations("c").await.expect_err("a circle"),
    ];
    for error in errors {
        assert!(error.reason().contains("here already"), "{error}");
    }
    assert_eq!(api.calls().len(), 6);
}

#[test]
fn a_page_that_is_throttled_is_asked_for_again() {
    let api = Api::start(|call| match (call.token(), call.before) {
        ("", _) => Answer::ok(nodes("2")),
        ("2", 1) => Answer::throttled(),
        _ => Answer::ok(nodes("")),
    });
    let done = run_without_input(api.ssmx(2, &["ls", "--debug"]));
    assert_eq!(done.code(), Some(0), "{}", done.stderr);
    assert_eq!(done.text().lines().count(), 3);
    let told: Vec<&str> = done
        .stderr
        .lines()
        .filter(|line| line.contains("a call failed"))
        .collect();
    assert_eq!(told.len(), 1, "{}", done.stderr);
    for word in [
        "DescribeInstanceProperties",
        "attempt=1",
        "ThrottlingException",
    ] {
        assert!(told[0].contains(word), "{told:?}");
    }
}

#[test]
fn throttling_without_end_is_told_in_a_line() {
    let api = Api::start(|call| match call.token() {
        "" => Answer::ok(nodes("2")),
        _ => Answer::throttled(),
    });
    let done = run_without_input(api.ssmx(2, &["ls"]));
    assert_eq!(done.code(), Some(254), "{}", done.stderr);
    assert_short(&done.stderr);
    for word in ["Rate exceeded", "ssm:DescribeInstanceProperties", "wait"] {
        assert!(done.stderr.contains(word), "{}", done.stderr);
    }
    assert!(done.text().contains("i-1"), "{}", done.text());
    assert_eq!(api.calls().len(), 3);
}
