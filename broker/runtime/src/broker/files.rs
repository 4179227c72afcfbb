//! Opening partitions: blocking work, several at a time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tidelog_core::catalog::{TopicConfig, TopicEntry};
use tidelog_log::{LogDir, PartitionId};
use tidelog_model::PartitionIndex;

use crate::logs;
use crate::owner::Lane;
use crate::partition::Partition;
use crate::producers;
use crate::shared::{PartitionKey, Shared};

/// How often the progress of a long recovery is logged.
const PROGRESS_EVERY: Duration = Duration::from_secs(2);

/// What opening a partition needs to know.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) entry: Arc<TopicEntry>,
    pub(super) config: Arc<TopicConfig>,
    pub(super) partition: PartitionIndex,
}

/// The partitions `from..to` of a topic.
pub(super) fn wanted(
    entry: &Arc<TopicEntry>,
    config: &Arc<TopicConfig>,
    from: i32,
    to: i32,
) -> impl Iterator<Item = Wanted> {
    (from..to).filter_map(PartitionIndex::new).map(|partition| Wanted {
        entry: Arc::clone(entry),
        config: Arc::clone(config),
        partition,
    })
}

/// Creates or recovers one partition; blocks. A partition that cannot be recovered is there all the same and
/// says why.
pub(super) fn open_partition(log_dir: &LogDir, shared: &Arc<Shared>, wanted: &Wanted) -> Partition {
    let Wanted { entry, config, partition } = wanted;
    let key = PartitionKey { topic: entry.name.clone(), partition: *partition };
    let id = PartitionId { topic_id: entry.id, partition: *partition };
    let lane = Arc::new(Lane::new(key.clone(), Arc::clone(shared), log_dir.leader_epoch()));
    let listener = Arc::clone(&lane);
    let opened =
        log_dir.open_partition(id, &entry.name, logs::log_config(config), shared.clock.now(), listener);
    let log = match opened {
        Ok(opened) => {
            let report = &opened.recovery;
            let (producers, unsaved) = match producers::recover(&lane, opened.log.as_ref(), report) {
                Ok(recovered) => recovered,
                Err(error) => {
                    tracing::error!(partition = %key, %error, "the partition could not be recovered: it is off");
                    let off = Err(error);
                    return Partition::new((key, id), lane, Arc::clone(shared), Arc::clone(config), off);
                }
            };
            lane.recovered(report.log_start, report.log_end, producers, unsaved);
            if report.truncated_bytes > 0 {
                let (bytes, end) = (report.truncated_bytes, report.log_end);
                tracing::warn!(partition = %key, bytes, %end, "cut off a torn tail that nobody was promised");
            }
            if let Some(reason) = &report.corrupt {
                tracing::error!(partition = %key, reason, "durable bytes are broken: the partition takes no writes");
                lane.stop(logs::corrupt(&key.to_string(), report.log_end, reason));
            }
            Ok(opened.log)
        }
        Err(error) => {
            tracing::error!(partition = %key, %error, "the partition could not be recovered: it is off");
            Err(logs::open_error(&key.to_string(), &error))
        }
    };
    Partition::new((key, id), lane, Arc::clone(shared), Arc::clone(config), log)
}

/// Creates or recovers partitions on up to `threads` threads; blocks. The result has the order of `wanted`.
pub(super) fn open_partitions(
    log_dir: &LogDir,
    shared: &Arc<Shared>,
    wanted: &[Wanted],
    threads: usize,
) -> Vec<Arc<Partition>> {
    let next = AtomicUsize::new(0);
    let opened = Mutex::new(Vec::with_capacity(wanted.len()));
    let reported = Mutex::new(Instant::now());
    let work = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(one) = wanted.get(index) else { return };
            let partition = Arc::new(open_partition(log_dir, shared, one));
            let mut opened = opened.lock().unwrap_or_else(PoisonError::into_inner);
            opened.push((index, partition));
            report_progress(&reported, opened.len(), wanted.len());
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.min(wanted.len()) {
            scope.spawn(work);
        }
        work();
    });
    let mut opened = opened.into_inner().unwrap_or_else(PoisonError::into_inner);
    opened.sort_by_key(|(index, _)| *index);
    opened.into_iter().map(|(_, partition)| partition).collect()
}

fn report_progress(reported: &Mutex<Instant>, done: usize, total: usize) {
    let mut reported = reported.lock().unwrap_or_else(PoisonError::into_inner);
    if reported.elapsed() >= PROGRESS_EVERY {
        *reported = Instant::now();
        tracing::info!(done, total, "recovering partitions");
    }
}
