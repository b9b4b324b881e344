use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;

fn tcp(host: Host, port: u16) -> Bind {
    Bind::Tcp { host, port }
}

fn has_ipv6() -> bool {
    std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

async fn exchange(mut accepted: Accepted, mut client: impl AsyncRead + AsyncWrite + Unpin) {
    client.write_all(b"ping").await.unwrap();
    let mut got = [0; 4];
    accepted.socket.read_exact(&mut got).await.unwrap();
    accepted.socket.write_all(&got).await.unwrap();
    client.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"ping");
}

#[tokio::test]
async fn localhost_is_both_addresses_on_the_picked_port() {
    let listener = Listener::bind(&tcp(Host::Localhost, 0)).await.unwrap();
    let port = listener.place().port().unwrap();
    assert_eq!(listener.place().to_string(), format!("127.0.0.1:{port}"));
    let (mut queue, accepting) = listener.start();
    let client = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
        .await
        .unwrap();
    let accepted = queue.recv().await.unwrap();
    assert_eq!(accepted.peer, client.local_addr().unwrap().to_string());
    exchange(accepted, client).await;
    if has_ipv6() {
        let client = TcpStream::connect((Ipv6Addr::LOCALHOST, port))
            .await
            .unwrap();
        exchange(queue.recv().await.unwrap(), client).await;
    }
    drop((queue, accepting));
}

#[tokio::test]
async fn a_client_that_left_without_a_word_is_gone() {
    let listener = Listener::bind(&tcp(Host::Localhost, 0)).await.unwrap();
    let port = listener.place().port().unwrap();
    let (mut queue, _accepting) = listener.start();
    for (words, left, gone) in [("", false, false), ("", true, true), ("GET", true, false)] {
        let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            .await
            .unwrap();
        let accepted = queue.recv().await.unwrap();
        client.write_all(words.as_bytes()).await.unwrap();
        let kept = if left {
            drop(client);
            None
        } else {
            Some(client)
        };
        // On this machine what was sent is there at once.
        assert_eq!(accepted.socket.is_gone(), gone, "{words:?} {left}");
        drop(kept);
    }
}

#[tokio::test]
async fn a_closed_queue_closes_the_port() {
    let listener = Listener::bind(&tcp(Host::Localhost, 0)).await.unwrap();
    let port = listener.place().port().unwrap();
    let (queue, receiver) = mpsc::channel(1);
    drop(receiver);
    listener.accept_into(queue).await;
    assert!(
        TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_busy_port_names_its_owner() {
    for host in [
        Ipv4Addr::LOCALHOST.into(),
        IpAddr::from(Ipv6Addr::LOCALHOST),
    ] {
        if host.is_ipv6() && !has_ipv6() {
            continue;
        }
        let taken = std::net::TcpListener::bind((host, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = Listener::bind(&tcp(Host::Localhost, port))
            .await
            .expect_err("it is taken");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        let text = error.to_string();
        assert!(
            text.contains(&format!(":{port}: the port is in use")),
            "{text}"
        );
        if cfg!(target_os = "linux") {
            assert!(text.ends_with("by this command itself"), "{text}");
        }
        assert!(error.hint().is_some());
    }
}

#[tokio::test]
async fn a_foreign_address_and_an_unknown_name_are_told() {
    let foreign = Host::Address(Ipv4Addr::new(192, 0, 2, 1).into());
    let error = Listener::bind(&tcp(foreign, 0))
        .await
        .expect_err("not ours");
    assert!(error.to_string().contains("does not have that address"));
    let unknown = Host::Name("no.such.name.invalid".into());
    let error = Listener::bind(&tcp(unknown, 0)).await.expect_err("unknown");
    assert!(
        error.to_string().contains("the name is not known"),
        "{error}"
    );
}

#[cfg(unix)]
mod unix {
    use std::os::unix::fs::PermissionsExt as _;

    use tokio::net::UnixStream;

    use super::*;

    #[tokio::test]
    async fn a_socket_is_the_users_alone_and_removed_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = Listener::bind(&Bind::Unix(path.clone())).await.unwrap();
        assert_eq!(listener.place(), &Place::Unix(path.clone()));
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let (mut queue, accepting) = listener.start();
        let client = UnixStream::connect(&path).await.unwrap();
        exchange(queue.recv().await.unwrap(), client).await;
        let error = Listener::bind(&Bind::Unix(path.clone()))
            .await
            .expect_err("it lives");
        assert!(
            error.to_string().contains("the socket is in use"),
            "{error}"
        );
        if cfg!(target_os = "linux") {
            assert!(error.to_string().contains("this command itself"), "{error}");
        }
        drop(accepting);
        while path.exists() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn what_a_dead_process_left_is_replaced_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let listener = Listener::bind(&Bind::Unix(path.clone())).await.unwrap();
        // Somebody else's file of that name stays.
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "precious").unwrap();
        drop(listener);
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
        let error = Listener::bind(&Bind::Unix(path.clone()))
            .await
            .expect_err("a file");
        assert!(error.to_string().contains("no socket"), "{error}");
        for (path, why) in [
            (dir.path().join("none/s"), "directory does not exist"),
            (dir.path().join("x".repeat(200)), "too long"),
        ] {
            let error = Listener::bind(&Bind::Unix(path)).await.expect_err(why);
            assert!(error.to_string().contains(why), "{error}");
        }
    }
}
