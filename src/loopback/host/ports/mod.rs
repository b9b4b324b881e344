//! Connections to ports of the node, or of hosts that it reaches.
//!
//! There are three modes: stdio (one connection, for SSH), basic (one at a time, dialled again
//! when the next one begins) and mux (many, as streams). Properties, the agent's version and the
//! client's decide which.

mod destination;
mod direct;
mod multiplexed;
mod pace;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value};

use self::destination::Destination;
use self::direct::Direct;
use self::multiplexed::Multiplexed;
use super::super::agent::ClientFeatures;
use super::super::state::Shared;
use super::HostEvent;
use crate::protocol::payload::{Flag, find};
use crate::protocol::version::AgentFeatures;

type Starting = Pin<Box<dyn Future<Output = Result<Serving, String>> + Send>>;

/// What decides how ports are served.
pub(in super::super) struct Settings {
    pub(in super::super) shared: Arc<Shared>,
    /// Those of the handshake.
    pub(in super::super) properties: Map<String, Value>,
    pub(in super::super) client: ClientFeatures,
}

/// The ports of a session.
pub(in super::super) struct Ports {
    features: AgentFeatures,
    state: State,
}

enum State {
    Starting(Starting),
    Serving(Serving),
    /// It has failed.
    Over,
}

enum Serving {
    Direct(Direct),
    Multiplexed(Multiplexed),
}

impl Ports {
    /// Begins to serve; [`HostEvent::Ready`] or [`HostEvent::Failed`] comes first.
    pub(in super::super) fn start(settings: Settings) -> Self {
        let features = AgentFeatures::of(&settings.shared.options.agent_version);
        Self {
            features,
            state: State::Starting(Box::pin(start(settings, features))),
        }
    }

    pub(super) async fn next(&mut self, wanted: bool) -> HostEvent {
        match &mut self.state {
            State::Starting(starting) => match starting.await {
                Ok(serving) => {
                    self.state = State::Serving(serving);
                    HostEvent::Ready
                }
                Err(reason) => {
                    self.state = State::Over;
                    HostEvent::Failed(reason)
                }
            },
            State::Serving(Serving::Direct(direct)) => direct.next(wanted).await,
            State::Serving(Serving::Multiplexed(mux)) => mux.next(wanted).await,
            State::Over => std::future::pending().await,
        }
    }

    pub(super) fn input(&mut self, input: Bytes) {
        match &mut self.state {
            State::Serving(Serving::Direct(direct)) => direct.input(input),
            State::Serving(Serving::Multiplexed(mux)) => mux.input(input),
            // No agent delivers anything then.
            State::Starting(_) | State::Over => {}
        }
    }

    pub(super) fn takes_input(&mut self) -> bool {
        match &mut self.state {
            State::Serving(Serving::Direct(direct)) => direct.takes_input(),
            State::Serving(Serving::Multiplexed(mux)) => mux.takes_input(),
            State::Starting(_) | State::Over => true,
        }
    }

    pub(super) fn flag(&mut self, flag: Flag) {
        if flag == Flag::TerminateSession && !self.features.terminate_session_flag {
            return;
        }
        match &mut self.state {
            State::Serving(Serving::Direct(direct)) => direct.flag(flag),
            State::Serving(Serving::Multiplexed(mux)) => mux.flag(flag),
            State::Starting(_) | State::Over => {}
        }
    }

    pub(super) fn inject(&mut self, output: Bytes) {
        match &mut self.state {
            State::Serving(Serving::Direct(direct)) => direct.inject(output),
            State::Serving(Serving::Multiplexed(mux)) => mux.inject(output),
            State::Starting(_) | State::Over => {}
        }
    }
}

async fn start(settings: Settings, features: AgentFeatures) -> Result<Serving, String> {
    let Settings {
        shared,
        properties,
        client,
    } = settings;
    let text = |key| match find(&properties, key) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(format!(
            "Unable to remarshal session properties. json: cannot unmarshal into Go struct field PortParameters.{key} of type string"
        )),
    };
    let (host, port, kind) = (text("host")?, text("portNumber")?, text("type")?);
    if port.is_empty() {
        return Err("Port number is empty in session properties.".to_owned());
    }
    let paced = shared.options.paced;
    let destination = Destination::resolve(shared.clone(), &host, &port).await?;
    let forwards = kind == "LocalPortForwarding";
    if forwards && features.mux && client.mux {
        let keepalive = !(features.smux_keepalive_disabled && client.smux_keepalive_disabled);
        let mux = Multiplexed::new(shared, destination, keepalive, paced);
        return Ok(Serving::Multiplexed(mux));
    }
    match Direct::connect(destination, forwards, paced).await {
        Ok(direct) => Ok(Serving::Direct(direct)),
        Err(reason) => Err(format!("Unable to connect to specified port: {reason}")),
    }
}
