//! Requests for access to nodes, and whose keys a request is signed with.

use std::time::SystemTime;

use hyper::header::HeaderMap;

use super::sigv4::{self, Signer};
use super::state::Shared;

/// A request for access.
pub(super) struct Request {
    pub(super) id: String,
    /// `Pending`, `Approved`, `Rejected`, `Revoked` or `Expired`.
    pub(super) status: String,
    pub(super) made: SystemTime,
    pub(super) keys: Keys,
}

/// A pair of keys, with the session token of those that are temporary.
#[derive(Clone)]
pub(super) struct Keys {
    pub(super) access_key_id: String,
    pub(super) secret_access_key: String,
    pub(super) token: Option<String>,
    /// The node that they are for.
    pub(super) target: Option<String>,
}

impl Keys {
    /// The keys that a request names, or else those of the run, by which it will not be verified.
    pub(super) fn of(shared: &Shared, headers: &HeaderMap) -> Self {
        let named = sigv4::access_key(headers);
        let token = headers.get("x-amz-security-token");
        let token = token.and_then(|token| token.to_str().ok());
        let known = shared.change(|state| {
            let mut requests = state.access.iter();
            let request = requests.find(|request| {
                request.status == "Approved"
                    && Some(request.keys.access_key_id.as_str()) == named
                    && request.keys.token.as_deref() == token
            })?;
            let keys = request.keys.clone();
            state.stats.with_access += 1;
            Some(keys)
        });
        known.unwrap_or_else(|| Self {
            access_key_id: shared.access_key_id.clone(),
            secret_access_key: shared.secret_access_key.clone(),
            token: None,
            target: None,
        })
    }

    /// For requests that are signed with them.
    pub(super) fn signer<'a>(&'a self, region: &'a str) -> Signer<'a> {
        Signer {
            access_key_id: &self.access_key_id,
            secret_access_key: &self.secret_access_key,
            region,
        }
    }

    /// Whether they are for a session on this node.
    pub(super) fn open(&self, shared: &Shared, target: &str) -> bool {
        let state = shared.state();
        let guarded = state
            .nodes
            .iter()
            .any(|node| node.id == target && node.guarded);
        match &self.target {
            Some(granted) => granted == target,
            None => !guarded,
        }
    }
}
