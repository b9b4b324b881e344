//! The AWS CLI's shorthand, as far as session calls need it: `key=value,key2=v1,v2,key3=[a,b]`.
//!
//! Values may be bare words, `'…'` or `"…"` (with `\'`, `\"`, `\\` inside), or lists in brackets.
//! A comma is data after a backslash. A word behind a comma belongs to the list before it, unless
//! `=` follows: then it is the next key. `key@=file://PATH` takes the value from a file.

use super::input;

/// The value of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// `key=text`
    Text(String),
    /// `key=a,b` or `key=[a,b]`
    List(Vec<String>),
}

/// Pairs in their order; a key is never twice in it.
pub(super) type Pairs = Vec<(String, Value)>;

/// Reads one word of shorthand. The error is a half sentence with the place in it.
pub(super) fn parse(text: &str) -> Result<Pairs, String> {
    let chars: Vec<char> = text.chars().collect();
    let mut reader = Reader {
        text: &chars,
        at: 0,
        from_file: false,
    };
    let mut pairs: Pairs = Vec::new();
    loop {
        let (key, value) = reader.pair()?;
        if pairs.iter().any(|(known, _)| *known == key) {
            return Err(format!(
                "{key} is in it twice (quote values with commas in them)"
            ));
        }
        pairs.push((key, value));
        if reader.is_at_end() {
            return Ok(pairs);
        }
        reader.expect(',')?;
    }
}

struct Reader<'a> {
    text: &'a [char],
    at: usize,
    /// `@=` was read: `file://` values are read from there.
    from_file: bool,
}

impl Reader<'_> {
    fn pair(&mut self) -> Result<(String, Value), String> {
        let start = self.at;
        while self
            .peek()
            .is_some_and(|c| c.is_ascii_alphanumeric() || "-_.#/:".contains(c))
        {
            self.at += 1;
        }
        let key = self.between(start, self.at);
        self.from_file = false;
        self.skip_spaces();
        if self.peek() == Some('@') {
            self.at += 1;
            self.from_file = true;
        }
        self.expect('=')?;
        let value = match self.peek() {
            None => Value::Text(String::new()),
            Some('[') => Value::List(self.list()?),
            Some('{') => return Err(format!("{key} must be text or a list of texts")),
            Some(_) => self.words()?,
        };
        Ok((key, value))
    }

    /// `a` or `a,b,…` up to the next key.
    fn words(&mut self) -> Result<Value, String> {
        let first = self.first_word()?;
        self.skip_spaces();
        if self.peek() != Some(',') {
            return Ok(Value::Text(first));
        }
        let mut words = vec![first];
        loop {
            // At a comma. What follows is one more word, or a key.
            let comma = self.at;
            self.expect(',')?;
            if self.is_at_end() {
                return Err(self.complain("a value"));
            }
            let word = self.next_word();
            self.skip_spaces();
            match (word, self.peek()) {
                (Ok(word), None | Some(',')) => words.push(word),
                _ => {
                    self.at = comma;
                    break;
                }
            }
            if self.is_at_end() {
                break;
            }
        }
        Ok(match words.len() {
            1 => Value::Text(words.swap_remove(0)),
            _ => Value::List(words),
        })
    }

    fn list(&mut self) -> Result<Vec<String>, String> {
        self.expect('[')?;
        let mut words = Vec::new();
        while self.peek() != Some(']') {
            if matches!(self.peek(), Some('[' | '{')) {
                return Err("lists must be of texts".to_owned());
            }
            words.push(self.first_word()?);
            self.skip_spaces();
            if self.peek() != Some(']') {
                self.expect(',')?;
            }
        }
        self.at += 1;
        Ok(words)
    }

    /// A word behind `=` or in brackets; it may have `=` in it, and it may be empty.
    fn first_word(&mut self) -> Result<String, String> {
        if let Some(quote @ ('\'' | '"')) = self.peek() {
            return self.quoted(quote);
        }
        let starts = |c: char| is_start(c);
        let follows = |c: char| !is_control(c) && !matches!(c, '"' | '\'' | ',' | ']' | '}');
        self.bare(starts, follows)
            .map_or_else(|| Ok(String::new()), |word| self.resolve(word))
    }

    /// A word behind a comma: it has no `=` in it, and is not empty.
    fn next_word(&mut self) -> Result<String, String> {
        if let Some(quote @ ('\'' | '"')) = self.peek() {
            return self.quoted(quote);
        }
        let follows = |c: char| !is_control(c) && !matches!(c, '"' | '\'' | ',' | '=');
        match self.bare(is_start, follows) {
            Some(word) => self.resolve(word),
            None => Err(self.complain("a value")),
        }
    }

    fn bare(
        &mut self,
        starts: impl Fn(char) -> bool,
        follows: impl Fn(char) -> bool,
    ) -> Option<String> {
        let mut word = String::new();
        loop {
            if self.peek() == Some('\\') && self.text.get(self.at + 1) == Some(&',') {
                word.push(',');
                self.at += 2;
                continue;
            }
            let fits = |c: char| {
                if word.is_empty() {
                    starts(c)
                } else {
                    follows(c)
                }
            };
            match self.peek() {
                Some(c) if fits(c) => {
                    word.push(c);
                    self.at += 1;
                }
                _ => break,
            }
        }
        (!word.is_empty()).then(|| word.trim_end().to_owned())
    }

    fn quoted(&mut self, quote: char) -> Result<String, String> {
        let start = self.at;
        self.at += 1;
        let mut word = String::new();
        loop {
            match (self.peek(), self.text.get(self.at + 1)) {
                (None, _) => {
                    self.at = start;
                    return Err(self.complain("an ending quote"));
                }
                (Some('\\'), Some(&next)) if next == quote || next == '\\' => {
                    word.push(next);
                    self.at += 2;
                }
                (Some(c), _) => {
                    self.at += 1;
                    if c == quote {
                        return self.resolve(word);
                    }
                    word.push(c);
                }
            }
        }
    }

    fn resolve(&self, word: String) -> Result<String, String> {
        match self.from_file {
            true => input::text(&word).map_err(|failure| failure.what),
            false => Ok(word),
        }
    }

    fn expect(&mut self, wanted: char) -> Result<(), String> {
        self.skip_spaces();
        if self.peek() != Some(wanted) {
            return Err(self.complain(&format!("'{wanted}'")));
        }
        self.at += 1;
        self.skip_spaces();
        Ok(())
    }

    fn complain(&self, wanted: &str) -> String {
        let place = self.at + 1;
        match self.peek() {
            Some(c) => format!("expected {wanted} instead of '{c}' at character {place}"),
            None => format!("expected {wanted} at the end"),
        }
    }

    fn skip_spaces(&mut self) {
        while self
            .peek()
            .is_some_and(|c| c.is_ascii_whitespace() || c == '\x0b')
        {
            self.at += 1;
        }
    }

    fn between(&self, start: usize, end: usize) -> String {
        self.text
            .get(start..end)
            .unwrap_or_default()
            .iter()
            .collect()
    }

    fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    fn is_at_end(&self) -> bool {
        self.at >= self.text.len()
    }
}

/// What a bare word may begin with.
fn is_start(c: char) -> bool {
    !c.is_whitespace() && !is_control(c) && !matches!(c, '"' | '\'' | ',' | '=' | '[' | '{')
}

/// Control characters that are no white space end a bare word.
fn is_control(c: char) -> bool {
    c.is_control() && !c.is_whitespace()
}

#[cfg(test)]
#[path = "shorthand_tests.rs"]
mod tests;
