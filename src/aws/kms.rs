//! Data keys for encrypted sessions.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::Aws;
use super::error::{Call, Error, Kind, from_sdk};
use super::sdk::client;

/// Half for each direction.
const KEY_BYTES: usize = 64;

/// A key for one session: in the clear, and as the agent can have it decrypted.
pub struct DataKey {
    /// Wiped when dropped.
    pub plaintext: Zeroizing<[u8; KEY_BYTES]>,
    /// The same encrypted by KMS, in base64.
    pub ciphertext: String,
}

impl std::fmt::Debug for DataKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DataKey(…)")
    }
}

impl Aws {
    /// Has KMS make a key of 64 bytes, bound to the encryption context. The endpoint is that of
    /// `AWS_ENDPOINT_URL_KMS`, `AWS_ENDPOINT_URL` or the profile, never that of SSM.
    pub async fn generate_data_key(
        &self,
        key_id: &str,
        context: Vec<(String, String)>,
    ) -> Result<DataKey, Error> {
        let call = Call {
            what: "cannot get a key for the encrypted session",
            action: "kms:GenerateDataKey",
        };
        self.credentials()
            .await
            .map_err(|error| error.while_doing(call.what))?;
        let answer = self
            .kms()
            .generate_data_key()
            .key_id(key_id)
            .number_of_bytes(KEY_BYTES as i32)
            .set_encryption_context(Some(context.into_iter().collect()))
            .send()
            .await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return Err(self.note(from_sdk(&call, &self.0.context, error)).await),
        };
        let plain = Zeroizing::new(
            answer
                .plaintext
                .map(|blob| blob.into_inner())
                .unwrap_or_default(),
        );
        let sealed = answer
            .ciphertext_blob
            .map(|blob| blob.into_inner())
            .unwrap_or_default();
        let mut plaintext = Zeroizing::new([0; KEY_BYTES]);
        if plain.len() != KEY_BYTES || sealed.is_empty() {
            return Err(Error::new(
                Kind::Other,
                call.what,
                "the answer of KMS has no key of 64 bytes in it",
            ));
        }
        plaintext.copy_from_slice(&plain);
        Ok(DataKey {
            plaintext,
            ciphertext: STANDARD.encode(sealed),
        })
    }

    /// Once in a session: not worth keeping.
    fn kms(&self) -> aws_sdk_kms::Client {
        client!(aws_sdk_kms, self.sdk(self.0.settings.kms_endpoint.as_ref()))
    }
}
