//! Follows the member's target: gives partitions up, commits what was read of them, takes others.
//!
//! **Invariants**
//! * A partition is reported as given up only when nothing more of it is handed out and what was handed out is
//!   committed, as far as the consumer commits by itself.
//! * What was read before the member was thrown out is never committed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tidelog_model::{Offset, TopicPartition};

use super::builder::look_up;
use super::commit::Committer;
use super::fetch::Fetcher;
use super::membership::{Membership, Report, Target};
use super::partition::Partition;
use crate::client::Client;
use crate::error::{Error, Result};
use crate::position::Position;

/// The pause before a place to begin is looked for again.
const FIND_PAUSE: Duration = Duration::from_millis(200);

/// What happens to the partitions of a member. A seek of the group ([`crate::Admin::seek_group`]) takes the
/// partitions concerned away and gives them again: who hears of them as assigned begins at the group's position,
/// and should forget what it keeps of earlier records.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rebalance {
    /// They are read from now on.
    Assigned(Vec<TopicPartition>),
    /// They go to another member; with auto-commit, what was read of them is committed.
    Revoked(Vec<TopicPartition>),
    /// The member was thrown out of the group and they went to others already: what was read of them since the
    /// last commit is read again by somebody.
    Lost(Vec<TopicPartition>),
}

/// What a program wants to do when its partitions change.
#[derive(Clone)]
pub(super) struct Listener(pub(super) Arc<dyn Fn(&Rebalance) + Send + Sync>);

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listener")
    }
}

type Step<T> = Pin<Box<dyn Future<Output = Result<T>> + Send>>;

/// What is under way.
enum Doing {
    Nothing,
    /// What was read is committed before these are given up.
    Committing(Step<()>, BTreeSet<TopicPartition>),
    /// Where to begin is looked up.
    Finding(Step<Vec<Partition>>),
}

/// Where a member begins to read, and who is told.
pub(super) struct RebalanceSettings {
    pub(super) fallback: Position,
    pub(super) commits: bool,
    pub(super) listener: Option<Listener>,
}

/// The consumer's half of a membership.
pub(super) struct Rebalancer {
    membership: Membership,
    settings: RebalanceSettings,
    client: Client,
    committer: Arc<Committer>,
    reads: BTreeSet<TopicPartition>,
    /// The latest word of the broker.
    target: Target,
    lost: u64,
    doing: Doing,
    changed: Option<Step<()>>,
}

impl Rebalancer {
    pub(super) fn new(
        membership: Membership,
        settings: RebalanceSettings,
        client: Client,
        committer: Arc<Committer>,
    ) -> Self {
        Self {
            membership,
            settings,
            client,
            committer,
            reads: BTreeSet::new(),
            target: Target::default(),
            lost: 0,
            doing: Doing::Nothing,
            changed: None,
        }
    }

    /// Goes as far as it can without waiting; pending when the consumer reads what it should.
    pub(super) fn poll(&mut self, fetcher: &mut Fetcher, cx: &mut Context<'_>) -> Poll<Error> {
        self.membership.polled.note();
        loop {
            if self.membership.target.has_changed().unwrap_or(false) {
                self.target = self.membership.target.borrow_and_update().clone();
                if let Some(error) = self.target.dead.clone() {
                    return Poll::Ready(error);
                }
                if self.target.away {
                    self.report(Report::Back);
                }
                if self.target.lost != self.lost {
                    self.drop_lost(fetcher);
                }
            }
            match &mut self.doing {
                Doing::Nothing => {
                    if !self.begin(fetcher) {
                        ready!(self.poll_changed(cx));
                    }
                }
                Doing::Committing(commit, _) => {
                    let committed = ready!(commit.as_mut().poll(cx));
                    if let Err(error) = committed {
                        tracing::warn!(%error, "what was read of partitions that go was not committed");
                    }
                    self.give_up(fetcher);
                }
                Doing::Finding(found) => match ready!(found.as_mut().poll(cx)) {
                    Ok(partitions) => self.take(fetcher, partitions),
                    Err(error) if error.is_retryable() => self.doing = Doing::Nothing,
                    Err(error) => return Poll::Ready(error),
                },
            }
        }
    }

    fn report(&self, report: Report) {
        // The task ends only when it is asked to.
        drop(self.membership.reports.send(report));
    }

    /// Waits for another target.
    fn poll_changed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut target = self.membership.target.clone();
        let changed = self.changed.get_or_insert_with(|| {
            Box::pin(async move {
                // An error means that the task has ended, which happens only after the consumer has.
                let gone = target.changed().await.is_err();
                if gone { std::future::pending().await } else { Ok(()) }
            })
        });
        let _changed = ready!(changed.as_mut().poll(cx)).is_ok();
        self.changed = None;
        Poll::Ready(())
    }

    fn drop_lost(&mut self, fetcher: &mut Fetcher) {
        self.lost = self.target.lost;
        self.doing = Doing::Nothing;
        let lost = std::mem::take(&mut self.reads);
        self.committer.give_up(&lost, fetcher.commits());
        lost.iter().for_each(|partition| fetcher.remove(partition));
        if !lost.is_empty() {
            self.tell(&Rebalance::Lost(lost.into_iter().collect()));
        }
    }

    /// Begins the next step towards the target; answers whether there is one.
    fn begin(&mut self, fetcher: &mut Fetcher) -> bool {
        let revoked: BTreeSet<_> = self.reads.difference(&self.target.partitions).cloned().collect();
        if !revoked.is_empty() {
            let commit = self.settings.commits.then(|| fetcher.start_commit());
            let commit = async move {
                match commit {
                    Some(commit) => commit.await.unwrap_or(Ok(())),
                    None => Ok(()),
                }
            };
            // Nothing more of them is handed out while the commit is under way.
            revoked.iter().for_each(|partition| fetcher.remove(partition));
            self.doing = Doing::Committing(Box::pin(commit), revoked);
            return true;
        }
        let assigned: Vec<_> = self.target.partitions.difference(&self.reads).cloned().collect();
        if assigned.is_empty() {
            return false;
        }
        let (client, committer, fallback) =
            (self.client.clone(), Arc::clone(&self.committer), self.settings.fallback);
        self.doing = Doing::Finding(Box::pin(async move {
            let found = find(client, committer, fallback, assigned).await;
            if found.as_ref().is_err_and(Error::is_retryable) {
                tokio::time::sleep(FIND_PAUSE).await;
            }
            found
        }));
        true
    }

    fn give_up(&mut self, fetcher: &Fetcher) {
        let Doing::Committing(_, revoked) = std::mem::replace(&mut self.doing, Doing::Nothing) else {
            return;
        };
        self.committer.give_up(&revoked, fetcher.commits());
        self.reads.retain(|partition| !revoked.contains(partition));
        self.tell(&Rebalance::Revoked(revoked.into_iter().collect()));
        self.report(Report::Reads(self.reads.clone()));
    }

    fn take(&mut self, fetcher: &mut Fetcher, partitions: Vec<Partition>) {
        self.doing = Doing::Nothing;
        let mut taken = Vec::new();
        for partition in partitions {
            // The target may have changed while the place to begin was looked up.
            if self.target.partitions.contains(&partition.id) && self.reads.insert(partition.id.clone()) {
                taken.push(partition.id.clone());
                fetcher.add(partition);
            }
        }
        if !taken.is_empty() {
            self.tell(&Rebalance::Assigned(taken));
        }
        self.report(Report::Reads(self.reads.clone()));
    }

    fn tell(&self, event: &Rebalance) {
        tracing::debug!(?event, "partitions of the group changed");
        if let Some(Listener(listener)) = &self.settings.listener {
            listener(event);
        }
    }

    /// Leaves the group, so that others take over at once.
    pub(super) async fn close(self) -> Result<()> {
        let (answer, left) = tokio::sync::oneshot::channel();
        self.report(Report::Close(answer));
        left.await.unwrap_or(Ok(()))
    }
}

/// Where to begin: at the committed offset, or where the settings say.
async fn find(
    client: Client,
    committer: Arc<Committer>,
    fallback: Position,
    assigned: Vec<TopicPartition>,
) -> Result<Vec<Partition>> {
    let admin = client.admin();
    let committed = admin.group_offsets(committer.group().as_str()).await?;
    let committed: BTreeMap<TopicPartition, Offset> =
        committed.into_iter().map(|commit| (commit.partition, commit.offset)).collect();
    // Somebody else may have committed since this consumer did.
    committer.know(&assigned, &committed).await;
    let starts = assigned.into_iter().map(|id| (id, Position::Committed)).collect();
    look_up(&admin, starts, &committed, fallback).await
}
