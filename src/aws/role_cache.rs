//! Credentials of assumed roles in `~/.aws/cli/cache`, in the AWS CLI's own form: who gave an MFA
//! code to `aws` need not give another to ssmx, and the other way round.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_lc_rs::digest;
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use aws_types::os_shim_internal::Env;
use serde_json::{Value, json};

use super::config::home_dir;

/// Credentials with less time left than this are not taken from the cache.
const MARGIN: Duration = Duration::from_secs(120);

/// What a profile says of the role to assume.
#[derive(Clone, Debug)]
pub(super) struct Role {
    pub arn: String,
    pub mfa_serial: Option<String>,
    pub session_name: Option<String>,
    pub external_id: Option<String>,
    pub duration: Option<i32>,
}

impl Role {
    /// The session's name: the profile's, or one with the time in it.
    pub(super) fn session_name_at(&self, now: SystemTime) -> String {
        self.session_name.clone().unwrap_or_else(|| {
            let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            format!("ssmx-session-{seconds}")
        })
    }

    /// The AWS CLI's name for this request: SHA-1 over its arguments as Python prints them.
    fn cache_key(&self) -> String {
        let mut parts = Vec::new();
        let mut add = |name: &str, value: Value| parts.push(format!("\"{name}\": {value}"));
        if let Some(seconds) = self.duration {
            add("DurationSeconds", json!(seconds));
        }
        if let Some(id) = &self.external_id {
            add("ExternalId", json!(id));
        }
        add("RoleArn", json!(self.arn));
        if let Some(name) = &self.session_name {
            add("RoleSessionName", json!(name));
        }
        if let Some(serial) = &self.mfa_serial {
            add("SerialNumber", json!(serial));
        }
        let text = format!("{{{}}}", parts.join(", "));
        let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
        hash.as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

/// The cache file of one role.
pub(super) struct RoleCache(PathBuf);

impl RoleCache {
    /// `None` without a home directory.
    pub(super) fn new(env: &Env, role: &Role) -> Option<Self> {
        let mut path = home_dir(env)?;
        path.extend([".aws", "cli", "cache"]);
        path.push(format!("{}.json", role.cache_key()));
        Some(Self(path))
    }

    /// What is cached and good for a while yet; anything odd in the file is as good as no file.
    pub(super) fn read(&self, now: SystemTime) -> Option<Credentials> {
        let cached: Value = serde_json::from_slice(&fs::read(&self.0).ok()?).ok()?;
        let cached = cached.get("Credentials")?;
        let get = |key| cached.get(key).and_then(Value::as_str);
        let expiry = parse_time(get("Expiration")?)?;
        if expiry.checked_sub(MARGIN)? <= now {
            return None;
        }
        Some(Credentials::new(
            get("AccessKeyId")?,
            get("SecretAccessKey")?,
            Some(get("SessionToken")?.to_owned()),
            Some(expiry),
            "AssumeRoleCache",
        ))
    }

    /// Keeps credentials, readable for the user alone. Failing to is no reason to fail.
    pub(super) fn write(&self, credentials: &Credentials) {
        if let Err(error) = self.try_write(credentials) {
            tracing::debug!(%error, "cannot keep the role's credentials");
        }
    }

    fn try_write(&self, credentials: &Credentials) -> std::io::Result<()> {
        let expiry = credentials
            .expiry()
            .and_then(|time| DateTime::from(time).fmt(Format::DateTime).ok());
        let (Some(expiry), Some(token)) = (expiry, credentials.session_token()) else {
            return Ok(());
        };
        let text = json!({
            "Credentials": {
                "AccessKeyId": credentials.access_key_id(),
                "SecretAccessKey": credentials.secret_access_key(),
                "SessionToken": token,
                "Expiration": expiry,
            }
        })
        .to_string();
        if let Some(directory) = self.0.parent() {
            fs::create_dir_all(directory)?;
        }
        // Written aside and renamed: a reader never sees half of it.
        let aside = self.0.with_extension(format!("{}.tmp", std::process::id()));
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt;
            options.mode(0o600);
        }
        let written = options
            .open(&aside)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .and_then(|()| fs::rename(&aside, &self.0));
        if written.is_err() {
            // Nothing more can be done about a leftover.
            let _ = fs::remove_file(&aside);
        }
        written
    }
}

/// The AWS CLI writes `…Z`, `…UTC` or `…+00:00`.
fn parse_time(text: &str) -> Option<SystemTime> {
    let plain = text.strip_suffix("UTC").unwrap_or(text);
    let plain = if plain.len() == 19 {
        format!("{plain}Z")
    } else {
        plain.to_owned()
    };
    DateTime::from_str(&plain, Format::DateTimeWithOffset)
        .ok()?
        .try_into()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role() -> Role {
        Role {
            arn: "arn:aws:iam::123456789012:role/admin".to_owned(),
            mfa_serial: Some("arn:aws:iam::123456789012:mfa/me".to_owned()),
            session_name: None,
            external_id: None,
            duration: None,
        }
    }

    #[test]
    fn keys_are_those_of_the_aws_cli() {
        // From botocore's AssumeRoleCredentialFetcher with the same arguments.
        assert_eq!(
            role().cache_key(),
            "b26e45a5efba11b34b676c5657f44efc9db2add0"
        );
        let role = Role {
            session_name: Some("me".to_owned()),
            external_id: Some("a\"b".to_owned()),
            duration: Some(3600),
            ..role()
        };
        assert_eq!(role.cache_key(), "2eab97310d35159f782d3aa3ee22961ae1da6728");
    }

    #[test]
    fn what_is_written_can_be_read_until_it_ends() {
        let home = tempfile::tempdir().expect("a directory for this test");
        let env = Env::from_slice(&[("HOME", home.path().to_str().expect("UTF-8"))]);
        let cache = RoleCache::new(&env, &role()).expect("there is a home");
        let start = UNIX_EPOCH + Duration::from_secs(1_795_552_680);
        assert!(cache.read(start).is_none());
        let end = start + Duration::from_secs(3600);
        let credentials = Credentials::new("A", "S", Some("T".to_owned()), Some(end), "test");
        cache.write(&credentials);
        let read = cache.read(start).expect("cached");
        assert_eq!(read.access_key_id(), "A");
        assert_eq!(read.session_token(), Some("T"));
        assert_eq!(read.expiry(), Some(end));
        assert!(cache.read(end - Duration::from_secs(60)).is_none());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(&cache.0).expect("a file").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        fs::write(&cache.0, "{\"Credentials\": 3}").expect("writable");
        assert!(cache.read(start).is_none());
    }

    #[test]
    fn times_of_all_forms() {
        let expected = UNIX_EPOCH + Duration::from_secs(1_795_552_680);
        for text in [
            "2026-11-24T20:38:00Z",
            "2026-11-24T20:38:00UTC",
            "2026-11-24T20:38:00+00:00",
            "2026-11-24T21:38:00+01:00",
        ] {
            assert_eq!(parse_time(text), Some(expected), "{text}");
        }
        for text in ["", "UTC", "yesterday", "2026-11-24"] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }
}
