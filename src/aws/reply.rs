//! What services answer, where no SDK reads it: errors by their names.

use serde_json::Value;

use super::error::one_line;

/// The header that names an error.
pub(super) const ERROR_TYPE: &str = "x-amzn-errortype";

/// What a service answered.
#[derive(Clone, Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// The service's name for the error.
    pub code: Option<String>,
    /// What it says of it, in one line.
    pub message: String,
    /// The answer if it is JSON, else null.
    pub json: Value,
    /// The answer as it came.
    pub text: String,
    /// Seconds that the service's clock is ahead of this machine's, if it told the time.
    pub ahead: Option<i64>,
}

impl Reply {
    /// Whether the service did what it was asked for.
    pub fn is_good(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether the caller lacks a permission.
    pub fn is_denied(&self) -> bool {
        let code = self.code.as_deref().unwrap_or_default();
        matches!(
            code,
            "AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation"
        )
    }

    /// The text of the first XML element of this name.
    pub fn element(&self, name: &str) -> Option<&str> {
        element(&self.text, name)
    }
}

/// The text of the first XML element of this name, without anything unescaped.
pub(super) fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (inner, _) = rest.split_once(&format!("</{name}>"))?;
    Some(inner.trim()).filter(|inner| !inner.is_empty())
}

/// The name of the error in a refusal, by its header or its body.
pub(super) fn code(header: Option<&str>, body: &str) -> Option<String> {
    let json = || text(&json(body), ["__type", "code"]);
    let xml = || element(body, "Code").map(str::to_owned);
    let code = header.map(str::to_owned).or_else(json).or_else(xml)?;
    // As in `com.amazonaws.ssm#TargetNotConnected`, `AccessDeniedException:http://…`.
    let code = code.split(':').next().unwrap_or_default();
    Some(one_line(code.rsplit('#').next().unwrap_or_default())).filter(|code| !code.is_empty())
}

/// What a refusal says of the error.
pub(super) fn message(body: &str) -> Option<String> {
    let xml = || element(body, "Message").map(str::to_owned);
    text(&json(body), ["message", "Message"]).or_else(xml)
}

fn json(body: &str) -> Value {
    serde_json::from_str(body).unwrap_or(Value::Null)
}

fn text(json: &Value, keys: [&str; 2]) -> Option<String> {
    let found = keys.iter().find_map(|key| json.get(key)?.as_str());
    found.map(str::to_owned)
}

impl Reply {
    pub(super) fn new(
        status: u16,
        error_type: Option<String>,
        text: String,
        ahead: Option<i64>,
    ) -> Self {
        let is_error = !(200..300).contains(&status);
        let of_error = |found: Option<String>| found.filter(|_| is_error);
        let message = of_error(message(&text)).unwrap_or_default();
        Self {
            status,
            code: of_error(code(error_type.as_deref(), &text)),
            message: one_line(message.trim_end_matches('.')),
            json: json(&text),
            text,
            ahead,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_found_in_json_and_xml() {
        let cases = [
            (
                r#"{"__type":"com.amazonaws.ssm#TargetNotConnected","message":"no."}"#,
                "TargetNotConnected",
            ),
            (
                r#"{"__type":"AccessDeniedException","Message":"no"}"#,
                "AccessDeniedException",
            ),
            (
                "<ErrorResponse><Error><Code>ExpiredToken</Code><Message>no.</Message></Error></ErrorResponse>",
                "ExpiredToken",
            ),
        ];
        for (text, code) in cases {
            let reply = Reply::new(400, None, text.to_owned(), None);
            assert_eq!(
                (reply.code.as_deref(), reply.message.as_str()),
                (Some(code), "no")
            );
        }
        let good = Reply::new(200, None, "<Code>16</Code>".to_owned(), None);
        assert_eq!((good.is_denied(), good.code), (false, None));
    }
}
