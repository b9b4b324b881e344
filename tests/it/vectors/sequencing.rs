//! Orders of sequence numbers: what is acknowledged, delivered and expected.

use serde_json::Value;
use ssmx::protocol::Event;
use ssmx::protocol::message::AgentMessage;
use ssmx::protocol::payload::Acknowledge;

use super::{cases, list, load, text};
use crate::peer::{Client, acknowledge, config, output};

/// What one message leads to.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    acknowledged: Vec<i64>,
    delivered: Vec<i64>,
    expected_after: i64,
}

impl Step {
    fn of_real_client(step: &Value) -> Self {
        let sent = list(&step["sent"]);
        let delivered = list(&step["delivered"]);
        Self {
            acknowledged: sent
                .iter()
                .map(|sent| number(text(sent, "Payload").as_bytes()))
                .collect(),
            delivered: delivered
                .iter()
                .map(|message| message["SequenceNumber"].as_i64().unwrap())
                .collect(),
            expected_after: step["expected_after"].as_i64().unwrap(),
        }
    }
}

fn number(acknowledge: &[u8]) -> i64 {
    let acknowledge = Acknowledge::from_json(acknowledge).unwrap();
    acknowledge.acknowledged_message_sequence_number.unwrap()
}

fn acknowledged(sent: &[AgentMessage]) -> Vec<i64> {
    sent.iter()
        .map(|message| number(&message.payload))
        .collect()
}

#[test]
fn sequences_are_taken_as_by_the_real_client_but_duplicates_are_acknowledged() {
    let mut steps = 0;
    for case in cases(&load("sequencing"), "client", 6) {
        let name = text(&case, "name");
        let mut client = Client::in_silent_shell();
        let inputs = list(&case["input_sequences"]);
        for (index, (input, step)) in inputs.iter().zip(list(&case["steps"])).enumerate() {
            steps += 1;
            let given: i64 = input.as_str().unwrap().parse().unwrap();
            let mut expected = Step::of_real_client(&step);
            if (0..client.core.expected_sequence_number()).contains(&given) {
                // AWS's client drops it in silence, and freezes when an acknowledgement is lost.
                expected.acknowledged = vec![given];
            }
            if name.starts_with("held buffer full (capacity 2)") {
                // Ours has room for message 3 too, and then has it before it comes again.
                match index {
                    2 => expected.acknowledged = vec![3],
                    3 => {
                        expected.delivered.push(3);
                        expected.expected_after = 4;
                    }
                    4 => expected.delivered.clear(),
                    _ => {}
                }
            }
            client.give(output(given, given.to_string().as_bytes()));
            let ours = Step {
                acknowledged: acknowledged(&client.sent()),
                delivered: client
                    .events()
                    .iter()
                    .map(|event| match event {
                        Event::Output(text) => String::from_utf8_lossy(text).parse().unwrap(),
                        other => panic!("{name}: {other:?}"),
                    })
                    .collect(),
                expected_after: client.core.expected_sequence_number(),
            };
            assert_eq!(ours, expected, "{name}: input {index}");
        }
    }
    assert_eq!(steps, 22);
}

#[test]
fn what_does_not_fit_is_not_acknowledged_and_taken_later() {
    const CAPACITY: i64 = 100_000;
    let mut client = Client::in_silent_shell();
    for number in 1..=CAPACITY {
        client.give(output(number, b"x"));
        assert_eq!(acknowledged(&client.sent()), [number]);
    }
    client.give(output(CAPACITY + 1, b"x"));
    assert_eq!(client.sent(), []);
    client.give(output(0, b"x"));
    assert_eq!(acknowledged(&client.sent()), [0]);
    assert_eq!(client.events().len() as i64, CAPACITY + 1);
    client.give(output(CAPACITY + 1, b"x"));
    assert_eq!(acknowledged(&client.sent()), [CAPACITY + 1]);
    assert_eq!(client.events().len(), 1);
}

#[test]
fn what_is_held_is_bounded_in_bytes_too() {
    const MIB: usize = 1 << 20;
    let mut client = Client::in_silent_shell();
    let payload = vec![0; MIB];
    let held = (1..200)
        .take_while(|number| {
            client.give(output(*number, &payload));
            !client.sent().is_empty()
        })
        .count();
    assert_eq!(held, 128);
}

/// AWS's client drops its oldest unacknowledged message when its buffer is full: data is lost.
#[test]
fn nothing_is_dropped_when_the_window_is_full() {
    let vector = &load("sequencing")["client_outgoing_full"];
    let sent = vector["sent"].as_u64().unwrap() as usize;
    let kept = list(&vector["kept_sequences"]).len();
    assert!(kept < sent);

    let mut client = Client::new(config());
    client.give(output(0, b"$ "));
    client.sent();
    let mut written = 0;
    while client.core.can_write() {
        client.core.write(client.now, &[written as u8; 1024]);
        written += 1;
    }
    // A mebibyte, headers included.
    assert_eq!(written, (1 << 20) / (1024 + 120) + 1);
    let first = client.sent();
    assert_eq!(first.len(), written);
    client.wait();
    assert_eq!(client.sent(), first, "each is still there");
    for message in &first {
        assert!(!client.core.all_acknowledged());
        client.give(acknowledge(message.sequence_number));
    }
    assert!(client.core.all_acknowledged() && client.core.can_write());
}
