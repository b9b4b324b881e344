//! `--record` and `ssmx play`, on terminals and in pipes.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use ssmx::loopback::{Loopback, Options as Peer};

use crate::support::pty::Terminal;
use crate::support::{SSMX, clean, command, kill, run, run_without_input, start_session};

fn loopback() -> Loopback {
    Loopback::start(Peer {
        paced: false,
        ..Peer::default()
    })
    .unwrap()
}

pub struct Scratch(tempfile::TempDir);

impl Scratch {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn file(&self) -> PathBuf {
        self.0.path().join("a.cast")
    }

    pub fn name(&self) -> String {
        self.file().to_str().unwrap().to_owned()
    }
}

/// The header and the events of a recording, each of which must be whole.
pub fn read(path: &Path) -> (Value, Vec<(f64, String, String)>) {
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines = text.lines();
    let header = serde_json::from_str(lines.next().unwrap()).unwrap();
    let events = lines.map(|line| serde_json::from_str(line).expect(line));
    (header, events.collect())
}

pub fn all_of(events: &[(f64, String, String)], code: &str) -> String {
    let of_code = events.iter().filter(|event| event.1 == code);
    of_code.map(|event| event.2.as_str()).collect()
}

fn play(arguments: &[&str]) -> Command {
    let mut command = Command::new(SSMX);
    clean(&mut command);
    command.arg("play").args(arguments);
    command
}

fn cast(scratch: &Scratch, events: &str) -> String {
    let header = r#"{"version": 2, "width": 80, "height": 24}"#;
    std::fs::write(scratch.file(), format!("{header}\n{events}")).unwrap();
    scratch.name()
}

#[test]
fn a_shell_is_recorded_and_played() {
    let (loopback, scratch) = (loopback(), Scratch::new());
    let mut shell = start_session(&loopback, &["--record", &scratch.name()]);
    shell.env("TERM", "xterm").env("SHELL", "/bin/sh");
    let mut terminal = Terminal::spawn(&shell);
    terminal.type_in(b"PS1='re''mote> '\r");
    terminal.wait_for("remote> ");
    terminal.type_in("printf 'gr\\374n gr\\303'; sleep 0.1; printf '\\274n\\n'\r".as_bytes());
    terminal.wait_for("grün");
    terminal.type_in(
        b"sh -c 'trap \"stty size; exit\" WINCH; echo list''ening; while :; do sleep 0.1; done'\r",
    );
    terminal.wait_for("listening");
    terminal.resize(101, 33);
    terminal.wait_for("33 101");
    terminal.type_in(b"exit\r");
    assert_eq!(terminal.finish(), 0);

    let mode = std::fs::metadata(scratch.file())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let (header, events) = read(&scratch.file());
    assert_eq!(
        (&header["version"], &header["width"], &header["height"]),
        (&2.into(), &80.into(), &24.into())
    );
    assert_eq!(
        (&header["env"]["TERM"], &header["env"]["SHELL"]),
        (&"xterm".into(), &"/bin/sh".into())
    );
    let id = loopback.stats().session_id.unwrap();
    assert_eq!(header["title"], format!("{}, {id}", loopback.target()));
    assert!(header["timestamp"].as_u64().unwrap() > 1_700_000_000);
    assert!(events.is_sorted_by(|a, b| a.0 <= b.0));
    let shown = all_of(&events, "o");
    assert!(shown.contains("gr\u{fffd}n grün"), "{shown}");
    assert_eq!(all_of(&events, "r"), "101x33");
    // What is typed without an echo is nobody's business.
    assert_eq!(all_of(&events, "i"), "");

    let played = run_without_input(play(&[&scratch.name(), "--speed", "1000"]));
    assert_eq!((played.text(), played.code()), (shown, Some(0)));
}

#[test]
fn what_is_typed_is_recorded_only_if_asked_for() {
    let (loopback, scratch) = (loopback(), Scratch::new());
    let shell = start_session(&loopback, &["--record", &scratch.name(), "--record-input"]);
    let done = run(shell, b"stty -echo; read secret; exit\nhunter2\n");
    assert_eq!(done.code(), Some(0), "{done:?}");
    let (_, events) = read(&scratch.file());
    assert!(all_of(&events, "i").contains("hunter2"));
}

#[test]
fn a_killed_session_leaves_what_was_shown() {
    let (loopback, scratch) = (loopback(), Scratch::new());
    let terminal = Terminal::spawn(&start_session(&loopback, &["--record", &scratch.name()]));
    let mut terminal = terminal;
    terminal.type_in(b"echo be''fore\r");
    terminal.wait_for("before");
    // What is on the screen is on its way to the file.
    while !std::fs::read_to_string(scratch.file())
        .unwrap()
        .contains("before\\r\\n")
    {
        std::thread::yield_now();
    }
    kill(terminal.id(), "-KILL");
    terminal.finish();
    let played = run_without_input(play(&[&scratch.name(), "-s", "1000"]));
    assert!(played.text().contains("before\r\n"), "{played:?}");
    assert_eq!((played.stderr.as_str(), played.code()), ("", Some(0)));
}

#[test]
fn files_that_are_there_are_replaced_only_by_force() {
    let (loopback, scratch) = (loopback(), Scratch::new());
    std::fs::write(scratch.file(), "precious").unwrap();
    let refused = run_without_input(start_session(&loopback, &["--record", &scratch.name()]));
    assert_eq!(refused.code(), Some(255));
    assert_eq!(
        refused.stderr,
        format!(
            "ssmx: error: cannot record to {}: it exists\nssmx: hint: --force replaces it\n",
            scratch.name()
        )
    );
    assert_eq!(loopback.stats().api_calls, 0);
    let forced = ["--record", &scratch.name(), "--force"];
    // Without a session the old one stays.
    let mut failed = command(SSMX, &loopback);
    failed
        .args(["start-session", "--target", "i-00000000000000000"])
        .args(forced);
    assert_eq!(run_without_input(failed).code(), Some(254));
    assert_eq!(std::fs::read_to_string(scratch.file()).unwrap(), "precious");
    let done = run(
        start_session(&loopback, &forced),
        b"echo re''placed; exit\n",
    );
    assert_eq!(done.code(), Some(0), "{done:?}");
    assert!(all_of(&read(&scratch.file()).1, "o").contains("replaced"));
}

#[test]
fn a_session_that_never_starts_leaves_no_file() {
    let (loopback, scratch) = (loopback(), Scratch::new());
    let mut failed = command(SSMX, &loopback);
    failed.args(["start-session", "--target", "i-00000000000000000"]);
    failed.args(["--record", &scratch.name()]);
    assert_eq!(run_without_input(failed).code(), Some(254));
    assert!(!scratch.file().exists());
}

#[test]
fn commands_without_a_terminal_are_recorded_with_their_errors() {
    let (loopback, scratch) = (loopback(), Scratch::new());
    let done = run_without_input(start_session(
        &loopback,
        &[
            "--document-name",
            "AWS-StartNonInteractiveCommand",
            "--parameters",
            r#"{"command":["sh -c 'echo out; echo err >&2; exit 3'"],"separateOutputStream":["true"]}"#,
            "--record",
            &scratch.name(),
        ],
    ));
    assert_eq!(done.code(), Some(3), "{done:?}");
    let shown = all_of(&read(&scratch.file()).1, "o");
    assert!(
        shown.contains("out\r\n") && shown.contains("err\r\n"),
        "{shown:?}"
    );
}

/// `ssmx play` between two looks at the terminal's modes.
fn on_terminal(arguments: &[&str]) -> Terminal {
    let mut shell = Command::new("/bin/sh");
    clean(&mut shell);
    shell.args([
        "-c",
        &format!(
            "before=$(stty -g); {SSMX} play \"$@\"; echo status $?; \
             test \"$before\" = \"$(stty -g)\" && echo modes same"
        ),
        "sh",
    ]);
    shell.args(arguments);
    Terminal::spawn(&shell)
}

#[test]
fn keys_pause_step_and_quit() {
    let scratch = Scratch::new();
    let file = cast(
        &scratch,
        "[0, \"o\", \"first\\r\\n\"]\n[1000, \"o\", \"second\\r\\n\"]\n[2000, \"o\", \"third\\r\\n\"]\n\
         [3000, \"o\", \"fourth\\r\\n\"]\n",
    );
    let mut terminal = on_terminal(&[&file]);
    terminal.wait_for("first");
    // Without a pause there are no steps.
    terminal.type_in(b". ..");
    terminal.wait_for("third");
    assert!(!terminal.screen().contains("fourth"));
    terminal.type_in(b"q");
    terminal.wait_for("status 0");
    terminal.wait_for("modes same");
    terminal.finish();
}

#[test]
fn interrupted_it_leaves_the_terminal_as_it_was() {
    let scratch = Scratch::new();
    let file = cast(
        &scratch,
        "[0, \"o\", \"\\u001b[?1049h\\u001b[?25lalternate\"]\n[1000, \"o\", \"never\"]\n",
    );
    let mut terminal = on_terminal(&[&file]);
    terminal.wait_for("alternate");
    terminal.type_in(b"\x03");
    terminal.wait_for("status 130");
    terminal.wait_for("modes same");
    terminal.wait_until("both modes undone", |_, all| {
        let all = String::from_utf8_lossy(all);
        all.contains("\x1b[?25h") && all.contains("\x1b[?1049l")
    });
    terminal.finish();
}

#[test]
fn pauses_can_be_cut_and_time_sped_up() {
    let scratch = Scratch::new();
    let file = cast(&scratch, "[1000, \"o\", \"a\"]\n[9000, \"o\", \"b\"]\n");
    for arguments in [["--idle-limit", "0"], ["--speed", "1e9"]] {
        let mut command = play(&[&file]);
        command.args(arguments);
        let played = run_without_input(command);
        assert_eq!((played.text().as_str(), played.code()), ("ab", Some(0)));
    }
}

#[test]
fn what_cannot_be_played_is_told() {
    let scratch = Scratch::new();
    let file = cast(&scratch, "[0, \"o\", \"a\"]\nnonsense\n[1, \"o\", \"b\"]\n");
    let played = run_without_input(play(&[&file]));
    assert_eq!((played.text().as_str(), played.code()), ("a", Some(255)));
    assert!(
        played
            .stderr
            .starts_with(&format!("ssmx: error: cannot play {file}: line 3: ")),
        "{played:?}"
    );
    let file = cast(&scratch, "[0, \"o\", \"a\"]\n[1, \"o\", \"b");
    let played = run_without_input(play(&[&file]));
    assert_eq!((played.text().as_str(), played.code()), ("a", Some(0)));
    assert!(played.stderr.contains("breaks off"), "{played:?}");
    let played = run_without_input(play(&["/nonexistent/a.cast"]));
    assert_eq!(played.code(), Some(255));
    assert!(
        played.stderr.ends_with("No such file or directory\n"),
        "{played:?}"
    );
    for bad in ["0", "-1", "fast"] {
        let speed = format!("--speed={bad}");
        assert_eq!(run_without_input(play(&[&file, &speed])).code(), Some(252));
    }
}

#[test]
fn a_reader_that_goes_away_is_a_quiet_end() {
    let scratch = Scratch::new();
    let line = format!("[0, \"o\", \"{}\"]\n", "x".repeat(10_000));
    let file = cast(&scratch, &line.repeat(1000));
    let mut shell = Command::new("/bin/sh");
    clean(&mut shell);
    shell.args(["-c", &format!("{SSMX} play {file} | head -c 10")]);
    let done = run_without_input(shell);
    assert_eq!(
        (done.text().as_str(), done.stderr.as_str()),
        ("xxxxxxxxxx", "")
    );
}

/// The program that others record and play with, if it is there.
#[test]
fn asciinema_takes_what_is_recorded() {
    let mut asciinema = Command::new("asciinema");
    if asciinema.arg("--version").output().is_err() {
        eprintln!("skipped: there is no asciinema");
        return;
    }
    let (loopback, scratch) = (loopback(), Scratch::new());
    let shell = start_session(&loopback, &["--record", &scratch.name()]);
    let done = run(shell, "printf 'gr\\374n grün\\n'; exit\n".as_bytes());
    assert_eq!(done.code(), Some(0), "{done:?}");
    // It wants a terminal, a home, and no locale but UTF-8.
    let shown = scratch.0.path().join("shown");
    let mut asciinema = Command::new("sh");
    asciinema
        .args(["-c", "exec asciinema cat \"$1\" > \"$2\"", "sh"])
        .args([Path::new(&scratch.name()), &shown])
        .env("HOME", scratch.0.path())
        .env("LC_ALL", "C.UTF-8");
    assert_eq!(Terminal::spawn(&asciinema).finish(), 0);
    let shown = std::fs::read_to_string(shown).expect("it is shown");
    assert_eq!(shown, all_of(&read(&scratch.file()).1, "o"));
}
