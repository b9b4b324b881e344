//! Whole messages as the client sends them; their ids and dates differ from run to run.

use ssmx::protocol::escape::typed_payload;
use ssmx::protocol::message::AgentMessage;
use ssmx::protocol::payload::{Flag, Size};

use super::{cases, hex, list, load, text, to_hex};
use crate::peer::{Client, acknowledge, config, output};

#[test]
fn frames_are_built_as_by_the_real_client() {
    for case in cases(&load("frames"), "client", 10) {
        let name = text(&case, "name");
        let expected = list(&case["frames"]);
        let expected: Vec<String> = expected
            .iter()
            .map(|frame| {
                assert_eq!(frame["ws"], "binary");
                stable(&hex(text(frame, "hex")))
            })
            .collect();

        let mut client = at_number_seven();
        let (now, core) = (client.now, &mut client.core);
        let typed = |text: &[u8]| typed_payload(text.to_vec());
        match name {
            "Output 'ls' + LF (two or more bytes are not rewritten)" => {
                core.write(now, &typed(b"ls\n"));
            }
            "Output single LF becomes CR" => {
                core.write(now, &typed(b"\n"));
            }
            "Output single CR unchanged" => {
                core.write(now, &typed(b"\r"));
            }
            "Output empty payload fails to serialise" => {
                core.write(now, b"");
            }
            "Size payload" => core.set_size(now, Size { cols: 80, rows: 24 }),
            "Flag DisconnectToPort" => core.send_flag(now, Flag::DisconnectToPort),
            "Flag TerminateSession" => core.send_flag(now, Flag::TerminateSession),
            "Flag ConnectToPortError" => core.send_flag(now, Flag::ConnectToPortError),
            "acknowledge" => core.handle_frame(now, output(42, b"x")),
            "Output 1024 bytes" => {
                core.write(now, &hex(text(&case["frames"][0], "PayloadHex")));
            }
            other => panic!("an unknown case: {other}"),
        }
        let sent = client.sent();
        let numbered = sent.iter().filter(|message| message.flags == 0).count();
        assert_eq!(7 + numbered as u64, case["next_sequence_after"], "{name}");
        assert_eq!(client.core.all_acknowledged(), numbered == 0, "{name}");
        let sent: Vec<String> = sent
            .iter()
            .map(|message| stable(&AgentMessage::encode(message).unwrap()))
            .collect();
        assert_eq!(sent, expected, "{name}");
    }
}

/// A client whose next message has number 7, as in the vectors.
fn at_number_seven() -> Client {
    let mut client = Client::new(config());
    client.give(output(0, b"$ "));
    for number in 0..7 {
        client.core.write(client.now, b"x");
        client.sent();
        client.give(acknowledge(number));
    }
    client
}

/// Without CreatedDate and MessageId.
fn stable(frame: &[u8]) -> String {
    to_hex(&[&frame[..40], &frame[48..64], &frame[80..]].concat())
}
