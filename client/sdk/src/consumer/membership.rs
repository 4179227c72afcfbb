//! Keeps a member alive, beside the consumer that reads for it.
//!
//! ```text
//! broker ◄─heartbeat─ task ─target─► consumer: revoke, commit, assign ─reads─► task ─heartbeat─► broker
//! ```
//!
//! The target is the latest word of the broker; the consumer follows it whenever it is polled and reports what
//! it reads. A consumer that is not polled for too long is taken out of the group, so that others go on.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::time::Duration;

use tidelog_model::{ErrorCode, TopicPartition};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::member::{JOIN, Member, MemberSettings};
use crate::backoff::Backoff;
use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};

/// How long leaving may take: who does not hear of it takes the member for dead after its session time.
const LEAVE_MAX: Duration = Duration::from_secs(5);
/// How often a heartbeat is sent until the broker has said how often it wants one.
const FIRST_INTERVAL: Duration = Duration::from_secs(3);

/// What the broker wants the consumer to read.
#[derive(Debug, Clone, Default)]
pub(super) struct Target {
    pub(super) partitions: BTreeSet<TopicPartition>,
    /// How often the member was thrown out: what it read before it may not be committed any more.
    pub(super) lost: u64,
    /// Why there will be nothing more to read.
    pub(super) dead: Option<Error>,
    /// The member was taken out because it was not polled.
    pub(super) away: bool,
}

/// What the consumer tells the member's task.
pub(super) enum Report {
    /// It reads these.
    Reads(BTreeSet<TopicPartition>),
    /// It is polled again.
    Back,
    /// It is done.
    Close(oneshot::Sender<Result<()>>),
}

/// Who commits: the member's id and its present epoch.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) member_id: String,
    epoch: AtomicI32,
}

impl Identity {
    pub(super) fn epoch(&self) -> i32 {
        self.epoch.load(Ordering::Acquire)
    }
}

/// When the consumer was polled last, in milliseconds of a clock of its own.
#[derive(Debug)]
pub(super) struct Polled {
    begun: Instant,
    at_ms: AtomicU64,
}

impl Polled {
    fn new() -> Self {
        Self { begun: Instant::now(), at_ms: AtomicU64::new(0) }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(super) fn note(&self) {
        self.at_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    fn silent_for(&self) -> Duration {
        Duration::from_millis(self.now_ms().saturating_sub(self.at_ms.load(Ordering::Relaxed)))
    }
}

/// The consumer's ends of the channels.
#[derive(Debug)]
pub(super) struct Membership {
    pub(super) target: watch::Receiver<Target>,
    pub(super) reports: mpsc::UnboundedSender<Report>,
    pub(super) identity: Arc<Identity>,
    pub(super) polled: Arc<Polled>,
}

struct Task {
    client: Client,
    member: Member,
    identity: Arc<Identity>,
    polled: Arc<Polled>,
    poll_max: Duration,
    backoff: Backoff,
    interval: Duration,
    target: watch::Sender<Target>,
}

/// Joins the group; the first heartbeat is on its way when this returns.
pub(super) fn join(
    client: Client,
    settings: MemberSettings,
    poll_max: Duration,
    backoff: Backoff,
) -> Membership {
    let member_id = uuid::Uuid::new_v4().to_string();
    let identity = Arc::new(Identity { member_id: member_id.clone(), epoch: AtomicI32::new(JOIN) });
    let polled = Arc::new(Polled::new());
    let (target_sender, target) = watch::channel(Target::default());
    let (reports, incoming) = mpsc::unbounded_channel();
    let task = Task {
        client,
        member: Member::new(settings, member_id),
        identity: Arc::clone(&identity),
        polled: Arc::clone(&polled),
        poll_max,
        backoff,
        interval: FIRST_INTERVAL,
        target: target_sender,
    };
    tokio::spawn(task.run(incoming));
    Membership { target, reports, identity, polled }
}

impl Task {
    async fn run(mut self, mut reports: mpsc::UnboundedReceiver<Report>) {
        let mut due = Instant::now();
        loop {
            let report = tokio::select! {
                biased;
                report = reports.recv() => Some(report),
                () = tokio::time::sleep_until(due), if !self.is_idle() => None,
            };
            match report {
                Some(None) => {
                    // The consumer was dropped: it cannot hear how leaving went.
                    drop(self.leave().await);
                    return;
                }
                Some(Some(Report::Close(answer))) => {
                    drop(answer.send(self.leave().await));
                    return;
                }
                Some(Some(Report::Reads(owned))) => {
                    self.member.reads(owned);
                    due = Instant::now();
                }
                Some(Some(Report::Back)) => {
                    self.target.send_if_modified(|target| std::mem::take(&mut target.away));
                    due = Instant::now();
                }
                None if self.polled.silent_for() > self.poll_max => self.step_out().await,
                None => due = Instant::now() + self.beat().await,
            }
        }
    }

    /// Whether there is nothing to say until the consumer says something.
    fn is_idle(&self) -> bool {
        let target = self.target.borrow();
        target.away || target.dead.is_some()
    }

    /// One heartbeat; returns when the next is due.
    async fn beat(&mut self) -> Duration {
        let request = self.member.heartbeat();
        let mut api = self.client.membership_api();
        let answer = self.client.call_once(api.heartbeat(request.clone())).await;
        let answered = answer.and_then(|answer| {
            let interval = u64::try_from(answer.heartbeat_interval_ms).unwrap_or(0).max(1);
            self.interval = Duration::from_millis(interval);
            self.member.answered(&request, answer)
        });
        self.identity.epoch.store(self.member.epoch(), Ordering::Release);
        match answered {
            Ok(assignment) => {
                self.backoff.reset();
                if let Some(partitions) = assignment {
                    self.target.send_modify(|target| target.partitions = partitions);
                }
                self.interval
            }
            Err(error) if is_fenced(&error) => {
                tracing::warn!(%error, "the group has gone on without this member: it joins again");
                self.lose(false);
                self.backoff.next(rand::random())
            }
            Err(error) if error.is_retryable() || is_passing(&error) => {
                tracing::debug!(%error, "a heartbeat failed; the next one tries again");
                self.backoff.next(rand::random()).max(error.retry_after().unwrap_or_default())
            }
            Err(error) => {
                self.target.send_modify(|target| target.dead = Some(error));
                self.interval
            }
        }
    }

    fn lose(&mut self, away: bool) {
        self.member.fenced();
        self.identity.epoch.store(self.member.epoch(), Ordering::Release);
        self.target.send_modify(|target| {
            target.partitions.clear();
            target.lost += 1;
            target.away = away;
        });
    }

    /// Leaves because nobody polls the consumer; it joins again when somebody does.
    async fn step_out(&mut self) {
        let poll_max = self.poll_max;
        tracing::warn!(
            ?poll_max,
            "the consumer was not polled for too long: it leaves the group until it is"
        );
        let left = self.leave().await;
        if let Err(error) = left {
            tracing::debug!(%error, "leaving failed; the session runs out by itself");
        }
        self.lose(true);
    }

    async fn leave(&self) -> Result<()> {
        if self.member.epoch() == JOIN {
            return Ok(());
        }
        let mut api = self.client.membership_api();
        let call = self.client.call_once(api.heartbeat(self.member.leave()));
        let left = tokio::time::timeout(LEAVE_MAX, call).await;
        match left.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Timeout, "leaving the group was not answered in time"))
        }) {
            Err(error) if is_fenced(&error) => Ok(()),
            left => left.map(drop),
        }
    }
}

fn has_code(error: &Error, codes: &[ErrorCode]) -> bool {
    error.code().is_some_and(|code| codes.iter().any(|known| known.name() == code))
}

/// Whether the member is not in the group any more.
fn is_fenced(error: &Error) -> bool {
    has_code(error, &[ErrorCode::FencedMemberEpoch, ErrorCode::UnknownMemberId])
}

/// Whether another try may succeed although the broker has refused this one: a static member waits for the one
/// before it to be gone.
fn is_passing(error: &Error) -> bool {
    has_code(error, &[ErrorCode::UnreleasedInstanceId, ErrorCode::CoordinatorNotAvailable])
}
