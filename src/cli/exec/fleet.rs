//! A command on many nodes, by Run Command: the service runs it, we ask how it goes.

use std::ffi::OsString;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;
use tokio::time::sleep;
use tracing::debug;

use super::super::global::Global;
use super::super::output;
use super::super::report::Failure;
use super::Args;
use super::results::{NodeResult, Printer, status_of};
use super::targets::Targets;
use crate::aws::{self, Aws, CommandResult, Invocation, SendCommand};
use crate::session::exec::{powershell, script};
use crate::terminal::{self, Signals};

/// Between two questions: at first, and without news.
const SOON: Duration = Duration::from_millis(500);
const LATER: Duration = Duration::from_secs(5);
/// Questions in a row that may fail for reasons that pass.
const FAILURES: u32 = 10;
/// Questions without news after which a command that is over has no more to tell.
const SETTLED: u32 = 3;
/// How long a cancelled command may take to be over everywhere.
const CANCELLING: Duration = Duration::from_secs(30);
/// The shortest time that the service gives nodes to begin, in seconds.
const DELIVERY: u32 = 30;
/// Characters that the comment of a command may have.
const COMMENT: usize = 100;

/// Runs it; the exit status: 0 if it succeeded on all nodes, else 1.
pub async fn run(global: &Global, args: &Args) -> anyhow::Result<u8> {
    let named = args.targets.iter();
    let mut targets = Targets::parse(named.map(|text| global.settings().target(text)))?;
    let mut request = request(args)?;
    let aws = global.aws().await?;
    aws.prepare("cannot send the command").await?;
    targets.find(global, &aws).await?;
    request.instance_ids.clone_from(&targets.ids);
    request.targets = targets.keys;
    let mut signals = Signals::install().context("cannot listen for signals")?;
    let id = aws.send_command(&request).await.map_err(refused)?;
    debug!(command = id, "sent");
    let printer = Printer::new(global.wants_json());
    let mut watch = Watch {
        aws: &aws,
        id: &id,
        expected: targets.ids.len(),
        results: Vec::new(),
        printer,
        failures: 0,
        settled: 0,
    };
    let mut first = None;
    let mut patience = None;
    let mut pause = SOON;
    loop {
        tokio::select! {
            () = sleep(pause) => {}
            number = super::super::child::ending(&mut signals) => {
                if let Some(first) = first {
                    return Ok(128 + first);
                }
                first = Some(number);
                terminal::notice("cancelling the command (once more leaves at once)");
                if let Err(error) = aws.cancel_command(&id).await {
                    terminal::notice(&error.to_string());
                }
                patience = Some(tokio::time::Instant::now() + CANCELLING);
                pause = SOON;
            }
        }
        match watch.ask().await? {
            News::Over => break,
            News::Some => pause = SOON,
            News::None => pause = (pause * 3 / 2).min(LATER),
            News::NobodyReads => {
                // As a program that SIGPIPE ends.
                drop(aws.cancel_command(&id).await);
                return Ok(128 + 13);
            }
        }
        if patience.is_some_and(|at| at <= tokio::time::Instant::now()) {
            terminal::notice("the command is not over everywhere yet");
            break;
        }
    }
    if watch.results.is_empty() && first.is_none() {
        return Err(Failure::other("no managed node has these tags")
            .hint("tag:KEY=VALUE compares exactly; the region is that of the call")
            .into());
    }
    let results = watch.results;
    if global.wants_json() {
        let list: Vec<_> = results.iter().map(NodeResult::to_json).collect();
        let failed = results.iter().any(|result| !result.succeeded());
        output::json(&json!({
            "CommandId": id,
            "Status": if failed { "Failed" } else { "Success" },
            "Invocations": list,
        }))?;
    } else {
        let rows: Vec<Vec<String>> = results.iter().map(NodeResult::row).collect();
        let table = output::table(&["TARGET", "NAME", "STATUS", "EXIT"], &rows);
        super::results::summary(&table);
    }
    Ok(first.map_or(status_of(&results), |number| 128 + number))
}

/// What there was to be told.
enum News {
    None,
    Some,
    Over,
    NobodyReads,
}

/// A command that was sent.
struct Watch<'a> {
    aws: &'a Aws,
    id: &'a str,
    /// How many nodes there will be, if that is known.
    expected: usize,
    /// Of nodes where it is over.
    results: Vec<NodeResult>,
    printer: Printer,
    failures: u32,
    settled: u32,
}

impl Watch<'_> {
    /// Asks once, and tells what is new.
    async fn ask(&mut self) -> anyhow::Result<News> {
        match self.try_ask().await {
            Ok(news) => {
                self.failures = 0;
                Ok(news)
            }
            Err(Problem::Aws(error)) if error.is_transient() && self.failures < FAILURES => {
                self.failures += 1;
                debug!(%error, "asking again");
                Ok(News::None)
            }
            Err(Problem::Aws(error)) => {
                Err(anyhow::Error::from(error).context(format!("the command {} goes on", self.id)))
            }
            Err(Problem::Output(failure)) => Err(failure.into()),
        }
    }

    async fn try_ask(&mut self) -> Result<News, Problem> {
        let invocations = self.aws.command_invocations(self.id).await?;
        let known = |results: &[NodeResult], one: &Invocation| {
            results.iter().any(|result| result.id == one.instance_id)
        };
        let running = invocations.iter().filter(|one| !one.is_over()).count();
        let mut news = News::None;
        for one in invocations {
            if !one.is_over() || known(&self.results, &one) {
                continue;
            }
            let result = self.result(one).await?;
            if !self.printer.print(&result)? {
                return Ok(News::NobodyReads);
            }
            self.results.push(result);
            news = News::Some;
        }
        if running > 0 {
            return Ok(news);
        }
        if self.expected > 0 && self.results.len() >= self.expected {
            return Ok(News::Over);
        }
        let Some(state) = self.aws.command_state(self.id).await? else {
            return Ok(news);
        };
        let all = usize::try_from(state.targets).unwrap_or_default();
        if !state.is_over() || matches!(news, News::Some) && self.results.len() < all {
            return Ok(news);
        }
        // Nodes that the service did not get to may never be listed.
        self.settled += 1;
        Ok(match self.results.len() >= all || self.settled >= SETTLED {
            true => News::Over,
            false => News::None,
        })
    }

    async fn result(&self, one: Invocation) -> Result<NodeResult, aws::Error> {
        let outcome = match self.aws.command_result(self.id, &one.instance_id).await {
            Ok(outcome) => outcome,
            // It never got there.
            Err(error) if error.code() == Some("InvocationDoesNotExist") => CommandResult {
                status: one.status,
                details: one.details,
                code: -1,
                stdout: String::new(),
                stderr: String::new(),
            },
            Err(error) => return Err(error),
        };
        Ok(NodeResult {
            id: one.instance_id,
            name: one.name,
            outcome,
        })
    }
}

enum Problem {
    Aws(aws::Error),
    Output(Failure),
}

impl From<aws::Error> for Problem {
    fn from(error: aws::Error) -> Self {
        Self::Aws(error)
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        Self::Output(failure)
    }
}

fn refused(error: aws::Error) -> anyhow::Error {
    match error.code() {
        Some("InvalidInstanceId") => Failure {
            what: error.to_string(),
            hint: Some(
                "Run Command takes managed nodes of this region whose agent runs (i-…, mi-…), and \
                 no ECS tasks"
                    .to_owned(),
            ),
            status: super::super::report::aws_status(&error),
        }
        .into(),
        _ => error.into(),
    }
}

/// What is asked for, of nodes that are still to be found.
fn request(args: &Args) -> Result<SendCommand, Failure> {
    let (document, line) = match args.powershell {
        true => ("AWS-RunPowerShellScript", powershell(&args.command)),
        false => (
            "AWS-RunShellScript",
            format!("{}\nexec \"$@\"", script::shell_words(&args.command).set()),
        ),
    };
    if line.len() > script::LONGEST {
        return Err(Failure::usage("the command is too long for Run Command")
            .hint("put the long part where the nodes can fetch it"));
    }
    let mut parameters = vec![(
        "commands".to_owned(),
        line.lines().map(str::to_owned).collect(),
    )];
    if let Some(seconds) = args.timeout {
        parameters.push(("executionTimeout".to_owned(), vec![seconds.to_string()]));
    }
    if args
        .reason
        .as_ref()
        .is_some_and(|text| text.chars().count() > COMMENT)
    {
        return Err(Failure::usage(format!(
            "--comment: Run Command takes {COMMENT} characters"
        )));
    }
    Ok(SendCommand {
        document: document.to_owned(),
        parameters,
        instance_ids: Vec::new(),
        targets: Vec::new(),
        max_concurrency: args.max_concurrency.clone(),
        max_errors: args.max_errors.clone(),
        delivery_timeout: args
            .timeout
            .map(|seconds| i32::try_from(seconds.max(DELIVERY)).unwrap_or(i32::MAX)),
        comment: args.reason.clone(),
    })
}

fn powershell(words: &[OsString]) -> String {
    format!("{}\nexit $code", powershell::call(words))
}
