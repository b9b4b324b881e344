//! A data channel over real sockets, against the embedded peer with faults.

mod losses;
mod refused;
mod resuming;
mod session;

use ssmx::aws::{Aws, Options as AwsOptions, StartSession};
use ssmx::channel::{Channel, End, Event, Options};
use ssmx::loopback::{Loopback, Options as Peer};
use ssmx::protocol::SessionType;
use ssmx::protocol::payload::Size;
use tokio::time::timeout;

use crate::support::DEADLINE;

/// Everything that a channel told until its end.
#[derive(Default)]
struct Told {
    kind: Option<SessionType>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    exit_code: Option<i32>,
    messages: Vec<String>,
    lost: usize,
    resumed: usize,
    incomplete: bool,
}

fn peer() -> Peer {
    Peer {
        paced: false,
        ..Peer::default()
    }
}

async fn aws(loopback: &Loopback) -> Aws {
    let environment = loopback.environment().into_iter();
    Aws::load(AwsOptions {
        environment: Some(environment.map(|(k, v)| (k.to_owned(), v)).collect()),
        may_prompt: false,
        ..AwsOptions::default()
    })
    .await
    .expect("the settings of loopback")
}

async fn open(loopback: &Loopback, document: &str, command: &str, options: Options) -> Channel {
    let aws = aws(loopback).await;
    let mut parameters = Vec::new();
    if !command.is_empty() {
        parameters.push(("command".to_owned(), vec![command.to_owned()]));
    }
    if document == NON_INTERACTIVE {
        parameters.push(("separateOutputStream".to_owned(), vec!["true".to_owned()]));
    }
    let grant = aws
        .start_session(&StartSession {
            target: loopback.target().to_owned(),
            document_name: Some(document.to_owned()).filter(|name| !name.is_empty()),
            parameters,
            reason: None,
        })
        .await
        .expect("a session");
    let channel = Channel::open(aws, grant, loopback.target().to_owned(), options);
    let channel = channel.expect("randomness");
    channel.set_size(Size { cols: 80, rows: 24 });
    channel
}

const SHELL: &str = "";
const INTERACTIVE: &str = "AWS-StartInteractiveCommand";
const NON_INTERACTIVE: &str = "AWS-StartNonInteractiveCommand";

async fn next(channel: &mut Channel) -> Option<Event> {
    timeout(DEADLINE, channel.next())
        .await
        .expect("an event in time")
}

impl Told {
    /// Takes events until `enough`, or until the end, which is returned.
    async fn until(
        &mut self,
        channel: &mut Channel,
        enough: impl Fn(&Self) -> bool,
    ) -> Option<End> {
        while !enough(self) {
            match next(channel).await? {
                Event::Started(kind, _) => self.kind = Some(kind),
                Event::Output(data) => self.stdout.extend_from_slice(&data),
                Event::Stderr(data) => self.stderr.extend_from_slice(&data),
                Event::ExitCode(code, _) => self.exit_code = code,
                Event::CustomerMessage(text) => self.messages.push(text),
                Event::Lost(_) => self.lost += 1,
                Event::Resumed => self.resumed += 1,
                Event::Incomplete => self.incomplete = true,
                Event::End(end) => return Some(end),
                Event::Connected | Event::Hindered(_) | Event::Flag(_) => {}
            }
        }
        None
    }

    async fn until_the_end(&mut self, channel: &mut Channel) -> End {
        self.until(channel, |_| false).await.expect("an end")
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

async fn send(channel: &Channel, data: impl Into<bytes::Bytes>) {
    let sender = channel.sender();
    let permit = timeout(DEADLINE, sender.reserve())
        .await
        .expect("room in time");
    permit.expect("a living channel").send(data.into());
}

/// A shell that is there, and what it has told so far.
async fn started(loopback: &Loopback) -> (Channel, Told) {
    let mut channel = open(loopback, SHELL, "", Options::default()).await;
    let mut told = Told::default();
    let end = told.until(&mut channel, |told| told.kind.is_some()).await;
    assert!(end.is_none(), "{end:?}");
    (channel, told)
}
