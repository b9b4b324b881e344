//! Whatever bytes come.

use proptest::prelude::*;
use tokio::io::{AsyncWriteExt as _, duplex};

use super::super::*;
use super::{CONNECT, SOCKS};

/// What a client may send: anything, or something close to a request.
fn input() -> impl Strategy<Value = Vec<u8>> {
    let noise = proptest::collection::vec(any::<u8>(), 0..600);
    let damaged = (
        prop_oneof![Just(SOCKS), Just(CONNECT)],
        any::<prop::sample::Index>(),
        any::<u8>(),
        any::<prop::sample::Index>(),
    )
        .prop_map(|(whole, at, byte, end)| {
            let mut bytes = whole.to_vec();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes.truncate(end.index(bytes.len() + 1));
            bytes
        });
    let begun = (prop_oneof![Just(4u8), Just(5), Just(b'C')], noise.clone())
        .prop_map(|(first, rest)| [vec![first], rest].concat());
    prop_oneof![noise, damaged, begun]
}

proptest! {
    #[test]
    fn whatever_comes_is_heard_to_an_end(input in input(), hangs_up: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let (mut client, mut socket) = duplex(64 * 1024);
            client.write_all(&input).await.expect("it fits");
            if hangs_up {
                client.shutdown().await.expect("a pipe closes");
            }
            let before = tokio::time::Instant::now();
            if let Ok(request) = greet(&mut socket).await {
                request.accept().await.expect("the pipe has room");
            }
            linger(&mut socket).await;
            assert!(before.elapsed() <= PATIENCE + LINGER);
            drop(client);
        });
    }
}
