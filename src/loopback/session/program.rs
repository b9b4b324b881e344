//! What serves the session: its start, its output, its end.

use std::time::{Duration, Instant};

use super::super::agent::{Agent, ClientFeatures};
use super::super::document::{Prefixes, Program};
use super::super::host::{Host, HostEvent, Ports, Process, Settings};
use super::super::output::{CHUNK, Cutter};
use super::{Ending, Session, now};
use crate::protocol::message::PayloadType;

/// Before a terminal's output is first read, when paced.
const START_DELAY: Duration = Duration::from_secs(1);
/// Before a program that does not start is reported, when paced.
const FAILURE_DELAY: Duration = Duration::from_secs(2);

impl Session {
    pub(super) fn start_program(&mut self, now: Instant) {
        if let Program::Ports(properties) = &self.program {
            let version = self.agent.as_ref().map_or("", Agent::client_version);
            let ports = Ports::start(Settings {
                shared: self.shared.clone(),
                properties: properties.clone(),
                client: ClientFeatures::of(version),
            });
            self.host = Some(Host::Ports(ports));
            return;
        }
        let options = &self.shared.options;
        let paced = options.paced;
        let Some(remains) = self.shared.state().remains.clone() else {
            return;
        };
        let shell = options.shell.as_ref().map_or_else(
            || if cfg!(windows) { "powershell" } else { "sh" }.to_owned(),
            |shell| shell.to_string_lossy().into_owned(),
        );
        let terminal = |argv: &[String]| {
            let host = Process::terminal(argv, paced, remains.clone());
            host.map_err(|error| not_run(argv, &error))
        };
        let (outcome, on_terminal) = match &self.program {
            Program::Shell => (terminal(&[shell]), true),
            Program::Interactive(command) => {
                let flag = if cfg!(windows) { "-Command" } else { "-c" };
                let argv = [shell, flag.to_owned(), command.clone()];
                (terminal(&argv), true)
            }
            Program::Container(argv) => (terminal(argv), true),
            Program::NonInteractive { command, separate } => {
                if let Some(Prefixes { stdout, stderr }) = separate {
                    self.output.cutter = Cutter::new(stdout);
                    self.errors.cutter = Cutter::new(stderr);
                }
                let Ok(argv) = shell_words::split(command) else {
                    let text = cannot_start(
                        "Failed to parse commands input: EOF found when expecting closing quote\n",
                    );
                    self.send(now, PayloadType::STDERR, text.clone().into());
                    return self.end(now, failed(&text));
                };
                let apart = separate.is_some();
                let host = Process::command(&argv, apart, paced, remains);
                (host.map_err(|error| not_run(&argv, &error)), false)
            }
            Program::Ports(_) => return,
        };
        let delay = |delay| if paced { delay } else { Duration::ZERO };
        match outcome {
            Ok(host) => {
                self.host = Some(Host::Process(host));
                self.read_from = on_terminal.then(|| now + delay(START_DELAY));
                self.ready();
            }
            Err(reason) if on_terminal => {
                self.ending = Some(Ending {
                    deadline: now + delay(FAILURE_DELAY),
                    wait_for_acknowledgements: false,
                    output: failed(&cannot_start(&format!("Failed to start pty: {reason}\n"))),
                });
            }
            Err(reason) => {
                if self.separate {
                    self.send(now, PayloadType::EXIT_CODE, "EXIT_CODE: 1".into());
                }
                self.send(now, PayloadType::STDERR, reason.into());
                self.end(now, String::new());
            }
        }
    }

    /// The agent takes input from now on.
    fn ready(&mut self) {
        let Some(agent) = &mut self.agent else { return };
        agent.set_ready(true);
        let version = agent.client_version();
        if !version.is_empty() {
            let version = Some(version.to_owned());
            self.shared
                .change(|state| state.stats.handshake_version = version);
        }
    }

    pub(super) fn handle_host(&mut self, event: HostEvent) {
        let now = now();
        match event {
            HostEvent::Ready => self.ready(),
            HostEvent::Failed(reason) => self.end(now, reason),
            HostEvent::Output(payload_type, mut output)
                if matches!(self.program, Program::Ports(_)) =>
            {
                while !output.is_empty() {
                    let payload = output.split_to(CHUNK.min(output.len()));
                    self.send(now, payload_type, payload);
                }
            }
            HostEvent::Output(payload_type, output) => {
                let paused = self.is_paused();
                let stream = if payload_type == PayloadType::STDERR {
                    &mut self.errors
                } else {
                    &mut self.output
                };
                stream.abandoned |= paused;
                if let (false, Some(agent)) = (stream.abandoned, &mut self.agent) {
                    stream
                        .cutter
                        .cut(output, |payload| agent.send(now, payload_type, payload));
                }
            }
            HostEvent::Room | HostEvent::Exited => {}
            HostEvent::Ended(code) => {
                if self.separate {
                    let text = format!("EXIT_CODE: {code}");
                    self.send(now, PayloadType::EXIT_CODE, text.into());
                }
                // Input that it did not read holds nothing up any more.
                self.host = None;
                self.end(now, String::new());
            }
        }
    }

    /// The host is over: what it sent is still to be acknowledged.
    fn end(&mut self, now: Instant, output: String) {
        self.ending = Some(Ending {
            deadline: now + self.shared.options.drain,
            wait_for_acknowledgements: true,
            output,
        });
    }
}

/// How agents tell that they cannot start what a session is for.
fn cannot_start(reason: &str) -> String {
    format!("Unable to start command: {reason}\n")
}

/// How the service then tells the client why the session ended.
fn failed(text: &str) -> String {
    format!("\n----------ERROR-------\n{text}")
}

/// Why `argv` does not run, as agents word it.
fn not_run(argv: &[String], error: &std::io::Error) -> String {
    let program = argv.first().map_or("", String::as_str);
    if error.kind() == std::io::ErrorKind::NotFound && !program.contains('/') {
        return format!("exec: {program:?}: executable file not found in $PATH");
    }
    let reason = error.to_string().to_lowercase();
    let reason = reason.split(" (os error").next().unwrap_or_default();
    format!("fork/exec {program}: {reason}")
}
