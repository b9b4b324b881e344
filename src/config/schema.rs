//! Which keys there are, what their values look like, and whose file may have them.

/// What a value looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A text.
    Text,
    /// A whole number, from 0.
    Number,
    /// A whole number, or a text such as `10%`.
    Amount,
    /// `true` or `false`.
    Flag,
    /// One of these texts.
    Choice(&'static [&'static str]),
    /// The path of a file; `~/` is the home directory, and others start from the file's own.
    Path,
    /// A text, or a list of them.
    Texts,
    /// Names with a text, or a list of them, each.
    Parameters,
}

/// A key of a file.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name; also that of the option, with hyphens.
    pub name: &'static str,
    /// What its value looks like.
    pub kind: Kind,
    /// Why a project's file must not have it, if that is so.
    pub guarded: Option<&'static str>,
    /// The variable of the environment; none for keys of aliases.
    pub variable: &'static str,
    /// The option that says no to it, for a [`Kind::Flag`].
    pub opposite: &'static str,
    /// Variables of AWS that go before the files.
    pub aws: &'static [&'static str],
    /// What it is for, for documentation.
    pub about: &'static str,
}

const fn setting(name: &'static str, kind: Kind, variable: &'static str) -> Key {
    Key {
        name,
        kind,
        guarded: None,
        variable,
        opposite: "",
        aws: &[],
        about: "",
    }
}

const fn key(name: &'static str, kind: Kind, about: &'static str) -> Key {
    Key {
        about,
        ..setting(name, kind, "")
    }
}

const fn flag(name: &'static str, opposite: &'static str, variable: &'static str) -> Key {
    Key {
        opposite,
        ..setting(name, Kind::Flag, variable)
    }
}

const ELSEWHERE: &str = "it could lead requests and what they are signed with elsewhere";
const ASKS: &str = "it could have others asked for access in the user's name";
const RUNS_HERE: &str = "it names a program to run on this machine";
const RUNS_THERE: &str = "it could run commands on nodes";

/// Settings: what stands at the top of a file. Each has an option of the same name.
pub const SETTINGS: &[Key] = &[
    Key {
        // Keys in the environment are somebody's too.
        aws: &["AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_ACCESS_KEY_ID"],
        ..setting("profile", Kind::Text, "SSMX_PROFILE")
    },
    Key {
        aws: &["AWS_REGION", "AWS_DEFAULT_REGION"],
        ..setting("region", Kind::Text, "SSMX_REGION")
    },
    Key {
        aws: &["AWS_ENDPOINT_URL_SSM", "AWS_ENDPOINT_URL"],
        guarded: Some(ELSEWHERE),
        ..setting("endpoint_url", Kind::Text, "SSMX_ENDPOINT_URL")
    },
    Key {
        aws: &["AWS_CA_BUNDLE"],
        guarded: Some(ELSEWHERE),
        ..setting("ca_bundle", Kind::Path, "SSMX_CA_BUNDLE")
    },
    setting(
        "cli_connect_timeout",
        Kind::Number,
        "SSMX_CLI_CONNECT_TIMEOUT",
    ),
    setting("cli_read_timeout", Kind::Number, "SSMX_CLI_READ_TIMEOUT"),
    setting("color", Kind::Choice(&["on", "off", "auto"]), "SSMX_COLOR"),
    setting(
        "output",
        Kind::Choice(&["json", "table", "text"]),
        "SSMX_OUTPUT",
    ),
    flag("debug", "no_debug", "SSMX_DEBUG"),
    Key {
        guarded: Some(ELSEWHERE),
        ..flag("no_verify_ssl", "verify_ssl", "SSMX_NO_VERIFY_SSL")
    },
    Key {
        guarded: Some(ASKS),
        ..setting("request_access", Kind::Text, "SSMX_REQUEST_ACCESS")
    },
    setting("reason", Kind::Text, "SSMX_REASON"),
    setting("escape_char", Kind::Text, "SSMX_ESCAPE_CHAR"),
    setting("keepalive", Kind::Number, "SSMX_KEEPALIVE"),
    setting("handshake_timeout", Kind::Number, "SSMX_HANDSHAKE_TIMEOUT"),
    setting("payload_size", Kind::Number, "SSMX_PAYLOAD_SIZE"),
    flag("no_eof", "eof", "SSMX_NO_EOF"),
    flag("no_restart", "restart", "SSMX_NO_RESTART"),
    flag("lazy", "no_lazy", "SSMX_LAZY"),
    setting(
        "slow_reader_timeout",
        Kind::Number,
        "SSMX_SLOW_READER_TIMEOUT",
    ),
    setting("idle_timeout", Kind::Number, "SSMX_IDLE_TIMEOUT"),
    setting("max_concurrency", Kind::Amount, "SSMX_MAX_CONCURRENCY"),
    setting("max_errors", Kind::Amount, "SSMX_MAX_ERRORS"),
    Key {
        guarded: Some(RUNS_HERE),
        ..setting("ssh", Kind::Path, "SSMX_SSH")
    },
];

/// Keys of an `[alias.NAME]`.
pub const ALIAS_KEYS: &[Key] = &[
    key("target", Kind::Text, "the node: all that --target takes"),
    key("cluster", Kind::Text, "instead of target: as --cluster"),
    key("service", Kind::Text, "instead of target: as --service"),
    key("task", Kind::Text, "instead of target: as --task"),
    key("container", Kind::Text, "as --container"),
    key("description", Kind::Text, "what it is, for people"),
    key("profile", Kind::Text, "as --profile"),
    key("region", Kind::Text, "as --region"),
    key(
        "forwards",
        Kind::Texts,
        "what -L takes: [BIND:]LPORT:[HOST:]RPORT",
    ),
    key("dynamic", Kind::Texts, "what -D takes: [BIND:]PORT"),
    key("reason", Kind::Text, "as --reason"),
    Key {
        guarded: Some(RUNS_THERE),
        ..key("document", Kind::Text, "as --document-name")
    },
    Key {
        guarded: Some(RUNS_THERE),
        ..key("parameters", Kind::Parameters, "as --parameters")
    },
    Key {
        guarded: Some(RUNS_HERE),
        ..key(
            "command",
            Kind::Texts,
            "what `ssmx run NAME` runs: a program and its arguments",
        )
    },
];

/// The name that is most like `name`, if one is like it at all.
pub fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase().replace('-', "_");
    let farthest = (name.chars().count() / 3).max(1);
    names
        .into_iter()
        .map(|known| {
            let plain = known.to_lowercase().replace('-', "_");
            (distance(&name, &plain, farthest), known)
        })
        .filter(|(distance, _)| *distance <= farthest)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// How many characters have to be put in, taken out, replaced or swapped with their neighbours;
/// more than `limit` for anything above it.
fn distance(a: &str, b: &str, limit: usize) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) > limit {
        return limit + 1;
    }
    // The last two lines of the table, of which line 0 is how far `b` is from nothing.
    let mut before: Vec<usize> = Vec::new();
    let mut line: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let at = |line: &[usize], j: usize| line.get(j).copied().unwrap_or(usize::MAX - 1);
            let mut best = (at(&line, j) + usize::from(x != y))
                .min(at(&line, j + 1) + 1)
                .min(at(&next, j) + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x);
            if swapped {
                best = best.min(at(&before, j - 1) + 1);
            }
            next.push(best);
        }
        before = std::mem::replace(&mut line, next);
    }
    line.last().copied().unwrap_or_default()
}
