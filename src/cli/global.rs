//! Options of all subcommands, with the AWS CLI's names.

use std::ffi::{OsStr, OsString};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::settings::{Settings, Source};
use crate::aws::{self, AccessWish, Aws};
use crate::config::Alias;
use crate::terminal;

/// The AWS CLI's limit for connections and answers, in seconds.
const TIMEOUT: u32 = 60;

/// Options of all subcommands.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Profile of ~/.aws/config to use [env: AWS_PROFILE]
    #[arg(id = "profile", long, global = true, value_name = "NAME")]
    profiles: Vec<String>,
    /// Region of the node [env: AWS_REGION, AWS_DEFAULT_REGION]
    #[arg(long, global = true, value_name = "REGION")]
    region: Option<String>,
    /// Endpoint of SSM, e.g. that of a VPC [env: AWS_ENDPOINT_URL_SSM, AWS_ENDPOINT_URL]
    #[arg(long, global = true, value_name = "URL")]
    endpoint_url: Option<String>,
    /// CA certificates (PEM) to trust beside the system's [env: AWS_CA_BUNDLE]
    #[arg(long, global = true, value_name = "FILE")]
    ca_bundle: Option<PathBuf>,
    /// Take any TLS certificate, whoever may be listening in
    #[arg(long, global = true, overrides_with = "verify_ssl")]
    no_verify_ssl: bool,
    /// Verify TLS certificates (the default)
    #[arg(long, global = true, overrides_with = "no_verify_ssl", hide = true)]
    verify_ssl: bool,
    /// Seconds to wait for a connection; 0 waits for ever
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = TIMEOUT)]
    #[arg(hide_short_help = true)]
    cli_connect_timeout: u32,
    /// Seconds to wait for an answer; 0 waits for ever
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = TIMEOUT)]
    #[arg(hide_short_help = true)]
    cli_read_timeout: u32,
    /// Where a node's policy wants an approval, request access for this reason, and wait; or go on
    /// with a request (oi-…) made before
    #[arg(long, global = true, value_name = "REASON")]
    #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
    request_access: Option<String>,
    /// Tell on stderr what is done; SSMX_LOG=FILTER tells more or less
    #[arg(long, global = true, overrides_with = "no_debug")]
    debug: bool,
    /// Do not (the default)
    #[arg(long, global = true, overrides_with = "debug", hide = true)]
    no_debug: bool,
    /// Colour of notices, tables and --debug lines
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    #[arg(hide_short_help = true)]
    color: Color,
    /// How to print answers
    #[arg(long, global = true, value_name = "FORMAT")]
    output: Option<Output>,
    /// Taken for the AWS CLI's sake: there is no pager
    #[arg(long, global = true, hide = true)]
    no_cli_pager: bool,
    /// Taken for the AWS CLI's sake: nothing is prompted for but what is missing
    #[arg(long, global = true, hide = true)]
    no_cli_auto_prompt: bool,
    /// Taken for the AWS CLI's sake: no option holds bytes
    #[arg(long, global = true, hide = true, value_name = "FORMAT")]
    cli_binary_format: Option<String>,
    /// Where all of it came from.
    #[arg(skip)]
    settings: Arc<Settings>,
    /// The region is for when nothing of AWS's names one: it was not meant for this profile.
    #[arg(skip)]
    region_is_last: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Color {
    On,
    Off,
    Auto,
}

/// How answers are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// As the AWS CLI prints JSON
    Json,
    /// A table (the default)
    Table,
    /// Fields between tabs, as history has them; else a table
    Text,
}

impl Global {
    /// The options as the AWS layer takes them.
    pub fn options(&self) -> aws::Options {
        let limit = |seconds: u32| (seconds > 0).then(|| Duration::from_secs(seconds.into()));
        let region = |last: bool| self.region.clone().filter(|_| last == self.region_is_last);
        aws::Options {
            profile: self.profiles.last().cloned(),
            region: region(false),
            last_region: region(true),
            endpoint_url: self.endpoint_url.clone(),
            ca_bundle: self.ca_bundle.clone(),
            verify_ssl: self.verifies_ssl(),
            connect_timeout: limit(self.cli_connect_timeout),
            read_timeout: limit(self.cli_read_timeout),
            access: self.request_access.clone().map(|reason| AccessWish {
                reason,
                tell: terminal::notice,
            }),
            ..aws::Options::default()
        }
    }

    /// Whether certificates are looked at. The option goes before the setting of its opposite.
    fn verifies_ssl(&self) -> bool {
        self.verify_ssl || !self.no_verify_ssl
    }

    /// The profiles that are named, for commands that take more than one. For others, the last
    /// counts.
    pub fn profiles(&self) -> &[String] {
        &self.profiles
    }

    /// Loads the settings of AWS.
    pub async fn aws(&self) -> anyhow::Result<Aws> {
        Ok(Aws::load(self.options()).await?)
    }

    /// Notes where the options came from.
    pub(super) fn set(&mut self, settings: Settings) {
        let profile_is_chosen = match settings.source("profile") {
            Source::Default | Source::File { .. } => false,
            Source::Environment(name) => *name != "AWS_ACCESS_KEY_ID",
            Source::Option | Source::Alias { .. } => true,
        };
        self.region_is_last =
            profile_is_chosen && matches!(settings.source("region"), Source::File { .. });
        self.settings = Arc::new(settings);
    }

    /// Where the options came from, and the configuration.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The same for an alias; what options say stays.
    pub fn for_alias(&self, alias: &Alias) -> Self {
        let mut global = self.clone();
        let is_open = |key| *self.settings.source(key) != Source::Option;
        if let Some(profile) = alias.profile.as_ref().filter(|_| is_open("profile")) {
            global.profiles = vec![profile.clone()];
            global.region_is_last |= matches!(self.settings.source("region"), Source::File { .. });
        }
        if let Some(region) = alias.region.as_ref().filter(|_| is_open("region")) {
            global.region = Some(region.clone());
            global.region_is_last = false;
        }
        global
    }

    /// The options as given that a later ssmx needs to do the same, wherever it runs.
    pub fn lasting_words(&self) -> Vec<OsString> {
        let mut words: Vec<OsString> = Vec::new();
        let mut add = |name: &str, value: &OsStr| words.extend([name.into(), value.into()]);
        let region = self.options().region;
        let texts = [
            ("--profile", self.profiles.last()),
            ("--region", region.as_ref()),
            ("--endpoint-url", self.endpoint_url.as_ref()),
        ];
        for (name, value) in texts {
            if let Some(value) = value {
                add(name, value.as_ref());
            }
        }
        if let Some(file) = &self.ca_bundle {
            let file = std::path::absolute(file).unwrap_or_else(|_| file.clone());
            add("--ca-bundle", file.as_os_str());
        }
        let limits = [
            ("--cli-connect-timeout", self.cli_connect_timeout),
            ("--cli-read-timeout", self.cli_read_timeout),
        ];
        for (name, seconds) in limits {
            if seconds != TIMEOUT {
                add(name, seconds.to_string().as_ref());
            }
        }
        if !self.verifies_ssl() {
            words.push("--no-verify-ssl".into());
        } else if self.verify_ssl {
            words.push("--verify-ssl".into());
        }
        words
    }

    /// The options as given that are for this time only.
    pub fn passing_words(&self) -> Vec<OsString> {
        let access = self.request_access.iter();
        let access = access.flat_map(|reason| ["--request-access", reason.as_str()]);
        let color: &[&str] = match self.color {
            Color::On => &["--color", "on"],
            Color::Off => &["--color", "off"],
            Color::Auto => &[],
        };
        let debug: &[&str] = match (self.debug(), self.no_debug) {
            (true, _) => &["--debug"],
            (_, true) => &["--no-debug"],
            _ => &[],
        };
        [debug, color]
            .concat()
            .into_iter()
            .chain(access)
            .map(OsString::from)
            .collect()
    }

    /// Whether access to nodes is to be asked for.
    pub fn wants_access(&self) -> bool {
        self.request_access.is_some()
    }

    /// Whether answers are wanted as JSON.
    pub fn wants_json(&self) -> bool {
        self.output == Some(Output::Json)
    }

    /// Whether answers are wanted as fields between tabs, where there are such.
    pub fn wants_text(&self) -> bool {
        self.output == Some(Output::Text)
    }

    /// Whether an option of this command line asks for answers as JSON.
    pub fn is_asked_for_json(&self) -> bool {
        self.wants_json() && *self.settings.source("output") == Source::Option
    }

    /// Whether to tell on stderr what is done.
    pub fn debug(&self) -> bool {
        self.debug && !self.no_debug
    }

    /// Whether stderr may have colour.
    pub fn color(&self) -> bool {
        self.color_on(&std::io::stderr())
    }

    /// Whether stdout may have colour.
    pub fn stdout_color(&self) -> bool {
        self.color_on(&std::io::stdout())
    }

    fn color_on(&self, stream: &impl IsTerminal) -> bool {
        match self.color {
            Color::On => true,
            Color::Off => false,
            Color::Auto => {
                let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
                stream.is_terminal()
                    && !set("NO_COLOR")
                    && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Cli;
    use super::*;
    use clap::Parser;

    fn parse(words: &[&str]) -> Global {
        let base = ["ssmx", "get-connection-status", "--target", "i-1"];
        Cli::try_parse_from(base.iter().chain(words))
            .expect("good")
            .global
    }

    #[test]
    fn the_defaults_are_those_of_the_aws_cli() {
        let options = parse(&[]).options();
        assert!(options.verify_ssl);
        assert_eq!(options.connect_timeout, Some(Duration::from_secs(60)));
        assert_eq!(options.read_timeout, Some(Duration::from_secs(60)));
    }

    #[test]
    fn zero_is_no_limit_and_the_last_verification_wins() {
        let options = parse(&["--cli-read-timeout", "0", "--cli-connect-timeout", "7"]).options();
        assert_eq!(options.read_timeout, None);
        assert_eq!(options.connect_timeout, Some(Duration::from_secs(7)));
        assert!(!parse(&["--no-verify-ssl"]).options().verify_ssl);
        assert!(
            !parse(&["--verify-ssl", "--no-verify-ssl"])
                .options()
                .verify_ssl
        );
        assert!(
            parse(&["--no-verify-ssl", "--verify-ssl"])
                .options()
                .verify_ssl
        );
    }

    #[test]
    fn options_are_handed_on_as_given() {
        let none: [OsString; 0] = [];
        assert_eq!(parse(&[]).lasting_words(), none);
        assert_eq!(parse(&[]).passing_words(), none);
        let words = [
            "--profile",
            "p",
            "--region",
            "r",
            "--endpoint-url",
            "http://e",
            "--cli-connect-timeout",
            "0",
            "--no-verify-ssl",
            "--debug",
            "--color",
            "off",
        ];
        let global = parse(&words);
        let all = [global.lasting_words(), global.passing_words()].concat();
        assert_eq!(all, words);
        let words = parse(&["--ca-bundle", "ca.pem"]).lasting_words();
        assert!(std::path::Path::new(&words[1]).is_absolute());
        let words = parse(&["--profile", "a", "--profile", "b"]).lasting_words();
        assert_eq!(words, ["--profile", "b"]);
    }

    #[test]
    fn colour_can_be_forced() {
        assert!(parse(&["--color", "on"]).color());
        assert!(!parse(&["--color", "off"]).color());
    }
}
