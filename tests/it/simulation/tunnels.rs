//! Many connections through one session: smux over the data channel, over everything that the
//! network does to that.

mod carrier;
mod half;
mod hostile;
mod operations;
mod plan;
mod programs;

use std::time::Duration;

use proptest::prelude::*;

use super::cases;
use super::plan::{End as Ending, Kind, Plan};
use super::world::{Side, World};
use half::SLOW;
use plan::{Connection, End, Leave, Reader, connections};
use programs::{Gone, Tunnels};

fn faults() -> impl Strategy<Value = Plan> {
    let faulty = super::plans().prop_map(|plan| Plan {
        kind: Kind::Port,
        max_payload: 1024,
        loss: plan.loss.min(30),
        ..plan
    });
    let calm = any::<u64>().prop_map(|seed| Plan {
        seed,
        ..Plan::calm(Kind::Port)
    });
    prop_oneof![4 => faulty, 1 => calm]
}

fn run(plan: &Plan, connections: Vec<Connection>) -> World<Tunnels> {
    let mut world = World::new(plan.clone(), Tunnels::new(connections));
    match world.run() {
        Ending::Delivered => world.programs.check_end(),
        Ending::HandshakeTimedOut => assert!(plan.loss > 0 || plan.cuts > 0),
    }
    world
}

proptest! {
    #![proptest_config(cases(25))]

    #[test]
    fn every_connection_gets_its_bytes_and_its_end(
        plan in faults(),
        connections in proptest::collection::vec(connections(), 1..60),
    ) {
        run(&plan, connections);
    }
}

/// A network with a bit of everything.
fn rough() -> Plan {
    Plan {
        loss: 5,
        duplicates: 5,
        garbage: 5,
        jitter_ms: 30,
        cuts: 2,
        ..Plan::calm(Kind::Port)
    }
}

#[test]
fn who_does_not_read_is_dropped_and_the_others_get_all() {
    // Without losses, so that as much comes as may wait.
    let plan = Plan { loss: 0, ..rough() };
    let mut connections = vec![Connection::between(End::deaf(100), End::orderly(2_500_000)); 2];
    connections.extend((0..20).map(|second| Connection {
        at_ms: second * 1000,
        ..Connection::between(End::orderly(3000), End::orderly(30_000))
    }));
    let world = run(&plan, connections);
    let tunnels = &world.programs;
    assert_eq!(tunnels.count(Side::Client, Gone::InOrder), 20);
    assert!(tunnels.count(Side::Client, Gone::TooSlow) > 0);
    assert!(world.elapsed() > SLOW);
}

#[test]
fn the_only_one_may_read_as_slowly_as_it_likes() {
    let slow = End {
        reader: Reader::Slow {
            bytes: 20_000,
            pause_ms: 11_000,
        },
        ..End::orderly(10)
    };
    let world = run(
        &rough(),
        vec![Connection::between(slow, End::orderly(1_000_000))],
    );
    assert_eq!(world.programs.count(Side::Client, Gone::InOrder), 1);
    assert!(world.elapsed() > Duration::from_secs(500));
}

#[test]
fn refusals_are_told_to_those_that_they_are_for() {
    let connections = (0..40).map(|index| Connection {
        at_ms: index * 20,
        refused: index % 3 == 0,
        ..Connection::between(
            End::orderly(500),
            End {
                leave: Leave::WithTheOther,
                ..End::orderly(500)
            },
        )
    });
    let world = run(&rough(), connections.collect());
    assert!(!world.programs.ambiguous);
    assert_eq!(world.programs.count(Side::Client, Gone::Refused), 14);
    assert_eq!(world.programs.count(Side::Client, Gone::InOrder), 26);
}
