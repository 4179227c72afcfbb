//! The machine behind a consumer: keeps a stream open, hands out what arrives, goes on exactly where it was
//! after the stream broke. Driven by polling alone: nothing runs while nobody reads.

use std::collections::HashMap;
use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tidelog_model::{Offset, TopicPartition};
use tidelog_proto::v1::log_client::LogClient;
use tidelog_proto::v1::{ErrorDetail, FetchAssign, FetchOpen, FetchResponse};
use tokio::time::{Instant, Sleep};
use tonic::Status;
use tonic::transport::Channel;

use super::builder::OnOutOfRange;
use super::commit::Committer;
use super::decode::{Decoded, Decoder};
use super::partition::Partition;
use super::rebalance::Rebalancer;
use super::stream::FetchStream;
use super::{ConsumerBatch, ConsumerRecord};
use crate::admin::GroupOffset;
use crate::backoff::Backoff;
use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::position::{Position, ReadFilter};

pub(super) struct Settings {
    pub(super) filter: ReadFilter,
    pub(super) out_of_range: OnOutOfRange,
    pub(super) credit_bytes: usize,
    pub(super) response_bytes_max: usize,
    pub(super) auto_commit: Option<Duration>,
    pub(super) backoff: Backoff,
}

pub(super) struct Fetcher {
    pub(super) client: Client,
    api: LogClient<Channel>,
    settings: Settings,
    pub(super) partitions: Vec<Partition>,
    pub(super) by_id: HashMap<TopicPartition, usize>,
    /// Which partition a session belongs to; only present sessions are here.
    sessions: HashMap<u64, usize>,
    next_session: u64,
    stream: Option<FetchStream>,
    reconnect_at: Option<Instant>,
    /// The partitions to try again later.
    retrying: Vec<usize>,
    /// The present response.
    current: Option<Decoder>,
    /// Credit to grant with the next message.
    owed_bytes: usize,
    backoff: Backoff,
    connected: bool,
    pub(super) committer: Option<Arc<Committer>>,
    commits: u64,
    commit_at: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
    /// A failure that no partition survives was handed out.
    dead: bool,
    /// For a member of a group: what decides which partitions are read.
    pub(super) rebalancer: Option<Box<Rebalancer>>,
    /// Whether no partition has anything left to read; looked up again when one ends or is moved.
    over: Option<bool>,
}

impl Fetcher {
    pub(super) fn new(
        client: Client,
        settings: Settings,
        partitions: Vec<Partition>,
        committer: Option<Arc<Committer>>,
    ) -> Self {
        let ids = partitions.iter().enumerate();
        Self {
            api: client.own_log_api(),
            client,
            by_id: ids.map(|(index, partition)| (partition.id.clone(), index)).collect(),
            partitions,
            sessions: HashMap::new(),
            next_session: 0,
            stream: None,
            reconnect_at: None,
            retrying: Vec::new(),
            current: None,
            owed_bytes: 0,
            backoff: settings.backoff.clone(),
            connected: false,
            committer,
            commits: 0,
            commit_at: settings.auto_commit.map(|interval| Instant::now() + interval),
            settings,
            sleep: None,
            dead: false,
            rebalancer: None,
            over: None,
        }
    }

    /// The next record, when one can be had without waiting.
    pub(super) fn take_record(&mut self) -> Option<Result<ConsumerRecord>> {
        loop {
            let decoder = self.current.as_mut()?;
            let partition = self.partitions.get_mut(decoder.index)?;
            match decoder.next(&self.settings.filter) {
                Decoded::Record(record) => {
                    partition.advance(record.offset.next());
                    partition.leader_epoch = Some(record.leader_epoch);
                    return Some(Ok(record));
                }
                Decoded::BatchEnd { .. } => {}
                Decoded::End { .. } => self.finish_response(),
                Decoded::Broken(reason) => return Some(Err(self.broken_bytes(&reason))),
            }
        }
    }

    /// The rest of the present batch, when it can be had without waiting.
    pub(super) fn take_batch(&mut self) -> Option<Result<ConsumerBatch>> {
        let mut records = Vec::new();
        loop {
            let decoder = self.current.as_mut()?;
            let (wire_bytes, ended) = match decoder.next(&self.settings.filter) {
                Decoded::Record(record) => {
                    if records.is_empty() {
                        records.reserve(decoder.records_left_hint());
                    }
                    records.push(record);
                    continue;
                }
                Decoded::BatchEnd { wire_bytes } => (wire_bytes, false),
                Decoded::End { wire_bytes } => (wire_bytes, true),
                Decoded::Broken(reason) if records.is_empty() => {
                    return Some(Err(self.broken_bytes(&reason)));
                }
                // What came before the broken bytes is good; the decoder says so again next time.
                Decoded::Broken(_) => (0, false),
            };
            let partition = self.partitions.get_mut(decoder.index)?;
            let batch = ConsumerBatch { partition: partition.id.clone(), records, wire_bytes };
            partition.hand_out(&batch);
            if ended {
                self.finish_response();
            }
            if !batch.records.is_empty() {
                return Some(Ok(batch));
            }
            records = batch.records;
        }
    }

    fn broken_bytes(&mut self, reason: &str) -> Error {
        let index = self.current.as_ref().map(|decoder| decoder.index);
        self.drop_current();
        let Some(index) = index else { return Error::protocol(reason) };
        let Some(partition) = self.partitions.get(index) else { return Error::protocol(reason) };
        let message = format!("broken bytes at or after offset {}: {reason}", partition.position);
        let error = Error::protocol(message).with_partition(partition.id.clone());
        self.stop(index);
        if let Some(partition) = self.partitions.get_mut(index) {
            partition.failed = true;
            self.over = None;
        }
        error.with_help("verify the log on the broker; seek past the offset to go on without it")
    }

    /// The present response is used up.
    fn finish_response(&mut self) {
        let Some(decoder) = self.current.take() else { return };
        self.owe(decoder.wire_bytes);
        let Some(partition) = self.partitions.get_mut(decoder.index) else { return };
        partition.advance(decoder.next_offset);
        if partition.is_done() {
            self.over = None;
            self.stop(decoder.index);
        }
    }

    fn drop_current(&mut self) {
        if let Some(decoder) = self.current.take() {
            self.owe(decoder.wire_bytes);
        }
    }

    /// Grants credit again once enough has come together to be worth a message.
    fn owe(&mut self, bytes: usize) {
        self.owed_bytes = self.owed_bytes.saturating_add(bytes);
        if self.owed_bytes >= self.settings.credit_bytes / 4
            && let Some(stream) = &self.stream
        {
            stream.grant(self.owed_bytes);
            self.owed_bytes = 0;
        }
    }

    /// Waits until [`Self::take_record`] may have something. `None` when there is nothing left to read.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<()>>> {
        if let Some(mut rebalancer) = self.rebalancer.take() {
            let polled = rebalancer.poll(self, cx);
            self.rebalancer = Some(rebalancer);
            if let Poll::Ready(error) = polled {
                self.dead = true;
                self.rebalancer = None;
                return Poll::Ready(Some(Err(error)));
            }
        }
        loop {
            if self.current.is_some() {
                return Poll::Ready(Some(Ok(())));
            }
            if self.is_over() {
                return Poll::Ready(None);
            }
            let now = Instant::now();
            self.run_timers(now);
            let may_connect = self.reconnect_at.is_none_or(|at| at <= now);
            if self.stream.is_none() && may_connect && self.partitions.iter().any(Partition::is_wanted) {
                self.open();
            }
            let Some(stream) = &mut self.stream else {
                ready!(self.poll_timer(cx));
                continue;
            };
            let polled = stream.poll_next(cx);
            let Poll::Ready(answer) = polled else {
                ready!(self.poll_timer(cx));
                continue;
            };
            let outcome = match answer {
                Ok(Some(response)) => self.on_response(response),
                Ok(None) => self.on_broken(&Status::unavailable("the broker ended the stream")),
                Err(status) => self.on_broken(&status),
            };
            if let Err(error) = outcome {
                return Poll::Ready(Some(Err(error)));
            }
        }
    }

    fn is_over(&mut self) -> bool {
        let partitions = &self.partitions;
        let ended = |partition: &Partition| partition.is_done() || partition.failed;
        self.dead
            || self.rebalancer.is_none() && *self.over.get_or_insert_with(|| partitions.iter().all(ended))
    }

    fn run_timers(&mut self, now: Instant) {
        if self.commit_at.is_some_and(|at| at <= now) {
            self.commit_at = self.settings.auto_commit.map(|interval| now + interval);
            let commit = self.start_commit();
            tokio::spawn(async move {
                if let Some(Err(error)) = commit.await {
                    tracing::warn!(%error, "auto-commit failed; the next one tries again");
                }
            });
        }
        for index in std::mem::take(&mut self.retrying) {
            let Some(partition) = self.partitions.get_mut(index) else { return };
            match partition.retry_at {
                Some(at) if at > now => self.retrying.push(index),
                Some(_) => {
                    partition.retry_at = None;
                    self.assign(index);
                }
                // It was moved meanwhile.
                None => {}
            }
        }
    }

    /// Ready when the next timer is due.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let retrying = self.retrying.iter().filter_map(|index| self.partitions.get(*index));
        let retries = retrying.filter_map(|partition| partition.retry_at);
        let reconnect = self.reconnect_at.filter(|_| self.stream.is_none());
        let Some(at) = retries.chain(self.commit_at).chain(reconnect).min() else { return Poll::Pending };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        if sleep.deadline() != at {
            sleep.as_mut().reset(at);
        }
        sleep.as_mut().poll(cx)
    }

    fn open(&mut self) {
        self.reconnect_at = None;
        self.sessions.clear();
        self.owed_bytes = 0;
        let mut partitions = Vec::new();
        for (index, partition) in self.partitions.iter_mut().enumerate() {
            partition.session = None;
            if partition.is_wanted() {
                self.next_session += 1;
                self.sessions.insert(self.next_session, index);
                partitions.push(partition.assignment(self.next_session));
            }
        }
        // What is in memory still counts.
        let held = self.current.as_ref().map_or(0, |decoder| decoder.wire_bytes);
        let credit = self.settings.credit_bytes.saturating_sub(held).max(1);
        let open = FetchOpen {
            assign: Some(FetchAssign { partitions }),
            credit_bytes: i64::try_from(credit).unwrap_or(i64::MAX),
            response_bytes_max: i32::try_from(self.settings.response_bytes_max).unwrap_or(i32::MAX),
            filter: self.settings.filter.to_wire(),
        };
        self.stream = Some(FetchStream::open(&self.api, open));
    }

    fn on_broken(&mut self, status: &Status) -> Result<()> {
        self.stream = None;
        let error = self.client.error(status);
        if !error.is_retryable() {
            self.dead = true;
            return Err(error);
        }
        if std::mem::take(&mut self.connected) {
            tracing::warn!(%error, "lost the broker; reading goes on when it is back");
        }
        let pause = self.backoff.next(rand::random()).max(error.retry_after().unwrap_or_default());
        self.reconnect_at = Some(Instant::now() + pause);
        Ok(())
    }

    fn on_response(&mut self, response: FetchResponse) -> Result<()> {
        self.backoff.reset();
        self.connected = true;
        let bytes = response.record_batches;
        let known = self.sessions.get(&response.session).copied();
        let Some((index, partition)) = known.and_then(|at| Some((at, self.partitions.get_mut(at)?))) else {
            // Sent before the partition was moved.
            self.owe(bytes.len());
            return Ok(());
        };
        if let Some(detail) = response.error {
            self.owe(bytes.len());
            return self.on_partition_error(index, detail);
        }
        let offset = |value: i64| {
            Offset::new(value).ok_or_else(|| Error::protocol(format!("the broker sent offset {value}")))
        };
        let next_offset = offset(response.next_offset)?;
        partition.high_watermark = offset(response.high_watermark)?;
        let from = match partition.fetch_from {
            Position::Offset(from) => from,
            // Moved by the out-of-range policy: wherever the broker starts.
            _ => Offset::ZERO,
        };
        partition.fetch_from = Position::Offset(next_offset);
        let range = (from, partition.until);
        self.current = Some(Decoder::new(index, partition.id.clone(), bytes, range, next_offset));
        Ok(())
    }

    fn on_partition_error(&mut self, index: usize, detail: ErrorDetail) -> Result<()> {
        self.forget_session(index);
        let Some(partition) = self.partitions.get_mut(index) else { return Ok(()) };
        let error = Error::from_detail(detail).with_partition(partition.id.clone());
        if error.is_retryable() {
            tracing::debug!(%error, "a partition cannot be read for now");
            let pause = self.settings.backoff.clone().next(rand::random());
            let pause = pause.max(error.retry_after().unwrap_or(Duration::from_millis(100)));
            partition.retry_at = Some(Instant::now() + pause);
            self.retrying.push(index);
            return Ok(());
        }
        let reset = match self.settings.out_of_range {
            OnOutOfRange::Earliest => Position::Earliest,
            OnOutOfRange::Latest => Position::Latest,
            OnOutOfRange::Fail => Position::Committed,
        };
        if error.kind() == ErrorKind::OutOfRange && reset != Position::Committed {
            tracing::warn!(%error, ?reset, "reading goes on elsewhere");
            partition.fetch_from = reset;
            self.assign(index);
            return Ok(());
        }
        partition.failed = true;
        self.over = None;
        Err(error)
    }

    fn forget_session(&mut self, index: usize) {
        let session = self.partitions.get_mut(index).and_then(|partition| partition.session.take());
        if let Some(session) = session {
            self.sessions.remove(&session);
        }
    }

    /// Has the broker read a partition from where it stands.
    pub(super) fn assign(&mut self, index: usize) {
        self.forget_session(index);
        let Some(partition) = self.partitions.get_mut(index).filter(|partition| partition.is_wanted()) else {
            return;
        };
        let Some(stream) = &self.stream else { return };
        self.next_session += 1;
        self.sessions.insert(self.next_session, index);
        stream.assign(partition.assignment(self.next_session));
    }

    /// Has the broker read a partition no longer.
    pub(super) fn stop(&mut self, index: usize) {
        self.forget_session(index);
        if let (Some(stream), Some(partition)) = (&self.stream, self.partitions.get(index)) {
            stream.unassign(partition.to_wire());
        }
    }

    pub(super) fn index_of(&self, id: &TopicPartition) -> Result<usize> {
        let unknown = || Error::invalid(format!("this consumer does not read {id}"));
        self.by_id.get(id).copied().ok_or_else(unknown)
    }

    /// Drops what is in memory of a partition.
    pub(super) fn drop_buffered(&mut self, index: usize) {
        if self.current.as_ref().is_some_and(|decoder| decoder.index == index) {
            self.drop_current();
        }
    }

    pub(super) fn move_to(&mut self, index: usize, offset: Offset) {
        self.drop_buffered(index);
        if let Some(partition) = self.partitions.get_mut(index) {
            partition.move_to(offset);
            self.over = None;
        }
        self.assign(index);
    }

    pub(super) fn pause(&mut self, index: usize) {
        self.drop_buffered(index);
        self.stop(index);
        if let Some(partition) = self.partitions.get_mut(index) {
            partition.paused = true;
            partition.fetch_from = Position::Offset(partition.position);
        }
    }

    pub(super) fn resume(&mut self, index: usize) {
        let Some(partition) = self.partitions.get_mut(index).filter(|partition| partition.paused) else {
            return;
        };
        partition.paused = false;
        self.assign(index);
    }

    /// A commit of the present positions, to be awaited; `None` without a group.
    pub(super) fn start_commit(
        &mut self,
    ) -> impl Future<Output = Option<Result<()>>> + Send + 'static + use<> {
        self.commits += 1;
        let number = self.commits;
        let offset = |partition: &Partition| GroupOffset {
            leader_epoch: partition.leader_epoch,
            ..GroupOffset::new(partition.id.clone(), partition.position)
        };
        let committer = self.committer.clone();
        let offsets = committer.as_ref().map(|_| self.present().map(offset).collect());
        async move { Some(committer?.commit(number, offsets?).await) }
    }

    /// The number of the last commit begun.
    pub(super) const fn commits(&self) -> u64 {
        self.commits
    }

    pub(super) const fn commits_itself(&self) -> bool {
        self.settings.auto_commit.is_some()
    }
}
