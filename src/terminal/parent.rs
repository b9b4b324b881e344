//! The program that started us, where its end is to be ours.

use std::future::pending;

/// Watches the parent process, on systems that can wait for a process that is no child (Linux).
#[derive(Debug, Default)]
pub struct Parent {
    #[cfg(target_os = "linux")]
    watched: Option<tokio::io::unix::AsyncFd<std::os::fd::OwnedFd>>,
}

impl Parent {
    /// Watches nothing.
    pub fn unwatched() -> Self {
        Self::default()
    }

    /// Watches the parent if it is the AWS CLI, which nobody can want to outlive: it waits for us
    /// to end, and the terminal is its own. Others may have left us in the background on purpose.
    /// Needs a tokio runtime with its I/O driver.
    pub fn watch_aws_cli() -> Self {
        #[cfg(target_os = "linux")]
        {
            Self { watched: watch() }
        }
        #[cfg(not(target_os = "linux"))]
        {
            Self::unwatched()
        }
    }

    /// Waits until the parent is gone; for ever if it is not watched. Safe to cancel.
    pub async fn gone(&self) {
        #[cfg(target_os = "linux")]
        if let Some(parent) = &self.watched
            && parent.readable().await.is_ok()
        {
            return;
        }
        pending().await
    }
}

#[cfg(target_os = "linux")]
fn watch() -> Option<tokio::io::unix::AsyncFd<std::os::fd::OwnedFd>> {
    use rustix::process::{PidfdFlags, getppid, pidfd_open};
    use tokio::io::unix::AsyncFd;

    let id = getppid()?;
    let words = std::fs::read(format!("/proc/{}/cmdline", id.as_raw_nonzero())).ok()?;
    if !is_aws_cli(&words) {
        return None;
    }
    let parent = pidfd_open(id, PidfdFlags::empty()).ok()?;
    #[expect(unsafe_code, reason = "descriptors have no safe registration any more")]
    // SAFETY: `parent` owns a valid descriptor, which nobody replaces or closes before.
    unsafe {
        AsyncFd::register_with_interest(parent, tokio::io::Interest::READABLE).ok()
    }
}

/// Whether a command line, with NULs between its words, is `aws`, or an interpreter that runs it.
#[cfg(target_os = "linux")]
fn is_aws_cli(command_line: &[u8]) -> bool {
    command_line
        .split(|byte| *byte == 0)
        .take(3)
        .filter_map(|word| word.rsplit(|byte| *byte == b'/').next())
        .any(|name| name == b"aws")
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::is_aws_cli;

    #[test]
    fn the_aws_cli_is_known_by_its_command_line() {
        for good in [
            "aws\0ssm\0start-session",
            "/usr/bin/python3\0/usr/local/bin/aws\0ssm",
        ] {
            assert!(is_aws_cli(good.as_bytes()), "{good}");
        }
        for bad in ["", "bash\0-c\0aws ssm", "/opt/aws-vault\0exec", "sh\0x.sh"] {
            assert!(!is_aws_cli(bad.as_bytes()), "{bad}");
        }
    }
}
