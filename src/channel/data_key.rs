//! The data key of an encrypted session.

use crate::aws::Aws;
use crate::protocol::cipher::DataKey;
use crate::protocol::handshake::{DataKeyRequest, SealedDataKey};

/// The key, and what the agent gets of it; or why there is none, for the agent and the user.
pub type KeyOutcome = Result<(DataKey, SealedDataKey), String>;

/// Asks KMS for a data key, bound to this session and target.
pub async fn get(
    aws: Aws,
    session_id: String,
    target: String,
    request: DataKeyRequest,
) -> KeyOutcome {
    let context = |challenge: Option<&str>| {
        let mut context = vec![
            ("aws:ssm:SessionId".to_owned(), session_id.clone()),
            ("aws:ssm:TargetId".to_owned(), target.clone()),
        ];
        if let Some(challenge) = challenge {
            context.push(("aws:ssm:RandomChallenge".to_owned(), challenge.to_owned()));
        }
        context
    };
    let challenge = request.challenge.as_deref();
    let mut outcome = aws
        .generate_data_key(&request.key_id, context(challenge))
        .await;
    let mut challenge_used = challenge.is_some();
    if challenge_used
        && outcome
            .as_ref()
            .is_err_and(|error| error.is_access_denied())
    {
        // Key policies written before the challenge existed may allow only the other two.
        outcome = aws.generate_data_key(&request.key_id, context(None)).await;
        challenge_used = false;
    }
    match outcome {
        Ok(key) => Ok((
            key.plaintext,
            SealedDataKey {
                ciphertext: key.ciphertext,
                challenge_used,
            },
        )),
        Err(error) => Err(format!("Error calling KMS GenerateDataKey API: {error}")),
    }
}
