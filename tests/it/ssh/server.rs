//! An sshd of the test's own: one process a connection, on a port that the test listens on.

use std::fs;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;

use crate::support::{clean, run_without_input};

/// Programs without which there is nothing to test.
const NEEDED: [&str; 3] = ["ssh", "ssh-keygen", "ssh-add"];

pub struct Server {
    directory: tempfile::TempDir,
    port: u16,
    user: String,
    stop: Arc<AtomicBool>,
    connections: Arc<Mutex<Vec<(Child, TcpStream)>>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Server {
    /// None, and a line about it, where there is no OpenSSH.
    pub fn start() -> Option<Self> {
        if let Some(missing) = NEEDED.iter().find(|name| find(name).is_none()) {
            println!("skipped: no {missing} on PATH");
            return None;
        }
        let Some(sshd) = find("sshd") else {
            println!("skipped: no sshd");
            return None;
        };
        let directory = tempfile::tempdir().expect("a directory for this test");
        make_key(&directory.path().join("host"));
        make_key(&directory.path().join("id"));
        let user = Command::new("id").arg("-un").output().expect("a user");
        let user = String::from_utf8_lossy(&user.stdout).trim().to_owned();
        configure(directory.path());
        // Where sshd locks itself in; it is there once the system has started one.
        let _ = fs::create_dir_all("/run/sshd");
        let checked = Command::new(&sshd)
            .arg("-t")
            .args(options(directory.path()))
            .output();
        let checked = checked.expect("sshd runs");
        if !checked.status.success() {
            let why = String::from_utf8_lossy(&checked.stderr);
            println!("skipped: sshd cannot run here: {why}");
            return None;
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let stop = Arc::new(AtomicBool::new(false));
        let connections = Arc::default();
        let serving = Serving {
            sshd,
            options: options(directory.path()),
            listener,
            stop: Arc::clone(&stop),
            connections: Arc::clone(&connections),
        };
        let server = Self {
            directory,
            port,
            user,
            stop,
            connections,
            thread: Some(thread::spawn(move || serving.run())),
        };
        // Accounts without a shell, or none at all for this user: nothing that ssmx could help.
        static REFUSAL: OnceLock<Option<String>> = OnceLock::new();
        match REFUSAL.get_or_init(|| server.refusal()) {
            None => Some(server),
            Some(why) => {
                println!("skipped: sshd lets nobody in here: {why}");
                None
            }
        }
    }

    /// Logs in directly; why it fails, if it does.
    fn refusal(&self) -> Option<String> {
        let mut ssh = Command::new("ssh");
        clean(&mut ssh);
        let config = self.client_config("direct", "");
        ssh.arg("-F").arg(config).args(["127.0.0.1", "echo in"]);
        let done = run_without_input(ssh);
        (done.stdout != b"in\n").then(|| format!("{done:?}"))
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn user(&self) -> &str {
        &self.user
    }

    /// A file among the server's own.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A private key that the server does not know.
    pub fn stranger(&self) -> PathBuf {
        let key = self.file("stranger");
        make_key(&key);
        key
    }

    /// A configuration for ssh that knows port, user, key and host key, and has `more` below it.
    pub fn client_config(&self, name: &str, more: &str) -> PathBuf {
        let file = self.file(name);
        let directory = self.directory.path().display();
        let Self { port, user, .. } = self;
        let text = format!(
            "Host *\n\
             Port {port}\n\
             User {user}\n\
             IdentityFile {directory}/id\n\
             IdentitiesOnly yes\n\
             BatchMode yes\n\
             LogLevel ERROR\n\
             StrictHostKeyChecking yes\n\
             UserKnownHostsFile {directory}/known_hosts\n\
             GlobalKnownHostsFile /dev/null\n\
             {more}\n"
        );
        fs::write(&file, text).expect("writable");
        file
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the thread up.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let mut connections = self.connections.lock().unwrap();
        for (mut child, stream) in connections.drain(..) {
            // Either may be gone.
            let _ = stream.shutdown(Shutdown::Both);
            let _ = child.kill();
            let _ = child.wait();
        }
        if thread::panicking() {
            let log = fs::read_to_string(self.file("log")).unwrap_or_default();
            println!("sshd: {log}");
        }
    }
}

struct Serving {
    sshd: PathBuf,
    options: Vec<String>,
    listener: TcpListener,
    stop: Arc<AtomicBool>,
    connections: Arc<Mutex<Vec<(Child, TcpStream)>>>,
}

impl Serving {
    fn run(self) {
        for stream in self.listener.incoming() {
            if self.stop.load(Ordering::SeqCst) {
                return;
            }
            let stream = stream.expect("a connection");
            let end = || OwnedFd::from(stream.try_clone().expect("one more descriptor"));
            let mut sshd = Command::new(&self.sshd);
            clean(&mut sshd);
            let child = sshd
                .arg("-i")
                .args(&self.options)
                .stdin(end())
                .stdout(end())
                .stderr(Stdio::null())
                .spawn()
                .expect("sshd runs");
            let mut connections = self.connections.lock().unwrap();
            connections.retain_mut(|(child, _)| !matches!(child.try_wait(), Ok(Some(_))));
            connections.push((child, stream));
        }
    }
}

fn options(directory: &Path) -> Vec<String> {
    let file = |name: &str| directory.join(name).display().to_string();
    vec!["-f".into(), file("sshd_config"), "-E".into(), file("log")]
}

fn configure(directory: &Path) {
    let read = |name: &str| fs::read_to_string(directory.join(name)).expect("readable");
    let write = |name: &str, text: &str| fs::write(directory.join(name), text).expect("writable");
    // sshd insists, as root at least.
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).expect("ours");
    write("authorized_keys", &read("id.pub"));
    write("known_hosts", &format!("* {}", read("host.pub")));
    let directory = directory.display();
    write(
        "sshd_config",
        &format!(
            "HostKey {directory}/host\n\
             AuthorizedKeysFile {directory}/authorized_keys {directory}/pushed_keys\n\
             PasswordAuthentication no\n\
             PermitRootLogin yes\n\
             PermitUserRC no\n\
             PidFile none\n\
             PrintLastLog no\n\
             PrintMotd no\n\
             StrictModes no\n\
             Subsystem sftp internal-sftp\n\
             UseDNS no\n\
             UsePAM no\n"
        ),
    );
}

fn make_key(file: &Path) {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "of a test", "-f"])
        .arg(file)
        .stdin(Stdio::null())
        .status();
    assert!(made.expect("ssh-keygen runs").success());
}

/// A program of PATH, or of the directories where servers are.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let servers = ["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from);
    let mut files = std::env::split_paths(&path)
        .chain(servers)
        .map(|directory| directory.join(name));
    files.find(|file| file.is_file())
}
