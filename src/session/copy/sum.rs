//! Checksums as programs on nodes make them.

use sha2::{Digest as _, Sha256};

/// Which checksum a node can make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// In hex.
    Sha256,
    /// The CRC of POSIX, in decimal.
    Cksum,
}

/// A checksum in the making.
#[derive(Debug, Clone)]
pub enum Sum {
    /// SHA-256.
    Sha256(Sha256),
    /// CRC and length so far.
    Cksum(u32, u64),
}

impl Sum {
    /// Of nothing yet.
    pub fn new(kind: Kind) -> Self {
        match kind {
            Kind::Sha256 => Self::Sha256(Sha256::new()),
            Kind::Cksum => Self::Cksum(0, 0),
        }
    }

    /// Takes more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(sum) => sum.update(bytes),
            Self::Cksum(crc, length) => {
                *crc = bytes.iter().fold(*crc, |crc, &byte| step(crc, byte));
                *length += bytes.len() as u64;
            }
        }
    }

    /// As the programs write it.
    pub fn text(&self) -> String {
        match self {
            Self::Sha256(sum) => {
                let digest = sum.clone().finalize();
                digest.iter().map(|byte| format!("{byte:02x}")).collect()
            }
            &Self::Cksum(mut crc, mut length) => {
                while length > 0 {
                    crc = step(crc, (length & 0xff) as u8);
                    length >>= 8;
                }
                (!crc).to_string()
            }
        }
    }
}

fn step(crc: u32, byte: u8) -> u32 {
    let at = usize::from((crc >> 24) as u8 ^ byte);
    // The table has an entry for each byte.
    (crc << 8) ^ TABLE[at]
}

const TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let mut crc = (at as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000_0000 != 0 {
                (crc << 1) ^ 0x04c1_1db7
            } else {
                crc << 1
            };
            bit += 1;
        }
        table[at] = crc;
        at += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: Kind, bytes: &[u8]) -> String {
        let mut sum = Sum::new(kind);
        for part in bytes.chunks(3) {
            sum.update(part);
        }
        sum.text()
    }

    #[test]
    fn sums_are_those_of_the_programs() {
        assert_eq!(of(Kind::Cksum, b""), "4294967295");
        assert_eq!(of(Kind::Cksum, b"hello\n"), "3015617425");
        assert_eq!(
            of(Kind::Sha256, b"hello"),
            "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
        );
    }
}
