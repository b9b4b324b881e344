//! How a session becomes a way to the node's script.

use tracing::debug;

use super::command::Command;
use super::frame::Reply;
use super::link::{Link, heed};
use super::script;
use super::sum::{Kind, Sum};
use super::windows::{self, Greeting, script::Secret};
use super::{CopyFailure, Encoding, Watch};
use crate::aws::{Aws, SessionGrant, StartSession};
use crate::channel;
use crate::protocol::SessionType;
use crate::session::ending::{SessionFailure, printable};
use crate::session::leave::enough;
use crate::session::opening::{Opening, Progress};
use crate::terminal::Signals;

/// The document of an interactive command.
const DOCUMENT: &str = "AWS-StartInteractiveCommand";
/// How to open one.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The channel's.
    pub channel: channel::Options,
    /// How bytes are to pass; `None` finds out.
    pub encoding: Option<Encoding>,
}

/// A session to ask for, and the mark of its answers.
pub struct Asked {
    /// The request.
    pub request: StartSession,
    mark: String,
    /// For a node with Windows.
    secret: Option<Secret>,
}

/// What to ask the service for, to copy from or to `target`, which may be known to have Windows.
pub fn ask(target: String, reason: Option<String>, windows: bool) -> Asked {
    let mark = uuid::Uuid::new_v4().simple().to_string();
    let secret = windows.then(Secret::new);
    let command = match &secret {
        Some(secret) => windows::script::command(&mark, secret),
        // Containers have no Windows; agents in them give the command to no shell.
        None if target.starts_with("ecs:") => script::command(&mark),
        None => windows::script::either(&script::command(&mark), &mark),
    };
    let request = StartSession {
        target,
        document_name: Some(DOCUMENT.to_owned()),
        parameters: vec![("command".to_owned(), vec![command])],
        reason,
    };
    Asked {
        request,
        mark,
        secret,
    }
}

impl Link {
    /// Opens a session that was granted for what was asked.
    ///
    /// # Errors
    ///
    /// Why it cannot be used; the remote side is terminated by then.
    pub async fn open(
        aws: Aws,
        grant: SessionGrant,
        asked: Asked,
        settings: Settings,
        mut watch: Box<dyn Watch>,
    ) -> Result<Self, CopyFailure> {
        let mut signals =
            Signals::install().map_err(SessionFailure::local("cannot listen for signals"))?;
        aws.stop_prompting();
        let target = asked.request.target.clone();
        let channel = settings.channel.clone();
        let mut opening = Opening::begin(aws, grant, target, channel)?;
        let failure = loop {
            tokio::select! {
                signal = signals.next() => if let Some(number) = heed(signal) {
                    break CopyFailure::Signal(number);
                },
                progress = opening.next() => match progress {
                    Progress::Quiet(text) => watch.notice(&format!("{text} (Ctrl-C gives up)")),
                    Progress::Started(kind, features) => {
                        let opened = opening.finish(kind.clone(), features);
                        for message in &opened.messages {
                            watch.notice(&printable(message));
                        }
                        let mut link = Self::new(opened, signals, watch, &asked.mark);
                        let met = match kind {
                            SessionType::InteractiveCommands | SessionType::StandardStream => {
                                link.meet(asked, settings).await
                            }
                            _ => Err(CopyFailure::NoShell(String::new())),
                        };
                        return match met {
                            Ok(()) => Ok(link),
                            Err(failure) => {
                                link.close(false).await;
                                Err(failure)
                            }
                        };
                    }
                    Progress::Over(end) => {
                        if !end.wants_termination() {
                            return Err(SessionFailure::of(end).into());
                        }
                        break SessionFailure::of(end).into();
                    }
                },
            }
        };
        tokio::select! {
            () = opening.terminate() => {}
            () = enough(&mut signals) => {}
        }
        Err(failure)
    }

    /// Waits for what runs the command, and makes it serve us.
    async fn meet(&mut self, asked: Asked, settings: Settings) -> Result<(), CopyFailure> {
        let greeting = self.ready().await?;
        match (greeting, asked.secret) {
            (None, None) => self.try_out(settings.encoding).await,
            (Some(Greeting::Port(port)), Some(secret)) => {
                let StartSession { target, reason, .. } = asked.request;
                self.connect(target, port, &secret, reason, settings.channel)
                    .await
            }
            (Some(Greeting::Windows), _) => Err(CopyFailure::Windows),
            (Some(Greeting::Limited), _) => Err(CopyFailure::Limited),
            (None | Some(Greeting::Port(_)), _) => {
                Err(CopyFailure::Garbled("it is of another program"))
            }
        }
    }

    /// Sends the script, and tries what passes.
    async fn try_out(&mut self, encoding: Option<Encoding>) -> Result<(), CopyFailure> {
        self.push(script::script().into());
        let all: Vec<u8> = (0..=255).collect();
        // Should bytes be swallowed, these are taken for them; as commands they are none.
        let padding = [b'\n'; 300];
        let body = [all.as_slice(), &padding].concat();
        let reply = self.call(Command::Try(&all), Some(body.into())).await?;
        let Reply::Data(answer) = reply else {
            return Err(CopyFailure::Garbled("it cannot start"));
        };
        let at = answer.iter().rposition(|&byte| byte == b'\n');
        let answer = answer.get(..at.unwrap_or_default()).unwrap_or_default();
        let words: Vec<&[u8]> = answer.rsplitn(6, |&byte| byte == b' ').collect();
        let [_umask, base64, sums, exact, sum, back] = words[..] else {
            return Err(CopyFailure::Garbled("it does not say what it can do"));
        };
        debug!(
            exact = %String::from_utf8_lossy(exact),
            sums = %String::from_utf8_lossy(sums),
            base64 = %String::from_utf8_lossy(base64),
            "the node's programs"
        );
        self.sums = match sums {
            b"sha256" => Kind::Sha256,
            b"cksum" => Kind::Cksum,
            _ => return Err(CopyFailure::Lacks("sha256sum, shasum, openssl or cksum")),
        };
        let mut expected = Sum::new(self.sums);
        expected.update(&all);
        let choose = |passes| {
            encoding.unwrap_or(if passes {
                Encoding::Raw
            } else {
                Encoding::Base64
            })
        };
        self.up = choose(sum == expected.text().as_bytes());
        self.down = choose(back == all);
        debug!(up = ?self.up, down = ?self.down, "how bytes pass");
        if [self.up, self.down].contains(&Encoding::Base64) && base64 != b"base64" {
            return Err(CopyFailure::Lacks("base64 or openssl"));
        }
        Ok(())
    }
}
