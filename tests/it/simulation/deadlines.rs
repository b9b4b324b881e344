//! What the client's core does when nothing comes: probes, gives up, and otherwise sleeps.

use std::time::Duration;

use ssmx::protocol::error::SessionError;
use ssmx::protocol::message::{MessageType, PayloadType};
use ssmx::protocol::payload::Size;
use ssmx::protocol::{Event, SessionType, Transmit};

use crate::peer::{Client, acknowledge, config, control, output, stream};

const SIZE: Size = Size { cols: 80, rows: 24 };

fn pause(client: &mut Client) {
    client.give(control(MessageType::PAUSE_PUBLICATION, b"{}"));
}

fn start(client: &mut Client) {
    client.give(control(MessageType::START_PUBLICATION, b"{}"));
}

/// In a shell, with nothing on the way.
fn shell() -> Client {
    let mut client = Client::new(config());
    client.give(output(0, b"$ "));
    client.events();
    client.sent();
    client
}

/// When the next deadline is, from now on.
fn due(client: &Client) -> Option<Duration> {
    let due = client.core.poll_timeout()?;
    Some(due.duration_since(client.now))
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Lets time pass until the core fails; how long that took, and why.
fn failure(client: &mut Client) -> (Duration, SessionError) {
    let from = client.now;
    loop {
        client.wait();
        client.sent();
        match client.events().pop() {
            Some(Event::Failed(error)) => return (client.now - from, error),
            None => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_idle_session_waits_for_nothing() {
    let client = shell();
    assert_eq!(client.core.poll_timeout(), None);
}

#[test]
fn silence_is_probed_once() {
    let mut client = Client::new(config());
    client.core.set_size(client.now, SIZE);
    assert_eq!(client.sent(), [], "nothing before the probe");
    assert_eq!(due(&client), Some(seconds(3)));
    client.wait();
    let [probe] = client.sent().try_into().unwrap();
    assert_eq!(probe.payload_type, PayloadType::SIZE);
    assert!(!client.core.can_write(), "a probe alone proves nothing");
    client.give(acknowledge(0));
    assert!(!client.core.can_write(), "nor does its acknowledgement");
    assert_eq!(due(&client), Some(seconds(1)));
    client.wait();
    assert!(matches!(
        client.events().as_slice(),
        [Event::Started(SessionType::StandardStream, _)]
    ));
    let [size] = client.sent().try_into().unwrap();
    assert_eq!(size.payload_type, PayloadType::SIZE);
    assert!(client.core.can_write());
}

#[test]
fn a_late_handshake_wins_over_the_probe() {
    let mut client = Client::new(config());
    client.core.set_size(client.now, SIZE);
    client.wait();
    client.sent();
    client.give(acknowledge(0));
    let request = br#"{"AgentVersion":"3.3.0.0","RequestedClientActions":[
        {"ActionType":"SessionType","ActionParameters":{"SessionType":"InteractiveCommands"}}]}"#;
    client.give(stream(0, PayloadType::HANDSHAKE_REQUEST, request));
    assert_eq!(client.events(), []);
    client.give(stream(1, PayloadType::HANDSHAKE_COMPLETE, b"{}"));
    assert!(matches!(
        client.events().as_slice(),
        [Event::Started(SessionType::InteractiveCommands, _)]
    ));
    // Two acknowledgements, the response under the next number, and the size once more.
    let numbers: Vec<i64> = client
        .sent()
        .iter()
        .filter(|message| message.flags == 0)
        .map(|message| message.sequence_number)
        .collect();
    assert_eq!(numbers, [1, 2]);
}

#[test]
fn an_agent_that_never_answers_ends_the_session() {
    let mut client = Client::new(config());
    assert_eq!(
        failure(&mut client),
        (seconds(60), SessionError::NoAnswer(60))
    );
    assert!(client.core.has_ended());
    assert_eq!(client.core.poll_timeout(), None);
}

#[test]
fn absence_is_not_counted_as_silence() {
    let mut client = Client::new(config());
    client.now += seconds(50);
    pause(&mut client);
    assert_eq!(client.core.poll_timeout(), None);
    client.now += seconds(5000);
    client.core.handle_timeout(client.now);
    start(&mut client);
    client.now += seconds(50);
    client.core.handle_timeout(client.now);
    assert_eq!(client.events(), []);

    client.core.handle_disconnect();
    assert_eq!(client.core.poll_timeout(), None);
    client.now += seconds(5000);
    client.core.handle_timeout(client.now);
    client.core.handle_connect(client.now, "token");
    let open = client.core.poll_transmit(client.now);
    assert!(matches!(open, Some(Transmit::Text(_))));
    let (after, error) = failure(&mut client);
    assert_eq!((after, error), (seconds(60), SessionError::NoAnswer(60)));
}

#[test]
fn an_agent_that_acknowledges_nothing_ends_the_session() {
    let mut client = shell();
    client.now += seconds(1000);
    client.core.write(client.now, b"x");
    client.sent();
    let (after, error) = failure(&mut client);
    assert_eq!(
        (after, error),
        (seconds(300), SessionError::NoProgress(300))
    );
}

#[test]
fn time_in_which_nothing_is_read_is_not_counted() {
    let mut client = shell();
    client.core.write(client.now, b"x");
    client.sent();
    for _ in 0..10 {
        client.now += seconds(200);
        client.core.handle_deafness(client.now);
        client.core.handle_timeout(client.now);
        client.sent();
        assert_eq!(client.events(), []);
    }
    let (after, error) = failure(&mut client);
    assert_eq!(
        (after, error),
        (seconds(300), SessionError::NoProgress(300))
    );
}

#[test]
fn output_is_progress_and_absence_is_not_counted() {
    let mut client = shell();
    client.core.write(client.now, b"x");
    client.sent();
    for number in 1..10 {
        client.now += seconds(200);
        client.core.handle_timeout(client.now);
        client.give(output(number, b"x"));
    }
    pause(&mut client);
    assert_eq!(client.core.poll_timeout(), None);
    client.now += seconds(5000);
    client.core.handle_timeout(client.now);
    start(&mut client);
    client.now += seconds(200);
    client.core.handle_disconnect();
    client.now += seconds(5000);
    client.core.handle_timeout(client.now);
    client.core.handle_connect(client.now, "token");
    client.core.poll_transmit(client.now);
    client.events();
    let (after, error) = failure(&mut client);
    assert_eq!(
        (after, error),
        (seconds(300), SessionError::NoProgress(300))
    );
}

#[test]
fn a_paused_client_acknowledges_and_sends_nothing_else() {
    let mut client = shell();
    client.core.write(client.now, b"a");
    assert_eq!(client.sent().len(), 1);
    pause(&mut client);
    client.core.write(client.now, b"b");
    assert_eq!(client.sent(), []);
    client.now += seconds(10);
    client.core.handle_timeout(client.now);
    assert_eq!(client.sent(), []);
    // Any sign of life ends the pause: what is unacknowledged goes out again at once, in order.
    for wake in [
        acknowledge(77),
        output(0, b"$ "),
        output(1, b"x"),
        control(MessageType::START_PUBLICATION, b"{}"),
    ] {
        pause(&mut client);
        client.give(wake);
        let sent = client.sent();
        let typed: Vec<_> = sent
            .iter()
            .filter(|message| message.flags == 0)
            .map(|message| message.payload.as_ref())
            .collect();
        assert_eq!(typed, [b"a", b"b"]);
    }
}

#[test]
fn a_new_connection_says_everything_again() {
    let mut client = shell();
    client.core.write(client.now, b"a");
    let before = client.sent();
    client.core.handle_disconnect();
    client.core.write(client.now, b"b");
    assert_eq!(client.core.poll_transmit(client.now), None);
    client.now += seconds(100);
    client.core.handle_connect(client.now, "new token");
    let Some(Transmit::Text(open)) = client.core.poll_transmit(client.now) else {
        panic!("the token comes first");
    };
    assert!(open.contains("new token"));
    let [acknowledgement, a, b] = client.sent().try_into().unwrap();
    assert_eq!(acknowledgement.message_type, MessageType::ACKNOWLEDGE);
    assert_eq!(before, [a], "byte for byte");
    assert_eq!((b.sequence_number, b.payload.as_ref()), (1, &b"b"[..]));
}

#[test]
fn of_the_sizes_during_an_outage_only_the_last_is_sent() {
    let mut client = shell();
    client.core.handle_disconnect();
    for cols in 1..=1000 {
        client.core.set_size(client.now, Size { cols, rows: 24 });
    }
    client.core.handle_connect(client.now, "new token");
    client.core.poll_transmit(client.now).unwrap();
    let sizes: Vec<_> = client
        .sent()
        .into_iter()
        .filter(|message| message.payload_type == PayloadType::SIZE)
        .map(|message| message.payload)
        .collect();
    assert_eq!(sizes, [&br#"{"cols":1000,"rows":24}"#[..]]);
}

#[test]
fn a_farewell_waits_a_moment_for_what_is_missing() {
    let farewell = control(MessageType::CHANNEL_CLOSED, br#"{"Output":"bye"}"#);
    let held = || {
        let mut client = shell();
        client.give(output(2, b"c"));
        client.give(farewell.clone());
        assert_eq!(client.events(), []);
        assert_eq!(due(&client), Some(Duration::from_millis(200)));
        client
    };
    let closed = Event::Closed("bye".to_owned());

    let mut client = held();
    client.give(output(1, b"b"));
    let shown = [Event::Output("b".into()), Event::Output("c".into())];
    assert_eq!(
        client.events(),
        [shown.as_slice(), std::slice::from_ref(&closed)].concat()
    );

    let ended = [Event::Incomplete, closed];
    let mut client = held();
    client.wait();
    assert_eq!(client.events(), ended);

    // Nobody is left to send it, and there is no session to be resumed.
    let mut client = held();
    client.core.handle_disconnect();
    assert_eq!(client.events(), ended, "nothing behind the gap");
    client.give(output(1, b"b"));
    client.give(farewell);
    assert_eq!(client.events(), [], "the last event was the last");
}

#[test]
fn a_farewell_does_not_wait_for_what_came_twice() {
    let mut client = shell();
    client.give(output(0, b"$ "));
    client.give(output(1, b"x"));
    client.give(output(0, b"$ "));
    assert_eq!(client.events(), [Event::Output("x".into())]);
    client.give(control(MessageType::CHANNEL_CLOSED, b"{}"));
    assert_eq!(client.events(), [Event::Closed(String::new())]);
}

/// Messages of the handshake that come early are not lost, nor taken out of turn.
#[test]
fn a_handshake_may_come_out_of_order() {
    let mut client = Client::new(config());
    let request = br#"{"RequestedClientActions":[
        {"ActionType":"SessionType","ActionParameters":{"SessionType":"Standard_Stream"}}]}"#;
    client.give(output(2, b"$ "));
    client.give(stream(1, PayloadType::HANDSHAKE_COMPLETE, b"{}"));
    assert_eq!(client.events(), []);
    client.give(stream(0, PayloadType::HANDSHAKE_REQUEST, request));
    let events = client.events();
    assert!(matches!(
        events.as_slice(),
        [
            Event::Started(SessionType::StandardStream, _),
            Event::Output(_)
        ]
    ));
    // The request again, as it was or under a new number: a second response would block the
    // agent's reader for good.
    client.sent();
    for number in [0, 3] {
        client.give(stream(number, PayloadType::HANDSHAKE_REQUEST, request));
        let [sent] = client.sent().try_into().unwrap();
        assert_eq!(sent.message_type, MessageType::ACKNOWLEDGE);
        assert_eq!(client.events(), []);
    }
}

/// An agent whose program is not up yet refuses the next message and takes those behind it.
#[test]
fn a_refused_message_is_sent_again_in_measure() {
    let mut client = shell();
    for _ in 0..200 {
        client.core.write(client.now, b"x");
    }
    client.sent();
    for number in 1..200 {
        client.now += Duration::from_millis(1);
        client.give(acknowledge(number));
        client.core.handle_timeout(client.now);
        client.sent();
    }
    let resent = client.core.stats().resent;
    assert!((1..=2).contains(&resent), "sent again {resent} times");
    client.give(acknowledge(0));
    assert!(client.core.all_acknowledged());
    assert_eq!(client.core.poll_timeout(), None);
}

#[test]
fn a_farewell_before_the_first_message_waits_for_it_too() {
    let mut client = Client::new(config());
    client.give(output(1, b"second"));
    client.give(control(MessageType::CHANNEL_CLOSED, b"{}"));
    client.give(output(0, b"first "));
    let data = |event: &Event| match event {
        Event::Output(data) => data.to_vec(),
        _ => Vec::new(),
    };
    let data: Vec<u8> = client.events().iter().flat_map(data).collect();
    assert_eq!(data, b"first second");
    assert!(client.core.has_ended());
}
