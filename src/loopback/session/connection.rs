//! The session's client: how it comes, goes, and is sent off.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

use super::super::agent::{Agent, Config, Encryption};
use super::super::client::{Client, Traffic, traffic};
use super::super::document::Program;
use super::super::fault::Fuse;
use super::super::gateway;
use super::super::record::{Control, Injection, Status};
use super::super::state::{random, wall_clock, wall_millis};
use super::{Farewell, Session, frame, now, until};
use crate::protocol::message::MessageType;
use crate::protocol::payload::ChannelClosed;

/// The KMS key of encrypted sessions.
const KEY: &str = "alias/loopback";
/// How long a client may take to leave once its session is over.
const FAREWELL: Duration = Duration::from_secs(5);

impl Session {
    pub(super) fn handle_traffic(&mut self, traffic: Traffic) {
        match traffic {
            Traffic::Moved { pings } => self.counters.pings += pings,
            Traffic::Lost => {
                // What came before the loss has come.
                while self.feed_agent(now()) {}
                self.detach();
            }
            Traffic::Doomed => {
                if let Some(client) = &mut self.client {
                    client.write_torn();
                }
                self.detach();
            }
        }
    }

    pub(super) fn control(&mut self, control: Control) -> Option<Farewell> {
        match control {
            Control::Attach(socket) => self.attach(*socket),
            Control::Terminate => match &mut self.agent {
                None => return Some(Farewell::normal()),
                Some(agent) => {
                    let text = ChannelClosed::default().to_json();
                    let frame = frame(MessageType::CHANNEL_CLOSED, text.into())?;
                    // A dead or waiting reader does not see it; the service ends it all the same.
                    let _ = agent.handle_frame(now(), frame);
                    return Some(Farewell::normal());
                }
            },
            Control::End(output) => return Some(Farewell::of_service(output)),
            Control::InjectOutput(output) => {
                if let Some(host) = &mut self.host {
                    host.inject(output);
                }
            }
            Control::Cut => {
                if let Some(client) = &self.client {
                    client.reset_on_drop();
                }
                self.detach();
            }
            Control::Close(code, reason) => {
                if let Some(client) = self.client.take() {
                    tokio::spawn(async move { gateway::close(client.socket, code, &reason).await });
                    self.detached();
                }
            }
            Control::Stall(stalled) => {
                if let Some(client) = &mut self.client {
                    client.stalled = stalled;
                }
            }
            Control::Inject(frame) => {
                if let Some(client) = &mut self.client {
                    client.out.push_back(match frame {
                        Injection::Binary(bytes) => Message::Binary(bytes),
                        Injection::Text(text) => Message::Text(text.into()),
                    });
                }
            }
        }
        None
    }

    pub(super) fn attach(&mut self, socket: gateway::Socket) {
        if let Some(old) = self.client.take() {
            tokio::spawn(async move { gateway::close(old.socket, 1000, "Replaced").await });
            self.detached();
        }
        let now = now();
        self.idle = None;
        self.client = Some(Client::new(socket, Fuse::new(self.cuts.pop_front())));
        self.shared.change(|state| {
            state.stats.attached += 1;
            if let Some(session) = state.sessions.iter_mut().find(|s| s.id == self.id) {
                session.status = Status::Connected;
            }
        });
        if self.agent.is_some() {
            self.publication(now, MessageType::START_PUBLICATION);
        } else {
            self.agent = Some(Agent::new(self.agent_config(), now));
        }
    }

    pub(super) fn agent_config(&self) -> Config {
        let options = &self.shared.options;
        let session_type = self.program.session_type();
        let mut config = Config::new(&self.id, &self.target, session_type);
        config.version.clone_from(&options.agent_version);
        config.separate_output = self.separate;
        if let Program::Ports(properties) = &self.program {
            config.properties = properties.clone().into();
        }
        config.encryption = options.kms.then(|| Encryption {
            key_id: KEY.to_owned(),
            challenge: options.challenge,
        });
        config.resend_tick = options.resend_tick;
        config.seed = u64::from_ne_bytes(random());
        config.started_at = wall_millis();
        config
    }

    pub(super) fn detach(&mut self) {
        if self.client.take().is_some() {
            self.detached();
        }
    }

    /// The client is away: what is on its way is lost, and the agent is told.
    pub(super) fn detached(&mut self) {
        let now = now();
        self.to_client.clear();
        self.to_agent.clear();
        self.inbox.clear();
        self.idle = Some(now + self.shared.options.idle_timeout);
        self.publication(now, MessageType::PAUSE_PUBLICATION);
        self.shared.change(|state| {
            state.stats.attached -= 1;
            state.stats.lost += 1;
            if let Some(session) = state.sessions.iter_mut().find(|s| s.id == self.id) {
                session.status = Status::Disconnected;
            }
        });
    }

    pub(super) fn publication(&mut self, now: Instant, message_type: MessageType) {
        if let (Some(agent), Some(frame)) = (&mut self.agent, frame(message_type, "{}".into())) {
            // A dead reader does not see it.
            let _ = agent.handle_frame(now, frame);
        }
    }

    /// Ends the program, tells the client, and waits for it to leave.
    pub(super) async fn finish(
        mut self,
        farewell: Farewell,
        controls: &mut mpsc::Receiver<Control>,
    ) {
        self.host = None;
        self.transmit(now());
        for frame in self.to_client.release() {
            self.forward(frame);
        }
        self.tell();
        self.shared.change(|state| {
            state.stats.ended += 1;
            if let Some(session) = state.sessions.iter_mut().find(|s| s.id == self.id) {
                session.status = farewell.status;
                session.details.clone_from(&farewell.output);
                session.ended = Some(wall_clock());
            }
        });
        let text = ChannelClosed {
            message_id: uuid::Uuid::new_v4().to_string(),
            created_date: wall_millis().to_string(),
            destination_id: self.target.clone(),
            session_id: self.id.clone(),
            message_type: MessageType::CHANNEL_CLOSED.as_str().to_owned(),
            schema_version: 1,
            output: farewell.output,
        };
        let closed = frame(MessageType::CHANNEL_CLOSED, text.to_json().into());
        let Some(client) = &mut self.client else {
            return;
        };
        client.out.extend(closed.map(Message::Binary));
        let deadline = now() + FAREWELL;
        loop {
            self.inbox.clear();
            tokio::select! {
                control = controls.recv() => match control {
                    Some(Control::Stall(stalled)) => {
                        if let Some(client) = &mut self.client {
                            client.stalled = stalled;
                        }
                    }
                    None | Some(Control::Cut | Control::Close(..)) => break,
                    Some(_) => {}
                },
                traffic = traffic(&mut self.client, true, &mut self.inbox) => match traffic {
                    Traffic::Moved { .. } => {}
                    Traffic::Lost | Traffic::Doomed => break,
                },
                () = until(Some(deadline)) => break,
            }
        }
        if let Some(client) = self.client.take() {
            gateway::close(client.socket, 1000, "Bye").await;
        }
        self.shared.change(|state| state.stats.attached -= 1);
    }
}
