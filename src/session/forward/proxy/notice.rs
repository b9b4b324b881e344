//! What a proxy has to tell beside what tunnels tell.

use std::fmt;

/// What happened to a destination, or to somebody who wanted one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProxyNotice {
    /// A session leads to a destination from now on.
    Opened {
        /// Such as `db.internal:5432`.
        destination: String,
        /// The service's name of the session.
        session_id: String,
    },
    /// It is over.
    Closed {
        /// Where it led.
        destination: String,
        /// The service's name of the session.
        session_id: String,
        /// Why; never empty.
        why: String,
    },
    /// No session could be had. Whoever waited has been told.
    Failed {
        /// Where it was to lead.
        destination: String,
        /// Why there is none.
        why: String,
        /// What somebody could do.
        hint: Option<String>,
    },
    /// A client was sent away.
    Rejected {
        /// Who it was.
        peer: String,
        /// Why.
        why: String,
    },
}

impl ProxyNotice {
    /// What somebody could do, in one line.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Failed { hint, .. } => hint.as_deref(),
            _ => None,
        }
    }
}

/// One line for people.
impl fmt::Display for ProxyNotice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opened {
                destination,
                session_id,
            } => write!(f, "session {session_id} leads to {destination}"),
            Self::Closed {
                destination,
                session_id,
                why,
            } => write!(f, "session {session_id} to {destination} is over: {why}"),
            Self::Failed {
                destination, why, ..
            } => write!(f, "cannot reach {destination}: {why}"),
            Self::Rejected { peer, why } => write!(f, "refused {peer}: {why}"),
        }
    }
}
