//! ssmx as `session-manager-plugin`: the contract with the AWS CLI and all who run the plugin.

#![cfg_attr(not(unix), allow(dead_code, reason = "the sessions run on Unix"))]

#[cfg(unix)]
mod sessions;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use ssmx::aws::{Aws, Options as AwsOptions, SessionGrant, StartSession};
use ssmx::loopback::Loopback;
use ssmx::protocol::version::CLIENT_VERSION;

use crate::support::{Finished, SSMX, clean, run, run_without_input};

/// The variable of newer AWS CLIs.
pub const VARIABLE: &str = "AWS_SSM_START_SESSION_RESPONSE";
/// The version that the vectors were recorded with.
const RECORDED_VERSION: &str = "1.2.677.0";

/// A directory with the binary under its other name.
pub struct Plugin(tempfile::TempDir);

impl Plugin {
    pub fn install() -> Self {
        let plugin = Self(tempfile::tempdir().expect("a temporary directory"));
        link(&plugin.path());
        plugin
    }

    pub fn directory(&self) -> &Path {
        self.0.path()
    }

    pub fn path(&self) -> PathBuf {
        let name = format!("session-manager-plugin{}", std::env::consts::EXE_SUFFIX);
        self.0.path().join(name)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.path());
        clean(&mut command);
        command
    }
}

#[cfg(unix)]
fn link(path: &Path) {
    std::os::unix::fs::symlink(SSMX, path).expect("a link to the binary");
}

#[cfg(not(unix))]
fn link(path: &Path) {
    std::fs::copy(SSMX, path).expect("a copy of the binary");
}

/// A session on the loopback's node, started as the AWS CLI would do before it runs its plugin.
pub fn grant(loopback: &Loopback, document: Option<&str>, command: Option<&str>) -> SessionGrant {
    let mut parameters: Vec<_> = command
        .map(|command| ("command", command))
        .into_iter()
        .collect();
    if document == Some("AWS-StartNonInteractiveCommand") {
        parameters.push(("separateOutputStream", "true"));
    }
    grant_with(loopback, document, &parameters)
}

/// The same with these parameters.
pub fn grant_with(
    loopback: &Loopback,
    document: Option<&str>,
    parameters: &[(&str, &str)],
) -> SessionGrant {
    let environment = loopback.environment().into_iter();
    let options = AwsOptions {
        environment: Some(environment.map(|(k, v)| (k.to_owned(), v)).collect()),
        may_prompt: false,
        ..AwsOptions::default()
    };
    let request = StartSession {
        target: loopback.target().to_owned(),
        document_name: document.map(str::to_owned),
        parameters: parameters
            .iter()
            .map(|(name, value)| ((*name).to_owned(), vec![(*value).to_owned()]))
            .collect(),
        reason: None,
    };
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(async { Aws::load(options).await?.start_session(&request).await })
        .expect("a session")
}

/// The response as `aws ssm start-session` passes it on.
pub fn response(grant: &SessionGrant) -> Value {
    json!({
        "SessionId": grant.session_id,
        "TokenValue": grant.token.reveal(),
        "StreamUrl": grant.stream_url,
    })
}

/// One line of error, perhaps one of advice, and nothing else.
#[track_caller]
pub fn assert_short(stderr: &str) {
    let lines: Vec<&str> = stderr.lines().collect();
    assert!((1..=2).contains(&lines.len()), "{stderr}");
    assert!(lines[0].starts_with("ssmx: error: "), "{stderr}");
    let hints = lines[1..].iter();
    assert!(
        hints
            .into_iter()
            .all(|line| line.starts_with("ssmx: hint: ")),
        "{stderr}"
    );
}

#[test]
fn without_a_session_everything_is_as_recorded() {
    let plugin = Plugin::install();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/cli.json");
    let vectors: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let cases = vectors["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 23);
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let mut command = plugin.command();
        for argument in case["argv"].as_array().unwrap() {
            command.arg(argument.as_str().unwrap());
        }
        for (variable, value) in case["env"].as_object().unwrap() {
            command.env(variable, value.as_str().unwrap());
        }
        let done = run_without_input(command);
        assert_eq!(done.code(), case["exit_code"].as_i64().map(|n| n as i32));
        let expected = case["stdout"].as_str().unwrap();
        match expected.strip_prefix("Cannot perform start session: ") {
            // The reason is that of another JSON parser.
            Some(_) => {
                let reason = done.text();
                let reason = reason.strip_prefix("Cannot perform start session: ");
                let reason = reason.and_then(|reason| reason.strip_suffix('\n'));
                let is_line = |reason: &str| !reason.is_empty() && !reason.contains('\n');
                assert!(reason.is_some_and(is_line), "{name}: {done:?}");
            }
            None => {
                let expected = expected.replace(RECORDED_VERSION, CLIENT_VERSION);
                assert_eq!(done.text(), expected, "{name}");
            }
        }
        match case["stderr"].as_str().unwrap() {
            "empty" => assert_eq!(done.stderr, "", "{name}"),
            // AWS's client crashes; ours says what is wrong.
            "Go panic text" => assert_short(&done.stderr),
            other => panic!("{name}: what is {other:?} on stderr?"),
        }
    }
}

#[test]
fn the_version_is_one_number_that_the_aws_cli_can_compare() {
    let plugin = Plugin::install();
    let mut command = plugin.command();
    let done = run_without_input({
        command.arg("--version");
        // Neither settings nor a home may matter.
        command
            .env_remove("HOME")
            .env("AWS_PROFILE", "no such profile");
        command.env("AWS_CONFIG_FILE", "/dev/null/config");
        command
    });
    assert_eq!(done.text(), "1.2.896.0\n");
    assert_eq!((done.stderr.as_str(), done.code()), ("", Some(0)));
}

#[test]
fn a_copy_under_the_name_is_the_plugin_too() {
    let directory = tempfile::tempdir().unwrap();
    let name = format!("Session-Manager-Plugin{}", std::env::consts::EXE_SUFFIX);
    let path = directory.path().join(name);
    std::fs::copy(SSMX, &path).unwrap();
    let mut command = Command::new(path);
    command.arg("--version");
    assert_eq!(run_without_input(command).text(), "1.2.896.0\n");
}

#[test]
fn the_arguments_make_the_plugin_under_any_name() {
    let start = |arguments: &[&str]| {
        let mut command = Command::new(SSMX);
        clean(&mut command);
        command.args(arguments);
        run_without_input(command)
    };
    let done = start(&["{}", "us-east-1", "Bogus"]);
    assert_eq!(
        (done.text().as_str(), done.code()),
        ("Invalid Operation", Some(0))
    );
    let done = start(&[VARIABLE, "us-east-1", "StartSession", "", "{}", ""]);
    assert!(
        done.text().starts_with("Cannot perform start session: "),
        "{done:?}"
    );
    assert_eq!(done.code(), Some(0));
    // With fewer than three arguments it is no plugin.
    assert_eq!(start(&["{}", "us-east-1"]).code(), Some(252));
}

/// A crash would have another status, and more to say.
#[track_caller]
fn assert_no_crash(done: &Finished, what: &str) {
    assert!(matches!(done.code(), Some(0 | 2)), "{what}: {done:?}");
    for word in ["panicked", "overflow", "RUST_BACKTRACE"] {
        assert!(!done.stderr.contains(word), "{what}: {done:?}");
    }
    assert!(done.stderr.lines().count() <= 2, "{what}: {done:?}");
}

#[test]
fn malformed_arguments_are_no_crash() {
    let plugin = Plugin::install();
    let deep = "{\"a\":".repeat(20_000);
    let long = format!("{{\"SessionId\":\"{}\"}}", "s".repeat(100_000));
    let responses = [
        "null",
        "true",
        "1e999",
        "\"",
        "{\"SessionId\":null}",
        "{\"\\ud800\":1}",
        &deep,
        &long,
        VARIABLE,
        "AWS_SSM_START_SESSION_RESPONSE=",
    ];
    let requests = ["null", "[]", "{\"Target\":1}", "{\"Target\":", &deep];
    let mut cases: Vec<[&str; 6]> = Vec::new();
    for response in responses {
        cases.push([
            response,
            "us-east-1",
            "StartSession",
            "",
            "{\"Target\":\"i-1\"}",
            "",
        ]);
    }
    let good = r#"{"SessionId":"s","TokenValue":"t","StreamUrl":"wss://example.invalid/"}"#;
    for request in requests {
        cases.push([good, "us-east-1", "StartSession", "", request, ""]);
    }
    for case in cases {
        let mut command = plugin.command();
        command.args(case);
        let short: String = case.concat().chars().take(60).collect();
        assert_no_crash(&run_without_input(command), &short);
    }
}

#[test]
fn a_variable_whose_name_cannot_be_is_no_crash() {
    // The C library finds this one in `RESPONSE=X=…`, yet nobody can remove it.
    let plugin = Plugin::install();
    let mut command = plugin.command();
    command.env(VARIABLE, r#"X={"SessionId":"s"}"#).args([
        &format!("{VARIABLE}=X"),
        "us-east-1",
        "StartSession",
        "",
        "{\"Target\":\"i-1\"}",
        "",
    ]);
    let done = run_without_input(command);
    assert_no_crash(&done, "a name with =");
    assert!(
        done.text().starts_with("Cannot perform start session: "),
        "{done:?}"
    );
}

#[cfg(unix)]
#[test]
fn bytes_that_are_no_text_are_no_crash() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    let plugin = Plugin::install();
    let odd = OsStr::from_bytes(b"\xff\xfe{");
    let plain = |text: &'static str| OsStr::new(text);
    let variable = OsStr::from_bytes(b"AWS_SSM_START_SESSION_RESPONSE\xff");
    let start = plain("StartSession");
    let cases: [&[&OsStr]; 6] = [
        &[odd],
        &[odd, odd],
        &[odd, odd, odd],
        &[odd, odd, start, odd, odd, odd],
        &[variable, odd, start, odd, odd, odd],
        &[plain("{}"), odd, start, odd, odd, odd],
    ];
    for case in cases {
        let mut command = plugin.command();
        command.args(case).env(variable, odd).env(VARIABLE, odd);
        assert_no_crash(&run_without_input(command), &format!("{case:?}"));
    }
    let mut command = plugin.command();
    command
        .env(VARIABLE, odd)
        .args([VARIABLE, "r", "StartSession", "", "{\"Target\":\"i\"}", ""]);
    let done = run_without_input(command);
    assert_no_crash(&done, "a variable that is no text");
    assert!(
        done.text().starts_with("Cannot perform start session: "),
        "{done:?}"
    );
}

#[test]
fn input_is_left_alone_where_there_is_no_session() {
    let plugin = Plugin::install();
    let mut command = plugin.command();
    command.arg("--version");
    assert_eq!(run(command, b"not for us\n").text(), "1.2.896.0\n");
}

#[test]
fn settings_that_cannot_work_are_told_in_a_line() {
    let good = r#"{"SessionId":"s","TokenValue":"t0ken","StreamUrl":"wss://example.invalid/"}"#;
    let plugin = Plugin::install();
    for (region, profile, endpoint, word) in [
        ("us-east-1", "nobody", "", "nobody"),
        ("../..", "", "", "region"),
        ("us-east-1", "", "ftp://example.invalid", "endpoint"),
    ] {
        for in_variable in [true, false] {
            let mut command = plugin.command();
            let first = if in_variable { VARIABLE } else { good };
            command.args([
                first,
                region,
                "StartSession",
                profile,
                "{\"Target\":\"i-1\"}",
                endpoint,
            ]);
            command.env(VARIABLE, good);
            let done = run_without_input(command);
            assert_short(&done.stderr);
            assert!(done.stderr.contains(word), "{done:?}");
            assert!(!done.stderr.contains("t0ken"), "{done:?}");
            // Any other status would make the AWS CLI print the arguments, the token among them.
            assert_eq!(
                done.code(),
                Some(if in_variable { 255 } else { 0 }),
                "{done:?}"
            );
        }
    }
}
