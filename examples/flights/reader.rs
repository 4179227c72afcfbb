//! A group that reads flights and notes what it saw, partition by partition.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use futures::StreamExt as _;
use tidelog_client::{Client, Consumer, ConsumerRecord, PartitionIndex};

use crate::data::{Flight, row_of};

/// How many records a group handles between two commits.
const COMMIT_EVERY: usize = 1_000;

/// What was read: for each partition the rows in the order of the log.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) rows: BTreeMap<PartitionIndex, Vec<usize>>,
}

impl Seen {
    /// Notes a record; a reader must see offset after offset.
    pub(crate) fn add(&mut self, record: &ConsumerRecord) -> Result<()> {
        self.rows.entry(record.partition).or_default().push(row_of(record)?);
        Ok(())
    }

    pub(crate) fn count(&self) -> usize {
        self.rows.values().map(Vec::len).sum()
    }

    /// How often each flight was seen.
    pub(crate) fn times(&self, flights: &[Flight]) -> Result<Vec<u32>> {
        let mut times = vec![0; flights.len()];
        for row in self.rows.values().flatten() {
            let count = times.get_mut(*row);
            ensure!(count.is_some(), "row {row} was never sent");
            count.into_iter().for_each(|count| *count += 1);
        }
        Ok(times)
    }

    /// How many aircraft there are, each flying in the order of the schedule and in one partition. A flight
    /// that was stored twice counts where it came first.
    pub(crate) fn aircraft_in_order(&self, flights: &[Flight]) -> Result<usize> {
        let mut last: BTreeMap<&str, (PartitionIndex, usize)> = BTreeMap::new();
        for (partition, rows) in &self.rows {
            let mut known = vec![false; flights.len()];
            for flight in rows.iter().filter_map(|row| flights.get(*row)) {
                let again = known.get_mut(flight.row).is_none_or(|known| std::mem::replace(known, true));
                let Some(tailnum) = flight.tailnum.as_deref().filter(|_| !again) else { continue };
                if let Some((before, row)) = last.insert(tailnum, (*partition, flight.row)) {
                    ensure!(before == *partition, "{tailnum} is in partitions {before} and {partition}");
                    ensure!(row < flight.row, "{tailnum}: flight {} came before {row}", flight.row);
                }
            }
        }
        Ok(last.len())
    }
}

/// Reads as `group` from where it left off until it has seen `wanted` different flights, committing now and
/// then. Restarts of the broker go by unnoticed.
pub(crate) async fn follow(client: Client, topic: String, group: &str, wanted: usize) -> Result<Seen> {
    let mut consumer: Consumer = client.consumer().topic(topic).group(group).build().await?;
    let mut seen = Seen::default();
    let mut different = std::collections::BTreeSet::new();
    while different.len() < wanted {
        let Some(record) = consumer.next().await else { break };
        let record = record?;
        different.insert(row_of(&record)?);
        seen.add(&record)?;
        if seen.count().is_multiple_of(COMMIT_EVERY) {
            // A commit that meets the kill is made up for by the next one.
            drop(consumer.commit().await);
        }
    }
    consumer.commit().await?;
    consumer.close().await?;
    Ok(seen)
}

/// Reads what is there for `group`, from where it left off to the end.
pub(crate) async fn catch_up(client: &Client, topic: &str, group: &str) -> Result<Seen> {
    let mut consumer = client.consumer().topic(topic).group(group).until_end().build().await?;
    let mut seen = Seen::default();
    while let Some(record) = consumer.next().await {
        seen.add(&record?)?;
    }
    consumer.commit().await?;
    consumer.close().await?;
    Ok(seen)
}
