//! What tests make happen, and see.

use std::time::Duration;

use bytes::Bytes;

use super::Loopback;
use super::record::{Control, Injection};
use super::state::Scripted;
use super::stats::Stats;

impl Loopback {
    /// What happened so far.
    pub fn stats(&self) -> Stats {
        self.shared.state().stats.clone()
    }

    /// Waits until `condition` holds, at most for `limit`; whether it does.
    pub fn wait_for(&self, condition: impl FnMut(&Stats) -> bool, limit: Duration) -> bool {
        self.shared.wait_for(condition, limit)
    }

    /// Cuts all connections at once (TCP reset). What was on its way is lost.
    pub fn cut(&self) {
        self.shared.broadcast(|| Control::Cut);
    }

    /// Closes all connections with a close frame; the gateway's hourly one is 1000, `Bye`.
    pub fn close(&self, code: u16, reason: &str) {
        self.shared
            .broadcast(|| Control::Close(code, reason.to_owned()));
    }

    /// Keeps all present connections open but forwards nothing, not even pongs. Later
    /// connections work.
    pub fn stall(&self) {
        self.shared.broadcast(|| Control::Stall(true));
    }

    /// Ends a [`stall`](Self::stall).
    pub fn unstall(&self) {
        self.shared.broadcast(|| Control::Stall(false));
    }

    /// Ends all sessions, as the service does when they have been idle or open for too long;
    /// clients are told `output`.
    pub fn end_sessions(&self, output: &str) {
        self.shared.broadcast(|| Control::End(output.to_owned()));
    }

    /// Lets a node go away, with its sessions, or come back.
    pub fn set_online(&self, node: &str, online: bool) {
        self.shared.set_online(node, online);
    }

    /// Lets the agents of port sessions send these bytes, which may be anything, between those
    /// of the connections.
    pub fn inject_output(&self, output: &[u8]) {
        let output = Bytes::copy_from_slice(output);
        self.shared
            .broadcast(|| Control::InjectOutput(output.clone()));
    }

    /// Has all calls from now on come from whoever this ARN names.
    pub fn set_caller(&self, arn: &str) {
        self.shared
            .change(|state| arn.clone_into(&mut state.caller));
    }

    /// Adds so many sessions of the past, an hour apart, each of a minute: every second one
    /// somebody else's, some with logs in S3 or CloudWatch, some with a reason.
    pub fn add_history(&self, count: usize) {
        self.shared.add_history(count);
    }

    /// Sends a frame to all clients that no agent sent.
    pub fn inject(&self, frame: &Injection) {
        self.shared.broadcast(|| Control::Inject(frame.clone()));
    }

    /// Decides on all requests for access that are neither rejected, revoked nor expired:
    /// `Approved`, `Rejected`, `Revoked`, `Expired`.
    pub fn decide_access(&self, status: &str) {
        self.shared.change(|state| {
            for request in &mut state.access {
                if matches!(request.status.as_str(), "Pending" | "Approved") {
                    request.status = status.to_owned();
                }
            }
        });
    }

    /// Refuses ResumeSession with AccessDeniedException, or no longer.
    pub fn deny_resume(&self, deny: bool) {
        self.shared.change(|state| state.deny_resume = deny);
    }

    /// Does what calls of `operation` ask for, but holds their answers back; `None` lets them go.
    pub fn hold(&self, operation: Option<&str>) {
        self.shared
            .release(|state| state.held = operation.map(str::to_owned));
    }

    /// Lets connects of agents to ports take until this ends, as where nothing answers.
    pub fn hang_dials(&self, hang: bool) {
        self.shared.release(|state| state.hang_dials = hang);
    }

    /// Answers the next `count` calls of ResumeSession with an internal error (HTTP 500).
    pub fn fail_resumes(&self, count: u32) {
        self.shared.change(|state| state.fail_resumes = count);
    }

    /// Answers the next `count` API calls with ThrottlingException.
    pub fn throttle(&self, count: usize) {
        let body = r#"{"__type":"ThrottlingException","message":"Rate exceeded"}"#;
        for _ in 0..count {
            self.script("", 400, body);
        }
    }

    /// Answers the next call of `operation` (any, if empty) so.
    pub fn script(&self, operation: &str, status: u16, body: &str) {
        self.shared.change(|state| {
            state.script.push_back(Scripted {
                operation: operation.to_owned(),
                status,
                body: body.to_owned(),
            });
        });
    }

    /// Answers calls of `operation` with AccessDeniedException, or no longer.
    pub fn deny(&self, operation: &str, deny: bool) {
        self.shared.change(|state| match deny {
            true => state.denied.insert(operation.to_owned()),
            false => state.denied.remove(operation),
        });
    }

    /// Answers all API calls with ExpiredTokenException, or no longer.
    pub fn expire_token(&self, expired: bool) {
        self.shared.change(|state| state.expired = expired);
    }

    /// Refuses all upgrades with 403, as for a missing `ssmmessages:OpenDataChannel`; or no
    /// longer.
    pub fn forbid_upgrades(&self, forbid: bool) {
        self.shared.change(|state| state.forbid_upgrades = forbid);
    }

    /// Drops the next `count` connections to the gateway before the upgrade.
    pub fn refuse_upgrades(&self, count: u32) {
        self.shared.change(|state| state.refuse_upgrades = count);
    }

    /// Closes every further connection with this frame as soon as it has sent its token; `None`
    /// ends that.
    pub fn close_on_open(&self, frame: Option<(u16, &str)>) {
        let frame = frame.map(|(code, reason)| (code, reason.to_owned()));
        self.shared.change(|state| state.close_on_open = frame);
    }
}
