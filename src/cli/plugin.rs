//! ssmx as `session-manager-plugin`, under the AWS CLI and whatever else runs that program.
//!
//! The contract is AWS's: argument positions, texts on stdout, exit status 0 nearly always (the
//! AWS CLI answers any other by printing the whole command line, which may hold the token).

use std::ffi::OsString;
use std::io::Write as _;

use serde_json::{Map, Value};

use super::{log, report};
use crate::aws::{self, Aws, SessionGrant};
use crate::channel;
use crate::protocol::payload::find;
use crate::protocol::version::CLIENT_VERSION;
use crate::session::forward::Given;
use crate::session::{self, Options, Outcome, SessionFailure, Setup, Style};
use crate::terminal;

/// The prefix of the names of environment variables that may hold the response.
pub const RESPONSE_VARIABLE: &str = "AWS_SSM_START_SESSION_RESPONSE";
/// The one operation there is.
pub const OPERATION: &str = "StartSession";
/// Set to `remote`, it passes on the exit status of the remote command.
const EXIT_CODE_VARIABLE: &str = "SSMX_EXIT_CODE";
/// What agents are told when the caller did not say what the target is.
const NO_DATA_KEYS: &str = "Installed version of CLI does not support Session Manager encryption \
     feature. Please upgrade to the latest version of your CLI (e.g., AWS CLI).";

/// The status with which the official plugin crashes on what it cannot use.
const CRASH: u8 = 2;
const FAILURE: u8 = 255;

/// Everything that the arguments say.
struct Request {
    grant: SessionGrant,
    region: String,
    profile: String,
    /// `None` in the form of old CLIs, which rules out encryption.
    target: Option<String>,
    /// Whether the caller asked for a document, which may be one that uses stdout for data.
    names_document: bool,
    endpoint: String,
    /// Any status but 0 would make the AWS CLI print the token.
    token_in_arguments: bool,
}

/// Runs the plugin with the arguments behind the program's name; the exit status.
///
/// Must be called before any thread is started: it takes the response out of the environment.
pub fn main(arguments: Vec<OsString>) -> u8 {
    let arguments: Vec<String> = arguments
        .into_iter()
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => print(
            "\nThe Session Manager plugin was installed successfully. \
             Use the AWS CLI to start a session.\n\n",
        ),
        ["--version"] => print(&format!("{CLIENT_VERSION}\n")),
        [operation] | [operation, _] => print(&format!(
            "\nUnknown operation {operation}. \n\
             Use session-manager-plugin --version to check the version.\n\n"
        )),
        [_, _, operation, ..] if *operation != OPERATION => print("Invalid Operation"),
        _ => start(&words),
    }
}

fn start(words: &[&str]) -> u8 {
    let argument = |index: usize| words.get(index).copied().unwrap_or_default();
    let (response, token_in_arguments) = match argument(0) {
        name if name.starts_with(RESPONSE_VARIABLE) => (take_variable(name), false),
        text => (text.to_owned(), true),
    };
    let grant = match parse_response(&response) {
        Ok(Some(grant)) => grant,
        Ok(None) => {
            report::error(
                "the StartSession response lacks SessionId, TokenValue or StreamUrl",
                Some("run the plugin through `aws ssm start-session`, or use `ssmx start-session`"),
            );
            return CRASH;
        }
        Err(reason) => return print(&format!("Cannot perform start session: {reason}\n")),
    };
    let (target, names_document) = match words.get(4) {
        None => (None, false),
        Some(request) => match parse_request(request) {
            Some((target, names_document)) => (Some(target), names_document),
            None => {
                report::error(
                    "the StartSession request (fifth argument) is no JSON object with a Target",
                    Some("pass the request that was sent, such as {\"Target\":\"i-…\"}"),
                );
                return CRASH;
            }
        },
    };
    run(Request {
        grant,
        region: argument(1).to_owned(),
        profile: argument(3).to_owned(),
        target,
        names_document,
        endpoint: argument(5).to_owned(),
        token_in_arguments,
    })
}

fn run(request: Request) -> u8 {
    let pass_on = std::env::var(EXIT_CODE_VARIABLE).is_ok_and(|value| value == "remote");
    let token_in_arguments = request.token_in_arguments;
    terminal::install_panic_hook();
    if let Err(error) = log::start(false, terminal::color_allowed()) {
        report::anyhow(&error);
    }
    let outcome = report::runtime().and_then(|runtime| {
        let outcome = runtime.block_on(attach(request));
        // A name look-up that nobody awaits any more must not hold up the end.
        runtime.shutdown_background();
        outcome
    });
    let status = match outcome {
        Ok(Outcome::Ended { .. }) if !pass_on => 0,
        Ok(outcome) => outcome.status(),
        Err(error) => {
            report::anyhow(&error);
            FAILURE
        }
    };
    if token_in_arguments && !pass_on {
        0
    } else {
        status
    }
}

async fn attach(request: Request) -> anyhow::Result<Outcome> {
    let target = request.target.clone().unwrap_or_default();
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let aws = Aws::load(aws::Options {
        profile: some(&request.profile),
        region: some(&request.region),
        endpoint_url: some(&request.endpoint)
            .and_then(|endpoint| aws::ssm_endpoint_for(&target, &endpoint)),
        // The caller has asked already; its answer is in the cache of the AWS CLI.
        may_prompt: false,
        ..aws::Options::default()
    })
    .await?;
    let outcome = session::run(Setup {
        aws,
        grant: request.grant,
        target,
        forward: Given::default(),
        options: Options {
            style: Style::Plugin,
            hold_announcement: request.names_document,
            channel: channel::Options {
                no_data_keys: request.target.is_none().then(|| NO_DATA_KEYS.to_owned()),
                ..channel::Options::default()
            },
            ..Options::default()
        },
    })
    .await;
    outcome.map_err(|failure: SessionFailure| failure.into())
}

/// The session in a StartSession response; `None` if one of its parts is missing.
fn parse_response(text: &str) -> Result<Option<SessionGrant>, String> {
    let map = match serde_json::from_str(text) {
        Ok(Value::Object(map)) => map,
        Ok(Value::Null) => Map::new(),
        Ok(_) => return Err("the StartSession response is not a JSON object".into()),
        Err(error) if error.is_eof() => return Err("unexpected end of JSON input".into()),
        // What serde says beyond the place may quote the text, and the token with it.
        Err(error) => {
            return Err(format!(
                "the StartSession response is not JSON (line {}, column {})",
                error.line(),
                error.column()
            ));
        }
    };
    let string = |key: &str| match find(&map, key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(format!(
            "{key} in the StartSession response is not a string"
        )),
    };
    let parts = (
        string("SessionId")?,
        string("TokenValue")?,
        string("StreamUrl")?,
    );
    Ok(match parts {
        (Some(session_id), Some(token), Some(stream_url)) => {
            Some(SessionGrant::new(session_id, token, stream_url))
        }
        _ => None,
    })
}

/// The target of a StartSession request, and whether it names a document.
fn parse_request(request: &str) -> Option<(String, bool)> {
    let Ok(Value::Object(map)) = serde_json::from_str(request) else {
        return None;
    };
    let Some(Value::String(target)) = find(&map, "Target") else {
        return None;
    };
    let document = find(&map, "DocumentName").and_then(Value::as_str);
    let names_document = document.is_some_and(|name| !name.is_empty());
    Some((target.clone(), names_document))
}

/// Takes a variable out of the environment, so that no child of ours inherits the token.
fn take_variable(name: &str) -> String {
    // No variable can have such a name, yet looking for `A=B` finds `A` if its value begins so;
    // removing it would panic.
    if name.contains('=') {
        return String::new();
    }
    let Ok(value) = std::env::var(name) else {
        return String::new();
    };
    #[expect(
        unsafe_code,
        reason = "no other thread exists yet that could read the environment"
    )]
    // SAFETY: see the reason above; `main` says so to its callers.
    unsafe {
        std::env::remove_var(name);
    }
    value
}

/// Prints to stdout; a reader that went away is none of our concern.
fn print(text: &str) -> u8 {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
    0
}
