//! What stops the agent's reader, or holds it up.

use std::time::Instant;

use serde_json::json;
use ssmx::loopback::agent::{Agent, Config, Event, Refusal, SessionType, Signal};
use ssmx::protocol::message::PayloadType;
use ssmx::protocol::payload::{Flag, Size};

use super::{config, events, input, port_agent, sent};

#[test]
fn a_size_that_cannot_be_read_wedges_the_sender() {
    let now = Instant::now();
    let mut agent = Agent::new(config(SessionType::StandardStream), now);
    agent.set_ready(true);
    assert!(events(&mut agent) == [Event::Started]);
    sent(&mut agent);
    for wrong in [
        r#"{"cols":80.5}"#,
        r#"{"cols":-1}"#,
        r#"{"rows":"24"}"#,
        "x",
    ] {
        let frame = input(0, PayloadType::SIZE, wrong.as_bytes());
        assert_eq!(agent.handle_frame(now, frame), Err(Refusal::Unusable));
    }
    assert_eq!((sent(&mut agent).len(), agent.expected()), (0, 0));
    let frame = input(0, PayloadType::SIZE, br#"{"cols":80,"rows":24}"#);
    agent.handle_frame(now, frame).unwrap();
    assert!(events(&mut agent) == [Event::Size(Size { cols: 80, rows: 24 })]);
}

#[test]
fn a_signalled_command_holds_the_reader_up() {
    let now = Instant::now();
    let mut agent = Agent::new(
        Config {
            skip_handshake: true,
            ..config(SessionType::NonInteractiveCommands)
        },
        now,
    );
    agent.set_ready(true);
    events(&mut agent);
    sent(&mut agent);
    let frame = input(0, PayloadType::OUTPUT, b"anything, not input");
    agent.handle_frame(now, frame).unwrap();
    let frame = input(1, PayloadType::OUTPUT, b"ab\x03c");
    agent.handle_frame(now, frame).unwrap();
    assert!(events(&mut agent) == [Event::Signal(Signal::Interrupt)]);
    let frame = input(2, PayloadType::SIZE, b"{}");
    agent.handle_frame(now, frame).unwrap();
    assert_eq!((sent(&mut agent).len(), agent.is_waiting()), (1, true));
    agent.command_ended(now);
    assert_eq!((sent(&mut agent).len(), agent.expected()), (2, 3));
}

#[test]
fn a_port_session_is_terminated_once() {
    let now = Instant::now();
    let flag = Flag::TerminateSession.to_bytes();
    let mut agent = port_agent(10, now);
    let frame = |sequence| input(sequence, PayloadType::FLAG, &flag);
    agent.handle_frame(now, frame(0)).unwrap();
    assert_eq!((events(&mut agent).len(), sent(&mut agent).len()), (1, 1));
    for sequence in [1, 2] {
        let refused = agent.handle_frame(now, frame(sequence));
        assert_eq!(refused, Err(Refusal::ReaderDead));
    }
    assert_eq!((events(&mut agent).len(), sent(&mut agent).len()), (0, 0));
}

#[test]
fn a_second_response_kills_the_reader() {
    let now = Instant::now();
    let mut agent = Agent::new(config(SessionType::NonInteractiveCommands), now);
    let response = json!({ "ClientVersion": "1.2.896.0", "ProcessedClientActions": [] });
    let response = response.to_string();
    let frame = |sequence| {
        input(
            sequence,
            PayloadType::HANDSHAKE_RESPONSE,
            response.as_bytes(),
        )
    };
    agent.handle_frame(now, frame(0)).unwrap();
    agent.handle_frame(now, frame(0)).unwrap();
    for _ in 0..2 {
        assert_eq!(agent.handle_frame(now, frame(1)), Err(Refusal::ReaderDead));
    }
}
