//! What happens on the tunnels, as JSON.

use serde_json::{Value, json};

use crate::session::forward::proxy::ProxyNotice;
use crate::session::forward::report::{Gone, Notice};

/// What programs are to read of a notice: the names of events, and what is told of them.
pub fn of(notice: &Notice) -> Vec<(&'static str, Value)> {
    let one = |event, fields| vec![(event, fields)];
    match notice {
        Notice::Message(text) => one("message", json!({ "text": text })),
        Notice::Moved(id) => one("moved", json!({ "target": id })),
        Notice::Slow(text) => one("slow", json!({ "reason": text })),
        Notice::Connected { connection, peer } => {
            one("connect", json!({ "connection": connection, "peer": peer }))
        }
        Notice::Disconnected {
            connection,
            peer,
            how,
        } => {
            let (how, reason) = match how {
                Gone::Finished => ("finished", None),
                Gone::Refused => ("refused", None),
                Gone::TooSlow => ("too-slow", None),
                Gone::Failed(reason) => ("failed", Some(reason)),
                Gone::Ended => ("ended", None),
            };
            let mut fields = json!({ "connection": connection, "peer": peer });
            let refused = (how == "refused").then(|| ("refused", fields.clone()));
            fields["how"] = json!(how);
            if let Some(reason) = reason {
                fields["reason"] = json!(reason);
            }
            refused
                .into_iter()
                .chain([("disconnect", fields)])
                .collect()
        }
        Notice::Lost(reason) => one("lost", json!({ "reason": reason })),
        Notice::Resumed => one("reconnect", json!({})),
        Notice::Over {
            session_id, why, ..
        } => one("over", json!({ "session_id": session_id, "reason": why })),
        Notice::Restarting { after, why, .. } => one(
            "restart",
            json!({ "seconds": after.as_secs(), "reason": why }),
        ),
        Notice::GivenUp {
            connections, why, ..
        } => one(
            "give-up",
            json!({ "connections": connections, "reason": why }),
        ),
        Notice::Proxy(notice) => proxy_events(notice),
        Notice::Ready { .. } | Notice::Loss(_) => Vec::new(),
    }
}

fn proxy_events(notice: &ProxyNotice) -> Vec<(&'static str, Value)> {
    vec![match notice {
        ProxyNotice::Opened {
            destination,
            session_id,
        } => (
            "open",
            json!({ "destination": destination, "session_id": session_id }),
        ),
        ProxyNotice::Closed {
            destination,
            session_id,
            why,
        } => (
            "over",
            json!({ "destination": destination, "session_id": session_id, "reason": why }),
        ),
        ProxyNotice::Failed {
            destination, why, ..
        } => (
            "unreachable",
            json!({ "destination": destination, "reason": why }),
        ),
        ProxyNotice::Rejected { peer, why } => ("rejected", json!({ "peer": peer, "reason": why })),
    }]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_read_every_event() {
        let refused = Notice::Disconnected {
            connection: 7,
            peer: "127.0.0.1:1".into(),
            how: Gone::Refused,
        };
        let told = of(&refused);
        let names: Vec<&str> = told.iter().map(|(event, _)| *event).collect();
        assert_eq!(names, ["refused", "disconnect"]);
        assert_eq!(told[1].1["connection"], 7);
        assert_eq!(told[1].1["how"], "refused");
        let names = |notice| of(&notice).first().map(|(event, _)| *event);
        assert_eq!(names(Notice::Resumed), Some("reconnect"));
        assert_eq!(names(Notice::Lost("x".into())), Some("lost"));
        assert_eq!(names(Notice::Loss("x".into())), None);
    }
}
