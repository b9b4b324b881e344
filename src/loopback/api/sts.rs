//! STS, which unlike the others takes forms and answers in XML.

use hyper::StatusCode;
use hyper::http::request::Parts;

use super::super::sigv4::{self, Signed};
use super::super::state::{Shared, wall_clock};
use super::{ACCOUNT, signed};

/// Whether a request is for this service.
pub(super) fn is_call(head: &Parts) -> bool {
    let kind = head.headers.get(hyper::header::CONTENT_TYPE);
    kind.is_some_and(|kind| {
        kind.as_bytes()
            .starts_with(b"application/x-www-form-urlencoded")
    })
}

pub(super) fn handle(shared: &Shared, head: &Parts, body: &[u8]) -> (StatusCode, String) {
    let request: Signed<'_> = signed(head, body);
    let signer = shared.signer_in(super::region(shared, head));
    if let Err(error) = sigv4::verify(&signer, "sts", &request, wall_clock()) {
        return refusal(error.code(), &error.to_string());
    }
    let mut pairs = url::form_urlencoded::parse(body);
    let action = pairs.find_map(|(key, value)| (key == "Action").then(|| value.into_owned()));
    let action = action.unwrap_or_default();
    let state = shared.state();
    if state.denied.contains(&action) {
        return refusal("AccessDenied", "It is not allowed.");
    }
    if action != "GetCallerIdentity" {
        return refusal("InvalidAction", "loopback does not answer this.");
    }
    let body = format!(
        "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
         <GetCallerIdentityResult><Arn>{}</Arn><UserId>AIDALOOPBACK</UserId>\
         <Account>{ACCOUNT}</Account></GetCallerIdentityResult>\
         <ResponseMetadata><RequestId>-</RequestId></ResponseMetadata>\
         </GetCallerIdentityResponse>",
        escaped(&state.caller)
    );
    (StatusCode::OK, body)
}

fn refusal(code: &str, message: &str) -> (StatusCode, String) {
    let body = format!(
        "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error>\
         <Type>Sender</Type><Code>{}</Code><Message>{}</Message></Error>\
         <RequestId>-</RequestId></ErrorResponse>",
        escaped(code),
        escaped(message)
    );
    (StatusCode::FORBIDDEN, body)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
