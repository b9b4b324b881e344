//! Managed nodes as the two calls of the service describe them: filters, pages, refusals.

use serde_json::{Value, json};
use ssmx::loopback::{Loopback, Node, Options};

use super::client::{Signer, call, error, request, start, try_call};

const PROPERTIES: &str = "DescribeInstanceProperties";
const INFORMATION: &str = "DescribeInstanceInformation";

fn list(operation: &str) -> &'static str {
    match operation {
        PROPERTIES => "InstanceProperties",
        _ => "InstanceInformationList",
    }
}

fn ids(operation: &str, answer: &Value) -> Vec<String> {
    let nodes = answer[list(operation)].as_array().unwrap();
    let id = |node: &Value| node["InstanceId"].as_str().unwrap().to_owned();
    nodes.iter().map(id).collect()
}

fn filtered(loopback: &Loopback, operation: &str, key: &str, values: &[&str]) -> Vec<String> {
    let filters = match operation {
        PROPERTIES => "FiltersWithOperator",
        _ => "Filters",
    };
    let input = json!({ filters: [{ "Key": key, "Values": values }] });
    ids(operation, &call(loopback, operation, &input))
}

#[test]
fn nodes_are_filtered() {
    let loopback = start(Options::default());
    let [one, two, db, old] = [
        "i-10000000000000001",
        "i-10000000000000002",
        "mi-10000000000000003",
        "i-1000000000000000f",
    ];
    for operation in [PROPERTIES, INFORMATION] {
        let filtered = |key: &str, values: &[&str]| filtered(&loopback, operation, key, values);
        assert_eq!(filtered("tag:Name", &["web-1"]), [one]);
        assert_eq!(
            filtered("tag:aws:autoscaling:groupName", &["web"]),
            [one, two]
        );
        assert_eq!(filtered("tag-key", &["Environment"]).len(), 4);
        assert_eq!(filtered("PingStatus", &["ConnectionLost"]), [old]);
        assert_eq!(filtered("InstanceIds", &[db, one]), [one, db]);
        assert!(filtered("PlatformTypes", &["Windows"]).is_empty());
    }
    let input = json!({ "Filters": [
        { "Key": "tag:Name", "Values": ["web-1"] },
        { "Key": "PingStatus", "Values": ["Online"] },
    ] });
    let refused = error(try_call(&loopback, INFORMATION, &input));
    assert_eq!(refused, "InvalidFilterKey");
    let input = json!({ "Filters": [{ "Key": "InstanceIds", "Values": ["i-0"] }] });
    let refused = error(try_call(&loopback, INFORMATION, &input));
    assert_eq!(refused, "InvalidInstanceId");
}

#[test]
fn each_call_knows_its_own() {
    let loopback = start(Options::default());
    let property = &call(&loopback, PROPERTIES, &json!({}))["InstanceProperties"][0];
    assert_eq!(property["Name"], "web-1");
    assert_eq!(property["IPAddress"], "203.0.113.11");
    assert_eq!(property["InstanceState"], "running");
    let information = &call(&loopback, INFORMATION, &json!({}))["InstanceInformationList"][0];
    assert_eq!(information["Name"], Value::Null);
    assert_eq!(information["IPAddress"], "10.0.0.11");
    assert_eq!(information["ComputerName"], "ip-10-0-0-11.ec2.internal");
}

#[test]
fn pages_join_into_the_whole() {
    let loopback = start(Options {
        nodes: Node::fleet(123),
        ..Options::default()
    });
    for (operation, size) in [(PROPERTIES, 100), (INFORMATION, 50), (PROPERTIES, 7)] {
        let mut all = Vec::new();
        let mut input = json!({ "MaxResults": size });
        loop {
            let answer = call(&loopback, operation, &input);
            all.extend(ids(operation, &answer));
            match answer.get("NextToken") {
                Some(next) => input["NextToken"] = next.clone(),
                None => break,
            }
        }
        let expected: Vec<String> = Node::fleet(123).into_iter().map(|node| node.id).collect();
        assert_eq!(all, expected);
    }
    for (operation, size) in [(PROPERTIES, 1001), (INFORMATION, 51), (PROPERTIES, 4)] {
        let input = json!({ "MaxResults": size });
        let refused = error(try_call(&loopback, operation, &input));
        assert_eq!(refused, "ValidationException");
    }
}

#[test]
fn callers_and_regions_are_told_apart() {
    let elsewhere = Node {
        region: Some("eu-west-1".to_owned()),
        ..Node::online("i-1")
    };
    let loopback = start(Options {
        nodes: vec![elsewhere, Node::online("i-2")],
        other_regions: vec!["eu-west-1".to_owned()],
        ..Options::default()
    });
    let mut signer = Signer::of(&loopback, "ssm");
    let mut ask = |region: &str| {
        signer.region = region.to_owned();
        let operation = format!("AmazonSSM.{PROPERTIES}");
        request(&loopback, Some(&signer), &operation, &json!({}))
    };
    assert_eq!(ids(PROPERTIES, &ask("eu-west-1").1), ["i-1"]);
    assert_eq!(ids(PROPERTIES, &ask("us-east-1").1), ["i-2"]);
    assert_eq!(error(ask("eu-west-2")), "InvalidSignatureException");
    loopback.deny(PROPERTIES, true);
    assert_eq!(error(ask("us-east-1")), "AccessDeniedException");
    loopback.deny(PROPERTIES, false);
    assert_eq!(ask("us-east-1").0, 200);
}
