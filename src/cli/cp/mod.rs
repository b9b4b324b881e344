//! `ssmx cp`: files to and from a node, with neither sshd nor keys nor buckets.

mod progress;
mod spec;

use std::ffi::OsString;

use clap::ValueEnum;

use super::global::Global;
use super::liveness::Liveness;
use super::report::{FAILURE, Failure};
use super::start_session::{self, Started};
use super::target;
use crate::session::copy::{
    self, CopyFailure, Destination, Download, Encoding, Link, Manner, RemotePath, Source, Upload,
};
use crate::terminal;

use progress::Progress;
use spec::Place;

/// `ssmx cp`
#[derive(Clone, Debug, clap::Args)]
#[command(
    override_usage = "ssmx cp [OPTIONS] SOURCE… TARGET:PATH\n       \
    ssmx cp [OPTIONS] TARGET:PATH… DESTINATION",
    after_help = "Examples:\n  \
    ssmx cp app.tar.gz i-…:/opt/app/           a file into a directory of the node\n  \
    ssmx cp -rp i-…:/var/log/app logs          a directory with modes and times\n  \
    pg_dump db | ssmx cp - i-…:dump.sql        standard input into a file\n  \
    ssmx cp i-…:/etc/hosts -                   a file to standard output\n  \
    ssmx cp site.zip 'i-…:C:\\inetpub\\'         a file to a node with Windows\n\n\
    Paths of the node that do not begin with / are in its user's home directory. A path here that \
    has a colon in its first part is written ./a:b, a target that has one [fd00::1]:PATH. At a \
    terminal :PATH has a list of nodes to pick from.\n\n\
    It takes a POSIX sh on the node, stty, and programs that coreutils or busybox have. Checksums \
    are compared. What an interrupted copy leaves (NAME.ssmx-part) the same command goes on with; into a \
    directory that it made itself SOURCE/. goes on. Patterns such as *.log are not known on nodes.\n\n\
    On a node with Windows it takes PowerShell 5.1, and a second session, of \
    AWS-StartPortForwardingSession, carries the bytes; paths are written C:\\DIR\\FILE or C:/DIR/FILE, \
    -p keeps times and the read-only attribute. This follows the documentation of Windows and has \
    not been tried on a Windows machine yet."
)]
pub struct Args {
    /// What to copy, and where to; - is standard input or output
    #[arg(required = true, num_args = 2.., value_names = ["SOURCE", "DESTINATION"])]
    paths: Vec<OsString>,
    /// Copy directories with all that is in them; symbolic links stay links
    #[arg(short, long)]
    recursive: bool,
    /// Keep modes and modification times
    #[arg(short, long)]
    preserve: bool,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
    /// How bytes pass: raw as they are, base64 at three quarters of the speed; auto tries
    #[arg(
        long,
        value_name = "HOW",
        default_value = "auto",
        hide_short_help = true
    )]
    encoding: How,
    /// The node runs Windows: without this, and unless its path begins with a drive, one more
    /// session finds that out
    #[arg(long)]
    windows: bool,
    /// Why; goes into the session's history
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    liveness: Liveness,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum How {
    Auto,
    Raw,
    Base64,
}

/// What is to be copied.
#[derive(Debug)]
enum Plan {
    Up(Vec<Source>, RemotePath),
    Down(Vec<RemotePath>, Place),
}

impl Plan {
    /// Whether a path of the node is one of Windows.
    fn says_windows(&self) -> bool {
        match self {
            Self::Up(_, to) => copy::begins_with_drive(to),
            Self::Down(paths, _) => paths.iter().any(copy::begins_with_drive),
        }
    }
}

/// Runs the subcommand; the exit status.
pub async fn run(global: &Global, args: Args) -> anyhow::Result<u8> {
    let (target, plan) = plan(&args.paths)?;
    let settings = copy::Settings {
        channel: args.liveness.options(),
        encoding: match args.encoding {
            How::Auto => None,
            How::Raw => Some(Encoding::Raw),
            How::Base64 => Some(Encoding::Base64),
        },
    };
    let manner = Manner {
        preserve: args.preserve,
        recursive: args.recursive,
    };
    let target = Some(target.as_str()).filter(|target| !target.is_empty());
    target::check(target, "name the node before the colon, as in i-…:PATH")?;
    let aws = global.aws().await?;
    // Ids take no call.
    let target = global.target(&aws, target).await?;
    let mut windows = args.windows || plan.says_windows();
    let mut link = loop {
        let asked = copy::ask(target.clone(), args.reason.clone(), windows);
        let grant = match start_session::start(&aws, &asked.request).await? {
            Started::Session(grant) => grant,
            Started::Signal(number) => return Ok(128 + number),
        };
        terminal::install_panic_hook();
        let watch = Box::new(Progress::new(args.quiet));
        match Link::open(aws.clone(), grant, asked, settings.clone(), watch).await {
            Ok(link) => break link,
            // What the first session was for is known now.
            Err(CopyFailure::Windows) if !windows => windows = true,
            Err(failure) => return report(failure),
        }
    };
    let copied = match plan {
        Plan::Up(sources, to) => {
            let to = link.path(to);
            Upload::new(&mut link, manner).run(sources, to).await
        }
        Plan::Down(sources, to) => {
            let sources = sources.into_iter().map(|path| link.path(path)).collect();
            let to = match to {
                Place::Local(to) => Destination::Path(to),
                Place::Stream | Place::Remote(..) => Destination::Stdout,
            };
            Download::new(&mut link, manner).run(sources, to).await
        }
    };
    link.close(copied.is_ok()).await;
    match copied {
        Ok(0) => Ok(0),
        // Each was told.
        Ok(_) => Ok(FAILURE),
        Err(failure) => report(failure),
    }
}

/// The exit status for what ended a copy, or the error.
fn report(failure: CopyFailure) -> anyhow::Result<u8> {
    const SIGPIPE: u8 = 13;
    match failure {
        CopyFailure::Signal(number) => Ok(128 + number),
        CopyFailure::OutputGone(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
            Ok(128 + SIGPIPE)
        }
        CopyFailure::OutputGone(error) => {
            Err(Failure::other(format!("cannot write to stdout: {error}")).into())
        }
        CopyFailure::Session(failure) => Err(failure.into()),
        failure => {
            let error = Failure::other(failure.to_string());
            Err(match failure.hint() {
                Some(hint) => error.hint(hint),
                None => error,
            }
            .into())
        }
    }
}

/// Which way, and on what target.
fn plan(paths: &[OsString]) -> Result<(String, Plan), Failure> {
    if paths.iter().any(|path| path.is_empty()) {
        return Err(Failure::usage("a path is empty")
            .hint("the directory that one is in is . here and TARGET: on a node"));
    }
    let mut places: Vec<Place> = paths.iter().map(|path| Place::parse(path)).collect();
    let Some(to) = places.pop().filter(|_| !places.is_empty()) else {
        return Err(Failure::usage("nothing to copy"));
    };
    match to {
        Place::Remote(target, to) => {
            let several = places.len() > 1;
            let sources = places.into_iter().map(|place| match place {
                Place::Local(path) => Ok(Source::Path(path)),
                Place::Stream if several => Err(Failure::usage(
                    "standard input cannot be copied together with files",
                )),
                Place::Stream => Ok(Source::Stdin),
                Place::Remote(..) => Err(both_remote()),
            });
            let sources = sources.collect::<Result<_, _>>()?;
            Ok((target, Plan::Up(sources, to)))
        }
        to => {
            let mut target = None;
            let mut sources = Vec::new();
            for place in places {
                let Place::Remote(of, path) = place else {
                    return Err(Failure::usage("none of the paths is a node's")
                        .hint("write TARGET:PATH, as in i-…:/var/log/syslog; for files of this machine there is cp"));
                };
                if target.get_or_insert_with(|| of.clone()) != &of {
                    return Err(Failure::usage("the sources are of several targets")
                        .hint("copy from one after the other"));
                }
                sources.push(path);
            }
            match target {
                Some(_) if to == Place::Stream && sources.len() > 1 => Err(Failure::usage(
                    "several files cannot be copied to standard output",
                )),
                Some(target) => Ok((target, Plan::Down(sources, to))),
                None => Err(Failure::usage("nothing to copy")),
            }
        }
    }
}

fn both_remote() -> Failure {
    Failure::usage("source and destination are both of nodes")
        .hint("copy through this machine: ssmx cp A:PATH - | ssmx cp - B:PATH")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(words: &[&str]) -> String {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        match plan(&words) {
            Ok((target, Plan::Up(sources, to))) => format!("{target} up {} {to}", sources.len()),
            Ok((target, Plan::Down(sources, to))) => {
                format!("{target} down {} {to:?}", sources.len())
            }
            Err(failure) => failure.what,
        }
    }

    #[test]
    fn one_side_is_a_node() {
        let cases: [(&[&str], &str); 13] = [
            (&["", "i-1:"], "a path is empty"),
            (&["i-1:a", ""], "a path is empty"),
            (&["a", "i-1:/b"], "i-1 up 1 /b"),
            (&["a", "b", "i-1:"], "i-1 up 2 ."),
            (&["-", "i-1:b"], "i-1 up 1 b"),
            (&["i-1:a", "-"], "i-1 down 1 Stream"),
            (&["i-1:a", "i-1:b", "c"], "i-1 down 2 Local(\"c\")"),
            (&["a", "b"], "none of the paths is a node's"),
            (&["a", "-"], "none of the paths is a node's"),
            (
                &["i-1:a", "i-1:b"],
                "source and destination are both of nodes",
            ),
            (
                &["i-1:a", "i-2:b", "c"],
                "the sources are of several targets",
            ),
            (
                &["-", "a", "i-1:b"],
                "standard input cannot be copied together with files",
            ),
            (
                &["i-1:a", "i-1:b", "-"],
                "several files cannot be copied to standard output",
            ),
        ];
        for (words, expected) in cases {
            assert_eq!(show(words), expected, "{words:?}");
        }
    }
}
