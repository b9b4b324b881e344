//! Lines that would come again and again, such as of a program that never stops trying.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

/// How long a line is not told again.
const PAUSE: Duration = Duration::from_secs(10);
/// The most lines that are remembered. Where more come at once, some are told again.
const MOST: usize = 256;

/// Tells each line once in a while, and how often it was not told.
#[derive(Debug, Default)]
pub struct Repeats(HashMap<String, Told>);

#[derive(Debug)]
struct Told {
    at: Instant,
    more: u64,
}

impl Repeats {
    /// The line, unless one like it was told a moment ago. Lines are alike that have the same `key`.
    pub fn line(&mut self, key: &str, line: String) -> Option<String> {
        let now = Instant::now();
        let is_old = |told: &Told| now - told.at >= PAUSE;
        let more = match self.0.get_mut(key) {
            Some(told) if is_old(told) => {
                told.at = now;
                std::mem::take(&mut told.more)
            }
            Some(told) => {
                told.more += 1;
                return None;
            }
            None => {
                if self.0.len() >= MOST {
                    self.0.retain(|_, told| !is_old(told));
                }
                if self.0.len() < MOST {
                    self.0.insert(key.to_owned(), Told { at: now, more: 0 });
                }
                0
            }
        };
        Some(match more {
            0 => line,
            more => format!("{line} (and {more} more like it since)"),
        })
    }
}

/// A reason without its numbers: those of ports and requests are others each time.
pub fn alike(reason: &str) -> String {
    reason.chars().filter(|c| !c.is_ascii_digit()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_same_is_told_once_in_a_while_and_how_often_it_was_not() {
        let mut repeats = Repeats::default();
        let mut tell = |key: &str| repeats.line(key, format!("{key}!"));
        assert_eq!(tell("a").as_deref(), Some("a!"));
        assert_eq!(tell("a"), None);
        assert_eq!(tell("b").as_deref(), Some("b!"));
        assert_eq!(tell("a"), None);
        tokio::time::advance(PAUSE).await;
        let text = "a! (and 2 more like it since)";
        assert_eq!(tell("a").as_deref(), Some(text));
        assert_eq!(tell("a"), None);
        assert_eq!(tell("b").as_deref(), Some("b!"));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_remembered_is_bounded() {
        let mut repeats = Repeats::default();
        for number in 0..2 * MOST {
            let key = number.to_string();
            assert!(repeats.line(&key, String::new()).is_some());
        }
        assert_eq!(repeats.0.len(), MOST);
        tokio::time::advance(PAUSE).await;
        assert!(repeats.line("new", String::new()).is_some());
        assert_eq!(repeats.0.len(), 1);
    }
}
