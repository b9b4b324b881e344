//! The program at the other ends of standard input and output, where its end is to be ours.

use std::future::pending;

#[cfg(unix)]
use tokio::sync::watch;

#[cfg(unix)]
use super::os::{Gone, Presence};

/// Notices that nobody reads standard output any more, and that nobody can write to standard
/// input any more, even while what was written to it waits. Pipes and sockets tell (on Unix);
/// files, terminals in use and other systems never do.
#[derive(Debug)]
pub struct Partner {
    #[cfg(unix)]
    gone: Option<watch::Receiver<Gone>>,
    /// Ends the thread.
    #[cfg(unix)]
    _waker: Option<super::os::Waker>,
}

impl Partner {
    /// Watches, in a thread of its own. Without one, nobody is ever gone.
    pub fn watch() -> Self {
        #[cfg(unix)]
        {
            match Presence::of_stdio().and_then(start) {
                Ok((gone, waker)) => Self {
                    gone: Some(gone),
                    _waker: Some(waker),
                },
                Err(_) => Self {
                    gone: None,
                    _waker: None,
                },
            }
        }
        #[cfg(not(unix))]
        {
            Self {}
        }
    }

    /// Waits until nobody reads standard output any more and standard input is at its end, as
    /// `input_ended` tells, or will be. Safe to cancel.
    pub async fn gone(&mut self, input_ended: bool) {
        #[cfg(unix)]
        if let Some(gone) = &mut self.gone {
            let enough = if input_ended {
                Gone::Reader
            } else {
                Gone::Both
            };
            if gone.wait_for(|gone| *gone >= enough).await.is_ok() {
                return;
            }
        }
        #[cfg(not(unix))]
        let _ = input_ended;
        pending().await
    }
}

#[cfg(unix)]
fn start(
    (presence, waker): (Presence, super::os::Waker),
) -> std::io::Result<(watch::Receiver<Gone>, super::os::Waker)> {
    let (told, gone) = watch::channel(Gone::Nobody);
    std::thread::Builder::new()
        .name("partner".into())
        .spawn(move || {
            presence.tell(|gone| {
                told.send_replace(gone);
            });
        })?;
    Ok((gone, waker))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::io::{Write as _, pipe};

    fn poll(partner: &mut Partner, input_ended: bool, patience: u64) -> bool {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let patience = std::time::Duration::from_millis(patience);
        runtime.block_on(async {
            tokio::time::timeout(patience, partner.gone(input_ended))
                .await
                .is_ok()
        })
    }

    #[test]
    fn both_ends_are_watched_though_input_waits() {
        let (input, mut writer) = pipe().unwrap();
        let (reader, output) = pipe().unwrap();
        let (gone, waker) = start(Presence::new(input.into(), output.into()).unwrap()).unwrap();
        let mut partner = Partner {
            gone: Some(gone),
            _waker: Some(waker),
        };
        writer.write_all(b"waits").unwrap();
        assert!(!poll(&mut partner, true, 20), "the reader is there");
        drop(reader);
        assert!(poll(&mut partner, true, 20_000), "it is gone");
        assert!(!poll(&mut partner, false, 20), "the writer is there");
        drop(writer);
        assert!(poll(&mut partner, false, 20_000), "both are gone");
    }

    #[test]
    fn files_are_never_gone() {
        let null = || std::fs::File::open("/dev/null").unwrap().into();
        let (gone, waker) = start(Presence::new(null(), null()).unwrap()).unwrap();
        let mut partner = Partner {
            gone: Some(gone),
            _waker: Some(waker),
        };
        assert!(!poll(&mut partner, true, 20));
    }
}
