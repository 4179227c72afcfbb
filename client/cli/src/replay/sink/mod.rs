//! Where the records of a replay go.
//!
//! **Invariant:** a record is confirmed to the ledger only when the sink keeps it: written to standard output,
//! synced to the file, acknowledged by the broker; and in the order of its partition.

mod topic;
mod writer;

use tidelog_client::ConsumerRecord;

pub(super) use topic::{TopicSink, Ways, Written, written_since};
pub(super) use writer::{FileStart, Writer};

use super::checkpoint::SinkMark;
use super::ledger::Ledger;
use crate::failure::Failure;

/// Where records go.
#[derive(Debug)]
pub(super) enum Sink {
    /// Nowhere: they are counted.
    Nothing,
    /// Into a file or to standard output.
    Writer(Writer),
    /// Into a topic.
    Topic(Box<TopicSink>),
}

/// How long to wait for confirmations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Confirm {
    /// Take what is there.
    Ready,
    /// Wait for everything, but not long: the user wants the replay to end, or something has failed.
    Soon,
    /// Wait for everything.
    All,
}

impl Sink {
    /// Takes a record that the ledger counts as taken. Waits only while there is no room.
    pub(super) async fn write(
        &mut self,
        slot: usize,
        record: ConsumerRecord,
        ledger: &mut Ledger,
    ) -> Result<(), Failure> {
        match self {
            Self::Nothing => Ok(()),
            Self::Writer(writer) => writer.write(&record).await,
            Self::Topic(topic) => topic.write(slot, record, ledger).await,
        }
    }

    /// Lets go of what was only gathered, because nothing more comes for a moment.
    pub(super) async fn flush(&mut self) -> Result<(), Failure> {
        match self {
            // The producer sends by itself.
            Self::Nothing | Self::Topic(_) => Ok(()),
            Self::Writer(writer) => writer.flush().await,
        }
    }

    /// Tells the ledger what the sink keeps.
    pub(super) async fn confirm(&mut self, ledger: &mut Ledger, how: Confirm) -> Result<(), Failure> {
        match self {
            Self::Nothing => Ok(()),
            Self::Writer(writer) => {
                writer.sync().await?;
                ledger.confirm_all();
                Ok(())
            }
            Self::Topic(topic) => topic.confirm(ledger, how).await,
        }
    }

    /// How far it has come, with everything that was confirmed.
    pub(super) fn mark(&self) -> SinkMark {
        match self {
            Self::Nothing => SinkMark::Stdout,
            Self::Writer(writer) => writer.mark(),
            Self::Topic(topic) => topic.mark(),
        }
    }
}
