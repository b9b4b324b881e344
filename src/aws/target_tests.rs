//! How targets are read, and which of several nodes is meant.

use super::*;

fn node(id: &str, name: &str, ping: &str) -> Node {
    Node {
        id: id.to_owned(),
        name: (!name.is_empty()).then(|| name.to_owned()),
        ping: ping.to_owned(),
        ..Node::default()
    }
}

#[test]
fn targets_are_told_apart_by_their_looks() {
    let id = |text: &str| Wanted::Id(text.to_owned());
    let name = |text: &str| Wanted::Name(text.to_owned());
    let tag = |key: &str, value: &str| Wanted::Tag {
        key: key.to_owned(),
        value: value.to_owned(),
    };
    let address = |text: &str| Wanted::Address(text.parse().expect("an address"));
    for (text, expected) in [
        ("i-0123456789abcdef0", id("i-0123456789abcdef0")),
        ("mi-1", id("mi-1")),
        ("ecs:Cluster_t_r", id("ecs:Cluster_t_r")),
        ("i-0abc.eu-west-1.compute.internal", id("i-0abc")),
        ("i-am-a-server", name("i-am-a-server")),
        ("i-", name("i-")),
        ("web", name("web")),
        ("ip-10-0-0-1.ec2.internal", name("ip-10-0-0-1.ec2.internal")),
        ("10.0.0.1", address("10.0.0.1")),
        ("2001:db8::1", address("2001:db8::1")),
        ("tag:Role=db=main", tag("Role", "db=main")),
        ("tag:a:b=", tag("a:b", "")),
        ("asg:web", Wanted::Group("web".to_owned())),
        (
            "tag:aws:autoscaling:groupName=web",
            Wanted::Group("web".to_owned()),
        ),
    ] {
        assert_eq!(Wanted::parse(text).ok(), Some(expected), "{text}");
    }
    for text in ["", "tag:", "tag:Role", "tag:=x", "asg:"] {
        let parsed = Wanted::parse(text);
        assert!(matches!(parsed, Err(TargetError::Syntax(_))), "{text}");
    }
}

#[test]
fn those_online_count_unless_there_are_none() {
    let choose = |nodes: &[Node]| {
        let mut candidates = Candidates::default();
        nodes.iter().for_each(|node| candidates.take(node.clone()));
        candidates.choose("web")
    };
    let (a, b) = (node("i-a", "web", "Online"), node("i-b", "web", "Online"));
    let lost = node("i-c", "", "ConnectionLost");
    assert_eq!(choose(&[]).expect("none"), None);
    let one = [lost.clone(), a.clone(), a.clone()];
    assert_eq!(choose(&one).expect("one"), Some(a.clone()));
    assert_eq!(choose(&one[..1]).expect("one"), Some(lost.clone()));
    let text = choose(&[a, lost.clone(), b]).expect_err("two").to_string();
    assert_eq!(
        text,
        "web is ambiguous: i-a (web, Online), i-b (web, Online)"
    );
    let many: Vec<Node> = (0..100)
        .map(|number| node(&format!("i-{number}"), "", "Online"))
        .collect();
    let text = choose(&many).expect_err("many").to_string();
    assert!(text.ends_with("i-7 (Online) and others"), "{text}");
}

#[test]
fn the_nearest_names_are_remembered() {
    let nearest = |wanted: &str| {
        let mut nearest = Nearest::new(wanted);
        for name in ["web-1", "web-2", "db", "Bastion", "web-3", "web-4"] {
            nearest.look_at(&node("i-1", name, "Online"));
        }
        nearest.names()
    };
    assert_eq!(nearest("wbe-2"), ["web-2"]);
    assert_eq!(nearest("web"), ["web-1", "web-2", "web-3"]);
    assert_eq!(nearest("bastoin"), ["Bastion"]);
    assert_eq!(nearest("dc"), ["db"]);
    assert!(nearest("something-else").is_empty());
}

#[test]
fn names_of_computers_go_with_and_without_their_domain() {
    let node = Node {
        computer_name: Some("DB.corp.example".to_owned()),
        name: Some("Main".to_owned()),
        ..Node::default()
    };
    for (text, expected) in [
        ("db.corp.example", true),
        ("db", true),
        ("main", true),
        ("db.corp", false),
        ("corp", false),
    ] {
        assert_eq!(is_called(&node, text), expected, "{text}");
    }
}

#[test]
fn private_addresses_are_known() {
    for (text, expected) in [
        ("10.1.2.3", true),
        ("172.31.0.1", true),
        ("100.64.0.1", true),
        ("100.128.0.1", false),
        ("203.0.113.1", false),
        ("fd00::1", true),
        ("2001:db8::1", false),
    ] {
        let address = text.parse().expect("an address");
        assert_eq!(is_private(address), expected, "{text}");
    }
}
