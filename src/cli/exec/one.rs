//! A command on one node, in a session.

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::time::Duration;

use super::super::global::Global;
use super::super::parameters;
use super::super::report::Failure;
use super::super::start_session::{self, Started};
use super::super::target;
use super::Args;
use crate::aws::StartSession;
use crate::session::exec::{self, powershell, script};
use crate::session::{self, Outcome, forward};
use crate::terminal;

/// Has a shell, or PowerShell, run a command on a terminal.
const INTERACTIVE: &str = "AWS-StartInteractiveCommand";

/// How a command is run.
enum Way {
    /// Its streams apart.
    Streams,
    /// On a terminal that prints this at the end, and the status.
    Terminal(String),
    /// By a document of the user's, which tells the status if it likes.
    Document,
}

/// Runs it; the exit status.
pub async fn run(global: &Global, args: Args) -> anyhow::Result<u8> {
    let target = args.target.as_deref().or(args.target_option.as_deref());
    target::check(
        target,
        "give the node's id (i-…) or name: ssmx exec TARGET -- CMD",
    )?;
    let (way, mut request) = request(&args, is_container(global, target))?;
    let options = session::Options {
        channel: args.liveness.options(),
        mark: match &way {
            Way::Terminal(mark) => Some(mark.clone()),
            _ => None,
        },
        recording: args.recorder.open()?,
        ..session::Options::default()
    };
    let aws = global.aws().await?;
    // Ids take no call.
    let target = global.target(&aws, target).await?;
    request.target.clone_from(&target);
    options.set_title(&target);
    let grant = match start_session::start(&aws, &request).await? {
        Started::Session(grant) => grant,
        Started::Signal(number) => return Ok(128 + number),
    };
    terminal::install_panic_hook();
    if let Way::Streams = way {
        return streams(exec::Setup {
            aws,
            grant,
            target,
            options,
            input: !args.no_stdin,
            timeout: args.timeout.map(|n| Duration::from_secs(n.into())),
        })
        .await;
    }
    let outcome = session::run(session::Setup {
        aws,
        grant,
        target,
        options,
        forward: forward::Given::default(),
    });
    match (outcome.await?, way) {
        (Outcome::Ended { exit_code: None }, Way::Document) => {
            let document = args.document.unwrap_or_default();
            Err(Failure::other(format!(
                "{document} does not tell the command's exit status"
            ))
            .hint("a document with separateOutputStream does; without --document, ssmx sees to it")
            .into())
        }
        (outcome, _) => marked(outcome),
    }
}

/// Whether the target is a container of ECS, however it is called.
pub fn is_container(global: &Global, target: Option<&str>) -> bool {
    let settings = global.settings();
    target.is_some_and(|target| {
        settings.target(target).starts_with("ecs:") || settings.container(target).is_some()
    })
}

/// Runs a command with its streams apart; the exit status.
pub async fn streams(setup: exec::Setup) -> anyhow::Result<u8> {
    match exec::run(setup).await {
        Ok(outcome) => Ok(outcome.status()),
        Err(exec::Failure::Session(failure)) => Err(failure.into()),
        Err(failure @ exec::Failure::NotRun(_)) => Err(Failure::other(failure.to_string())
            .hint("the node needs sh, stty, dd, cat and base64 or od; Windows needs --powershell")
            .into()),
        Err(failure @ exec::Failure::NoStatus) => Err(Failure::other(failure.to_string()).into()),
    }
}

/// The exit status of a command on a terminal that prints a mark.
pub fn marked(outcome: Outcome) -> anyhow::Result<u8> {
    match outcome {
        Outcome::Ended { exit_code: None } => {
            Err(Failure::other("the session ended before the command did").into())
        }
        outcome => Ok(outcome.status()),
    }
}

/// A mark that nothing else prints.
pub fn mark() -> String {
    format!("ssmx-exit-{}:", uuid::Uuid::new_v4().simple())
}

/// Checks that a command is not too long to be asked for.
pub fn check_length(command: &str) -> Result<(), Failure> {
    if command.len() > script::LONGEST {
        return Err(Failure::usage(format!(
            "the command is too long: {} bytes as it is sent, of {} at most",
            command.len(),
            script::LONGEST
        ))
        .hint("give the long part as standard input"));
    }
    Ok(())
}

/// What is asked for, and how it will come.
fn request(args: &Args, in_container: bool) -> Result<(Way, StartSession), Failure> {
    let words = &args.command;
    if args.powershell && args.timeout.is_some() {
        return Err(Failure::usage(
            "--timeout works with --powershell only for --targets",
        ));
    }
    let mut parameters = parameters::parse(&args.parameters)?;
    let mark = mark();
    let (way, command) = match (&args.document, args.powershell, args.tty) {
        (Some(_), ..) => {
            if !args.no_stdin && !has_no_input() {
                return Err(Failure::usage(
                    "NonInteractiveCommands have no standard input, and there is some",
                )
                .hint("give -n, or < /dev/null, if it is not for the command"));
            }
            (Way::Document, script::shell_words(words).quoted())
        }
        (None, true, _) => {
            let command = powershell::marked(words, &mark);
            (Way::Terminal(mark), command)
        }
        (None, false, true) => {
            let command = script::marked(words, &mark);
            (Way::Terminal(mark), command)
        }
        (None, false, false) => {
            let command = script::framed(words, !args.no_stdin);
            (Way::Streams, command)
        }
    };
    let command = match in_container && args.document.is_none() {
        true => script::in_container(&command),
        false => command,
    };
    check_length(&command)?;
    parameters.push(("command".to_owned(), vec![command]));
    let document_name = args.document.clone().unwrap_or(INTERACTIVE.to_owned());
    let request = StartSession {
        target: String::new(),
        document_name: Some(document_name),
        parameters,
        reason: args.reason.clone(),
    };
    Ok((way, request))
}

/// Shells take what begins with a dash for an option.
pub fn check_name(words: &[OsString]) -> Result<(), Failure> {
    let name = words.first().map(|name| name.to_string_lossy());
    match name {
        Some(name) if name.starts_with('-') => {
            Err(Failure::usage(format!("{name} is no name of a program"))
                .hint("write ./NAME or its whole path"))
        }
        _ => Ok(()),
    }
}

/// Whether nobody has put anything into standard input: it is a terminal or the null device.
pub fn has_no_input() -> bool {
    std::io::stdin().is_terminal() || is_null()
}

#[cfg(unix)]
fn is_null() -> bool {
    use std::os::fd::AsFd as _;
    use std::os::unix::fs::MetadataExt as _;
    let Ok(stdin) = std::io::stdin().as_fd().try_clone_to_owned() else {
        // Closed.
        return true;
    };
    let device = std::fs::File::from(stdin).metadata();
    let null = std::fs::metadata("/dev/null");
    matches!((device, null), (Ok(device), Ok(null)) if device.rdev() == null.rdev() && device.rdev() != 0)
}

#[cfg(not(unix))]
fn is_null() -> bool {
    false
}
