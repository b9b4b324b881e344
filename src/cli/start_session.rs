//! `ssmx start-session`: asks the service for a session, and attaches to it.

use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;
use tokio::time::timeout;
use tracing::debug;

use super::global::Global;
use super::liveness::Liveness;
use super::record::Recorder;
use super::report::Failure;
use super::{ecs, input, parameters, port_document, target};
use crate::aws::{self, Aws, SessionGrant, StartSession};
use crate::session::forward::{Given, Listener};
use crate::session::{self, Setup};
use crate::terminal::{self, Ignored, Signals};

/// How long an interrupted start may take to be undone.
const CLEAN_UP: Duration = Duration::from_secs(5);

/// `ssmx start-session`
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    ssmx start-session --target i-…                   a shell; ~? at the start of a line helps\n  \
    ssmx start-session --target i-… --reason 'TICKET-1' --region eu-west-1\n  \
    ssmx start-session --target i-… --document-name AWS-StartInteractiveCommand \\\n      \
    --parameters command='sudo htop'\n  \
    ssmx start-session --target i-… --document-name AWS-StartPortForwardingSession \\\n      \
    --parameters portNumber=80,localPortNumber=8080\n  \
    ssmx start-session --service web                  the newest task of a service of ECS\n\n\
    Exit status: 0 when a shell or a port ends, the command's where the document reports one (type \
    NonInteractiveCommands with separateOutputStream; 255 if a signal ended it). Else 252 usage, 253 \
    configuration or credentials, 254 the service refused, 255 failed or lost. `ssmx exec` has a \
    status on every node.")]
pub struct Args {
    /// Node: id, name, tag:KEY=VALUE, asg:NAME, IP address, DNS name, or ecs:CLUSTER_TASK_RUNTIME;
    /// at a terminal there is a list to pick one from
    #[arg(long)]
    target: Option<String>,
    #[command(flatten)]
    container: ecs::Wanted,
    /// Session document; without one, a shell
    #[arg(long, value_name = "NAME")]
    document_name: Option<String>,
    /// The document's parameters: command="df -h", JSON {"command":["df -h"]}, or file://PATH
    #[arg(long, num_args = 1.., value_name = "NAME=VALUE")]
    parameters: Vec<String>,
    /// Why; goes into the session's history
    #[arg(long)]
    reason: Option<String>,
    /// All of these as JSON (or file://PATH): Target, DocumentName, Reason, Parameters
    #[arg(long, value_name = "JSON")]
    cli_input_json: Option<String>,
    /// End when the session of a forwarded port is over, rather than start another when it is used
    #[arg(long, overrides_with = "restart")]
    no_restart: bool,
    /// Start another session when it is needed (the default)
    #[arg(long, overrides_with = "no_restart", hide = true)]
    restart: bool,
    #[command(flatten)]
    manners: Manners,
}

/// How to behave in a session.
#[derive(Clone, Debug, clap::Args)]
pub struct Manners {
    /// Begins commands to ssmx at the start of a line (~. ends, ~? helps); none switches them off
    #[arg(long, value_name = "CHAR", default_value = "~", value_parser = escape_char)]
    escape_char: Escape,
    #[command(flatten)]
    recorder: Recorder,
    #[command(flatten)]
    liveness: Liveness,
    /// Do not pass on the end of a standard input that is no terminal (as Ctrl-D)
    #[arg(long, overrides_with = "eof")]
    no_eof: bool,
    /// Pass it on (the default)
    #[arg(long, overrides_with = "no_eof", hide = true)]
    eof: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Escape(Option<u8>);

impl Manners {
    /// The same for the session, with the recording open; see `Recorder::open`.
    pub fn options(&self) -> Result<session::Options, Failure> {
        Ok(session::Options {
            escape: self.escape_char.0,
            send_eof: self.eof || !self.no_eof,
            channel: self.liveness.options(),
            recording: self.recorder.open()?,
            ..session::Options::default()
        })
    }
}

/// Runs the subcommand; the exit status.
pub async fn run(global: &Global, args: Args) -> anyhow::Result<u8> {
    let manners = args.manners.clone();
    let restart = args.restart || !args.no_restart;
    let container = args.container.clone();
    let (target, mut request) = request(args)?;
    if !container.is_given() {
        target::check(
            target.as_deref(),
            "give --target i-… (or a name), or Target in --cli-input-json",
        )?;
    } else if target.is_some() {
        return Err(Failure::usage("a target and a container are too much")
            .hint("give either --target, or --cluster, --service or --task")
            .into());
    }
    // A port that cannot be had is no reason to begin a session.
    let listener = match port_document::bind(&request)? {
        Some(bind) => Some(
            Listener::bind(&bind)
                .await
                .map_err(port_document::failure)?,
        ),
        None => None,
    };
    let mut options = manners.options()?;
    options.ignored = port_document::ignored(&request);
    let aws = global.aws().await?;
    let (target, aim) = match container.is_given() {
        true => container.aim(&aws).await?,
        false => global.aim(&aws, target.as_deref()).await?,
    };
    request.target = target;
    options.set_title(&request.target);
    let grant = match start(&aws, &request).await? {
        Started::Session(grant) => grant,
        Started::Signal(number) => return Ok(128 + number),
    };
    run_session(Setup {
        aws,
        grant,
        target: request.target.clone(),
        options,
        forward: Given {
            listener,
            again: restart.then_some(request),
            aim,
        },
    })
    .await
}

/// What became of the wish for a session.
pub(super) enum Started {
    Session(SessionGrant),
    /// This signal came first. If there is a session by now, it is terminated.
    Signal(u8),
}

/// Starts a session. Once it is asked for, signals wait for the answer (a second one does not),
/// lest it be left behind. If access has to be asked for, and may be, that is waited for too.
pub(super) async fn start(aws: &Aws, request: &StartSession) -> anyhow::Result<Started> {
    // This may ask the user, who may answer with Ctrl-C.
    let what = format!("cannot start a session on {}", request.target);
    aws.prepare(&what).await?;
    let ignored = port_document::ignored(request);
    let error = match ask(aws, ignored, aws.start_session(request)).await {
        Ok(started) => return Ok(started),
        Err(error) => error,
    };
    let denied = error.downcast_ref::<aws::Error>();
    if !denied.is_some_and(|error| aws.may_ask_for_access(error)) {
        return Err(error);
    }
    let signals = Signals::install_for(ignored);
    let mut signals = signals.context("cannot listen for signals")?;
    tokio::select! {
        biased;
        number = ending(&mut signals) => return Ok(Started::Signal(number)),
        gained = aws.gain_access(&request.target) => gained?,
    }
    drop(signals);
    ask(aws, ignored, aws.start_session(request)).await
}

/// Waits for a session that is asked for. `ignored`: what becomes of signals that the parent had ignored.
pub(super) async fn ask(
    aws: &Aws,
    ignored: Ignored,
    asked: impl Future<Output = Result<SessionGrant, aws::Error>>,
) -> anyhow::Result<Started> {
    let signals = Signals::install_for(ignored);
    let mut signals = signals.context("cannot listen for signals")?;
    tokio::pin!(asked);
    let first = tokio::select! {
        // A signal that is here already would be lost with `signals`; later ones find those of
        // the session.
        biased;
        number = ending(&mut signals) => number,
        grant = &mut asked => return Ok(Started::Session(grant?)),
    };
    let clean_up = async {
        if let Ok(grant) = asked.await
            && let Err(error) = aws.terminate_session(&grant.session_id).await
        {
            debug!(%error, "the session could not be terminated");
        }
    };
    tokio::select! {
        _ = timeout(CLEAN_UP, clean_up) => {}
        _ = ending(&mut signals) => {}
    }
    Ok(Started::Signal(first))
}

/// The number of the next signal that wants us gone.
async fn ending(signals: &mut Signals) -> u8 {
    loop {
        if let Some(number) = signals.next().await.number() {
            return number;
        }
    }
}

/// Runs a session that was granted, to its end; the exit status. `target` may be empty if it is
/// not known.
pub async fn attach(
    aws: Aws,
    grant: SessionGrant,
    target: String,
    options: session::Options,
) -> anyhow::Result<u8> {
    run_session(Setup {
        aws,
        grant,
        target,
        options,
        forward: Given::default(),
    })
    .await
}

async fn run_session(setup: Setup) -> anyhow::Result<u8> {
    terminal::install_panic_hook();
    Ok(session::run(setup).await?.status())
}

/// The target as it is given, and what else the options say; the command line goes before
/// `--cli-input-json`.
fn request(args: Args) -> Result<(Option<String>, StartSession), Failure> {
    const KEYS: [&str; 4] = ["Target", "DocumentName", "Reason", "Parameters"];
    let mut json = input::json_object(args.cli_input_json.as_deref(), &KEYS)?;
    let mut text = |given: Option<String>, key| {
        let other = input::take_text(&mut json, key)?;
        Ok::<_, Failure>(given.or(other))
    };
    let target = text(args.target, "Target")?;
    let document_name = text(args.document_name, "DocumentName")?;
    let reason = text(args.reason, "Reason")?;
    let parameters = match (args.parameters.is_empty(), json.remove("Parameters")) {
        (false, _) => parameters::parse(&args.parameters)?,
        (true, None | Some(Value::Null)) => Vec::new(),
        (true, Some(Value::Object(object))) => parameters::from_json(object)?,
        (true, Some(_)) => {
            return Err(Failure::usage(
                "--cli-input-json: Parameters must be an object",
            ));
        }
    };
    let request = StartSession {
        target: target.clone().unwrap_or_default(),
        document_name,
        parameters,
        reason,
    };
    Ok((target, request))
}

/// `none`, a character, or `^X` for a control character, as ssh has it.
fn escape_char(text: &str) -> Result<Escape, String> {
    match *text.as_bytes() {
        _ if text == "none" => Ok(Escape(None)),
        [byte] if byte.is_ascii_graphic() => Ok(Escape(Some(byte))),
        [b'^', byte @ b'@'..=b'_'] => Ok(Escape(Some(byte & 0x1f))),
        [b'^', byte @ b'a'..=b'z'] => Ok(Escape(Some(byte & 0x1f))),
        _ => Err("it must be one ASCII character, ^ and a letter, or none".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Cli, Command};
    use super::*;
    use clap::Parser;

    fn args(words: &[&str]) -> Args {
        let cli = Cli::try_parse_from(["ssmx", "start-session"].iter().chain(words));
        match cli.expect("good").command {
            Command::StartSession(args) => args,
            _ => panic!("another subcommand"),
        }
    }

    #[test]
    fn the_command_line_goes_before_json() {
        let json =
            r#"{"Target":"i-json","DocumentName":"D","Reason":"json","Parameters":{"a":["b"]}}"#;
        let (target, all) = request(args(&["--cli-input-json", json])).expect("good");
        assert_eq!(target.as_deref(), Some("i-json"));
        assert_eq!(all.document_name.as_deref(), Some("D"));
        assert_eq!(all.parameters, [("a".to_owned(), vec!["b".to_owned()])]);
        let (target, some) = request(args(&[
            "--target",
            "i-1",
            "--reason",
            "r",
            "--parameters",
            "c=d",
            "e=f",
            "--cli-input-json",
            json,
        ]))
        .expect("good");
        assert_eq!(target.as_deref(), Some("i-1"));
        assert_eq!(some.reason.as_deref(), Some("r"));
        assert_eq!(some.document_name.as_deref(), Some("D"));
        assert_eq!(some.parameters.len(), 2);
        assert_eq!(some.parameters[0].0, "c");
    }

    #[test]
    fn escape_characters() {
        let cases = [
            ("~", Some(Some(b'~'))),
            ("none", Some(None)),
            ("%", Some(Some(b'%'))),
            ("^", Some(Some(b'^'))),
            ("^]", Some(Some(0x1d))),
            ("^a", Some(Some(1))),
            ("", None),
            ("ab", None),
            ("ü", None),
            (" ", None),
        ];
        for (text, expected) in cases {
            let parsed = escape_char(text).ok().map(|escape| escape.0);
            assert_eq!(parsed, expected, "{text:?}");
        }
    }

    #[test]
    fn manners_have_defaults_and_zero_is_never() {
        let options = |words| args(words).manners.options().expect("nothing to open");
        let default = options(&["--target", "i"]);
        assert_eq!(default.escape, Some(b'~'));
        assert_eq!(default.channel.keepalive, Some(Duration::from_secs(30)));
        assert_eq!(default.channel.answer_timeout, Duration::from_secs(60));
        assert!(default.send_eof);
        let other = options(&[
            "--target",
            "i",
            "--keepalive",
            "0",
            "--escape-char",
            "none",
            "--handshake-timeout",
            "5",
        ]);
        assert_eq!(other.channel.keepalive, None);
        assert_eq!(other.escape, None);
        assert_eq!(other.channel.answer_timeout, Duration::from_secs(5));
    }
}
