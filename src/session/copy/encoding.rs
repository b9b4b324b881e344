//! Bytes of files on their way.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};

/// Bytes in a line of base64, before and after.
const LINE: (usize, usize) = (57, 76);

/// How bytes of files pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// As they are.
    Raw,
    /// In lines of base64.
    Base64,
}

/// In lines of base64.
pub fn lines(data: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(data.len().div_ceil(LINE.0) * (LINE.1 + 1));
    let mut line = [0; LINE.1];
    for part in data.chunks(LINE.0) {
        // A line has room for what goes into one.
        let length = STANDARD.encode_slice(part, &mut line).unwrap_or_default();
        out.extend_from_slice(line.get(..length).unwrap_or_default());
        out.extend_from_slice(b"\n");
    }
    out.freeze()
}

/// How long so many bytes are in lines of base64.
pub fn lines_length(length: usize) -> usize {
    let rest = match length % LINE.0 {
        0 => 0,
        rest => rest.div_ceil(3) * 4 + 1,
    };
    length / LINE.0 * (LINE.1 + 1) + rest
}

/// Swaps EF with that byte, as `tr` did.
pub fn swapped(data: Bytes, swap: Option<u8>) -> Bytes {
    let Some(other) = swap else {
        return data;
    };
    let swapped = |&byte: &u8| match byte {
        0xef => other,
        byte if byte == other => 0xef,
        byte => byte,
    };
    data.iter().map(swapped).collect()
}

/// Of lines of base64; `None` if they are none.
pub fn decoded(data: &[u8]) -> Option<Bytes> {
    let digits = data
        .iter()
        .copied()
        .filter(|byte| !byte.is_ascii_whitespace());
    let digits: Vec<u8> = digits.collect();
    STANDARD.decode(digits).ok().map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_comes_in_lines_and_goes_back() {
        let all: Vec<u8> = (0..=255).collect();
        for length in [0, 1, 56, 57, 58, 114, 256] {
            let data = &all[..length];
            let text = lines(data);
            assert_eq!(text.len(), lines_length(length));
            assert!(
                text.split(|&byte| byte == b'\n')
                    .all(|line| line.len() <= 76)
            );
            assert_eq!(decoded(&text).as_deref(), Some(data));
        }
        assert_eq!(decoded(b" QQ\r\n==\n").as_deref(), Some(&b"A"[..]));
        assert_eq!(decoded(b"sh: base64: not found"), None);
    }

    #[test]
    fn what_is_swapped_twice_is_the_same() {
        let data = Bytes::from_static(b"\xef\xbf\xbd\x01a");
        let once = swapped(data.clone(), Some(1));
        assert_eq!(&once[..], b"\x01\xbf\xbd\xefa");
        assert_eq!(swapped(once, Some(1)), data);
        assert_eq!(swapped(data.clone(), None), data);
    }
}
