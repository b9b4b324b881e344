//! What is told under `--debug`, and what `SSMX_LOG` selects: to stderr, never a secret.

use std::io::{self, IsTerminal, Write};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::report::Failure;

/// Under `--debug`: all of ours, and how credentials are found.
const DEBUG: &str = "warn,ssmx=debug,aws_config=debug";

/// These log requests, answers and keys when asked for everything; never let them.
const TALKATIVE: [&str; 12] = [
    "aws_credential_types=info",
    "aws_runtime=info",
    "aws_sdk_kms=info",
    "aws_sdk_ssm=info",
    "aws_sdk_sso=info",
    "aws_sdk_ssooidc=info",
    "aws_sdk_sts=info",
    "aws_sigv4=info",
    "aws_smithy_runtime=info",
    "aws_smithy_runtime_api=info",
    "hyper_util=debug",
    "tungstenite=info",
];

/// Starts logging if it is asked for: by `debug`, or by `SSMX_LOG`, which says what.
pub(super) fn start(debug: bool, color: bool) -> anyhow::Result<()> {
    let wanted = std::env::var("SSMX_LOG").unwrap_or_default();
    let directives = match (wanted.is_empty(), debug) {
        (true, false) => return Ok(()),
        (true, true) => DEBUG,
        (false, _) => wanted.as_str(),
    };
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter(directives)?)
        .with_writer(|| Lines(io::stderr()))
        .with_ansi(color)
        .finish();
    // Only a second subscriber could fail, and there is none.
    let _ = tracing::subscriber::set_global_default(subscriber);
    Ok(())
}

fn filter(directives: &str) -> anyhow::Result<EnvFilter> {
    let complain = |error: &dyn std::fmt::Display| {
        Failure::usage(format!("SSMX_LOG: {error}"))
            .hint("a level (error, warn, info, debug, trace), or such as ssmx::channel=trace,warn")
    };
    // Finer directives for these would win over the caps below.
    let ours: Vec<&str> = directives
        .split(',')
        .filter(|part| !TALKATIVE.iter().any(|cap| is_about(part, cap)))
        .collect();
    let mut filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::WARN.into())
        .parse(ours.join(","))
        .map_err(|error| complain(&error))?;
    for directive in TALKATIVE {
        let directive = directive.parse().map_err(|error| complain(&error))?;
        filter = filter.add_directive(directive);
    }
    Ok(filter)
}

/// Whether a directive is for the crate of a cap.
fn is_about(directive: &str, cap: &str) -> bool {
    let name = |text: &str| {
        let end = text.find([':', '=', '[']).unwrap_or(text.len());
        text.get(..end).unwrap_or(text).trim().to_owned()
    };
    name(directive) == name(cap)
}

/// Ends lines for a terminal in raw mode too, where a line feed alone makes stairs.
struct Lines(io::Stderr);

impl Write for Lines {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        if !self.0.is_terminal() {
            return self.0.write(text);
        }
        let mut out = Vec::with_capacity(text.len() + 2);
        for &byte in text {
            if byte == b'\n' {
                out.push(b'\r');
            }
            out.push(byte);
        }
        self.0.write_all(&out)?;
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_checked_and_capped() {
        for good in [DEBUG, "trace", "ssmx::aws=trace", "info,ssmx=debug"] {
            let filter = filter(good).expect(good).to_string();
            assert!(filter.contains("aws_smithy_runtime=info"), "{filter}");
        }
        let finer = filter("aws_smithy_runtime::client=trace,ssmx=info").expect("good");
        assert!(!finer.to_string().contains("client=trace"), "{finer}");
        let error = filter("ssmx=loud").expect_err("no level");
        assert!(error.to_string().contains("SSMX_LOG"));
    }
}
