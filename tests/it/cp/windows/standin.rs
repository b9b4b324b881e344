//! What stands in for PowerShell with the program of `node.ps1`: there is none here to run it.
//!
//! A shell script takes the part of `powershell.exe`. It hands its command over to a thread of the
//! test through one FIFO, and shows what the thread writes into another, until that is closed.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest as _, Sha256};

use super::program::Program;

/// A computer with Windows, as far as copying goes.
pub(super) struct Standin {
    directory: PathBuf,
    /// `C:/`
    pub(super) drive: PathBuf,
    /// Bytes that a file may have before the disk is full.
    pub(super) room: u64,
    pub(super) language: &'static str,
}

impl Standin {
    /// In an empty directory, with these faults.
    pub(super) fn start(directory: &Path, room: u64, language: &'static str) -> PathBuf {
        let standin = Self {
            directory: directory.to_owned(),
            drive: directory.join("drive"),
            room,
            language,
        };
        fs::create_dir_all(standin.home()).unwrap();
        let asked = directory.join("asked");
        make_fifo(&asked);
        let shell = directory.join("shell");
        fs::write(&shell, standin.shell()).unwrap();
        fs::set_permissions(&shell, fs::Permissions::from_mode(0o755)).unwrap();
        let standin = Arc::new(standin);
        thread::spawn(move || {
            // It lives as long as the test does.
            loop {
                let command = fs::read_to_string(&asked).unwrap_or_default();
                let Some((told, command)) = command.split_once(' ') else {
                    return;
                };
                let (told, command) = (PathBuf::from(told), command.to_owned());
                let standin = Arc::clone(&standin);
                // Who hangs up ends it.
                thread::spawn(move || drop(standin.run(&told, &command)));
            }
        });
        shell
    }

    pub(super) fn home(&self) -> PathBuf {
        self.drive.join("Users/me")
    }

    /// `$2` is the command, as in `sh -c COMMAND`.
    fn shell(&self) -> String {
        let at = self.directory.display();
        format!(
            "#!/bin/sh\n\
             exec 9>{at}/processes\n\
             case $2 in\n\
             -NoProfile*) mkfifo {at}/told.$$ || exit\n\
             printf '%s %s' {at}/told.$$ \"$2\" >{at}/asked\n\
             exec cat {at}/told.$$;;\n\
             *'<#'*'#>'*) rest=${{2##*\"('@'+'\"}}\n\
             printf '\\033]0;powershell\\007\\033[2J\\033[1;1H@%s\\033[0K\\r\\n' \"${{rest%%\\'*}}\";;\n\
             *) echo \"sh : The term 'sh' is not recognized\";;\n\
             esac\n"
        )
    }

    /// Does what the script says, as the console `told` shows it.
    fn run(&self, told: &Path, command: &str) -> io::Result<()> {
        // Like a process of the session, which the other end of this is waited for.
        let _process = File::options()
            .write(true)
            .open(self.directory.join("processes"))?;
        let mut console = File::options().write(true).open(told)?;
        let script = decode(command).ok_or(io::ErrorKind::InvalidData)?;
        let word = |name: &str| {
            let (_, rest) = script.split_once(&format!("${name} = '"))?;
            Some(rest.split_once('\'')?.0.to_owned())
        };
        let (Some(mark), Some(hash)) = (word("mark"), word("hash")) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        if self.language != "FullLanguage" {
            return write!(console, "@{mark} limited;\r\n");
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        // A console may be painted again and again.
        let (first, second) = mark.split_at(9);
        write!(
            console,
            "\x1b]0;powershell\x07\x1b[2J\x1b[1;1H@{first}\x1b[?25l\x1b[1;1H@{first}{second} \
             port {port};\x1b[0K\r\n"
        )?;
        let stream = loop {
            let (mut stream, _) = listener.accept()?;
            let mut secret = [0; 64];
            let read = stream.read_exact(&mut secret);
            if read.is_ok() && BASE64.encode(Sha256::digest(secret)) == hash {
                break stream;
            }
        };
        drop(listener);
        stream.set_nodelay(true)?;
        self.serve(stream)
    }

    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        let mut program = Program::new(self, stream);
        let served = program.serve();
        program.shut();
        served
    }
}

pub(super) fn make_fifo(path: &Path) {
    let made = Command::new("mkfifo").arg(path).status().unwrap();
    assert!(made.success());
}

/// The script of a command.
fn decode(command: &str) -> Option<String> {
    let text = command.rsplit(' ').next()?;
    let bytes = BASE64.decode(text).ok()?;
    let units: Vec<u16> = bytes
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
        .collect();
    String::from_utf16(&units).ok()
}
