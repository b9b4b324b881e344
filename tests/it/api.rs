//! Services that answer what no service of AWS does: without end, without sense, too much, or
//! with texts that mean ill to a terminal.

mod answers;
mod pages;
mod texts;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;
use ssmx::aws::{Aws, Options};

use crate::support::{SSMX, clean};

/// A call as it came.
struct Call {
    /// Such as `DescribeInstanceProperties`.
    operation: String,
    input: Value,
    /// How many calls of this operation came before.
    before: usize,
}

impl Call {
    /// The token of the page that is asked for.
    fn token(&self) -> &str {
        let token = self.input.get("NextToken").or(self.input.get("nextToken"));
        token.and_then(Value::as_str).unwrap_or_default()
    }
}

/// What is answered.
#[derive(Clone)]
struct Answer {
    status: u16,
    /// Lines of the head.
    headers: String,
    body: String,
    /// The body comes again and again, so often.
    times: usize,
}

impl Answer {
    fn ok(body: impl ToString) -> Self {
        Self::new(200, body)
    }

    fn new(status: u16, body: impl ToString) -> Self {
        Self {
            status,
            headers: String::new(),
            body: body.to_string(),
            times: 1,
        }
    }

    fn throttled() -> Self {
        let body = r#"{"__type":"ThrottlingException","message":"Rate exceeded"}"#;
        Self::new(400, body)
    }

    fn header(mut self, line: &str) -> Self {
        self.headers.push_str(line);
        self.headers.push_str("\r\n");
        self
    }
}

/// A server for all services, and what came to it.
#[derive(Clone)]
struct Api {
    port: u16,
    calls: Arc<Mutex<Vec<String>>>,
    sent: Arc<AtomicUsize>,
}

impl Api {
    /// Answers calls as `answer` says, from threads that end with the test.
    fn start(answer: impl Fn(&Call) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let api = Self {
            port: listener.local_addr().unwrap().port(),
            calls: Arc::default(),
            sent: Arc::default(),
        };
        let (serving, answer) = (api.clone(), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (serving, answer) = (serving.clone(), Arc::clone(&answer));
                thread::spawn(move || serving.serve(stream, &*answer));
            }
        });
        api
    }

    /// Calls of a connection, until the client has enough.
    fn serve(&self, stream: TcpStream, answer: &dyn Fn(&Call) -> Answer) -> Option<()> {
        let mut reader = BufReader::new(stream.try_clone().ok()?);
        let mut stream = stream;
        loop {
            let (operation, input) = read(&mut reader)?;
            let before = {
                let mut calls = self.calls.lock().unwrap();
                let before = calls.iter().filter(|call| **call == operation).count();
                calls.push(operation.clone());
                before
            };
            let answer = answer(&Call {
                operation,
                input,
                before,
            });
            let length = answer.body.len() * answer.times;
            let head = format!(
                "HTTP/1.1 {} X\r\ncontent-length: {length}\r\n{}\r\n",
                answer.status, answer.headers
            );
            stream.write_all(head.as_bytes()).ok()?;
            for _ in 0..answer.times {
                stream.write_all(answer.body.as_bytes()).ok()?;
                self.sent.fetch_add(answer.body.len(), Ordering::Relaxed);
            }
        }
    }

    /// The operations that were called.
    fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }

    fn environment(&self, attempts: u32) -> Vec<(String, String)> {
        let endpoint = format!("http://127.0.0.1:{}", self.port);
        let variables = [
            ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ENDPOINT_URL", &endpoint),
            ("AWS_MAX_ATTEMPTS", &attempts.to_string()),
        ];
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        variables.into_iter().map(owned).collect()
    }

    /// ssmx where this answers, which tries calls so often.
    fn ssmx(&self, attempts: u32, arguments: &[&str]) -> Command {
        let mut command = Command::new(SSMX);
        clean(&mut command);
        command.envs(self.environment(attempts)).args(arguments);
        command
    }

    /// The same without a program.
    async fn aws(&self, attempts: u32) -> Aws {
        let aws = Aws::load(Options {
            environment: Some(self.environment(attempts)),
            may_prompt: false,
            ..Options::default()
        });
        aws.await.expect("good settings")
    }
}

/// The operation and the input of the next call.
fn read(reader: &mut BufReader<TcpStream>) -> Option<(String, Value)> {
    let (mut operation, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(": ").unwrap_or((line, ""));
        match name.to_ascii_lowercase().as_str() {
            "x-amz-target" => operation = value.rsplit('.').next()?.to_owned(),
            "content-length" => length = value.parse().ok()?,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((operation, serde_json::from_slice(&body).unwrap_or_default()))
}
