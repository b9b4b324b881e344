use super::*;

fn teller(style: Style, mode: Mode) -> Teller {
    Teller {
        style,
        mode,
        session_id: "s".into(),
        place: Place::Tcp(([127, 0, 0, 1], 54321).into()),
        ready: false,
        connected: false,
        restarts: true,
    }
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

#[test]
fn native_texts_are_lines_of_their_own() {
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
    assert_eq!(teller.native(&Notice::Resumed), None);
}

#[test]
fn signals_end_the_plugin_as_they_end_the_official_one() {
    let ended = Some(Outcome::Ended { exit_code: None });
    for signal in [Signal::Interrupt, Signal::Quit, Signal::Suspend] {
        assert_eq!(left_by(signal, Style::Plugin), ended);
    }
    for style in [Style::Plugin, Style::Native] {
        assert_eq!(left_by(Signal::Terminate, style), Some(Outcome::Signal(15)));
        assert_eq!(left_by(Signal::Resize, style), None);
    }
    assert_eq!(
        left_by(Signal::Interrupt, Style::Native),
        Some(Outcome::Signal(2))
    );
}
