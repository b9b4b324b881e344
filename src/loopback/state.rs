//! What the service, the gateway and the sessions share.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::access::Request;
use super::document::Program;
use super::host::Remains;
use super::record::{Control, Record, Status};
use super::sigv4::Signer;
use super::stats::Stats;
use super::{Node, Options};
use crate::protocol::cipher::DataKey;

/// How long a token may be used.
pub(super) const TOKEN_LIFE: Duration = Duration::from_secs(60);
/// Ended sessions that DescribeSessions still knows.
const HISTORY: usize = 1000;
/// Data keys that can still be decrypted.
const DATA_KEYS: usize = 1000;
/// Controls that wait for a session.
const CONTROLS: usize = 64;

/// An answer prepared by a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scripted {
    /// `StartSession`, …; any operation if empty.
    pub operation: String,
    /// HTTP status.
    pub status: u16,
    /// The body as it is.
    pub body: String,
}

struct Token {
    session: String,
    expires: Instant,
}

struct KeptKey {
    key_id: String,
    ciphertext: Vec<u8>,
    context: Vec<(String, String)>,
    key: DataKey,
}

/// Access tokens and URLs of one opening of a data channel.
pub(super) struct Grant {
    pub(super) session_id: String,
    pub(super) token: String,
    pub(super) stream_url: String,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) stats: Stats,
    pub(super) sessions: Vec<Record>,
    tokens: HashMap<String, Token>,
    keys: VecDeque<KeptKey>,
    pub(super) script: VecDeque<Scripted>,
    pub(super) nodes: Vec<Node>,
    /// Of Run Command, the newest last.
    pub(super) commands: Vec<super::api::Sent>,
    /// ARN of whoever calls.
    pub(super) caller: String,
    pub(super) access: Vec<Request>,
    pub(super) expired: bool,
    /// Operations that the caller may not do.
    pub(super) denied: HashSet<String>,
    pub(super) deny_resume: bool,
    /// The operation whose answers are held back.
    pub(super) held: Option<String>,
    /// Agents' connects take for ever.
    pub(super) hang_dials: bool,
    pub(super) fail_resumes: u32,
    pub(super) forbid_upgrades: bool,
    pub(super) refuse_upgrades: u32,
    pub(super) close_on_open: Option<(u16, String)>,
    /// For hosts; gone once the whole peer is about to go.
    pub(super) remains: Option<Remains>,
}

impl State {
    /// Whether sessions can be started on a node from a region; `own` is that of nodes that name
    /// none.
    pub(super) fn is_online(&self, id: &str, region: &str, own: &str) -> bool {
        let is = |node: &Node| node.id == id && node.region.as_deref().unwrap_or(own) == region;
        self.nodes.iter().any(|node| node.online && is(node))
    }

    /// Sends a control to the live sessions that are meant.
    fn tell(&self, meant: impl Fn(&Record) -> bool, mut control: impl FnMut() -> Control) {
        for session in &self.sessions {
            if !session.status.is_over() && meant(session) {
                // A session that does not take so many is about to end.
                let _ = session.control.try_send(control());
            }
        }
    }
}

pub(super) struct Shared {
    pub(super) options: Options,
    pub(super) access_key_id: String,
    pub(super) secret_access_key: String,
    pub(super) gateway: String,
    /// Told when something is not held back any more.
    released: Notify,
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    pub(super) fn new(options: Options, gateway_port: u16, remains: Remains) -> Self {
        let stream_host = options.stream_host.clone();
        Self {
            access_key_id: format!("AKIALOOP{:.12}", random_hex::<8>().to_uppercase()),
            secret_access_key: random_hex::<20>(),
            gateway: stream_host.unwrap_or_else(|| format!("127.0.0.1:{gateway_port}")),
            state: Mutex::new(State {
                remains: Some(remains),
                nodes: options.nodes.clone(),
                caller: super::api::usual_caller(),
                ..State::default()
            }),
            options,
            changed: Condvar::new(),
            released: Notify::new(),
        }
    }

    /// Whoever has the keys of this run.
    pub(super) fn signer_in<'a>(&'a self, region: &'a str) -> Signer<'a> {
        Signer {
            access_key_id: &self.access_key_id,
            secret_access_key: &self.secret_access_key,
            region,
        }
    }

    /// The state, to be held for a moment only.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and wakes those who wait for it.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.state());
        self.changed.notify_all();
        result
    }

    /// Waits while a test holds something back.
    pub(super) async fn wait_while(&self, held: impl Fn(&State) -> bool) {
        loop {
            let released = self.released.notified();
            tokio::pin!(released);
            // Before the look, so that no release in between is missed.
            released.as_mut().enable();
            if !held(&self.state()) {
                return;
            }
            released.await;
        }
    }

    /// Changes what is held back.
    pub(super) fn release(&self, change: impl FnOnce(&mut State)) {
        self.change(change);
        self.released.notify_waiters();
    }

    /// Waits until `condition` holds, at most for `limit`; whether it does.
    pub(super) fn wait_for(
        &self,
        mut condition: impl FnMut(&Stats) -> bool,
        limit: Duration,
    ) -> bool {
        let (_state, outcome) = self
            .changed
            .wait_timeout_while(self.state(), limit, |state| !condition(&state.stats))
            .unwrap_or_else(PoisonError::into_inner);
        !outcome.timed_out()
    }

    /// Opens a session and starts its task. `None` if there are too many.
    pub(super) fn open_session(
        self: &Arc<Self>,
        prefix: &str,
        target: &str,
        document: Option<String>,
        reason: Option<String>,
        program: Program,
    ) -> Option<Grant> {
        let id = format!("{prefix}-{:.17}", random_hex::<9>());
        let (control, controls) = mpsc::channel(CONTROLS);
        let record = Record {
            id: id.clone(),
            target: target.to_owned(),
            owner: self.state().caller.clone(),
            logs: (None, None),
            document,
            reason,
            started: wall_clock(),
            ended: None,
            status: Status::Connecting,
            details: String::new(),
            control,
            streams: Vec::new(),
        };
        self.change(|state| {
            let live = state.sessions.iter().filter(|s| !s.status.is_over());
            if live.count() >= self.options.max_sessions {
                return None;
            }
            while state.sessions.len() >= HISTORY {
                let ended = state.sessions.iter().position(|s| s.status.is_over());
                state.sessions.remove(ended.unwrap_or(0));
            }
            state.sessions.push(record);
            state.stats.started += 1;
            state.stats.session_id = Some(id.clone());
            Some(())
        })?;
        super::session::spawn(
            self.clone(),
            id.clone(),
            target.to_owned(),
            program,
            controls,
        );
        self.grant(&id)
    }

    /// Adds sessions that ended before this began, an hour apart, each of a minute. Every second
    /// one is somebody else's; some were logged, some have a reason.
    pub(super) fn add_history(&self, count: usize) {
        const HOUR: Duration = Duration::from_secs(3600);
        let now = wall_clock();
        self.change(|state| {
            let target = state.nodes.first().map(|node| node.id.clone());
            for n in 0..count {
                let began = HOUR.saturating_mul(u32::try_from(count - n).unwrap_or(u32::MAX));
                let started = now.checked_sub(began).unwrap_or(UNIX_EPOCH);
                let mine = n % 2 == 1;
                let id = format!("{}-{n:017x}", if mine { "loopback" } else { "alice" });
                let s3 = format!("s3://loopback-logs/sessions/{id}.log");
                let group = format!("log-group:/ssm/sessions:log-stream:{id}");
                let region = &self.options.region;
                let cloud_watch = format!("arn:aws:logs:{region}:{}:{group}", super::api::ACCOUNT);
                state.sessions.push(Record {
                    target: target.clone().unwrap_or_default(),
                    owner: match mine {
                        true => state.caller.clone(),
                        false => super::api::other_caller(),
                    },
                    logs: (
                        (n % 3 == 0).then_some(s3),
                        (n % 3 == 1).then_some(cloud_watch),
                    ),
                    document: Some("SSM-SessionManagerRunShell".to_owned()),
                    reason: (n % 5 == 0).then(|| format!("TICKET-{n}")),
                    started,
                    ended: started.checked_add(Duration::from_secs(60)),
                    status: Status::Terminated,
                    details: String::new(),
                    // It hears of nothing any more.
                    control: mpsc::channel(1).0,
                    streams: Vec::new(),
                    id,
                });
            }
        });
    }

    /// A new token and a StreamUrl of its own for a live session.
    pub(super) fn grant(&self, session_id: &str) -> Option<Grant> {
        let token = BASE64.encode(random::<96>());
        let mut stream = format!(
            "/v1/data-channel/{session_id}?role=publish_subscribe&cell-number=AAEAAe+/{}",
            BASE64.encode(random::<47>())
        );
        if self.options.presigned_stream_url {
            stream.push_str(&format!(
                "&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature={}",
                random_hex::<32>()
            ));
        }
        let now = Instant::now();
        self.change(|state| {
            let record = state.sessions.iter_mut().find(|s| s.id == session_id)?;
            if record.status.is_over() {
                return None;
            }
            record.streams.push(stream.clone());
            // An old token of the session is stale from now on.
            state
                .tokens
                .retain(|_, token| token.expires > now && token.session != session_id);
            let session = session_id.to_owned();
            let expires = now + TOKEN_LIFE;
            state
                .tokens
                .insert(token.clone(), Token { session, expires });
            Some(())
        })?;
        Some(Grant {
            session_id: session_id.to_owned(),
            stream_url: format!("ws://{}{stream}", self.gateway),
            token,
        })
    }

    /// Takes a token out of circulation; whether it opened `session_id`.
    pub(super) fn redeem(&self, token: &str, session_id: &str) -> bool {
        let token = self.state().tokens.remove(token);
        token.is_some_and(|token| token.session == session_id && token.expires > Instant::now())
    }

    /// Sends a control to every live session.
    pub(super) fn broadcast(&self, control: impl FnMut() -> Control) {
        self.state().tell(|_| true, control);
    }

    /// Lets a node go away, with its sessions, or come back.
    pub(super) fn set_online(&self, id: &str, online: bool) {
        self.change(|state| {
            for node in state.nodes.iter_mut().filter(|node| node.id == id) {
                node.online = online;
            }
            if !online {
                state.tell(|session| session.target == id, || Control::Terminate);
            }
        });
    }

    /// Makes a data key and keeps it for [`decrypt`](Self::decrypt). Plaintext, ciphertext.
    pub(super) fn make_key(
        &self,
        key_id: &str,
        mut context: Vec<(String, String)>,
    ) -> (DataKey, Vec<u8>) {
        let key = DataKey::new(random());
        let ciphertext = random::<168>().to_vec();
        context.sort();
        self.change(|state| {
            if state.keys.len() >= DATA_KEYS {
                state.keys.pop_front();
            }
            state.keys.push_back(KeptKey {
                key_id: key_id.to_owned(),
                ciphertext: ciphertext.clone(),
                context,
                key: key.clone(),
            });
        });
        (key, ciphertext)
    }

    /// KMS Decrypt, as the agent calls it.
    pub(super) fn decrypt(
        &self,
        key_id: &str,
        ciphertext: &[u8],
        mut context: Vec<(String, String)>,
    ) -> Result<DataKey, String> {
        context.sort();
        let state = self.state();
        let kept = state.keys.iter().find(|kept| kept.ciphertext == ciphertext);
        match kept {
            Some(kept) if kept.key_id == key_id && kept.context == context => Ok(kept.key.clone()),
            _ => Err(
                "Fetching data key failed: Unable to retrieve data key, Error when decrypting data key InvalidCiphertextException: "
                    .to_owned(),
            ),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "dates of sessions and signatures are wall time"
)]
pub(super) fn wall_clock() -> SystemTime {
    SystemTime::now()
}

/// Milliseconds since 1970.
pub(super) fn wall_millis() -> u64 {
    let since = wall_clock().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Random bytes of the system's.
pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // It fails only where the system has no randomness at all; nothing could be secret then.
    aws_lc_rs::rand::fill(&mut bytes).expect("the system gives random bytes");
    bytes
}

pub(super) fn random_hex<const N: usize>() -> String {
    random::<N>().iter().map(|b| format!("{b:02x}")).collect()
}
