//! The JSON inside messages.

use serde_json::{Value, json};
use ssmx::protocol::handshake::{Handshake, SealedDataKey, Step};
use ssmx::protocol::payload::{
    Acknowledge, ChannelClosed, HandshakeComplete, HandshakeRequest, HandshakeResponse,
    OpenDataChannelInput, RequestedAction, Size, acknowledge_json, challenge_to_json,
};
use uuid::Uuid;

use super::{cases, json_of_ours, load, text};

#[test]
fn payloads_are_written_as_by_the_real_client() {
    for case in cases(&load("payloads"), "encode", 16) {
        let name = text(&case, "name");
        let expected = json_of_ours(text(&case, "json"));
        let ours = encode(name, &expected);
        // Go escapes more characters than it has to, so the parsed texts are compared.
        let parsed: Value = serde_json::from_str(&ours).unwrap();
        assert_eq!(parsed, expected, "{name}");
        if name.starts_with("acknowledge") || name.starts_with("size") {
            assert_eq!(ours, text(&case, "json"), "{name}: to the letter");
        }
    }
}

/// What ours writes, given the values that are in `expected`.
fn encode(name: &str, expected: &Value) -> String {
    let field = |key| text(expected, key).to_owned();
    let id = |key| Uuid::parse_str(text(expected, key)).unwrap();
    let number = |key: &str| u32::try_from(expected[key].as_u64().unwrap()).unwrap();
    if name.starts_with("acknowledge") {
        return acknowledge_json(
            "output_stream_data",
            id("AcknowledgedMessageId"),
            expected["AcknowledgedMessageSequenceNumber"]
                .as_i64()
                .unwrap(),
        );
    }
    if name.starts_with("size") {
        let (cols, rows) = (number("cols"), number("rows"));
        return serde_json::to_string(&Size { cols, rows }).unwrap();
    }
    if name.starts_with("channel_closed") {
        return ChannelClosed {
            message_id: field("MessageId"),
            created_date: field("CreatedDate"),
            destination_id: field("DestinationId"),
            session_id: field("SessionId"),
            message_type: field("MessageType"),
            schema_version: expected["SchemaVersion"].as_i64().unwrap(),
            output: field("Output"),
        }
        .to_json();
    }
    if name.starts_with("encryption challenge") {
        return challenge_to_json(text(expected, "Challenge"));
    }
    if name.starts_with("handshake response") {
        return response(name).to_json();
    }
    // Ours has ids for ids, not texts such as "r" and "c".
    let open = |key| Uuid::parse_str(text(expected, key)).unwrap_or_default();
    let json = OpenDataChannelInput::new(open("RequestId"), open("ClientId"), &field("TokenValue"))
        .to_json();
    let nil = Uuid::nil().to_string();
    json.replacen(&nil, "r", 1).replacen(&nil, "c", 1)
}

/// The response to a request that has the outcome in `name`.
fn response(name: &str) -> HandshakeResponse {
    let session_type = json!({
        "ActionType": "SessionType",
        "ActionParameters": { "SessionType": "Standard_Stream" },
    });
    let kms = json!({ "ActionType": "KMSEncryption" });
    let (actions, key) = match name {
        "handshake response: SessionType success" => (vec![session_type], None),
        "handshake response: SessionType + KMS success" => {
            let key = SealedDataKey {
                ciphertext: "Y2lwaGVydGV4dC1ibG9i".to_owned(),
                challenge_used: false,
            };
            (vec![session_type, kms], Some(Ok(key)))
        }
        "handshake response: KMS failed" => (vec![kms], Some(Err("x".to_owned()))),
        "handshake response: no actions" => (vec![], None),
        other => panic!("an unknown case: {other}"),
    };
    let request = json!({ "AgentVersion": "3.3.0.0", "RequestedClientActions": actions });
    let request = HandshakeRequest::from_json(request.to_string().as_bytes()).unwrap();
    let mut handshake = Handshake::new(request);
    if let Some(key) = key {
        assert!(matches!(handshake.advance(), Step::DataKey(_)), "{name}");
        handshake.data_key(key);
    }
    match handshake.advance() {
        Step::Response(response) => response,
        Step::DataKey(_) => panic!("{name}: another key"),
    }
}

#[test]
fn payloads_are_read_as_by_the_real_client() {
    for case in cases(&load("payloads"), "decode", 11) {
        let name = text(&case, "name");
        let json = text(&case, "json").as_bytes();
        let decoded = match text(&case, "kind") {
            "acknowledge" => Acknowledge::from_json(json).map(|acknowledge| {
                json!({
                    "AcknowledgedMessageType": acknowledge.acknowledged_message_type,
                    "AcknowledgedMessageId": acknowledge.acknowledged_message_id,
                    "AcknowledgedMessageSequenceNumber":
                        acknowledge.acknowledged_message_sequence_number,
                    "IsSequentialMessage": acknowledge.is_sequential_message,
                })
            }),
            "channel_closed" => {
                // Whatever is wrong with it, the session is over: no error, and a date may be a
                // number.
                let closed = ChannelClosed::from_json(json);
                let mut expected = case["value"].clone();
                if name == "CreatedDate as a number" {
                    expected["CreatedDate"] = "1503434274948".into();
                }
                assert_eq!(serde_json::to_value(closed).unwrap(), expected, "{name}");
                continue;
            }
            "handshake_request" => {
                let request = HandshakeRequest::from_json(json).unwrap();
                assert_eq!(request, handshake_request(&case["value"]), "{name}");
                continue;
            }
            "handshake_complete" => HandshakeComplete::from_json(json).map(|complete| {
                json!({
                    "HandshakeTimeToComplete": complete.time_to_complete,
                    "CustomerMessage": complete.customer_message,
                })
            }),
            other => panic!("an unknown kind: {other}"),
        };
        match decoded {
            Ok(value) => {
                assert_eq!(case["error"], Value::Null, "{name}");
                assert_eq!(value, case["value"], "{name}");
            }
            Err(_) => assert_ne!(case["error"], Value::Null, "{name}"),
        }
    }
}

fn handshake_request(value: &Value) -> HandshakeRequest {
    let actions = value["RequestedClientActions"].as_array().unwrap();
    HandshakeRequest {
        agent_version: text(value, "AgentVersion").to_owned(),
        actions: actions
            .iter()
            .map(|action| {
                assert_eq!(action["ActionType"], "SessionType");
                let parameters = &action["ActionParameters"];
                // Go keeps the parameters as raw text, and reads them later in any case.
                let session_type = parameters.get("SessionType");
                let session_type = session_type.or(parameters.get("sessiontype")).unwrap();
                RequestedAction::SessionType {
                    session_type: session_type.as_str().unwrap().to_owned(),
                    properties: parameters["Properties"].clone(),
                }
            })
            .collect(),
    }
}
