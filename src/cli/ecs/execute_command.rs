//! `ssmx execute-command`: `aws ecs execute-command` without the AWS CLI.

use serde_json::Value;

use super::super::global::Global;
use super::super::input;
use super::super::report::Failure;
use super::super::start_session::{self, Manners, Started};
use super::Wanted;
use crate::terminal::Ignored;

/// `ssmx execute-command`
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    ssmx execute-command --cluster shop --task 0123456789abcdef0123456789abcdef \\\n      \
    --container app --interactive --command /bin/sh\n\n\
    The options are those of `aws ecs execute-command`, but for --endpoint-url, which is that of \
    SSM here (AWS_ENDPOINT_URL_ECS is that of ECS). ECS does not tell the status of the command: \
    this exits with 0 when its session ends. `ssmx ecs exec` finds out, and finds tasks by their \
    service.")]
pub struct Args {
    /// ECS cluster, by name or ARN [default: the one named default]
    #[arg(long, value_name = "CLUSTER")]
    cluster: Option<String>,
    /// ECS task, by id or ARN
    #[arg(long, value_name = "TASK", required_unless_present = "cli_input_json")]
    task: Option<String>,
    /// Container of the task; may be left out if sessions can be had in only one
    #[arg(long, value_name = "NAME")]
    container: Option<String>,
    /// The command, which the agent in the container takes apart at blanks and quotes
    #[arg(
        long,
        value_name = "COMMAND",
        required_unless_present = "cli_input_json"
    )]
    command: Option<String>,
    /// Run it on a terminal (the default, and all that ECS can do)
    #[arg(long, overrides_with = "non_interactive")]
    interactive: bool,
    /// Run it without one, if ECS should ever do that
    #[arg(long, overrides_with = "interactive")]
    non_interactive: bool,
    /// All of these as JSON (or file://PATH): cluster, task, container, command, interactive
    #[arg(long, value_name = "JSON")]
    cli_input_json: Option<String>,
    #[command(flatten)]
    manners: Manners,
}

/// What the options say.
struct Request {
    wanted: Wanted,
    command: String,
    interactive: bool,
}

/// Runs the subcommand; the exit status.
pub async fn run(global: &Global, args: Args) -> anyhow::Result<u8> {
    let options = args.manners.options()?;
    let Request {
        wanted,
        command,
        interactive,
    } = request(args)?;
    let aws = global.aws().await?;
    let found = wanted.find(&aws).await?;
    options.set_title(&found.target);
    let asked = aws.execute_command(&found.task, &found.container, &command, interactive);
    let grant = match start_session::ask(&aws, Ignored::Heeded, asked).await? {
        Started::Session(grant) => grant,
        Started::Signal(number) => return Ok(128 + number),
    };
    start_session::attach(aws, grant, found.target, options).await
}

fn request(args: Args) -> Result<Request, Failure> {
    const KEYS: [&str; 5] = ["cluster", "task", "container", "command", "interactive"];
    let mut json = input::json_object(args.cli_input_json.as_deref(), &KEYS)?;
    let mut text = |given: Option<String>, key| {
        let other = input::take_text(&mut json, key)?;
        Ok::<_, Failure>(given.or(other).filter(|text| !text.is_empty()))
    };
    let cluster = text(args.cluster, "cluster")?;
    let task = text(args.task, "task")?;
    let container = text(args.container, "container")?;
    let command = text(args.command, "command")?;
    let interactive = match (
        args.interactive,
        args.non_interactive,
        json.get("interactive"),
    ) {
        (true, ..) => true,
        (_, true, _) => false,
        (.., None | Some(Value::Null)) => true,
        (.., Some(Value::Bool(interactive))) => *interactive,
        (.., Some(_)) => {
            return Err(Failure::usage(
                "--cli-input-json: interactive must be true or false",
            ));
        }
    };
    let missing = |name: &str| {
        Failure::usage(format!("no {name}"))
            .hint(format!("give --{name}, or {name} in --cli-input-json"))
    };
    Ok(Request {
        wanted: Wanted {
            // The AWS CLI looks for no others.
            cluster: match task.as_deref() {
                Some(task) if !task.starts_with("arn:") => {
                    Some(cluster.unwrap_or_else(|| "default".to_owned()))
                }
                _ => cluster,
            },
            service: None,
            task: Some(task.ok_or_else(|| missing("task"))?),
            container,
        },
        command: command.ok_or_else(|| missing("command"))?,
        interactive,
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::{Cli, Command};
    use super::*;
    use clap::Parser;

    fn read(words: &[&str]) -> Request {
        let cli = Cli::try_parse_from(["ssmx", "execute-command"].iter().chain(words));
        match cli.expect("good").command {
            Command::EcsExec(args) => request(args).expect("good"),
            _ => panic!("another subcommand"),
        }
    }

    #[test]
    fn the_command_line_goes_before_json() {
        let json =
            r#"{"cluster":"c","task":"t","container":"n","command":"ls","interactive":false}"#;
        let all = read(&["--cli-input-json", json]);
        assert_eq!(all.wanted.cluster.as_deref(), Some("c"));
        assert_eq!(all.wanted.container.as_deref(), Some("n"));
        assert_eq!((all.command.as_str(), all.interactive), ("ls", false));
        let some = read(&["--task", "u", "--interactive", "--cli-input-json", json]);
        assert_eq!(some.wanted.task.as_deref(), Some("u"));
        assert!(some.interactive);
    }

    #[test]
    fn the_cluster_is_default_as_in_the_aws_cli() {
        let bare = read(&["--task", "t", "--command", "ls"]);
        assert_eq!(bare.wanted.cluster.as_deref(), Some("default"));
        assert!(bare.interactive);
        let arn = "arn:aws:ecs:us-east-1:1:task/shop/t";
        assert_eq!(
            read(&["--task", arn, "--command", "ls"]).wanted.cluster,
            None
        );
        assert!(Cli::try_parse_from(["ssmx", "execute-command", "--task", "t"]).is_err());
    }
}
