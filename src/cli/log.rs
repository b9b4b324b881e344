//! What is told under `--debug`, and what `SSMX_LOG` selects: to stderr, never a secret.

use std::io::{self, IsTerminal, Write};

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;

use super::report::Failure;

/// Under `--debug`: all of ours, and how credentials are found.
const DEBUG: &str = "warn,ssmx=debug,aws_config=debug";

/// These log requests, answers and keys when asked for everything: the most that they may say.
const TALKATIVE: [(&str, LevelFilter); 13] = [
    ("aws_credential_types", LevelFilter::INFO),
    ("aws_runtime", LevelFilter::INFO),
    ("aws_sdk_ec2instanceconnect", LevelFilter::INFO),
    ("aws_sdk_kms", LevelFilter::INFO),
    ("aws_sdk_ssm", LevelFilter::INFO),
    ("aws_sdk_sso", LevelFilter::INFO),
    ("aws_sdk_ssooidc", LevelFilter::INFO),
    ("aws_sdk_sts", LevelFilter::INFO),
    ("aws_sigv4", LevelFilter::INFO),
    ("aws_smithy_runtime", LevelFilter::INFO),
    ("aws_smithy_runtime_api", LevelFilter::INFO),
    ("hyper_util", LevelFilter::DEBUG),
    ("tungstenite", LevelFilter::INFO),
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
        .with_max_level(LevelFilter::TRACE)
        .with_writer(|| Lines(io::stderr()))
        .with_ansi(color)
        .finish()
        .with(filter(directives)?);
    // Only a second subscriber could fail, and there is none.
    let _ = tracing::subscriber::set_global_default(subscriber);
    Ok(())
}

fn filter(directives: &str) -> anyhow::Result<Targets> {
    // Finer directives for these would win over the caps below.
    let ours: Vec<&str> = directives
        .split(',')
        .filter(|part| !part.trim().is_empty())
        .filter(|part| !TALKATIVE.iter().any(|(name, _)| crate_of(part) == *name))
        .collect();
    let mut filter: Targets = ours.join(",").parse().map_err(|error| {
        Failure::usage(format!("SSMX_LOG: {error}"))
            .hint("a level (error, warn, info, debug, trace), or such as ssmx::channel=trace,warn")
    })?;
    let default = filter.default_level().unwrap_or(LevelFilter::WARN);
    filter = filter.with_default(default);
    for (name, cap) in TALKATIVE {
        filter = filter.with_target(name, cap.min(default));
    }
    Ok(filter)
}

/// The crate that a directive is for.
fn crate_of(directive: &str) -> &str {
    let end = directive.find([':', '=', '[']).unwrap_or(directive.len());
    directive.get(..end).unwrap_or(directive).trim()
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
            let filter = filter(good).expect(good);
            assert!(!filter.would_enable("aws_smithy_runtime::x", &tracing::Level::DEBUG));
            assert!(filter.would_enable("other", &tracing::Level::WARN));
        }
        let finer = filter("aws_smithy_runtime::client=trace,ssmx=info").expect("good");
        assert!(!finer.would_enable("aws_smithy_runtime::client", &tracing::Level::TRACE));
        assert!(finer.would_enable("ssmx::channel", &tracing::Level::INFO));
        assert!(
            !filter("off")
                .expect("good")
                .would_enable("aws_sigv4", &tracing::Level::ERROR)
        );
        let error = filter("ssmx=loud").expect_err("no level");
        assert!(error.to_string().contains("SSMX_LOG"));
    }
}
