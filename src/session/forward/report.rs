//! What happens on tunnels, told to whoever shows it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::proxy::ProxyNotice;
use crate::channel::Event;
use crate::session::notices::LossNotice;

/// Notices that may wait to be shown. More are counted, and forgotten.
const QUEUE: usize = 256;

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A session is in force.
    Ready {
        /// The service's name of it.
        session_id: String,
    },
    /// A text of the service for the user.
    Message(String),
    /// A local connection is carried.
    Connected {
        /// Counts the connections of a reporter and its clones, from 1.
        connection: u64,
        /// Who it is.
        peer: String,
    },
    /// It is no more.
    Disconnected {
        /// As at the beginning.
        connection: u64,
        /// Who it was.
        peer: String,
        /// In which way.
        how: Gone,
    },
    /// The data channel is lost and being replaced, for this reason.
    Lost(String),
    /// It is replaced.
    Resumed,
    /// What people are to read of losses: one line a loss, more if it lasts.
    Loss(String),
    /// The session has ended, for this reason.
    Over {
        /// The service's name of it.
        session_id: String,
        /// Why; never empty.
        why: String,
        /// Whether the next connection starts another.
        restarts: bool,
    },
    /// There is no session, for this reason, and connections wait: another attempt follows.
    Restarting {
        /// Until then.
        after: Duration,
        /// Why there is none.
        why: String,
        /// What somebody could do.
        hint: Option<String>,
    },
    /// There is no session, for this reason: connections that waited for one were reset.
    GivenUp {
        /// How many.
        connections: usize,
        /// Why there is none.
        why: String,
        /// What somebody could do.
        hint: Option<String>,
    },
    /// The node that is meant is another by now, of this id.
    Moved(String),
    /// Why something takes long.
    Slow(String),
    /// What only proxies have to tell.
    Proxy(ProxyNotice),
}

/// How a local connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gone {
    /// In order.
    Finished,
    /// The node cannot connect to the destination.
    Refused,
    /// It took nothing while others waited, and was reset.
    TooSlow,
    /// The local side failed.
    Failed(String),
    /// The session ended first, and it was reset.
    Ended,
}

/// A notice and whose it is.
#[derive(Debug)]
pub struct Report {
    /// The number of the tunnel.
    pub tunnel: usize,
    /// What happened.
    pub notice: Notice,
}

/// Tells what happens on one tunnel. Never waits; clones tell of the same tunnel.
#[derive(Debug, Clone)]
pub struct Reporter {
    tunnel: usize,
    reports: mpsc::Sender<Report>,
    missed: Arc<AtomicU64>,
    count: Arc<AtomicU64>,
    open: Arc<watch::Sender<usize>>,
}

/// Where the reports of all tunnels come out.
#[derive(Debug)]
pub struct Reports {
    reports: mpsc::Receiver<Report>,
    missed: Arc<AtomicU64>,
}

/// A local connection that is carried; told as ended by the session's end when dropped.
#[derive(Debug)]
pub struct Connection {
    reporter: Reporter,
    number: u64,
    peer: String,
    how: Gone,
}

impl Reporter {
    /// A reporter for tunnel 0, and what it tells.
    pub fn new() -> (Self, Reports) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let missed = Arc::new(AtomicU64::new(0));
        let reporter = Self {
            tunnel: 0,
            reports: sender,
            missed: Arc::clone(&missed),
            count: Arc::new(AtomicU64::new(0)),
            open: Arc::new(watch::Sender::new(0)),
        };
        let reports = Reports {
            reports: receiver,
            missed,
        };
        (reporter, reports)
    }

    /// One for another tunnel, which is told of in the same place. Open connections are counted
    /// for each by itself.
    pub fn of_tunnel(&self, tunnel: usize) -> Self {
        Self {
            tunnel,
            open: Arc::new(watch::Sender::new(0)),
            ..self.clone()
        }
    }

    /// One that counts its connections on with this one's, and tells in a place of its own, to
    /// whoever passes it on.
    pub fn apart(&self) -> (Self, Reports) {
        let (apart, reports) = Self::new();
        let apart = Self {
            tunnel: self.tunnel,
            count: Arc::clone(&self.count),
            ..apart
        };
        (apart, reports)
    }

    /// Tells something, unless too much waits to be shown already.
    pub fn report(&self, notice: Notice) {
        let report = Report {
            tunnel: self.tunnel,
            notice,
        };
        if let Err(mpsc::error::TrySendError::Full(_)) = self.reports.try_send(report) {
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A local connection is carried from now on.
    pub fn connected(&self, peer: String) -> Connection {
        let number = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        self.open.send_modify(|open| *open += 1);
        self.report(Notice::Connected {
            connection: number,
            peer: peer.clone(),
        });
        Connection {
            reporter: self.clone(),
            number,
            peer,
            how: Gone::Ended,
        }
    }

    /// The number of this tunnel's connections that are open.
    pub fn open(&self) -> watch::Receiver<usize> {
        self.open.subscribe()
    }
}

impl Connection {
    /// It is over.
    pub fn ended(mut self, how: Gone) {
        self.how = how;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let how = std::mem::replace(&mut self.how, Gone::Ended);
        self.reporter.report(Notice::Disconnected {
            connection: self.number,
            peer: std::mem::take(&mut self.peer),
            how,
        });
        self.reporter.open.send_modify(|open| *open -= 1);
    }
}

impl Reports {
    /// The next report; `None` once nobody can tell any more. Safe to cancel.
    pub async fn next(&mut self) -> Option<Report> {
        self.reports.recv().await
    }

    /// A report that is there already.
    pub fn try_next(&mut self) -> Option<Report> {
        self.reports.try_recv().ok()
    }

    /// How many were forgotten since the last call, as they were not taken in time.
    pub fn missed(&self) -> u64 {
        self.missed.swap(0, Ordering::Relaxed)
    }
}

/// Tells of losses of one channel.
#[derive(Debug, Default)]
pub struct Losses(LossNotice);

impl Losses {
    /// Takes what concerns losses out of a channel's events, and gives the others back.
    pub fn handle(&mut self, event: Event, reporter: &Reporter) -> Option<Event> {
        let text = match event {
            Event::Lost(reason) => {
                self.0.lost(reason.clone());
                reporter.report(Notice::Lost(reason));
                None
            }
            Event::Hindered(reason) => self.0.hindered(reason),
            Event::Resumed => {
                reporter.report(Notice::Resumed);
                self.0.resumed()
            }
            event => return Some(event),
        };
        tell(text, reporter);
        None
    }

    /// Waits until a loss is to be told of, and tells of it; for ever if there is none. Safe to
    /// cancel.
    pub async fn tell(&mut self, reporter: &Reporter) {
        match self.0.deadline() {
            Some(deadline) => tokio::time::sleep_until(deadline).await,
            None => std::future::pending().await,
        }
        tell(self.0.tell(), reporter);
    }

    /// When [`tell`](Self::tell) has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        self.0.deadline()
    }
}

fn tell(text: Option<String>, reporter: &Reporter) {
    if let Some(text) = text {
        reporter.report(Notice::Loss(text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn reports_are_bounded_and_forgotten_ones_counted() {
        let (reporter, mut reports) = Reporter::new();
        for _ in 0..QUEUE + 3 {
            reporter.report(Notice::Resumed);
        }
        assert_eq!(reports.missed(), 3);
        assert_eq!(reports.missed(), 0);
        drop(reporter);
        let mut count = 0;
        while reports.next().await.is_some() {
            count += 1;
        }
        assert_eq!(count, QUEUE);
    }

    #[tokio::test]
    async fn open_connections_are_counted_for_each_tunnel() {
        let (first, mut reports) = Reporter::new();
        let second = first.of_tunnel(1);
        let one = first.connected("a".into());
        let two = second.clone().connected("b".into());
        assert_eq!((*first.open().borrow(), *second.open().borrow()), (1, 1));
        two.ended(Gone::Refused);
        assert_eq!((*first.open().borrow(), *second.open().borrow()), (1, 0));
        drop(one);
        assert_eq!(*first.open().borrow(), 0);
        let mut told = Vec::new();
        while let Some(Report { tunnel, notice }) = reports.try_next() {
            if let Notice::Disconnected {
                connection, how, ..
            } = notice
            {
                told.push((tunnel, connection, how));
            }
        }
        assert_eq!(told, [(1, 2, Gone::Refused), (0, 1, Gone::Ended)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_loss_is_told_as_an_event_and_as_a_line() {
        let (reporter, mut reports) = Reporter::new();
        let mut losses = Losses::default();
        assert!(
            losses
                .handle(Event::Lost("Bye".into()), &reporter)
                .is_none()
        );
        assert!(losses.handle(Event::Resumed, &reporter).is_none());
        assert!(losses.handle(Event::Connected, &reporter).is_some());
        let mut next = || reports.try_next().map(|report| report.notice);
        assert_eq!(next(), Some(Notice::Lost("Bye".into())));
        assert_eq!(next(), Some(Notice::Resumed));
        let line = Notice::Loss("connection lost (Bye), resumed".into());
        assert_eq!(next(), Some(line));
        losses.handle(Event::Lost("again".into()), &reporter);
        losses.tell(&reporter).await;
        assert_eq!(next(), Some(Notice::Lost("again".into())));
        assert!(matches!(next(), Some(Notice::Loss(_)) | None));
    }
}
