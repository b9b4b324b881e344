//! What files may say, and what is said of those that say something else.

use super::*;

fn parse(owner: Owner, text: &str) -> Result<File, Vec<Problem>> {
    File::parse(PathBuf::from("/c.toml"), owner, text)
}

/// Complaints as they are told, with their hints.
fn complaints(owner: Owner, text: &str) -> Vec<String> {
    let problems = parse(owner, text).expect_err("wrong");
    let show = |problem: Problem| match &problem.hint {
        Some(hint) => format!("{problem} [{hint}]"),
        None => problem.to_string(),
    };
    problems.into_iter().map(show).collect()
}

const FULL: &str = r#"
profile = "dev"
keepalive = 15
color = "off"

[alias.db]
target = "tag:Role=bastion"
region = "eu-west-1"
forwards = ["15432:db.internal:5432", "8080:80"]
dynamic = "1080"
command = ["psql", "-h", "localhost"]

[alias.top]
target = "web-1"
document = "AWS-StartInteractiveCommand"
parameters = { command = "sudo htop", other = ["a", "b"] }
"#;

#[test]
fn all_kinds_of_values_are_read() {
    let file = parse(Owner::User, FULL).expect("good");
    let settings: Vec<_> = file
        .settings
        .iter()
        .map(|setting| format!("{}={} {}", setting.key, setting.value, setting.at))
        .collect();
    assert_eq!(
        settings,
        ["profile=dev 2:11", "keepalive=15 3:13", "color=off 4:9"]
    );
    let [db, top] = file.aliases.as_slice() else {
        panic!("{file:?}");
    };
    assert_eq!((db.name.as_str(), db.at.line), ("db", 6));
    assert_eq!(db.target, "tag:Role=bastion");
    assert_eq!(db.forwards.len(), 2);
    assert_eq!(db.forwards[1].0, "8080:80");
    assert_eq!(db.forwards[1].1.to_string(), "9:39");
    assert_eq!(db.dynamic.len(), 1);
    assert_eq!(db.command, ["psql", "-h", "localhost"]);
    assert_eq!(top.document.as_deref(), Some("AWS-StartInteractiveCommand"));
    assert_eq!(top.parameters[0].1, ["sudo htop"]);
    assert_eq!(top.parameters[1].1, ["a", "b"]);
}

#[test]
fn unknown_keys_get_the_nearest_one_and_their_place() {
    let cases = [
        (
            "keep_alive = 5",
            "/c.toml:1:1: there is no setting \"keep_alive\" [did you mean keepalive?]",
        ),
        (
            "\n  handshake-timeout = 5",
            "/c.toml:2:3: there is no setting \"handshake-timeout\" [did you mean handshake_timeout?]",
        ),
        (
            "[aliases.x]\ntarget = \"a\"",
            "/c.toml:1:2: there is no setting \"aliases\" [did you mean alias?]",
        ),
        (
            "[alias.x]\ntarget = \"a\"\nforward = \"1\"",
            "/c.toml:3:1: an alias has no key \"forward\" [did you mean forwards?]",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(complaints(Owner::User, text), [expected], "{text}");
    }
    let far = complaints(Owner::User, "zzzzzz = 1");
    assert!(far[0].contains("[there are: profile, region, "), "{far:?}");
}

#[test]
fn wrong_values_are_told_with_what_is_wanted() {
    let cases = [
        (
            "keepalive = \"soon\"",
            "1:13: keepalive must be a whole number, not \"soon\"",
        ),
        (
            "keepalive = -1",
            "1:13: keepalive must be a whole number from 0 to 4294967295, not the number -1",
        ),
        (
            "keepalive = 1.5",
            "1:13: keepalive must be a whole number, not the number 1.5",
        ),
        (
            "profile = 1",
            "1:11: profile must be a text, not the number 1",
        ),
        (
            "profile = \"\"",
            "1:11: profile must be a text, not an empty text",
        ),
        (
            "color = \"blue\"",
            "1:9: color must be one of \"on\", \"off\", \"auto\", not \"blue\"",
        ),
        ("reason = [1]", "1:10: reason must be a text, not a list"),
        ("alias = 1", "1:9: alias must be a table, not the number 1"),
        (
            "[alias]\nx = \"i-1\"",
            "2:5: alias.x must be a table, not \"i-1\"",
        ),
        (
            "[alias.x]\ntarget = \"a\"\nforwards = [5432]",
            "3:12: forwards must be a list of texts, not a list",
        ),
        (
            "[alias.x]\ntarget = \"a\"\nparameters = { a = 1 }",
            "3:20: parameters.a must be a text or a list of texts, not the number 1",
        ),
        ("ä = ", "1:1: "),
        ("profile = \"x", "1:"),
        ("profile = \"x\"\nprofile = \"y\"", "2:1: "),
    ];
    for (text, expected) in cases {
        let found = complaints(Owner::User, text);
        let expected = format!("/c.toml:{expected}");
        assert!(found[0].starts_with(&expected), "{text}: {found:?}");
    }
}

#[test]
fn aliases_need_a_name_and_a_target() {
    let cases = [
        ("[alias.x]\n", "the alias x has no target"),
        ("[alias.\"\"]\ntarget = \"a\"", "is no name for an alias"),
        ("[alias.\"a b\"]\ntarget = \"a\"", "is no name for an alias"),
        ("[alias.\"a:b\"]\ntarget = \"a\"", "is no name for an alias"),
        ("[alias.-a]\ntarget = \"a\"", "is no name for an alias"),
        (
            "[alias.i-0123456789abcdef0]\ntarget = \"a\"",
            "it would hide the node of that id",
        ),
    ];
    for (text, expected) in cases {
        let found = complaints(Owner::User, text);
        assert!(found[0].contains(expected), "{text}: {found:?}");
    }
    assert!(parse(Owner::User, "[alias.i-love-this]\ntarget = \"a\"").is_ok());
}

#[test]
fn an_alias_is_a_node_or_a_container() {
    for text in [
        "service = \"web\"",
        "cluster = \"c\"",
        "task = \"t\"\ncontainer = \"app\"",
        "cluster = \"c\"\nservice = \"web\"\ncontainer = \"app\"",
    ] {
        let file = parse(Owner::Project, &format!("[alias.x]\n{text}")).expect("good");
        assert!(file.aliases[0].is_container(), "{text}");
    }
    let cases = [
        (
            "target = \"a\"\nservice = \"web\"",
            "has a target and a container",
        ),
        (
            "target = \"a\"\ncontainer = \"app\"",
            "has a target and a container",
        ),
        (
            "task = \"t\"\nservice = \"web\"",
            "has a service and a task",
        ),
        ("container = \"app\"", "has no target [say of what: service"),
        (
            "service = \"\"",
            "service must be a text, not an empty text",
        ),
    ];
    for (text, expected) in cases {
        let found = complaints(Owner::User, &format!("[alias.x]\n{text}"));
        assert!(found[0].contains(expected), "{text}: {found:?}");
    }
}

#[test]
fn flags_and_amounts_are_written_as_such() {
    let values = |text: &str| {
        let file = parse(Owner::User, text).expect("good");
        let values = file.settings.into_iter().map(|setting| setting.value);
        values.collect::<Vec<_>>()
    };
    let text = "lazy = true\nno_restart = false\nmax_errors = 3\nmax_concurrency = \"10%\"";
    assert_eq!(values(text), ["true", "false", "3", "10%"]);
    for (text, expected) in [
        ("lazy = \"yes\"", "lazy must be true or false, not \"yes\""),
        ("lazy = 1", "lazy must be true or false, not the number 1"),
        (
            "max_errors = \"few\"",
            "max_errors must be a whole number, or a percentage such as \"10%\", not \"few\"",
        ),
        (
            "max_errors = -1",
            "max_errors must be a whole number from 0",
        ),
    ] {
        let found = complaints(Owner::User, text);
        assert!(found[0].contains(expected), "{text}: {found:?}");
    }
}

#[test]
fn a_projects_file_sets_nothing_that_could_do_harm() {
    for text in [
        "endpoint_url = \"https://evil.example\"",
        "ca_bundle = \"ca.pem\"",
        "ssh = \"./ssh\"",
        "[alias.x]\ntarget = \"a\"\ncommand = [\"./x\"]",
        "[alias.x]\ntarget = \"a\"\ndocument = \"D\"",
        "[alias.x]\ntarget = \"a\"\nparameters = { command = \"x\" }",
    ] {
        assert!(parse(Owner::User, text).is_ok(), "{text}");
        let found = complaints(Owner::Project, text);
        assert!(
            found[0].contains("a project's file must not set "),
            "{text}: {found:?}"
        );
    }
    let harmless =
        "profile = \"p\"\n[alias.db]\ntarget = \"a\"\nforwards = [\"1:2\"]\nreason = \"r\"";
    assert!(parse(Owner::Project, harmless).is_ok());
}

#[test]
fn all_complaints_are_told_from_top_to_bottom() {
    let found = complaints(Owner::User, "zone = 1\nkeepalive = true\n[alias.x]\nt = 1");
    let places: Vec<_> = found
        .iter()
        .filter_map(|text| text.split(": ").next())
        .collect();
    assert_eq!(places, ["/c.toml:1:1", "/c.toml:2:13", "/c.toml:4:1"]);
}

#[test]
fn settings_of_a_project_go_first_and_aliases_of_the_user() {
    let user = "region = \"u\"\nreason = \"u\"\n[alias.a]\ntarget = \"user\"";
    let project =
        "region = \"p\"\n[alias.a]\ntarget = \"project\"\n[alias.b]\ntarget = \"project\"";
    let config = Config {
        files: vec![
            parse(Owner::Project, project).expect("good"),
            parse(Owner::User, user).expect("good"),
        ],
        ignored: None,
    };
    let value = |key| {
        config
            .setting(key)
            .map(|(setting, _)| setting.value.as_str())
    };
    assert_eq!(value("region"), Some("p"));
    assert_eq!(value("reason"), Some("u"));
    assert_eq!(value("profile"), None);
    let target = |name| config.alias(name).map(|(alias, _)| alias.target.as_str());
    assert_eq!(target("a"), Some("user"));
    assert_eq!(target("b"), Some("project"));
    assert_eq!(config.aliases().count(), 2);
}

#[test]
fn paths_start_from_the_file() {
    let value = |text: &str| {
        let file = parse(Owner::User, text).expect("good");
        file.settings[0].value.clone()
    };
    assert_eq!(value("ssh = \"ssh\""), "ssh");
    #[cfg(unix)]
    {
        assert_eq!(value("ca_bundle = \"sub/ca.pem\""), "/sub/ca.pem");
        assert_eq!(value("ca_bundle = \"/abs/ca.pem\""), "/abs/ca.pem");
    }
}

#[test]
fn names_are_near_when_little_is_different() {
    for (name, expected) in [
        ("regoin", Some("region")),
        ("Region", Some("region")),
        ("regions", Some("region")),
        ("reigon", Some("region")),
        ("zone", None),
        ("", None),
    ] {
        assert_eq!(nearest(name, ["profile", "region"]), expected, "{name}");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_is_a_panic(text in ".{0,120}", tight in r#"[\[\]{}="'.,# \n0-9a-z_-]{0,60}"#) {
        for text in [text, tight] {
            let _ = parse(Owner::User, &text);
            let _ = parse(Owner::Project, &text);
        }
    }
}

#[cfg(unix)]
#[test]
fn what_has_no_end_is_not_read_to_it() {
    let place = Place {
        path: "/dev/zero".into(),
        owner: Owner::User,
        named: true,
    };
    let problems = place.read().expect_err("no configuration");
    assert!(problems[0].what.contains("1 MiB"), "{problems:?}");
}
