//! Run Command: a command on many nodes, by the service's own engine.

use aws_sdk_ssm::types;

use super::Aws;
use super::error::{Call, Error, Kind};
use super::pages::Pages;

/// Characters of standard output that the service keeps.
pub const KEPT_OUTPUT: usize = 24_000;
/// Characters of standard error that it keeps.
pub const KEPT_ERRORS: usize = 8_000;

/// A command to send.
#[derive(Clone, Debug, Default)]
pub struct SendCommand {
    /// A document of type Command, such as `AWS-RunShellScript`.
    pub document: String,
    /// Its parameters.
    pub parameters: Vec<(String, Vec<String>)>,
    /// Nodes by id.
    pub instance_ids: Vec<String>,
    /// Nodes that have all of these: a key (`tag:NAME`, `resource-groups:Name` …) and its values.
    pub targets: Vec<(String, Vec<String>)>,
    /// So many nodes at once, as a number or a percentage.
    pub max_concurrency: Option<String>,
    /// No further nodes after more failures than this, as a number or a percentage.
    pub max_errors: Option<String>,
    /// Seconds within which a node must begin.
    pub delivery_timeout: Option<i32>,
    /// For the command's history.
    pub comment: Option<String>,
}

/// How far a command is as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandState {
    /// `Pending`, `InProgress`, `Success`, `Failed` …
    pub status: String,
    /// The same in more detail.
    pub details: String,
    /// Nodes that it is for.
    pub targets: i32,
    /// Nodes where it is over.
    pub completed: i32,
}

impl CommandState {
    /// Whether nothing more will happen.
    pub fn is_over(&self) -> bool {
        is_over(&self.status)
    }
}

/// A command on one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// The node.
    pub instance_id: String,
    /// Its name, if the service tells one.
    pub name: Option<String>,
    /// `Pending`, `InProgress`, `Success`, `Failed`, `TimedOut`, `Cancelled` …
    pub status: String,
    /// The same in more detail: `Undeliverable`, `Terminated` …
    pub details: String,
}

impl Invocation {
    /// Whether nothing more will happen there.
    pub fn is_over(&self) -> bool {
        is_over(&self.status)
    }
}

/// What a command did on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandResult {
    /// As in [`Invocation::status`].
    pub status: String,
    /// As in [`Invocation::details`].
    pub details: String,
    /// The exit status; −1 if there is none.
    pub code: i32,
    /// The first [`KEPT_OUTPUT`] characters.
    pub stdout: String,
    /// The first [`KEPT_ERRORS`] characters.
    pub stderr: String,
}

fn is_over(status: &str) -> bool {
    !matches!(
        status,
        "" | "Pending" | "InProgress" | "Delayed" | "Cancelling"
    )
}

impl Aws {
    /// Sends a command; its id.
    pub async fn send_command(&self, request: &SendCommand) -> Result<String, Error> {
        let call = Call {
            what: "cannot send the command",
            action: "ssm:SendCommand",
        };
        let mut send = self
            .ssm()
            .send_command()
            .document_name(&request.document)
            .set_max_concurrency(request.max_concurrency.clone())
            .set_max_errors(request.max_errors.clone())
            .set_timeout_seconds(request.delivery_timeout)
            .set_comment(request.comment.clone());
        for (name, values) in &request.parameters {
            send = send.parameters(name, values.clone());
        }
        for id in &request.instance_ids {
            send = send.instance_ids(id);
        }
        for (key, values) in &request.targets {
            let target = types::Target::builder()
                .key(key)
                .set_values(Some(values.clone()));
            send = send.targets(target.build());
        }
        self.ready(&call).await?;
        let answer = match send.send().await {
            Ok(answer) => answer,
            Err(error) => return Err(self.failure(&call, error).await),
        };
        let id = answer.command.and_then(|command| command.command_id);
        id.filter(|id| !id.is_empty())
            .ok_or_else(|| Error::new(Kind::Other, call.what, "the answer has no CommandId"))
    }

    /// How far a command is; `None` while the service does not know it yet.
    pub async fn command_state(&self, command_id: &str) -> Result<Option<CommandState>, Error> {
        let call = Call {
            what: &format!("cannot ask for the command {command_id}"),
            action: "ssm:ListCommands",
        };
        self.ready(&call).await?;
        let list = self.ssm().list_commands().command_id(command_id);
        let answer = match list.send().await {
            Ok(answer) => answer,
            Err(error) => return Err(self.failure(&call, error).await),
        };
        let command = answer.commands.unwrap_or_default().into_iter().next();
        Ok(command.map(|command| CommandState {
            status: command
                .status
                .map_or_else(String::new, |status| status.as_str().to_owned()),
            details: command.status_details.unwrap_or_default(),
            targets: command.target_count,
            completed: command.completed_count,
        }))
    }

    /// The nodes that a command has come to so far, all pages of them.
    pub async fn command_invocations(&self, command_id: &str) -> Result<Vec<Invocation>, Error> {
        let call = Call {
            what: &format!("cannot ask for the command {command_id}"),
            action: "ssm:ListCommandInvocations",
        };
        let mut invocations = Vec::new();
        let mut pages = Pages::new();
        while !pages.is_over() {
            self.ready(&call).await?;
            let list = self
                .ssm()
                .list_command_invocations()
                .command_id(command_id)
                .max_results(50)
                .set_next_token(pages.token());
            let answer = match list.send().await {
                Ok(answer) => answer,
                Err(error) => return Err(self.failure(&call, error).await),
            };
            for invocation in answer.command_invocations.unwrap_or_default() {
                invocations.push(Invocation {
                    instance_id: invocation.instance_id.unwrap_or_default(),
                    name: invocation.instance_name.filter(|name| !name.is_empty()),
                    status: invocation
                        .status
                        .map_or_else(String::new, |status| status.as_str().to_owned()),
                    details: invocation.status_details.unwrap_or_default(),
                });
            }
            pages.turn(call.what, answer.next_token)?;
        }
        Ok(invocations)
    }

    /// What a command did on a node, once it is over there.
    pub async fn command_result(
        &self,
        command_id: &str,
        instance_id: &str,
    ) -> Result<CommandResult, Error> {
        let call = Call {
            what: &format!("cannot get the output of {instance_id}"),
            action: "ssm:GetCommandInvocation",
        };
        self.ready(&call).await?;
        let get = self
            .ssm()
            .get_command_invocation()
            .command_id(command_id)
            .instance_id(instance_id);
        match get.send().await {
            Ok(answer) => Ok(CommandResult {
                status: answer
                    .status
                    .map_or_else(String::new, |status| status.as_str().to_owned()),
                details: answer.status_details.unwrap_or_default(),
                code: answer.response_code,
                stdout: answer.standard_output_content.unwrap_or_default(),
                stderr: answer.standard_error_content.unwrap_or_default(),
            }),
            Err(error) => Err(self.failure(&call, error).await),
        }
    }

    /// Ends a command on all nodes, as far as agents can.
    pub async fn cancel_command(&self, command_id: &str) -> Result<(), Error> {
        let call = Call {
            what: &format!("cannot cancel the command {command_id}"),
            action: "ssm:CancelCommand",
        };
        self.ready(&call).await?;
        match self
            .ssm()
            .cancel_command()
            .command_id(command_id)
            .send()
            .await
        {
            Ok(_) => Ok(()),
            Err(error) => Err(self.failure(&call, error).await),
        }
    }
}
