//! Whole processes against the embedded peer in a process of its own, without its pacing unless it
//! is said: `cargo bench --bench process [-- sessions|tunnels|paced]`. Figures are medians; compare
//! ratios, not machines. Linux only.
#![cfg_attr(
    target_os = "linux",
    allow(
        clippy::unwrap_used,
        clippy::disallowed_methods,
        reason = "a benchmark may fail loudly, and has to look at the clock"
    )
)]

#[cfg(target_os = "linux")]
mod peer;
#[cfg(target_os = "linux")]
mod session;
#[cfg(target_os = "linux")]
mod tunnel;

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("this benchmark reads /proc");
}

#[cfg(target_os = "linux")]
fn main() {
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    let wanted = |name: &str| words.is_empty() || words.iter().any(|word| word == name);
    if wanted("sessions") {
        session::run_all(&peer::Peer::start(false));
    }
    if wanted("tunnels") {
        tunnel::run_all(&peer::Peer::start(false));
    }
    if wanted("paced") {
        tunnel::paced(&peer::Peer::start(true));
    }
}
