//! A Unix socket that listens, and its file.

use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::task::{Context, Poll};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::{UnixListener, UnixStream};

use super::bind::{BindError, plain};
use super::owner;

/// Who may connect: the user.
const MODE: u32 = 0o600;
const BACKLOG: i32 = 1024;

/// A listening socket; its file is removed when this is dropped.
#[derive(Debug)]
pub struct UnixSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and number of the file: another's of the same name is not ours to remove.
    file: (u64, u64),
}

impl UnixSocket {
    /// Listens at `path`. What a process left there that is gone is replaced; nothing else is.
    pub fn bind(path: &Path) -> Result<Self, BindError> {
        match fs::symlink_metadata(path) {
            Ok(found) => clear(path, &found)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(BindError::new(path.display(), &error)),
        }
        listen(path).map_err(|error| {
            let failed = BindError::new(path.display(), &error);
            match error.kind() {
                io::ErrorKind::NotFound => failed
                    .why("the directory does not exist")
                    .with_hint("make it, or choose another path"),
                io::ErrorKind::InvalidInput => failed
                    .why("the path is too long for a socket")
                    .with_hint("choose one of at most 100 bytes"),
                io::ErrorKind::PermissionDenied => {
                    failed.with_hint("choose a path in a directory that you can write to")
                }
                _ => failed,
            }
        })
    }

    /// The next connection.
    pub fn poll_accept(&self, context: &mut Context<'_>) -> Poll<io::Result<UnixStream>> {
        let accepted = self.listener.poll_accept(context);
        accepted.map_ok(|(stream, _)| stream)
    }
}

impl std::os::fd::AsFd for UnixSocket {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|now| identity(&now) == self.file) {
            // Should it stay, the next one takes it for what it is.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The file gets its mode before anyone can connect: a socket that does not listen refuses.
fn listen(path: &Path) -> io::Result<UnixSocket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    fs::set_permissions(path, Permissions::from_mode(MODE))?;
    let file = identity(&fs::symlink_metadata(path)?);
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    let listener = UnixListener::from_std(StdListener::from(socket))?;
    Ok(UnixSocket {
        listener,
        path: path.to_owned(),
        file,
    })
}

/// Removes what is at `path` if it is a socket that nobody listens at.
fn clear(path: &Path, found: &Metadata) -> Result<(), BindError> {
    let in_the_way = |error: &io::Error| BindError::new(path.display(), error).taken();
    if !found.file_type().is_socket() {
        return Err(in_the_way(&io::ErrorKind::AlreadyExists.into())
            .why("there is something of that name that is no socket")
            .with_hint("remove it, or choose another path"));
    }
    // A socket that does not block, lest a full backlog should keep us here.
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)
        .and_then(|socket| {
            socket.set_nonblocking(true)?;
            socket.connect(&SockAddr::unix(path)?)
        })
        .map_err(|error| (error.kind(), error));
    match probe {
        Err((io::ErrorKind::ConnectionRefused, _)) => fs::remove_file(path).map_err(|error| {
            in_the_way(&error).why(format!(
                "a socket of a process that is gone is there, and cannot be removed: {}",
                plain(&error)
            ))
        }),
        Err((io::ErrorKind::NotFound, _)) => Ok(()),
        Err((io::ErrorKind::PermissionDenied, error)) => Err(in_the_way(&error)
            .why("a socket of another user is there")
            .with_hint("choose another path")),
        Ok(()) | Err(_) => {
            let owner = owner::of_path(path);
            let by = owner.map_or_else(String::new, |owner| format!(" by {owner}"));
            Err(in_the_way(&io::ErrorKind::AddrInUse.into())
                .why(format!("the socket is in use{by}"))
                .with_hint("end that program, or choose another path"))
        }
    }
}

fn identity(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}
