//! Properties of the client's core: whatever the network and the agent do, in virtual time.

mod arbitrary;
mod deadlines;
mod garbage;
mod plan;
mod tunnels;
mod world;

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::Config;
use ssmx::protocol::Stats;

use plan::{End, Kind, Plan};
use world::{Pipes, World};

/// A failing plan is printed, and is all that it takes to run it again. `PROPTEST_CASES` runs
/// more of them.
fn cases(cases: u32) -> Config {
    let mut config = Config {
        failure_persistence: None,
        ..Config::default()
    };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = cases;
    }
    config
}

prop_compose! {
    fn plans()(
        kind in prop_oneof![Just(Kind::Shell), Just(Kind::EncryptedShell), Just(Kind::Port)],
        seed: u64,
        max_payload in 200usize..2000,
        (loss, duplicates, garbage) in (0u8..35, 0u8..30, 0u8..30),
        (delay_ms, jitter_ms) in (0u64..150, 0u64..300),
        (cuts, client_pauses, agent_pauses) in (0u8..4, 0u8..3, 0u8..3),
        not_ready_ms in 0u64..2000,
    ) -> Plan {
        Plan {
            kind, seed, max_payload, loss, duplicates, garbage, delay_ms, jitter_ms, cuts,
            client_pauses, agent_pauses, not_ready_ms,
        }
    }
}

fn pipes() -> impl Strategy<Value = (usize, usize)> {
    (0usize..40_000, 0usize..40_000)
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn every_byte_arrives_once_and_in_order(plan in plans(), (up, down) in pipes()) {
        let end = World::new(plan.clone(), Pipes::new(up, down)).run();
        if end == End::HandshakeTimedOut {
            prop_assert!(plan.kind != Kind::Shell);
            prop_assert!(plan.loss > 0 || plan.cuts > 0, "nothing kept the handshake");
        }
    }

    #[test]
    fn a_farewell_ends_the_session_whatever_is_in_flight(
        plan in plans(),
        (up, down) in pipes(),
        steps in 0usize..2000,
    ) {
        let mut world = World::new(plan, Pipes::new(up, down));
        for _ in 0..steps {
            if world.is_done() {
                break;
            }
            world.step();
        }
        let at = world.elapsed();
        world.farewell("gone");
        while world.closed.is_none() {
            world.step();
        }
        // What is missing may still come for a moment; nothing behind a gap is ever shown.
        prop_assert!(world.elapsed() - at <= Duration::from_millis(200));
        prop_assert_eq!(world.closed.as_deref(), Some("gone"));
        let (got, sent) = world.programs.received();
        prop_assert!(got < sent || !world.incomplete, "nothing is missing");
        prop_assert!(world.link.client.has_ended());
        prop_assert_eq!(world.link.client.poll_timeout(), None);
    }
}

#[test]
fn a_calm_network_carries_each_message_once() {
    for kind in [Kind::Shell, Kind::EncryptedShell, Kind::Port] {
        let mut world = World::new(Plan::calm(kind), Pipes::new(100_000, 100_000));
        assert_eq!(world.run(), End::Delivered);
        let stats = world.link.client.stats();
        let Stats {
            malformed, ignored, ..
        } = stats;
        assert_eq!((malformed, ignored), (0, 0), "{kind:?}");
        assert_eq!((stats.resent, stats.duplicates), (0, 0), "{kind:?}");
    }
}

#[test]
fn a_silent_shell_takes_input() {
    let mut world = World::new(Plan::calm(Kind::Shell), Pipes::new(10_000, 0));
    assert_eq!(world.run(), End::Delivered);
    assert!(world.elapsed() > Duration::from_secs(4), "probe and grace");
    assert_eq!(world.programs.received(), (0, 0));
}

/// Nothing tells the new client which numbers the old one has used.
#[test]
fn another_client_takes_over_where_the_first_was_acknowledged() {
    for (up, down) in [(0, 10_000), (10_000, 0), (10_000, 10_000)] {
        let plan = Plan {
            duplicates: 20,
            jitter_ms: 20,
            ..Plan::calm(Kind::Shell)
        };
        let mut world = World::new(plan, Pipes::new(30_000, 30_000));
        while !world.is_done() {
            world.step();
        }
        world.take_over(up, down.max(500));
        assert_eq!(world.run(), End::Delivered);
    }
}

/// What the window is for: a bulk upload over a long way must not wait for each acknowledgement.
#[test]
fn many_messages_are_under_way_at_a_time() {
    let plan = Plan {
        delay_ms: 100,
        ..Plan::calm(Kind::Port)
    };
    let mut world = World::new(plan, Pipes::new(1_000_000, 0));
    assert_eq!(world.run(), End::Delivered);
    assert!(
        world.elapsed() < Duration::from_secs(10),
        "{:?}",
        world.elapsed()
    );
}
