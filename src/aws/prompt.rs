//! One question to the user, on the terminal itself: stdin and stdout may be pipes.

use std::io::{self, BufRead, BufReader, IsTerminal, Write};

use tokio::sync::oneshot;

/// Asks and waits for a line, without its ends. Fails if there is no terminal.
///
/// The thread that reads cannot be interrupted; it is left behind if the future is dropped.
pub(super) async fn ask(question: String) -> io::Result<String> {
    let (answer, asked) = oneshot::channel();
    std::thread::Builder::new()
        .name("prompt".to_owned())
        .spawn(move || {
            // Nobody listens any more: nothing to do.
            let _ = answer.send(ask_here(&question));
        })?;
    asked
        .await
        .unwrap_or_else(|_| Err(io::Error::other("the question was dropped")))
}

fn ask_here(question: &str) -> io::Result<String> {
    let mut line = String::new();
    #[cfg(unix)]
    if let Ok(mut terminal) = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/tty")
    {
        terminal.write_all(question.as_bytes())?;
        terminal.flush()?;
        BufReader::new(terminal).read_line(&mut line)?;
        return Ok(line.trim().to_owned());
    }
    if !io::stdin().is_terminal() {
        return Err(io::Error::other("stdin is no terminal"));
    }
    let mut stderr = io::stderr();
    stderr.write_all(question.as_bytes())?;
    stderr.flush()?;
    BufReader::new(io::stdin()).read_line(&mut line)?;
    Ok(line.trim().to_owned())
}
