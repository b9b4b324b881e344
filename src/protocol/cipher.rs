//! Payload encryption: AES-256-GCM without associated data, one key each way.
//!
//! A sealed payload is nonce (12 bytes), ciphertext, tag (16 bytes).

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::error::CipherError;

/// A KMS data key: bytes 0 to 31 seal what the agent sends, 32 to 63 what the client sends.
pub type DataKey = Zeroizing<[u8; 64]>;

const TAG_LEN: usize = 16;

/// Which end of the channel a [`Cipher`] serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Seals with the second half, opens with the first.
    Client,
    /// Seals with the first half, opens with the second.
    Agent,
}

/// Both keys of one end, and its next nonce.
pub struct Cipher {
    seal: LessSafeKey,
    open: LessSafeKey,
    nonce: u128,
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cipher")
    }
}

impl Cipher {
    /// The cipher of `role` under `key`. `nonce_seed` must be random: nonces count up from it, so
    /// that none is ever used twice under the key.
    pub fn new(key: &DataKey, role: Role, nonce_seed: [u8; NONCE_LEN]) -> Self {
        let (agent, client) = key.split_at(32);
        let (seal, open) = match role {
            Role::Client => (client, agent),
            Role::Agent => (agent, client),
        };
        let mut wide = [0; 16];
        for (to, from) in wide.iter_mut().skip(4).zip(nonce_seed) {
            *to = from;
        }
        Self {
            seal: aes_key(seal),
            open: aes_key(open),
            nonce: u128::from_be_bytes(wide),
        }
    }

    /// Seals `plaintext` under the next nonce: 28 bytes more.
    pub fn seal(&mut self, plaintext: &[u8]) -> Vec<u8> {
        self.nonce = self.nonce.wrapping_add(1);
        let mut nonce = [0; NONCE_LEN];
        for (to, from) in nonce
            .iter_mut()
            .zip(self.nonce.to_be_bytes().iter().skip(4))
        {
            *to = *from;
        }
        self.seal_with(nonce, plaintext)
    }

    /// Seals under a nonce of the caller's, who answers for its being new.
    pub fn seal_with(&self, nonce: [u8; NONCE_LEN], plaintext: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(NONCE_LEN + plaintext.len() + TAG_LEN);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(plaintext);
        let body = out.split_at_mut(NONCE_LEN).1;
        let tag = self.seal.seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::empty(),
            body,
        );
        // GCM refuses only messages over 64 GiB, which cannot be in one payload (u32).
        if let Ok(tag) = tag {
            out.extend_from_slice(tag.as_ref());
        }
        out
    }

    /// Opens what the other end sealed.
    ///
    /// # Errors
    ///
    /// Too short to hold nonce and tag, or not sealed with this key.
    pub fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, CipherError> {
        if sealed.len() < NONCE_LEN + TAG_LEN {
            return Err(CipherError::TooShort);
        }
        let (nonce, body) = sealed.split_first_chunk().ok_or(CipherError::TooShort)?;
        let mut body = body.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = self
            .open
            .open_in_place(nonce, Aad::empty(), &mut body)
            .map_err(|_| CipherError::Authentication)?
            .len();
        body.truncate(length);
        Ok(body)
    }
}

#[expect(
    clippy::expect_used,
    reason = "both halves have the 32 bytes that AES-256 takes"
)]
fn aes_key(half: &[u8]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, half).expect("a key of 32 bytes"))
}
