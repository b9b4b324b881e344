//! How many files and connections the process may have open, and how many of those stay free.
//!
//! Every local connection is one. Were they to take all that there are, a data channel that is lost
//! could not be replaced, as that needs some of its own: for name look-ups, calls of the service,
//! and the new connection.

#[cfg(unix)]
pub use unix::{raise, restore_for};

/// The number of the first descriptor that local connections are not to have.
#[derive(Debug, Clone, Copy)]
pub struct Reserve {
    #[cfg(unix)]
    from: Option<i32>,
}

#[cfg(unix)]
mod unix {
    use std::os::fd::{AsFd, AsRawFd as _};
    use std::process::Command;
    use std::sync::OnceLock;

    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    use tracing::debug;

    use super::Reserve;

    /// The most that local connections leave alone.
    const RESERVE: u64 = 64;
    /// Where the limit is low, the part of it that they leave alone.
    const PART: u64 = 4;
    /// The most that Apple's systems allow, whatever their limit says (`OPEN_MAX`).
    const APPLE: u64 = 10_240;

    /// The limit before it was raised.
    static BEFORE: OnceLock<Rlimit> = OnceLock::new();

    /// Lets the process have as many descriptors as it may.
    pub fn raise() {
        let limit = getrlimit(Resource::Nofile);
        let most = match cfg!(target_vendor = "apple") {
            true => Some(limit.maximum.unwrap_or(APPLE).min(APPLE)),
            false => limit.maximum,
        };
        let enough = match (limit.current, most) {
            (None, _) => true,
            (Some(current), Some(most)) => current >= most,
            (Some(_), None) => false,
        };
        if enough {
            return;
        }
        let raised = Rlimit {
            current: most,
            maximum: limit.maximum,
        };
        match setrlimit(Resource::Nofile, raised) {
            Ok(()) => drop(BEFORE.set(limit)),
            Err(error) => debug!(%error, "the limit of open files stays as it is"),
        }
    }

    /// Gives a program the limit that was there before: there are some that cannot cope with
    /// higher ones.
    pub fn restore_for(command: &mut Command) {
        use std::os::unix::process::CommandExt as _;
        let Some(before) = BEFORE.get() else {
            return;
        };
        let soft = before.current;
        #[expect(
            unsafe_code,
            reason = "what is done between fork and exec is two system calls"
        )]
        // SAFETY: neither call allocates or takes locks; nothing else is done.
        unsafe {
            command.pre_exec(move || {
                let limit = Rlimit {
                    current: soft,
                    ..getrlimit(Resource::Nofile)
                };
                Ok(setrlimit(Resource::Nofile, limit)?)
            });
        }
    }

    impl Reserve {
        /// By the limit as it is now.
        pub fn of_process() -> Self {
            let limit = getrlimit(Resource::Nofile).current;
            let from = limit.and_then(|limit| {
                let from = limit - RESERVE.min(limit / PART);
                i32::try_from(from).ok()
            });
            Self { from }
        }

        /// Whether this descriptor is one of those that are to stay free. The lowest free one is
        /// always taken first, so there are no others then.
        pub fn is_touched_by(self, descriptor: impl AsFd) -> bool {
            let number = descriptor.as_fd().as_raw_fd();
            self.from.is_some_and(|from| number >= from)
        }

        /// Whether there are others again. Asked by taking one, and giving it back.
        pub fn is_whole(self, descriptor: impl AsFd) -> bool {
            match rustix::io::fcntl_dupfd_cloexec(descriptor, 0) {
                Ok(lowest) => !self.is_touched_by(lowest),
                Err(_) => false,
            }
        }
    }
}

#[cfg(not(unix))]
mod other {
    use super::Reserve;

    /// There is no limit to raise.
    pub fn raise() {}

    /// Nor to restore.
    pub fn restore_for(_: &mut std::process::Command) {}

    impl Reserve {
        /// There is no limit.
        pub fn of_process() -> Self {
            Self {}
        }
    }
}

#[cfg(not(unix))]
pub use other::{raise, restore_for};
