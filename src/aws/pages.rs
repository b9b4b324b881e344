//! Listings in pages: which one comes next, and where a service that never ends is given up.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};

use super::error::{Error, Kind};

/// More pages than any account has.
const MOST: usize = 10_000;

/// The way through the pages of a listing.
#[derive(Debug)]
pub(super) struct Pages {
    state: State,
    /// Digests of the tokens so far: they may be long.
    seen: HashSet<u64>,
    hasher: RandomState,
}

#[derive(Debug)]
enum State {
    First,
    /// The token of the page to ask for.
    At(String),
    Over,
}

impl Pages {
    pub(super) fn new() -> Self {
        Self::from(None)
    }

    /// From the page that a token stands for.
    pub(super) fn from(token: Option<String>) -> Self {
        let hasher = RandomState::new();
        let token = token.filter(|token| !token.is_empty());
        Self {
            seen: token.iter().map(|token| hasher.hash_one(token)).collect(),
            hasher,
            state: token.map_or(State::First, State::At),
        }
    }

    /// Whether no page was asked for yet.
    pub(super) fn is_first(&self) -> bool {
        matches!(self.state, State::First)
    }

    /// Whether there is no page left.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// The token to ask for the page with; the first takes none.
    pub(super) fn token(&self) -> Option<String> {
        match &self.state {
            State::At(token) => Some(token.clone()),
            State::First | State::Over => None,
        }
    }

    /// Goes on to the page that an answer names; to the end if there is none.
    ///
    /// Fails, for what was wanted, if that one was here before, or if there are too many.
    pub(super) fn turn(&mut self, what: &str, next: Option<String>) -> Result<(), Error> {
        let Some(next) = next.filter(|next| !next.is_empty()) else {
            self.state = State::Over;
            return Ok(());
        };
        let endless = |why: String| {
            Error::new(Kind::Other, what, why).with_hint(
                "is the endpoint really that of AWS? see --endpoint-url and AWS_ENDPOINT_URL",
            )
        };
        if self.seen.len() >= MOST {
            return Err(endless(format!(
                "the list does not end within {MOST} pages"
            )));
        }
        if !self.seen.insert(self.hasher.hash_one(&next)) {
            return Err(endless(
                "the answer leads back to a page that was here already".to_owned(),
            ));
        }
        self.state = State::At(next);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_one_another_to_the_end() {
        let mut pages = Pages::new();
        assert!(pages.is_first() && !pages.is_over());
        assert_eq!(pages.token(), None);
        for token in ["a", "b"] {
            pages.turn("x", Some(token.to_owned())).expect("new");
            assert_eq!(pages.token().as_deref(), Some(token));
        }
        pages.turn("x", Some(String::new())).expect("the end");
        assert!(pages.is_over() && !pages.is_first());
        assert!(!Pages::from(Some("a".to_owned())).is_first());
    }

    #[test]
    fn circles_are_noticed_of_any_length() {
        for length in [1, 2, 50] {
            let mut pages = Pages::from(Some("0".to_owned()));
            for at in 1..length {
                pages.turn("x", Some(at.to_string())).expect("new");
            }
            let error = pages.turn("cannot list", Some("0".to_owned()));
            let error = error.expect_err("a circle");
            assert!(error.to_string().starts_with("cannot list: "), "{error}");
        }
    }

    #[test]
    fn there_is_an_end_even_where_all_tokens_are_new() {
        let mut pages = Pages::new();
        let endless = (0..=MOST).find_map(|at| pages.turn("x", Some(at.to_string())).err());
        assert!(endless.expect("an end").to_string().contains("10000 pages"));
    }
}
