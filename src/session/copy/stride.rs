//! How much goes by one command.

use std::time::Duration;

use tokio::time::Instant;

use super::BLOCK;

/// Each command costs the node some processes, so more is to go by one that takes less.
const QUICK: Duration = Duration::from_millis(60);
/// Nothing is heard of how it goes while one takes, so less is to go by one that takes more.
const SLOW: Duration = Duration::from_millis(400);

/// So much goes by one command as takes a moment: a block or a multiple of it.
#[derive(Debug)]
pub struct Stride {
    bytes: usize,
    most: usize,
    /// When the latest one was through.
    since: Option<Instant>,
}

impl Stride {
    /// One that begins with a block and is never longer than `most`.
    pub fn new(most: usize) -> Self {
        Self {
            bytes: BLOCK,
            most,
            since: None,
        }
    }

    /// How much, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// So many bytes of one command are through.
    pub fn took(&mut self, bytes: usize, now: Instant) {
        let since = self.since.replace(now);
        // Only whole ones tell how long such take.
        let Some(since) = since.filter(|_| bytes >= self.bytes) else {
            return;
        };
        let took = now.duration_since(since);
        if took < QUICK {
            self.bytes = (self.bytes * 2).min(self.most);
        } else if took > SLOW {
            self.bytes = (self.bytes / 2).max(BLOCK);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_long_where_that_is_quick_and_short_where_not() {
        let mut stride = Stride::new(4 * BLOCK);
        let mut now = Instant::now();
        let mut go = |stride: &mut Stride, bytes, millis| {
            now += Duration::from_millis(millis);
            stride.took(bytes, now);
            stride.bytes() / BLOCK
        };
        assert_eq!(go(&mut stride, BLOCK, 5), 1, "nothing to compare with");
        assert_eq!(go(&mut stride, BLOCK, 5), 2);
        assert_eq!(go(&mut stride, BLOCK, 5), 2, "an older, shorter one");
        assert_eq!(go(&mut stride, 2 * BLOCK, 5), 4);
        assert_eq!(go(&mut stride, 4 * BLOCK, 5), 4, "never more");
        assert_eq!(go(&mut stride, 4 * BLOCK, 100), 4);
        assert_eq!(go(&mut stride, 4 * BLOCK, 500), 2);
        assert_eq!(go(&mut stride, 4 * BLOCK, 5000), 1);
        assert_eq!(go(&mut stride, BLOCK, 5000), 1, "never less");
    }
}
