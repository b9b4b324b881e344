//! A line as bash reads it, as far as it is typed.

/// The words of a line; the last one, perhaps empty, is where the cursor is. Nothing is expanded.
pub(super) fn words(text: &str) -> Vec<String> {
    parse(text).0
}

/// The same, and the quotation mark that is not closed yet.
pub(super) fn parse(text: &str) -> (Vec<String>, Option<char>) {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some('\''), '\'') | (Some('"'), '"') => quote = None,
            (Some('\''), c) => word.get_or_insert_default().push(c),
            (Some(_), '\\') if !matches!(chars.peek(), Some('"' | '\\' | '$' | '`')) => {
                word.get_or_insert_default().push('\\');
            }
            (_, '\\') => word.get_or_insert_default().extend(chars.next()),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.push(word.unwrap_or_default());
    (words, quote)
}

/// A word that bash puts into the line as it is, behind this quotation mark, and reads as what it
/// was: a name that others gave is not to become a command.
pub(super) fn quoted(word: &str, quote: Option<char>) -> String {
    match quote {
        Some('\'') => return word.replace('\'', r"'\''"),
        Some(_) => {
            let escape = |c: char| match c {
                '"' | '\\' | '$' | '`' => vec!['\\', c],
                c => vec![c],
            };
            return word.chars().flat_map(escape).collect();
        }
        None => {}
    }
    let is_plain = |c: char| c.is_alphanumeric() || "-_./=:@+,%".contains(c);
    let mut text = String::with_capacity(word.len());
    for c in word.chars() {
        if !is_plain(c) {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

/// The same for PowerShell, which puts words into the line as they are, too.
pub(super) fn quoted_for_powershell(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./\\=:+%".contains(c);
    if word.chars().all(is_plain) {
        return word.to_owned();
    }
    let mut text = "'".to_owned();
    for c in word.chars() {
        // Typographic quotes end a text there as well.
        if matches!(c, '\'' | '\u{2018}'..='\u{201b}') {
            text.push(c);
        }
        text.push(c);
    }
    text.push('\'');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_bash_does_up_to_the_cursor() {
        let cases: [(&str, &[&str]); 10] = [
            ("", &[""]),
            ("ssmx", &["ssmx"]),
            ("ssmx ", &["ssmx", ""]),
            ("ssmx  ssh tag:Na", &["ssmx", "ssh", "tag:Na"]),
            ("ssmx --region=eu", &["ssmx", "--region=eu"]),
            ("ssmx 'a b", &["ssmx", "a b"]),
            ("ssmx \"a \\\" \\x", &["ssmx", "a \" \\x"]),
            ("ssmx a\\ b'c'\"d\"", &["ssmx", "a bcd"]),
            ("ssmx '' x", &["ssmx", "", "x"]),
            ("ssmx a\\", &["ssmx", "a"]),
        ];
        for (text, expected) in cases {
            assert_eq!(words(text), expected, "{text}");
        }
    }

    #[test]
    fn quoted_words_are_read_as_what_they_were() {
        for word in [
            "web-1",
            "a b",
            "x;rm -rf ~",
            "$(x)`y`",
            "it's",
            "a\\b",
            "*?[x]",
            "ä",
        ] {
            for (quote, mark) in [(None, ""), (Some('\''), "'"), (Some('"'), "\"")] {
                let begun = format!("ssmx {mark}{}", quoted(word, quote));
                assert_eq!(
                    parse(&begun),
                    (vec!["ssmx".to_owned(), word.to_owned()], quote)
                );
                let shell = shell_words::split(&format!("{begun}{mark}")).expect("whole");
                assert_eq!(shell, ["ssmx", word]);
            }
        }
        assert_eq!(quoted("tag:Name=web-1", None), "tag:Name=web-1");
    }

    #[test]
    fn no_name_is_more_than_a_text_for_powershell() {
        for (word, expected) in [
            ("tag:Name=web-1", "tag:Name=web-1"),
            (r"C:\a.txt", r"C:\a.txt"),
            ("a b", "'a b'"),
            ("$(x); `y", "'$(x); `y'"),
            ("it's", "'it''s'"),
            ("\u{2019};x", "'\u{2019}\u{2019};x'"),
            ("@x", "'@x'"),
            ("a,b", "'a,b'"),
            ("#", "'#'"),
        ] {
            assert_eq!(quoted_for_powershell(word), expected);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_line_is_a_panic(text in ".{0,60}", tight in r#"[\\'" a:=$]{0,30}"#) {
            let _ = (words(&text), words(&tight));
            let line = format!("x {}", quoted(&tight, None));
            proptest::prop_assert!(words(&line).len() == 2);
        }
    }
}
