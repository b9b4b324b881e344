//! Round trips to timeouts, and versions to features.

use std::time::Duration;

use serde_json::json;
use ssmx::loopback::agent::ClientFeatures;
use ssmx::protocol::rtt::RoundTrip;
use ssmx::protocol::version::{AgentFeatures, CLIENT_VERSION};

use super::{cases, list, load, text};

#[test]
fn timeouts_follow_round_trips_to_the_nanosecond() {
    let mut steps = 0;
    for case in cases(&load("rto"), "cases", 7) {
        let name = text(&case, "name");
        let mut round_trip = RoundTrip::default();
        assert_eq!(round_trip.timeout(), Duration::from_millis(200));
        for step in list(&case["steps"]) {
            steps += 1;
            let nanos = |key: &str| step[key].as_f64().unwrap();
            round_trip.sample(Duration::from_nanos(nanos("sample_ns") as u64));
            assert_eq!(
                round_trip.timeout().as_nanos() as f64,
                nanos("rto_ns"),
                "{name}"
            );
            // To the last digits that reading the vectors keeps.
            for (ours, expected) in [
                (round_trip.rtt_nanos(), nanos("rtt_ns")),
                (round_trip.variation_nanos(), nanos("rttv_ns")),
            ] {
                assert!((ours - expected).abs() < 1e-6, "{name}: {ours} {expected}");
            }
        }
    }
    assert_eq!(steps, 71);
}

#[test]
fn features_follow_the_agent_version() {
    for case in cases(&load("version_gates"), "agent_versions", 24) {
        let features = AgentFeatures::of(text(&case, "agent_version"));
        let ours = json!({
            "agent_version": case["agent_version"],
            "mux": features.mux,
            "smux_keepalive_disabled": features.smux_keepalive_disabled,
            "terminate_session_flag": features.terminate_session_flag,
        });
        assert_eq!(ours, case);
    }
}

#[test]
fn our_version_gets_every_feature_of_an_agent() {
    let features = ClientFeatures::of(CLIENT_VERSION);
    assert!(features.mux);
    assert!(features.smux_keepalive_disabled);
    assert!(!features.separate_output_upgrade_message);
    assert_eq!(CLIENT_VERSION, "1.2.896.0");
}
