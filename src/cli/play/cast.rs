//! Reads asciicasts of version 2, a line at a time.

use std::io::{BufRead, Read as _};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

/// The longest line, in bytes; recorders write what a terminal shows at a time.
const LINE: u64 = 64 * 1024 * 1024;

/// The first line, as far as it matters.
#[derive(Debug, Deserialize)]
pub struct Header {
    /// In characters.
    pub width: u32,
    /// In lines.
    pub height: u32,
    /// Seconds that no pause is to exceed.
    pub idle_time_limit: Option<f64>,
}

/// Something to be shown.
#[derive(Debug, PartialEq, Eq)]
pub struct Shown {
    /// Since the beginning; never less than that of the one before.
    pub at: Duration,
    pub data: String,
}

/// A recording that is open.
pub struct Cast {
    reader: Box<dyn BufRead>,
    line: u64,
    at: Duration,
    is_torn: bool,
}

impl Cast {
    /// Reads the header; what is wrong, otherwise.
    pub fn open(reader: impl BufRead + 'static) -> Result<(Header, Self), String> {
        let mut cast = Self {
            reader: Box::new(reader),
            line: 0,
            at: Duration::ZERO,
            is_torn: false,
        };
        let (line, _) = cast.read()?.ok_or("it is empty")?;
        let value: Value =
            serde_json::from_slice(&line).map_err(|_| "it is no asciicast".to_owned())?;
        match value.get("version").and_then(Value::as_u64) {
            Some(2) => {}
            Some(version) => {
                return Err(format!(
                    "it is an asciicast of version {version}, and only those of version 2 can be \
                     played; `asciinema convert` makes one"
                ));
            }
            None => return Err("it is no asciicast".to_owned()),
        }
        let header = Header::deserialize(value).map_err(|error| format!("its header: {error}"))?;
        let limit = header.idle_time_limit;
        if limit.is_some_and(|limit| !limit.is_finite() || limit < 0.0) {
            return Err("its header: idle_time_limit must be a number of seconds".to_owned());
        }
        Ok((header, cast))
    }

    /// The next thing to be shown; what is wrong with the recording, otherwise.
    pub fn next(&mut self) -> Result<Option<Shown>, String> {
        while let Some((line, is_whole)) = self.read()? {
            if line.trim_ascii().is_empty() {
                continue;
            }
            let (at, code, data): (f64, String, Value) = match serde_json::from_slice(&line) {
                Ok(event) => event,
                // The recorder was killed while it wrote.
                Err(_) if !is_whole => {
                    self.is_torn = true;
                    return Ok(None);
                }
                Err(error) => return Err(format!("line {}: {error}", self.line)),
            };
            let at = Duration::try_from_secs_f64(at.max(0.0))
                .map_err(|_| format!("line {}: {at} is no time", self.line))?;
            self.at = self.at.max(at);
            if let ("o", Value::String(data)) = (code.as_str(), data) {
                return Ok(Some(Shown { at: self.at, data }));
            }
        }
        Ok(None)
    }

    /// Whether it breaks off within its last line.
    pub fn is_torn(&self) -> bool {
        self.is_torn
    }

    /// The next line, and whether its end is there; `None` after the last.
    fn read(&mut self) -> Result<Option<(Vec<u8>, bool)>, String> {
        let mut line = Vec::new();
        let mut reader = self.reader.by_ref().take(LINE);
        let read = reader.read_until(b'\n', &mut line);
        self.line += 1;
        match read {
            Ok(0) => Ok(None),
            Ok(_) if line.len() as u64 == LINE && !line.ends_with(b"\n") => {
                Err(format!("line {} is too long", self.line))
            }
            Ok(_) => {
                let is_whole = line.ends_with(b"\n");
                Ok(Some((line, is_whole)))
            }
            Err(error) => Err(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(text: &str) -> Result<(Header, Cast), String> {
        Cast::open(std::io::Cursor::new(text.to_owned()))
    }

    fn all(events: &str) -> Result<(Vec<(u64, String)>, bool), String> {
        let (_, mut cast) = open(&format!(
            "{{\"version\":2,\"width\":1,\"height\":1}}\n{events}"
        ))?;
        let mut all = Vec::new();
        while let Some(Shown { at, data }) = cast.next()? {
            all.push((at.as_millis() as u64, data));
        }
        Ok((all, cast.is_torn()))
    }

    #[test]
    fn headers_are_checked() {
        let header = r#"{"version": 2, "width": 80, "height": 24, "idle_time_limit": 1.5, "x": 1}"#;
        let (header, _) = open(header).unwrap();
        assert_eq!((header.width, header.height), (80, 24));
        assert_eq!(header.idle_time_limit, Some(1.5));
        for (text, why) in [
            ("", "empty"),
            ("hello\n", "no asciicast"),
            ("{}", "no asciicast"),
            (r#"{"version":3,"term":{}}"#, "version 3"),
            (r#"{"version":2,"width":80}"#, "height"),
            (
                r#"{"version":2,"width":1,"height":1,"idle_time_limit":-1}"#,
                "idle_time_limit",
            ),
        ] {
            let error = open(text).err().unwrap();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn only_output_is_shown_and_time_never_goes_back() {
        let events = "[0.5, \"o\", \"a\"]\n[1, \"i\", \"x\"]\n\n[2.0, \"r\", \"80x24\"]\n\
            [3, \"z\", {}]\n[1.0, \"o\", \"b\"]\n[-1, \"o\", \"c\"]";
        let (all, is_torn) = all(events).unwrap();
        let expected = [(500, "a"), (3000, "b"), (3000, "c")];
        assert_eq!(all, expected.map(|(at, data)| (at, data.to_owned())));
        assert!(!is_torn);
    }

    #[test]
    fn a_torn_end_is_no_error_but_a_bad_line_is() {
        let (shown, is_torn) = all("[0, \"o\", \"a\"]\n[1, \"o\", \"b").unwrap();
        assert_eq!((shown.len(), is_torn), (1, true));
        for bad in [
            "[0, \"o\"]\n",
            "{}\n",
            "[\"0\", \"o\", \"\"]\n",
            "[1e999, \"o\", \"\"]\n",
            "[1e30, \"o\", \"\"]\n",
        ] {
            let error = all(bad).unwrap_err();
            assert!(error.starts_with("line 2: "), "{bad}: {error}");
        }
    }
}
