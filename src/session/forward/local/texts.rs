//! What is said of a port session that the user started by itself.

use super::super::Mode;
use super::super::listener::Place;
use super::super::repeats::{self, Repeats};
use super::super::report::{Gone, Notice};
use crate::session::Style;
use crate::session::notices::plugin;
use crate::terminal;

/// The session's texts.
pub struct Teller {
    style: Style,
    mode: Mode,
    session_id: String,
    place: Place,
    /// Whether a session has been announced, and a connection.
    ready: bool,
    connected: bool,
    repeats: Repeats,
}

impl Teller {
    /// For a session of this id, in the manners of `style`.
    pub fn new(style: Style, mode: Mode, session_id: String, place: Place) -> Self {
        Self {
            style,
            mode,
            session_id,
            place,
            ready: false,
            connected: false,
            repeats: Repeats::default(),
        }
    }

    /// The session that there is, or was last.
    pub fn session_id(&self) -> &str {
        &self.session_id
    }

    /// Tells of something: on stderr by itself, or by the text for stdout that it returns.
    pub fn tell(&mut self, notice: &Notice) -> Option<String> {
        match self.style {
            Style::Plugin => self.plugin(notice),
            Style::Native => {
                if let Some(text) = self.native(notice) {
                    terminal::notice(&text);
                }
                None
            }
        }
    }

    fn plugin(&mut self, notice: &Notice) -> Option<String> {
        let mux = self.mode == Mode::Mux;
        match notice {
            Notice::Ready { session_id } => {
                Some(plugin::listening(&name(&self.place), session_id, mux))
            }
            Notice::Connected { .. } if !self.connected => {
                self.connected = true;
                Some(plugin::accepted(&self.session_id, mux))
            }
            Notice::Disconnected {
                how: Gone::Refused, ..
            } if mux => Some(plugin::REFUSED.to_owned()),
            Notice::Message(text) => Some(format!("{text}\n")),
            // What is not of the contract goes to stderr.
            Notice::Loss(text) | Notice::Slow(text) => {
                terminal::notice(text);
                None
            }
            _ => None,
        }
    }

    fn native(&mut self, notice: &Notice) -> Option<String> {
        let place = name(&self.place);
        // What programs that never stop trying bring about is not told each time.
        let mut alike = None;
        let text = match notice {
            Notice::Ready { session_id } => {
                self.session_id.clone_from(session_id);
                let again = if self.ready { " again" } else { "" };
                self.ready = true;
                format!(
                    "{place} opened{again} for sessionId {session_id}. Waiting for connections..."
                )
            }
            Notice::Connected { .. } if !self.connected => {
                self.connected = true;
                format!("Connection accepted for session {}", self.session_id)
            }
            Notice::Disconnected { peer, how, .. } => match how {
                Gone::Refused => {
                    alike = Some("refused".to_owned());
                    format!(
                        "{place}: the node cannot connect to the destination; the connection of \
                         {peer} is closed"
                    )
                }
                Gone::TooSlow => {
                    alike = Some("too slow".to_owned());
                    format!(
                        "{place}: the connection of {peer} is closed, as it read nothing while \
                         others waited"
                    )
                }
                _ => return None,
            },
            Notice::Message(text) | Notice::Loss(text) | Notice::Slow(text) => text.clone(),
            Notice::Moved(id) => format!("the node is {id} now"),
            Notice::Over {
                why,
                restarts: true,
                ..
            } => {
                format!("the session is over: {why}; the next connection starts another")
            }
            Notice::Restarting { after, why, .. } => {
                format!("{why}; trying again in {} s", after.as_secs())
            }
            Notice::GivenUp { why, hint, .. } => {
                alike = Some(repeats::alike(why));
                let hint = hint
                    .as_ref()
                    .map_or(String::new(), |hint| format!(" ({hint})"));
                format!("{why}{hint}; connections that waited are closed")
            }
            _ => return None,
        };
        match alike {
            Some(key) => self.repeats.line(&key, text),
            None => Some(text),
        }
    }
}

/// What texts call the place.
fn name(place: &Place) -> String {
    match place {
        Place::Tcp(address) => format!("Port {}", address.port()),
        Place::Unix(path) => format!("Unix socket {}", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn teller(style: Style, mode: Mode) -> Teller {
        let place = Place::Tcp(([127, 0, 0, 1], 54321).into());
        Teller::new(style, mode, "s".into(), place)
    }

    fn ready() -> Notice {
        Notice::Ready {
            session_id: "s".into(),
        }
    }

    fn connected() -> Notice {
        Notice::Connected {
            connection: 1,
            peer: "127.0.0.1:1".into(),
        }
    }

    fn refused() -> Notice {
        Notice::Disconnected {
            connection: 1,
            peer: "127.0.0.1:1".into(),
            how: Gone::Refused,
        }
    }

    #[test]
    fn the_plugin_says_what_scripts_wait_for() {
        let mut mux = teller(Style::Plugin, Mode::Mux);
        let mut all = String::new();
        for notice in [ready(), connected(), connected(), refused()] {
            all.extend(mux.tell(&notice));
        }
        let expected = "Port 54321 opened for sessionId s.\nWaiting for connections...\n\
        \nConnection accepted for session [s]\n\
        \nConnection to destination port failed, check SSM Agent logs.\n";
        assert_eq!(all, expected);
        let mut basic = teller(Style::Plugin, Mode::Basic);
        let mut all = String::new();
        for notice in [ready(), connected(), refused(), connected()] {
            all.extend(basic.tell(&notice));
        }
        let expected = "Port 54321 opened for sessionId s.\nConnection accepted for session s.\n";
        assert_eq!(all, expected);
        let mut unix = teller(Style::Plugin, Mode::Mux);
        unix.place = Place::Unix("/tmp/s".into());
        let text = unix.tell(&ready()).unwrap();
        assert!(text.starts_with("Unix socket /tmp/s opened for sessionId s.\nWaiting"));
    }

    #[tokio::test]
    async fn native_texts_are_lines_of_their_own() {
        let mut teller = teller(Style::Native, Mode::Mux);
        let text = teller.native(&ready()).unwrap();
        let expected = "Port 54321 opened for sessionId s. Waiting for connections...";
        assert_eq!(text, expected);
        assert!(teller.native(&ready()).unwrap().contains("opened again"));
        assert!(
            teller
                .native(&refused())
                .unwrap()
                .contains("cannot connect")
        );
        assert_eq!(teller.native(&refused()), None, "told a moment ago");
        assert_eq!(teller.native(&Notice::Resumed), None);
        let mut over = |restarts| {
            teller.native(&Notice::Over {
                session_id: "s".into(),
                why: "idle".into(),
                restarts,
            })
        };
        let text = "the session is over: idle; the next connection starts another";
        assert_eq!(over(true).as_deref(), Some(text));
        assert_eq!(over(false), None, "that is told as an error");
    }
}
