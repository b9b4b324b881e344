//! HTTP CONNECT.

use std::io;

use httparse::{Request as Head, Status};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::super::destination::Destination;
use super::super::refusal::Refusal;
use super::{Client, Rejected, Request, lost};

/// The longest head of a request, in bytes.
pub const MAX_HEAD: usize = 16 * 1024;
/// The most header lines of a request.
const MAX_HEADERS: usize = 100;

/// What a client that sends something else than CONNECT should do.
const USE_CONNECT: &str = "this proxy only takes CONNECT: use it for https:// URLs, with \
    `curl --proxytunnel`, or as SOCKS proxy (socks5h://)";

/// Hears a client whose first byte was `first`.
pub async fn hear<S>(first: u8, socket: &mut S) -> Result<Request<'_, S>, Rejected>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let wanted = match read_head(first, socket).await? {
        Some(head) => parse(&head),
        None => Err(Problem::TooLong),
    };
    match wanted {
        Ok(destination) => Ok(Request {
            destination,
            client: Client::Http(socket),
        }),
        Err(problem) => {
            let (status, reason, text) = match problem {
                Problem::TooLong => (
                    431,
                    "Request Header Fields Too Large",
                    "the request's head is too long".to_owned(),
                ),
                Problem::Method => (405, "Method Not Allowed", USE_CONNECT.to_owned()),
                Problem::Malformed(text) => (400, "Bad Request", text),
            };
            answer(socket, status, reason, &text).await?;
            Err(Rejected::Http(text))
        }
    }
}

/// Tells the client that it is connected.
pub async fn accept<S: AsyncWrite + Unpin>(socket: &mut S) -> io::Result<()> {
    socket
        .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
        .await?;
    socket.flush().await
}

/// Tells the client that it is not.
pub async fn refuse<S: AsyncWrite + Unpin>(socket: &mut S, refusal: &Refusal) -> io::Result<()> {
    let (status, reason) = refusal.http();
    answer(socket, status, reason, &refusal.text).await
}

#[derive(Debug, PartialEq, Eq)]
enum Problem {
    TooLong,
    Method,
    Malformed(String),
}

/// The head of a request up to and with its empty line; `None` if that is too far.
///
/// Byte by byte, so that whatever comes behind stays in the socket. A head is some hundred bytes.
async fn read_head<S>(first: u8, socket: &mut S) -> Result<Option<Vec<u8>>, Rejected>
where
    S: AsyncRead + Unpin,
{
    let mut head = vec![first];
    while !(head.ends_with(b"\n\r\n") || head.ends_with(b"\n\n")) {
        if head.len() == MAX_HEAD {
            return Ok(None);
        }
        head.push(socket.read_u8().await.map_err(lost)?);
    }
    Ok(Some(head))
}

fn parse(head: &[u8]) -> Result<Destination, Problem> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = Head::new(&mut headers);
    match request.parse(head) {
        Ok(Status::Complete(_)) => {}
        Ok(Status::Partial) => {
            return Err(Problem::Malformed("the request's head is cut short".into()));
        }
        Err(httparse::Error::TooManyHeaders) => return Err(Problem::TooLong),
        Err(error) => {
            return Err(Problem::Malformed(format!(
                "this is no HTTP/1 request: {error}"
            )));
        }
    }
    if request.method != Some("CONNECT") {
        return Err(Problem::Method);
    }
    Destination::from_authority(request.path.unwrap_or_default())
        .map_err(|error| Problem::Malformed(format!("CONNECT takes HOST:PORT: {error}")))
}

async fn answer<S>(socket: &mut S, status: u16, reason: &str, text: &str) -> io::Result<()>
where
    S: AsyncWrite + Unpin,
{
    let allow = if status == 405 {
        "Allow: CONNECT\r\n"
    } else {
        ""
    };
    let length = text.len() + 1;
    let message = format!(
        "HTTP/1.1 {status} {reason}\r\n{allow}Content-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{text}\n"
    );
    socket.write_all(message.as_bytes()).await?;
    socket.flush().await
}
