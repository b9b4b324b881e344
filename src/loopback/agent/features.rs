//! What an agent does for a client of a given version.

/// Decided by ClientVersion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientFeatures {
    /// Port connections are multiplexed.
    pub mux: bool,
    /// The multiplexer sends no keep-alives.
    pub smux_keepalive_disabled: bool,
    /// The client is asked to update when a command's outputs go apart.
    pub separate_output_upgrade_message: bool,
}

impl ClientFeatures {
    /// The features for a client that announced `version`.
    pub fn of(version: &str) -> Self {
        let version = ordinal(version);
        Self {
            mux: version >= ordinal("1.1.70"),
            smux_keepalive_disabled: version > ordinal("1.2.331.0"),
            separate_output_upgrade_message: version <= ordinal("1.2.295"),
        }
    }
}

/// A key whose order is that of versions as agents compare them: numbers by value wherever they
/// stand, everything else by its bytes, and digits before everything else.
fn ordinal(version: &str) -> Vec<(u8, u64)> {
    let mut key = Vec::new();
    let mut number = None;
    for byte in version.bytes() {
        if byte.is_ascii_digit() {
            let digit = u64::from(byte - b'0');
            let value = number.unwrap_or(0_u64);
            number = Some(value.saturating_mul(10).saturating_add(digit));
        } else {
            key.extend(number.take().map(|number| (0, number)));
            key.push((byte, 0));
        }
    }
    key.extend(number.map(|number| (0, number)));
    key
}
