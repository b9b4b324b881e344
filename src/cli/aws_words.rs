//! Words of the AWS CLI: those that mean the same here, and what to do in place of the others.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Services, and those of their commands that are here, too.
const COMMANDS: [(&str, &[&str]); 2] = [
    (
        "ssm",
        &[
            "start-session",
            "resume-session",
            "terminate-session",
            "describe-sessions",
            "get-connection-status",
        ],
    ),
    ("ecs", &["execute-command"]),
];

/// `ssmx ssm start-session` is `ssmx start-session`: for lines made of `aws ssm start-session`.
pub(super) fn arrange(mut args: Vec<OsString>) -> Vec<OsString> {
    let is_command = |words: &[OsString]| {
        let [service, command] = words else {
            return false;
        };
        let named = COMMANDS.iter().find(|(name, _)| service == name);
        named.is_some_and(|(_, commands)| commands.iter().any(|name| command == name))
    };
    if !args.windows(2).any(is_command) {
        return args;
    }
    let definition = super::definition();
    let takes_value = |name: &str| {
        let mut options = definition.get_arguments();
        let option = options.find(|option| option.get_long() == Some(name));
        option.is_some_and(|option| option.get_action().takes_values())
    };
    if let Some(at) = super::ssh::subcommand(&args, takes_value)
        && args.get(at..at + 2).is_some_and(is_command)
    {
        args.remove(at);
    }
    args
}

/// What to do instead, if clap's error is about a word of the AWS CLI that is not here.
pub(super) fn instead(error: &clap::Error) -> Option<&'static str> {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(word)) => Some(word.as_str()),
        _ => None,
    };
    Some(match error.kind() {
        ErrorKind::UnknownArgument => match context(ContextKind::InvalidArg)? {
            "--query" => "give --output json to a program such as jq: there is no --query",
            "--generate-cli-skeleton" => {
                "--cli-input-json takes the parameters of the API by their names, as the AWS CLI's \
                 does, where it is taken"
            }
            "--cli-input-json" | "--cli-input-yaml" => {
                "give what is in it as options; start-session and execute-command take \
                 --cli-input-json"
            }
            "--no-sign-request" => "leave it out: the service takes signed requests only",
            "--no-paginate" | "--page-size" | "--max-items" | "--starting-token" => {
                "leave it out: there are no pages here"
            }
            "--cli-auto-prompt" => {
                "leave it out: at a terminal, nodes and tasks that are not named are picked from a \
                 list"
            }
            "--cli-error-format" => "leave it out: errors are one line on stderr",
            "--v2-debug" => "--debug tells what is done",
            _ => return None,
        },
        ErrorKind::InvalidValue if context(ContextKind::InvalidArg)?.starts_with("--output ") => {
            match context(ContextKind::InvalidValue)? {
                "yaml" | "yaml-stream" => "JSON is YAML: --output json",
                "off" => "lead standard output to /dev/null",
                _ => return None,
            }
        }
        ErrorKind::InvalidSubcommand => match context(ContextKind::InvalidSubcommand)? {
            "ssm" | "aws" => "give the command without it; `ssmx --help` lists the commands",
            "send-command" => "`ssmx exec --targets NODES -- CMD` runs commands by Run Command",
            _ => return None,
        },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn arranged(line: &str) -> String {
        let args = line.split(' ').map(OsString::from).collect();
        let args = arrange(args);
        let words: Vec<_> = args.iter().map(|word| word.to_string_lossy()).collect();
        words.join(" ")
    }

    #[test]
    fn the_service_may_stand_before_its_command() {
        let cases = [
            (
                "ssmx ssm start-session --target i-1",
                "ssmx start-session --target i-1",
            ),
            (
                "ssmx --debug --region r ssm describe-sessions",
                "ssmx --debug --region r describe-sessions",
            ),
            (
                "ssmx ecs execute-command --task t",
                "ssmx execute-command --task t",
            ),
        ];
        for (line, expected) in cases {
            assert_eq!(arranged(line), expected);
        }
        for line in [
            "ssmx exec i-1 -- aws ssm start-session",
            "ssmx --profile ssm start-session",
            "ssmx ecs exec -- ssm start-session",
            "ssmx ssm send-command",
            "ssmx ssm",
        ] {
            assert_eq!(arranged(line), line);
        }
    }

    #[test]
    fn what_is_not_here_is_told_what_to_do_about() {
        let lines = [
            "describe-sessions --query x",
            "start-session --generate-cli-skeleton",
            "terminate-session --cli-input-json {}",
            "start-session --cli-input-yaml x",
            "start-session --no-sign-request",
            "start-session --no-paginate",
            "start-session --cli-auto-prompt",
            "get-connection-status --output yaml",
            "get-connection-status --output off",
            "ssm send-command",
            "send-command",
        ];
        for line in lines {
            let words = ["ssmx"].into_iter().chain(line.split(' '));
            let error = super::super::Cli::try_parse_from(words).expect_err("not here");
            assert!(instead(&error).is_some(), "{line}: {error}");
        }
        let words = ["ssmx", "start-session", "--tarket", "i-1"];
        let error = super::super::Cli::try_parse_from(words).expect_err("a slip");
        assert_eq!(instead(&error), None);
    }
}
