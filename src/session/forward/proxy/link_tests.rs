use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::advance;

#[cfg(unix)]
use super::super::super::listener::LocalSocket;
use super::*;

fn to(host: &str) -> Destination {
    Destination::new(host, 80).expect("good")
}

/// What counts the connections of a link, and the link's end of that.
fn count() -> (watch::Sender<usize>, watch::Receiver<usize>) {
    watch::channel(0)
}

fn new(links: &mut Links, host: &str) -> (Claim, Arc<Link>, watch::Sender<usize>) {
    let (open, counted) = count();
    let claimed = links.claim(&to(host), counted).expect("room");
    let (link, _) = claimed.new.expect("a new link");
    (claimed.claim, link, open)
}

fn known(links: &mut Links, host: &str) -> Option<Claim> {
    let claimed = links.claim(&to(host), count().1).expect("room");
    claimed.new.is_none().then_some(claimed.claim)
}

#[tokio::test]
async fn those_who_want_the_same_share_a_link() {
    let mut links = Links::new(2);
    let (first, link, _open) = new(&mut links, "a");
    let second = known(&mut links, "A").expect("the same");
    assert!(Arc::ptr_eq(&first.0, &second.0));
    let mut waiting = Box::pin(second.up());
    assert!(waiting.as_mut().now_or_never().is_none());
    link.set(State::Up);
    assert_eq!(waiting.await, Ok(true));
    assert_eq!(first.up().await, Ok(true));
    let refusal = Refusal::new(Why::General, "no");
    link.set(State::Failed(refusal.clone()));
    assert_eq!(first.up().await, Err(refusal));
    link.set(State::Over);
    assert_eq!(first.up().await, Ok(false));
}

#[tokio::test]
async fn a_link_is_in_use_from_the_claim_to_the_end_of_the_connection() {
    let mut links = Links::new(1);
    let (claim, link, open) = new(&mut links, "a");
    let mut users = link.users();
    assert!(!links.retire(&link));
    open.send_modify(|open| *open += 1);
    users.changed().await;
    drop(claim);
    users.changed().await;
    assert!(!link.is_idle() && !links.retire(&link));
    open.send_modify(|open| *open -= 1);
    users.changed().await;
    assert!(link.is_idle() && links.retire(&link));
    assert!(users.changed().now_or_never().is_none());
    drop(open);
    assert!(users.changed().now_or_never().is_none());
    assert!(known(&mut links, "a").is_none(), "it was forgotten");
}

#[cfg(unix)]
#[tokio::test]
async fn a_link_is_in_use_while_a_connection_waits_to_be_carried() {
    let mut links = Links::new(1);
    let (_open, counted) = count();
    let claimed = links.claim(&to("a"), counted).expect("room");
    let (link, mut queue) = claimed.new.expect("a new link");
    let (socket, _other) = tokio::net::UnixStream::pair().unwrap();
    let accepted = Accepted::new(LocalSocket::Unix(socket), String::new());
    claimed.claim.carry(accepted).await.expect("there is room");
    assert!(!links.retire(&link));
    // The session was over before, and there is none yet that could carry it.
    let taken = queue.recv().await.expect("it waits");
    assert!(!links.retire(&link));
    drop(taken);
    assert!(links.retire(&link));
}

#[tokio::test]
async fn so_many_wait_and_no_more() {
    let mut links = Links::new(2);
    let (claim, link, _open) = new(&mut links, "a");
    let mut claims = vec![claim];
    for most in [WAITING, QUEUE] {
        while claims.len() < most {
            claims.push(known(&mut links, "a").expect("room"));
        }
        let refused = links.claim(&to("a"), count().1).expect_err("full");
        assert_eq!(refused.why, Why::Busy);
        link.set(State::Up);
    }
    claims.pop();
    assert!(known(&mut links, "a").is_some());
}

#[tokio::test(start_paused = true)]
async fn the_idle_one_used_longest_ago_makes_room() {
    let mut links = Links::new(3);
    let second = Duration::from_secs(1);
    let (busy, _, _busy) = new(&mut links, "busy");
    advance(second).await;
    let (_, first, _first) = new(&mut links, "first");
    advance(second).await;
    let (_, other, _other) = new(&mut links, "other");
    advance(second).await;
    links.touch(&first);
    let (claim, ..) = new(&mut links, "new");
    assert!(other.stop().is_wanted());
    assert!(other.farewell().is_some());
    assert!(!first.stop().is_wanted());
    let again = known(&mut links, "first").expect("still there");
    let refused = links.claim(&to("other"), count().1).expect_err("full");
    assert_eq!(refused.why, Why::Busy);
    assert!(refused.text.contains(" 3 "), "{}", refused.text);
    assert_eq!(links.iter().count(), 3);
    drop((busy, claim, again));
    assert!(known(&mut links, "other").is_none(), "a place was free");
    assert_eq!(links.iter().count(), 3);
}

#[tokio::test]
async fn a_link_forgets_itself_alone() {
    let mut links = Links::new(1);
    let (_, old, _old) = new(&mut links, "a");
    links.forget(&old);
    let (claim, ..) = new(&mut links, "a");
    links.forget(&old);
    links.touch(&old);
    assert!(links.retire(&old), "it is idle, and nobody gets it");
    drop(claim);
    assert!(known(&mut links, "a").is_some());
}
