//! Transactions of a few producers among the batches, and what a reader of committed records must see of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use tidelog_log::sim_disk::SimRng;
use tidelog_log::{Bounds, PartitionLog, ProducerEntry};
use tidelog_model::batch::{ControlKind, ControlMarker, RecordBatch};
use tidelog_model::{ProducerEpoch, ProducerId, Sequence};

use super::model::{Broken, Found, Model, Sent, SentRecord, at, ensure, offset, read_all};
use super::workload;
use super::world::{Trouble, World, failed};

const PRODUCERS: u64 = 3;

/// What a batch has to do with a transaction of a producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Txn {
    Data(i64),
    End(i64, ControlKind),
}

/// What the next batch has to do with transactions, if anything.
pub(crate) fn choose(rng: &mut SimRng) -> Option<Txn> {
    let id = i64::try_from(rng.below(PRODUCERS)).unwrap_or(0);
    match rng.below(10) {
        0..3 => Some(Txn::Data(id)),
        3 => Some(Txn::End(id, ControlKind::Abort)),
        4 => Some(Txn::End(id, ControlKind::Commit)),
        _ => None,
    }
}

/// Appends the marker that ends a producer's transaction.
pub(crate) fn send_marker(
    (id, kind): (i64, ControlKind),
    base: i64,
    epoch: i32,
    now: i64,
    log: &Arc<dyn PartitionLog>,
    incarnation: u64,
) -> Result<Sent, Broken> {
    let marker = ControlMarker { kind, coordinator_epoch: 0 };
    let batch = marker.batch(ProducerId(id), ProducerEpoch(0), at(now)).map_err(|error| error.to_string())?;
    let sent = workload::append(batch, base, epoch, now, log, incarnation)?;
    // It has a time, by which it is found, and nothing else that is looked at.
    let records = vec![SentRecord { time: now, key: Vec::new(), value: None }];
    Ok(Sent { txn: Some(Txn::End(id, kind)), records, ..sent })
}

/// A transaction that has ended: its producer, how, its first offset and that of its marker.
type Ended = (i64, ControlKind, i64, i64);

/// The transactions in these batches that have ended, and where the others begin.
fn look<'a>(batches: impl Iterator<Item = &'a Sent>) -> (Vec<Ended>, BTreeMap<i64, i64>) {
    let (mut ended, mut open) = (Vec::new(), BTreeMap::new());
    for sent in batches {
        match sent.txn {
            None => {}
            Some(Txn::Data(id)) => {
                open.entry(id).or_insert(sent.base);
            }
            Some(Txn::End(id, kind)) => {
                ended.extend(open.remove(&id).map(|first| (id, kind, first, sent.base)))
            }
        }
    }
    (ended, open)
}

impl Model {
    /// The batches of aborted transactions that have ended below `end`, by their base offsets.
    pub(crate) fn aborted(&self, end: i64) -> BTreeSet<i64> {
        let (ended, _) = look(self.batches.iter().filter(|sent| sent.next <= end));
        let aborted = |sent: &&Sent| {
            let Some(Txn::Data(of)) = sent.txn else { return false };
            ended.iter().any(|(id, kind, first, last)| {
                *id == of && *kind == ControlKind::Abort && (*first..*last).contains(&sent.base)
            })
        };
        self.batches.iter().filter(aborted).map(|sent| sent.base).collect()
    }

    /// Below this offset every transaction has ended, by a marker below `end`.
    pub(crate) fn stable(&self, end: i64) -> i64 {
        let (_, open) = look(self.batches.iter().filter(|sent| sent.next <= end));
        open.into_values().min().unwrap_or(end).min(end)
    }

    pub(crate) fn bounds(&self) -> Bounds {
        let last_stable = offset(self.stable(self.committed));
        Bounds { last_stable, ..Bounds::stable(offset(self.committed)) }
    }

    /// Reads as a client that wants committed records only does, and compares.
    pub(crate) fn check_committed(&self, log: &dyn PartitionLog, found: Found) -> Result<(), Broken> {
        let end = self.stable(found.end);
        if found.start >= end {
            return Ok(());
        }
        let told = log.aborted_transactions(offset(found.start), offset(end));
        let mut coming = told.map_err(|error| error.to_string())?;
        coming.reverse();
        let aborted = self.aborted(found.end);
        let mut aborting = BTreeSet::new();
        for batch in RecordBatch::split(Bytes::from(read_all(log, Found { end, ..found })?)) {
            let batch = batch.map_err(|error| error.to_string())?;
            let header = batch.header();
            let (id, base) = (header.producer_id.0, header.base_offset.get());
            while let Some(entry) = coming.pop_if(|entry| entry.first_offset <= header.last_offset()) {
                aborting.insert(entry.producer_id.0);
            }
            if header.is_control() {
                if ControlMarker::parse(&batch).is_ok_and(|marker| marker.kind == ControlKind::Abort) {
                    aborting.remove(&id);
                }
                continue;
            }
            let (hidden, expected) =
                (header.is_transactional() && aborting.contains(&id), aborted.contains(&base));
            ensure!(hidden == expected, "{found:?}: the batch at {base} of {id} is hidden: {hidden}");
        }
        Ok(())
    }

    /// What the owner remembers of producers at `end`.
    fn producers(&self, end: i64) -> Vec<ProducerEntry> {
        let (_, open) = look(self.batches.iter().filter(|sent| sent.next <= end));
        let entry = |id| ProducerEntry {
            id: ProducerId(id),
            epoch: ProducerEpoch(0),
            last_sequence: Sequence(0),
            last_offset: Some(offset(0)),
            offset_delta: 0,
            timestamp: at(0),
            coordinator_epoch: 0,
            transaction_start: open.get(&id).copied().map(offset),
        };
        (0..i64::try_from(PRODUCERS).unwrap_or(0)).map(entry).collect()
    }
}

impl World {
    /// Writes down what is known of producers, as the owner does from time to time.
    pub(crate) fn save_producers(&mut self, at: usize) -> Result<(), Trouble> {
        let part = &self.parts[at];
        let Some(log) = part.log.as_ref().filter(|_| !part.model.failed) else { return Ok(()) };
        let end = part.model.committed;
        log.save_producers(offset(end), &part.model.producers(end)).map_err(failed)?;
        self.reached.saved += 1;
        Ok(())
    }

    /// Reads committed records only, and compares.
    pub(crate) fn look_committed(&mut self, at: usize) -> Result<(), Trouble> {
        let part = &self.parts[at];
        let Some(log) = &part.log else { return Ok(()) };
        let found = Found { start: log.log_start().get(), end: part.model.committed };
        let may_fail = self.faulty || self.sim.is_stopped();
        self.reached.aborted += part.model.aborted(found.end).range(found.start..).count() as u64;
        match part.model.check_committed(log.as_ref(), found) {
            Err(broken) if may_fail && !broken.contains("is hidden") => Err(Trouble::Failed(broken)),
            checked => Ok(checked?),
        }
    }
}
