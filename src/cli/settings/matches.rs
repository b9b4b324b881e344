//! What was read of a command line, whichever subcommand it is of.

use std::ffi::OsString;

use clap::ArgMatches;

use super::super::ssh;

/// Options that take a target, by which an alias may be meant.
const TARGETS: [&str; 2] = ["target", "target_option"];

/// The one that takes many; an alias counts if it stands alone.
const MANY: &str = "targets";

pub(super) fn innermost(matches: &ArgMatches) -> &ArgMatches {
    match matches.subcommand() {
        Some((_, inner)) => innermost(inner),
        None => matches,
    }
}

/// The target that the command line names.
pub(super) fn target(matches: &ArgMatches) -> Option<String> {
    let inner = innermost(matches);
    if matches.subcommand_name() == Some("ssh") {
        let words = inner.try_get_many::<OsString>("words").ok()??;
        let words: Vec<OsString> = words.cloned().collect();
        return ssh::host(&words);
    }
    if matches.subcommand_name() == Some("cp") {
        let paths = inner.try_get_many::<OsString>("paths").ok()??;
        let of = |path: &OsString| {
            path.to_str()?
                .split_once(':')
                .map(|(host, _)| host.to_owned())
        };
        return paths.into_iter().find_map(of);
    }
    let one = TARGETS.iter().find_map(|id| {
        let found = inner.try_get_one::<String>(id).ok()?;
        found.cloned()
    });
    one.or_else(|| {
        let mut found = inner.try_get_many::<String>(MANY).ok()??;
        match (found.next(), found.next()) {
            (Some(only), None) => Some(only.clone()),
            _ => None,
        }
    })
}

/// The value as it was given.
pub(super) fn text_of(matches: &ArgMatches, id: &str) -> Option<String> {
    let values = matches.try_get_raw(id).ok()??;
    let texts: Vec<_> = values.map(|value| value.to_string_lossy()).collect();
    Some(texts.join(" "))
}
