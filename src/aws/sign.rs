//! Signs what no SDK signs: SigV4 in headers, of calls made by hand and of the WebSocket's upgrade
//! request, which is for the service `ssmmessages`.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use url::Url;

use super::error;

const SERVICE: &str = "ssmmessages";

/// Query keys of a URL that carries its signature itself.
const PRESIGNED: [&str; 7] = [
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-SignedHeaders",
    "X-Amz-Signature",
    "X-Amz-Security-Token",
];

/// Whether the URL is presigned, and must then not be signed again.
pub(super) fn is_presigned(url: &Url) -> bool {
    url.query_pairs().any(|(key, _)| {
        PRESIGNED
            .iter()
            .any(|known| key.eq_ignore_ascii_case(known))
    })
}

/// A request to be signed.
pub(super) struct Unsigned<'a> {
    /// The service's name in signatures.
    pub service: &'a str,
    pub region: &'a str,
    pub method: &'a str,
    pub url: &'a str,
    pub headers: &'a [(&'static str, String)],
    pub body: &'a [u8],
}

/// The headers that sign a request to an API: date, token, authorization. Signed are all of its
/// own, `host`, and these.
pub(super) fn headers(
    request: &Unsigned<'_>,
    credentials: &Credentials,
    now: SystemTime,
) -> Result<Vec<(String, String)>, String> {
    headers_with(SigningSettings::default(), request, credentials, now)
}

fn headers_with(
    settings: SigningSettings,
    request: &Unsigned<'_>,
    credentials: &Credentials,
    now: SystemTime,
) -> Result<Vec<(String, String)>, String> {
    let identity = credentials.clone().into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(request.region)
        .name(request.service)
        .time(now)
        .settings(settings)
        .build()
        .map_err(|error| error::chain(&error))?
        .into();
    let own = request.headers.iter();
    let signable = SignableRequest::new(
        request.method,
        request.url,
        own.map(|(name, value)| (*name, value.as_str())),
        SignableBody::Bytes(request.body),
    )
    .map_err(|error| error::chain(&error))?;
    let (instructions, _signature) = sign(signable, &params)
        .map_err(|error| error::chain(&error))?
        .into_parts();
    Ok(instructions
        .headers()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect())
}

/// The headers to add to the GET request: `x-amz-date`, `authorization`, and with temporary
/// credentials `x-amz-security-token`. These and `host` are what is signed.
///
/// The canonical path is the URL's, encoded once more. The canonical query is decoded as a form,
/// so that a raw `+` counts as a space; on the wire the URL stays as it is.
pub(super) fn upgrade_headers(
    url: &Url,
    region: &str,
    credentials: &Credentials,
    now: SystemTime,
) -> Result<Vec<(String, String)>, String> {
    let mut settings = SigningSettings::default();
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    let request = Unsigned {
        service: SERVICE,
        region,
        method: "GET",
        url: url.as_str(),
        headers: &[],
        body: &[],
    };
    headers_with(settings, &request, credentials, now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::hmac;
    use sha2::{Digest, Sha256};
    use std::time::Duration;

    /// 2026-11-24T20:38:00Z
    const NOW: Duration = Duration::from_secs(1_795_552_680);

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn mac(key: &[u8], text: &str) -> Vec<u8> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
    }

    /// SigV4 by the book over a canonical request written out by hand.
    fn signature(canonical: &str, secret: &str) -> String {
        let scope = "20261124/us-east-1/ssmmessages/aws4_request";
        let digest = hex(&Sha256::digest(canonical.as_bytes()));
        let to_sign = format!("AWS4-HMAC-SHA256\n20261124T203800Z\n{scope}\n{digest}");
        let key = mac(format!("AWS4{secret}").as_bytes(), "20261124");
        let key = mac(&key, "us-east-1");
        let key = mac(&key, "ssmmessages");
        let key = mac(&key, "aws4_request");
        hex(&mac(&key, &to_sign))
    }

    fn upgraded(url: &str, token: Option<&str>) -> Vec<(String, String)> {
        let credentials = Credentials::new(
            "AKIDEXAMPLE",
            "secret",
            token.map(str::to_owned),
            None,
            "test",
        );
        let url = Url::parse(url).expect("a URL of this test");
        upgrade_headers(
            &url,
            "us-east-1",
            &credentials,
            SystemTime::UNIX_EPOCH + NOW,
        )
        .expect("can be signed")
    }

    fn get<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
        headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    #[test]
    fn matches_a_canonical_request_written_by_hand() {
        let url = "wss://ssmmessages.us-east-1.amazonaws.com/v1/data-channel/user@corp-0a%2Fb\
                   ?role=publish_subscribe&cell-number=AA+BB/CC%2B==";
        let canonical = "GET\n\
            /v1/data-channel/user%40corp-0a%252Fb\n\
            cell-number=AA%20BB%2FCC%2B%3D%3D&role=publish_subscribe\n\
            host:ssmmessages.us-east-1.amazonaws.com\n\
            x-amz-date:20261124T203800Z\n\
            x-amz-security-token:the token\n\
            \n\
            host;x-amz-date;x-amz-security-token\n\
            e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let headers = upgraded(url, Some("the token"));
        let expected = format!(
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261124/us-east-1/ssmmessages/aws4_request, \
             SignedHeaders=host;x-amz-date;x-amz-security-token, Signature={}",
            signature(canonical, "secret")
        );
        assert_eq!(get(&headers, "authorization"), Some(expected.as_str()));
        assert_eq!(get(&headers, "x-amz-date"), Some("20261124T203800Z"));
        assert_eq!(get(&headers, "x-amz-security-token"), Some("the token"));
        assert_eq!(headers.len(), 3);
    }

    #[test]
    fn a_port_belongs_to_the_host_and_no_token_to_no_header() {
        let canonical = "GET\n\
            /v1/data-channel/s\n\
            role=publish_subscribe\n\
            host:127.0.0.1:8080\n\
            x-amz-date:20261124T203800Z\n\
            \n\
            host;x-amz-date\n\
            e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let headers = upgraded(
            "ws://127.0.0.1:8080/v1/data-channel/s?role=publish_subscribe",
            None,
        );
        let authorization = get(&headers, "authorization").expect("signed");
        assert!(
            authorization.ends_with(&format!("Signature={}", signature(canonical, "secret"))),
            "{authorization}"
        );
        assert_eq!(headers.len(), 2);
    }

    #[test]
    fn presigned_urls_are_known() {
        for key in PRESIGNED {
            let url = Url::parse(&format!("wss://h/p?role=x&{key}=y")).expect("a URL");
            assert!(is_presigned(&url), "{key}");
        }
        let plain = Url::parse("wss://h/p?role=x&cell-number=X-Amz-Date").expect("a URL");
        assert!(!is_presigned(&plain));
    }

    #[test]
    fn all_headers_of_a_call_are_signed() {
        let keys = Credentials::new("AKID", "secret", Some("token".to_owned()), None, "test");
        let request = Unsigned {
            service: "ecs",
            region: "us-east-1",
            method: "POST",
            url: "https://ecs.us-east-1.amazonaws.com/",
            headers: &[("x-amz-target", "A.B".to_owned())],
            body: b"{}",
        };
        let made = headers(&request, &keys, SystemTime::UNIX_EPOCH).expect("can be signed");
        assert_eq!(get(&made, "x-amz-security-token"), Some("token"));
        let authorization = get(&made, "authorization").expect("a signature");
        assert!(
            authorization
                .contains("SignedHeaders=host;x-amz-date;x-amz-security-token;x-amz-target"),
            "{authorization}"
        );
        assert!(!authorization.contains("secret"));
    }
}
