//! Files that are none, or hold what no file should.

use std::fs;
use std::os::unix::fs::symlink;

use super::Home;

/// What is told of a file, and that nothing else happens.
#[track_caller]
fn told(home: &Home, name: &str) -> String {
    let done = home.run(&["config", "check", name]);
    assert_eq!(
        (done.text().as_str(), done.code()),
        ("", Some(253)),
        "{name}: {done:?}"
    );
    done.stderr.replace("ssmx: error: ", "")
}

#[test]
fn what_can_be_read_is_read_however_it_is_written() {
    let home = Home::new("");
    for (name, text) in [
        ("bom", "\u{feff}region = \"a\"\n"),
        (
            "crlf",
            "region = \"a\"\r\n\r\n[alias.x]\r\ntarget = \"i-1\"\r\n",
        ),
        ("empty", ""),
        ("comment", "# nothing"),
    ] {
        home.write(name, text);
        let done = home.run(&["config", "check", name]);
        let good = format!("{name}: good\n");
        assert_eq!((done.text(), done.code()), (good, Some(0)), "{done:?}");
    }
    home.write("places", "\u{feff}regoin = 1\r\nkeepalive = \"y\"\r\n");
    assert_eq!(
        told(&home, "places"),
        "places:1:1: there is no setting \"regoin\"\n\
         ssmx: hint: did you mean region?\n\
         places:2:13: keepalive must be a whole number, not \"y\"\n"
    );
}

#[test]
fn what_cannot_be_read_is_told_with_its_place() {
    let home = Home::new("");
    fs::write(home.path("bytes"), b"region = \"a\"\nreason = \"\xff\"\n").unwrap();
    assert_eq!(told(&home, "bytes"), "bytes:2:11: it is no UTF-8 text\n");
    fs::create_dir(home.path("directory")).unwrap();
    assert_eq!(told(&home, "directory"), "directory: it is a directory\n");
    symlink("one", home.path("two")).unwrap();
    symlink("two", home.path("one")).unwrap();
    assert_eq!(
        told(&home, "one"),
        "one: cannot read it: Too many levels of symbolic links\n"
    );
    let large = fs::File::create(home.path("large")).unwrap();
    large.set_len(100 << 20).unwrap();
    assert_eq!(told(&home, "large"), "large: it is longer than 1 MiB\n");
    assert_eq!(
        told(&home, "/dev/zero"),
        "/dev/zero: it is longer than 1 MiB\n"
    );
    home.write("twice", "region = \"a\"\nregion = \"b\"\n");
    assert_eq!(told(&home, "twice"), "twice:2:1: duplicate key\n");
}

#[test]
fn what_is_deep_or_much_is_told_shortly() {
    let home = Home::new("");
    let deep = 100_000;
    for (name, text) in [
        ("open", format!("a = {}", "[".repeat(deep))),
        (
            "lists",
            format!("a = {}{}", "[".repeat(deep), "]".repeat(deep)),
        ),
        (
            "tables",
            format!("a = {}1{}", "{a=".repeat(deep), "}".repeat(deep)),
        ),
        ("dots", format!("{}a = 1", "a.".repeat(deep))),
        ("header", format!("[{}a]", "a.".repeat(deep))),
        ("keys", (0..60_000).map(|n| format!("k{n} = 1\n")).collect()),
        ("name", format!("{} = 1", "x".repeat(900_000))),
    ] {
        home.write(name, &text);
        let told = told(&home, name);
        assert!(told.starts_with(&format!("{name}:1:")), "{told}");
        let most = if name == "keys" { 200 } else { 3 };
        assert!(told.lines().count() <= most, "{told}");
        assert!(told.lines().all(|line| line.len() < 500), "{told}");
    }
}
