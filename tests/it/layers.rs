//! The layers of the crate: who may use whom, and what keeps `protocol` pure.
//!
//! This reads the sources as text. It knows `crate::…` and `super::…` paths and the names
//! below, which is enough to notice a slip; it is no defence against trying.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Each layer and the layers that it may use.
const LAYERS: &[(&str, &[&str])] = &[
    (
        "cli",
        &[
            "session", "channel", "mux", "aws", "terminal", "loopback", "protocol", "config",
            "text",
        ],
    ),
    (
        "session",
        &["channel", "mux", "aws", "terminal", "protocol", "text"],
    ),
    ("channel", &["aws", "protocol", "text"]),
    ("loopback", &["mux", "protocol"]),
    ("mux", &["protocol"]),
    ("aws", &["text"]),
    ("config", &[]),
    ("terminal", &["text"]),
    ("protocol", &[]),
    ("text", &[]),
];

/// Names, and where the sources must not mention them.
const FOREIGN: &[(&str, Forbidden)] = &[
    ("anyhow", Forbidden::Outside(&["cli"])),
    ("clap", Forbidden::Outside(&["cli"])),
    ("crossterm", Forbidden::Outside(&["terminal", "cli"])),
    ("aws_sdk_ec2instanceconnect::", Forbidden::Outside(&["aws"])),
    ("aws_sdk_kms::", Forbidden::Outside(&["aws"])),
    ("aws_sdk_ssm::", Forbidden::Outside(&["aws"])),
    ("aws_sdk_sts::", Forbidden::Outside(&["aws"])),
    ("aws_config::", Forbidden::Outside(&["aws"])),
    // No runtime and no system underneath the protocol.
    ("tokio", Forbidden::Inside(&["protocol"])),
    ("hyper", Forbidden::Inside(&["protocol"])),
    ("std::env", Forbidden::Inside(&["protocol"])),
    ("std::fs", Forbidden::Inside(&["protocol"])),
    ("std::net", Forbidden::Inside(&["protocol"])),
    ("std::process", Forbidden::Inside(&["protocol"])),
    ("std::thread", Forbidden::Inside(&["protocol"])),
    // No clock and no randomness of its own.
    ("Instant::now", Forbidden::Inside(&["protocol"])),
    ("SystemTime", Forbidden::Inside(&["protocol"])),
    ("Rng::new", Forbidden::Inside(&["protocol"])),
    ("new_v4", Forbidden::Inside(&["protocol"])),
    ("SystemRandom", Forbidden::Inside(&["protocol"])),
    ("getrandom", Forbidden::Inside(&["protocol"])),
    ("rand::fill", Forbidden::Inside(&["protocol"])),
];

enum Forbidden {
    /// In all layers but these.
    Outside(&'static [&'static str]),
    /// In these layers only.
    Inside(&'static [&'static str]),
}

impl Forbidden {
    fn within(&self, layer: &str) -> bool {
        match self {
            Forbidden::Outside(layers) => !layers.contains(&layer),
            Forbidden::Inside(layers) => layers.contains(&layer),
        }
    }
}

#[test]
fn modules_use_only_the_layers_below_them() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut slips = Vec::new();
    for file in rust_files(&source) {
        let path = file.strip_prefix(&source).unwrap();
        let text = code(&fs::read_to_string(&file).unwrap());
        slips.extend(
            check(path, &text)
                .into_iter()
                .map(|slip| format!("src/{}: {slip}", path.display())),
        );
    }
    assert!(slips.is_empty(), "{}", slips.join("\n"));
}

#[test]
fn the_check_sees_what_it_should() {
    let slips = |path: &str, text: &str| check(Path::new(path), &code(text));
    for (path, text) in [
        ("protocol/sender.rs", "use crate::aws::Aws;"),
        (
            "protocol/sender.rs",
            "use crate::{protocol::x, channel::Channel};",
        ),
        ("protocol/sender.rs", "let now = Instant::now();"),
        ("protocol/mod.rs", "use super::terminal;"),
        ("loopback/agent/mod.rs", "use super::super::session::Shell;"),
        ("channel.rs", "fn f() { crate::session::run() }"),
        ("aws/mod.rs", "use anyhow::Context;"),
    ] {
        assert_eq!(slips(path, text).len(), 1, "{path}: {text}");
    }
    for (path, text) in [
        ("cli/shell.rs", "use crate::{aws, session::{self, Shell}};"),
        ("session/mod.rs", "use crate::terminal::RawMode;"),
        ("protocol/mod.rs", "use crate::protocol::message;"),
        (
            "protocol/sender.rs",
            "use super::message; // not crate::aws",
        ),
        (
            "protocol/sender.rs",
            "/// As `crate::aws` does with tokio.\nstruct S;",
        ),
        (
            "protocol/sender.rs",
            "#[cfg(test)]\nmod tests {\n use tokio::x;\n}",
        ),
        ("terminal/tests.rs", "use super::unix::Sink;"),
    ] {
        assert_eq!(slips(path, text), [""; 0], "{path}: {text}");
    }
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// The text without line comments, and without the tests that stand at its end.
fn code(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let tests_follow = line.trim() == "#[cfg(test)]"
            && lines
                .peek()
                .is_some_and(|next| next.contains("mod ") && next.trim_end().ends_with('{'));
        if tests_follow {
            break;
        }
        code.push_str(line.split("//").next().unwrap_or_default());
        code.push('\n');
    }
    code
}

fn check(path: &Path, text: &str) -> Vec<String> {
    let parts: Vec<_> = path.iter().filter_map(|part| part.to_str()).collect();
    let layer = parts[0].trim_end_matches(".rs");
    let is_layer = |name: &str| LAYERS.iter().any(|(layer, _)| *layer == name);
    if parts.len() == 1 && !is_layer(layer) {
        return Vec::new(); // lib.rs and main.rs put the layers together.
    }
    let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == layer) else {
        return vec![format!(
            "`{layer}` is in no layer: give it a place in {}",
            file!()
        )];
    };
    if parts.last() == Some(&"tests.rs") {
        return Vec::new();
    }
    let depth = match parts.last() {
        Some(&"mod.rs") => parts.len() - 1,
        _ => parts.len(),
    };
    let mut slips: Vec<_> = used(text, depth)
        .into_iter()
        .filter(|name| is_layer(name) && name != layer && !allowed.contains(&name.as_str()))
        .map(|name| format!("`{layer}` must not use `{name}`"))
        .collect();
    slips.extend(
        FOREIGN
            .iter()
            .filter(|(name, forbidden)| forbidden.within(layer) && mentions(text, name))
            .map(|(name, _)| format!("`{layer}` must not mention `{name}`")),
    );
    slips
}

/// The first names of the paths that start at the root of the crate.
fn used(text: &str, depth: usize) -> BTreeSet<String> {
    let escape = "super::".repeat(depth);
    let mut names = BTreeSet::new();
    for root in ["crate::", &escape] {
        for (at, _) in text.match_indices(root) {
            let before = &text[..at];
            if before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            names.extend(first_names(&text[at + root.len()..]));
        }
    }
    names
}

/// `a::b` gives a; `{a::{b, c}, d}` gives a and d.
fn first_names(path: &str) -> Vec<String> {
    let identifier = |text: &str| -> String {
        text.trim_start()
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect()
    };
    let Some(group) = path.strip_prefix('{') else {
        return vec![identifier(path)];
    };
    let mut names = vec![identifier(group)];
    let mut level = 1;
    for (at, c) in group.char_indices() {
        match c {
            '{' => level += 1,
            '}' => level -= 1,
            ',' if level == 1 => names.push(identifier(&group[at + 1..])),
            _ => {}
        }
        if level == 0 {
            break;
        }
    }
    names
}

/// Whether the name stands in the text, not as the end of a longer one.
fn mentions(text: &str, name: &str) -> bool {
    text.match_indices(name)
        .any(|(at, _)| !text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
}
