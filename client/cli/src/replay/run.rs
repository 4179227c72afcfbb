//! The loop of a replay: read, filter, wait as the pace says, write, and every second make sure of what was
//! done.
//!
//! **Invariant:** however the loop ends, what the sink confirmed by then is in the checkpoint, and nothing else.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use futures::FutureExt;
use tidelog_client::{ConsumerRecord, Error, TopicPartition};
use tokio::time::Instant;

use super::checkpoint::{Checkpoint, CheckpointError, PartitionMark};
use super::filter::Filter;
use super::ledger::Ledger;
use super::progress::Progress;
use super::sink::{Confirm, Sink};
use super::source::Source;
use crate::context::Interrupt;
use crate::failure::{Exit, Failure};
use crate::pace::Pace;

/// How often progress is shown.
const TICK: Duration = Duration::from_millis(100);
/// How often what was done is made sure of.
const SAVE_INTERVAL: Duration = Duration::from_secs(1);
/// Shorter waits are saved up: a timer cannot keep them.
const WAIT_MIN: Duration = Duration::from_millis(1);
/// A reader that is behind by no more than this was only woken late, and catches up.
const LATE_MAX: Duration = Duration::from_millis(10);

/// How a replay ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// Everything was read, or the limit was reached.
    Complete,
    /// The user wanted it to end.
    Interrupted,
}

/// A replay that is under way.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) source: Source,
    pub(super) filter: Filter,
    pub(super) sink: Sink,
    pub(super) ledger: Ledger,
    pub(super) keeper: Option<Keeper>,
    pub(super) interrupt: Interrupt,
    pub(super) progress: Progress,
    pub(super) timing: Timing,
}

/// When what happens.
#[derive(Debug)]
pub(super) struct Timing {
    pace: Pace,
    started: Instant,
    /// When the last record was due, counted from the start.
    due: Duration,
    next_tick: Instant,
    next_save: Instant,
}

impl Timing {
    /// Starts now.
    pub(super) fn start(pace: Pace) -> Self {
        let started = Instant::now();
        let (next_tick, next_save) = (started + TICK, started + SAVE_INTERVAL);
        Self { pace, started, due: Duration::ZERO, next_tick, next_save }
    }

    /// How long it has taken.
    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// When to go on before this record passes, if there is something to wait for.
    fn wait_for(&mut self, record: &ConsumerRecord) -> Option<Instant> {
        if self.pace.is_unbounded() {
            return None;
        }
        let now = self.started.elapsed();
        let elapsed = if now < self.due + LATE_MAX { self.due } else { now };
        let size = |bytes: Option<&tidelog_client::Bytes>| bytes.map_or(0, |bytes| bytes.len());
        let bytes = size(record.key.as_ref()) + size(record.value.as_ref());
        self.due = elapsed + self.pace.wait(elapsed, record.timestamp.millis(), bytes);
        (self.due >= now + WAIT_MIN).then(|| self.started + self.due)
    }
}

enum Step {
    Records(Vec<ConsumerRecord>),
    Tick,
    End,
    Interrupted,
}

impl Run {
    /// Replays until the end or the user's signal, and makes sure of what was done.
    pub(super) async fn run(&mut self) -> Result<Ended, Failure> {
        if let Some(keeper) = &mut self.keeper {
            keeper.save(&self.ledger, &self.sink, false).await?;
        }
        let ended = match self.read_all().await {
            Ok(ended) => ended,
            Err(failure) => {
                // The first failure is the one to tell; what cannot be confirmed or saved now is done again
                // by the next run.
                drop(self.make_sure(Confirm::Soon, false).await);
                self.progress.finish();
                return Err(failure);
            }
        };
        let made_sure = match ended {
            Ended::Complete => self.make_sure(Confirm::All, true).await,
            Ended::Interrupted => self.make_sure(Confirm::Soon, false).await,
        };
        self.progress.finish();
        made_sure.map(|()| ended)
    }

    async fn read_all(&mut self) -> Result<Ended, Failure> {
        loop {
            if self.is_satisfied() {
                return Ok(Ended::Complete);
            }
            match self.step().await? {
                Step::Records(records) => {
                    if !self.pass_all(records).await? {
                        return Ok(Ended::Interrupted);
                    }
                }
                Step::Tick => {}
                Step::End => {
                    self.observe();
                    return Ok(Ended::Complete);
                }
                Step::Interrupted => return Ok(Ended::Interrupted),
            }
            if Instant::now() >= self.timing.next_tick {
                self.observe();
                self.tick().await?;
            }
        }
    }

    /// Whether the limits leave nothing to read. Without limits the stream's end says so.
    fn is_satisfied(&self) -> bool {
        self.ledger.is_full() || (self.ledger.has_limits() && self.ledger.left().is_empty())
    }

    async fn step(&mut self) -> Result<Step, Failure> {
        let given = |next: Option<Result<Vec<ConsumerRecord>, Error>>| match next {
            Some(records) => Ok(Step::Records(records?)),
            None => Ok(Step::End),
        };
        if let Some(next) = self.source.next().now_or_never() {
            return given(next);
        }
        // Whoever reads along should see everything while nothing comes.
        self.sink.flush().await?;
        tokio::select! {
            biased;
            () = self.interrupt.raised() => Ok(Step::Interrupted),
            next = self.source.next() => given(next),
            () = tokio::time::sleep_until(self.timing.next_tick) => Ok(Step::Tick),
        }
    }

    /// Puts records through. `false` when the user wants the replay to end.
    async fn pass_all(&mut self, records: Vec<ConsumerRecord>) -> Result<bool, Failure> {
        for record in records {
            if !self.pass(record).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Puts one record through. `false` when the user wants the replay to end before it.
    async fn pass(&mut self, record: ConsumerRecord) -> Result<bool, Failure> {
        if self.interrupt.is_raised() {
            return Ok(false);
        }
        let id = TopicPartition { topic: record.topic.clone(), partition: record.partition };
        let Some(slot) = self.ledger.slot(&id) else {
            return Err(Failure::new(Exit::Integrity, format!("{id} came and was not asked for")));
        };
        let offset = record.offset;
        if !self.ledger.wants(slot) {
            self.source.stop(&id);
            return Ok(true);
        }
        if !self.filter.passes(&record) {
            self.ledger.skip(slot, offset);
            return Ok(true);
        }
        if let Some(until) = self.timing.wait_for(&record)
            && !self.wait(until).await?
        {
            return Ok(false);
        }
        self.progress.at(record.timestamp);
        let may_wait_long = matches!(self.sink, Sink::Topic(_));
        tokio::select! {
            biased;
            written = self.sink.write(slot, record, &mut self.ledger) => written?,
            // The record was not taken then.
            () = self.interrupt.raised(), if may_wait_long => return Ok(false),
        }
        self.ledger.take(slot, offset);
        Ok(true)
    }

    /// Waits for the pace. `false` when the user wants the replay to end.
    async fn wait(&mut self, until: Instant) -> Result<bool, Failure> {
        self.sink.flush().await?;
        loop {
            let next = until.min(self.timing.next_tick);
            tokio::select! {
                biased;
                () = self.interrupt.raised() => return Ok(false),
                () = tokio::time::sleep_until(next) => {}
            }
            if Instant::now() >= self.timing.next_tick {
                self.tick().await?;
            }
            if next == until {
                return Ok(true);
            }
        }
    }

    /// Takes over how far the source has come. Only when nothing that it gave is left to do.
    fn observe(&mut self) {
        for (id, next) in self.source.positions() {
            if let Some(slot) = self.ledger.slot(&id) {
                self.ledger.reach(slot, next);
            }
        }
    }

    async fn tick(&mut self) -> Result<(), Failure> {
        self.progress.show(&self.ledger);
        if Instant::now() >= self.timing.next_save {
            // A sink that writes bytes is only made sure of for a checkpoint.
            if self.keeper.is_some() || matches!(self.sink, Sink::Topic(_)) {
                self.make_sure(Confirm::Ready, false).await?;
            }
            self.timing.next_save = Instant::now() + SAVE_INTERVAL;
        }
        self.timing.next_tick = Instant::now() + TICK;
        Ok(())
    }

    async fn make_sure(&mut self, how: Confirm, complete: bool) -> Result<(), Failure> {
        let confirmed = self.sink.confirm(&mut self.ledger, how).await;
        if let Some(keeper) = &mut self.keeper {
            keeper.save(&self.ledger, &self.sink, complete && confirmed.is_ok()).await?;
        }
        confirmed
    }
}

/// Keeps the checkpoint.
#[derive(Debug)]
pub(super) struct Keeper {
    path: PathBuf,
    /// What stays the same.
    head: Checkpoint,
    saved: Option<Checkpoint>,
    /// Keeps other runs off.
    lock: Option<File>,
}

impl Keeper {
    /// Keeps checkpoints like `head` at `path`; `lock` is that of the one there now.
    pub(super) const fn new(path: PathBuf, head: Checkpoint, lock: Option<File>) -> Self {
        Self { path, head, saved: None, lock }
    }

    /// Saves how far the replay has come, if anything was done since the last time.
    async fn save(&mut self, ledger: &Ledger, sink: &Sink, complete: bool) -> Result<(), Failure> {
        let mut checkpoint = self.head.clone();
        checkpoint.complete = complete;
        checkpoint.sink = sink.mark();
        checkpoint.partitions = ledger.shares().iter().map(PartitionMark::new).collect();
        if self.saved.as_ref() == Some(&checkpoint) {
            return Ok(());
        }
        self.saved = Some(checkpoint.clone());
        checkpoint.saved_at = format!("{:.3}", jiff::Timestamp::now());
        let path = self.path.clone();
        let saved = tokio::task::spawn_blocking(move || checkpoint.save(&path)).await;
        self.lock = Some(saved.map_err(|_| Failure::failed("saving the checkpoint was cut off"))??);
        Ok(())
    }
}

impl From<CheckpointError> for Failure {
    fn from(error: CheckpointError) -> Self {
        let (exit, help) = match &error {
            CheckpointError::Missing { .. } => (Exit::NotFound, "leave --resume away to start anew"),
            CheckpointError::Busy { .. } => (Exit::Conflict, "wait for its end, or end it with Ctrl-C"),
            CheckpointError::Io { .. } => (Exit::Failed, "name another place with --checkpoint"),
            CheckpointError::Broken { .. } | CheckpointError::Version { .. } => {
                (Exit::Conflict, "name another file with --checkpoint")
            }
            CheckpointError::Other { .. } => {
                (Exit::Conflict, "give the same arguments, or name another file with --checkpoint")
            }
        };
        Self::new(exit, error.to_string()).with_help(help)
    }
}
