//! The credentials in use, as far as they may be told.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_credential_types::credential_feature::AwsCredentialFeature;

use super::Aws;
use super::config::get_env;
use super::error::Error;
use crate::text::is_harmful;

/// The credentials in use, without anything secret.
#[derive(Clone, Debug)]
pub struct Keys {
    /// Where they come from, in words.
    pub source: String,
    /// The first and the last four characters of the access key's id.
    pub id: String,
    /// When they end, if they do.
    pub expires: Option<SystemTime>,
    /// How to get fresh ones, as half a sentence.
    pub renew: String,
}

impl Aws {
    /// The credentials in use.
    ///
    /// Fails if there are none.
    pub async fn keys(&self) -> Result<Keys, Error> {
        let credentials = self.credentials().await?;
        Ok(Keys {
            source: self.source(&credentials),
            id: masked(credentials.access_key_id()),
            expires: credentials.expiry(),
            renew: self.0.context.renew.clone(),
        })
    }

    fn source(&self, credentials: &Credentials) -> String {
        use AwsCredentialFeature as From;
        let settings = &self.0.settings;
        let profile = &settings.profile;
        let of_environment = !settings.explicit_profile
            && get_env(&settings.env, "AWS_ACCESS_KEY_ID").as_deref()
                == Some(credentials.access_key_id());
        let features = credentials
            .get_property::<Vec<AwsCredentialFeature>>()
            .map_or(&[][..], Vec::as_slice);
        let has = |wanted: &[From]| features.iter().any(|feature| wanted.contains(feature));
        if of_environment {
            return "the environment".to_owned();
        }
        if has(&[
            From::CredentialsStsAssumeRoleWebId,
            From::CredentialsEnvVarsStsWebIdToken,
        ]) {
            return "a web identity token".to_owned();
        }
        let how = if has(&[From::CredentialsStsAssumeRole]) {
            "a role"
        } else if has(&[From::CredentialsSso, From::CredentialsProfileSso]) {
            "SSO"
        } else if has(&[From::CredentialsProcess, From::CredentialsProfileProcess]) {
            "its credential_process"
        } else if has(&[From::CredentialsImds]) {
            return "instance metadata".to_owned();
        } else if has(&[From::CredentialsHttp]) {
            return "the container's endpoint".to_owned();
        } else {
            return format!("profile {profile}");
        };
        format!("profile {profile}, {how}")
    }
}

fn masked(id: &str) -> String {
    const SHOWN: usize = 4;
    let characters: Vec<char> = id.chars().filter(|&c| !is_harmful(c)).collect();
    match characters.len() {
        0..16 => "...".to_owned(),
        length => {
            let first: String = characters.iter().take(SHOWN).collect();
            let last: String = characters.iter().skip(length - SHOWN).collect();
            format!("{first}...{last}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_keys_are_shown_in_part() {
        assert_eq!(masked("AKIAIOSFODNN7EXAMPLE"), "AKIA...MPLE");
        assert_eq!(masked("short"), "...");
    }
}
