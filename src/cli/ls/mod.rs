//! `ssmx ls`: the managed nodes, of several regions and profiles at once if so wanted.

mod filter;
mod print;

use std::collections::VecDeque;

use tokio::sync::mpsc;

use super::global::Global;
use super::target::tell_what_is_lacking;
use crate::aws::{self, Aws, Error, Node, regions_beside};
use crate::terminal;

use filter::Filter;
use print::{Place, Printer};

/// Regions and profiles that are asked at the same time.
const AT_ONCE: usize = 8;

/// `ssmx ls`
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    ssmx ls                                    all nodes of the region\n  \
    ssmx ls web ping=online                    those with web in id, name or address\n  \
    ssmx ls tag:Environment=production platform=linux\n  \
    ssmx ls --all-regions --profile a --profile b --output json\n\n\
    --profile may be repeated.")]
pub struct Args {
    /// A part of id, name or address; tag:KEY=VALUE; platform=linux, windows, macos or a part of
    /// its name; ping=online, lost or inactive. All of them have to hold
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,
    /// Ask all regions of the partition; those that the caller may not use are passed over
    #[arg(long)]
    all_regions: bool,
}

/// One region of one profile.
struct Source {
    aws: Aws,
    place: Place,
}

/// A source that is being asked.
struct Asked {
    source: Source,
    pages: mpsc::Receiver<Result<Vec<Node>, Error>>,
}

/// Runs the subcommand; the exit status.
pub async fn run(global: &Global, args: Args) -> anyhow::Result<u8> {
    let filter = Filter::parse(&args.filters)?;
    let sources = sources(global, args.all_regions).await?;
    let many = sources.len() > 1;
    let mut printer = Printer::new(global.wants_json(), many);
    let mut left = sources.into_iter();
    let mut asked = VecDeque::new();
    let (mut answered, mut failures) = (false, Vec::new());
    let mut lacking = None;
    loop {
        let begun = left.by_ref().take(AT_ONCE - asked.len());
        asked.extend(begun.map(|source| Asked {
            pages: source.aws.nodes(filter.asked.clone()).spawn(),
            source,
        }));
        // In the order given, while those behind it fetch their first pages.
        let Some(mut one) = asked.pop_front() else {
            break;
        };
        while let Some(page) = one.pages.recv().await {
            match page {
                Ok(mut nodes) => {
                    answered = true;
                    nodes.retain(|node| filter.keeps(node));
                    if !printer.print(&one.source.place, &nodes)? {
                        return Ok(0);
                    }
                }
                Err(error) => failures.push((one.source.place.clone(), error)),
            }
        }
        if one.source.aws.lacks_properties() {
            lacking.get_or_insert(one.source.aws);
        }
    }
    if answered {
        printer.finish()?;
    }
    // Of many, the others are worth having.
    let goes_on = failures.is_empty() || (answered && many);
    if !goes_on {
        return Err(failures.swap_remove(0).1.into());
    }
    if let Some(aws) = &lacking {
        tell_what_is_lacking(aws);
    }
    Ok(tell(failures, args.all_regions))
}

/// Whom to ask. Credentials are looked for one profile after another: that may ask the user.
async fn sources(global: &Global, all_regions: bool) -> Result<Vec<Source>, Error> {
    let profiles = match global.profiles() {
        [] => vec![None],
        some => {
            let mut names: Vec<Option<String>> = Vec::new();
            for name in some.iter().cloned().map(Some) {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
            names
        }
    };
    let many = profiles.len() > 1 || all_regions;
    let mut sources = Vec::new();
    for profile in profiles {
        let aws = Aws::load(aws::Options {
            profile: profile.clone(),
            ..global.options()
        })
        .await?;
        if many {
            aws.prepare("cannot list the nodes").await?;
        }
        let region = aws.region().to_owned();
        let regions = match all_regions {
            true => regions_beside(&region),
            false => vec![region.as_str()],
        };
        sources.extend(regions.into_iter().map(|region| Source {
            aws: aws.in_region(region),
            place: match many {
                true => Place {
                    profile: profile.clone(),
                    region: Some(region.to_owned()),
                },
                false => Place::default(),
            },
        }));
    }
    Ok(sources)
}

/// Tells what could not be listed, each reason once; the exit status. Of all regions some may be
/// closed to the caller, which does no harm.
fn tell(failures: Vec<(Place, Error)>, all_regions: bool) -> u8 {
    let mut status = 0;
    let mut reasons: Vec<(String, Vec<String>)> = Vec::new();
    for (place, error) in failures {
        let region = place.region.unwrap_or_default();
        let place = match place.profile {
            Some(profile) => format!("{region} (profile {profile})"),
            None => region,
        };
        let closed = all_regions && (error.is_access_denied() || error.is_credentials());
        // Texts may name the region.
        let reason = match error.code() {
            Some(code) if closed => code,
            _ => error.reason(),
        };
        match reasons.iter_mut().find(|(known, _)| known == reason) {
            Some((_, places)) => places.push(place),
            None => reasons.push((reason.to_owned(), vec![place])),
        }
        if status == 0 && !closed {
            status = super::report::aws_status(&error);
        }
    }
    for (reason, places) in reasons {
        terminal::notice(&format!("not listed: {}: {reason}", places.join(", ")));
    }
    status
}

#[cfg(test)]
mod tests {
    use super::super::Cli;
    use super::super::report::USAGE;
    use clap::Parser;

    #[test]
    fn profiles_may_be_repeated() {
        let cli = Cli::try_parse_from(["ssmx", "ls", "--profile", "a", "x", "--profile=b"]);
        assert_eq!(cli.expect("good").global.profiles(), ["a", "b"]);
        let failure = super::Filter::parse(&["ping=x".to_owned()]).expect_err("bad");
        assert_eq!(failure.status, USAGE);
    }
}
