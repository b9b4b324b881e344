//! A clock that is so far off that AWS takes none of its signatures.

use ssmx::loopback::{Loopback, Options};

use crate::support::{SSMX, command, run_without_input};

#[test]
fn sessions_begin_by_the_time_of_aws() {
    for ahead in [2000, -2000] {
        let loopback = Loopback::start(Options {
            paced: false,
            clock_ahead: ahead,
            require_signature: true,
            ..Options::default()
        })
        .expect("loopback starts");
        let calls: [&[&str]; 2] = [
            &["exec", loopback.target(), "--", "echo", "in"],
            &[
                "ecs",
                "exec",
                "--cluster",
                "shop",
                "--service",
                "web",
                "--",
                "echo",
                "in",
            ],
        ];
        for (count, words) in calls.into_iter().enumerate() {
            let mut ssmx = command(SSMX, &loopback);
            ssmx.args(words);
            let done = run_without_input(ssmx);
            assert_eq!(done.code(), Some(0), "{words:?}: {}", done.stderr);
            assert!(done.text().contains("in"), "{}", done.text());
            // The message gateway took the first signature that it got.
            assert_eq!(loopback.stats().connections, count as u64 + 1);
        }
    }
}
