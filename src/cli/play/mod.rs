//! `ssmx play`: shows a recording again, in its own time.

mod cast;
mod filter;
mod modes;

use std::fs::File;
use std::io::{self, BufReader, IsTerminal as _};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep_until};

use self::cast::{Cast, Header};
use self::filter::Filter;
use self::modes::Modes;
use super::report::Failure;
use crate::terminal::{self, Input, Output, RawMode, Signal, Signals};

/// `ssmx play`
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    ssmx start-session --target i-… --record work.cast\n  \
    ssmx play work.cast --speed 2 --idle-limit 1\n\n\
    FILE is an asciicast of version 2, by ssmx or asciinema. Keys, on a terminal: space pauses and \
    goes on, . shows the next step of what is paused, q and Ctrl-C quit.")]
pub struct Args {
    /// The recording
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// How many times as fast as it was
    #[arg(short, long, value_name = "X", default_value_t = 1.0, value_parser = speed)]
    speed: f64,
    /// Wait no longer than this at a time [default: as the recording says]
    #[arg(short, long, value_name = "SECONDS", value_parser = limit)]
    idle_limit: Option<f64>,
}

fn speed(text: &str) -> Result<f64, String> {
    number(text)
        .filter(|speed| *speed > 0.0)
        .ok_or_else(|| "it must be a number above 0, such as 2 or 0.5".to_owned())
}

fn limit(text: &str) -> Result<f64, String> {
    number(text)
        .filter(|limit| *limit >= 0.0)
        .ok_or_else(|| "it must be a number of seconds, such as 2 or 0.5".to_owned())
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// Runs the subcommand; the exit status.
pub async fn run(args: Args) -> anyhow::Result<u8> {
    let what = format!("cannot play {}", args.file.display());
    let failed = |why: String| Failure::other(format!("{what}: {why}"));
    let file = File::open(&args.file).map_err(|error| failed(error.to_string()))?;
    if file.metadata().is_ok_and(|file| file.is_dir()) {
        return Err(failed("it is a directory".to_owned()).into());
    }
    let (header, cast) = Cast::open(BufReader::new(file)).map_err(&failed)?;
    let pace = Pace {
        speed: args.speed,
        longest: args.idle_limit.or(header.idle_time_limit),
    };
    let on_terminal = io::stdout().is_terminal();
    if on_terminal {
        warn_of_size(&header);
    }
    terminal::install_panic_hook();
    let local = |what: &'static str| move |error| Failure::other(format!("{what}: {error}"));
    let signals = Signals::install().map_err(local("cannot listen for signals"))?;
    let (raw, keys) = match on_terminal && terminal::stdin_is_terminal() {
        true => (
            RawMode::enter().map_err(local("cannot put the terminal into raw mode"))?,
            Some(Input::spawn().map_err(local("cannot read the keys"))?),
        ),
        false => (None, None),
    };
    let mut player = Player {
        signals,
        keys,
        stdout: Output::stdout(),
        filter: on_terminal.then(Filter::default),
        modes: Modes::default(),
        paused: None,
        steps: 0,
        writing: false,
    };
    let played = player.play(cast, pace).await;
    if on_terminal {
        player.stdout.push(player.modes.undo().into());
    }
    let flushed = match &played {
        // What is left would only hold up whoever does not want to see it.
        Ok(Played::Quit | Played::Signal(_)) => {
            let soon = tokio::time::timeout(Duration::from_secs(1), player.stdout.flush());
            soon.await.unwrap_or(Ok(()))
        }
        _ => player.stdout.flush().await,
    };
    drop(player);
    drop(raw);
    match (played, flushed) {
        (Ok(Played::Signal(number)), _) => Ok(128 + number),
        // Nobody looks any more.
        (Ok(Played::Unseen), _) => Ok(0),
        (Ok(_), Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(0),
        (Ok(_), Err(error)) => Err(Failure::other(format!("cannot write: {error}")).into()),
        (Ok(Played::Torn), _) => {
            terminal::notice("the recording breaks off: its last line is not whole");
            Ok(0)
        }
        (Ok(Played::All | Played::Quit), _) => Ok(0),
        (Err(why), _) => Err(failed(why).into()),
    }
}

fn warn_of_size(header: &Header) {
    let Some(size) = terminal::size() else { return };
    let (cols, rows) = (u32::from(size.cols), u32::from(size.rows));
    if header.width > cols || header.height > rows {
        terminal::notice(&format!(
            "recorded on a terminal of {} × {}, this one has {cols} × {rows}",
            header.width, header.height
        ));
    }
}

/// How time goes by.
#[derive(Clone, Copy)]
struct Pace {
    speed: f64,
    /// In seconds, before the speed counts.
    longest: Option<f64>,
}

impl Pace {
    /// How long to wait for what came `gap` after what was shown last.
    fn wait(self, gap: Duration) -> Duration {
        // Nobody lives to see the end of a longer wait.
        const LONGEST: f64 = 1e9;
        let gap = gap.as_secs_f64();
        let gap = self.longest.map_or(gap, |longest| gap.min(longest));
        Duration::from_secs_f64((gap / self.speed).min(LONGEST))
    }
}

/// How a recording ended.
enum Played {
    All,
    /// Its last line is not whole, as after a crash.
    Torn,
    Quit,
    Signal(u8),
    /// The reader of stdout is gone.
    Unseen,
}

struct Player {
    signals: Signals,
    keys: Option<Input>,
    stdout: Output,
    /// For a terminal.
    filter: Option<Filter>,
    modes: Modes,
    /// What was left of the wait.
    paused: Option<Duration>,
    /// Steps to show while paused.
    steps: usize,
    writing: bool,
}

enum Woken {
    Due,
    Keys(Option<io::Result<Bytes>>),
    Signal(Signal),
    Written(io::Result<()>),
}

impl Player {
    async fn play(&mut self, mut cast: Cast, pace: Pace) -> Result<Played, String> {
        let mut shown = Duration::ZERO;
        let mut due = Instant::now();
        while let Some(event) = cast.next()? {
            let wait = pace.wait(event.at.saturating_sub(shown));
            shown = event.at;
            due += wait;
            if let Some(left) = &mut self.paused {
                *left = wait;
            }
            if let Some(early) = self.wait_for(&mut due).await {
                return Ok(early);
            }
            let data = match &mut self.filter {
                Some(filter) => filter.feed(&event.data),
                None => event.data,
            };
            self.modes.note(data.as_bytes());
            self.stdout.push(data.into());
            self.writing = true;
        }
        // What was shown last stands until it is written.
        while self.writing {
            let mut due = Instant::now();
            if let Some(early) = self.wait_for(&mut due).await {
                return Ok(early);
            }
        }
        Ok(match cast.is_torn() {
            true => Played::Torn,
            false => Played::All,
        })
    }

    /// Waits until it is time and what was shown before is written; tells if it is the end.
    async fn wait_for(&mut self, due: &mut Instant) -> Option<Played> {
        loop {
            if self.paused.is_some() && self.steps > 0 && !self.writing {
                self.steps -= 1;
                *due = Instant::now();
                return None;
            }
            let runs = self.paused.is_none() && !self.writing;
            let woken = tokio::select! {
                signal = self.signals.next() => Woken::Signal(signal),
                keys = next_keys(self.keys.as_mut()) => Woken::Keys(keys),
                written = self.stdout.ready(), if self.writing => Woken::Written(written),
                () = sleep_until(*due), if runs => Woken::Due,
            };
            match woken {
                Woken::Due => return None,
                Woken::Written(Ok(())) => self.writing = false,
                Woken::Written(Err(_)) => return Some(Played::Unseen),
                Woken::Keys(Some(Ok(keys))) => {
                    for key in keys {
                        if let Some(played) = self.press(key, due) {
                            return Some(played);
                        }
                    }
                }
                // The terminal is gone.
                Woken::Keys(_) => return Some(Played::Signal(1)),
                Woken::Signal(Signal::Suspend) => suspend(due),
                Woken::Signal(Signal::Continue) => drop(terminal::resume()),
                Woken::Signal(signal) => {
                    if let Some(number) = signal.number() {
                        return Some(Played::Signal(number));
                    }
                }
            }
        }
    }

    fn press(&mut self, key: u8, due: &mut Instant) -> Option<Played> {
        match key {
            b' ' => match self.paused.take() {
                None => {
                    self.paused = Some(due.saturating_duration_since(Instant::now()));
                    self.steps = 0;
                }
                Some(left) => *due = Instant::now() + left,
            },
            b'.' if self.paused.is_some() => self.steps += 1,
            b'q' => return Some(Played::Quit),
            0x03 => return Some(Played::Signal(2)),
            0x1a => suspend(due),
            _ => {}
        }
        None
    }
}

/// Stops the process; the time until it is continued does not count.
fn suspend(due: &mut Instant) {
    let left = due.saturating_duration_since(Instant::now());
    // Without job control there is nobody to stop for.
    drop(terminal::suspend());
    *due = Instant::now() + left;
}

async fn next_keys(keys: Option<&mut Input>) -> Option<io::Result<Bytes>> {
    match keys {
        Some(keys) => keys.next().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_checked() {
        assert_eq!(speed("0.5"), Ok(0.5));
        assert_eq!(limit("0"), Ok(0.0));
        for bad in ["0", "-1", "inf", "nan", "x", ""] {
            assert!(speed(bad).is_err(), "{bad}");
        }
        assert!(limit("-0.1").is_err());
    }

    #[test]
    fn waits_are_cut_before_they_are_sped_up() {
        let second = Duration::from_secs(1);
        let pace = |speed, longest| Pace { speed, longest };
        assert_eq!(pace(1.0, None).wait(second), second);
        assert_eq!(pace(2.0, None).wait(second), second / 2);
        assert_eq!(pace(2.0, Some(0.5)).wait(second), second / 4);
        assert_eq!(pace(1.0, Some(5.0)).wait(second), second);
        // No recording may make the clock overflow.
        let _ = Instant::now() + pace(f64::MIN_POSITIVE, None).wait(Duration::MAX);
    }
}
