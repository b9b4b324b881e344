//! `ssmx man`: manual pages.

use std::fs;
use std::path::PathBuf;

use super::output;
use super::report::Failure;

/// `ssmx man`
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    ssmx man | man -l -                       read it\n  \
    ssmx man ~/.local/share/man/man1          for `man ssmx`, `man ssmx-forward` …")]
pub struct Args {
    /// Write a page for each subcommand into this directory, instead of the first to stdout
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
}

/// Runs the subcommand; the exit status.
pub fn run(args: &Args) -> anyhow::Result<u8> {
    let definition = super::definition();
    let Some(directory) = &args.directory else {
        let mut page = Vec::new();
        clap_mangen::Man::new(definition).render(&mut page)?;
        output::text(&String::from_utf8_lossy(&page))?;
        return Ok(0);
    };
    let failed = |error| {
        Failure::other(format!(
            "cannot write the pages to {}: {error}",
            directory.display()
        ))
    };
    fs::create_dir_all(directory).map_err(failed)?;
    clap_mangen::generate_to(definition, directory).map_err(failed)?;
    Ok(0)
}
