//! Any bytes at all: a message or none, never a panic, and what was read can be written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ssmx_fuzz::protocol::message::AgentMessage;
use ssmx_fuzz::protocol::payload::{
    Acknowledge, ChannelClosed, Flag, HandshakeComplete, HandshakeRequest, challenge_from_json,
    exit_code_from_text,
};

fuzz_target!(|frame: &[u8]| {
    if let Ok(message) = AgentMessage::decode(frame.to_vec().into()) {
        assert!(message.payload.len() <= frame.len());
        if let Ok(again) = message.encode()
            && message.created_date != 0
        {
            assert_eq!(AgentMessage::decode(again).as_ref(), Ok(&message));
        }
    }
    // The readers of payloads get the bytes themselves: no digest has to be guessed.
    let _ = Acknowledge::from_json(frame);
    let _ = ChannelClosed::from_json(frame);
    let _ = HandshakeRequest::from_json(frame);
    let _ = HandshakeComplete::from_json(frame);
    let _ = challenge_from_json(frame);
    let _ = exit_code_from_text(frame);
    let _ = Flag::from_bytes(frame);
});
