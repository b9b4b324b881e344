//! Versions that peers announce, and what they decide.

/// The version that ssmx announces everywhere a peer or the AWS CLI looks: as `--version` of the
/// plugin, in the open message and in the handshake. It is the newest official plugin whose
/// behaviour ssmx has; agents switch features by it, so it carries no suffix.
pub const CLIENT_VERSION: &str = "1.2.896.0";

/// What an agent of a given version can do, as its client decides it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AgentFeatures {
    /// Knows the TerminateSession flag.
    pub terminate_session_flag: bool,
    /// Multiplexes port connections.
    pub mux: bool,
    /// Expects no smux keep-alives.
    pub smux_keepalive_disabled: bool,
}

impl AgentFeatures {
    /// The features of an agent that announced `version`; none if it is unknown or malformed.
    pub fn of(version: &str) -> Self {
        Self {
            terminate_session_flag: newer(version, [2, 3, 722, 0]),
            mux: newer(version, [3, 0, 196, 0]),
            smux_keepalive_disabled: newer(version, [3, 1, 1511, 0]),
        }
    }
}

/// Whether `version` is newer than `floor`: compared number by number from the left, up to the
/// first difference. Another count of parts, or a part reached that is no integer, means no.
fn newer(version: &str, floor: [i64; 4]) -> bool {
    if version.split('.').count() != floor.len() {
        return false;
    }
    for (part, floor) in version.split('.').zip(floor) {
        match part.parse::<i64>() {
            Ok(part) if part == floor => {}
            Ok(part) => return part > floor,
            Err(_) => return false,
        }
    }
    false
}
