//! Verifies AWS Signature Version 4, by hand: the peer must not judge itself by its own signer.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::{constant_time, hmac};
use hyper::header::{AUTHORIZATION, HOST, HeaderMap};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// How far the date of a request may be off.
const TOLERANCE: Duration = Duration::from_secs(15 * 60);

/// Who may sign, and for where.
pub(super) struct Signer<'a> {
    pub(super) access_key_id: &'a str,
    pub(super) secret_access_key: &'a str,
    pub(super) region: &'a str,
}

/// What was signed.
pub(super) struct Signed<'a> {
    pub(super) method: &'a str,
    /// As on the wire.
    pub(super) path: &'a str,
    /// As on the wire, without the question mark.
    pub(super) query: &'a str,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a [u8],
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum SignatureError {
    #[error("Missing Authentication Token")]
    Missing,
    #[error("{0}")]
    Incomplete(&'static str),
    #[error("The security token included in the request is invalid.")]
    UnknownKey,
    #[error("Credential should be scoped to correct {0}.")]
    Scope(&'static str),
    #[error("Signature expired: the date of the request is more than 15 minutes off.")]
    Expired,
    #[error(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
    )]
    Mismatch,
}

impl SignatureError {
    /// The name that AWS's JSON services give it.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Missing => "MissingAuthenticationTokenException",
            Self::Incomplete(_) => "IncompleteSignatureException",
            Self::UnknownKey => "UnrecognizedClientException",
            Self::Scope(_) | Self::Expired | Self::Mismatch => "InvalidSignatureException",
        }
    }
}

/// The region that a request was signed for, as far as it says.
pub(super) fn region(headers: &HeaderMap) -> Option<&str> {
    let authorization = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (_, credential) = authorization.split_once("Credential=")?;
    credential.split('/').nth(2)
}

/// The access key that a request names.
pub(super) fn access_key(headers: &HeaderMap) -> Option<&str> {
    let authorization = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (_, credential) = authorization.split_once("Credential=")?;
    credential.split('/').next()
}

/// Whether `request` was signed for `service` by `signer`, lately.
pub(super) fn verify(
    signer: &Signer<'_>,
    service: &str,
    request: &Signed<'_>,
    now: SystemTime,
) -> Result<(), SignatureError> {
    let header = |name: &str| request.headers.get(name).and_then(|v| v.to_str().ok());
    let authorization = header(AUTHORIZATION.as_str()).ok_or(SignatureError::Missing)?;
    let fields = authorization
        .strip_prefix("AWS4-HMAC-SHA256")
        .ok_or(SignatureError::Incomplete("The algorithm is unknown."))?;
    let field = |name: &str| {
        fields
            .split(',')
            .find_map(|field| field.trim().strip_prefix(name)?.strip_prefix('='))
    };
    let missing = SignatureError::Incomplete("The Authorization header lacks a field.");
    let credential = field("Credential").ok_or_else(|| missing.clone())?;
    let signed_headers = field("SignedHeaders").ok_or_else(|| missing.clone())?;
    let signature = field("Signature").ok_or(missing)?;
    let date = header("x-amz-date").ok_or(SignatureError::Incomplete("There is no X-Amz-Date."))?;

    let mut scope = credential.split('/');
    if scope.next() != Some(signer.access_key_id) {
        return Err(SignatureError::UnknownKey);
    }
    let day = scope.next().unwrap_or_default();
    if !date.starts_with(day) || day.len() != 8 {
        return Err(SignatureError::Scope("date"));
    }
    if scope.next() != Some(signer.region) {
        return Err(SignatureError::Scope("region"));
    }
    if scope.next() != Some(service) {
        return Err(SignatureError::Scope("service"));
    }
    if scope.next() != Some("aws4_request") || scope.next().is_some() {
        return Err(SignatureError::Scope("termination string"));
    }
    let sent = parse_date(date).ok_or(SignatureError::Incomplete("X-Amz-Date is no date."))?;
    let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    if since_epoch.abs_diff(sent) > TOLERANCE.as_secs() {
        return Err(SignatureError::Expired);
    }
    for required in [HOST.as_str(), "x-amz-date"] {
        if !signed_headers.split(';').any(|name| name == required) {
            return Err(SignatureError::Incomplete("Host or date is not signed."));
        }
    }

    let canonical = canonical_request(request, signed_headers)?;
    let to_sign = format!(
        "AWS4-HMAC-SHA256\n{date}\n{day}/{}/{service}/aws4_request\n{}",
        signer.region,
        hex(&Sha256::digest(canonical))
    );
    let mut key = format!("AWS4{}", signer.secret_access_key).into_bytes();
    for part in [day, signer.region, service, "aws4_request", &to_sign] {
        let mac = hmac::Key::new(hmac::HMAC_SHA256, &key);
        key = hmac::sign(&mac, part.as_bytes()).as_ref().to_vec();
    }
    constant_time::verify_slices_are_equal(hex(&key).as_bytes(), signature.as_bytes())
        .map_err(|_| SignatureError::Mismatch)
}

fn canonical_request(request: &Signed<'_>, signed_headers: &str) -> Result<String, SignatureError> {
    let mut headers = String::new();
    for name in signed_headers.split(';') {
        let values: Vec<String> = request
            .headers
            .get_all(name)
            .iter()
            .map(|value| {
                let text = String::from_utf8_lossy(value.as_bytes());
                text.split_whitespace().collect::<Vec<_>>().join(" ")
            })
            .collect();
        if values.is_empty() {
            return Err(SignatureError::Mismatch);
        }
        headers.push_str(&format!("{name}:{}\n", values.join(",")));
    }
    let body = match request.headers.get("x-amz-content-sha256") {
        // It is believed only if it is right.
        Some(hash) if hash.as_bytes() != hex(&Sha256::digest(request.body)).as_bytes() => {
            return Err(SignatureError::Mismatch);
        }
        _ => hex(&Sha256::digest(request.body)),
    };
    Ok(format!(
        "{}\n{}\n{}\n{headers}\n{signed_headers}\n{body}",
        request.method,
        encode(request.path.as_bytes(), b"/"),
        canonical_query(request.query),
    ))
}

/// Decoded as a form, so that a raw `+` is a space, sorted and encoded again.
fn canonical_query(query: &str) -> String {
    let mut pairs: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes())
        .map(|(key, value)| (encode(key.as_bytes(), b""), encode(value.as_bytes(), b"")))
        .collect();
    pairs.sort();
    let pairs: Vec<String> = pairs
        .into_iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    pairs.join("&")
}

/// Percent-encodes all but unreserved characters and those in `keep`.
fn encode(text: &[u8], keep: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(byte) || keep.contains(byte) {
            out.push(char::from(*byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `20261124T203000Z` in seconds since 1970.
fn parse_date(text: &str) -> Option<u64> {
    let number = |range: std::ops::Range<usize>| -> Option<i64> { text.get(range)?.parse().ok() };
    if text.len() != 16 || text.get(8..9) != Some("T") || !text.ends_with('Z') {
        return None;
    }
    let (year, month, day) = (number(0..4)?, number(4..6)?, number(6..8)?);
    // Days of the civil calendar, with years that begin in March.
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    let seconds = number(9..11)? * 3600 + number(11..13)? * 60 + number(13..15)?;
    u64::try_from((days - 719_468) * 86_400 + seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_seconds_since_1970() {
        assert_eq!(parse_date("19700101T000000Z"), Some(0));
        assert_eq!(parse_date("20150830T123600Z"), Some(1_440_938_160));
        assert_eq!(parse_date("20240229T235959Z"), Some(1_709_251_199));
        assert_eq!(parse_date("2024-02-29T23:59Z"), None);
    }

    /// AWS's published example, and what may be wrong with it.
    #[test]
    fn the_published_example_verifies() {
        let signer = Signer {
            access_key_id: "AKIDEXAMPLE",
            secret_access_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            region: "us-east-1",
        };
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("host", "iam.amazonaws.com"),
            (
                "content-type",
                "application/x-www-form-urlencoded; charset=utf-8",
            ),
            ("x-amz-date", "20150830T123600Z"),
            (
                "authorization",
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, SignedHeaders=content-type;host;x-amz-date, Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
            ),
        ] {
            headers.insert(name, hyper::header::HeaderValue::from_static(value));
        }
        let now = UNIX_EPOCH + Duration::from_secs(1_440_938_160 + 60);
        let request = |query| Signed {
            method: "GET",
            path: "/",
            query,
            headers: &headers,
            body: b"",
        };
        let query = "Version=2010-05-08&Action=ListUsers";
        assert_eq!(verify(&signer, "iam", &request(query), now), Ok(()));
        assert_eq!(
            verify(&signer, "iam", &request("Action=Other"), now),
            Err(SignatureError::Mismatch)
        );
        assert_eq!(
            verify(&signer, "ssm", &request(query), now),
            Err(SignatureError::Scope("service"))
        );
        let late = now + Duration::from_secs(3600);
        assert_eq!(
            verify(&signer, "iam", &request(query), late),
            Err(SignatureError::Expired)
        );
    }

    #[test]
    fn a_raw_plus_in_the_query_counts_as_a_space() {
        assert_eq!(canonical_query("b=A+B/=&a=1"), "a=1&b=A%20B%2F%3D");
    }
}
