//! The nodes there are: from a moment ago, or from AWS if that answers soon.

use std::ffi::OsString;
use std::time::Duration;

use tokio::time::timeout;

use super::super::{output, settings};
use super::cache::Cache;
use super::values::{Choice, Words};
use crate::aws::{self, Aws, NodeFilter};

/// Nodes that are kept; among more nobody finds one by completing.
const MOST: usize = 10_000;
/// Nobody wants to wait longer while typing.
const SOON: Duration = Duration::from_millis(1500);

/// Ids and names of nodes; none if there are none to be had soon.
pub(super) fn choices(words: &Words) -> Vec<Choice> {
    let Some(global) = settings::global(&words.globals) else {
        return Vec::new();
    };
    // What the answer depends on. Keys are told apart, and not kept.
    let variables = [
        "AWS_PROFILE",
        "AWS_DEFAULT_PROFILE",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_ACCESS_KEY_ID",
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_SSM",
        "AWS_CONFIG_FILE",
        "AWS_SHARED_CREDENTIALS_FILE",
    ];
    let mut parts = global.lasting_words();
    parts.extend(variables.map(|name| std::env::var_os(name).unwrap_or_else(OsString::new)));
    let cache = Cache::of(&parts);
    let kept = cache.as_ref().and_then(Cache::read);
    let lines = kept.unwrap_or_else(|| {
        let lines = ask(global.options(), list);
        if let Some(cache) = &cache {
            cache.write(lines.as_deref());
        }
        lines.unwrap_or_default()
    });
    lines.iter().flat_map(|line| choices_of(line)).collect()
}

/// A node by its id and, behind a tab, its name.
fn choices_of(line: &str) -> impl Iterator<Item = Choice> + use<> {
    let (id, name) = line.split_once('\t').unwrap_or((line, ""));
    let name = (!name.is_empty()).then(|| name.to_owned());
    let by_id = (id.to_owned(), name.clone());
    let by_name = name.map(|name| (name, Some(id.to_owned())));
    by_name.into_iter().chain([by_id])
}

/// What `list` makes of AWS, if that answers soon.
pub(super) fn ask<T>(
    options: aws::Options,
    list: impl AsyncFnOnce(&Aws) -> Option<T>,
) -> Option<T> {
    let runtime = super::super::report::runtime().ok()?;
    let options = aws::Options {
        may_prompt: false,
        ..options
    };
    let answer = async {
        let aws = Aws::load(options).await.ok()?;
        list(&aws).await
    };
    let answer = runtime.block_on(async { timeout(SOON, answer).await });
    // Nobody waits for what has not been answered.
    runtime.shutdown_background();
    answer.ok()?
}

/// Those that are online, page by page; of more than are of use, the first.
async fn list(aws: &Aws) -> Option<Vec<String>> {
    let mut nodes = aws.nodes(vec![NodeFilter::Ping("Online".to_owned())]);
    let mut lines = Vec::new();
    while let Some(page) = nodes.next().await.ok()? {
        lines.extend(page.iter().map(|node| {
            let name = node.name.as_deref().unwrap_or_default();
            output::plain(&node.id) + "\t" + &output::plain(name)
        }));
        if lines.len() >= MOST {
            break;
        }
    }
    Some(lines)
}
