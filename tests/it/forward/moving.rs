//! Forwards by names that mean another node when the next session is started.

use std::process::{Command, Stdio};

use ssmx::loopback::Loopback;

use super::program::{Program, connect, echo, loopback, ping};
use crate::support::{SSMX, command};

const WEB_1: &str = "i-10000000000000001";
const WEB_2: &str = "i-10000000000000002";

fn forward(loopback: &Loopback, words: &[&str]) -> Command {
    let mut command = command(SSMX, loopback);
    command.arg("forward").args(words).stdin(Stdio::null());
    command
}

#[test]
fn the_next_session_is_on_the_newest_node_of_the_group_by_then() {
    let loopback = loopback();
    let local = format!("0:{}", echo());
    let mut program = Program::start(forward(&loopback, &["asg:web", "-L", &local, "--json"]));
    let [port] = program.ports();
    ping(&mut connect(port), "before");
    let calls = loopback.stats().api_calls;
    loopback.set_online(WEB_2, false);
    program.event("over");
    ping(&mut connect(port), "after");
    assert_eq!(program.event("moved")["target"], WEB_1);
    program.says(&format!("the node is {WEB_1} now"));
    // One look, one session, and no attempt on the old one.
    assert_eq!(loopback.stats().started, 2);
    assert_eq!(loopback.stats().api_calls, calls + 2);
    program.interrupt();
}

#[test]
fn a_name_that_nobody_has_for_a_while_is_waited_for() {
    let loopback = loopback();
    let local = format!("0:{}", echo());
    let mut program = Program::start(forward(&loopback, &["web-1", "-L", &local, "--json"]));
    let [port] = program.ports();
    ping(&mut connect(port), "before");
    loopback.end_sessions("");
    program.event("over");
    let none = r#"{"InstanceProperties":[]}"#;
    // By its tag, and among all.
    for _ in 0..2 {
        loopback.script("DescribeInstanceProperties", 200, none);
    }
    let mut waiting = connect(port);
    let restart = program.event("restart");
    let reason = restart["reason"].as_str().unwrap();
    assert!(reason.contains("is called web-1"), "{reason}");
    ping(&mut waiting, "after");
    program.interrupt();
}

#[test]
fn ids_are_not_looked_up_again() {
    let loopback = loopback();
    let local = format!("0:{}", echo());
    let mut program = Program::start(forward(&loopback, &[WEB_1, "-L", &local, "--json"]));
    let [port] = program.ports();
    ping(&mut connect(port), "before");
    loopback.end_sessions("");
    program.event("over");
    let calls = loopback.stats().api_calls;
    ping(&mut connect(port), "after");
    assert_eq!(loopback.stats().api_calls, calls + 1);
    program.interrupt();
}

#[test]
fn the_next_session_is_in_the_newest_task_of_the_service_by_then() {
    let loopback = loopback();
    let local = format!("0:{}", echo());
    let old = format!("{:032x}", 0x11);
    let arn = format!("arn:aws:ecs:us-east-1:000000000000:task/shop/{old}");
    // At first there is only the older one.
    loopback.script("ListTasks", 200, &format!(r#"{{"taskArns":["{arn}"]}}"#));
    let words = [
        "--cluster",
        "shop",
        "--service",
        "web",
        "-L",
        &local,
        "--json",
    ];
    let mut program = Program::start(forward(&loopback, &words));
    let [port] = program.ports();
    ping(&mut connect(port), "before");
    loopback.end_sessions("");
    program.event("over");
    ping(&mut connect(port), "after");
    let moved = program.event("moved");
    let target = moved["target"].as_str().unwrap();
    let new = format!("ecs:shop_{:032x}_", 0x12);
    assert!(target.starts_with(&new), "{target}");
    program.interrupt();
}

#[test]
fn destinations_of_a_proxy_move_together() {
    let loopback = loopback();
    let mut program = Program::start(forward(&loopback, &["asg:web", "-D", "0", "--json"]));
    let [port] = program.ports();
    let through = |destination: u16| {
        use std::io::{Read as _, Write as _};
        let mut stream = connect(port);
        let ask = format!("CONNECT 127.0.0.1:{destination} HTTP/1.1\r\n\r\n");
        // A name, for agents forbid addresses of their own.
        let ask = ask.replace("127.0.0.1", "db.internal");
        stream.write_all(ask.as_bytes()).unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
        stream
    };
    drop(through(echo()));
    program.event("open");
    loopback.set_online(WEB_2, false);
    program.event("over");
    let other = echo();
    let _stream = through(other);
    // The first attempt finds the old one gone, the next one looks it up.
    assert_eq!(program.event("moved")["target"], WEB_1);
    program.event("open");
    program.interrupt();
}
