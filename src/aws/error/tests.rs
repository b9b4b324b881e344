use super::causes::MAX_TEXT;
use super::*;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::body::SdkBody;

fn call() -> Call<'static> {
    Call {
        what: "cannot start a session on i-1",
        action: "ssm:StartSession",
    }
}

fn context() -> Context {
    Context {
        renew: "run `aws sso login --profile dev`".to_owned(),
    }
}

fn refuse(status: u16, code: Option<&str>, message: Option<&str>) -> Error {
    let answer = HttpResponse::new(status.try_into().expect("a status"), SdkBody::empty());
    service_error(&call(), &context(), &Refusal::new(&answer, code, message))
}

#[test]
fn service_errors_carry_code_and_hint() {
    let cases = [
        ("TargetNotConnected", "SSM Agent", false),
        ("AccessDeniedException", "ssm:StartSession", false),
        (
            "ExpiredTokenException",
            "aws sso login --profile dev",
            false,
        ),
        ("ExpiredToken", "aws sso login --profile dev", false),
        ("UnrecognizedClientException", "does not know these", false),
        ("InvalidClientTokenId", "does not know these", false),
        ("ThrottlingException", "throttled", true),
        ("InvalidDocument", "--document-name", false),
    ];
    for (code, hint, transient) in cases {
        let error = refuse(400, Some(code), Some("Said so."));
        assert_eq!(error.kind(), Kind::Refused, "{code}");
        assert_eq!(error.code(), Some(code));
        assert!(error.hint().unwrap_or_default().contains(hint), "{code}");
        assert_eq!(error.is_transient(), transient, "{code}");
        assert_eq!(
            error.to_string(),
            format!("cannot start a session on i-1: Said so ({code})")
        );
    }
}

#[test]
fn full_names_lose_their_namespace() {
    let error = refuse(400, Some("com.amazonaws.ssm#TargetNotConnected"), None);
    assert_eq!(error.code(), Some("TargetNotConnected"));
    assert_eq!(
        error.to_string(),
        "cannot start a session on i-1: TargetNotConnected"
    );
}

#[test]
fn answers_that_are_not_aws_name_the_status() {
    let error = refuse(503, None, None);
    assert!(error.to_string().contains("503"));
    assert!(error.is_transient());
    assert!(error.hint().is_some());
}

#[test]
fn foreign_text_is_one_clean_line() {
    assert_eq!(one_line("a\r\n\tb\u{1b}[31m  c"), "a b [31m c");
    assert_eq!(
        one_line(&"x".repeat(2 * MAX_TEXT)).chars().count(),
        MAX_TEXT + 1
    );
    assert_eq!(one_line(""), "");
}

#[test]
fn chains_do_not_repeat_themselves() {
    let inner = std::io::Error::other("inner");
    let outer = std::io::Error::other(inner);
    assert_eq!(chain(&outer), "inner");
}
