//! The message gateway's front: the WebSocket upgrade with its signature, and the token.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use hyper::StatusCode;
use hyper::header::AUTHORIZATION;
use serde_json::{Map, Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config};

use super::access::Keys;
use super::api;
use super::door::Door;
use super::record::Control;
use super::sigv4::{self, Signed};
use super::state::Shared;
use crate::protocol::payload::find;

/// A client's connection.
pub(super) type Socket = WebSocketStream<TcpStream>;

/// Connections at once.
const CONNECTIONS: usize = 256;
/// How long upgrade and first frame may take, each.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest message from a client, in bytes.
const MESSAGE: usize = 4 << 20;

/// Serves data channels until the runtime ends.
pub(super) async fn serve(shared: Arc<Shared>, listener: TcpListener) {
    let door = Door::new(listener, CONNECTIONS);
    while let Some((stream, slot)) = door.next().await {
        let dropped = shared.change(|state| {
            let dropped = state.refuse_upgrades > 0;
            state.refuse_upgrades -= u32::from(dropped);
            state.stats.upgrades_refused += u64::from(dropped);
            dropped
        });
        if !dropped {
            let shared = shared.clone();
            tokio::spawn(async move {
                open(&shared, stream).await;
                // Connections that are attached belong to their session, whose number is bounded.
                drop(slot);
            });
        }
    }
}

async fn open(shared: &Arc<Shared>, stream: TcpStream) {
    // Keystrokes must not wait for each other; if it fails they just do.
    let _ = stream.set_nodelay(true);
    let mut session_id = String::new();
    #[expect(
        clippy::result_large_err,
        reason = "the WebSocket library wants the whole response"
    )]
    let upgrade = |request: &Request, response: Response| match admit(shared, request) {
        Ok(id) => {
            session_id = id;
            Ok(response)
        }
        Err((status, message)) => {
            shared.change(|state| state.stats.upgrades_refused += 1);
            Err(refusal(status, &message))
        }
    };
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE))
        .max_frame_size(Some(MESSAGE));
    let accepted = accept_hdr_async_with_config(stream, upgrade, Some(config));
    let mut socket = match tokio::time::timeout(PATIENCE, accepted).await {
        Ok(Ok(socket)) => socket,
        Ok(Err(error)) => return tracing::debug!(%error, "loopback refused an upgrade"),
        Err(_) => return,
    };
    let first = tokio::time::timeout(PATIENCE, socket.next()).await;
    let Ok(Some(Ok(Message::Text(text)))) = first else {
        return close(socket, 1008, "The first frame must open the channel.").await;
    };
    let input = match serde_json::from_str(&text) {
        Ok(Value::Object(input)) => input,
        _ => Map::new(),
    };
    let field = |key| find(&input, key).and_then(Value::as_str).unwrap_or("");
    if !shared.redeem(field("TokenValue"), &session_id) {
        shared.change(|state| state.stats.bad_tokens += 1);
        return close(socket, 1008, "The token is not valid.").await;
    }
    let (control, farewell) = shared.change(|state| {
        state.stats.connections += 1;
        state.stats.client_version = Some(field("ClientVersion").to_owned());
        let session = state.sessions.iter().find(|s| s.id == session_id);
        let control = session.map(|session| session.control.clone());
        (control, state.close_on_open.clone())
    });
    if let Some((code, reason)) = farewell {
        return close(socket, code, &reason).await;
    }
    if let Some(control) = control {
        // A session that has just ended does not take it; the connection is closed then.
        let _ = control.send(Control::Attach(Box::new(socket))).await;
    }
}

/// Closes in good order, at most for a moment.
pub(super) async fn close(mut socket: Socket, code: u16, reason: &str) {
    let frame = CloseFrame {
        code: code.into(),
        reason: reason.into(),
    };
    let goodbye = async {
        if socket.close(Some(frame)).await.is_ok() {
            while let Some(Ok(_)) = socket.next().await {}
        }
    };
    // Whoever does not answer in time is left.
    let _ = tokio::time::timeout(Duration::from_secs(1), goodbye).await;
}

fn refusal(status: StatusCode, message: &str) -> ErrorResponse {
    let body = json!({ "message": message }).to_string();
    let mut response = ErrorResponse::new(Some(body));
    *response.status_mut() = status;
    response
}

/// The session that an upgrade is for, or why it is refused.
fn admit(shared: &Shared, request: &Request) -> Result<String, (StatusCode, String)> {
    let forbidden = |message: String| Err((StatusCode::FORBIDDEN, message));
    let uri = request.uri();
    let wanted = uri.path_and_query().map_or("", |wanted| wanted.as_str());
    let id = uri.path().strip_prefix("/v1/data-channel/").unwrap_or("");
    let state = shared.state();
    let session = state
        .sessions
        .iter()
        .find(|session| session.id == id && session.streams.iter().any(|url| url == wanted));
    let Some(session) = session else {
        return Err((StatusCode::NOT_FOUND, "There is no such channel.".into()));
    };
    let stale = session.streams.last().is_some_and(|url| url != wanted);
    let forbid = state.forbid_upgrades;
    drop(state);
    if stale {
        shared.change(|state| state.stats.stale_stream_urls += 1);
        if shared.options.stream_url_expires {
            return forbidden("The cell number has expired.".into());
        }
    }
    let signed = request.headers().contains_key(AUTHORIZATION);
    if shared.options.presigned_stream_url {
        if signed {
            return forbidden("The request is signed twice.".into());
        }
    } else if signed {
        let signed = Signed {
            method: request.method().as_str(),
            path: uri.path(),
            query: uri.query().unwrap_or(""),
            headers: request.headers(),
            body: b"",
        };
        let keys = Keys::of(shared, request.headers());
        let signer = keys.signer(&shared.options.region);
        sigv4::verify(&signer, "ssmmessages", &signed, api::now(shared))
            .map_err(|error| (StatusCode::FORBIDDEN, error.to_string()))?;
    } else if shared.options.require_signature {
        return forbidden("Missing Authentication Token".into());
    }
    if forbid {
        return forbidden(format!(
            "User: arn:aws:iam::000000000000:user/loopback is not authorized to perform: ssmmessages:OpenDataChannel on resource: {id}"
        ));
    }
    shared.change(|state| {
        if signed {
            state.stats.upgrades_signed += 1;
        } else {
            state.stats.upgrades_unsigned += 1;
        }
    });
    Ok(id.to_owned())
}
