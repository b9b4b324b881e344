//! Sealed payloads.

use ssmx::protocol::cipher::{Cipher, DataKey, Role};
use ssmx::protocol::error::CipherError;

use super::{cases, hex, load, text, to_hex};

#[test]
fn payloads_are_sealed_and_opened_as_by_the_real_ones() {
    let (mut opened, mut sealed, mut refused) = (0, 0, 0);
    for case in cases(&load("aes_gcm"), "cases", 43) {
        let name = text(&case, "name");
        let key = DataKey::new(hex(text(&case, "key64")).as_ref().try_into().unwrap());
        let wire = hex(text(&case, "wire"));
        let (from, to) = match text(&case, "direction") {
            "agent_to_client" => (Role::Agent, Role::Client),
            _ => (Role::Client, Role::Agent),
        };
        let sender = Cipher::new(&key, from, [0; 12]);
        let receiver = Cipher::new(&key, to, [0; 12]);
        if case["receiver_opens_it"] == false {
            let error = receiver.open(&wire).unwrap_err();
            // AWS's programs panic below 12 bytes.
            let expected = match wire.len() {
                0..28 => CipherError::TooShort,
                _ => CipherError::Authentication,
            };
            assert_eq!(error, expected, "{name}");
            refused += 1;
            continue;
        }
        let plaintext = hex(text(&case, "plaintext"));
        assert_eq!(receiver.open(&wire).unwrap(), plaintext, "{name}");
        opened += 1;
        let nonce = hex(text(&case, "nonce")).as_ref().try_into().unwrap();
        let ours = sender.seal_with(nonce, &plaintext);
        assert_eq!(to_hex(&ours), text(&case, "wire"), "{name}");
        sealed += 1;
        // The other half of the key opens it only if both halves are the same.
        let same = key[..32] == key[32..];
        assert_eq!(sender.open(&wire).is_ok(), same, "{name}");
    }
    assert_eq!((opened, sealed, refused), (29, 29, 14));
}

#[test]
fn no_nonce_is_used_twice() {
    let key = DataKey::new([7; 64]);
    // The count wraps within its 12 bytes.
    let mut cipher = Cipher::new(&key, Role::Client, [0xff; 12]);
    let agent = Cipher::new(&key, Role::Agent, [0; 12]);
    let mut nonces = std::collections::HashSet::new();
    for _ in 0..1000 {
        let sealed = cipher.seal(b"x");
        assert_eq!(agent.open(&sealed).unwrap(), b"x");
        assert!(nonces.insert(sealed[..12].to_vec()));
    }
}
