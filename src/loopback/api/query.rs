//! Services that take forms and answer in XML: who the caller is (STS), and what instances there
//! are (EC2), no more of it than tells why one is not managed.

use std::sync::Arc;

use hyper::StatusCode;
use serde_json::Value;

use super::super::sigv4;
use super::super::state::Shared;
use super::{ACCOUNT, Refusal, now, prepared, region, signed};

/// A form that was sent.
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    /// The form of a request, if it is one.
    pub(super) fn of(head: &hyper::http::request::Parts, body: &[u8]) -> Option<Self> {
        let content_type = head.headers.get(hyper::header::CONTENT_TYPE)?;
        let content_type = content_type.to_str().ok()?;
        content_type
            .starts_with("application/x-www-form-urlencoded")
            .then(|| Self(url::form_urlencoded::parse(body).into_owned().collect()))
    }

    fn get(&self, key: &str) -> Option<&str> {
        let field = self.0.iter().find(|(name, _)| name == key);
        field.map(|(_, value)| value.as_str())
    }

    /// What is asked for.
    pub(super) fn operation(&self) -> &str {
        self.get("Action").unwrap_or_default()
    }
}

/// Answers a form; the status and the XML.
pub(super) fn handle(
    shared: &Arc<Shared>,
    head: &hyper::http::request::Parts,
    body: &[u8],
    form: &Form,
) -> (StatusCode, String) {
    let operation = form.operation();
    let service = match operation {
        "GetCallerIdentity" => "sts",
        "DescribeInstances" => "ec2",
        _ => return error(StatusCode::BAD_REQUEST, "InvalidAction", operation),
    };
    let signed = signed(head, body);
    let region = region(shared, head);
    let signer = shared.signer_in(region);
    if let Err(wrong) = sigv4::verify(&signer, service, &signed, now(shared)) {
        return error(StatusCode::FORBIDDEN, wrong.code(), &wrong.to_string());
    }
    if let Some((status, body)) = prepared(shared, operation) {
        // Tests may well have scripted XML.
        let Ok(json) = serde_json::from_str::<Value>(&body) else {
            return (status, body);
        };
        let text = |key: &str| json.get(key).and_then(Value::as_str).unwrap_or_default();
        return error(status, text("__type"), text("message"));
    }
    let answer = match operation {
        "GetCallerIdentity" => Ok(caller(shared)),
        _ => instance(shared, region, form.get("InstanceId.1").unwrap_or_default()),
    };
    match answer {
        Ok(xml) => (StatusCode::OK, xml),
        Err(refusal) => error(refusal.status, refusal.code, &refusal.message),
    }
}

fn error(status: StatusCode, code: &str, message: &str) -> (StatusCode, String) {
    let (code, message) = (escape(code), escape(message));
    let xml = format!(
        "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error><RequestId>-</RequestId></ErrorResponse>"
    );
    (status, xml)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

fn caller(shared: &Shared) -> String {
    let arn = escape(&shared.state().caller);
    format!(
        "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
         <GetCallerIdentityResult><Arn>{arn}</Arn>\
         <UserId>AIDALOOPBACK</UserId><Account>{ACCOUNT}</Account></GetCallerIdentityResult>\
         <ResponseMetadata><RequestId>-</RequestId></ResponseMetadata>\
         </GetCallerIdentityResponse>"
    )
}

/// Managed instances are there, with an instance profile; others are not.
fn instance(shared: &Shared, region: &str, id: &str) -> Result<String, Refusal> {
    let state = shared.state();
    let node = state.nodes.iter().find(|node| {
        let its = node.region.as_deref().unwrap_or(&shared.options.region);
        node.id == id && its == region
    });
    let Some(node) = node else {
        return Err(Refusal {
            status: StatusCode::BAD_REQUEST,
            code: "InvalidInstanceID.NotFound",
            message: format!("The instance ID '{id}' does not exist"),
        });
    };
    Ok(format!(
        "<DescribeInstancesResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\">\
         <reservationSet><item><instancesSet><item><instanceId>{id}</instanceId>\
         <instanceState><name>{}</name></instanceState>\
         <iamInstanceProfile><arn>arn:aws:iam::{ACCOUNT}:instance-profile/node</arn></iamInstanceProfile>\
         </item></instancesSet></item></reservationSet></DescribeInstancesResponse>",
        node.state
    ))
}
