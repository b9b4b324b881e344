//! Connections that never come to anything.

use std::time::Duration;

use ssmx::channel::{End, Options};
use ssmx::loopback::Loopback;
use ssmx::protocol::error::SessionError;

use super::{Peer, SHELL, Told, open, peer};

#[tokio::test]
async fn a_gateway_that_closes_at_once_is_given_up() {
    let loopback = Loopback::start(peer()).unwrap();
    loopback.close_on_open(Some((1000, "Bye")));
    let mut channel = open(&loopback, SHELL, "", Options::default()).await;
    let mut told = Told::default();
    let end = told.until_the_end(&mut channel).await;
    assert!(
        matches!(end, End::Useless(ref reason) if reason.contains("Bye")),
        "{end:?}"
    );
    assert!(told.resumed > 2);
}

#[tokio::test]
async fn an_agent_that_never_answers_is_given_up() {
    let options = Peer {
        silent_agent: true,
        ..peer()
    };
    let loopback = Loopback::start(options).unwrap();
    let options = Options {
        answer_timeout: Duration::from_millis(300),
        ..Options::default()
    };
    let mut channel = open(&loopback, SHELL, "", options).await;
    let end = Told::default().until_the_end(&mut channel).await;
    assert!(
        matches!(end, End::Failed(SessionError::NoAnswer(_))),
        "{end:?}"
    );
}

#[tokio::test]
async fn a_forbidden_upgrade_names_the_permission() {
    let loopback = Loopback::start(peer()).unwrap();
    loopback.forbid_upgrades(true);
    let mut channel = open(&loopback, SHELL, "", Options::default()).await;
    let End::NotConnected(error) = Told::default().until_the_end(&mut channel).await else {
        panic!("not refused");
    };
    let hint = error.hint().expect("a hint");
    assert!(
        hint.contains("ssmmessages:OpenDataChannel"),
        "{error}: {hint}"
    );
}
