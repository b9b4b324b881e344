//! Real curl through the real binary.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;

use serde_json::Value;
use ssmx::loopback::Loopback;

use super::running::peer;
use crate::support::{self, DEADLINE, Finished, SSMX};

/// `ssmx forward` as a proxy.
struct Proxy {
    loopback: Loopback,
    child: Child,
    stdout: mpsc::Receiver<String>,
    stderr: mpsc::Receiver<String>,
    port: u64,
}

impl Proxy {
    fn start() -> Self {
        let loopback = Loopback::start(peer()).unwrap();
        let mut child = support::command(SSMX, &loopback)
            .args(["forward", loopback.target(), "-D", "0", "--json"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut proxy = Self {
            stdout: lines(child.stdout.take().unwrap()),
            stderr: lines(child.stderr.take().unwrap()),
            loopback,
            child,
            port: 0,
        };
        let ready = proxy.event();
        assert_eq!(ready["event"], "ready", "{ready}");
        proxy.port = ready["port"].as_u64().unwrap();
        proxy
    }

    /// The next event on stdout; `None` at its end.
    fn try_event(&mut self) -> Option<Value> {
        match self.stdout.recv_timeout(DEADLINE) {
            Ok(line) => Some(serde_json::from_str(&line).expect(&line)),
            Err(mpsc::RecvTimeoutError::Disconnected) => None,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let told: Vec<String> = self.stderr.try_iter().collect();
                panic!("no event in time; stderr: {told:?}");
            }
        }
    }

    fn event(&mut self) -> Value {
        self.try_event().expect("an event")
    }

    /// Has curl fetch `url` through the proxy that `options` name, with PORT in them.
    fn curl(&self, options: &[&str], url: &str) -> Finished {
        let port = self.port.to_string();
        let mut curl = Command::new("curl");
        support::clean(&mut curl);
        curl.args(["--silent", "--show-error", "--noproxy", ""])
            .args(["--max-time", &DEADLINE.as_secs().to_string()])
            .args(options.iter().map(|option| option.replace("PORT", &port)))
            .arg(url);
        support::run_without_input(curl)
    }

    /// Ends it as a user would: all events, and all of stderr.
    fn stop(mut self) -> (Vec<Value>, String) {
        support::kill(self.child.id(), "-INT");
        let events = std::iter::from_fn(|| self.try_event()).collect();
        let text: Vec<String> = self.stderr.iter().collect();
        self.child.wait().unwrap();
        let ended = self
            .loopback
            .wait_for(|stats| stats.started == stats.ended, DEADLINE);
        assert!(ended, "a session was left behind");
        (events, text.join("\n"))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It is gone after a test that went well.
        let _ = self.child.kill();
    }
}

/// The lines of a pipe, as they come.
fn lines(pipe: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            // The test may be over before the program.
            let _ = sender.send(line);
        }
    });
    receiver
}

fn curl_is_missing() -> bool {
    let found = Command::new("curl").arg("--version").output();
    let missing = found.is_err();
    if missing {
        eprintln!("skipped: there is no curl here");
    }
    missing
}

/// A web server with one page; its port.
fn web_server(page: &[u8]) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        page.len()
    );
    let answer = [head.as_bytes(), page].concat();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, answer) = (stream.unwrap(), answer.clone());
            thread::spawn(move || {
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
                stream.write_all(&answer).unwrap();
            });
        }
    });
    port
}

#[test]
fn pages_come_through_in_every_way_that_curl_knows() {
    if curl_is_missing() {
        return;
    }
    let page: Vec<u8> = (0..1_000_000u32)
        .map(|n| (n.wrapping_mul(n) >> 7) as u8)
        .collect();
    let port = web_server(&page);
    let proxy = Proxy::start();
    let named = format!("http://one.internal:{port}/");
    let numbered = format!("http://127.0.0.1:{port}/");
    let elsewhere = format!("http://elsewhere.internal:{port}/");
    let resolved = format!("elsewhere.internal:{port}:127.0.0.1");
    let cases: [(&[&str], &str); 8] = [
        (&["--socks5-hostname", "127.0.0.1:PORT"], &named),
        (&["--socks5-hostname", "[::1]:PORT"], &named),
        (&["--socks5-hostname", "127.0.0.1:PORT"], &numbered),
        // Resolved by curl.
        (
            &["--socks5", "127.0.0.1:PORT", "--resolve", &resolved],
            &elsewhere,
        ),
        (&["-x", "socks5h://localhost:PORT"], &named),
        // A password that nobody asks for.
        (&["-x", "socks5h://user:password@localhost:PORT"], &named),
        (&["-x", "http://127.0.0.1:PORT", "-p"], &named),
        (
            &["-x", "http://user:password@127.0.0.1:PORT", "-p"],
            &numbered,
        ),
    ];
    for (options, url) in cases {
        let fetched = proxy.curl(options, url);
        assert_eq!(fetched.code(), Some(0), "{options:?}: {}", fetched.stderr);
        assert!(fetched.stdout == page, "{options:?}: another page");
    }
    let stats = proxy.loopback.stats();
    assert_eq!((stats.started, stats.dialled), (2, 8));
    let (events, text) = proxy.stop();
    let opened = events.iter().filter(|event| event["event"] == "open");
    assert_eq!(opened.count(), 2, "{events:?}");
    assert_eq!(events.last().unwrap()["event"], "exit");
    assert!(text.contains("ready for SOCKS5 and HTTP CONNECT"), "{text}");
    assert!(
        text.contains(&format!("leads to one.internal:{port}")),
        "{text}"
    );
}

#[test]
fn curl_hears_why_not() {
    if curl_is_missing() {
        return;
    }
    let proxy = Proxy::start();
    let forbidden = "http://169.254.169.254/";
    let refused = proxy.curl(&["--socks5-hostname", "127.0.0.1:PORT"], forbidden);
    assert_ne!(refused.code(), Some(0));
    assert!(refused.stderr.contains("(2)"), "{}", refused.stderr);
    let refused = proxy.curl(&["-x", "http://127.0.0.1:PORT", "-p"], forbidden);
    assert_ne!(refused.code(), Some(0));
    assert!(refused.stderr.contains("403"), "{}", refused.stderr);
    // What proxies do otherwise with http:// URLs.
    let plain = proxy.curl(&["-x", "http://127.0.0.1:PORT"], "http://one.internal/");
    assert_eq!(plain.code(), Some(0), "{}", plain.stderr);
    assert!(plain.text().contains("socks5h"), "{}", plain.text());
    let old = proxy.curl(&["--socks4a", "127.0.0.1:PORT"], "http://one.internal/");
    assert_ne!(old.code(), Some(0));
    let tls = proxy.curl(
        &["--proxy-insecure", "-x", "https://127.0.0.1:PORT", "-p"],
        "http://one.internal/",
    );
    assert_ne!(tls.code(), Some(0));
    let (_, text) = proxy.stop();
    for words in ["is forbidden", "SOCKS4", "TLS", "CONNECT"] {
        assert!(text.contains(words), "{words}: {text}");
    }
}
